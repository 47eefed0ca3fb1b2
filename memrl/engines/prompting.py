"""The way from chat messages to prompt ids, gone once, at the moment of asking. Nothing is ever turned back into ids
after that."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from memrl.engines.counted import Counted
from memrl.engines.probe import PROBE_ARGUMENTS, PROBE_TOOL, Form, Template, probe, turn_end
from memrl.engines.replies import Replies
from memrl.envs.dialects import AUTO, DIALECTS, Dialect
from memrl.envs.dialects.calls import shown_result
from memrl.envs.dialects.taught import OTHER, reads, taught
from memrl.envs.tools import ToolCall, ToolSchema
from memrl.errors import ConfigError

_THOUGHT = "<think>\n"


class Prompter:
    """Applies the model's own chat template in the form that a probe has shown to reach the prompt, and adds the tools
    to the instruction where the template does not render them, or teaches another form of call than the dialect's.

    Args:
        tokenizer: a transformers tokenizer with a chat template.
        dialect: writes the tools where the template does not; None takes the one that the template teaches, or
            `hermes` where it teaches none that is known.

    Attributes:
        end_id: the id that ends the assistant's turn.
        count_tokens: counts the tokens of a text as a prompt holds it.

    Raises:
        ConfigError: the tokenizer has no chat template or no end-of-turn token, or as `probe`.
    """

    def __init__(self, tokenizer: Any, dialect: Dialect | None = None) -> None:
        name = tokenizer.name_or_path
        if not tokenizer.chat_template:
            raise ConfigError(
                f"the tokenizer of {name!r} has no chat template, so its prompts cannot be written. Use an instruct "
                "model, or add a chat_template.jinja to the folder."
            )
        if tokenizer.eos_token_id is None:
            raise ConfigError(f"the tokenizer of {name!r} has no end-of-turn token (eos_token). Set it in the folder.")
        self.tokenizer = tokenizer
        self.form = probe(tokenizer)
        self.dialect = _taught_dialect(self.form) if dialect is None else dialect
        end = turn_end(tokenizer)
        self.end_id: int = tokenizer.eos_token_id if end is None else end
        self._template = Template(tokenizer)
        self._renders_tools = _fits(self.form, self.dialect)
        self._marks = _marks(tokenizer)
        # Written by the dialect itself, in calls that are shown and in those that are sampled.
        written = self.dialect.format([ToolCall(name=PROBE_TOOL.name, arguments=PROBE_ARGUMENTS)])
        own = {mark for mark in self._marks if mark in written}
        self._special = _any_of(self._marks)
        self.count_tokens = Counted(self._count)
        self._special_but_own = _any_of(self._marks.keys() - own)
        self._outer = {tokenizer.bos_token_id, tokenizer.pad_token_id, tokenizer.eos_token_id, self.end_id} - {None}
        closing = {mark for mark in self._marks if mark.startswith(("</", "[/"))}
        self._trailing = self._outer | {self._marks[mark] for mark in self._marks.keys() - own - closing}

    def told(self) -> dict[str, str]:
        """Return how prompts are made for this model, in words."""
        form = self.form
        taught_here = taught(form.call, form.hint, PROBE_TOOL.name, PROBE_ARGUMENTS)
        shown = "as a list of parts" if form.parts else "as a string"
        return {
            "system message": "folded into the user's first turn" if form.folded else "taken",
            "content": shown,
            "tools": "written by the template" if self._renders_tools else f"described by memrl ({self.dialect.name})",
            "calls": f"{self.dialect.name}; the template teaches {taught_here or 'no form'}",
            "assistant begins": "in a thought" if form.thinking else "to speak",
            "turn ends by": str(self.tokenizer.convert_ids_to_tokens(self.end_id)),
        }

    @cached_property
    def replies(self) -> Replies:
        """Return what writes the results that come back between two turns of a step: probed when it is first asked for.

        Raises:
            ConfigError: the template has no place for them.
        """
        return Replies(
            self._template,
            self.form,
            tools=self._renders_tools,
            wrap=lambda told: shown_result(self.dialect, told),
            end=(str(self.tokenizer.convert_ids_to_tokens(self.end_id)), self.end_id),
            defused=lambda text: self._special.sub(_broken, text),
        )

    def _count(self, text: str) -> int:
        """Return the tokens of a text as a prompt holds it: special tokens that it spells out are broken up there."""
        shown = self._special.sub(_broken, text)
        return len(self.tokenizer.encode(shown, add_special_tokens=False))

    def encode(self, messages: Sequence[dict[str, str]], tools: Sequence[ToolSchema] = ()) -> list[int]:
        """Prompt ids, ending where the model's answer begins.

        Special tokens spelt out in a message are broken up: no text that was read can end its turn.

        Raises:
            ConfigError: the chat template refuses the conversation, or loses the assistant's earlier turns.
        """
        prepared, schemas = self.prepare(messages, tools)
        if not self.form.turns and any(message["role"] == "assistant" for message in messages):
            raise ConfigError(
                f"the chat template of {self._template.name!r} loses earlier turns of the assistant, and this "
                "conversation has some. Set rollout.example=false, or mend the template (chat_template.jinja)."
            )
        text = self._template.render(self.form.shape(prepared), schemas) + self.form.opening
        return list(self.tokenizer.encode(text, add_special_tokens=False))

    def prepare(
        self, messages: Sequence[dict[str, str]], tools: Sequence[ToolSchema] = ()
    ) -> tuple[list[dict[str, str]], list[dict[str, Any]]]:
        """Return the messages as they are shown, and the schemas of the tools that the template is given. Where it is
        given none, the tools are described in the first message instead."""
        messages = [{**message, "content": self._defuse(message)} for message in messages]
        if tools and not self._renders_tools:
            first, *rest = messages
            return [{**first, "content": f"{first['content']}\n\n{self.dialect.describe(tools)}"}, *rest], []
        return messages, [tool.json_schema() for tool in tools]

    def _defuse(self, message: dict[str, str]) -> str:
        marks = self._special_but_own if message["role"] == "assistant" else self._special
        return marks.sub(_broken, message["content"])

    def decode(self, ids: Sequence[int]) -> str:
        """Completion text for the parser and for people: without what ends the turn, with the tags that mark calls.

        It begins with the tag that opens a thought where the prompt has opened one.
        """
        first, last = 0, len(ids)
        while first < last and ids[first] in self._outer:
            first += 1
        while last > first and ids[last - 1] in self._trailing:
            last -= 1
        text = str(self.tokenizer.decode(list(ids[first:last]), skip_special_tokens=False))
        return _THOUGHT + text if self.form.thinking else text


def _marks(tokenizer: Any) -> dict[str, int]:
    """Return the special tokens by their text, those apart that are blank. Many stand in no list but that of the added
    tokens (Llama 3's, Gemma 3's, Mistral's)."""
    added = {token.content: number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    named = {mark: tokenizer.convert_tokens_to_ids(mark) for mark in filter(None, tokenizer.all_special_tokens)}
    return {mark: number for mark, number in {**named, **added}.items() if mark.strip()}


def _broken(mark: re.Match[str]) -> str:
    """Return a mark with a blank in it; a blank alone for a mark of one letter, which has no inside."""
    return f"{mark[0][0]} {mark[0][1:]}" if len(mark[0]) > 1 else " "


def _any_of(marks: Sequence[str] | set[str] | dict[str, int]) -> re.Pattern[str]:
    return re.compile("|".join(map(re.escape, sorted(marks, key=len, reverse=True))) or r"(?!)")


def _fits(form: Form, dialect: Dialect) -> bool:
    """Return whether the template may write the tools: it does, and teaches the dialect's form of call or none."""
    if dialect.own_tools or not form.tools:
        return False
    if form.call:
        return reads(dialect, form.call, PROBE_TOOL.name, PROBE_ARGUMENTS)
    return form.hint in ("", dialect.name)


def _taught_dialect(form: Form) -> Dialect:
    name = taught(form.call, form.hint, PROBE_TOOL.name, PROBE_ARGUMENTS)
    return DIALECTS.get("hermes" if name in ("", OTHER) else name)()


def open_prompter(tokenizer: Any, dialect: str) -> Prompter:
    """The prompter of a dialect, by its name; of `auto`, the one that the chat template teaches.

    Raises:
        ConfigError: as `Prompter`.
        PluginError: the dialect is unknown, or somebody else's and cannot be imported or called.
    """
    return Prompter(tokenizer, None if dialect == AUTO else DIALECTS.get(dialect)())
