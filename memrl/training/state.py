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
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

import memrl
from memrl.config import Config, RunConfig, save_config
from memrl.config.identity import ANY_LENGTH, decisive, differences, set_keys
from memrl.errors import CheckpointError, ConfigError
from memrl.evaluation.evaluate import Evaluation
from memrl.evaluation.kinds import KindScores
from memrl.learner.interface import STATE_FILE, AnyLearner
from memrl.packages import installed_version, vllm_version
from memrl.records import AdapterRef, adapter_name
from memrl.rollout.schedule import RolloutSchedule
from memrl.storage.checkpoints import find_checkpoint, list_checkpoints, save_checkpoint
from memrl.storage.files import find_damage, new_folder, write_bytes_atomic, write_json_atomic, write_text_atomic
from memrl.storage.formats import check_format, stamp
from memrl.storage.rundir import (
    COMPUTED_FILE,
    CONFIG_FILE,
    EPISODES,
    EVALUATION,
    METRICS_FILE,
    EpisodeWriter,
    MetricsFile,
    check_run,
    write_run_format,
)
from memrl.training.clock import Clock

log = logging.getLogger(__name__)

Start = tuple[Path, dict[str, Any]]
"""A checkpoint's folder, and the state that it holds."""


class RunState:
    """The state of a run, in memory and in its folder.

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
        kinds_before: its scores by kind and stream, which later ones are compared with; None: a run that was begun by a
            version that did not keep them.
    """

    def __init__(self, config: Config, clock: Clock, learner: AnyLearner, rollouts: RolloutSchedule) -> None:
        self._config = config
        self._clock = clock
        self._learner = learner
        self._rollouts = rollouts
        self.folder = run_folder(config.run)
        self.step = 0
        self.episodes = 0
        self.evaluations: list[Evaluation] = []
        self.gates: dict[str, float | None] = {}
        self.kinds_before: KindScores | None = None
        self.metrics = MetricsFile(self.folder / METRICS_FILE)
        self.computed = MetricsFile(self.folder / COMPUTED_FILE)
        self.episode_files = EpisodeWriter(self.folder / EPISODES)
        self.held_out_files = EpisodeWriter(self.folder / EVALUATION / EPISODES)
        self._unsaved: tuple[int, dict[str, Any], bytes, dict[str, Any]] | None = None  # finished, without a checkpoint

    def begin(self, found: Start | None, name: str) -> None:
        """Stand where the run begins, or where it goes on; `name` is the run's."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if found is not None:
            self._restore(*found)
        else:
            describe(self._config)
        write_run_format(self.folder, memrl.__version__, name)  # last: where it is, the config is
        self._cut_off()

    def ranked(self) -> list[Evaluation]:
        """Return the evaluations, the best first (`memrl.evaluation.kinds.BEST_RULE`)."""
        return sorted(self.evaluations, key=lambda found: (-found.qa.value - found.worst_fall, found.step))

    # Leaving it behind ------------------------------------------------------------------------------------------

    def keep(self, row: dict[str, Any]) -> None:
        """Hold the step that was just taken in memory, until it is saved; `row` is what the metrics say of it."""
        self._unsaved = (self.step, self._state(), self._learner.state(), row)

    def save(self) -> None:
        """Write a checkpoint of the step that is kept, if it has none."""
        if self._unsaved is None:
            return
        step, state, learner, _ = self._unsaved

        def write(folder: Path) -> None:
            write_bytes_atomic(folder / "learner" / STATE_FILE, learner)
            write_json_atomic(folder / "trainer.json", state)
            for rollout in state["rollouts"]["under_way"]:  # they begin again with the adapters they were begun with
                name = adapter_name(rollout["version"])
                shutil.copytree(self.folder / "adapters" / name, folder / "adapters" / name, dirs_exist_ok=True)

        save_checkpoint(self.folder / "checkpoints", step, write, self._config.run.keep_checkpoints)
        self._unsaved = None

    def save_unsaved(self) -> None:
        """Write a checkpoint of the last finished step, and its row, where `run.save_every` had left it out or the end
        came before."""
        if self._unsaved is None:
            return
        step, _, _, row = self._unsaved
        if all(written["step"] != step for written in self.metrics.rows()):
            self.metrics.append(row)
        self.save()

    def prune(self) -> None:
        """Keep the two newest adapters, the first, the best evaluated one, and those that rollouts under way are played
        with. Only after a checkpoint: a run resumed from an older one may still have another best."""
        newest = self._learner.version
        best = {evaluation.version for evaluation in self.ranked()[:1]}
        keep = {adapter_name(version) for version in {0, newest, newest - 1, *best, *self._rollouts.versions}}
        for folder in (self.folder / "adapters").glob("v*"):
            if folder.name not in keep:
                shutil.rmtree(folder)

    def _state(self) -> dict[str, Any]:
        return {
            **stamp("checkpoint"),
            "step": self.step,
            "rollouts": self._rollouts.state(),
            "episodes": self.episodes,
            "evaluations": [asdict(evaluation) for evaluation in self.evaluations],
            "gates": self.gates,
            "kinds_before": self.kinds_before,
            **self._clock.state(),
            "config": decisive(self._config),
            "set": set_keys(self._config),
        }

    # Standing on it again ---------------------------------------------------------------------------------------

    def _restore(self, path: Path, state: dict[str, Any]) -> None:
        self._learner.load(path / "learner")
        self.step, self.episodes = state["step"], state["episodes"]
        self._rollouts.restore(state["rollouts"], lambda version: self._recover_adapter(path, version))
        self.evaluations = [Evaluation.restore(raw) for raw in state["evaluations"]]
        self.gates = state["gates"]
        self.kinds_before = state.get("kinds_before")
        self._clock.restore(state)
        if _steps(state) != self._config.train.steps:  # it is made longer
            save_config(self._config, self.folder / CONFIG_FILE)
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
        for rows in (self.metrics, self.computed):
            rows.cut(self.step if begun else -1)
        self.episode_files.cut(self.step)
        self.held_out_files.cut(self.step if begun else -1)
        for folder in (self.folder / "adapters").glob("v*"):
            if folder.name > adapter_name(self._learner.version):
                shutil.rmtree(folder)


def run_folder(config: RunConfig) -> Path:
    """Return the folder of a run, whose `run.dir` is filled in by then."""
    assert config.dir is not None
    return Path(config.dir)


def find_start(config: Config) -> Start | None:
    """Return the newest good checkpoint of a run; None where the run was stopped before it wrote one.

    Raises:
        CheckpointError: none of its checkpoints is good.
        ConfigError: the run was begun with other settings.
        FormatError: a newer version has written there.
    """
    folder = run_folder(config.run)
    check_run(folder)
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
    check_format("checkpoint", state, path)
    _refuse_others(folder, state, config)
    return path, state


def _refuse_others(folder: Path, state: dict[str, Any], config: Config) -> None:
    """Refuse settings that would make it another run; only `train.steps` may grow, where the schedule allows it."""
    changed = differences(state["config"], config, set_then=state.get("set"))
    train, taken = config.train, state["step"]
    if "train.steps" in changed and train.steps > max(taken, _steps(state)):
        if train.schedule in ANY_LENGTH:
            del changed["train.steps"]
        else:
            changed["train.steps"] += (
                f", which train.schedule={train.schedule} does not allow: the learning rates of the {taken} steps that "
                f"are taken would have been others (a run with {', '.join(ANY_LENGTH)} can be made longer)"
            )
    if changed:
        raise ConfigError(
            f"{folder} was begun with other settings ({'; '.join(changed.values())}). Resume with the same ones, or "
            "start a new run with another run.dir."
        )


def _steps(state: dict[str, Any]) -> int:
    """Return the `train.steps` of a checkpoint's settings, which older ones hold by section."""
    settings = state["config"]
    return int(settings["train"]["steps"] if "train" in settings else settings["train.steps"])


def describe(config: Config) -> None:
    """Write into the folder of a new run what it is: its settings, its command line, and what it runs on."""
    folder = run_folder(config.run)
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
