"""Formats in which tool calls are written as text, one file a dialect. It reads any text whatever into calls, and never
raises.

A call that cannot be read is still a call: it becomes a `ToolCall` with an error code, so that it costs reward.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from memrl.envs.registry import Registry, shape

if TYPE_CHECKING:
    from memrl.envs.tools import ToolCall, ToolSchema


class Dialect(Protocol):
    """A tool-call text format.

    One may also have `result_marks`: what stands around the result of a call, for chat templates without a tool's turn.
    """

    name: str
    own_tools: bool
    """Its tools are not those that are offered: it describes them itself, even where the chat template could."""

    def parse(self, text: str, *, truncated: bool = False) -> list[ToolCall]:
        """All calls in a completion, in order, and one that failed for the rest where it looks like a call
        (`memrl.envs.dialects.calls.stray_call`); `truncated`: it ran into its token limit."""
        ...

    def format(self, calls: Sequence[ToolCall]) -> str:
        """The text a model would write to make these calls."""
        ...

    def describe(self, tools: Sequence[ToolSchema]) -> str:
        """The tools as prompt text, for chat templates that do not render them."""
        ...


AUTO = "auto"
"""The name that stands for the dialect that a chat template teaches (`memrl.engines.prompting.open_prompter`)."""

DIALECTS: Registry[Callable[[], Dialect]] = Registry(
    "dialect", "memrl.dialects", shape(takes=0, members=("name", "own_tools", "parse", "format", "describe"))
)
DIALECTS.add("hermes", "memrl.envs.dialects.hermes:HermesDialect")
DIALECTS.add("hermes_content_first", "memrl.envs.dialects.hermes:ContentFirstDialect")
DIALECTS.add("memalpha", "memrl.envs.dialects.memalpha:MemAlphaDialect")
DIALECTS.add("llama_json", "memrl.envs.dialects.llama_json:LlamaJsonDialect")
DIALECTS.add("mistral", "memrl.envs.dialects.mistral:MistralDialect")
DIALECTS.add("qwen_xml", "memrl.envs.dialects.qwen_xml:QwenXmlDialect")
DIALECTS.add("glm", "memrl.envs.dialects.glm:GlmDialect")
DIALECTS.add("gemma", "memrl.envs.dialects.gemma:GemmaDialect")
DIALECTS.add("lfm2", "memrl.envs.dialects.lfm2:Lfm2Dialect")
