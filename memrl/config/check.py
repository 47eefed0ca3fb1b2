"""Conflicts: what is well-typed and still cannot work. All of them are listed, each with its remedy."""

from __future__ import annotations

import inspect
import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from memrl.config.check_curriculum import check_curriculum
from memrl.config.check_endpoint import check_endpoint
from memrl.config.registries import BESIDE, BY_KEY, TRACKER_PACKAGES, TRACKERS
from memrl.config.schema import Config, MemoryConfig
from memrl.config.shipped import TINY
from memrl.config.tree import values
from memrl.config.weights import PICKLED, pickled_weights
from memrl.envs.designs import DESIGNS
from memrl.envs.designs.searching import takes_retrieval, uses_own_search
from memrl.envs.errors import DataError, PluginError
from memrl.envs.registry import Registry
from memrl.envs.retrieval import RETRIEVALS, complaint_of
from memrl.envs.sources import SOURCES, open_source, option_names
from memrl.envs.specs import parse_spec
from memrl.envs.suggest import did_you_mean
from memrl.envs.wrappers import open_design
from memrl.rewards.alarms import ALARMS
from memrl.rewards.compose import PRESETS, open_part, resolve_weights
from memrl.rewards.judge import ANSWER_RUBRICS
from memrl.rewards.parts import SHIPPED

