"""The embedded model in the words of another memory design: its tokenizer made anew, so that the fixed text of the
design's tools and the ids of its items are one token each, and every weight kept.

A token that says what an older one said begins with that one's embedding: an id is an id for the heads that are written
by hand, whatever its name, and what ends a call ends it. So the model looks up, copies and decides as before, and a
short warm start (`memrl sft`) teaches the rest.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from memrl.config.shipped import TINY_MODEL
from memrl.envs.designs import DESIGNS, MemoryDesign, count_words
from memrl.envs.designs.keeping import keep_notes
from memrl.envs.memory_env import INSTRUCTION
from memrl.envs.sources.synthetic import synthetic
from memrl.envs.text import fold, words
from memrl.envs.tools import ToolCall
from memrl.envs.wrappers import NewMemory
from memrl.errors import CheckpointError, ConfigError, PluginError
from memrl.storage.files import new_folder
from memrl.tiny.tokenizer import DIALECT, IDS, Wording, build_tokenizer, item_ids, usual_wording

_ROOM = 10**9
_MARK = "\0"
_SAID, _SAID_ANEW = "Kira lives in Oslo.", "Kira now lives in Rome."
_STREAMS = 40
"""Streams whose memories are looked through for words that the model's tokenizer spells."""
_WORD = re.compile(r"(?<!\S)(?:\w+|[^\w\s]+)")
_SIZE = 0.06
"""Of each dimension by which the embedding of a token that says something new differs from the mean of all."""


@dataclass
class Spoken:
    """The texts of a design that are to be one token each."""

    pieces: dict[str, str | None] = field(default_factory=dict)
    """Fixed text -> the text of the embedded model that does the same (None: there is none)."""
    words: list[str] = field(default_factory=list)


def reword_model(design: str, out: Path) -> Path:
    """Write the embedded model in the words of a design into the folder `out`; an older one is replaced.

    Args:
        design: a name in `DESIGNS`, or an import path.

    Raises:
        ConfigError: there is no such design, or it cannot be used.
        CheckpointError: the folder cannot be written.
    """
    try:
        new_memory = DESIGNS.get(design)
    except PluginError as error:
        raise ConfigError(str(error)) from error
    old = PreTrainedTokenizerFast.from_pretrained(TINY_MODEL)
    spoken = spoken_by(new_memory, old)
    try:
        with new_folder(out) as folder:
            new = build_tokenizer(folder, Wording([*spoken.pieces], spoken.words))
            model = AutoModelForCausalLM.from_pretrained(TINY_MODEL, dtype=torch.float32, trust_remote_code=False)
            _embed(model, old, new, spoken)
            model.to(torch.float16).save_pretrained(folder)
            record = {"design": design, "words": spoken.words, "pieces": spoken.pieces}
            (folder / "wording.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"cannot write the tiny model to {out}: {error}") from error
    return out


def spoken_by(design: NewMemory, tokenizer: Any) -> Spoken:
    """Return what is to be one token of what a design's prompts, calls and items say.

    Args:
        tokenizer: the embedded model's.
    """
    memory = design(_ROOM, _ROOM, count_words)
    tools = "".join(f"{tool.name}({', '.join(tool.parameters)})\n" for tool in memory.tools)
    usual = usual_wording().fixed
    prompt = next(text for text in usual if text.startswith("system\n") and "# Tools" in text)
    spoken = Spoken({f"system\n{INSTRUCTION}\n# Tools\n{tools}": prompt})
    for calls, end in _shown(memory):
        for call in calls:
            _take_apart(call, end, spoken)
    ids = item_ids()
    prefixes = [*getattr(memory, "prefixes", {}).values()]
    for place, prefix in enumerate(prefixes):
        for number in range(1, IDS + 1):
            spoken.pieces[f"{prefix}_{number:04d}"] = ids[(place % 2) * IDS + number - 1]
    kept = {text for text in usual if text not in ids and not _only_of_stores(text)}
    spoken.pieces = {**dict.fromkeys(kept), **spoken.pieces}
    spoken.pieces = {text: text if text in usual else like for text, like in spoken.pieces.items()}
    spoken.words = _spelt(design, spoken, tokenizer)
    return spoken


def _shown(memory: MemoryDesign) -> Iterator[tuple[Sequence[ToolCall], str]]:
    """Yield the calls by which a design keeps, changes and drops, with what ends a call of `stores` that does so."""
    ends = [text for text in usual_wording().fixed if text.endswith("</tool_call>")]
    stored, stored_event, updated, deleted = ends
    for event in (False, True):
        calls = memory.keep(_SAID, event=event)
        yield calls, stored_event if event else stored
        for call in calls:
            memory.execute(call, time="June 1")
        if not memory.items:
            continue  # a design without a teacher
        item = memory.items[-1]
        yield memory.keep(_SAID_ANEW, event=event, instead_of=item), updated
        yield memory.drop(item), deleted
        for call in memory.drop(item):
            memory.execute(call)


def _take_apart(call: ToolCall, end: str, spoken: Spoken) -> None:
    """Note the fixed text of a call: all of it but ids and what the sentence says."""
    said = {fold(word) for text in (_SAID, _SAID_ANEW) for word in words(text)}
    arguments = {
        name: _MARK if name.endswith("_id") or {fold(word) for word in words(str(value))} <= said else value
        for name, value in call.arguments.items()
    }
    pieces = DIALECT.format([ToolCall(name=call.name, arguments=arguments)]).split("\\u0000")
    opening = next(text for text in usual_wording().fixed if text.endswith('{"content": "'))
    for place, piece in enumerate(pieces):
        like = opening if place == 0 else end if place == len(pieces) - 1 else None
        spoken.pieces.setdefault(piece, like)


def _only_of_stores(text: str) -> bool:
    return "# Tools" in text or text.endswith("</tool_call>")


def _spelt(design: NewMemory, spoken: Spoken, tokenizer: Any) -> list[str]:
    """Return words that items of the design have, and the tokenizer does not have as one token."""
    found: dict[str, None] = {}
    for stream in synthetic(seed=7, count=_STREAMS, people=16, changes=0.3, corrections=0.2, retractions=0.2):
        memory = design(_ROOM, _ROOM, count_words)
        keep_notes(memory, stream)
        for item in memory.items:
            found.update(dict.fromkeys(_WORD.findall(item.content)))
    return [
        word
        for word in found
        if word not in spoken.pieces and len(tokenizer.encode(f" {word}", add_special_tokens=False)) > 1
    ]


@torch.no_grad()
def _embed(model: Any, old: Any, new: Any, spoken: Spoken) -> None:
    """Give the model an embedding for each token of the new tokenizer."""
    known = old.get_vocab()
    before = model.get_input_embeddings().weight.clone()
    mean = before.mean(0)
    generator = torch.Generator().manual_seed(0)
    rows = []
    for token, _ in sorted(new.get_vocab().items(), key=lambda pair: pair[1]):
        like = spoken.pieces.get(token) or token
        if like in known:
            rows.append(before[known[like]])
        else:
            rows.append(mean + _SIZE * torch.randn(len(mean), generator=generator))
    model.resize_token_embeddings(len(rows), mean_resizing=False)
    model.get_input_embeddings().weight.copy_(torch.stack(rows))
    for kept in (model.config, model.generation_config):
        kept.eos_token_id, kept.pad_token_id = new.eos_token_id, new.pad_token_id
