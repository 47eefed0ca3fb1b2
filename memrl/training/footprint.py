"""The memory of a run by part, and its hours on a card that is named.

Estimates: parts are computed from a model's shape, the constants of activations are fitted to what was measured on an
H100 (docs/gpu.md), and of the hours the learner's part alone stands on a measurement.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from memrl.config import Config
from memrl.config.check import ALL_LINEAR, VLLM_LORA_RANKS
from memrl.engines.adapters import versions_held
from memrl.learner.slices import SLICE_ELEMENTS

GIB = 2**30
DTYPE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
_LAYER = (8, 9)
"""Elements a token that one layer holds in its backward pass, in hidden and in inner widths: fitted to four peaks on an
H100 (docs/gpu.md)."""
_KEPT = 1.3
"""The same where all layers are kept, relative to one that is computed again."""
_LOGITS = 4
"""Tensors of float32 in the size of a slice of logits: themselves, their softmax, and the gradients of both."""


@dataclass(frozen=True)
class GpuKind:
    """A kind of GPU, by its data sheet."""

    name: str
    gib: float
    """Memory that programs get."""
    flops: float
    """Multiplications and additions a second in bfloat16, without sparsity."""
    bandwidth: float
    """Bytes a second of its memory."""


CARDS = (
    GpuKind("H100 80 GB", 79.0, 989e12, 3.35e12),
    GpuKind("A100 80 GB", 79.0, 312e12, 2.04e12),
    GpuKind("L40S 48 GB", 44.5, 362e12, 0.86e12),
    GpuKind("RTX 4090 24 GB", 23.5, 165e12, 1.01e12),
    GpuKind("L4 24 GB", 22.0, 121e12, 0.30e12),
)
_LEARNS = 0.107
"""Share of a card's speed that the learner uses: 4B on an H100 (docs/gpu.md). Models below two billion parameters use
less, in proportion."""
_READS, _WRITES = 0.4, 0.6
"""Shares of a card's speed and of its memory's bandwidth that vLLM is believed to use: not measured."""


@dataclass(frozen=True)
class Footprint:
    """Memory in GiB, by part."""

    parameters: int
    lora_parameters: int
    engine: Mapping[str, float]
    learner: Mapping[str, float]
    kv_token: int
    """Bytes of the engine's cache for one token."""

    @property
    def engine_gib(self) -> float:
        """Memory of the engine, its cache as large as `rollout.max_batch` can make it."""
        return sum(self.engine.values())

    @property
    def learner_gib(self) -> float:
        """Memory of a learner process."""
        return sum(self.learner.values())

    def plain(self) -> dict[str, float]:
        """Return it as data for JSON and tables."""
        return {
            "parameters": self.parameters,
            "lora_parameters": self.lora_parameters,
            **{f"engine_{name}_gib": value for name, value in self.engine.items()},
            "engine_gib": self.engine_gib,
            **{f"learner_{name}_gib": value for name, value in self.learner.items()},
            "learner_gib": self.learner_gib,
        }


def experts(shape: Mapping[str, Any]) -> str | None:
    """Return the key by which a shape names several experts a layer; None where it names none.

    Families call it `num_experts`, `num_local_experts`, `n_routed_experts` and more; `num_experts_per_tok` is another
    number, of those that compute a token.
    """
    for key, value in shape.items():
        if key.endswith("experts") and isinstance(value, int) and value > 1:
            return key
    return None


def no_estimate(path: str, key: str) -> str:
    """Return what to say where there is no estimate, because a shape names experts."""
    return f"memory and hours of {path} are not estimated: it has experts ({key}), whose weights are not counted here"


