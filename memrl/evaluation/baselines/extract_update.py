"""Extract and update (Mem0's manner, arXiv 2504.19413): the untrained model first lists the facts of a chunk, then says
of each whether it is new, changes an item, makes one wrong, or is known.

The two replies are read line by line. A fact that the model passes no sentence on is added, as one that it cannot find
the item of: what it extracted should not be lost to a slip of form.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from memrl.config import EvalConfig
from memrl.engines.engine import Place
from memrl.envs.designs.stores import StoreMemory
from memrl.envs.stream import Chunk, Stream
from memrl.envs.tools import ToolCall
from memrl.evaluation.baselines.base import Kept, Speaker, keep, page
from memrl.rollout.worker import RolloutWorker

EXTRACT = (
    "List the facts of the text that are worth knowing later, one short self-contained sentence a line, each line "
    "beginning with a dash. Leave out small talk. If there are none, write: none"
)
DECIDE = (
    "For each numbered fact, compare it with the memory and write one line: its number and ADD (it is new), UPDATE and "
    "an item's id (it changes that item), DELETE and an item's id (it makes that item wrong and says nothing new), or "
    "NOOP (it is known). For example: 1 UPDATE sem_0002"
)
# Each is matched at the beginning of a line without the blanks around it, so that no text is read twice.
_FACT = re.compile(r"(?:[-*•]|\d+[.)])\s*(?=\S)")
_DECISION = re.compile(r"\W*(\d{1,9})\W+(ADD|UPDATE|DELETE|NOOP)\b\W*(\w+)?", re.IGNORECASE)


@dataclass(frozen=True)
class Decision:
    """A decision on what is to become of a fact, and of which item."""

    what: str
    item: str = ""


def facts(reply: str) -> list[str]:
    """The facts that the model listed, each once."""
    lines = [line.strip() for line in reply.splitlines()]
    found = [line[mark.end() :] for line in lines if (mark := _FACT.match(line))]
    return [fact for fact in dict.fromkeys(found) if fact.strip(". ").lower() != "none"]


def decisions(reply: str, count: int, known: Sequence[str]) -> list[Decision]:
    """A decision for each of `count` facts; `known` are the ids that may be named."""
    found = [Decision("ADD")] * count
    for line in reply.splitlines():
        read = _DECISION.match(line.strip())
        if read is None:
            continue
        number, what, item = read.groups(default="")
        place, kind = int(number) - 1, what.upper()
        if not 0 <= place < count:
            continue
        if kind in ("ADD", "NOOP"):
            found[place] = Decision(kind)
        elif item in known:
            found[place] = Decision(kind, item)
    return found


class ExtractUpdate:
    """Keeps facts in the policy's own memory, under `memory.budget`."""

    def __init__(self, worker: RolloutWorker, _: EvalConfig) -> None:
        self._worker = worker
        self._speaker = Speaker(worker)

    async def read(self, stream: Stream, place: Place) -> Kept:
        memory = self._worker.new_stores()
        for number, chunk in enumerate(stream.chunks):
            listed = facts(await self._speaker.say(EXTRACT, page(chunk), place.at(number).under(0)))
            if listed:
                await self._store(memory, listed, chunk, place.at(number).under(1))
        return self._speaker.kept(memory)

    async def _store(self, memory: StoreMemory, listed: Sequence[str], chunk: Chunk, place: Place) -> None:
        near = memory.retrieve(" ".join(listed), self._worker.memory.render_budget).items
        what = [Decision("ADD")] * len(listed)
        if near:
            told = "\n".join(item.line() for item in near)
            asked = "\n".join(f"{number}. {fact}" for number, fact in enumerate(listed, start=1))
            reply = await self._speaker.say(DECIDE, f"# Memory\n{told}\n# Facts\n{asked}", place)
            what = decisions(reply, len(listed), [item.id for item in near])
        for fact, decision in zip(listed, what, strict=True):
            if decision.what == "ADD":
                keep(memory, fact, chunk.time)
            elif decision.what == "UPDATE":
                arguments = {"memory_id": decision.item, "content": fact}
                memory.execute(ToolCall(name="memory_update", arguments=arguments))
            elif decision.what == "DELETE":
                memory.execute(ToolCall(name="memory_delete", arguments={"memory_id": decision.item}))
