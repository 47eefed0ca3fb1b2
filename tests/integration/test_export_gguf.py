"""Export to GGUF: what is read back from the file alone is the trained policy, and what cannot be one is refused."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from gguf import GGUFReader
from peft import PeftModel
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GPT2Config,
    LlamaConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen3Config,
)

import memrl.export.gguf
from memrl.engines.models import load_model
from memrl.envs.memory_env import INSTRUCTION
from memrl.envs.sources.synthetic import synthetic
from memrl.errors import CheckpointError, ConfigError
from memrl.export import AGENT_FILE, export
from memrl.export.gguf import FILE, SPLITS
from memrl.policies.exported import open_exported
from memrl.storage.files import find_damage
from memrl.tiny.tokenizer import CHAT_TEMPLATE
from tests.support import small_config, untrained_run, with_other_eos

SHAPE = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
    "initializer_range": 0.3,
    "bos_token_id": None,
}
FAMILIES = {
    "llama": (LlamaConfig(**SHAPE, tie_word_embeddings=False, rope_parameters={"rope_theta": 5e4}), "smollm"),
    "qwen2": (Qwen2Config(**SHAPE, tie_word_embeddings=True), "qwen2"),
    "qwen3": (Qwen3Config(**SHAPE, tie_word_embeddings=True, head_dim=128), "gpt-2"),
}
TEXT = "In 1987 she's moved to  Zürich\n\n\tand paid 12,345 (twice!) <|im_end|> 漢字 🦆"


def make_tokenizer(split: str) -> PreTrainedTokenizerFast:
    """A byte-level BPE that splits text as `split` does."""
    stages = []
    for stage in SPLITS[split]:
        if stage["type"] == "Digits":
            stages.append(pre_tokenizers.Digits(individual_digits=True))
        elif stage["type"] == "Split":
            stages.append(pre_tokenizers.Split(Regex(stage["pattern"]["Regex"]), "isolated"))
        else:
            stages.append(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=stage["use_regex"]))
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.Sequence(stages)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=900, special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    streams = itertools.islice(synthetic(seed=0, count=40, chunks=2), 40)
    backend.train_from_iterator([INSTRUCTION, *(chunk.text for one in streams for chunk in one.chunks)], trainer)
    backend.add_tokens(["<tool_call>", "</tool_call>"])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token="<|im_end|>", pad_token="<|endoftext|>",
        additional_special_tokens=["<|im_start|>"],
    )  # fmt: skip
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def make_model(folder: Path, config: Any, split: str = "gpt-2") -> Path:
    """A random model whose biases and norms are not those that a fresh model has; some rows belong to no token."""
    tokenizer = make_tokenizer(split)
    config.vocab_size = len(tokenizer) + 5
    config.eos_token_id, config.pad_token_id = tokenizer.eos_token_id, tokenizer.pad_token_id
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(0.3 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a small Llama."""
    folder = tmp_path_factory.mktemp("llama")
    return untrained_run(make_model(folder / "model", *FAMILIES["llama"]), folder / "run")


@pytest.mark.parametrize("family", FAMILIES)
def test_the_file_alone_is_the_trained_policy(family: str, tmp_path: Path) -> None:
    model = make_model(tmp_path / "model", *FAMILIES[family])
    run = untrained_run(model, tmp_path / "run")
    check = export(run, tmp_path / "out", format="gguf")
    assert (check.same, check.steps) == (2, 2) and check.gap < 1e-4
    assert find_damage(tmp_path / "out") is None
    with pytest.raises(ConfigError, match="is a gguf export, which other programs load"):
        open_exported(tmp_path / "out")
    assert json.loads((tmp_path / "out" / AGENT_FILE).read_text())["format"] == "gguf"
    assert AutoTokenizer.from_pretrained(tmp_path / "out").chat_template == CHAT_TEMPLATE

    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.move(tmp_path / "out" / FILE, alone / FILE)
    given = AutoTokenizer.from_pretrained(model)
    read = AutoTokenizer.from_pretrained(alone, gguf_file=FILE)
    assert read.encode(TEXT) == given.encode(TEXT)
    assert (read.chat_template, read.eos_token, read.pad_token) == (CHAT_TEMPLATE, "<|im_end|>", "<|endoftext|>")
    ids = torch.tensor([given.encode(TEXT)])
    base = load_model(small_config(model, tmp_path).model)
    untrained = base(ids).logits
    trained = PeftModel.from_pretrained(base, str(run / "adapters" / "v00001"))(ids).logits
    loaded = AutoModelForCausalLM.from_pretrained(alone, gguf_file=FILE, dtype=torch.float32)(ids).logits
    assert torch.allclose(loaded, trained, atol=1e-3)
    assert (untrained - trained).abs().max() > 0.1