def footprint(config: Config, shape: Mapping[str, Any]) -> Footprint | None:
    """Return the memory of a decoder with gated MLPs and its LoRA, on layers by the names that most families give them;
    None of a mixture of experts.

    Args:
        shape: the text part of the model's config.json.
    """
    if experts(shape):
        return None
    hidden, layers, heads = shape["hidden_size"], shape["num_hidden_layers"], shape["num_attention_heads"]
    kv_heads = shape.get("num_key_value_heads") or heads
    head = shape.get("head_dim") or hidden // heads
    inner, vocabulary = shape["intermediate_size"], shape["vocab_size"]
    linears = {
        "q_proj": (hidden, heads * head),
        "k_proj": (hidden, kv_heads * head),
        "v_proj": (hidden, kv_heads * head),
        "o_proj": (heads * head, hidden),
        "gate_proj": (hidden, inner),
        "up_proj": (hidden, inner),
        "down_proj": (inner, hidden),
    }
    embeddings = vocabulary * hidden * (1 if shape.get("tie_word_embeddings") else 2)
    parameters = embeddings + layers * (sum(a * b for a, b in linears.values()) + 2 * hidden)
    rank, rollout, train = config.model.lora.rank, config.rollout, config.train
    wanted = config.model.lora.target_modules
    targets = linears.keys() if wanted == ALL_LINEAR else set(wanted.replace(" ", "").split(","))
    lora = layers * sum(rank * (a + b) for name, (a, b) in linears.items() if name in targets)
    size = DTYPE_BYTES[config.model.dtype]
    kv_token = layers * 2 * kv_heads * head * size
    longest = rollout.max_prompt_tokens + rollout.max_completion_tokens
    cached, slots, room = rollout.max_batch * longest, versions_held(rollout), rank
    if rollout.engine == "vllm":
        slots += 2
        room = next((fits for fits in VLLM_LORA_RANKS if fits >= rank), rank)
    else:
        cached = min(cached, max(rollout.max_batch_tokens, longest))
    tokens = max(train.micro_batch_tokens, longest)
    layer = tokens * (_LAYER[0] * hidden + _LAYER[1] * inner) * size
    kept = tokens * hidden * size * layers + layer if train.gradient_checkpointing else _KEPT * layers * layer
    return Footprint(
        parameters=parameters,
        lora_parameters=lora,
        engine={
            "weights": parameters * size / GIB,
            "adapters": slots * lora * room / rank * size / GIB,
            "kv_cache": cached * kv_token / GIB,
        },
        learner={
            "weights": parameters * size / GIB,
            "lora_and_optimizer": lora * 4 * 4 / GIB,  # float32: the adapter, its gradient and two moments of Adam
            "activations": kept / GIB,
            "logits": _LOGITS * min(tokens * vocabulary, SLICE_ELEMENTS) * 4 / GIB,
        },
        kv_token=kv_token,
    )


