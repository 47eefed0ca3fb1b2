"""The dialect of Qwen3-Coder and Qwen3.5: a function's name and each of its parameters in tags."""

from __future__ import annotations

import re
from collections.abc import Sequence

from memrl.envs.dialects.calls import listed_schemas
from memrl.envs.dialects.tagged import CLOSES, OPENS, Tags, texts
from memrl.envs.tools import ToolCall, ToolSchema


def _told(value: str) -> str:
    return value.removeprefix("\n").removesuffix("\n")  # those that stand beside the tags


class QwenXmlDialect:
    """`<tool_call>` blocks with one `<function=NAME>` each, and a `<parameter=NAME>` for each argument."""

    name = "qwen_xml"
    own_tools = False
    _tags = Tags(
        name=re.compile(r"<function=([^<>\n]{1,80})>"),
        key=re.compile(r"<parameter=([^<>\n]{1,80})>"),
        closes="</parameter>",
        ends=re.compile(rf"</function>\s*{CLOSES}"),
        told=_told,
    )
    _own = re.compile(r"<(?=/parameter>)")

    def parse(self, text: str, *, truncated: bool = False) -> list[ToolCall]:
        return self._tags.parse(text, truncated=truncated)

    def format(self, calls: Sequence[ToolCall]) -> str:
        blocks = []
        for call in calls:
            values = texts(call.arguments, self._own).items()
            inside = "".join(f"<parameter={name}>\n{value}\n</parameter>\n" for name, value in values)
            blocks.append(f"{OPENS}\n<function={call.name}>\n{inside}</function>\n{CLOSES}")
        return "\n".join(blocks)

    def describe(self, tools: Sequence[ToolSchema]) -> str:
        example = (
            f"{OPENS}\n<function=TOOL NAME>\n<parameter=ARGUMENT NAME>\nits value\n</parameter>\n</function>\n{CLOSES}"
        )
        return listed_schemas(tools, f"Write each call in tags, and each of its arguments:\n{example}")
