"""GGUF: weights and tokenizer in one file, as llama.cpp's own converter lays them out, for the architectures below.

What such a file cannot say is refused by name before anything is loaded: a tensor without a place in it, or a tokenizer
whose way of splitting text llama.cpp has no name for.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from memrl.config import ModelConfig
from memrl.engines.models import device_of, load_tokenizer, model_path
from memrl.engines.probe import turn_end
from memrl.errors import CheckpointError, ConfigError
from memrl.packages import installed_version

FILE = "model.gguf"
ARCHITECTURES = {"LlamaForCausalLM": "llama", "Qwen2ForCausalLM": "qwen2", "Qwen3ForCausalLM": "qwen3"}
BIASED = {"llama": (), "qwen2": ("attn_q", "attn_k", "attn_v"), "qwen3": ()}
"""Tensors whose biases are read again: transformers builds the other layers of these architectures without."""
QWEN3_HEAD = 128
"""transformers takes this width for every Qwen3 in a GGUF, whatever the file says."""
_BYTES = {"type": "ByteLevel", "add_prefix_space": False}
_QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPLITS: dict[str, list[dict[str, Any]]] = {
    "gpt-2": [{**_BYTES, "use_regex": True}],
    "smollm": [{"type": "Digits", "individual_digits": True}, {**_BYTES, "use_regex": True}],
    "qwen2": [
        {"type": "Split", "pattern": {"Regex": _QWEN2}, "behavior": "Isolated", "invert": False},
        {**_BYTES, "use_regex": False},
    ],
}
"""llama.cpp's names for ways of splitting text before byte-level BPE, as `tokenizer.json` spells these."""


def refuse_uncovered(config: ModelConfig, tokenizer: Any) -> None:
    """Refuse a model that a GGUF file cannot hold; nothing is loaded for it.

    Raises:
        ConfigError: lists why not, or says how to install the package `gguf`.
    """
    if installed_version("gguf") is None:
        raise ConfigError("the format gguf needs the package gguf: pip install 'memrl[gguf]'")
    path = model_path(config)
    described = AutoConfig.from_pretrained(path, trust_remote_code=False)
    name = next(iter(described.architectures or []), type(described).__name__)
    if name not in ARCHITECTURES:
        raise ConfigError(
            f"{path} is a {name}; the format gguf covers {', '.join(ARCHITECTURES)}. Export adapter or merged."
        )
    reasons = _uncovered(described, ARCHITECTURES[name])
    if _split_name(_backend(tokenizer)) is None:
        reasons.append(f"its tokenizer is not a byte-level BPE that splits text as one of {', '.join(SPLITS)}")
    if reasons:
        raise ConfigError(f"{path} cannot be a GGUF: {'; '.join(reasons)}. Export adapter or merged.")


def write_gguf(model: Any, tokenizer: Any, folder: Path) -> None:
    """Write `model.gguf`: matrices in the model's dtype, vectors in float32."""
    import gguf

    config = model.config
    arch = ARCHITECTURES[type(model).__name__]
    writer = gguf.GGUFWriter(folder / FILE, arch)
    kind = {
        torch.float32: gguf.GGMLQuantizationType.F32,
        torch.float16: gguf.GGMLQuantizationType.F16,
        torch.bfloat16: gguf.GGMLQuantizationType.BF16,
    }[model.dtype]
    _add_shape(writer, config)
    _add_tokenizer(writer, tokenizer, config.vocab_size)
    writer.add_file_type(
        {
            torch.float32: gguf.LlamaFileType.ALL_F32,
            torch.float16: gguf.LlamaFileType.MOSTLY_F16,
            torch.bfloat16: gguf.LlamaFileType.MOSTLY_BF16,
        }[model.dtype]
    )
    places, _ = _places(model, arch)
    weights = model.state_dict()
    for name, place in places.items():
        shape, matrix = weights[name].shape, weights[name].dim() > 1
        width = weights[name].element_size() if matrix else 4
        writer.add_tensor_info(
            place,
            shape,
            np.dtype(np.float32),
            width * weights[name].numel(),
            kind if matrix else gguf.GGMLQuantizationType.F32,
        )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for name in places:  # one by one: a second copy of all of them would take as much memory as the model
        tensor = weights[name].float().cpu()
        if arch == "llama" and name.endswith(("q_proj.weight", "k_proj.weight")):
            heads = config.num_attention_heads if "q_proj" in name else config.num_key_value_heads
            tensor = _interleave(tensor, heads)
        data = tensor.contiguous().numpy()
        writer.write_tensor_data(gguf.quants.quantize(data, kind) if data.ndim > 1 else data)
    writer.close()


