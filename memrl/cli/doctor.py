"""`memrl doctor`: what this machine or cluster has, which configs would run on it, and what is missing."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import requires
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from memrl.cli.absent import IN_A_FOLDER, not_checked
from memrl.config import Config, ReaderConfig, check_config, load_config
from memrl.config.check import learner_apart
from memrl.config.load import config_folders
from memrl.data.reach import out_of_reach
from memrl.errors import MemrlError
from memrl.packages import installed_version, vllm_version
from memrl.training.cost import model_folder, model_shape
from memrl.training.footprint import GIB, footprint, lacking

ENDPOINT_SECONDS = 10.0
"""How long an endpoint has to answer."""


@dataclass(frozen=True)
class Package:
    """One package that memrl stands on."""

    name: str
    wanted: str
    """The versions that fit, as pip writes them; empty: any."""
    installed: str | None
    fits: bool


@dataclass(frozen=True)
class Outlook:
    """The verdict on a config: whether it would run here, and if not, why."""

    config: str
    missing: list[str]
    not_checked: list[str] = field(default_factory=list)
    """What was not there to be looked at."""

    @property
    def runs(self) -> bool:
        return not self.missing


@dataclass
class Diagnosis:
    """Everything that was looked at, as plain data."""

    python: str
    platform: str
    cpus: int
    memory_gib: float
    disk_free_gib: float
    gpus: list[dict[str, Any]]
    packages: list[Package]
    cluster: dict[str, Any] | None
    verdicts: list[Outlook] = field(default_factory=list)

    def plain(self) -> dict[str, Any]:
        """Return it as data for JSON."""
        return {**asdict(self), "verdicts": [{**asdict(each), "runs": each.runs} for each in self.verdicts]}


def examine(config: str | None = None, overrides: list[str] | None = None, address: str | None = None) -> Diagnosis:
    """Look at this machine, at the cluster at `address` if one is given, and at one config or all shipped ones.

    Raises:
        ConfigError: the named config cannot be read.
        EngineError: there is no cluster at `address`.
    """
    found = Diagnosis(
        python=platform.python_version(),
        platform=platform.platform(),
        cpus=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        memory_gib=round(_memory_bytes() / GIB, 1),
        disk_free_gib=round(shutil.disk_usage(Path.cwd()).free / GIB, 1),
        gpus=_gpus(),
        packages=_packages(),
        cluster=_cluster(address) if address else None,
    )
    names = [config] if config else sorted(path.stem for path in _shipped())
    found.verdicts = [_judge(name, overrides or [], found) for name in names]
    return found


def _shipped() -> list[Path]:
    folder = next((folder for folder in config_folders() if folder.is_dir()), None)
    return sorted(folder.glob("*.yaml")) if folder else []


def _judge(name: str, overrides: list[str], found: Diagnosis) -> Outlook:
    config = load_config(name, overrides, check=False)
    missing = [
        f"{package.name} {package.wanted} is wanted, {package.installed or 'none'} is installed"
        for package in found.packages
        if not package.fits
    ]
    complaints = check_config(config)
    missing += complaints
    if not any(complaint.startswith("reader.") for complaint in complaints):
        missing += _refused(lambda: _reader(config.reader))
    if not any(complaint.startswith("judge.") for complaint in complaints):
        missing += _refused(lambda: _grader(config))
    if model_folder(config.model.path) and not any("model.path" in each or "dialect" in each for each in complaints):
        missing += _refused(lambda: _prompts(config))
    if config.model.device == "cuda" and not found.gpus:
        missing.append("model.device is cuda, and no GPU is visible here")
    missing += _memory(config, found)
    if found.cluster is not None:
        missing += _room(config, found.cluster)
    unchecked: list[str] = []
    absent = out_of_reach(config.data)
    missing += [f"the data: {name} is not on this disk, and the hub does not answer. {IN_A_FOLDER}" for name in absent]
    missing += _refused(lambda: unchecked.extend(not_checked(config, [])))
    return Outlook(name, missing, [line for line in unchecked if line not in missing])


def _refused(check: Callable[[], None]) -> list[str]:
    """Return why whoever is asked would not answer, or could not be used."""
    try:
        check()
    except MemrlError as error:
        return [str(error)]
    return []


def _prompts(config: Config) -> None:
    from memrl.engines.build import open_guide
    from memrl.engines.models import load_tokenizer
    from memrl.engines.prompting import open_prompter

    open_prompter(load_tokenizer(config.model), config.rollout.dialect)
    open_guide(config)


def _reader(config: ReaderConfig) -> None:
    from memrl.rollout.preflight import check_reader

    check_reader(config, timeout=min(ENDPOINT_SECONDS, config.endpoint.timeout), retries=0)


def _grader(config: Config) -> None:
    from memrl.frozen.build import open_endpoint_judge
    from memrl.rollout.preflight import check_judge

    patient = replace(config.judge.endpoint, timeout=min(ENDPOINT_SECONDS, config.judge.endpoint.timeout), retries=0)
    check_judge(open_endpoint_judge(replace(config, judge=replace(config.judge, endpoint=patient))))


def _memory(config: Config, found: Diagnosis) -> list[str]:
    shape = model_shape(config.model.path)
    if shape is None:
        return []
    on_gpu = config.model.device == "cuda" or (config.model.device == "auto" and bool(found.gpus))
    if on_gpu and not found.gpus:
        return []  # said already
    have = max(gpu["memory_gib"] for gpu in found.gpus) if on_gpu else found.memory_gib
    needed = footprint(config, shape)
    return [] if needed is None else lacking(config, needed, have, "the largest GPU" if on_gpu else "this machine")


def _room(config: Config, cluster: dict[str, Any]) -> list[str]:
    lacking = []
    workers, learners = config.rollout.workers, config.train.processes if learner_apart(config) else 0
    for name in ("CPU", "GPU"):
        low = name.lower()
        each = {"worker": getattr(config.ray, f"worker_{low}s"), "learner": getattr(config.ray, f"learner_{low}s")}
        wanted, have = each["worker"] * workers + each["learner"] * learners, float(cluster["resources"].get(name, 0.0))
        if wanted > have:
            who = [f"{workers} workers"] * bool(workers) + [f"{learners} learner processes"] * bool(learners)
            keys = ["rollout.workers", f"ray.worker_{low}s"] * bool(workers)
            keys += ["train.processes", f"ray.learner_{low}s"] * bool(learners)
            lacking.append(
                f"{' and '.join(who)} want {wanted:g} {name}, the cluster has {have:g}: lower "
                f"{', '.join(keys[:-1])} or {keys[-1]}"
            )
    return lacking


def _packages() -> list[Package]:
    """Return the packages that memrl needs and, where vLLM is installed, what vLLM needs of the same packages."""
    wanted = [Requirement(text) for text in requires("memrl") or [] if _of_training(text)]
    vllm = vllm_version()
    if vllm is not None:
        name = vllm[0]
        own = {package.name for package in wanted}
        for requirement in (Requirement(text) for text in requires(name) or []):
            if requirement.name in own and (requirement.marker is None or requirement.marker.evaluate()):
                wanted.append(requirement)
    found: dict[str, Package] = {}
    for package in sorted(wanted, key=lambda package: package.name):
        specifier = package.specifier & (SpecifierSet(found[package.name].wanted) if package.name in found else "")
        installed = installed_version(package.name)
        fits = installed is not None and specifier.contains(installed, prereleases=True)
        found[package.name] = Package(package.name, str(specifier), installed, fits)
    return [*found.values(), _vllm_package(vllm)]


def _of_training(requirement: str) -> bool:
    """Return whether training needs it: what a plain install brings, and the extra `train`."""
    marker = Requirement(requirement).marker
    return marker is None or marker.evaluate({"extra": "train"})


def _vllm_package(installed: tuple[str, str] | None) -> Package:
    [extra] = [Requirement(text) for text in requires("memrl") or [] if Requirement(text).name == "vllm"][:1]
    fits = installed is None or extra.specifier.contains(installed[1], prereleases=True)
    return Package("vllm", f"{extra.specifier} (optional)", installed and " ".join(installed), fits)


def _gpus() -> list[dict[str, Any]]:
    import torch

    if not torch.cuda.is_available():
        return []
    found = []
    for index in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(index)
        name = torch.cuda.get_device_name(index)
        found.append({"name": name, "memory_gib": round(total / GIB, 1), "free_gib": round(free / GIB, 1)})
    return found


def _memory_bytes() -> int:
    """Return this machine's memory, or what its container may use of it."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
    except OSError:
        return total
    return min(total, int(limit)) if limit.isdigit() else total


