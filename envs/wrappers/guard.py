"""The wrapper `guard`: a write that is an order to whoever reads it is kept apart, and nobody is shown it.

A call whose text has signs of an order (`memrl.envs.wrappers.orders`) is compared with what is held: a sure sign keeps
it apart; another one does unless `support` items say much the same already. With `consensus` above 0 a call without
any sign is kept apart too where so many items that are about the same say otherwise and none agrees: off, since news
contradict what is old. What is kept apart is the call: no item, not shown, not found, not counted in the budget; it
stands in snapshots and in the memory file, and a person lets it in (`release`) or forgets it (`discard`). What was held
stays as it was, also where the call would have overwritten it. At most `most` calls are kept, the newest.

After A-MemGuard (Wei et al., arXiv 2510.02373). Left out: its paths of reasoning, for which a model is asked, and its
second memory of lessons; consensus is of words here.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from memrl.envs.designs.base import one_line
from memrl.envs.terms import terms
from memrl.envs.tools import ResultCode, ToolCall, ToolResult
from memrl.envs.wrappers.orders import Sign, signs
from memrl.envs.wrappers.wrapper import Wrapper, WrapperSetting

_LAST = "last"
"""The key of the number of the last call that was kept apart."""
_LONGEST = 4_000
"""Characters of a call's arguments; of a longer one the beginning is kept, and it cannot be let in."""
_LOOKED_AT = 5
"""Items that are asked about a text."""
_AGREES, _ABOUT = 0.8, 0.4
"""The shares of a text's terms that an item has which says much the same, or says something about the same."""


@dataclass(frozen=True)
class Apart:
    """A call that is kept apart."""

    id: str
    tool: str
    text: str
    why: str
    time: str | None


class OrderGuard(Wrapper):
    """A memory that takes no orders."""

    wrapper = "guard"
    settings: ClassVar[Mapping[str, WrapperSetting]] = {
        "support": WrapperSetting(2, 1, 100, "items that say much the same, which let a text with an unsure sign in"),
        "consensus": WrapperSetting(
            0, 0, 100, "items that say otherwise, which keep a text without a sign apart; 0: off"
        ),
        "most": WrapperSetting(64, 1, 10_000, "calls that are kept apart; older ones go"),
    }
    guard_support: ClassVar[int] = 2
    guard_consensus: ClassVar[int] = 0
    guard_most: ClassVar[int] = 64

    @property
    def apart(self) -> list[Apart]:
        """All calls that are kept apart, in the order in which they came."""
        return [
            Apart(key, note["tool"], note["text"], note["why"], note["time"])
            for key in self._apart_ids()
            if (note := self.notes.get(OrderGuard.wrapper, key))
        ]

    def execute(self, call: ToolCall, *, time: str | None = None) -> ToolResult:
        why = self._doubt(call)
        if not why:
            return super().execute(call, time=time)
        with self.open_journal() as journal:
            result = super().execute(call, time=time)
            if not result.ok:  # a call that does nothing
                return result
            journal.undo()
        name = self._keep_apart(call, why, time)
        return ToolResult(name=call.name, code=ResultCode.KEPT_APART, message=f"kept apart as {name}: it {why}")

    def release(self, name: str) -> ToolResult:
        """Carry out a call that is kept apart, as if it had no sign; it is kept no longer where it succeeds."""
        note = self.notes.get(OrderGuard.wrapper, name) if name != _LAST else None
        if note is None:
            return ToolResult(name="release", code=ResultCode.UNKNOWN_ID, message=f"nothing is kept as {name[:80]!r}")
        if note["arguments"] is None:
            message = f"{name} is too long to be let in; write it by hand"
            return ToolResult(name=note["tool"], code=ResultCode.TOO_LONG, message=message)
        result = super().execute(ToolCall(name=note["tool"], arguments=dict(note["arguments"])), time=note["time"])
        if result.ok:
            self.notes.set(OrderGuard.wrapper, name, None)
        return result

    def discard(self, name: str) -> bool:
        """Forget a call that is kept apart. Returns whether there was one."""
        there = name != _LAST and self.notes.get(OrderGuard.wrapper, name) is not None
        if there:
            self.notes.set(OrderGuard.wrapper, name, None)
        return there

    def _apart_ids(self) -> list[str]:
        names = [key for key in self.notes.keys(OrderGuard.wrapper) if key != _LAST]
        return sorted(names, key=lambda name: int(name.partition("_")[2]))

    def _keep_apart(self, call: ToolCall, why: str, time: str | None) -> str:
        number = self.notes.get(OrderGuard.wrapper, _LAST, 0) + 1
        name, text = f"apart_{number:04d}", " ".join(self.written_by(call))
        arguments = {key: value for key, value in call.arguments.items() if isinstance(value, str)}
        fits = sum(map(len, arguments.values())) <= _LONGEST
        note: dict[str, Any] = {
            "tool": call.name,
            "arguments": {key: one_line(value) for key, value in arguments.items()} if fits else None,
            "text": one_line(text)[:_LONGEST],
            "why": why,
            "time": one_line(time or "") or None,
        }
        self.notes.set(OrderGuard.wrapper, _LAST, number)
        self.notes.set(OrderGuard.wrapper, name, note)
        for old in self._apart_ids()[: -self.guard_most]:
            self.notes.set(OrderGuard.wrapper, old, None)
        return name

    def _doubt(self, call: ToolCall) -> str:
        """Return why a call is to be kept apart, as the end of a sentence; empty where it is not."""
        if call.error is not None:
            return ""
        told = self.written_by(call)
        text, tools = " ".join(told), [tool.name for tool in self.tools]
        looked_at = [*told, text] if len(told) > 1 else told  # a sentence may stand in several arguments
        found = max(
            (sign for each in looked_at for sign in signs(each, tools)), key=lambda sign: sign.sure, default=None
        )
        if not text or (found is None and not self.guard_consensus):
            return ""
        agree, otherwise = self._held_about(text)
        if not self._decides(found, len(agree), len(otherwise)):
            return ""
        held = f"; {', '.join(otherwise)} say otherwise" if otherwise else ""
        return (found.what if found else "contradicts what is held") + held

    def _decides(self, sign: Sign | None, agree: int, otherwise: int) -> bool:
        """Return whether a text is kept apart, by its sign and by how many items agree with it or say otherwise."""
        if sign is None:
            return otherwise >= self.guard_consensus and not agree
        return sign.sure or agree < self.guard_support

    def _held_about(self, text: str) -> tuple[list[str], list[str]]:
        """Return the ids of held items that say much the same, and of those that say otherwise about the same."""
        said = set(terms(text))
        agree: list[str] = []
        otherwise: list[str] = []
        for item in itertools.islice(self.relevant(text), _LOOKED_AT):
            share = len(said.intersection(terms(item.content))) / max(len(said), 1)
            if share >= _ABOUT:
                (agree if share >= _AGREES else otherwise).append(item.id)
        return agree, otherwise
