"""The probe of a chat template: what it does with words that nobody else writes (law 11).

A template is somebody else's program. It is asked once, when a prompter is opened, and what it did is kept as a `Form`;
nothing is guessed from a model's name.
"""

from __future__ import annotations

import datetime
import json
import logging
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from jinja2 import TemplateError

from memrl.engines.limited import Unended, limited
from memrl.envs.dialects.taught import hinted
from memrl.envs.dialects.thoughts import said, speech
from memrl.envs.tools import ToolSchema
from memrl.errors import ConfigError

log = logging.getLogger(__name__)

DAY = datetime.datetime(2024, 7, 26)
"""The day that a template is told when it asks for today's: the one that Llama 3.1's takes where there is no clock."""
_CLOCK = "strftime_now"
_DIRECTIVES = ("%-d", "%-m", *(f"%{letter}" for letter in "aAbBcdDefFHIjlmMpRSTuUwWxXyYZz"))
# What a template raises: its own refusal, and what its expressions do on values of a type that they do not expect.
_REFUSALS = (TemplateError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError)

_INSTRUCTION, _MEMORY, _CHUNK = "amberfold", "bristlewick", "cindermoss"
_EARLIER, _ANSWER, _VALUE = "dapplethorn", "elmwhistle", "fernhollow"
PROBE_TOOL = ToolSchema(
    name="gorsekeep",
    description="hazelbrook",
    parameters={"ivyglade": {"type": "string"}, "junipermoor": {"type": "string"}},
    required=("ivyglade",),
)
PROBE_ARGUMENTS = {"ivyglade": _VALUE, "junipermoor": "knollmere"}
_SYSTEM = {"role": "system", "content": _INSTRUCTION}
_USER = {"role": "user", "content": f"{_MEMORY}\n# Text\n{_CHUNK}"}
_ASSISTANT = {"role": "assistant", "content": _ANSWER}

Message = Mapping[str, Any]
SECONDS = 10.0
"""Seconds of computing that a template may take for a probe, which takes hundredths of one."""
_ROOM = 2 << 30
_LONG = 32_000
"""Characters, as many as a chunk and its memory may have."""
_rehearsed: set[str] = set()


@dataclass(frozen=True)
class Form:
    """The form of conversation that reaches the prompt, and what the template writes around it."""

    folded: bool
    """A system message is not taken, and stands at the beginning of the first user's instead."""
    parts: bool
    """Content is taken as a list of parts, not as a string."""
    turns: bool
    """Earlier turns of the assistant reach the prompt."""
    opening: str
    """The text that has to follow what the template writes, so that the assistant's words come next."""
    thinking: bool
    """The prompt ends in the middle of a thought."""
    tools: bool
    """The template writes the tools that it is given, and nothing is lost by it."""
    call: str
    """A call of `PROBE_TOOL` with `PROBE_ARGUMENTS` as the template writes one; empty where it writes none."""
    hint: str
    """Name of the dialect that the template's instructions on calls speak of; empty where they speak of none."""

    def shape(self, messages: Sequence[Message]) -> list[dict[str, Any]]:
        """Return a conversation as the template takes it."""
        return _shape(messages, folded=self.folded, parts=self.parts)


