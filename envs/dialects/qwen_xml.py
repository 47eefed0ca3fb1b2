"""The dialect of Qwen3-Coder and Qwen3.5: a function's name and each of its parameters in tags."""

from __future__ import annotations

import re

from memrl.envs.dialects.tagged import CLOSES, OPENS, TaggedDialect, Tags


def _told(value: str) -> str:
    return value.removeprefix("\n").removesuffix("\n")  # those that stand beside the tags


class QwenXmlDialect(TaggedDialect):
    """`<tool_call>` blocks with one `<function=NAME>` each, and a `<parameter=NAME>` for each argument."""

    name = "qwen_xml"
    _tags = Tags(
        name=re.compile(r"<function=([^<>\n]{1,80})>"),
        key=re.compile(r"<parameter=([^<>\n]{1,80})>"),
        closes="</parameter>",
        ends=re.compile(rf"</function>\s*{CLOSES}"),
        told=_told,
    )
    _own = re.compile(r"<(?=/parameter>)")

    def _argument(self, name: str, value: str) -> str:
        return f"<parameter={name}>\n{value}\n</parameter>\n"

    def _block(self, name: str, arguments: str) -> str:
        return f"{OPENS}\n<function={name}>\n{arguments}</function>\n{CLOSES}"
