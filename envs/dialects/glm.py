"""The dialect of GLM 4.5 and later: a tool's name, and each argument's key and value in tags."""

from __future__ import annotations

import re

from memrl.envs.dialects.tagged import CLOSES, OPENS, TaggedDialect, Tags


class GlmDialect(TaggedDialect):
    """`<tool_call>` blocks that begin with the tool's name, with `<arg_key>` and `<arg_value>` for each argument."""

    name = "glm"
    _tags = Tags(
        name=re.compile(r"([\w.-]{1,80})(?=\s*<)"),
        key=re.compile(r"<arg_key>([^<>\n]{1,80})</arg_key>\s{0,8}<arg_value>"),
        closes="</arg_value>",
        ends=re.compile(CLOSES),
        told=str,
    )
    _own = re.compile(r"<(?=/arg_value>)")

    def _argument(self, name: str, value: str) -> str:
        return f"<arg_key>{name}</arg_key>\n<arg_value>{value}</arg_value>\n"

    def _block(self, name: str, arguments: str) -> str:
        return f"{OPENS}{name}\n{arguments}{CLOSES}"
