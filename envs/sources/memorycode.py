"""MemoryCode: a mentor gives coding rules over many sessions and changes some of them (arXiv 2502.13791).

Each question asks for code that follows all rules in force at the end. Its golds are those rules, and, as `[object,
null]`, what the task asks for; `memrl.rewards.code` says how they are scored.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import BaseModel, Field

from memrl.envs.building.dialogue import Turn, session
from memrl.envs.building.documents import Document, DocumentQuestion, Packing
from memrl.envs.building.locating import by_members
from memrl.envs.building.raw import contents, parse_json
from memrl.envs.building.source import Source

FILES = "dialogue_[0-9]*.json"


class _Context(BaseModel):
    mentor: str
    mentee: str


class _Session(BaseModel):
    type: list[str]
    topic: list[str]
    text: str
    session_regex: list[tuple[str, Any]]
    history_regex: list[tuple[str, Any]]
    history_eval_query: list[str]


class _Dialogue(BaseModel):
    context: _Context
    sessions: list[_Session] = Field(min_length=1)


def read(path: Path) -> Iterator[Document]:
    """One document a dialogue.

    Args:
        path: the folder of dialogue_N.json, or a tar archive of it.

    Raises:
        DataError: a file is missing or damaged, or a field is missing.
    """
    for where, data in contents(path, FILES):
        dialogue = parse_json(_Dialogue, data, where)
        name = PurePosixPath(where.rsplit(", ", 1)[-1]).stem
        units = [
            unit
            for number, part in enumerate(dialogue.sessions)
            for unit in session(str(number), _turns(part.text, dialogue.context), points=_points(part))
        ]
        yield Document(name, tuple(units), tuple(_asks(name, dialogue)))


def _turns(text: str, context: _Context) -> Iterator[Turn]:
    """Yield what either says; a paragraph that names no speaker goes on with the turn before."""
    speaker, held = context.mentor, ""
    for line in filter(str.strip, text.splitlines()):
        named = next((who for who in (context.mentor, context.mentee) if line.lstrip().startswith(f"{who}:")), None)
        if named is None:
            held += "\n" + line.strip()
        else:
            yield Turn(speaker, held)
            speaker, held = named, line.lstrip().removeprefix(f"{named}:")
    yield Turn(speaker, held)


def _points(part: _Session) -> tuple[str, ...]:
    return tuple(topic for kind, topic in zip(part.type, part.topic, strict=False) if kind.startswith("instruction"))


def _asks(name: str, dialogue: _Dialogue) -> Iterator[DocumentQuestion]:
    last = dialogue.sessions[-1]
    rules = last.history_regex
    # The session that gave a rule as it is now: the last one, where a rule came back.
    given = {str(rule): str(number) for number, part in enumerate(dialogue.sessions) for rule in part.session_regex}
    evidence = tuple(dict.fromkeys(given[str(rule)] for rule in rules if str(rule) in given)) or None
    for number, query in enumerate(last.history_eval_query):
        text = (
            f"You are {dialogue.context.mentee}. Write a {query} in Python. Follow every coding rule that "
            f"{dialogue.context.mentor} has given you, each as it was told last. Give the code alone, without examples."
        )
        golds = tuple(json.dumps(gold) for gold in (*rules, *_wanted(query)))
        yield DocumentQuestion(f"{name}-{number}", text, golds, "code_rules", evidence, "code")


def _wanted(query: str) -> Iterator[tuple[str, None]]:
    words = query.lower().split()
    if "class" in words:
        yield "class", None
    if {"method", "methods"} & set(words):
        yield "method", None
    if words[:1] == ["function"]:
        yield "function", None


SOURCE = Source(
    name="memorycode",
    read=read,
    about="write code by the rules that a mentor gave and changed over many sessions",
    stage=Packing(),
    home="https://github.com/for-ai/MemoryCode",
    licence="Apache-2.0",
    kind="code",
    locate=by_members(FILES),
)
