"""LoCoMo: very long conversations of two friends over months, with five kinds of questions (arXiv 2402.17753)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from memrl.envs.building.chunking import Unit
from memrl.envs.building.dialogue import ABSTAIN, Turn, session
from memrl.envs.building.documents import Document, DocumentQuestion, Packing
from memrl.envs.building.locating import by_fields
from memrl.envs.building.raw import AGAIN, parse, records
from memrl.envs.building.source import Source
from memrl.envs.errors import DataError

KINDS = {1: "multi-hop", 2: "temporal", 3: "open-domain", 4: "single-hop", 5: "unanswerable"}
_SESSION = re.compile(r"session_(\d+)")
_TURN = re.compile(r"D:?(\d+):(\d+)")


class _Turn(BaseModel):
    speaker: str
    dia_id: str
    text: str
    blip_caption: str | None = None


class _Entry(BaseModel):
    question: str
    answer: str | int | float | None = None
    evidence: list[str] = []
    category: int


class _Conversation(BaseModel):
    model_config = ConfigDict(extra="allow")

    speaker_a: str
    speaker_b: str


class _Record(BaseModel):
    sample_id: str
    conversation: _Conversation
    qa: list[_Entry]


class _Correction(BaseModel):
    sample_id: str
    upstream: _Entry
    alt: _Entry | None


def read(
    path: Path,
    corrections: Path | None = None,
    metric: str = "locomo_f1",
    unanswerable: Literal["abstention", "locomo_abstention"] = "abstention",
) -> Iterator[Document]:
    """One document a conversation.

    Args:
        path: locomo10.json, or records of it.
        metric: how answers are scored, those to unanswerable questions apart. `locomo_f1` is LoCoMo's own script, each
            category by its rule: multi-hop golds in their parts (`locomo_f1_multi`), of an open-domain gold what
            stands before a semicolon.
        unanswerable: how answers to unanswerable questions are scored. LoCoMo's own rule, `locomo_abstention`, also
            pays for "Rome, or not mentioned" and not for "I don't know."
        corrections: a list of `{sample_id, upstream, alt}`: questions to replace, or, without `alt`, to leave out.

    Raises:
        DataError: a file is missing or damaged, or a correction is of a question that is not there.
    """
    changed = _corrections(corrections) if corrections is not None else {}
    for where, record in records(path, _Record, kind="LoCoMo JSON"):
        units = list(_units(record, where))
        known = {key for unit in units for key in unit.keys}
        asks = []
        for number, entry in enumerate(record.qa):
            kept = changed.pop((record.sample_id, entry.question), entry)
            if kept is not None:
                asks.append(
                    _ask(f"{record.sample_id}-{number}", kept, known, f"{where}, qa {number}", (metric, unanswerable))
                )
        yield Document(record.sample_id, tuple(units), tuple(asks))
    if changed:
        raise DataError(f"{corrections} corrects questions that {path} does not have, e.g. {next(iter(changed))}.")


def _corrections(path: Path) -> dict[tuple[str, str], _Entry | None]:
    found = (correction for _, correction in records(path, _Correction, kind="a list of corrections"))
    return {(correction.sample_id, correction.upstream.question): correction.alt for correction in found}


def _units(record: _Record, where: str) -> Iterator[Unit]:
    parts: dict[str, Any] = record.conversation.model_extra or {}
    numbers = sorted(int(match[1]) for name in parts if (match := _SESSION.fullmatch(name)))
    for number in numbers:
        place = f"{where}, session_{number}"
        if not isinstance(parts[f"session_{number}"], list):
            raise DataError(f"{place} is no list of turns. {AGAIN}")
        turns = [parse(_Turn, turn, place) for turn in parts[f"session_{number}"]]
        time = parts.get(f"session_{number}_date_time")
        yield from session(f"D{number}", (Turn(turn.speaker, _said(turn), turn.dia_id) for turn in turns), time)


def _said(turn: _Turn) -> str:
    return f"{turn.text} [shares a photo of {turn.blip_caption}]" if turn.blip_caption else turn.text


def _ask(name: str, entry: _Entry, known: set[str], where: str, metrics: tuple[str, str]) -> DocumentQuestion:
    metric, unanswerable = metrics
    kind = KINDS.get(entry.category)
    if kind is None:
        raise DataError(f"{where}: category is {entry.category}; it must be 1 to 5. Mend that record.")
    # Some labels stand together in one string ("D8:6; D9:17") or are misspelt ("D:11:26", "D30:05").
    named = [f"D{int(d)}:{int(turn)}" for text in entry.evidence for d, turn in _TURN.findall(text)]
    evidence = tuple(key for key in named if key in known) or (tuple(named) or None)
    if entry.category == 5:
        # Its evidence is what tempts: only who has kept that rightly can tell that the question is beside it.
        return DocumentQuestion(name, entry.question, ABSTAIN, unanswerable, evidence, kind)
    if entry.answer is None or not str(entry.answer).strip():
        raise DataError(f"{where}: {entry.question!r} has no answer. Mend that record.")
    gold = str(entry.answer)
    if metric == "locomo_f1" and kind == "multi-hop":
        metric = "locomo_f1_multi"
    elif metric == "locomo_f1" and kind == "open-domain":
        gold = gold.split(";")[0].strip() or gold
    return DocumentQuestion(name, entry.question, (gold,), metric, evidence, kind)


SOURCE = Source(
    name="locomo",
    read=read,
    about="questions on months of conversation between two friends",
    stage=Packing(eval_share=1.0),
    home="https://github.com/snap-research/LoCoMo",
    licence="CC BY-NC 4.0",
    kind="dialogue",
    locate=by_fields("locomo*.json", "sample_id", "conversation", "qa"),
    versions={"db40b25ae98d467f4fb7a386ad0bba43581446a0bf11da7a42ab26f54a9dc772": "3eb6f2c585"},
)
