"""Counts that no other load disturbs: what a step computes beside what it would without sharing, and what it writes.

Seconds differ from machine to machine; forward passes, positions that go through the model and bytes do not, but for
the few per cent by which processors sample other tokens. A change that computes things twice is seen here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from transformers.models.qwen3.modeling_qwen3 import Qwen3Model

from memrl.config import Config, load_config
from memrl.records import Episode
from memrl.storage.rundir import EpisodeWriter
from memrl.training.trainer import Trainer
from tests.support import quiet

STEPS = 2


class Counted(NamedTuple):
    """A short run of the embedded default."""

    config: Config
    folder: Path
    passes: Counter[str]
    """Forward passes of the engine and of the learner."""
    positions: Counter[str]
    """Input positions, padding included."""
    episodes: list[Episode]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Counted]:
    folder = tmp_path_factory.mktemp("counts") / "run"
    words = {
        "run.dir": folder, "model.device": "cpu", "train.steps": STEPS, "train.streams_per_step": 2,
        "eval.streams": 1, "eval.every": 0,
    }  # fmt: skip
    config = load_config("tiny", [f"{key}={value}" for key, value in words.items()])
    passes: Counter[str] = Counter()
    positions: Counter[str] = Counter()
    whose = ["engine"]
    forward = Qwen3Model.forward

    def counting(self: Any, input_ids: Any = None, **given: Any) -> Any:
        passes[whose[0]] += 1
        positions[whose[0]] += input_ids.numel()
        return forward(self, input_ids=input_ids, **given)

    def counted_as(name: str, function: Any) -> Any:
        def called(*given: Any, **more: Any) -> Any:
            whose[0] = name
            try:
                return function(*given, **more)
            finally:
                whose[0] = "engine"

        return called

    with pytest.MonkeyPatch.context() as patch:
        trainer = Trainer(config, name="counts", resume=False, console=quiet())
        patch.setattr(Qwen3Model, "forward", counting)
        patch.setattr(trainer.learner, "step", counted_as("learner", trainer.learner.step))
        patch.setattr(trainer, "_evaluate", counted_as("evaluation", trainer._evaluate))
        trainer.run()
    episodes = [episode for step in range(1, STEPS + 1) for episode in EpisodeWriter(folder / "episodes").read(step)]
    yield Counted(config, folder, passes, positions, episodes)


def test_an_engine_reads_common_beginnings_and_equal_questions_once(run: Counted) -> None:
    """0.75 of the positions of one request after another, in 288 passes, on 2026-11-27; a step of more streams shares
    more."""
    alone = sum(
        sum(len(step.prompt_ids) + len(step.completion.ids) - 1 for step in episode.steps)
        + sum(answer.prompt_tokens + answer.completion_tokens - 1 for answer in episode.answers)
        for episode in run.episodes
    )
    assert 0.3 * alone < run.positions["engine"] < 0.85 * alone
    assert run.passes["engine"] < 400


def test_a_learner_reads_common_beginnings_once_and_pads_little(run: Counted) -> None:
    """Two updates and one look at what the adapter thought before: 1.58 times the samples one by one, where three would
    be without sharing, on 2026-11-27."""
    alone = sum(
        len(step.prompt_ids) + len(step.completion.ids) - 1 for episode in run.episodes for step in episode.steps
    )
    assert alone < run.positions["learner"] < 1.8 * alone


def test_what_a_step_leaves_behind_does_not_grow(run: Counted) -> None:
    """An adapter is its weights, a checkpoint the adapter and what AdamW keeps of it, an episode a kilobyte."""

    def size(folder: Path) -> int:
        return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())

    versions = sorted((run.folder / "adapters").iterdir())
    weights = (versions[-1] / "adapter_model.safetensors").stat().st_size
    assert len(versions) == STEPS + 1
    assert size(run.folder / "adapters") < 1.1 * weights * len(versions)
    checkpoints = [path for path in (run.folder / "checkpoints").iterdir() if not path.is_symlink()]
    assert size(run.folder / "checkpoints") < 3.3 * weights * len(checkpoints)
    assert 200 < size(run.folder / "episodes") / len(run.episodes) < 2_000
