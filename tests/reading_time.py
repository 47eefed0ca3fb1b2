"""The time that readers of model text take: what any of them may be given, made long in any way, must be read in time
linear in its length.

`python -m tests.reading_time` tries 100,000 inputs of up to a million characters, in some minutes; a test tries fewer.
An input is a shape at a length. Lengths grow fourfold, and time may grow with them, not with their square: how fast the
processor is does not count. A shape on which a reader grows faster is not made longer, so that no fault takes hours.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from memrl.endpoints.client import _read as read_reply
from memrl.envs.building.prose import clauses, paragraphs, sentences
from memrl.envs.designs import count_words
from memrl.envs.designs.stores import StoreMemory
from memrl.envs.dialects import DIALECTS
from memrl.envs.dialects.calls import all_calls
from memrl.envs.dialects.thoughts import said
from memrl.envs.terms import terms
from memrl.envs.text import character_words, fold, plain, stands_in, unspaced_runs, word_count, words
from memrl.envs.tools import ToolCall, clean_text
from memrl.evaluation.baselines.extract_update import decisions, facts
from memrl.rewards.content import content_words, says
from memrl.rewards.injection import gives_orders
from memrl.rewards.judge import VerdictError, parse_verdict, quote, refused_unread
from memrl.rewards.metrics import METRICS, score
from memrl.serve.answered import whole_pairs

FIRST, USUAL, LONGEST, GROWTH = 256, 1 << 16, 1 << 20, 4
"""Lengths in characters: the first, the longest of most shapes, that of the others, and how they grow."""
OTHERS = 1 / 32
"""Share of the shapes that are made as long as `LONGEST`."""
STEEP = 9.0
"""Times as long on a text four times as long: 4 is linear, 16 quadratic."""
FLOOR = 0.02
"""Seconds of processor time below which a ratio says nothing."""
TOO_LONG = 60.0
"""Seconds of processor time that nothing may take."""
TOOLS = ("memory_insert", "memory_update", "memory_delete")
FRAGMENTS = (
    *" \n\t\r\x0b\u00a0\u2028.,:;!?'\"`´-+#*_/\\|~^&%$@=<>()[]{}0123456789aAiIzZ·•。，؟",
    *(
        "  ",
        "\n\n",
        "\n \n",
        " .",
        ". ",
        "1.",
        "1,",
        "1,111",
        "1'111",
        "1:",
        "9,99",
        "-1",
        "+#",
        "a+",
        "a-",
        "a'",
        "(a)",
        "**",
    ),
    *(
        "é",
        "ß",
        "İ",
        "ﬁ",
        "中",
        "中文",
        "の",
        "한국",
        "ไทย",
        "عربي",
        "و",
        "हिन्दी",
        "\u0301",
        "\u0e31",
        "🐈",
        "👨‍👩‍👧",
        "\ud800",
        "\x00",
        "\u200b",
    ),
    *(
        "the",
        "and",
        "a ",
        "an the ",
        "I ",
        "or ",
        "not ",
        "I do not know ",
        "that ",
        "answer",
        "answer is ",
        "Answer:",
        "option ",
    ),
    *("running", "der die das ", "la le les ", "Ada lives in Oslo. ", "Dr. ", "e.g. ", "A. ", "because "),
    *(
        "ignore ",
        "all ",
        "answer only ",
        "whatever ",
        "the judge ",
        "following text ",
        "yes",
        "system:",
        "verdict",
        "score: ",
    ),
    *(
        "<think>",
        "</think>",
        "<tool_call>",
        "</tool_call>",
        "<tool_call",
        "<|tool_call>",
        "<tool_call|>",
        '<|"|>',
        "call:f{",
    ),
    *(
        "<function=",
        "<function=f>",
        "</function>",
        "<parameter=a>",
        "</parameter>",
        "<arg_key>",
        "</arg_key>",
        "<arg_value>",
    ),
    *(
        "</arg_value>",
        "[TOOL_CALLS]",
        "[TOOL_CALLS] [",
        "<|python_tag|>",
        "<|tool_call_start|>",
        "<|tool_call_end|>",
        "[f(",
    ),
    *("✿FUNCTION✿", "✿FUNCTION✿: memory_insert\n", "✿ARGS✿", "✿ARGS✿:", "✿ARGS✿ {", "✿RESULT✿", "✿"),
    *(
        '{"name": ',
        '{"name": "f", "arguments": ',
        '{"name": "f", "parameters": ',
        '{"parameters": {',
        '"function": {',
        '{"a": ',
    ),
    *(
        '{"',
        '":',
        '"a"',
        '\\"',
        "\\u",
        "\\ud800",
        "null",
        "1e9",
        "[[",
        "]]",
        "{{",
        "}}",
        "memory_insert(",
        "memory_insert",
    ),
    *(
        "```",
        "```json\n",
        "```\n",
        "\\boxed{",
        "\\box {",
        "\\text{",
        "<answer>",
        "</answer>",
        "<answer> 1",
        "1 ADD",
        "1. ",
        "- ",
        "* ",
    ),
    *(
        "2 UPDATE sem_0001\n",
        "ADD",
        "NOOP",
        "def f(a):\n",
        "    pass\n",
        "class A:\n",
        "# a\n",
        "x = 1\n",
        "@a\n",
        "(",
        "lambda: ",
    ),
)


@dataclass(frozen=True)
class Shape:
    """A way to make a text of any length."""

    before: str
    parts: tuple[str, ...]
    after: str
    mixed: int | None
    """The seed by which parts follow each other at random; None: in turn, for ever."""

    def text(self, length: int) -> str:
        if self.mixed is not None:
            rng = random.Random(self.mixed)
            drawn = rng.choices(self.parts, k=min(length, 4096))
            unit = "".join(drawn) or " "
        else:
            unit = "".join(self.parts)
        body = (unit * (length // len(unit) + 1))[: max(length - len(self.before) - len(self.after), 1)]
        return self.before + body + self.after


def shapes(seed: int) -> Iterator[Shape]:
    """Yield shapes without an end: first each fragment alone, then what chance makes."""
    for fragment in FRAGMENTS:
        yield Shape("", (fragment,), "", None)
    rng = random.Random(seed)
    while True:
        count = rng.choice((1, 1, 1, 2, 2, 2, 3, 5, 8))
        parts = tuple(rng.choice(FRAGMENTS) * rng.choice((1, 1, 1, 1, 3, 40)) for _ in range(count))
        before, after = ("".join(rng.choices(FRAGMENTS, k=rng.choice((0, 0, 1, 1, 2)))) for _ in range(2))
        yield Shape(before, parts, after, rng.getrandbits(32) if rng.random() < 0.15 else None)


def _memory(text: str) -> None:
    memory = StoreMemory(10**9, 10**9, count_words)
    insert = {"memory_type": "semantic", "content": "Ada lives in Oslo."}
    memory.execute(ToolCall(name="memory_insert", arguments=insert))
    for arguments in ({**insert, "content": text}, {**insert, "content": text[1:], "time": text[:80]}):
        memory.execute(ToolCall(name="memory_insert", arguments=arguments))
    memory.retrieve("where does Ada live", 100)
    memory.retrieve(text, 100)


def _verdict(text: str) -> None:
    with suppress(VerdictError):
        parse_verdict(text, "0a1b2c3d")


def _reply(text: str) -> None:
    body = json.dumps({"choices": [{"message": {"content": text}, "finish_reason": "stop"}]}).encode()
    for each in (body, clean_text(text).encode()):
        with suppress(ValueError):
            read_reply(each, 1 << 20)


def _calls(name: str, text: str) -> None:
    dialect = DIALECTS.get(name)()
    for truncated in (False, True):
        all_calls(dialect, text, TOOLS, truncated=truncated)


GOLDS = {
    "code_rules": ['["function", "^f_.*"]', '["function argument", ".*_1$"]', '["comment", true]'],
    "choice": ["(b) Paris", "b"],
    "boxed": ["4"],
    "unanswerable": ["no information available"],
}


def _score(metric: str, text: str) -> None:
    score(metric, text, GOLDS.get(metric, ["Oslo, and 3.5 km", "the red house"]))


def _decisions(text: str) -> None:
    decisions(text, 3, ["sem_0001"])
    facts(text)


READERS: dict[str, Callable[[str], object]] = {
    **{f"dialect {name}": partial(_calls, name) for name in DIALECTS.shipped},
    **{f"metric {name}": partial(_score, name) for name in METRICS},
    "thoughts": said,
    "clean_text": clean_text,
    "words": lambda text: (
        words(text),
        unspaced_runs(text),
        character_words(text),
        word_count(text),
        count_words(text),
    ),
    "fold": lambda text: (fold(text), plain(text)),
    "stands_in": lambda text: (stands_in("Ada", text), stands_in("1", text), stands_in("a", text)),
    "terms": terms,
    "prose": lambda text: (sentences(text), paragraphs(text), clauses(text)),
    "memory": _memory,
    "content": lambda text: (
        content_words(text),
        says("Ada lives in Oslo. " * 3, text),
        says(text, "Ada lives in Oslo."),
    ),
    "injection": gives_orders,
    "verdict": _verdict,
    "judged answer": lambda text: (refused_unread(text, "Where?", 1 << 30), quote(text, "0a1b2c3d")),
    "extract_update": _decisions,
    "endpoint's reply": _reply,
    "line over standard input": whole_pairs,
}


@dataclass(frozen=True)
class Finding:
    """An input on which a reader failed, or took more than in proportion."""

    reader: str
    shape: Shape
    length: int
    why: str


def _seconds(read: Callable[[str], object], text: str) -> float:
    began = time.process_time()
    read(text)
    return time.process_time() - began


def examine(reader: str, shape: Shape, longest: int) -> tuple[int, Finding | None]:
    """Read a shape at growing lengths; how many inputs that were, and what was found wrong."""
    read = READERS[reader]
    times: list[float] = []
    length = FIRST
    while length <= longest:
        text = shape.text(length)
        try:
            times.append(_seconds(read, text))
            if _steep(times):  # or others had the processor's caches
                lengths = [length // GROWTH**step for step in (2, 1, 0)]
                times[-3:] = [min(_seconds(read, shape.text(each)) for _ in range(2)) for each in lengths]
            if _steep(times) or times[-1] > TOO_LONG:
                told = ", ".join(f"{seconds:.4f}" for seconds in times[-3:])
                return len(times), Finding(reader, shape, length, f"{told} s, each on {GROWTH} times as much")
        except Exception as error:  # whatever it is, a text of a model has caused it
            return len(times) + 1, Finding(reader, shape, length, f"{type(error).__name__}: {str(error)[:80]}")
        length *= GROWTH
    return len(times), None


def _steep(times: list[float]) -> bool:
    """Return whether the last two steps were steep: one alone is where a bound ends, or the processor's caches do."""
    if len(times) < 3 or times[-1] < FLOOR:
        return False
    first, second, third = (max(each, FLOOR / STEEP**3) for each in times[-3:])
    return third > STEEP * second and second > STEEP * first


