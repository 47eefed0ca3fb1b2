"""The state of a run: what it leaves behind in its folder, and what it stands on again when it is resumed.

The invariant: a run that was killed anywhere goes on from its newest good checkpoint, and whatever was written after
that is cut off before anything new is written.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from memrl.config import Config, save_config
from memrl.errors import CheckpointError
from memrl.evaluation.evaluate import Evaluation
from memrl.learner.interface import STATE_FILE, AnyLearner
from memrl.packages import installed_version, vllm_version
from memrl.records import AdapterRef, adapter_name
from memrl.rollout.schedule import RolloutSchedule
from memrl.storage.checkpoints import find_checkpoint, list_checkpoints, save_checkpoint
from memrl.storage.files import find_damage, new_folder, write_bytes_atomic, write_json_atomic, write_text_atomic
from memrl.storage.rundir import CONFIG_FILE, EpisodeWriter, MetricsFile
from memrl.training.clock import Clock

log = logging.getLogger(__name__)

Start = tuple[Path, dict[str, Any]]
"""A checkpoint's folder, and the state that it holds."""


class RunState:
    """Where a run stands, in memory and in its folder.

    Args:
        config: the run's, with `run.dir` filled in.
        clock: what it has spent its time on.
        learner: goes into the checkpoints.
        rollouts: what is under way goes into them too.

    Attributes:
        step: the number of steps that are taken.
        episodes: the number of episodes that were trained on.
        evaluations: in the order of their steps.
        gates: of the untrained policy, by name.
    """

    def __init__(self, config: Config, clock: Clock, learner: AnyLearner, rollouts: RolloutSchedule) -> None:
        self._config = config
        self._clock = clock
        self._learner = learner
        self._rollouts = rollouts
        self.folder = run_folder(config)
        self.step = 0
        self.episodes = 0
        self.evaluations: list[Evaluation] = []
        self.gates: dict[str, float | None] = {}
        self.metrics = MetricsFile(self.folder / "metrics.jsonl")
        self.episode_files = EpisodeWriter(self.folder / "episodes")
        self._unsaved: tuple[int, dict[str, Any], bytes] | None = None  # a finished step without a checkpoint

    def begin(self, found: Start | None) -> None:
        """Stand where the run begins, or where it goes on."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if found is not None:
            self._restore(*found)
        else:
            describe(self._config)
        self._cut_off()

    def ranked(self) -> list[Evaluation]:
        """Return the evaluations, best held-out QA first; of equals, the earlier one."""
        return sorted(self.evaluations, key=lambda evaluation: (-evaluation.qa.value, evaluation.step))

    # Leaving it behind ------------------------------------------------------------------------------------------

    def save(self) -> None:
        """Write a checkpoint of the step that was just taken."""
        self._save(self.step, self._state(), self._learner.save)

    def keep(self) -> None:
        """Hold the step that was just taken in memory, for `save_unsaved`."""
        self._unsaved = (self.step, self._state(), self._learner.state())

    def save_unsaved(self) -> None:
        """Write a checkpoint of the last finished step, where `run.save_every` had left it out."""
        if self._unsaved is None:
            return
        step, state, learner = self._unsaved
        self._save(step, state, lambda folder: write_bytes_atomic(folder / STATE_FILE, learner))

    def prune(self) -> None:
        """Keep the two newest adapters, the first, the best evaluated one, and those that rollouts under way are played
        with. Only after a checkpoint: a run resumed from an older one may still have another best."""
        newest = self._learner.version
        best = {evaluation.version for evaluation in self.ranked()[:1]}
        keep = {adapter_name(version) for version in {0, newest, newest - 1, *best, *self._rollouts.versions}}
        for folder in (self.folder / "adapters").glob("v*"):
            if folder.name not in keep:
                shutil.rmtree(folder)

    def _save(self, step: int, state: dict[str, Any], write_learner: Callable[[Path], None]) -> None:
        def write(folder: Path) -> None:
            write_learner(folder / "learner")
            write_json_atomic(folder / "trainer.json", state)
            for rollout in state["rollouts"]["under_way"]:  # they begin again with the adapters they were begun with
                name = adapter_name(rollout["version"])
                shutil.copytree(self.folder / "adapters" / name, folder / "adapters" / name, dirs_exist_ok=True)

        save_checkpoint(self.folder / "checkpoints", step, write, self._config.run.keep_checkpoints)
        self._unsaved = None

    def _state(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "rollouts": self._rollouts.state(),
            "episodes": self.episodes,
            "evaluations": [asdict(evaluation) for evaluation in self.evaluations],
            "gates": self.gates,
            **self._clock.state(),
            "config": identity(self._config),
        }

    # Standing on it again ---------------------------------------------------------------------------------------

    def _restore(self, path: Path, state: dict[str, Any]) -> None:
        self._learner.load(path / "learner")
        self.step, self.episodes = state["step"], state["episodes"]
        self._rollouts.restore(state["rollouts"], lambda version: self._recover_adapter(path, version))
        self.evaluations = [Evaluation.restore(raw) for raw in state["evaluations"]]
        self.gates = state["gates"]
        self._clock.restore(state)
        log.info("going on after step %d of %d in %s", self.step, self._config.train.steps, self.folder)

    def _recover_adapter(self, checkpoint: Path, version: int) -> AdapterRef:
        name = adapter_name(version)
        target = self.folder / "adapters" / name
        if find_damage(target) is not None:
            with new_folder(target) as partial:
                shutil.copytree(checkpoint / "adapters" / name, partial, dirs_exist_ok=True)
        return AdapterRef(version, name, str(target))

    def _cut_off(self) -> None:
        """Remove what was written after the point where this run begins: all of it will be written again."""
        begun = bool(self.evaluations)
        self.metrics.cut(self.step if begun else -1)
        self.episode_files.cut(self.step)
        for folder in (self.folder / "adapters").glob("v*"):
            if folder.name > adapter_name(self._learner.version):
                shutil.rmtree(folder)


def run_folder(config: Config) -> Path:
    """Return the folder of a run, whose `run.dir` is filled in by then."""
    assert config.run.dir is not None
    return Path(config.run.dir)


def find_start(config: Config) -> Start | None:
    """Return the newest good checkpoint of a run; None where the run was stopped before it wrote one.

    Raises:
        CheckpointError: none of its checkpoints is good, or the run was begun with other settings.
    """
    folder = run_folder(config)
    root = folder / "checkpoints"
    found = find_checkpoint(root)
    if found is None and not list_checkpoints(root):
        log.info("%s has no checkpoint yet: its run begins again", folder)
        return None
    if found is None:
        raise CheckpointError(
            f"{folder} has no good checkpoint to resume from. Start again under a new name (run.dir=...)."
        )
    path = found[1]
    state: dict[str, Any] = json.loads((path / "trainer.json").read_text(encoding="utf-8"))
    changed = differences(state["config"], identity(config))
    if changed:
        raise CheckpointError(
            f"{folder} was begun with other settings ({'; '.join(changed)}). Resume with the same ones, or "
            "start a new run with another run.dir."
        )
    return path, state


def identity(config: Config) -> dict[str, Any]:
    """Return all settings that decide the numbers: not where things are written, who plays or learns, or how failures
    are met."""
    settings = asdict(config)
    for section in ("run", "ray", "vllm"):
        settings.pop(section)
    settings["data"].pop("overlap")
    for key in ("workers", "min_group", "retries", "step_timeout", "episode_timeout", "max_failure_rate"):
        settings["rollout"].pop(key)
    for role in ("reader", "judge"):
        endpoint = settings[role].pop("endpoint")
        if settings[role]["type"] == "endpoint":  # whose answers, not where they come from
            settings[role]["endpoint"] = {"model": endpoint["model"]}
    settings["judge"].pop("canary_every")
    for key in ("alarms", "on_alarm"):
        settings["rewards"].pop(key)
    for key in ("processes", "parallel"):
        settings["train"].pop(key)
    return json.loads(json.dumps(settings))


def differences(old: Any, new: Any, key: str = "") -> list[str]:
    """Return `train.lr: 0.001 then, 0.01 now`, for every setting that differs."""
    if not isinstance(old, dict) or not isinstance(new, dict):
        return [] if old == new else [f"{key}: {old!r} then, {new!r} now"]
    return [
        line
        for name in sorted(old.keys() | new.keys())
        for line in differences(old.get(name), new.get(name), f"{key}.{name}".lstrip("."))
    ]


def describe(config: Config) -> None:
    """Write into the folder of a new run what it is: its settings, its command line, and what it runs on."""
    folder = run_folder(config)
    save_config(config, folder / CONFIG_FILE)
    write_text_atomic(folder / "command.txt", " ".join(sys.argv) + "\n")
    write_json_atomic(folder / "environment.json", environment())


def environment() -> dict[str, Any]:
    """Return what the run runs on: the machine, and the versions of the packages that decide its numbers."""
    names = ("memrl", "torch", "transformers", "peft", "trl", "ray", "datasets", "omegaconf", "openai")
    vllm = vllm_version()
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "packages": {name: installed_version(name) for name in names} | ({vllm[0]: vllm[1]} if vllm else {}),
    }
