"""The second edition of the embedded model: its recipe runs, and its written heads find what a sentence changes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from memrl.cli import main as cli
from memrl.envs.tools import ToolCall
from memrl.tiny.second.recipe import LookUpRecipe, new_model
from memrl.tiny.second.tokenizer import DIALECT, IDS, SPARE, build_tokenizer, words
from memrl.tiny.tokenizer import fixed_text, item_ids


def test_the_recipe_of_the_second_edition_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["tiny", "build", "--edition", "2", "--quick"]) == 2
    assert "name a folder" in capsys.readouterr().err
    assert cli.main(["tiny", "build", "--edition", "2", "--quick", "--out", str(tmp_path / "model")]) == 0
    assert 2e6 < AutoModelForCausalLM.from_pretrained(tmp_path / "model").num_parameters() < 4e6
    assert json.loads((tmp_path / "model" / "recipe.json").read_text())["recipe"]["steps"] == 3


def test_ids_and_the_words_of_other_designs_are_one_token(tmp_path: Path) -> None:
    tokenizer = build_tokenizer(tmp_path)
    ids = item_ids(IDS)
    assert (len(ids), ids[0], ids[-1]) == (1024, "sem_0001", "epi_0512")
    assert [
        text
        for text in [*ids, *SPARE, *words(), *fixed_text(DIALECT, IDS)]
        if len(tokenizer.encode(text, add_special_tokens=False)) != 1
    ] == []
    assert {"link", "supersede", "triple", "page", "search"} <= set(SPARE)


def test_an_untrained_model_finds_the_item_that_a_sentence_changes(tmp_path: Path) -> None:
    """The written heads alone: which id follows "...memory_id" is seen by the heads of the third layer."""
    tokenizer = build_tokenizer(tmp_path)
    model = new_model(LookUpRecipe(), tokenizer)
    model.set_attn_implementation("eager")
    items = ["Ada owns a cat.", "Ada lives in Oslo.", "Ben owns a dog.", "Ben likes soup.", "Cora lives in Rome."]
    lines = "\n".join(f"sem_{41 + number:04d}: {item}" for number, item in enumerate(items))
    for sentence, item in (
        ("Ben now owns a frog.", "sem_0043"),
        ("Ada lives in Paris, not in Oslo.", "sem_0042"),
        ("Cora now lives in Bergen.", "sem_0045"),
        ("Ben no longer likes soup.", "sem_0044"),
    ):
        call = ToolCall(name="memory_update", arguments={"memory_id": item, "content": sentence})
        written = DIALECT.format([call]).split(item)[0]
        text = f"# Memory (50% full, 0 hidden)\n{lines}\n# Text (May 2)\nAda yawned. {sentence}\n{written}"
        ids = tokenizer.encode(text, add_special_tokens=False)
        place = ids.index(tokenizer.convert_tokens_to_ids(item))
        with torch.no_grad():
            seen = model(torch.tensor([ids]), output_attentions=True).attentions[2][0, :2, -1, place]
        assert float(seen.min()) > 0.5, sentence
