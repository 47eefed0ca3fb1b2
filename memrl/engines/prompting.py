"""The way from chat messages to prompt ids, gone once, at the moment of asking. Nothing is ever turned back into ids
after that."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from jinja2 import TemplateError

from memrl.envs.dialects import DIALECTS, Dialect
from memrl.envs.tools import ToolSchema
from memrl.errors import ConfigError


class Prompter:
    """Applies the model's own chat template, and adds the tools to the system prompt where the template ignores them.

    Args:
        tokenizer: a transformers tokenizer with a chat template.
        dialect: writes the tools for templates that do not render them.

    Raises:
        ConfigError: the tokenizer has no chat template or no end-of-turn token.
    """

    def __init__(self, tokenizer: Any, dialect: Dialect) -> None:
        name = tokenizer.name_or_path
        if not tokenizer.chat_template:
            raise ConfigError(
                f"the tokenizer of {name!r} has no chat template, so its prompts cannot be written. Use an instruct "
                "model, or add a chat_template.jinja to the folder."
            )
        if tokenizer.eos_token_id is None:
            raise ConfigError(f"the tokenizer of {name!r} has no end-of-turn token (eos_token). Set it in the folder.")
        self.tokenizer = tokenizer
        self.dialect = dialect
        self.count_tokens = lru_cache(maxsize=65_536)(self._count)
        self._renders_tools: bool | None = None
        marks = sorted(filter(None, tokenizer.all_special_tokens), key=len, reverse=True)
        self._special = re.compile("|".join(map(re.escape, marks)))

    def _count(self, text: str) -> int:
        return len(self.tokenizer.encode(text, add_special_tokens=False))

    def encode(self, messages: Sequence[dict[str, str]], tools: Sequence[ToolSchema] = ()) -> list[int]:
        """Prompt ids, ending where the model's answer begins.

        Special tokens spelt out in a message are broken up: no text that was read can end its turn.
        """
        prepared, schemas = self.prepare(messages, tools)
        ids = self._apply(
            prepared,
            tools=schemas or None,
            add_generation_prompt=True,
            tokenize=True,
            return_dict=False,
            enable_thinking=False,
        )
        return list(ids)

    def _apply(self, messages: Sequence[dict[str, str]], **options: Any) -> Any:
        """Return what the chat template makes of a conversation.

        Raises:
            ConfigError: it refuses.
        """
        try:
            return self.tokenizer.apply_chat_template(list(messages), **options)
        except TemplateError as error:
            roles = ", ".join(message["role"] for message in messages)
            raise ConfigError(
                f"the chat template of {self.tokenizer.name_or_path!r} refuses a conversation of {roles}: {error}. Use "
                "a model whose template takes it, or mend the template (chat_template.jinja)."
            ) from error

    def prepare(
        self, messages: Sequence[dict[str, str]], tools: Sequence[ToolSchema] = ()
    ) -> tuple[list[dict[str, str]], list[dict[str, Any]]]:
        """Return what the chat template is given: the messages, and the tools' schemas. Where it does not render these,
        the tools are described in the first message instead."""
        messages = [{**message, "content": self._defuse(message["content"])} for message in messages]
        if tools and (self.dialect.own_tools or not self._template_renders(tools[0])):
            first, *rest = messages
            return [{**first, "content": f"{first['content']}\n\n{self.dialect.describe(tools)}"}, *rest], []
        return messages, [tool.json_schema() for tool in tools]

    def _defuse(self, text: str) -> str:
        return self._special.sub(lambda match: f"{match.group()[0]} {match.group()[1:]}", text)

    def _template_renders(self, tool: ToolSchema) -> bool:
        if self._renders_tools is None:
            text = self._apply(
                [{"role": "system", "content": "."}, {"role": "user", "content": "."}],
                tools=[tool.json_schema()],
                tokenize=False,
            )
            self._renders_tools = tool.name in text
        return self._renders_tools

    def decode(self, ids: Sequence[int]) -> str:
        """Completion text without special tokens, for the parser and for people."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True))


def open_prompter(tokenizer: Any, dialect: str) -> Prompter:
    """The prompter of a dialect, by its name.

    Raises:
        ConfigError: as `Prompter`.
        PluginError: the dialect is unknown, or somebody else's and cannot be imported or called.
    """
    return Prompter(tokenizer, DIALECTS.get(dialect)())