def _cluster(address: str) -> dict[str, Any]:
    import ray

    from memrl.cluster import connect

    joined = connect(address)
    try:
        nodes = [node for node in ray.nodes() if node["Alive"]]
        return {
            "address": address,
            "ray": ray.__version__,
            "nodes": [{"address": n["NodeManagerAddress"], "resources": _plain(n["Resources"])} for n in nodes],
            "resources": _plain(ray.cluster_resources()),
            "free": _plain(ray.available_resources()),
        }
    finally:
        if joined:
            ray.shutdown()


def _plain(resources: dict[str, float]) -> dict[str, float]:
    """CPUs, GPUs and bytes, without the labels that Ray keeps among them."""
    return {name: resources[name] for name in ("CPU", "GPU", "memory") if name in resources}


def show(found: Diagnosis, console: Console) -> None:
    """Print it as tables."""
    machine = Table(title="this machine", show_header=False)
    machine.add_row("Python", f"{found.python}, {escape(found.platform)}")
    machine.add_row("CPUs, memory", f"{found.cpus}, {found.memory_gib:g} GiB")
    machine.add_row("disk here", f"{found.disk_free_gib:g} GiB free")
    gpus = [f"{gpu['name']}, {gpu['memory_gib']:g} GiB ({gpu['free_gib']:g} free)" for gpu in found.gpus]
    machine.add_row("GPUs", "\n".join(gpus) or "none")
    console.print(machine)
    packages = Table("package", "wanted", "installed", title="packages")
    for package in found.packages:
        shown = package.installed or ("none" if package.fits else "missing")
        packages.add_row(package.name, package.wanted or "any", shown if package.fits else f"[red]{shown}[/red]")
    console.print(packages)
    if found.cluster is not None:
        cluster = Table("node", "resources", title=f"Ray {found.cluster['ray']} at {escape(found.cluster['address'])}")
        for node in found.cluster["nodes"]:
            amounts = ", ".join(f"{amount:g} {name}" for name, amount in node["resources"].items())
            cluster.add_row(node["address"], amounts)
        console.print(cluster)
    verdicts = Table("config", "runs here", "what is missing", "not checked", title="configs")
    for verdict in found.verdicts:
        verdicts.add_row(
            escape(verdict.config),
            "yes" if verdict.runs else "[red]no[/red]",
            escape("\n".join(verdict.missing)),
            escape("\n".join(verdict.not_checked)),
        )
    console.print(verdicts)