SCHEDULES = (
    "linear",
    "cosine",
    "cosine_with_restarts",
    "polynomial",
    "constant",
    "constant_with_warmup",
    "inverse_sqrt",
)
"""Those of `transformers.get_scheduler` that need no arguments of their own."""
TEACHERS = ("careless", "words", "endpoint", "episodes")
"""Those who show a warm start what to write (`memrl.sft`)."""
ALL_LINEAR = "all-linear"
"""The `model.lora.target_modules` that means every linear layer but the head."""
VLLM_LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""Those that vLLM can be told to make room for."""

CHOICES: dict[str, tuple[str, ...]] = {
    "model.dtype": ("float32", "bfloat16", "float16"),
    "model.device": ("auto", "cpu", "cuda"),
    "data.overlap": ("refuse", "warn", "allow"),
    "rollout.guided": ("off", "json"),
    "rollout.on_failure": ("retry", "min_viable", "fail_fast"),
    "ray.placement": ("any", "pack", "spread", "strict_pack", "strict_spread"),
    "rewards.preset": tuple(PRESETS),
    "rewards.content": ("none", "lexical", "judge"),
    "rewards.on_alarm": ("warn", "stop"),
    "train.parallel": ("ddp", "fsdp"),
    "train.schedule": SCHEDULES,
    "sft.teacher": TEACHERS,
}
ABOVE_ZERO = {
    "rollout.temperature",
    "rollout.step_timeout",
    "rollout.episode_timeout",
    "reader.endpoint.timeout",
    "judge.endpoint.timeout",
    "ray.start_timeout",
    "ray.hang_grace",
    "train.lr",
    "train.max_grad_norm",
    "sft.lr",
    "sft.best",
}
AT_LEAST_ONE = {
    "run.save_every",
    "run.keep_checkpoints",
    "model.lora.rank",
    "model.lora.alpha",
    "memory.budget",
    "memory.max_calls",
    "memory.search_budget",
    "rollout.max_turns",
    "rollout.max_prompt_tokens",
    "rollout.max_completion_tokens",
    "rollout.max_batch",
    "vllm.tensor_parallel_size",
    "reader.max_prompt_tokens",
    "reader.max_tokens",
    "reader.endpoint.max_concurrency",
    "judge.votes",
    "judge.max_tokens",
    "advantage.rerolls",
    "advantage.reroll_steps",
    "judge.endpoint.max_concurrency",
    "train.streams_per_step",
    "train.updates_per_step",
    "train.micro_batch_tokens",
    "train.processes",
    "eval.streams",
    "sft.batch_size",
    "sft.micro_batch_tokens",
    "sft.max_tokens",
    "sft.streams",
    "sft.max_length",
}
SEEDS = {"seed", "eval.seed"}
LARGEST_NUMBER = 2**63 - 1
AT_MOST_ONE = {
    "rollout.max_failure_rate",
    "advantage.spill",
    "advantage.uniform_share",
    "eval.target",
    "sft.best",
    "data.difficulty.easy",
    "data.difficulty.hard",
}


def learner_apart(config: Config) -> bool:
    """Return whether Ray places the learner and gives it its GPU: where it is several processes, or one that has a GPU
    to itself beside Ray's workers. Else it is in the driver's process."""
    return config.train.processes > 1 or (config.rollout.workers > 0 and config.ray.learner_gpus > 0)


def check_config(config: Config, *, files: bool = True, machine: bool = True) -> list[str]:
    """Every conflict, in words; empty when there is none.

    Args:
        files: also look for the model folder, the data files and the environment variables that are to hold keys.
        machine: also look whether vLLM is installed here and a model folder that is named is there: what a run needs,
            and a look at what it would do does not.
    """
    return [
        *_ranges(config),
        *_choices(config),
        *_wrappers(config),
        *_staleness(config),
        *_vllm(config, files and machine),
        *_trackers(config, files and machine),
        *check_endpoint("reader.endpoint", config.reader.endpoint, config.reader.type == "endpoint", files),
        *check_endpoint("sft.endpoint", config.sft.endpoint, config.sft.teacher == "endpoint", files),
        *_teacher(config),
        *_judge(config, files),
        *_retrieval(config.memory, files and machine),
        *_sizes(config),
        *_processes(config),
        *_rewards(config),
        *_data(config, files),
        *check_curriculum(config),
        *(_model(config.model.path, machine) if files else ()),
    ]


def _ranges(config: Config) -> Iterator[str]:
    for key, value in values(config):
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if not math.isfinite(value):
            yield f"{key} is {value}; it must be a finite number"
        elif key in ABOVE_ZERO and value <= 0:
            yield f"{key} is {value}; it must be above 0"
        elif key in AT_LEAST_ONE and value < 1:
            yield f"{key} is {value}; it must be at least 1"
        elif key in AT_MOST_ONE and not 0 <= value <= 1:
            yield f"{key} is {value}; it must lie between 0 and 1"
        elif value < 0:
            yield f"{key} is {value}; it must not be negative"
        elif isinstance(value, int) and value > LARGEST_NUMBER:
            what = "no generator takes" if key in SEEDS else "no counter holds"
            yield f"{key} is {value}, which {what}; it must be at most {LARGEST_NUMBER} (2^63 - 1)"


def _choices(config: Config) -> Iterator[str]:
    for key, value in values(config):
        if key in CHOICES and value not in CHOICES[key]:
            yield f"{key} is {value!r}{did_you_mean(value, CHOICES[key])}"
        elif value in BESIDE.get(key, ()):
            continue
        elif key in BY_KEY and (complaint := _named(BY_KEY[key], value)):
            yield f"{key} is {value!r}{complaint}"


def _wrappers(config: Config) -> Iterator[str]:
    memory = config.memory
    if not memory.wrappers or not DESIGNS.knows(memory.design) or DESIGNS.complaint(memory.design):
        return
    try:
        open_design(memory.design, memory.wrappers)
    except (DataError, PluginError) as error:
        yield str(error).removesuffix(".")


def _trackers(config: Config, here: bool) -> Iterator[str]:
    for name in config.run.trackers:
        if complaint := _named(TRACKERS, name):
            yield f"run.trackers names {name!r}{complaint}"
        elif here and any(find_spec(package) is None for package in TRACKER_PACKAGES.get(name, ())):
            yield f"run.trackers names {name}, which is not installed here; install it: pip install 'memrl[{name}]'"
    for name, count in Counter(config.run.trackers).items():
        if count > 1:
            yield f"run.trackers names {name!r} {count} times; name it once"


def _named(registry: Registry[Any], name: str) -> str:
    """Return what is wrong with a name that stands in the config; empty where nothing is."""
    if not registry.knows(name):
        return did_you_mean(name, registry) or f": there is no {registry.kind} of this name, and none is installed"
    complaint = registry.complaint(name)
    return complaint and f": {complaint}"


def _vllm(config: Config, files: bool) -> Iterator[str]:
    vllm, lora = config.vllm, config.model.lora
    if config.rollout.engine != "vllm":
        if vllm.sleep:
            yield "vllm.sleep is set, and rollout.engine is transformers, which cannot sleep; set rollout.engine=vllm"
        return
    if files and config.rollout.workers == 0 and find_spec("vllm") is None:
        yield (
            "rollout.engine is vllm, which is not installed here; install it (pip install 'memrl[vllm]') or use "
            "rollout.engine=transformers"
        )
    if config.model.path == TINY:
        yield (
            "rollout.engine is vllm, and model.path is tiny: its attention has output biases, which vLLM leaves out; "
            "use rollout.engine=transformers, or another model"
        )
    if lora.rank > VLLM_LORA_RANKS[-1]:
        yield f"model.lora.rank is {lora.rank}, vLLM takes at most {VLLM_LORA_RANKS[-1]}; lower it"
    refused = [name for name in ("lm_head", "embed_tokens") if name in lora.target_modules.split(",")]
    if refused:
        yield f"model.lora.target_modules names {', '.join(refused)}, which vLLM cannot load adapters for; leave it out"
    if vllm.sleep and config.rollout.max_staleness > 0:
        yield (
            f"vllm.sleep gives the engine's memory to the learner, and rollout.max_staleness is "
            f"{config.rollout.max_staleness}: rollouts would have to go on meanwhile; turn one of them off"
        )
    if vllm.sleep and config.train.processes > 1:
        yield (
            "vllm.sleep is for one GPU that engine and learner share, and train.processes is "
            f"{config.train.processes}, each with a GPU of its own; leave vllm.sleep out"
        )
    if not 0 < vllm.gpu_memory_utilization <= 1:
        yield f"vllm.gpu_memory_utilization is {vllm.gpu_memory_utilization}; it must lie above 0 and at most at 1"


def _staleness(config: Config) -> Iterator[str]:
    if config.rollout.max_staleness > 0 and config.loss.importance_cap == 0:
        yield (
            f"rollout.max_staleness is {config.rollout.max_staleness} and loss.importance_cap is 0: samples of an "
            "older policy would be learned from as if they were the present one's; set loss.importance_cap (2 is usual)"
        )


def _retrieval(memory: MemoryConfig, here: bool) -> Iterator[str]:
    """Yield what is wrong with the retrieval, once it and the design are known to be there.

    Args:
        here: also look whether this machine has what it needs.
    """
    named = ((DESIGNS, memory.design), (RETRIEVALS, memory.retrieval))
    if any(_named(registry, name) for registry, name in named) or uses_own_search(
        memory.retrieval, memory.retrieval_options
    ):
        return
    if complaint := complaint_of(memory.retrieval, memory.retrieval_options, here=here):
        yield f"memory.retrieval is {memory.retrieval!r}: {complaint}"
    design = DESIGNS.get(memory.design)
    if inspect.isclass(design) and not takes_retrieval(design):
        yield (
            f"memory.retrieval is {memory.retrieval!r}, and the memory design {memory.design!r} finds its items by "
            "itself (it has no `search_by`); leave memory.retrieval out"
        )


def _sizes(config: Config) -> Iterator[str]:
    memory, rollout, reader, train = config.memory, config.rollout, config.reader, config.train
    if train.group_size < 2:
        yield (
            f"train.group_size is {train.group_size}: a group of one has no spread, so nothing is learned; "
            "use at least 2 (8 is usual)"
        )
    if memory.core_budget > memory.budget:
        yield f"memory.core_budget ({memory.core_budget}) exceeds memory.budget ({memory.budget}); lower it"
    if memory.render_budget >= rollout.max_prompt_tokens:
        yield (
            f"memory.render_budget ({memory.render_budget}) leaves no room for the chunk in rollout.max_prompt_tokens "
            f"({rollout.max_prompt_tokens}); lower the first or raise the second"
        )
    further = (rollout.max_turns - 1) * (rollout.max_completion_tokens + memory.search_budget)
    if further and further + memory.render_budget >= rollout.max_prompt_tokens > memory.render_budget:
        yield (
            f"rollout.max_turns is {rollout.max_turns}: the last turn's prompt may hold {further} tokens of the turns "
            "before (each rollout.max_completion_tokens and memory.search_budget) beside memory.render_budget "
            f"({memory.render_budget}), and rollout.max_prompt_tokens is {rollout.max_prompt_tokens}; raise it, or "
            "lower one of the others"
        )
    if memory.retrieve_budget >= reader.max_prompt_tokens:
        yield (
            f"memory.retrieve_budget ({memory.retrieve_budget}) leaves no room for the question in "
            f"reader.max_prompt_tokens ({reader.max_prompt_tokens}); lower the first or raise the second"
        )
    episodes = train.group_size * train.streams_per_step
    if train.updates_per_step > max(1, episodes):
        yield (
            f"train.updates_per_step ({train.updates_per_step}) exceeds the {episodes} episodes of a step "
            "(group_size x streams_per_step), among which it is shared; lower it"
        )


def _processes(config: Config) -> Iterator[str]:
    cluster, workers, learners = config.ray, config.rollout.workers, config.train.processes
    if cluster.address is not None and workers == 0 and learners <= 1:
        yield (
            f"ray.address is {cluster.address}, but rollout.workers is 0 and train.processes 1: nothing would run "
            "there; set one of them, or leave ray.address out"
        )
    if workers > 0 and cluster.worker_cpus == 0 and cluster.worker_gpus == 0:
        yield "ray.worker_cpus and ray.worker_gpus are both 0: Ray could put all workers anywhere; give them a share"
    yield from _gpus_of_workers(config)
    if config.train.parallel == "fsdp" and learners <= 1:
        yield "train.parallel is fsdp, but train.processes is 1: there is nobody to share with; raise it, or use ddp"
    if not learner_apart(config):
        return
    if cluster.learner_cpus == 0 and cluster.learner_gpus == 0:
        yield (
            "ray.learner_cpus and ray.learner_gpus are both 0: Ray could put all learner processes anywhere; give "
            "them a share"
        )
    if config.model.device == "cuda" and cluster.learner_gpus == 0:
        yield (
            f"model.device is cuda and train.processes {learners}, but ray.learner_gpus is 0; set it to 1: each "
            "learner process needs a GPU of its own"
        )
    if config.model.device == "cpu" and cluster.learner_gpus > 0:
        yield f"ray.learner_gpus is {cluster.learner_gpus:g}, but model.device is cpu; set it to 0, or use the GPUs"
    if 0 < cluster.learner_gpus < 1:
        yield f"ray.learner_gpus is {cluster.learner_gpus:g}: processes that learn together cannot share a GPU; use 1"


def _gpus_of_workers(config: Config) -> Iterator[str]:
    """Yield what would put two models on one GPU that was given to neither, or leave a GPU that was given unused."""
    cluster, workers, device = config.ray, config.rollout.workers, config.model.device
    if workers == 0:
        return
    if device == "cuda" and cluster.worker_gpus == 0:
        yield (
            f"model.device is cuda and rollout.workers {workers}, but ray.worker_gpus is 0: all workers of a "
            "node would load their models onto its first GPU; set ray.worker_gpus to 1"
        )
    if device == "cpu" and cluster.worker_gpus > 0:
        yield f"ray.worker_gpus is {cluster.worker_gpus:g}, but model.device is cpu; set it to 0, or use the GPUs"
    parallel = config.vllm.tensor_parallel_size
    if config.rollout.engine == "vllm" and parallel > 1 and cluster.worker_gpus != parallel:
        yield (
            f"vllm.tensor_parallel_size is {parallel}, but ray.worker_gpus is {cluster.worker_gpus:g}: each worker's "
            f"engine needs {parallel} GPUs of its own; set ray.worker_gpus to {parallel}"
        )
    if device == "cuda" and cluster.worker_gpus > 0 and not learner_apart(config):
        yield (
            "the learner is in the driver's process, where no GPU is given to it, and takes one that Ray gave to a "
            "worker; set ray.learner_gpus to 1, and leave a GPU for it (rollout.workers); where there is one GPU, "
            "set rollout.workers to 0: all is one process then"
        )


def _teacher(config: Config) -> Iterator[str]:
    sft = config.sft
    if sft.teacher == "episodes" and sft.episodes is None:
        yield "sft.teacher is episodes, and sft.episodes names no run; name one: memrl sft CONFIG --from runs/tiny"
    if sft.teacher != "episodes" and sft.episodes is not None:
        yield f"sft.episodes is set and sft.teacher is {sft.teacher}; set sft.teacher=episodes, or leave it out"


def _judge(config: Config, files: bool) -> Iterator[str]:
    judge = config.judge
    yield from check_endpoint("judge.endpoint", judge.endpoint, judge.type == "endpoint", files)
    sources = [*SOURCES, *_sources_by_path(config)]
    for source, rubric in judge.answers.items():
        if source not in sources:
            yield f"judge.answers names the unknown source {source!r}{did_you_mean(source, sources)}"
        if rubric not in ANSWER_RUBRICS:
            yield f"judge.answers.{source} is {rubric!r}{did_you_mean(str(rubric), ANSWER_RUBRICS)}"
    needed = [
        *(["rewards.content=judge"] if config.rewards.content == "judge" else []),
        *(["judge.answers"] if judge.answers else []),
    ]
    if judge.type == "none" and needed:
        yield f"{' and '.join(needed)} need a judge, and judge.type is none; set it to endpoint (or policy-base)"
    if judge.type != "none" and not needed:
        yield (
            f"judge.type is {judge.type}, and nothing is to be graded; set rewards.content=judge or judge.answers, "
            "e.g. judge.answers={longmemeval: longmemeval}, or judge.type=none"
        )
    if judge.votes % 2 == 0:
        yield f"judge.votes is {judge.votes}: of an even number, half may stand against half; use {judge.votes + 1}"


def _rewards(config: Config) -> Iterator[str]:
    for meter, alarm in config.rewards.alarms.items():
        if meter not in ALARMS:
            yield f"rewards.alarms: unknown meter {meter!r}{did_you_mean(meter, ALARMS)}"
        elif not math.isfinite(alarm):
            yield f"rewards.alarms.{meter} is {alarm}; it must be a finite number"
    if config.advantage.normalize_parts and config.advantage.mode in ("pooled", "reroll"):
        yield (
            f"advantage.normalize_parts is set and advantage.mode is {config.advantage.mode}, which compares whole "
            "rewards; use another mode, or leave it out"
        )
    if config.rewards.content == "none" and config.rewards.weights.get("content"):
        yield (
            "rewards.weights.content is set and rewards.content is none, so nothing is paid for content; set "
            "rewards.content=lexical, or judge"
        )
    complaints = list(_parts(config))
    if not complaints and config.rewards.preset in PRESETS:
        try:
            resolve_weights(config.rewards.preset, config.rewards.weights, config.rewards.parts)
        except PluginError as error:  # what can be told of the parts together only
            complaints.append(str(error))
    yield from complaints


def _parts(config: Config) -> Iterator[str]:
    """Yield what is wrong with single reward parts, or their weights."""
    for name, settings in config.rewards.parts.items():
        try:
            open_part(str(name), settings)
        except PluginError as error:
            yield str(error)
    known = [*(part.name for part in SHIPPED), *map(str, config.rewards.parts)]
    for name, weight in config.rewards.weights.items():
        if name not in known:
            yield f"rewards.weights: unknown part {name!r}{did_you_mean(name, known)}"
        elif not math.isfinite(weight):
            yield f"rewards.weights.{name} is {weight}; it must be a finite number"


def _data(config: Config, files: bool) -> Iterator[str]:
    for key, specs in (("data.train", config.data.train), ("data.eval", config.data.eval)):
        if not specs:
            yield f"{key} is empty; name at least one source, e.g. {key}=[{{source: synthetic}}]"
        for index, spec in enumerate(specs):
            where = f"{key}[{index}]"
            if not isinstance(spec, Mapping):
                yield f"{where} must be a mapping like {{source: synthetic}}, not {spec!r}"
            else:
                yield from (f"{where}: {complaint}" for complaint in _source(spec, config.data.path, files))


def _source(spec: Mapping[str, Any], data_path: str | None, files: bool) -> Iterator[str]:
    name = spec.get("source")
    if name is None:
        yield f"no `source` is named in {dict(spec)!r}; sources are {', '.join(SOURCES)}"
        return
    if not SOURCES.knows(str(name)):
        yield SOURCES.unknown(str(name))
        return
    try:
        options = option_names(str(name))
    except PluginError as error:
        yield str(error)
        return
    unknown = [key for key in spec if key not in {"source", "weight", *options}]
    yield from (f"source {name!r} has no option {key!r}{did_you_mean(str(key), options)}" for key in unknown)
    try:
        parsed = parse_spec(spec, data_path)
        if not unknown:
            open_source(name, parsed.options)  # checks the options' types; reads nothing before the first stream
    except DataError as error:
        yield str(error)
        return
    path = parsed.options.get("path")
    if files and isinstance(path, str) and not Path(path).exists() and not _is_published(str(name), path):
        yield f"data file {path} does not exist; check data.path or the source's own `path`"


def _is_published(source: str, path: str) -> bool:
    """Return whether a path may be a set's name on the hub, for a source that reads such."""
    return isinstance(SOURCES[source].options().get("path"), str) and _looks_like_hub_name(path)