def lacking(config: Config, found: Footprint, gib: float, where: str) -> list[str]:
    """Return what does not fit on a card, and what to change.

    Args:
        gib: memory of the card.
        where: the card in words.
    """
    longest = config.rollout.max_prompt_tokens + config.rollout.max_completion_tokens
    apart = bool(config.rollout.workers) or config.train.processes > 1
    lines: list[str] = []
    if config.rollout.engine == "vllm":
        share = config.vllm.gpu_memory_utilization
        engine = gib * config.vllm.tensor_parallel_size * share
        held = found.engine["weights"] + found.engine["adapters"]
        if found.engine["weights"] >= engine:
            lines.append(
                f"vLLM's share of {where} is {engine:.1f} GiB, the weights alone are {found.engine['weights']:.1f}: "
                "raise vllm.gpu_memory_utilization or vllm.tensor_parallel_size, or use a smaller model"
            )
        elif held + longest * found.kv_token / GIB > engine:
            lines.append(
                f"vLLM's share of {where} is {engine:.1f} GiB; weights and adapters take {held:.1f} of it, and one "
                f"request of {longest:,} tokens {longest * found.kv_token / GIB:.1f}: raise "
                "vllm.gpu_memory_utilization, or lower rollout.max_prompt_tokens or rollout.max_completion_tokens"
            )
        kept = found.learner["weights"] + found.learner["lora_and_optimizer"]
        if config.vllm.sleep and not apart and kept > gib * (1 - share):
            lines.append(
                f"beside vLLM's share {gib * (1 - share):.1f} GiB of {where} are left, and the learner keeps "
                f"{kept:.1f} there while vLLM is awake: lower vllm.gpu_memory_utilization, or use a smaller model"
            )
        left = gib if config.vllm.sleep or apart else gib * (1 - share)
        if found.learner_gib > left:
            sleep = "" if config.vllm.sleep or apart else "set vllm.sleep=true, lower vllm.gpu_memory_utilization or "
            beside = "on" if config.vllm.sleep or apart else "beside vLLM"
            amount = f"{where} are {left:.1f}" if beside == "on" else f"{left:.1f} of {where} are left"
            lines.append(
                f"the learner wants up to {found.learner_gib:.1f} GiB ({_largest(found.learner)}), {beside} {amount}: "
                f"{sleep}{_smaller(config)}"
            )
        return lines
    wanted = max(found.engine_gib, found.learner_gib) if apart else found.engine_gib + found.learner_gib
    if wanted > gib:
        lines.append(
            f"up to {wanted:.1f} GiB are wanted (engine: {_largest(found.engine)}; learner: "
            f"{_largest(found.learner)}), {where} has {gib:.1f}: lower rollout.max_batch, rollout.max_batch_tokens or "
            f"the token limits, or {_smaller(config)}"
        )
    return lines


def _largest(parts: Mapping[str, float]) -> str:
    name = max(parts, key=lambda part: parts[part])
    return f"{name.replace('_', ' ')} {parts[name]:.1f}"


def _smaller(config: Config) -> str:
    """Return what makes the learner smaller, in words."""
    told = [] if config.train.gradient_checkpointing else ["set train.gradient_checkpointing=true"]
    longest = config.rollout.max_prompt_tokens + config.rollout.max_completion_tokens
    if config.train.micro_batch_tokens > longest:
        told.append("lower train.micro_batch_tokens")
    else:
        told.append("lower the token limits, which one micro-batch must hold")
    told += ["set model.dtype=bfloat16"] if config.model.dtype == "float32" else []
    return " or ".join([*told, "use a smaller model"])


def hours(config: Config, found: Footprint, run: Mapping[str, int], card: GpuKind, *, written: float = 1.0) -> float:
    """Return the hours of a run: rollouts and learning in turns, or, where rollouts run ahead, at the same time.

    Args:
        run: its tokens (`estimate`).
        written: length of completions and answers in the mean, as a share of the longest.
    """
    params, rollout = found.parameters, config.rollout
    answers = run["reader_calls"] * config.reader.max_tokens if run["reader_tokens"] else 0
    read = run["prompt_tokens"] + max(0, run["reader_tokens"] - answers)
    wrote = (run["completion_tokens"] + answers) * written
    # Reading: two operations a parameter and token. Writing: each step reads weights and caches once.
    reading = read * 2 * params / (_READS * card.flops)
    size = DTYPE_BYTES[config.model.dtype]
    length = run["prompt_tokens"] / max(1, run["completions"]) + rollout.max_completion_tokens * written / 2
    step = (params * size + rollout.max_batch * length * found.kv_token) / (_WRITES * card.bandwidth)
    engines = max(1, rollout.workers)
    # Learning: six operations a parameter and token, forward and backward.
    learned = run["learner_tokens"] - run["completion_tokens"] * (1 - written)
    speed = _LEARNS * min(1.0, params / 2e9) * card.flops
    learning = learned * 6 * params / speed / max(1, config.train.processes)
    playing = (reading + wrote * step / rollout.max_batch) / engines
    ahead = rollout.max_staleness > 0 and rollout.workers > 0
    return (max(playing, learning) if ahead else playing + learning) / 3600
