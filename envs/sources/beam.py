"""BEAM (arXiv 2510.27246): very long chats in batches, and probing questions of ten abilities with rubrics.

Read as its repository has it: a folder for each chat, with `chat.json` and `probing_questions/probing_questions.json`.
The right answer has another name in each ability. Until a judge grades by the rubrics, answers are scored by F1,
summaries by ROUGE-L, and abstention by what it says.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, RootModel

from envs.building.chunking import Unit
from envs.building.dialogue import ABSTAIN, Turn, session
from envs.building.documents import Ask, Document, Packing
from envs.building.raw import AGAIN, find, open_raw, parse_json, records
from envs.building.source import Source
from envs.errors import DataError

CHAT = "chat.json"
QUESTIONS = "probing_questions.json"
ANSWERS = ("answer", "ideal_response", "ideal_answer", "ideal_summary", "expected_compliance")
METRICS = {"abstention": "abstention", "summarization": "rouge_l"}


class _Message(BaseModel):
    id: int | str
    role: str
    content: str


class _Batch(BaseModel):
    batch_number: int
    time_anchor: str | None = None
    turns: list[list[_Message]]


class _Question(BaseModel):
    model_config = ConfigDict(extra="allow")

    question: str
    source_chat_ids: Any = None


class _Questions(RootModel[dict[str, list[_Question]]]):
    """By ability."""


def read(path: Path) -> Iterator[Document]:
    """One document a chat.

    Args:
        path: the folder of a chat, or of many (e.g. chats/100K).

    Raises:
        DataError: there is no chat, a file is missing or damaged, or a question has no answer.
    """
    chats = sorted(path.rglob(CHAT)) if path.is_dir() else []
    if not chats:
        raise DataError(f"{path} holds no {CHAT}. Check the path (data.path or the source's own `path`).")
    for chat in chats:
        name = chat.parent.name
        units = [unit for _, batch in records(chat, _Batch, kind="a chat of BEAM") for unit in _units(batch)]
        known = {key for unit in units for key in unit.keys}
        file = find(chat.parent / "probing_questions", QUESTIONS)
        with open_raw(file) as opened:
            abilities = parse_json(_Questions, opened.read(), str(file)).root
        asks = [
            _ask(f"{name}-{ability}-{number}", ability, question, known, f"{file}, {ability} {number}")
            for ability, some in abilities.items()
            for number, question in enumerate(some)
        ]
        yield Document(name, tuple(units), tuple(asks))


def _units(batch: _Batch) -> list[Unit]:
    said = (
        Turn(message.role.title(), message.content, str(message.id))
        for exchange in batch.turns
        for message in exchange
    )  # fmt: skip
    return session(f"batch {batch.batch_number}", said, batch.time_anchor)


def _ask(name: str, ability: str, question: _Question, known: set[str], where: str) -> Ask:
    evidence = tuple(key for key in dict.fromkeys(_ids(question.source_chat_ids)) if key in known) or None
    if ability == "abstention":
        return Ask(name, question.question, ABSTAIN, METRICS[ability], evidence, ability)
    given = question.model_extra or {}
    answer = next((str(given[field]).strip() for field in ANSWERS if given.get(field)), "")
    if not answer:
        raise DataError(f"{where} has no answer ({', '.join(ANSWERS)}). {AGAIN}")
    return Ask(name, question.question, (answer,), METRICS.get(ability, "token_f1"), evidence, ability)


def _ids(value: Any) -> Iterator[str]:
    """Message ids, which are listed, or listed by what they show."""
    if isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _ids(part)
    elif value is not None:
        yield str(value)


def _locate(files: list[Path]) -> list[Path]:
    """The folder of a chat."""
    folder = files[0].parent
    chat = any(file.name == CHAT for file in files) and (folder / "probing_questions").is_dir()
    return [folder] if chat else []


SOURCE = Source(
    name="beam",
    read=read,
    about="probing questions of ten abilities on chats of 100,000 tokens and more",
    stage=Packing(eval_share=1.0, chunk_tokens=2048),
    home="https://github.com/mohammadtavakoli78/BEAM",
    licence="not stated",
    kind="dialogue",
    tried="format",
    locate=_locate,
)
