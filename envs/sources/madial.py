"""MADial-Bench: a child's life as dated events, and talks in which the assistant recalls one (arXiv 2409.15240).

The events of a person are the stream, in order of time. Each talk is a question up to, and without, the assistant's
first turn that recalls something; every event that fits is a right answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, Field, RootModel

from memrl.envs.building.chunking import Unit
from memrl.envs.building.documents import Document, DocumentQuestion, Packing
from memrl.envs.building.locating import by_names
from memrl.envs.building.raw import find, records
from memrl.envs.building.source import Source
from memrl.envs.errors import DataError

MEMORIES = "MADial-Bench-en-memory.json"
DIALOGUES = "MADial-Bench-en-dialogue.json"
QUESTION = "Which earlier event does this conversation call to mind?\n{talk}"
ASSISTANT = "Assistant"
_TURN = re.compile(r"<([^<>]+)>:(.*)", re.DOTALL)
_MARKS = ("<BOD>", "<EOD>")


class _Event(BaseModel):
    time: str = Field(pattern=r"^\d{4}-\d\d-\d\d$")
    event: str


class _Memory(RootModel[dict[str, _Event]]):
    """One line of the file of memories: an id and its event."""


class _Dialogue(BaseModel):
    dialogue: list[str]
    recalled_at: list[int] = Field(alias="test-turn", min_length=1)
    relevant: list[int] = Field(alias="relevant-id", min_length=1)

    def turns(self) -> list[tuple[str, str]]:
        """Speakers and what they say; one list entry each, marks of begin and end too, as `test-turn` counts them."""
        return [_turn(line.strip()) for line in self.dialogue]


def read(path: Path) -> Iterator[Document]:
    """One document a person.

    Args:
        path: the folder that holds the files of English memories and dialogues.

    Raises:
        DataError: a file is missing or damaged, or a dialogue names an event or a turn that is not there.
    """
    file = find(path, MEMORIES)
    events = {
        name: event for _, memory in records(file, _Memory, kind="JSON lines") for name, event in memory.root.items()
    }
    asks: dict[str, list[DocumentQuestion]] = {}
    for number, (where, dialogue) in enumerate(records(find(path, DIALOGUES), _Dialogue, kind="JSON lines")):
        person, ask = _ask(str(number), dialogue, events, where)
        asks.setdefault(person, []).append(ask)
    for person, theirs in asks.items():
        recalled = {name for ask in theirs for name in ask.evidence or ()}
        told = sorted(
            (event.time, name, event.event.strip())
            for name, event in events.items()
            if name in recalled or person in event.event
        )
        # A chunk is what one month brought: a chunk a day would be one sentence.
        units = tuple(Unit(f"{time}: {event}", (name,), time[:7], turn=True) for time, name, event in told)
        yield Document(person, units, tuple(theirs))


def _turn(line: str) -> tuple[str, str]:
    if match := _TURN.fullmatch(line):
        return match[1], match[2].strip().strip('"')
    return ASSISTANT, line.strip('<>"')  # some turns of the assistant, and none else, lack the name


def _ask(name: str, dialogue: _Dialogue, events: dict[str, _Event], where: str) -> tuple[str, DocumentQuestion]:
    """Return who talks with the assistant, and what is asked."""
    unknown = [number for number in dialogue.relevant if str(number) not in events]
    if unknown:
        raise DataError(f"{where}: relevant-id names {unknown}, which the file of memories lacks. Mend that record.")
    turns = dialogue.turns()
    end = min(dialogue.recalled_at)
    before = [turn for turn, line in zip(turns[:end], dialogue.dialogue, strict=False) if line.strip() not in _MARKS]
    person = next((speaker for speaker, _ in before if speaker != ASSISTANT), None)
    if person is None or end >= len(turns):
        raise DataError(f"{where}: test-turn {end} is no turn after the first of a person. Mend that record.")
    talk = "\n".join(f"{speaker}: {text}" for speaker, text in before)
    relevant = tuple(str(number) for number in dialogue.relevant)
    golds = tuple(events[number].event.strip() for number in relevant)
    return person, DocumentQuestion(name, QUESTION.format(talk=talk), golds, "token_f1", relevant, "reminder")


SOURCE = Source(
    name="madial",
    read=read,
    about="which of a child's earlier experiences a conversation calls to mind",
    stage=Packing(eval_share=1.0),
    home="https://github.com/hejunqing/MADial-Bench",
    licence="MIT",
    kind="dialogue",
    extractive=True,
    tried="real",
    locate=by_names(MEMORIES, DIALOGUES),
    versions={
        "d384b2d35e01ed364165001911af7f8193c808d168b106dea7b23435c7717aa5": "572e3a10d6",
        "ba987172b4a720dd108c9a3b04855b8489ecde96fdf5d484d6522602ec6f4a31": "572e3a10d6",
    },
)
