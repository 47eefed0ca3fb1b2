"""The dialect that a chat template teaches, told from a call that it wrote, or from its instructions on calls."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from memrl.envs.dialects import DIALECTS, Dialect

OTHER = "other"
"""The name that stands for a form of call that no dialect here reads."""
_HINTS: Sequence[tuple[str, re.Pattern[str]]] = (
    ("qwen_xml", re.compile(r"<function=")),
    ("glm", re.compile(r"<arg_key>")),
    ("mistral", re.compile(r"\[(?:TOOL_CALLS|AVAILABLE_TOOLS)\]")),
    ("hermes", re.compile(r"<tool_call>")),
    ("gemma", re.compile(r"<\|tool_call>")),
    ("lfm2", re.compile(r"<\|tool_call_start\|>")),
    (OTHER, re.compile(r"\[\w{1,40}\(\w{1,40}=\w")),
    # An object whose name is no string is a picture of a call, not a tool's schema.
    ("llama_json", re.compile(r'\{\s*"name"\s*:\s*[^"{},\s][^"{},]{0,60},\s*"parameters"\s*:')),
    (OTHER, re.compile(r'\{\s*"name"\s*:\s*[^"{},\s][^"{},]{0,60},\s*"(?:arguments|args|input)"\s*:')),
)


def reads(dialect: Dialect, text: str, name: str, arguments: Mapping[str, Any]) -> bool:
    """Return whether a dialect reads a text as exactly one good call, of this tool with these arguments."""
    calls = dialect.parse(text)
    return [(call.name, call.arguments, call.error) for call in calls] == [(name, arguments, None)]


def taught(call: str, hint: str, name: str, arguments: Mapping[str, Any]) -> str:
    """Return the name of the dialect that a template teaches; `OTHER` for one that none here reads, empty for none.

    Args:
        call: a call as the template writes it; empty where it writes none.
        hint: as `hinted` says.
        name: the tool that is called there.
        arguments: what it is called with.
    """
    if not call:
        return hint
    found = (key for key in DIALECTS.shipped if reads(DIALECTS.get(key)(), call, name, arguments))
    return next(found, OTHER)


def hinted(instructions: str) -> str:
    """Return the name of the dialect whose marks stand in a prompt with tools; empty where there are none."""
    return next((name for name, mark in _HINTS if mark.search(instructions)), "")
