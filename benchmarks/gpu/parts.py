"""What the stages of the GPU proof share: random models of real shapes, settings, samples, clock and memory."""

from __future__ import annotations

import gc
from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedModel, Qwen3Config, Qwen3ForCausalLM

from memrl.config import Config, load_config
from memrl.records import Sample

CUDA = torch.cuda.is_available()
DEVICE = torch.device("cuda" if CUDA else "cpu")
BF16_PEAK = 989e12
"""Dense bfloat16 operations a second of an H100 SXM; those of an H200 are the same."""


@dataclass(frozen=True)
class Shape:
    """The sizes of a Qwen3."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head: int
    inner: int
    vocabulary: int

    @property
    def body_weights(self) -> int:
        """The weights of all layers' matrices; each costs 2 operations a token in a forward pass."""
        attention = 2 * self.hidden * self.heads * self.head + 2 * self.hidden * self.kv_heads * self.head
        return self.layers * (attention + 3 * self.hidden * self.inner)

    @property
    def head_weights(self) -> int:
        """The weights of the matrix that makes logits."""
        return self.vocabulary * self.hidden


SHAPES = {
    "0.6b": Shape(1024, 28, 16, 8, 128, 3072, 151_936),
    "4b": Shape(2560, 36, 32, 8, 128, 9728, 151_936),
    "smoke": Shape(64, 2, 4, 2, 16, 128, 2048),
}


def build(name: str, *, attention: str = "sdpa") -> PreTrainedModel:
    """Build a random Qwen3 in bfloat16; its last norm is scaled, so that distributions are peaked as a real model's."""
    shape = SHAPES[name]
    config = Qwen3Config(
        hidden_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        head_dim=shape.head,
        intermediate_size=shape.inner,
        vocab_size=shape.vocabulary,
        tie_word_embeddings=True,
        max_position_embeddings=40_960,
        attn_implementation=attention,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=0,
    )
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device(DEVICE):
            model = Qwen3ForCausalLM(config)
    finally:
        torch.set_default_dtype(before)
    with torch.no_grad():
        model.model.norm.weight.fill_(6.0)
    return model.eval()


def settings(**changes: Any) -> Config:
    """The settings of a learner; a double underscore stands for the dot of a key."""
    base = [
        "model.path=tiny",
        f"model.device={DEVICE.type}",
        "model.dtype=bfloat16",
        "rollout.temperature=0.9",
        "model.lora.rank=32",
        "model.lora.alpha=64",
    ]
    words = [f"{key.replace('__', '.')}={value}" for key, value in changes.items()]
    return load_config("tiny", base + words, check=False)


def tokens(count: int, seed: int) -> list[int]:
    """Return random token ids."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(2, 1000, (count,), generator=generator).tolist()


def samples(count: int, prompt: int, completion: int) -> list[Sample]:
    """Return random samples, good and bad ones in turn."""
    return [
        Sample(tokens(prompt, k), tokens(completion, 50 + k), [-1.0] * completion, (-1.0) ** k, 0) for k in range(count)
    ]


def wait() -> None:
    """Wait until the GPU has done what it was given, so that the clock tells the truth."""
    if CUDA:
        torch.cuda.synchronize()


def peak_gib() -> float | None:
    """The most GPU memory in use since `clean`."""
    return round(torch.cuda.max_memory_allocated() / 2**30, 2) if CUDA else None


def clean() -> None:
    """Free what nothing holds any more."""
    gc.collect()
    if CUDA:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def largest_gap(one: list[float], other: list[float]) -> float:
    """The largest distance of two lists of log-probs."""
    return max(abs(a - b) for a, b in zip(one, other, strict=True))
