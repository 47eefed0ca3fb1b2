"""RealMem: a user's projects over months of sessions with an assistant (arXiv 2601.06966).

A user turn marked as a query is asked once the stream ends; the assistant's reply is the reference, and so left out of
the chunks. The user's own turn stays: it tells what later queries need, and holds no answer. Sessions that are called
"Enhanced" are filler: chats of others, of which several persons have the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from pydantic import BaseModel

from memrl.envs.building.chunking import Unit
from memrl.envs.building.dialogue import Turn, session
from memrl.envs.building.documents import Document, DocumentQuestion, Packing
from memrl.envs.building.locating import by_fields
from memrl.envs.building.raw import records
from memrl.envs.building.source import Source
from memrl.envs.errors import DataError

FILLER = "Enhanced:"
QUESTION = "How should the assistant reply to the user, who says on {time}:\n{query}"


class _Metadata(BaseModel):
    person_name: str


class _Turn(BaseModel):
    speaker: str
    content: str
    is_query: bool = False
    query_id: str | None = None
    category_name: str | None = None
    memory_session_uuids: list[str] | None = None


class _Point(BaseModel):
    content: str
    source_content_snapshot: str


class _Session(BaseModel):
    session_identifier: str = ""
    session_uuid: str
    current_time: str
    dialogue_turns: list[_Turn]
    extracted_memory: list[_Point]


def read(path: Path) -> Iterator[Document]:
    """The one document of a person's file.

    Args:
        path: one person's file, such as Kenta_Tanaka_dialogues_256k.json, plain or .gz.

    Raises:
        DataError: the file is missing or damaged, or a query has no id, or no reply after it.
    """
    _, about = next(records(path, _Metadata, at="_metadata", kind="RealMem JSON"))
    units: list[Unit] = []
    asks: list[DocumentQuestion] = []
    for where, talk in records(path, _Session, at="dialogues.item", kind="RealMem JSON"):
        asked = [place for place, turn in enumerate(talk.dialogue_turns) if turn.is_query]
        units += _units(talk, {place + 1 for place in asked})
        asks += [_ask(talk, place, about.person_name, f"{where}, turn {place}") for place in asked]
    yield Document(about.person_name, tuple(units), tuple(asks))


def _units(talk: _Session, left_out: set[int]) -> list[Unit]:
    """The turns of a session, each with the memory points drawn from it."""
    kept = {f"{talk.session_uuid}:{n}": turn for n, turn in enumerate(talk.dialogue_turns) if n not in left_out}
    units = session(
        talk.session_uuid, (Turn(turn.speaker, turn.content, key) for key, turn in kept.items()), talk.current_time
    )
    # A point's own turn number is often off by some; the text of the turn it quotes is not.
    sources = {kept[unit.keys[-1]].content.strip(): place for place, unit in reversed(list(enumerate(units)))}
    points: list[list[str]] = [[] for _ in units]
    for point in talk.extracted_memory:
        place = sources.get(point.source_content_snapshot.strip(), None if left_out else len(units) - 1)
        if units and place is not None:  # else it may come from a reply that is left out
            points[place].append(point.content)
    filler = talk.session_identifier.startswith(FILLER)
    return [replace(unit, points=tuple(some), filler=filler) for unit, some in zip(units, points, strict=True)]


def _ask(talk: _Session, place: int, person: str, where: str) -> DocumentQuestion:
    query, *after = talk.dialogue_turns[place : place + 2]
    if not query.query_id:
        raise DataError(f"{where}: the query has no query_id. Mend that record.")
    if not after or after[0].speaker == query.speaker:
        raise DataError(f"{where}: no reply follows query {query.query_id!r}. Mend that record.")
    return DocumentQuestion(
        f"{person}-{query.query_id}",
        QUESTION.format(time=talk.current_time, query=query.content.strip()),
        (after[0].content.strip(),),
        "rouge_l",
        tuple(after[0].memory_session_uuids or ()) or None,
        (query.category_name or "fact").lower().replace(" ", "-"),
    )


SOURCE = Source(
    name="realmem",
    read=read,
    about="what to reply to a user, after months of sessions about several projects",
    stage=Packing(eval_share=1.0),
    home="https://github.com/zhiyuan5986/RealMemBench",
    licence="Apache-2.0",
    kind="dialogue",
    tried="real",
    locate=by_fields("*_dialogues_*.json", "session_uuid", "dialogue_turns", "extracted_memory", at="dialogues.item"),
    versions={"b8fe2e606db96dbce1ffa0ab7c21b23ce83d4b5d472d80cd4bd23cd8a259d397": "067c486a52"},
)
