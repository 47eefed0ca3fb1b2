"""The parts that dialects share in which a mark opens what is to be read as calls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from memrl.envs.dialects.calls import failed_call, stray_call
from memrl.envs.dialects.thoughts import speech
from memrl.envs.tools import ResultCode, ToolCall


@dataclass
class Opened:
    """A mark, the calls that were read behind it, the places of their content, where reading came to, and whether that
    is the end of what the mark opens."""

    start: int
    end: int
    calls: list[ToolCall] = field(default_factory=list)
    content: list[tuple[int, int]] = field(default_factory=list)
    whole: bool = False
    name: str = ""
    """Of the tool whose call could not be read."""


@dataclass(frozen=True)
class Marks:
    """The marks of a form.

    Attributes:
        opens: stands before calls.
        read: reads what follows the mark at a place.
        closes: stands after calls; empty where nothing does.
        cut: says that the completion ended too early.
        other: says that what follows the mark is something else.
        with_mark: a call that cannot be read begins with its mark, not behind what was read.
    """

    opens: str
    read: Callable[[str, int], Opened]
    closes: str
    cut: str
    other: str
    with_mark: bool = False

    def parse(self, text: str, *, truncated: bool) -> list[ToolCall]:
        """Return the calls in a completion, and one that failed for what looks like a call beside them."""
        text, thinking = speech(text, (span for opened in self._all(text) for span in opened.content))
        calls: list[ToolCall] = []
        unread: list[str] = []
        place = 0
        everything = self._all(text)
        for number, opened in enumerate(everything, 1):
            unread.append(text[place : opened.start])
            calls += opened.calls
            place = opened.end
            if not opened.whole:
                last = number == len(everything)
                limit = len(text) if last else everything[number].start
                closed = text.find(self.closes, opened.end, limit) if self.closes else -1
                cut = truncated and last and not thinking and closed < 0
                code, why = (ResultCode.TRUNCATED, self.cut) if cut else (ResultCode.MALFORMED, self.other)
                place = limit if closed < 0 else closed + len(self.closes)
                begin = opened.start if self.with_mark else opened.end
                calls.append(failed_call(text[begin:place], code, why, opened.name))
        rest = "\n".join([*unread, text[place:]])
        return [*calls, *stray_call(rest.replace(self.closes, "") if calls and self.closes else rest)]

    def _all(self, text: str) -> list[Opened]:
        found: list[Opened] = []
        start = text.find(self.opens)
        while start >= 0:
            found.append(self.read(text, start))
            start = text.find(self.opens, found[-1].end)
        return found