def load_gguf(config: ModelConfig, folder: Path) -> tuple[Any, Any]:
    """Model and tokenizer as transformers reads them from the file.

    Raises:
        CheckpointError: the file's vocabulary is not the tokenizer's.
    """
    dtype = getattr(torch, config.dtype)
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=FILE, dtype=dtype, trust_remote_code=False)
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=FILE, trust_remote_code=False)
    lost = load_tokenizer(config).get_vocab().items() - tokenizer.get_vocab().items()
    if lost:
        raise CheckpointError(f"{len(lost)} tokens are not in the file as they should be: {sorted(lost)[:3]}")
    return model.to(device_of(config)).eval(), tokenizer


def _uncovered(described: Any, arch: str) -> list[str]:
    """Return why a model of a covered architecture is not covered."""
    with torch.device("meta"):
        homeless = _places(AutoModelForCausalLM.from_config(described, trust_remote_code=False), arch)[1]
    reasons = []
    if homeless:
        more = f" (and {len(homeless) - 1} more)" if len(homeless) > 1 else ""
        reasons.append(f"there is no place for {homeless[0]}{more}")
    rope = (described.rope_parameters or {}).get("rope_type", "default")
    if rope != "default":
        reasons.append(f"its rotary embedding is scaled ({rope}), which transformers does not read from one")
    if described.hidden_act != "silu":
        reasons.append(f"hidden_act is {described.hidden_act}, and has to be silu")
    if getattr(described, "use_sliding_window", False):
        reasons.append("its attention has a sliding window")
    if arch == "qwen3" and described.head_dim != QWEN3_HEAD:
        reasons.append(f"head_dim is {described.head_dim}, and transformers reads every Qwen3 with {QWEN3_HEAD}")
    return reasons


def _places(model: Any, arch: str) -> tuple[dict[str, str], list[str]]:
    """The file's name of each tensor, and the tensors that it has no place for."""
    import gguf

    number = next(key for key, name in gguf.MODEL_ARCH_NAMES.items() if name == arch)
    names = gguf.get_tensor_name_map(number, model.config.num_hidden_layers)
    places: dict[str, str] = {}
    homeless: list[str] = []
    for name in model.state_dict():
        if name == "lm_head.weight" and model.config.tie_word_embeddings:
            continue
        module, _, suffix = name.rpartition(".")
        place = names.get_name(module)
        if place is None or (suffix != "weight" and place.split(".")[-1] not in BIASED[arch]):
            homeless.append(name)
        else:
            places[name] = f"{place}.{suffix}"
    return places, homeless


def _interleave(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """Rows of each head from transformers' order (first halves, second halves) to llama.cpp's (pairs)."""
    return weight.reshape(heads, 2, -1, weight.shape[1]).swapaxes(1, 2).reshape(weight.shape)


def _add_shape(writer: Any, config: Any) -> None:
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    writer.add_name("memrl")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_rope_dimension_count(head)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)


def _add_tokenizer(writer: Any, tokenizer: Any, size: int) -> None:
    from gguf import TokenType

    backend = _backend(tokenizer)
    added = {token["id"]: token for token in backend["added_tokens"]}
    tokens = {number: token for token, number in tokenizer.get_vocab().items()}
    kinds = []
    for number in range(size):  # the embedding may have rows that no token uses
        if number in added:
            kinds.append(TokenType.CONTROL if added[number]["special"] else TokenType.USER_DEFINED)
        else:
            kinds.append(TokenType.NORMAL if number in tokens else TokenType.UNUSED)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(_split_name(backend))
    writer.add_token_list([tokens.get(number, f"[PAD{number}]") for number in range(size)])
    writer.add_token_types(kinds)
    writer.add_token_merges([" ".join(pair) for pair in backend["model"]["merges"]])
    ids = {
        "bos": tokenizer.bos_token_id,
        "eos": tokenizer.eos_token_id,
        "unk": tokenizer.unk_token_id,
        "pad": tokenizer.pad_token_id,
    }
    for name, number in ids.items():
        if number is not None:
            getattr(writer, f"add_{name}_token_id")(number)
    end = turn_end(tokenizer)
    if end not in (None, tokenizer.eos_token_id):
        writer.add_eot_token_id(end)
    begins = tokenizer.bos_token_id is not None and tokenizer("a")["input_ids"][0] == tokenizer.bos_token_id
    writer.add_add_bos_token(begins)
    writer.add_chat_template(tokenizer.get_chat_template())


def _backend(tokenizer: Any) -> dict[str, Any]:
    """The tokenizer as `tokenizer.json` has it."""
    described: dict[str, Any] = json.loads(tokenizer.backend_tokenizer.to_str())
    return described


def _split_name(backend: dict[str, Any]) -> str | None:
    """llama.cpp's name for how a byte-level BPE splits text; None where it is none, or splits otherwise."""
    first = backend["pre_tokenizer"] or {}
    stages = first.get("pretokenizers", [first])
    plain = [{key: value for key, value in stage.items() if key != "trim_offsets"} for stage in stages]
    if backend["model"]["type"] != "BPE":
        return None
    return next((name for name, split in SPLITS.items() if split == plain), None)
