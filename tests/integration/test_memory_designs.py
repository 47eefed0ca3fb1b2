"""Memory designs in runs: each is demonstrated and trained in its own tools, one from outside the package too."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from memrl.credit import wants_rerolls
from memrl.engines.models import load_tokenizer
from memrl.engines.prompting import Prompter
from memrl.envs.designs import DESIGNS
from memrl.envs.dialects.hermes import HermesDialect
from memrl.envs.sources.synthetic import synthetic
from memrl.errors import ConfigError
from memrl.rollout.environment import new_env, new_memory
from memrl.sft.examples import answering, memorising
from memrl.sft.run import warm_start
from memrl.sft.teacher import Carelessness
from memrl.storage.rundir import EpisodeWriter
from memrl.training.trainer import Trainer
from tests.support import ROOT, quiet, rows, small_config

ROOMY = {"rollout.max_prompt_tokens": 1600, "sft.max_length": 2400}


@pytest.mark.parametrize("name", DESIGNS.shipped)
def test_the_teacher_speaks_the_tools_of_every_design(name: str, quick_model: Path, tmp_path: Path) -> None:
    config = small_config(quick_model, tmp_path, {"memory.design": name})
    prompter = Prompter(load_tokenizer(config.model), HermesDialect())
    [stream] = synthetic(seed=4, count=1, chunks=4, changes=0.5, events=0.3)
    habits = Carelessness(store=1.0, chatter=0.0, update=1.0, misfile=0.0)
    memory = new_memory(config.memory, prompter, room=10)
    shown = list(memorising(stream, config, prompter, random.Random(0), habits, memory))
    assert len(shown) == 4 and len(memory.items) >= 4
    # What was demonstrated can be played by a policy that has learned it.
    replayed = new_memory(config.memory, prompter, room=10)
    env = new_env(config.memory, config.rollout, prompter, stream, replayed)
    for example in shown:
        said = prompter.tokenizer.decode(example.completion_ids[:-1])
        assert all(result.ok for result in env.step(said).results), said
    assert replayed.snapshot() == memory.snapshot()
    assert len(list(answering(stream, config, prompter, random.Random(0), share=1.0))) >= len(stream.questions) // 2


@pytest.mark.slow
@pytest.mark.parametrize("name", DESIGNS.shipped)
@pytest.mark.parametrize("mode", ["counterfactual", "retrieved", "reroll"])
def test_every_design_trains_under_every_credit(name: str, mode: str, quick_model: Path, tmp_path: Path) -> None:
    changes = {**ROOMY, "memory.design": name, "advantage.mode": mode, "train.steps": 1, "eval.every": 0}
    config = small_config(quick_model, tmp_path / "run", changes)
    Trainer(config, name=name, resume=False, console=quiet()).run()
    assert rows(tmp_path / "run")[-1]["step"] == 1
    assert wants_rerolls(mode) == (mode == "reroll")


WRAPPED = "[{wrapper: decay, strength: 1.0}, guard, {wrapper: consolidate, every: 2}]"


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("stores", "evidence"),
        *(pytest.param(name, "reroll", marks=pytest.mark.slow) for name in DESIGNS.shipped),
        *(pytest.param("ledger", mode, marks=pytest.mark.slow) for mode in ("counterfactual", "retrieved", "episode")),
    ],
)
def test_a_wrapped_design_is_warm_started_trained_and_told(
    name: str, mode: str, quick_model: Path, tmp_path: Path
) -> None:
    changes = {
        **ROOMY, "memory.design": name, "memory.wrappers": WRAPPED, "advantage.mode": mode, "train.steps": 1,
        "eval.every": 0,
    }  # fmt: skip
    config = small_config(quick_model, tmp_path / "run", changes)
    prompter = Prompter(load_tokenizer(config.model), HermesDialect())
    [stream] = synthetic(seed=4, count=1, chunks=4, changes=0.5, events=0.3)
    assert len(list(memorising(stream, config, prompter, random.Random(0), Carelessness()))) == 6
    Trainer(config, name=name, resume=False, console=quiet()).run()
    assert rows(tmp_path / "run")[-1]["step"] == 1
    step = EpisodeWriter(tmp_path / "run" / "episodes").read(1)
    tidied = [one.tidies for one in step[0].steps]
    assert sum(tidied) == -(-sum(not one for one in tidied) // 2), "after every two chunks and at the end"
    assert all(len(episode.steps) == len(tidied) for episode in step)
    assert all("# No text" in prompter.decode(one.prompt_ids) for one in step[0].steps if one.tidies)
    assert step[0].memory["design"] == f"{name}+decay+guard+consolidate"


def test_a_design_of_ones_own_is_warm_started_and_trained(
    quick_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (ROOT / "docs" / "designs.md").read_text(encoding="utf-8")
    (tmp_path / "diary.py").write_text(re.findall(r"```python\n(.*?)```", page, re.DOTALL)[0], encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    design = {**ROOMY, "memory.design": "diary:Diary"}
    few = {"sft.steps": 3, "sft.batch_size": 4, "sft.streams": 4, "sft.lr": 1e-3, "sft.dir": tmp_path / "warm"}
    warm = warm_start(small_config(quick_model, tmp_path / "run", {**design, **few}), quiet())
    config = small_config(warm, tmp_path / "run", {**design, "train.steps": 2, "eval.every": 0})
    Trainer(config, name="diary", resume=False, console=quiet()).run()
    assert [row["step"] for row in rows(tmp_path / "run")][-2:] == [1, 2]


def test_a_design_that_keeps_nothing_has_no_teacher(
    quick_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mute.py").write_text(
        "from memrl.envs.designs.stores import StoreMemory\n"
        "class Mute(StoreMemory):\n"
        "    def keep(self, sentence, *, event=False, instead_of=None):\n"
        "        return []\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    changes = {"memory.design": "mute:Mute", "sft.dir": tmp_path / "warm"}
    with pytest.raises(ConfigError, match=r"nothing that a teacher could show\. Train without a warm start"):
        warm_start(small_config(quick_model, tmp_path / "run", changes), quiet())
