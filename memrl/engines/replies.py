"""The results that come back to the policy between two turns of a step, in the chat template's own form.

A completion is never written again: its ids stand in the next prompt as they were sampled (law 1). The template is
asked for what follows an assistant's turn alone: a tool's turn where it has one, else a user's with the dialect's
marks.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from memrl.engines.probe import PROBE_ARGUMENTS, PROBE_TOOL, Form, Message, Template, after_said
from memrl.envs.dialects.thoughts import speech
from memrl.envs.searching import SEARCH
from memrl.errors import ConfigError

_SYSTEM = {"role": "system", "content": "larkmeadow"}
_USER = {"role": "user", "content": "mossbank\n# Text\nnettlebrook"}
_ANSWER, _RESULT = "otterholt", "primrosehill"
_CALL_ID = "memrl0001"
"""Nine letters and digits, as Mistral's templates want one."""
_MARK = re.compile(r"</?[^<>\s]{1,40}>|\[/?[A-Z_]{2,40}\]")
CUT = "(cut)"


class Replies:
    """Writes what comes back between two turns.

    Args:
        form: of the template.
        tools: the template is given the tools.
        wrap: the dialect's form of a result, for templates without a tool's turn.
        end: the token that ends a turn, as text, and its id.
        defused: breaks up the special tokens that a text spells.

    Raises:
        ConfigError: the template loses what the assistant has said, or what it is told.
    """

    def __init__(
        self,
        template: Template,
        form: Form,
        *,
        tools: bool,
        wrap: Callable[[str], str],
        end: tuple[str, int],
        defused: Callable[[str], str],
    ) -> None:
        self._template = template
        self._form = form
        self._tools = tools
        self._wrap = wrap
        self._end, self._end_id = end
        self._defused = defused
        self.way = next((way for way in ("tool", "called", "user") if self._works(self._written(way, _RESULT))), "")
        """Whose turn it is told in."""
        if not self.way:
            raise ConfigError(
                f"the chat template of {template.name!r} has no place for what a search has found after a turn of the "
                "assistant. Set rollout.max_turns=1, or mend the template (chat_template.jinja)."
            )
        marks = set(_MARK.findall(self._written(self.way, _RESULT).replace(_RESULT, "")))
        self._marks = re.compile("|".join(map(re.escape, sorted(marks))) or r"(?!)")

    def told(self) -> str:
        """Return how results come back, in words."""
        return "in the user's turn" if self.way == "user" else "in a tool's turn"

    def ids(self, told: str, after: Sequence[int], most: int) -> list[int]:
        """Return the ids between a completion and the policy's next turn.

        Args:
            told: what comes back. No mark in it can end its turn.
            after: ids of the completion, which have ended its turn.
            most: ids that it may have; lines at its end are left out for that.

        Raises:
            ConfigError: the template refuses it.
        """
        lines = self._marks.sub(_spread, self._defused(told)).split("\n")
        found = self._encoded(lines, after)
        if len(found) <= most:
            return found
        few, many = 0, len(lines) - 1
        while few < many:  # the most lines that fit
            middle = (few + many + 1) // 2
            fits = len(self._encoded([*lines[:middle], CUT], after)) <= most
            few, many = (middle, many) if fits else (few, middle - 1)
        return self._encoded([*lines[:few], CUT], after)

    def overhead(self, told: str) -> int:
        """Return how many ids stand around what comes back, those of `told` included, and a note that it was cut."""
        return len(self._encoded([*told.split("\n"), CUT], [self._end_id]))

    def _encoded(self, lines: Sequence[str], after: Sequence[int]) -> list[int]:
        written = self._written(self.way, "\n".join(lines))
        if not written:
            raise ConfigError(
                f"the chat template of {self._template.name!r} takes the results of some searches, and refuses this "
                f"one: {lines[0][:60]!r}. Set rollout.max_turns=1, or mend the template (chat_template.jinja)."
            )
        ids = list(self._template.tokenizer.encode(self._end + written, add_special_tokens=False))
        if ids[:1] == [self._end_id]:
            ids = ids[1:]
        # Where turns end by what begins the next, it was sampled already.
        return ids[1:] if ids[:1] == list(after[-1:]) else ids

    def _written(self, way: str, told: str) -> str:
        """Return what the template writes between the assistant's words and its next ones, the end of the turn apart;
        empty where it does not."""
        answer: dict[str, Any] = {"role": "assistant", "content": _ANSWER}
        reply: Message = {"role": "tool", "name": SEARCH, "tool_call_id": _CALL_ID, "content": told}
        tools = [PROBE_TOOL.json_schema()] if self._tools else []
        if way == "user":
            reply, tools = {"role": "user", "content": self._wrap(told)}, []
        forms = [PROBE_ARGUMENTS, json.dumps(PROBE_ARGUMENTS)] if way == "called" else [None]
        for arguments in forms:
            if arguments is not None:
                function = {"name": PROBE_TOOL.name, "arguments": arguments}
                answer["tool_calls"] = [{"type": "function", "id": _CALL_ID, "function": function}]
            conversation = self._form.shape([_SYSTEM, _USER, answer, reply])
            text = self._template.tried(conversation, tools)
            rest = after_said(text, _ANSWER, self._end, ends=way == "called")
            if rest:
                return rest + self._form.opening
        return ""

    def _works(self, text: str) -> bool:
        """Return whether what was told stands in it once, nothing of the conversation before does, and the policy
        speaks next as it does in its first turn."""
        before = ("larkmeadow", "mossbank", "nettlebrook", _ANSWER, PROBE_TOOL.name)
        if text.count(_RESULT) != 1 or any(word in text for word in before):
            return False
        return speech(text[text.index(_RESULT) + len(_RESULT) :])[1] == self._form.thinking


def _spread(mark: re.Match[str]) -> str:
    return f"{mark[0][0]} {mark[0][1:]}"