def test_a_bfloat16_run_is_written_in_bfloat16(llama: Path, tmp_path: Path) -> None:
    model = Path(llama.parent / "model")
    run = untrained_run(model, tmp_path / "run", {"model.dtype": "bfloat16"})
    check = export(run, tmp_path / "out", format="gguf")
    assert 0 < check.gap <= check.bound == 0.1
    kinds = {tensor.name: tensor.tensor_type.name for tensor in GGUFReader(tmp_path / "out" / FILE).tensors}
    assert (kinds["blk.0.attn_q.weight"], kinds["blk.0.attn_norm.weight"]) == ("BF16", "F32")


def test_a_wrong_layout_is_found_and_nothing_is_left(
    llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memrl.export.gguf, "_interleave", lambda weight, heads: weight)
    with pytest.raises(CheckpointError, match="it is not the trained policy"):
        export(llama, tmp_path / "out", format="gguf")
    assert list(tmp_path.iterdir()) == []


def test_a_token_that_the_file_cannot_spell_is_found(llama: Path, tmp_path: Path) -> None:
    model = shutil.copytree(llama.parent / "model", tmp_path / "model")
    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.add_tokens(["two words"])
    tokenizer.save_pretrained(model)
    with pytest.raises(CheckpointError, match=r"1 tokens are not in the file as they should be: \[\('two words'"):
        export(llama, tmp_path / "out", format="gguf", model=str(model))


def refusal(model: Path, tmp_path: Path) -> str:
    run = untrained_run(model, tmp_path / "run")
    with pytest.raises(ConfigError) as caught:
        export(run, tmp_path / "out", format="gguf")
    assert not (tmp_path / "out").exists()
    return str(caught.value)


def test_what_a_file_cannot_hold_is_named(quick_model: Path, llama: Path, tmp_path: Path) -> None:
    said = refusal(quick_model, tmp_path / "tiny")  # the embedded model's architecture
    assert "there is no place for model.layers.0.self_attn.q_proj.bias (and 15 more)" in said
    assert "head_dim is 32, and transformers reads every Qwen3 with 128" in said
    assert "its tokenizer is not a byte-level BPE that splits text as one of gpt-2, smollm, qwen2" in said

    scaled = LlamaConfig(**SHAPE, rope_parameters={"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4})
    assert "its rotary embedding is scaled (linear)" in refusal(make_model(tmp_path / "scaled", scaled), tmp_path / "s")

    other = GPT2Config(n_embd=32, n_layer=1, n_head=2)
    said = refusal(make_model(tmp_path / "gpt2", other), tmp_path / "g")
    assert "is a GPT2LMHeadModel; the format gguf covers LlamaForCausalLM, Qwen2ForCausalLM, Qwen3ForCausalLM" in said


def test_without_the_package_it_says_how_to_get_it(
    llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memrl.export.gguf, "installed_version", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'memrl\[gguf\]'"):
        export(llama, tmp_path / "out", format="gguf")


def test_the_file_names_the_token_that_ends_a_turn(tmp_path: Path) -> None:
    model = with_other_eos(make_model(tmp_path / "whole", *FAMILIES["llama"]), tmp_path / "model")
    export(untrained_run(model, tmp_path / "run"), tmp_path / "out", format="gguf")
    fields = GGUFReader(tmp_path / "out" / FILE).fields
    read = AutoTokenizer.from_pretrained(model)
    found = [int(fields[f"tokenizer.ggml.{name}_token_id"].parts[-1][0]) for name in ("eos", "eot")]
    assert found == read.convert_tokens_to_ids(["<|endoftext|>", "<|im_end|>"])
