"""The cost of a run, estimated before it costs anything: tokens, reader calls, optimizer steps, memory.

Token figures are upper bounds where the config sets a limit, and measured on a few real streams where the data decides.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memrl.config import Config
from memrl.config.shipped import TINY, TINY_MODEL
from memrl.credit import wants_rerolls
from memrl.envs.building.tokens import count_tokens
from memrl.envs.stream import Stream

PROMPT_OVERHEAD = 400  # tokens of instruction and tool schemas, roughly
READER_OVERHEAD = 100
WRITES_PER_CHUNK = 4  # texts stored in a step, roughly; each is graded where a judge grades content
GIB = 2**30
DTYPE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}

KNOWN_SHAPES: dict[str, dict[str, Any]] = {
    "Qwen/Qwen3-0.6B": {
        "hidden_size": 1024,
        "num_hidden_layers": 28,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "intermediate_size": 3072,
        "vocab_size": 151936,
        "tie_word_embeddings": True,
    },
    "Qwen/Qwen3-4B": {
        "hidden_size": 2560,
        "num_hidden_layers": 36,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "intermediate_size": 9728,
        "vocab_size": 151936,
        "tie_word_embeddings": True,
    },
}
"""Hub models of the shipped configs, so that a dry run needs no download. Others are read from a local folder."""


@dataclass(frozen=True)
class StreamStats:
    """Figures of the data that the estimate needs."""

    streams: int  # measured
    chunks: float  # a stream, mean
    questions: float  # a stream, mean
    chunk_tokens: float  # a chunk, mean
    longest_chunk_tokens: int


def model_folder(path: str) -> Path | None:
    """The local folder of `model.path`; None for a hub name, or where nothing is there yet."""
    folder = TINY_MODEL if path == TINY else Path(path).expanduser()
    return folder if folder.is_dir() else None


def measure(streams: Sequence[Stream], model_path: str) -> StreamStats:
    """Chunks, questions and tokens of some streams; tokens by the model's tokenizer where it is on this disk."""
    folder = model_folder(model_path)
    file = folder / "tokenizer.json" if folder else None
    texts = [chunk.text for stream in streams for chunk in stream.chunks]
    if file is not None and file.is_file():
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(file))
        tokens = [len(tokenizer.encode(text, add_special_tokens=False).ids) for text in texts]
    else:
        tokens = [count_tokens(text) for text in texts]
    return StreamStats(
        streams=len(streams),
        chunks=len(texts) / len(streams),
        questions=sum(len(stream.questions) for stream in streams) / len(streams),
        chunk_tokens=sum(tokens) / len(tokens),
        longest_chunk_tokens=max(tokens),
    )


def model_shape(path: str) -> dict[str, Any] | None:
    """The model's config.json (its text part, if it has several), or a known shape; None where there is neither."""
    folder = model_folder(path)
    if folder is None:
        return KNOWN_SHAPES.get(path)
    try:
        shape = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    shape = shape.get("text_config") or shape
    needed = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size")
    return shape if all(isinstance(shape.get(key), int) for key in needed) else None


def model_memory(config: Config, shape: dict[str, Any]) -> dict[str, float]:
    """Parameters (count) and memory (GiB) of a decoder with gated MLPs and LoRA on every linear layer.

    Activations are left out: they depend on kernels and checkpointing.
    """
    hidden, layers, heads = shape["hidden_size"], shape["num_hidden_layers"], shape["num_attention_heads"]
    kv_heads = shape.get("num_key_value_heads") or heads
    head = shape.get("head_dim") or hidden // heads
    inner, vocabulary = shape["intermediate_size"], shape["vocab_size"]
    linears = [
        (hidden, heads * head),
        *[(hidden, kv_heads * head)] * 2,
        (heads * head, hidden),
        *[(hidden, inner)] * 2,
        (inner, hidden),
    ]
    embeddings = vocabulary * hidden * (1 if shape.get("tie_word_embeddings") else 2)
    parameters = embeddings + layers * (sum(a * b for a, b in linears) + 2 * hidden)
    lora = layers * sum(config.model.lora.rank * (a + b) for a, b in linears)
    size = DTYPE_BYTES[config.model.dtype]
    rollout = config.rollout
    longest = rollout.max_prompt_tokens + rollout.max_completion_tokens
    memory = {
        "weights_gib": parameters * size / GIB,
        # float32 adapter, its gradient and two Adam moments
        "lora_and_optimizer_gib": lora * 4 * 4 / GIB,
        "kv_cache_bound_gib": rollout.max_batch * longest * layers * 2 * kv_heads * head * size / GIB,
        "logits_bound_gib": max(config.train.micro_batch_tokens, longest) * vocabulary * 4 / GIB,
    }
    return {"parameters": parameters, "lora_parameters": lora, **memory, "total_bound_gib": sum(memory.values())}