def _sources_by_path(config: Config) -> Iterator[str]:
    """Yield what sources that are named by an import path call themselves, as streams do that come from them."""
    for spec in (*config.data.train, *config.data.eval):
        name = str(spec.get("source")) if isinstance(spec, Mapping) else ""
        if name not in SOURCES and SOURCES.knows(name) and not SOURCES.complaint(name):
            yield SOURCES[name].name


def _model(path: str, machine: bool) -> Iterator[str]:
    if path == TINY:
        return
    folder = Path(path).expanduser()
    if not folder.exists():
        if machine and not _looks_like_hub_name(path):
            yield f"model folder {path} does not exist; give model.path a model's folder, a hub name (org/name) or tiny"
        return
    if not folder.is_dir():
        yield f"model.path {path} is a file; give the folder that holds config.json"
        return
    if not (folder / "config.json").is_file():
        yield f"model folder {path} holds no config.json; it is no transformers model"
    elif (pickled := pickled_weights(folder)) is not None:
        yield f"model folder {path} {PICKLED.format(pickled)}"
    elif not _has_chat_template(folder):
        yield (
            f"model folder {path} has no chat template (chat_template.jinja, or chat_template in "
            "tokenizer_config.json); use an instruction-tuned model or add the template"
        )


def _looks_like_hub_name(path: str) -> bool:
    """`org/name`, unless its first part is a folder here or has a folder's usual name."""
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*/[\w.-]+", path):
        return False
    first = path.split("/", 1)[0]
    return first not in {"models", "model", "runs", "checkpoints", "data", "build"} and not Path(first).is_dir()


def _has_chat_template(folder: Path) -> bool:
    if any(folder.glob("chat_template.*")) or any(folder.glob("additional_chat_templates/*.jinja")):
        return True
    try:
        settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(settings, dict) and bool(settings.get("chat_template"))
