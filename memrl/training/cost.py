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
from memrl.training.footprint import CARDS, Footprint, GpuKind, experts, footprint, hours, lacking, no_estimate

PROMPT_OVERHEAD = 400  # tokens of instruction and tool schemas, roughly
READER_OVERHEAD = 100
_SHORT = 0.25  # share of the longest completion that a trained policy's may have
WRITES_PER_CHUNK = 4  # texts stored in a step, roughly; each is graded where a judge grades content

_QWEN3 = {
    "model_type": "qwen3",
    "num_key_value_heads": 8,
    "head_dim": 128,
    "vocab_size": 151936,
    "max_position_embeddings": 40960,
    "tie_word_embeddings": True,
}
_SHAPE = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
_4B = _QWEN3 | dict(zip(_SHAPE, (2560, 36, 32, 9728), strict=True))
KNOWN_SHAPES: dict[str, dict[str, Any]] = {
    "qwen3-0.6b": _QWEN3 | dict(zip(_SHAPE, (1024, 28, 16, 3072), strict=True)),
    "qwen3-1.7b": _QWEN3 | dict(zip(_SHAPE, (2048, 28, 16, 6144), strict=True)),
    "qwen3-4b": _4B,
    "memalpha-4b": _4B,
    "smollm2-135m-instruct": {
        "model_type": "llama",
        "num_key_value_heads": 3,
        "head_dim": 64,
        "vocab_size": 49152,
        "max_position_embeddings": 8192,
        "tie_word_embeddings": True,
        **dict(zip(_SHAPE, (576, 30, 9, 1536), strict=True)),
    },
}
"""Models of the shipped configs by their public config.json, so that a dry run needs no download: by the last part of
their name, in small letters. Others are read from a local folder."""


@dataclass(frozen=True)
class StreamStats:
    """Figures of the data that the estimate needs."""

    streams: int  # measured
    chunks: float  # a stream, mean
    questions: float  # a stream, mean
    chunk_tokens: float  # a chunk, mean
    longest_chunk_tokens: int


PUBLISHED = {"YuWangX/Memalpha": StreamStats(0, 10.7, 58.6, 1167.0, 1910)}
"""Figures of published sets that cannot be reached, by their papers: the means of its training streams, Mem-alpha's
table of data (arXiv 2509.25911)."""


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
    """The model's config.json (its text part, if it has several), or a known shape where the model is not on this disk;
    None where there is neither."""
    folder = model_folder(path)
    if folder is None:
        return KNOWN_SHAPES.get(path.rstrip("/").rpartition("/")[2].lower())
    try:
        shape = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    shape = shape.get("text_config") or shape
    needed = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size")
    return shape if all(isinstance(shape.get(key), int) for key in needed) else None


def estimate(config: Config, stats: StreamStats) -> dict[str, Any]:
    """The cost of the configured run as plain JSON: `data`, `per_step`, `run`, `model`, `cards`, `notes`."""
    train, rollout, reader = config.train, config.rollout, config.reader
    wanted = PROMPT_OVERHEAD + config.memory.render_budget + stats.chunk_tokens
    turns = rollout.max_turns
    between = rollout.max_completion_tokens + config.memory.search_budget  # from one turn's prompt to the next one's
    # Of a step: all its turns, each of which reads those before again.
    prompt = sum(min(rollout.max_prompt_tokens, wanted + turn * between) for turn in range(turns))
    written = turns * rollout.max_completion_tokens
    has_reader = reader.type != "lexical"
    graded = bool(config.judge.answers) * stats.questions  # an upper bound: all sources may be among them
    graded += (config.rewards.content == "judge") * stats.chunks * WRITES_PER_CHUNK
    reader_prompt = min(reader.max_prompt_tokens, config.memory.retrieve_budget + READER_OVERHEAD)

    def episodes_cost(episodes: int) -> dict[str, int]:
        samples = episodes * stats.chunks
        calls = episodes * stats.questions if has_reader else 0
        return {
            "episodes": episodes,
            "completions": round(samples * turns),
            "prompt_tokens": round(samples * prompt),
            "completion_tokens": round(samples * written),
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
        step["completions"] += round(again * turns)
        step["prompt_tokens"] += round(again * prompt)
        step["completion_tokens"] += round(again * written)
        if config.rewards.content == "judge":
            step["judge_calls"] += round(again * WRITES_PER_CHUNK * config.judge.votes)
    learner = step["prompt_tokens"] + step["completion_tokens"]
    evaluations = count_evaluations(train.steps, config.eval.every)
    evaluation = episodes_cost(config.eval.streams * evaluations)
    total = {key: step[key] * train.steps + evaluation[key] for key in step}
    notes = ["completions are counted at their full length, so tokens are upper bounds"]
    if turns > 1:
        notes.append(
            f"each step is counted with all of its {turns} turns (rollout.max_turns), and each turn reads those before "
            "it again where the engine keeps no prefixes"
        )
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
    found = None if shape is None else footprint(config, shape)
    run = {
        **total,
        "learner_tokens": learner * train.steps,
        "optimizer_steps": train.steps * train.updates_per_step,
        "evaluations": evaluations,
    }
    cards = []
    if found is not None and config.model.device != "cpu":
        cards = [_on_card(config, found, run, card) for card in CARDS]
    if found is not None and rollout.engine == "vllm":
        notes.append(
            "vLLM's cache takes what its share leaves; its size here is what rollout.max_batch can make use of"
        )
    if shape is not None and (key := experts(shape)) is not None:
        notes.append(no_estimate(config.model.path, key))
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
        "run": run,
        "model": None if found is None else found.plain(),
        "cards": cards,
        "notes": notes,
    }


def _on_card(config: Config, found: Footprint, run: dict[str, int], card: GpuKind) -> dict[str, Any]:
    """Return how long the run takes at most on a card, how long where completions are a quarter as long, and what does
    not fit."""
    return {
        "card": card.name,
        "hours_at_most": round(hours(config, found, run, card), 1),
        "hours_short_completions": round(hours(config, found, run, card, written=_SHORT), 1),
        "lacking": lacking(config, found, card.gib, "it"),
    }


def count_evaluations(steps: int, every: int) -> int:
    """Evaluations of a run: before the first step, after the last, and each `every` steps between (0: none between)."""
    if steps == 0:
        return 1
    return 2 + ((steps - 1) // every if every else 0)