def estimate(config: Config, stats: StreamStats) -> dict[str, Any]:
    """The cost of the configured run as plain JSON: `data`, `per_step`, `run`, `model`, `notes`."""
    train, rollout, reader = config.train, config.rollout, config.reader
    wanted = PROMPT_OVERHEAD + config.memory.render_budget + stats.chunk_tokens
    prompt = min(rollout.max_prompt_tokens, wanted)
    has_reader = reader.type != "lexical"
    graded = bool(config.judge.answers) * stats.questions  # an upper bound: all sources may be among them
    graded += (config.rewards.content == "judge") * stats.chunks * WRITES_PER_CHUNK
    reader_prompt = min(reader.max_prompt_tokens, config.memory.retrieve_budget + READER_OVERHEAD)

    def episodes_cost(episodes: int) -> dict[str, int]:
        samples = episodes * stats.chunks
        calls = episodes * stats.questions if has_reader else 0
        return {
            "episodes": episodes,
            "completions": round(samples),
            "prompt_tokens": round(samples * prompt),
            "completion_tokens": round(samples * rollout.max_completion_tokens),
            "reader_calls": round(calls),
            "reader_tokens": round(calls * (reader_prompt + reader.max_tokens)),
            **({"judge_calls": round(episodes * graded * config.judge.votes)} if graded else {}),
        }

    step = episodes_cost(train.group_size * train.streams_per_step)
    rerolled = 0.0  # steps of an episode
    if wants_rerolls(config.advantage.mode):
        bound = config.advantage.reroll_steps
        rerolled = stats.chunks if bound is None else min(stats.chunks, bound)
        again = step["episodes"] * rerolled * config.advantage.rerolls
        step["completions"] += round(again)
        step["prompt_tokens"] += round(again * prompt)
        step["completion_tokens"] += round(again * rollout.max_completion_tokens)
        if config.rewards.content == "judge":
            step["judge_calls"] += round(again * WRITES_PER_CHUNK * config.judge.votes)
    learner = step["prompt_tokens"] + step["completion_tokens"]
    evaluations = count_evaluations(train.steps, config.eval.every)
    evaluation = episodes_cost(config.eval.streams * evaluations)
    total = {key: step[key] * train.steps + evaluation[key] for key in step}
    notes = ["completions are counted at their full length, so tokens are upper bounds"]
    if reader.type == "endpoint":
        kept = "; an answer that is in the cache costs nothing" if reader.endpoint.cache else ""
        notes.append(f"reader calls are requests to {reader.endpoint.model} at {reader.endpoint.url}{kept}")
    if graded:
        where = f"{config.judge.endpoint.model} at {config.judge.endpoint.url}"
        who = where if config.judge.type == "endpoint" else "the policy's base model"
        notes.append(
            f"judge calls go to {who}; they assume {WRITES_PER_CHUNK} stored texts a chunk where it grades these"
        )
    if config.data.curriculum:
        notes.append(f"the estimate takes the {len(config.data.curriculum)} stages of data.curriculum for equally long")
    if rerolled:
        most = round(step["episodes"] * rerolled * config.advantage.rerolls * stats.questions)
        notes.append(
            f"re-rolls (advantage.rerolls={config.advantage.rerolls}) are among the completions, and each is a sample; "
            f"they ask up to {most:,} questions again in a step, those that would be shown something else"
        )
    if rollout.refill_rounds:
        notes.append(f"groups that teach nothing are refilled: up to {1 + rollout.refill_rounds} times the rollout")
    if config.memory.render_budget + stats.longest_chunk_tokens > rollout.max_prompt_tokens:
        notes.append(
            f"WARNING: the longest chunk seen ({stats.longest_chunk_tokens} tokens) and memory.render_budget "
            f"({config.memory.render_budget}) do not fit in rollout.max_prompt_tokens ({rollout.max_prompt_tokens})"
        )
    shape = model_shape(config.model.path)
    if shape is None:
        notes.append(f"the size of {config.model.path} is unknown here: download it and give its folder")
    return {
        "data": {
            "streams_measured": stats.streams,
            "chunks_per_stream": round(stats.chunks, 1),
            "questions_per_stream": round(stats.questions, 1),
            "tokens_per_chunk": round(stats.chunk_tokens, 1),
        },
        "per_step": {**step, "learner_tokens": learner, "optimizer_steps": train.updates_per_step},
        "run": {
            **total,
            "learner_tokens": learner * train.steps,
            "optimizer_steps": train.steps * train.updates_per_step,
            "evaluations": evaluations,
        },
        "model": None if shape is None else model_memory(config, shape),
        "notes": notes,
    }


def count_evaluations(steps: int, every: int) -> int:
    """Evaluations of a run: before the first step, after the last, and each `every` steps between (0: none between)."""
    if steps == 0:
        return 1
    return 2 + ((steps - 1) // every if every else 0)
