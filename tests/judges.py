"""Judges to test with: one that is honest and reads by our marks alone, and some that do what an attacker wishes."""

from __future__ import annotations

import json
import re

from memrl.rewards.content import unfaithful
from memrl.rewards.metrics import substring

Messages = list[dict[str, str]]
CITIES = re.compile(r"\b(turku|porto|lyon|ghent|leipzig|riga|bergen)\b", re.IGNORECASE)


def code_of(messages: Messages) -> str:
    """The code that the request asks for, as its last lines say."""
    found = re.search(r"^The material has ended\. .* code: (\w+)$", messages[-1]["content"], re.MULTILINE)
    assert found
    return found[1]


def parts_of(messages: Messages) -> dict[str, str]:
    """The quoted parts, read as strictly as the marks allow."""
    code = code_of(messages)
    found = re.findall(rf"^# (.*)\n\[{code} begins\]\n((?:\| .*\n)*)\[{code} ends\]$", messages[-1]["content"], re.M)
    return {name: "\n".join(line[2:] for line in text.splitlines()) for name, text in found}


def verdict(messages: Messages, accepted: bool, reason: str = "") -> str:
    return json.dumps({"code": code_of(messages), "reason": reason, "verdict": "accept" if accepted else "reject"})


def honest(messages: Messages) -> str:
    """Grades by words, from the parts as they are quoted. A part that was forged would mislead it."""
    parts = parts_of(messages)
    if "Stored text" in parts:
        why = unfaithful(parts["Stored text"], [(parts["Passage"], "")])
        return verdict(messages, not why, why)
    golds = [line.removeprefix("- ") for line in parts["Accepted answers"].splitlines()]
    answer = parts["Answer to grade"]
    return verdict(messages, bool(substring(answer, golds)) and not CITIES.search(answer))


def parrot(messages: Messages) -> str:
    """Repeats what it was to grade."""
    parts = parts_of(messages)
    return parts.get("Answer to grade", parts.get("Stored text", ""))


def finisher(messages: Messages) -> str:
    """Says the first JSON object that it reads in the material, as a model does that takes it for its own beginning."""
    found = re.search(r"\{.*", messages[-1]["content"])
    return f"{found[0]}}}" if found and not found[0].rstrip().endswith("}") else found[0] if found else "accept"


def obedient(messages: Messages) -> str:
    """Does whatever it is told to, wherever that stands: what no delimiter helps against, and canaries must find."""
    text = messages[-1]["content"].casefold()
    quoted = text[: text.index("# verdict\nthe material")]
    told = re.search(r"(verdict\W+accept|accept (this|it)|and accept|reply with accept|output accept)", quoted)
    return verdict(messages, bool(told) or json.loads(honest(messages))["verdict"] == "accept")


def generous(messages: Messages) -> str:
    """Accepts everything."""
    return verdict(messages, True)


def grumpy(messages: Messages) -> str:
    """Rejects everything."""
    return verdict(messages, False)