class Template:
    """The chat template of a tokenizer, always called in the same way, and on the same day.

    Args:
        tokenizer: a transformers tokenizer with a chat template.

    Raises:
        ConfigError: the template does not end, or wants more memory than a text can.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.name = tokenizer.name_or_path
        written = repr(tokenizer.chat_template)
        if written not in _rehearsed:
            _rehearsed.add(written)  # before: the copy of this process that tries it must not try it again
            try:
                limited(self._rehearse, seconds=SECONDS, room=_ROOM)
            except OSError as error:  # no process to be had beside this one
                log.warning("the chat template of %r is used without a try whether it ends: %s", self.name, error)
            except Unended as error:
                _rehearsed.discard(written)
                raise ConfigError(
                    f"the chat template of {self.name!r} cannot be used: {error}. It is a program of the model's: use "
                    "another model, or mend the template (chat_template.jinja)."
                ) from error

    def _rehearse(self) -> None:
        """Write the conversations that a probe writes, and one of much text: work grows with it in some templates."""
        with suppress(ConfigError):
            probe(self.tokenizer)
        turn_end(self.tokenizer)
        long = {"role": "user", "content": "gorse and hazel\n" * (_LONG // 16)}
        told = {**long, "role": "tool"}
        for parts in (False, True):
            for last in (long, told):
                self.tried(_shape([_SYSTEM, long, _ASSISTANT, last], folded=False, parts=parts))

    def render(self, messages: Sequence[Message], tools: Sequence[Any] = (), *, asks: bool = True) -> str:
        """Return the text of a conversation.

        Args:
            tools: their JSON schemas.
            asks: it ends where the assistant is to speak.

        Raises:
            ConfigError: the template refuses.
        """
        try:
            source = self.tokenizer.get_chat_template(tools=list(tools) or None)
            text = self.tokenizer.apply_chat_template(
                list(messages),
                tools=list(tools) or None,
                chat_template=_stopped_clock() + source if _CLOCK in source else None,
                add_generation_prompt=asks,
                tokenize=False,
                enable_thinking=False,
            )
        except _REFUSALS as error:
            roles = ", ".join(str(message["role"]) for message in messages)
            raise ConfigError(
                f"the chat template of {self.name!r} refuses a conversation of {roles}: {error}. Use a model whose "
                "template takes it, or mend the template (chat_template.jinja)."
            ) from error
        return str(text)

    def tried(self, messages: Sequence[Message], tools: Sequence[Any] = (), *, asks: bool = True) -> str:
        """Return the text of a conversation; empty where the template refuses it."""
        try:
            return self.render(messages, tools, asks=asks)
        except ConfigError:
            return ""


def probe(tokenizer: Any) -> Form:
    """Return what the chat template of a tokenizer takes, and what it writes.

    Raises:
        ConfigError: no form of conversation reaches the prompt whole; there is no place where the assistant speaks; or
            two prompts of one conversation differ.
    """
    template = Template(tokenizer)
    folded, parts = _taken(template)

    def shape(*messages: Message) -> list[dict[str, Any]]:
        return _shape(messages, folded=folded, parts=parts)

    asked = shape(_SYSTEM, _USER)
    prompt = template.render(asked)
    if template.render(asked) != prompt:
        raise ConfigError(
            f"the chat template of {template.name!r} writes another prompt each time: it depends on a clock or on "
            "chance. Mend the template (chat_template.jinja): the same messages must make the same prompt."
        )
    opening, thinking = _opening(template, shape(_USER), shape(_USER, _ASSISTANT))
    earlier = template.tried(shape(_SYSTEM, {"role": "user", "content": _EARLIER}, _ASSISTANT, _USER))
    schema = [PROBE_TOOL.json_schema()]
    offered = template.tried(asked, schema)
    tools = not _lacking(offered) and all(word in offered for word in (PROBE_TOOL.name, *PROBE_TOOL.parameters))
    return Form(
        folded=folded,
        parts=parts,
        turns=not _lacking(earlier, _EARLIER, _ANSWER),
        opening=opening,
        thinking=thinking,
        tools=tools,
        call=_call(template, shape(_USER), parts) if tools else "",
        hint=hinted(offered) if tools else "",
    )


def turn_end(tokenizer: Any) -> int | None:
    """Return the id that ends the assistant's turn by the chat template; None where its text is no single token.

    It is the first added token after what was said. Base models often have another `eos_token`, and never sample it in
    a chat. Where nothing follows, the token that begins the next turn ends this one.
    """
    template = Template(tokenizer)
    names = {token.content: number for number, token in tokenizer.added_tokens_decoder.items()}
    names = {name: number for name, number in names.items() if name.strip() and name != tokenizer.bos_token}
    if not names:
        return None
    mark = re.compile(r"\s*(" + "|".join(map(re.escape, sorted(names, key=len, reverse=True))) + ")")
    for parts in (False, True):
        turns = _shape([_USER, _ASSISTANT, {"role": "user", "content": _EARLIER}], folded=False, parts=parts)
        last = _after(template.tried(turns[:2], asks=False), _ANSWER)
        between = _after(template.tried(turns, asks=False), _ANSWER).partition(_EARLIER)[0]
        # A template that always lets the assistant speak next writes that, too, after the last turn.
        always = _after(template.tried(turns[:2]), _ANSWER) == last
        for text in (between, last) if always else (last, between):
            if found := mark.match(text):
                return int(names[found[1]])
    return None


def _after(text: str, word: str) -> str:
    """Return what follows a word that stands in a text once; else nothing."""
    return text.partition(word)[2] if text.count(word) == 1 else ""


def after_said(text: str, word: str, end: str, *, ends: bool = False) -> str:
    """Return what follows the first turn that says a word, without the token that ends it.

    Args:
        ends: there may be more in the turn; empty where its end is not to be found.
    """
    rest = text.partition(word)[2]
    if ends:
        return rest.partition(end)[2]
    trimmed = rest.lstrip()
    return trimmed[len(end) :] if trimmed.startswith(end) else rest


def _shape(messages: Sequence[Message], *, folded: bool, parts: bool) -> list[dict[str, Any]]:
    shaped = _fold(messages) if folded else [dict(message) for message in messages]
    if parts:
        shaped = [{**message, "content": [{"type": "text", "text": message["content"]}]} for message in shaped]
    return shaped


def _fold(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Return a conversation in which what the system says begins the user's next turn."""
    folded: list[dict[str, Any]] = []
    waiting: list[str] = []
    for message in [*messages, None]:
        if message is not None and message["role"] == "system":
            waiting.append(message["content"])
        elif waiting and message is not None and message["role"] == "user":
            folded.append({**message, "content": "\n\n".join([*waiting, message["content"]])})
            waiting = []
        else:
            folded += [{"role": "user", "content": "\n\n".join(waiting)}] * bool(waiting)
            folded += [dict(message)] if message is not None else []
            waiting = []
    return folded


