"""The dialect of GLM 4.5 and later: a tool's name, and each argument's key and value in tags."""

from __future__ import annotations

import re
from collections.abc import Sequence

from memrl.envs.dialects.calls import listed_schemas
from memrl.envs.dialects.tagged import CLOSES, OPENS, Tags, texts
from memrl.envs.tools import ToolCall, ToolSchema


class GlmDialect:
    """`<tool_call>` blocks that begin with the tool's name, with `<arg_key>` and `<arg_value>` for each argument."""

    name = "glm"
    own_tools = False
    _tags = Tags(
        name=re.compile(r"([\w.-]{1,80})(?=\s*<)"),
        key=re.compile(r"<arg_key>([^<>\n]{1,80})</arg_key>\s{0,8}<arg_value>"),
        closes="</arg_value>",
        ends=re.compile(CLOSES),
        told=str,
    )
    _own = re.compile(r"<(?=/arg_value>)")

    def parse(self, text: str, *, truncated: bool = False) -> list[ToolCall]:
        return self._tags.parse(text, truncated=truncated)

    def format(self, calls: Sequence[ToolCall]) -> str:
        blocks = []
        for call in calls:
            values = texts(call.arguments, self._own).items()
            inside = "".join(f"<arg_key>{name}</arg_key>\n<arg_value>{value}</arg_value>\n" for name, value in values)
            blocks.append(f"{OPENS}{call.name}\n{inside}{CLOSES}")
        return "\n".join(blocks)

    def describe(self, tools: Sequence[ToolSchema]) -> str:
        example = f"{OPENS}TOOL NAME\n<arg_key>ARGUMENT NAME</arg_key>\n<arg_value>its value</arg_value>\n{CLOSES}"
        return listed_schemas(tools, f"Write each call in tags, and each of its arguments:\n{example}")
