"""QMSum: meetings, and what was said in them on a query (arXiv 2104.05938)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel

from memrl.envs.building.dialogue import Turn, session
from memrl.envs.building.documents import Document, DocumentQuestion, Packing
from memrl.envs.building.locating import by_fields
from memrl.envs.building.raw import records
from memrl.envs.building.source import Source

_NOISE = re.compile(r"\{\w+\}\s*")


class _Turn(BaseModel):
    speaker: str
    content: str


class _Query(BaseModel):
    query: str
    answer: str


class _Specific(_Query):
    relevant_text_span: list[tuple[int, int]]


class _Meeting(BaseModel):
    meeting_transcripts: list[_Turn]
    general_query_list: list[_Query] = []
    specific_query_list: list[_Specific] = []


def read(path: Path) -> Iterator[Document]:
    """One document a meeting, called by a hash of its first 20 turns: it has no name. Marks of noise are left out.

    Args:
        path: a JSON lines file, plain or .gz.

    Raises:
        DataError: the file is missing or damaged, or a field is missing.
    """
    for _, meeting in records(path, _Meeting, kind="QMSum JSON lines"):
        said = meeting.meeting_transcripts
        opening = "\n".join(f"{turn.speaker}: {turn.content}" for turn in said[:20])
        key = hashlib.sha256(opening.encode()).hexdigest()[:12]
        turns = (Turn(turn.speaker, _NOISE.sub("", turn.content), str(n)) for n, turn in enumerate(said))
        asks = [
            DocumentQuestion(f"{key}-general-{n}", query.query, (query.answer,), "rouge_l", kind="general")
            for n, query in enumerate(meeting.general_query_list)
        ]
        for n, specific in enumerate(meeting.specific_query_list):
            spans = (range(max(first, 0), min(last, len(said) - 1) + 1) for first, last in specific.relevant_text_span)
            evidence = tuple(str(turn) for span in spans for turn in span)
            name = f"{key}-specific-{n}"
            asks.append(
                DocumentQuestion(name, specific.query, (specific.answer,), "rouge_l", evidence or None, "specific")
            )
        yield Document(key, tuple(session("meeting", turns)), tuple(asks))


SOURCE = Source(
    name="qmsum",
    read=read,
    about="summaries of meetings, of all of one and of what was said on a query",
    stage=Packing(chunk_tokens=1900),
    home="https://github.com/Yale-LILY/QMSum",
    licence="MIT",
    kind="summaries",
    locate=by_fields("qmsum*.json*", "meeting_transcripts", "general_query_list", "specific_query_list"),
    versions={"fc7444e241bdbe6997c01720d07f1a58b7357284acb73f909766e5a4700db49f": "83d7768c1f"},
)
