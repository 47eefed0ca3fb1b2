"""PerLTQA (arXiv 2402.16288): people's profiles, relations, events and dialogues, and questions on each of these.

Read as its repository has it: a file of memories and one of questions. A question names the memories that it is about:
a field of the profile, or a list of ids as the text of a Python literal ("['4_0_0']"). An id that no memory of the
person has is matched without the numbers that it begins with and ends with (`#`), where that leaves one memory.

The raw answers are whole sentences, so they are scored by F1; the answers of parts that Mem-alpha scores are its own.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, RootModel, field_validator

from memrl.envs.building.chunking import Unit
from memrl.envs.building.documents import Document, DocumentQuestion, Packing
from memrl.envs.building.left_out import leave_out
from memrl.envs.building.raw import open_raw, parse, parse_json, records
from memrl.envs.building.source import Source
from memrl.envs.errors import DataError

SECTIONS = ("profile", "social_relationship", "events", "dialogues")


class _Event(BaseModel):
    model_config = ConfigDict(populate_by_name=True)

    content: str
    time: str | None = Field(None, alias="Creation Time")


class _Dialogue(BaseModel):
    contents: dict[str, list[str]]
    """By time."""


class _Person(BaseModel):
    profile: dict[str, Any]
    profile_description: str = ""
    social_relationship: dict[str, Any] | str
    events: dict[str, _Event | str]
    dialogues: dict[str, _Dialogue]


class _Memories(RootModel[dict[str, _Person]]):
    """Memories by name."""


class _Questions(RootModel[dict[str, Any]]):
    """A person's questions, nested by section and memory."""


class _Entry(BaseModel):
    model_config = ConfigDict(populate_by_name=True)

    question: str = Field(alias="Question")
    answer: str = Field(alias="Answer")
    reference: list[str] = Field(alias="Reference Memory")

    @field_validator("answer", mode="before")
    @classmethod
    def _worded(cls, given: Any) -> Any:
        return str(given) if isinstance(given, int | float) else given

    @field_validator("reference", mode="before")
    @classmethod
    def _listed(cls, given: Any) -> Any:
        if not isinstance(given, str):
            return given
        if not given.strip().startswith("["):
            return [given]
        try:
            return ast.literal_eval(given.strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
            raise ValueError(f"{given!r} is no list of ids") from error


def read(path: Path) -> Iterator[Document]:
    """One document a person: profile, relations, events, dialogues.

    Args:
        path: the folder with perltmem*.json and perltqa*.json.

    Raises:
        DataError: a file is missing or damaged, or a person who is asked about has no memories.
    """
    memories, questions = _file(path, "perltmem"), _file(path, "perltqa")
    with open_raw(memories) as opened:
        people = parse_json(_Memories, opened.read(), str(memories)).root
    found = 0
    for where, record in records(questions, _Questions, kind="PerLTQA JSON"):
        for name, asked in record.root.items():
            if name not in people:  # the published file asks about some whose memories it does not have
                leave_out("about people without memories", name, sum(1 for _ in _entries(asked, "", where)))
                continue
            found += 1
            units = list(_units(people[name], f"{memories}, {name}"))
            known = {key for unit in units for key in unit.keys}
            asks = tuple(
                _ask(f"{name}-{number}", entry, section, known)
                for number, (section, entry) in enumerate(_entries(asked, "", f"{where} ({name})"))
            )
            yield Document(name, tuple(units), asks)
    if not found:
        raise DataError(
            f"{questions} asks about nobody whose memories {memories} has. Check that they belong together."
        )


def _file(path: Path, begins: str) -> Path:
    found = sorted(path.glob(f"{begins}*.json")) + sorted(path.glob(f"{begins}*.json.gz"))
    if not found:
        raise DataError(f"{path} has no file {begins}*.json. Check the path (data.path or the source's own `path`).")
    return found[0]


def _units(person: _Person, where: str) -> Iterator[Unit]:
    for key, value in person.profile.items():
        yield Unit(f"{key}: {value}", (f"profile/{key}",), section="profile", turn=True)
    if person.profile_description.strip():
        yield Unit(person.profile_description, section="profile")
    for key, value in _relations(person.social_relationship, where).items():
        told = "; ".join(f"{name}: {text}" for name, text in value.items()) if isinstance(value, dict) else str(value)
        yield Unit(told, (f"social_relationship/{key}",), section="social_relationship", turn=True)
    for key, event in person.events.items():
        text, time = (event, None) if isinstance(event, str) else (event.content, event.time)
        yield Unit(text, (f"events/{key}",), time or None, section="events")
    for key, dialogue in person.dialogues.items():
        for time, turns in dialogue.contents.items():
            for turn in turns:
                yield Unit(turn, (f"dialogues/{key}",), time, key, turn=True)


def _relations(given: dict[str, Any] | str, where: str) -> dict[str, Any]:
    """Some are written as the text of a Python literal."""
    if isinstance(given, dict):
        return given
    try:
        value = ast.literal_eval(given)
    except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
        raise DataError(f"{where}: social_relationship cannot be read ({error}). Mend that record.") from error
    if not isinstance(value, dict):
        raise DataError(f"{where}: social_relationship is no mapping. Mend that record.")
    return value


def _entries(node: Any, section: str, where: str) -> Iterator[tuple[str, _Entry]]:
    """The questions, however they are nested, and the section that each is about."""
    if isinstance(node, dict) and "Question" in node:
        yield section, parse(_Entry, node, where)
    elif isinstance(node, dict):
        for key, below in node.items():
            yield from _entries(below, key if key in SECTIONS else section, where)
    elif isinstance(node, list):
        for below in node:
            yield from _entries(below, section, where)


def _ask(name: str, entry: _Entry, section: str, known: set[str]) -> DocumentQuestion:
    keys: list[str] = []
    for reference in entry.reference:
        exact = f"{section}/{reference}"
        alike = [exact] if exact in known else [key for key in known if _bare(key) == _bare(exact)]
        keys.append(alike[0] if len(alike) == 1 else exact)  # of several it is not known which: none is evidence
    evidence = tuple(dict.fromkeys(keys)) or None
    return DocumentQuestion(name, entry.question, (entry.answer,), "token_f1", evidence, section or "other")


def _bare(key: str) -> str:
    """Return an id without the number that it begins with (of the person), and the one that it ends with (of the
    dialogue)."""
    section, _, name = key.partition("/")
    head, _, tail = name.partition("_")
    return f"{section}/{(tail if head.isdigit() and tail else name).partition('#')[0]}"


def _locate(files: list[Path]) -> list[Path]:
    both = all(any(file.name.startswith(begins) for file in files) for begins in ("perltmem", "perltqa"))
    return [files[0].parent] if both else []


SOURCE = Source(
    name="perltqa",
    read=read,
    about="questions on people's profiles, relations, events and dialogues",
    stage=Packing(chunk_tokens=512, questions=100),
    home="https://github.com/Elvin-Yiming-Du/PerLTQA",
    licence="CC BY-NC 4.0",
    kind="dialogue",
    tried="format",
    locate=_locate,
)
