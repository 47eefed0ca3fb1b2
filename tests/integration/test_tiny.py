"""The embedded model: its recipe runs, its tokenizer makes prompts short in the way the recipe counts on, and what is
written into it finds the item that a sentence changes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from memrl.cli import main as cli
from memrl.config import ModelConfig
from memrl.config.shipped import TINY, TINY_MODEL
from memrl.engines.models import context_length, load_tokenizer
from memrl.engines.prompting import Prompter
from memrl.envs.designs.stores import StoreMemory
from memrl.envs.tools import ToolCall
from memrl.storage.files import find_damage, sha256_file
from memrl.tiny.recipe import Recipe, build_model, new_model
from memrl.tiny.tokenizer import DIALECT, IDS, SPARE, build_tokenizer, fixed_text, item_ids, words
from tests.support import quiet


def check_record(folder: Path) -> None:
    """recipe.json names every file of the folder by its hash."""
    recorded = json.loads((folder / "recipe.json").read_text())["sha256"]
    files = {path.name for path in folder.iterdir()} - {"recipe.json", "manifest.json"}
    assert {"model.safetensors", "tokenizer.json", "config.json", "chat_template.jinja"} <= files
    assert set(recorded) == files
    for name, digest in recorded.items():
        assert sha256_file(folder / name) == digest, name


def test_the_recipe_rebuilds(quick_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check_record(quick_model)
    assert find_damage(quick_model) is None
    model = AutoModelForCausalLM.from_pretrained(quick_model)
    assert model.config.model_type == "qwen3"
    assert 2e6 < model.num_parameters() < 4e6
    # The same recipe, the same bytes; and by the command.
    again = tmp_path / "again"
    assert cli.main(["tiny", "build", "--quick", "--out", str(again)]) == 0
    for name in ("model.safetensors", "tokenizer.json"):
        assert (again / name).read_bytes() == (quick_model / name).read_bytes()


def test_a_rebuild_replaces_the_folder_whole(tmp_path: Path) -> None:
    out = tmp_path / "model"
    out.mkdir()
    (out / "old").write_text("old")
    build_model(out, quick=True, console=quiet())
    assert not (out / "old").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_every_word_is_one_token_wherever_it_stands(quick_model: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(quick_model)

    def count(text: str) -> int:
        return len(tokenizer.encode(text, add_special_tokens=False))

    assert [word for word in words() if count(word) != 1] == []
    assert [word for word in words() if count(f"{word} {word}") != 2] == []
    assert [text for text in fixed_text() if count(text) != 1] == []
    ids = item_ids()
    assert (len(ids), ids[0], ids[-1]) == (2 * IDS, "sem_0001", "epi_0512") and set(ids) <= set(fixed_text())
    assert {"link", "supersede", "triple", "page", "search"} <= set(SPARE) <= set(words())
    for text in ("# Text\nAda lives in Paris.", "sem_0001: Ada lives in Paris.\nepi_0002 (May 3): Ben met Cora."):
        # White space apart: a word brings its space along, also after fixed text that ends in one.
        decoded = tokenizer.decode(tokenizer.encode(text, add_special_tokens=False))
        assert "".join(decoded.split()) == "".join(text.split())
    calls = [
        ToolCall(name="memory_insert", arguments={"memory_type": "semantic", "content": "Ada lives in Paris."}),
        ToolCall(name="memory_update", arguments={"memory_id": "sem_0001", "content": "Ada now lives in Rome."}),
    ]
    dialect = DIALECT
    text = dialect.format(calls)
    ids = tokenizer.encode(text, add_special_tokens=False)
    assert len(ids) < 20
    # What the model writes is carried out as what the teacher meant.
    memory = StoreMemory(100, 10)
    assert all(memory.execute(call).ok for call in dialect.parse(Prompter(tokenizer, dialect).decode(ids)))
    assert [item.content for item in memory.items] == ["Ada now lives in Rome."]


def test_the_chat_template_renders_the_tools(quick_model: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(quick_model)
    prompter = Prompter(tokenizer, DIALECT)
    tools = StoreMemory(100, 10).tools
    messages = [{"role": "system", "content": "Keep a memory."}, {"role": "user", "content": "Ada lives in Paris."}]
    text = tokenizer.decode(prompter.encode(messages, tools))
    for tool in tools:
        assert text.count(tool.name) == 1  # by the template, and not once more by the dialect
    assert text.rstrip().endswith("assistant")
    assert "memory_insert" not in tokenizer.decode(prompter.encode(messages))


@pytest.mark.skipif(not TINY_MODEL.is_dir(), reason="the embedded model is not built yet")
def test_the_shipped_model_is_what_its_recipe_recorded() -> None:
    check_record(TINY_MODEL)
    assert sum(path.stat().st_size for path in TINY_MODEL.iterdir()) <= 6 * 2**20
    AutoModelForCausalLM.from_pretrained(TINY_MODEL)


def test_what_is_read_of_it_without_torch_is_what_transformers_finds() -> None:
    ours, found = load_tokenizer(ModelConfig(path=TINY)), AutoTokenizer.from_pretrained(TINY_MODEL)
    assert type(ours) is type(found)
    assert ours.backend_tokenizer.to_str() == found.backend_tokenizer.to_str()
    assert ours.init_kwargs == found.init_kwargs
    assert (ours.chat_template, ours.special_tokens_map) == (found.chat_template, found.special_tokens_map)
    assert (ours.name_or_path, ours.padding_side) == (found.name_or_path, found.padding_side)
    described = AutoConfig.from_pretrained(TINY_MODEL).get_text_config()
    assert context_length(ModelConfig(path=TINY)) == described.max_position_embeddings


def test_an_untrained_model_finds_the_item_that_a_sentence_changes(tmp_path: Path) -> None:
    """The written heads alone: which id follows "...memory_id" is seen by the heads of the third layer."""
    tokenizer = build_tokenizer(tmp_path)
    model = new_model(Recipe(), tokenizer)
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
