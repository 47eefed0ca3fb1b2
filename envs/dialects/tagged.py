"""The parts that dialects share in which each argument stands between tags of its own, as it is, without quotes."""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from memrl.envs.dialects.calls import MAX_CALL_CHARS, failed_call, listed_schemas, stray_call
from memrl.envs.dialects.thoughts import speech
from memrl.envs.tools import ResultCode, ToolCall, ToolSchema, clean_text

OPENS, CLOSES = "<tool_call>", "</tool_call>"
_BLANKS = re.compile(r"\s*")


@dataclass(frozen=True)
class Tags:
    """The tags of a form. Patterns match where they stand, blanks before them apart.

    Attributes:
        name: the tool's name, in its first group.
        key: an argument's name, in its first group, up to where its value begins.
        closes: the tag that ends a value.
        ends: what follows the last argument, up to the end of the call.
        told: takes a value as it stands between its tags.
    """

    name: re.Pattern[str]
    key: re.Pattern[str]
    closes: str
    ends: re.Pattern[str]
    told: Callable[[str], str]

    def values(self, text: str) -> list[tuple[int, int]]:
        """Return the places of values, in order and apart: what stands in one is content."""
        found: list[tuple[int, int]] = []
        key = self.key.search(text)
        while key is not None:
            end = self._end(text, key.end())
            if end >= 0:
                found.append((key.end(), end))
            key = self.key.search(text, max(end, key.end()))
        return found

    def _end(self, text: str, start: int) -> int:
        """Return where the value ends that begins at `start`; -1 where it has no end within bounds."""
        return text.find(self.closes, start, start + MAX_CALL_CHARS)

    def parse(self, text: str, *, truncated: bool) -> list[ToolCall]:
        """Return the calls in a completion, and one that failed for what looks like a call beside them."""
        text, thinking = speech(text, self.values(text))
        calls: list[ToolCall] = []
        unread: list[str] = []
        place = 0
        opened = text.find(OPENS)
        while opened >= 0:
            unread.append(text[place:opened])
            call, place = self._call(text, opened + len(OPENS))
            opened = text.find(OPENS, place)
            if call.error is ResultCode.MALFORMED:
                end = len(text) if opened < 0 else opened
                if truncated and opened < 0 and not thinking and CLOSES not in text[place:]:
                    why = "the completion ended inside the call"
                    call = failed_call(call.raw + text[place:end], ResultCode.TRUNCATED, why, call.name)
                closed = text.find(CLOSES, place, end)
                place = end if closed < 0 else closed + len(CLOSES)
            calls.append(call)
        rest = "\n".join([*unread, text[place:]])
        return [*calls, *stray_call(rest.replace(CLOSES, "") if calls else rest)]

    def _call(self, text: str, start: int) -> tuple[ToolCall, int]:
        """Return the call that begins at `start`, and where reading it came to."""
        name = self.name.match(text, _past(text, start))
        if name is None:
            return failed_call(text[start : start + 80], ResultCode.MALFORMED, "no tool is named as it is here"), start
        arguments: dict[str, str] = {}
        place = name.end()
        while (key := self.key.match(text, _past(text, place))) is not None:
            end = self._end(text, key.end())
            if end < 0:
                return failed_call(text[start:place], ResultCode.MALFORMED, f"{self.closes} is missing", name[1]), place
            arguments[clean_text(key[1])] = clean_text(self.told(text[key.end() : end]))
            place = end + len(self.closes)
        ends = self.ends.match(text, _past(text, place))
        if ends is None:
            return failed_call(text[start:place], ResultCode.MALFORMED, f"{CLOSES} is missing", name[1]), place
        if ends.end() - start > MAX_CALL_CHARS:
            why = f"the call has {ends.end() - start} characters, {MAX_CALL_CHARS} are allowed"
            return failed_call(text[start : ends.end()], ResultCode.TOO_LONG, why, name[1]), ends.end()
        raw = clean_text(text[start : ends.end()].removesuffix(CLOSES))
        return ToolCall(name=clean_text(name[1]), arguments=arguments, raw=raw), ends.end()


def _past(text: str, place: int) -> int:
    """Return where the blanks at a place end."""
    return _BLANKS.match(text, place).end()  # type: ignore[union-attr] # it matches nothing too


def texts(arguments: Mapping[str, Any], own: re.Pattern[str]) -> dict[str, str]:
    """Return arguments as they can stand between tags: strings as they are, other values as JSON, and a blank in tags
    of the form's own, which would end a value."""
    written = {
        key: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for key, value in arguments.items()
    }
    return {key: clean_text(own.sub(lambda tag: f"{tag[0]} ", value)) for key, value in written.items()}


class TaggedDialect(ABC):
    """A dialect of tags. What differs is how an argument and a call are written."""

    own_tools = False
    result_marks = ("<tool_response>", "</tool_response>")
    _tags: Tags
    _own: re.Pattern[str]
    """The beginning of a tag that would end a value."""

    @abstractmethod
    def _argument(self, name: str, value: str) -> str:
        """Return an argument in its tags."""

    @abstractmethod
    def _block(self, name: str, arguments: str) -> str:
        """Return a call in its tags."""

    def parse(self, text: str, *, truncated: bool = False) -> list[ToolCall]:
        return self._tags.parse(text, truncated=truncated)

    def format(self, calls: Sequence[ToolCall]) -> str:
        return "\n".join(
            self._block(call.name, "".join(self._argument(*each) for each in texts(call.arguments, self._own).items()))
            for call in calls
        )

    def describe(self, tools: Sequence[ToolSchema]) -> str:
        example = self._block("TOOL NAME", self._argument("ARGUMENT NAME", "its value"))
        return listed_schemas(tools, f"Write each call in tags, and each of its arguments:\n{example}")
