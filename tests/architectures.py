"""Small models of many architectures, with random weights: what transformers calls `model_type`, and settings that make
it small.

What they compute is loud enough that a wrong distribution shows: at the scale in which models are drawn, all tokens
would be nearly equally likely.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

_SMALL: dict[str, Any] = {
    "vocab_size": 96, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "intermediate_size": 48, "head_dim": 8, "max_position_embeddings": 256, "pad_token_id": 0, "bos_token_id": 1,
    "eos_token_id": 2,
}  # fmt: skip
_EXPERTS = {
    "moe_intermediate_size": 16, "num_experts": 4, "n_routed_experts": 4, "num_local_experts": 4,
    "num_experts_per_tok": 2, "n_group": 1, "topk_group": 1,
}  # fmt: skip
_SHARED = _EXPERTS | {"shared_expert_intermediate_size": 16}
_WINDOW = {"sliding_window": 8}
_HALF = {"layer_types": ["linear_attention", "full_attention"]}
_CONVOLVED = {"layer_types": ["conv", "full_attention"]}
_LINEAR = {
    "linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 8, "linear_value_head_dim": 8,
}  # fmt: skip
_LATENT = {
    "q_lora_rank": 16, "kv_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 8,
    "num_key_value_heads": 4,
}  # fmt: skip
_MAMBA = {"mamba_n_heads": 8, "mamba_d_head": 8, "mamba_d_state": 8, "mamba_n_groups": 1}
_GPT = {"n_embd": 32, "n_layer": 2, "n_head": 4}
_KIMI = {
    "linear_attn_config": {
        "head_dim": 8, "num_heads": 4, "short_conv_kernel_size": 4, "kda_layers": [1], "full_attn_layers": [2],
    },
}  # fmt: skip
_TEXT = {name: _SMALL[name] for name in _SMALL if name != "head_dim"} | {
    "head_dim": 8, "sliding_window": 8, "layer_types": ["sliding_attention", "full_attention"],
}  # fmt: skip
_SEES = {
    "text_config": _TEXT,
    "vision_config": {
        "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 28,
        "patch_size": 14,
    },
    "mm_tokens_per_image": 4, "image_token_index": 90, "boi_token_index": 91, "eoi_token_index": 92,
}  # fmt: skip

SETTINGS: dict[str, dict[str, Any]] = {
    "apertus": {},
    "arcee": {},
    "bailing_hybrid": _EXPERTS | _LINEAR | _LATENT | _HALF,
    "bamba": _MAMBA | {"attn_layer_indices": [1]},
    "bitnet": {},
    "bloom": {"n_head": 4, "n_layer": 2},
    "cohere": {},
    "cohere2": _WINDOW,
    "deepseek_v2": _EXPERTS | _LATENT,
    "deepseek_v3": _EXPERTS | _LATENT | {"first_k_dense_replace": 1},
    "ernie4_5": {},
    "exaone4": _WINDOW,
    "falcon": {"alibi": False, "head_dim": None},
    "falcon_h1": _MAMBA | {"mamba_d_ssm": 64},
    "falcon_mamba": {"state_size": 8},
    "gemma": {},
    "gemma2": _WINDOW,
    "gemma3": _SEES,
    "gemma3_text": _WINDOW,
    "gemma4_text": _WINDOW | {"vocab_size_per_layer_input": 96},
    "glm": {},
    "glm4": {},
    "glm4_moe": _EXPERTS,
    "gpt2": _GPT,
    "gpt_neox": {},
    "gpt_oss": _EXPERTS | _WINDOW,
    "gptj": _GPT | {"rotary_dim": 8},
    "granite": {},
    "granitemoe": _EXPERTS,
    "granitemoehybrid": _EXPERTS | _MAMBA | {"layer_types": ["mamba", "attention"], "shared_intermediate_size": 16},
    "helium": {},
    "hunyuan_v1_dense": {},
    "jamba": _EXPERTS | {"mamba_d_state": 8, "attn_layer_period": 2, "attn_layer_offset": 1},
    "jetmoe": _EXPERTS,
    "kimi_linear": _EXPERTS | _LINEAR | _LATENT | _HALF | _KIMI,
    "lfm2": _CONVOLVED,
    "lfm2_moe": _EXPERTS | _CONVOLVED | {"num_dense_layers": 1},
    "llama": {},
    "llama4_text": _EXPERTS | {"intermediate_size_mlp": 48},
    "mamba": {"state_size": 8},
    "mamba2": {"num_heads": 8, "head_dim": 8, "state_size": 8, "n_groups": 1},
    "minicpm3": _LATENT | {"scale_depth": 1.0, "dim_model_base": 32},
    "minimax": _EXPERTS | _HALF | {"block_size": 16},
    "minimax_m2": _EXPERTS,
    "ministral3": {},
    "mistral": _WINDOW,
    "mixtral": _EXPERTS,
    "nanochat": {},
    "nemotron": {},
    "nemotron_h": _EXPERTS | {
        "mamba_num_heads": 8, "mamba_head_dim": 8, "ssm_state_size": 8, "n_groups": 1,
        "layers_block_type": ["mamba", "attention"],
    },
    "olmo": {},
    "olmo2": {},
    "olmo3": _WINDOW,
    "olmo_hybrid": _LINEAR | _HALF,
    "olmoe": _EXPERTS,
    "opt": {"ffn_dim": 48, "word_embed_proj_dim": 32},
    "persimmon": {},
    "phi": {},
    "phi3": {},
    "phimoe": _EXPERTS,
    "qwen2": {},
    "qwen2_moe": _SHARED,
    "qwen3": {},
    "qwen3_5_moe_text": _SHARED | _LINEAR | _HALF,
    "qwen3_5_text": _LINEAR | _HALF,
    "qwen3_moe": _EXPERTS,
    "qwen3_next": _SHARED | _LINEAR | _HALF,
    "seed_oss": {},
    "smollm3": {},
    "stablelm": {},
    "starcoder2": _WINDOW,
    "zamba2": {"mamba_d_state": 8, "n_mamba_heads": 8, "layers_block_type": ["mamba", "hybrid"]},
}  # fmt: skip
"""Architectures that generate and learn."""
REFUSED: dict[str, dict[str, Any]] = {
    "recurrent_gemma": {"lru_width": 32, "attention_window_size": 8, "block_types": ["recurrent", "attention"]},
    "rwkv": {"attention_hidden_size": 32},
    "xlstm": {"num_heads": 4, "num_blocks": 2},
}
"""Architectures whose state the transformers engine cannot carry along."""
_LOUD = 0.25


def build(name: str) -> PreTrainedModel:
    """Return the model of an architecture, the same on each call."""
    torch.manual_seed(0)
    settings = SETTINGS.get(name) or REFUSED.get(name) or {}
    given = settings if "text_config" in settings else {**_SMALL, **settings}
    config = AutoConfig.for_model(name, **{key: value for key, value in given.items() if value is not None})
    model: PreTrainedModel = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter_name, parameter in model.named_parameters():
            if parameter.dim() >= 2 and not parameter_name.endswith("A_log"):
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * _LOUD)
    return model
