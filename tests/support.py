"""What the integration tests share: small settings, a way to run `memrl`, and a policy that is worth comparing."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from memrl.config import Config, load_config, save_config
from memrl.records import AdapterRef, Completion
from memrl.storage.files import new_folder
from memrl.storage.rundir import CONFIG_FILE

if TYPE_CHECKING:
    import torch

ROOT = Path(__file__).parents[1]
SYNTHETIC = "[{source: synthetic, chunks: 2}]"
SMALL = {
    "train.steps": 3,
    "train.group_size": 4,
    "train.streams_per_step": 2,
    "rollout.refill_rounds": 3,
    "train.micro_batch_tokens": 2048,
    "eval.streams": 2,
    "eval.every": 2,
    "data.train": SYNTHETIC,
    "data.eval": SYNTHETIC,
    "rollout.max_completion_tokens": 24,
    "model.device": "cpu",
}
"""A run of a few seconds. The quick model knows nothing, so groups differ by their malformed calls alone: four episodes
and some refills make sure that each step has something to learn from."""
CONFIG = "configs/tiny.yaml"
Outcomes = list[tuple[str, str, str]]
"""(fault, outcome, what was counted) of the tests of one module that have passed."""


def overrides(model: Path, folder: Path, changes: Mapping[str, Any] | None = None) -> list[str]:
    """The settings of a small run as `key=value` words."""
    settings = {"model.path": model, "run.dir": folder, **SMALL, **(changes or {})}
    return [f"{key}={value}" for key, value in settings.items()]


def small_config(model: Path, folder: Path, changes: Mapping[str, Any] | None = None) -> Config:
    return load_config(ROOT / CONFIG, overrides(model, folder, changes))


def untrained_run(model: Path, folder: Path, changes: Mapping[str, Any] | None = None) -> Path:
    """A run folder with one adapter that matters and nothing else, as soon as a run has published its first."""
    from memrl.engines.models import load_model
    from memrl.learner.lora import wrap_lora

    config = small_config(model, folder, changes)
    wrapped = wrap_lora(load_model(config.model), config.model.lora, seed=0)
    perturb(wrapped, seed=1)
    save_config(config, folder / CONFIG_FILE)
    with new_folder(folder / "adapters" / "v00001") as adapter:
        wrapped.save_pretrained(str(adapter), save_embedding_layers=False)
    return folder


def with_other_eos(model: Path, folder: Path) -> Path:
    """A copy of a model folder whose eos is `<|endoftext|>`, and turns end by `<|im_end|>`, as base models have it."""
    shutil.copytree(model, folder)
    told = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**told, "eos_token": "<|endoftext|>"}))
    for name in ("config.json", "generation_config.json"):
        told = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps({**told, "eos_token_id": told.get("pad_token_id", 0)}))
    return folder


def quiet() -> Console:
    return Console(file=StringIO(), width=120)


FORKS = """
import json, os, signal, sys
import memrl.training.trainer
from memrl.cli.main import main
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job begins with Ctrl-C ignored
codes, running = {}, {}
jobs = json.loads(sys.argv[1])
while jobs or running:
    if jobs and len(running) < 2:
        name, (before, words, log) = jobs.popitem()
        child = os.fork()
        if not child:
            os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT), 2)
            exec(before, {})
            sys.exit(main(words))
        running[child] = name
        continue
    child, status = os.wait()
    codes[running.pop(child)] = os.waitstatus_to_exitcode(status)
print(json.dumps(codes), file=sys.stderr)
"""


def run_all(jobs: Mapping[str, tuple[str, list[str], Path]]) -> dict[str, tuple[int, str]]:
    """Run `memrl` once for each job, in processes of its own that share one import of torch, two at a time.

    Args:
        jobs: by name: code to run first (to break something), the words of the command, where stderr goes.

    Returns:
        Exit code and stderr, by name.
    """
    plain = {name: (before, words, str(log)) for name, (before, words, log) in jobs.items()}
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", FORKS, json.dumps(plain)],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    codes = json.loads(done.stderr.splitlines()[-1])
    return {name: (codes[name], log.read_text()) for name, (_, _, log) in jobs.items()}


def rows(folder: Path) -> list[dict[str, Any]]:
    """metrics.jsonl without `time/`, which alone may differ between two runs of one seed."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if not k.startswith("time/")} for line in lines]


@contextmanager
def reliability_table(module: Path) -> Iterator[Outcomes]:
    """Rows to fill in; MEMRL_WRITE_DOCS=1 writes them below the module's own mark in docs/reliability.md."""
    found: Outcomes = []
    yield found
    if os.environ.get("MEMRL_WRITE_DOCS"):
        page = ROOT / "docs" / "reliability.md"
        mark = f"<!-- written by {module.relative_to(ROOT).as_posix()} -->\n"
        lines = ["| fault | outcome | counted |", "|---|---|---|", *(f"| {' | '.join(row)} |" for row in found)]
        table = mark + "\n".join(lines) + "\n"
        text, written = re.subn(rf"{re.escape(mark)}(?:\|.*\n)*", lambda _: table, page.read_text())
        assert written == 1
        page.write_text(text)


def counted(pool: Any) -> str:
    """What a pool has counted, for a table where nothing was removed."""
    return f"{pool.counts['workers']} worker lost, {pool.counts['retries']} episodes played again, 0 removed"


STALE_ROW = (
    "a swap leaves the old adapter in place",
    "the canary stops the run in that step",
    "the step is not recorded",
)


def perturb(module: torch.nn.Module, seed: int, size: float = 0.05) -> None:
    """Make an adapter matter: its B matrices begin at zero."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if "lora_B" in name:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * size)


async def unload_all(engine: Any) -> None:
    """Leave the vLLM that all tests share as this test's engine found it."""
    for version in list(engine._requests):
        await engine._unload(version)


def stale(engine: type[Any], kept: int) -> type[Any]:
    """An engine that says it has loaded each version, and goes on with version `kept`: what a hot swap must not do."""

    class Stale(engine):  # type: ignore[misc]
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            self.given: dict[int, AdapterRef] = {}

        def _old(self, ref: AdapterRef | None) -> AdapterRef | None:
            return ref and self.given[min(ref.version, kept)]

        async def load_adapter(self, ref: AdapterRef) -> None:
            self.given[ref.version] = ref
            await super().load_adapter(self._old(ref))

        async def generate(self, prompt_ids: Any, sampling: Any, adapter: Any = None, **more: Any) -> Completion:
            completion: Completion = await super().generate(prompt_ids, sampling, self._old(adapter), **more)
            return completion.model_copy(update={"version": adapter and adapter.version})

        async def score(self, prompt_ids: Any, completion_ids: Any, adapter: Any) -> list[float]:
            return await super().score(prompt_ids, completion_ids, self._old(adapter))  # type: ignore[no-any-return]

    return Stale
