"""The embedded model in the words of other memory designs: short prompts and calls, embeddings taken along, and calls
of those designs before any training."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from memrl.cli import main as cli
from memrl.config import ModelConfig
from memrl.config.shipped import TINY_MODEL
from memrl.engines.models import load_tokenizer
from memrl.engines.prompting import Prompter
from memrl.envs.designs import DESIGNS
from memrl.envs.designs.keeping import keep_notes
from memrl.envs.memory_env import MemoryEnv
from memrl.envs.sources.synthetic import synthetic
from memrl.tiny.tokenizer import DIALECT
from memrl.tiny.wording import reword_model

CALLS = {
    "stores": 10, "typed": 10, "ledger": 10, "triples": 12, "compact_verbatim": 13, "pages": 17, "hierarchy": 10,
    "linked": 14, "text": 40,
}  # fmt: skip
"""Tokens of the longest call that keeps or changes a sentence; of `text`, of a rewriting."""


@pytest.mark.parametrize("design", list(CALLS))
def test_prompts_and_calls_of_a_design_are_short_and_read_back(design: str, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(ModelConfig(path=str(reword_model(design, tmp_path / design))))
    prompter = Prompter(tokenizer, DIALECT)
    [stream] = synthetic(seed=3, count=1)
    memory = DESIGNS.get(design)(1000, 100, prompter.count_tokens)
    observation = MemoryEnv(stream, memory, DIALECT).observe()
    assert len(prompter.encode(observation.messages, observation.tools)) < 45
    keep_notes(memory, stream, 3)
    item = memory.items[-1]
    for calls in (memory.keep("Kira lives in Oslo."), memory.keep("Kira lives in Rome.", instead_of=item)):
        ids = tokenizer.encode(DIALECT.format(calls), add_special_tokens=False)
        assert len(ids) <= CALLS[design]
        assert DIALECT.parse(prompter.decode(ids))[-1].name == calls[-1].name
        told = [memory.execute(call, time="June 1") for call in DIALECT.parse(prompter.decode(ids))]
        assert all(result.ok for result in told)
    assert any("Kira" in held.content for held in memory.items)


def test_an_id_has_the_embedding_of_an_id(tmp_path: Path) -> None:
    folder = reword_model("ledger", tmp_path / "ledger")
    old, new = load_tokenizer(ModelConfig(path="tiny")), load_tokenizer(ModelConfig(path=str(folder)))
    before = AutoModelForCausalLM.from_pretrained(TINY_MODEL).get_input_embeddings().weight
    after = AutoModelForCausalLM.from_pretrained(folder).get_input_embeddings().weight
    for was, now in (("sem_0007", "fact_0007"), ("ĠKira", "ĠKira")):
        one, other = old.convert_tokens_to_ids(was), new.convert_tokens_to_ids(now)
        assert before[one].equal(after[other])
    assert "sem_0007" not in new.get_vocab() and len(new) == len(after)


def test_the_ledger_is_written_before_any_training(tmp_path: Path) -> None:
    folder = reword_model("ledger", tmp_path / "ledger")
    prompter = Prompter(load_tokenizer(ModelConfig(path=str(folder))), DIALECT)
    model = AutoModelForCausalLM.from_pretrained(folder)
    stored = 0
    for stream in synthetic(seed=5, count=4, chunks=4):
        env = MemoryEnv(stream, DESIGNS.get("ledger")(52, 20, prompter.count_tokens), DIALECT, render_budget=80)
        while not env.done:
            observation = env.observe()
            ids = prompter.encode(observation.messages, observation.tools)
            written = model.generate(torch.tensor([ids]), max_new_tokens=48, do_sample=False)[0, len(ids) :]
            stored += sum(result.ok for result in env.step(prompter.decode(written.tolist())).results)
    assert stored > 8


def test_an_unknown_design_is_said_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["tiny", "reword", "legder", "--out", str(tmp_path / "out")]) == 2
    assert "ledger" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
