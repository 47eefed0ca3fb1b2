"""MemoryBank: ten days of small talk of each of fifteen users with an AI companion (arXiv 2305.10250).

Its probing questions have no published answers and stand in the metadata; what is asked is what the user said first.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, RootModel

from memrl.envs.building.chunking import Unit
from memrl.envs.building.documents import Document, Packing
from memrl.envs.building.locating import by_names
from memrl.envs.building.order import order_asks
from memrl.envs.building.raw import find, open_raw, parse_json, records
from memrl.envs.building.source import Source

HISTORIES = "memory_bank_en.json"
PROBES = "probing_questions_en.jsonl"


class _Exchange(BaseModel):
    query: str
    response: str


class _User(BaseModel):
    history: dict[str, list[_Exchange]]


class _Users(RootModel[dict[str, _User]]):
    """The file of histories: users by name."""


class _Probes(RootModel[dict[str, list[str]]]):
    """One line of the file of questions: a user's."""


def read(path: Path, seed: int = 0, order: int = 20) -> Iterator[Document]:
    """One document a user.

    Args:
        path: the folder that holds the histories and the probing questions.
        seed: draws what is asked.
        order: questions a user about which of two things that the user said came first.

    Raises:
        DataError: a file is missing or damaged.
    """
    histories = find(path, HISTORIES)
    with open_raw(histories) as file:
        users = parse_json(_Users, file.read(), str(histories)).root
    probes = {
        name.strip(): questions
        for _, line in records(find(path, PROBES), _Probes, kind="JSON lines")
        for name, questions in line.root.items()
    }
    for spelt, user in users.items():
        name = spelt.strip()
        units = [unit for day in sorted(user.history) for unit in _units(name, day, user.history[day])]
        said = [unit for unit in units if unit.text.startswith(f"{name}: ")]
        asks = order_asks(name, said, order, seed)
        yield Document(name, tuple(units), tuple(asks), {"probing_questions": probes.get(name, [])})


def _units(name: str, day: str, exchanges: list[_Exchange]) -> Iterator[Unit]:
    for number, exchange in enumerate(exchanges):
        for speaker, text in ((name, exchange.query), ("AI", exchange.response)):
            if text.strip():
                yield Unit(f"{speaker}: {text.strip()}", (f"{day}:{number}:{speaker}",), day, day, turn=True)


SOURCE = Source(
    name="memorybank",
    read=read,
    about="which of two things a user told an AI companion first, in ten days of small talk",
    stage=Packing(),
    home="https://github.com/zhongwanjun/MemoryBank-SiliconFriend",
    licence="MIT",
    kind="dialogue",
    tried="real",
    locate=by_names(HISTORIES, PROBES),
    versions={
        "27c302202f9675d87dcaa73e3a42dc0fca8999dcff3c6e7882a787c8a08d9bc7": "cf61c4196e",
        "84538a41e5a9c8000850c19008a85445b01bf52c9960c9d735d21a4b73e5c648": "cf61c4196e",
    },
)
