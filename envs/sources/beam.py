"""BEAM: chats of 100K to 10M tokens with an assistant, and two questions of each of ten kinds (arXiv 2510.27246).

The format is that of `chats/` in github.com/mohammadtavakoli78/BEAM, and what `download_dataset.py` there writes. The
benchmark has a model judge each point of a question's rubric (0, 0.5 or 1) and takes the mean, for event ordering the
rank correlation of the order told (Kendall's tau). F1 and ROUGE-L stand in for it, so scores here are none of BEAM's.
The rubric's points are the gold, not the published answer, which at times contradicts them. For the kinds
`instruction-following` and `preference-following` the points say what a reply must be like, so that an overlap of words
tells little there.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import Any

from pydantic import BaseModel, Field, RootModel

from memrl.envs.building.chunking import Unit
from memrl.envs.building.dialogue import ABSTAIN, Turn, session
from memrl.envs.building.documents import Document, DocumentQuestion, Packing
from memrl.envs.building.locating import archives_with
from memrl.envs.building.raw import contents, find_in, is_archive, parse_json, records, records_in
from memrl.envs.building.source import Source
from memrl.envs.errors import DataError

PROBES = "probing_questions/probing_questions.json"
PROBES_NAME = "probing_questions.json"
KIND = "a BEAM chat"
CHATS = ("chat_trunecated.json", "chat.json")  # where a chat was shortened, the questions are on that one
_PLANNED = re.compile(r"\s*->->[^\n]*\Z")  # which point of the plan a turn came from, no part of what is said
_RUBRIC = re.compile(r"\s*(the )?(LLM )?response should [\w ]+:\s*", re.IGNORECASE)


class _Turn(BaseModel):
    role: str
    content: str
    id: int
    time_anchor: str | None = None


class _Batch(BaseModel):
    turns: list[list[_Turn]]


class _Slot(RootModel[list[_Turn] | _Batch | dict[str, list[_Batch] | None]]):
    """A session of a chat; of 10M tokens: the sessions of a plan, by its name (other plans are null in its place)."""

    def sessions(self) -> Iterator[list[_Turn]]:
        if isinstance(self.root, list):
            yield self.root
            return
        batches = (
            [self.root] if isinstance(self.root, _Batch) else [b for some in self.root.values() for b in some or ()]
        )
        for batch in batches:
            yield [turn for group in batch.turns for turn in group]


class _Probe(BaseModel):
    question: str
    rubric: list[str] = []
    answer: str | int | float | None = None
    ideal_answer: str | None = None
    ideal_summary: str | None = None
    source_chat_ids: Any = None


class _Probes(RootModel[dict[str, list[_Probe]]]):
    root: dict[str, list[_Probe]] = Field(min_length=1)


def read(path: Path) -> Iterator[Document]:
    """One document a chat.

    Args:
        path: the folder of the chats of one size, e.g. `chats/100K`, or a tar archive of it, plain or .gz.

    Raises:
        DataError: a file is missing or damaged, or a question has no gold.
    """
    if path.is_file() and not is_archive(path):
        raise DataError(
            f"{path} is a file; this source reads a folder of chats, e.g. chats/100K, or a tar archive of it. Give its "
            "path."
        )
    if path.is_file():
        yield from _archived(path)
        return
    for where, data in contents(path, PROBES):
        folder = Path(where).resolve().parents[1]
        file = next(filter(Path.is_file, (folder / name for name in CHATS)), None) or find_in(folder, CHATS[-1])
        yield _document(folder, data, where, records(file, _Slot, kind=KIND))


def _archived(path: Path) -> Iterator[Document]:
    """The chats of a tar archive, whose files come in any order."""
    chats: dict[PurePath, dict[str, tuple[str, bytes]]] = {}
    for where, data in contents(path, PROBES, *CHATS):
        member = PurePath(where.rsplit(", ", 1)[-1])
        folder = member.parent if member.name in CHATS else member.parents[1]
        chats.setdefault(folder, {})[member.name] = (where, data)
    asked = {folder: files for folder, files in chats.items() if PROBES_NAME in files}
    if not asked:
        raise DataError(f"{path} holds no file {PROBES}. Check the path (data.path or the source's own `path`).")
    for folder, files in asked.items():
        chat = next((files[name] for name in CHATS if name in files), None)
        if chat is None:
            raise DataError(f"{path}, {folder} has no file {CHATS[-1]}. Check that it is the right file.")
        where, data = files[PROBES_NAME]
        slots = records_in(io.BytesIO(chat[1]), chat[0], _Slot, kind=KIND)
        yield _document(folder, data, where, slots)


def _document(folder: PurePath, data: bytes, where: str, slots: Iterator[tuple[str, _Slot]]) -> Document:
    name = f"{folder.parent.name}-{folder.name}"
    asks = tuple(_asks(name, parse_json(_Probes, data, where), where))
    return Document(name, tuple(_units(slots)), asks)


def _units(slots: Iterator[tuple[str, _Slot]]) -> Iterator[Unit]:
    for number, turns in enumerate(turns for _, slot in slots for turns in slot.sessions()):
        time = next((turn.time_anchor for turn in turns if turn.time_anchor), None)
        # A few chats of 1M tokens give an id twice: evidence is then each turn of that id.
        said = (Turn(turn.role.capitalize(), _PLANNED.sub("", turn.content), str(turn.id)) for turn in turns)
        yield from session(f"session {number}", said, time)


def _asks(name: str, probes: _Probes, where: str) -> Iterator[DocumentQuestion]:
    for kind, entries in probes.root.items():
        for number, entry in enumerate(entries):
            evidence = tuple(str(turn) for turn in dict.fromkeys(_ids(entry.source_chat_ids))) or None
            named = f"{name}-{kind}-{number}"
            if kind == "abstention":
                yield DocumentQuestion(named, entry.question, ABSTAIN, "abstention", evidence, kind)
                continue
            gold = _gold(entry)
            if not gold:
                raise DataError(f"{where}, {kind} {number}: it has neither rubric nor answer. Mend that record.")
            metric = "rouge_l" if kind == "summarization" else "token_f1"
            yield DocumentQuestion(named, entry.question, (gold,), metric, evidence, kind.replace("_", "-"))


def _gold(entry: _Probe) -> str:
    points = [_RUBRIC.sub("", point, count=1).strip() for point in entry.rubric]
    answers = (entry.ideal_summary, "; ".join(filter(None, points)), entry.answer, entry.ideal_answer)
    return next((str(answer).strip() for answer in answers if answer is not None and str(answer).strip()), "")


def _ids(found: Any) -> Iterator[int]:
    """The ids of turns in a list, a list of lists, or an object of lists; one published entry is no id ("--")."""
    if isinstance(found, int):
        yield found
    elif isinstance(found, list | dict):
        for part in found.values() if isinstance(found, dict) else found:
            yield from _ids(part)


def _locate(files: list[Path]) -> list[Path]:
    """The folder of all chats of a size, told once: by the files of the first of them."""
    root = files[0].parent.parent.parent
    here = [root] if min(root.glob(f"*/{PROBES}"), default=None) in files else []
    return here + archives_with(PROBES, files)


SOURCE = Source(
    name="beam",
    read=read,
    about="ten kinds of questions on chats of up to ten million tokens",
    stage=Packing(eval_share=1.0),
    home="https://github.com/mohammadtavakoli78/BEAM",
    licence="CC BY-SA 4.0",
    kind="dialogue",
    tried="format",
    locate=_locate,
)