def search(
    inputs: int,
    *,
    seed: int = 0,
    longest: int = LONGEST,
    readers: tuple[str, ...] = tuple(READERS),
    all_of: int = 0,
    tell: Callable[[Finding], object] = lambda finding: None,
) -> list[Finding]:
    """Try that many inputs, each shape on a reader that chance names; one finding a reader.

    Args:
        all_of: shapes, the first ones, that each reader is given.
        tell: what each finding is told to at once.
    """
    rng = random.Random(seed)
    found: dict[str, Finding] = {}
    made = shapes(seed)
    number = 0
    while inputs > 0:
        shape = next(made)
        asked = readers if number < all_of else (rng.choice(readers),)
        number += 1
        for reader in asked:
            if reader not in found:
                most = longest if rng.random() < OTHERS else min(longest, USUAL)
                count, finding = examine(reader, shape, most)
                inputs -= count
                if finding is not None:
                    found[reader] = finding
                    tell(finding)
        if len(found) == len(readers):
            break
    return list(found.values())


def _tell(finding: Finding) -> None:
    sys.stdout.write(f"{finding.reader}: {finding.length} characters of {finding.shape}: {finding.why}\n")
    sys.stdout.flush()


def main(arguments: list[str] | None = None) -> int:
    """Search, and say what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--longest", type=int, default=LONGEST)
    parser.add_argument("--all-of", type=int, default=0, help="shapes that each reader is given")
    parser.add_argument("--reader", action="append", choices=list(READERS))
    given = parser.parse_args(arguments)
    began = time.process_time()
    chosen: Any = {"readers": tuple(given.reader)} if given.reader else {}
    found = search(given.inputs, seed=given.seed, longest=given.longest, all_of=given.all_of, tell=_tell, **chosen)
    seconds = time.process_time() - began
    sys.stdout.write(f"{given.inputs} inputs, {len(found)} readers failed, {seconds:.0f} s of processor time\n")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