def _lacking(text: str, *more: str) -> list[str]:
    """Return the words that do not stand in a prompt exactly once."""
    return [word for word in (_INSTRUCTION, _MEMORY, _CHUNK, *more) if text.count(word) != 1]


def _taken(template: Template) -> tuple[bool, bool]:
    """Return the first form that reaches the prompt whole: whether folded, whether in parts.

    Raises:
        ConfigError: there is none.
    """
    for folded in (False, True):
        for parts in (False, True):
            text = template.tried(_shape([_SYSTEM, _USER], folded=folded, parts=parts))
            written_out = parts and any(quote + "type" + quote in text for quote in "'\"")  # the list, as code
            if not _lacking(text) and not written_out:
                return folded, parts
    text = template.render([_SYSTEM, _USER])  # where it refuses, its own words say why
    called = {_INSTRUCTION: "the instruction", _MEMORY: "the memory", _CHUNK: "the text that is read"}
    raise ConfigError(
        f"the chat template of {template.name!r} leaves out, or writes more than once: "
        f"{', '.join(called[word] for word in _lacking(text))}, as strings and as lists of parts, with a system "
        "message and without. Use a model whose template takes them, or mend the template (chat_template.jinja)."
    )


def _opening(template: Template, asked: Sequence[Message], answered: Sequence[Message]) -> tuple[str, bool]:
    """Return what the prompt lacks before the assistant's words, and whether it ends in the middle of a thought.

    Read off a conversation in which the assistant has spoken: what stands before its words there has to stand at the
    end of the prompt. A thought that is opened or closed there is the template's affair.

    Raises:
        ConfigError: the prompt does not change where the assistant is to speak, and nothing shows what it lacks.
    """
    prompt, whole = template.render(asked), template.tried(answered, asks=False)
    written = prompt[prompt.rindex(_CHUNK) + len(_CHUNK) :]
    opening, known = "", False
    if whole.count(_CHUNK) == whole.count(_ANSWER) == 1:
        before = whole[whole.index(_CHUNK) + len(_CHUNK) : whole.index(_ANSWER)]
        known = before.startswith(written)
        opening = before[len(written) :] if known and said(before[len(written) :]) else ""
    if not known and template.tried(asked, asks=False) == prompt:
        raise ConfigError(
            f"the chat template of {template.name!r} has no generation prompt: add_generation_prompt changes nothing, "
            "and no turn of an assistant shows how one begins. Use an instruct model, or mend the template "
            "(chat_template.jinja): let it write the beginning of the assistant's turn where add_generation_prompt is "
            "set."
        )
    return opening, speech(written + opening)[1]


def _call(template: Template, asked: Sequence[Message], parts: bool) -> str:
    """Return the text of a call in a turn of the assistant; empty where the template writes none."""
    before = template.render(asked)
    header = before[before.rindex(_CHUNK) + len(_CHUNK) :].strip()
    for arguments in (PROBE_ARGUMENTS, json.dumps(PROBE_ARGUMENTS)):
        function = {"name": PROBE_TOOL.name, "arguments": arguments}
        turn = {
            "role": "assistant",
            "content": [{"type": "text", "text": ""}] if parts else "",
            "tool_calls": [{"type": "function", "id": "probe0000", "function": function}],
        }
        text = template.tried([*asked, turn], [PROBE_TOOL.json_schema()], asks=False)
        spoken = text[text.rindex(_CHUNK) + len(_CHUNK) :] if _CHUNK in text else ""
        if PROBE_TOOL.name in spoken and _VALUE in spoken:
            return spoken.strip().removeprefix(header)
    return ""


def _stopped_clock() -> str:
    """Return a macro that stands for the clock of a template, and always tells `DAY`."""
    told = "".join(f"|replace({each!r}, {DAY.strftime(each)!r})" for each in _DIRECTIVES)
    return f"{{% macro {_CLOCK}(format) %}}{{{{ format{told} }}}}{{% endmacro %}}{{{{ '' }}}}"
