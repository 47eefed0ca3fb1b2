"""The page docs/results-designs.md, made from benchmarks/results/designs.json whoever has written its rows.

.venv/bin/python -m benchmarks.design_page
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from benchmarks.design_rows import ROOT, STAGES, Row, place, read_rows
from memrl.report.tables import shown
from memrl.storage.files import write_text_atomic

PAGE = ROOT / "docs" / "results-designs.md"
STAGE_HEADINGS = {
    "scripted": "Written by a script",
    "sft": "After a warm start",
    "grpo": "After GRPO",
}
STAGE_TEXTS = {
    "scripted": """What retrieval alone can do: no model is trained or asked. A script reads each stream chunk by
chunk and keeps, by the design's own `keep`, the sentences (of dialogues: the turns) that say most that is new, up to
half of the text's tokens in all. It sees no question, and it updates and links nothing, as a policy would: titles,
keywords, paths and tables cost tokens of the same budget here and bring little. For each question the memory shows
what fits into {shown} tokens. The score is the share of questions of which a gold answer stands there as whole words,
with its 95 % interval over streams; in brackets the same of the best item alone, which is all that the lexical reader
answers. Asked are the questions that a span of their evidence answers. Streams of LoCoMo are pieces of six
conversations and those of SQuAD of some articles; the intervals take them for independent. A star: other than
`stores` found by `bm25` on the same streams, p < 0.01 (paired by stream, sign flips, not corrected for the number of
cells).""",
    "sft": "A policy that was warm-started by the design's own teacher.",
    "grpo": "The same policy after GRPO. A star: other than its warm start on the same streams, p < 0.01 (paired).",
}


def page(rows: Sequence[Row]) -> str:
    """Return the page of all rows."""
    lines = [_HEAD]
    for stage in STAGES:
        mine = sorted((row for row in rows if row["stage"] == stage), key=place)
        if mine:
            lines += [f"## {STAGE_HEADINGS[stage]}", "", *_section(stage, mine)]
    return "\n".join(lines).rstrip("\n") + "\n"


def write_page(rows: Sequence[Row], path: Path = PAGE) -> None:
    """Write the page of all rows."""
    write_text_atomic(path, page(rows))


def _section(stage: str, rows: Sequence[Row]) -> Iterator[str]:
    yield STAGE_TEXTS[stage].format(shown=rows[0].get("shown", ""))
    yield ""
    sets = list(dict.fromkeys(row["set"] for row in rows))
    for name in sets:
        mine = [row for row in rows if row["set"] == name]
        yield from _table(name, mine)
        yield ""


def _table(name: str, rows: Sequence[Row]) -> Iterator[str]:
    retrievals = list(dict.fromkeys(row["retrieval"] for row in rows))
    cells = {(row["design"], row["retrieval"]): row for row in rows}
    first = rows[0]
    counted = f": {first['streams']} streams" if "streams" in first else ""
    counted += f", {first['questions']:,} questions" if "questions" in first else ""
    budget = f", budget {first['budget']:,} tokens in the mean" if "budget" in first else ""
    dates = sorted({row["date"] for row in rows})
    measured = f"{first['machine']}, {' to '.join(dict.fromkeys((dates[0], dates[-1])))}"
    yield f"**{name}**{counted}{budget}. Measured on {measured}."
    yield ""
    yield f"| design | {' | '.join(f'`{retrieval}`' for retrieval in retrievals)} | memory tokens |"
    yield "|---" * (len(retrievals) + 2) + "|"
    for design in dict.fromkeys(row["design"] for row in rows):
        found = [cells.get((design, retrieval)) for retrieval in retrievals]
        tokens = _range(row["memory_tokens"] for row in found if row)
        yield f"| `{design}` | {' | '.join(_cell(row) if row else '' for row in found)} | {tokens} |"


def _cell(row: Row) -> str:
    star = "\\*" if row["p"] is not None and row["p"] < 0.01 else ""
    best = f" ({row['best_item']['value']:.2f})" if "best_item" in row else ""
    return f"{shown(row['score'])}{star}{best}"


def _range(values: Iterable[float]) -> str:
    some = sorted({round(value) for value in values})
    return f"{some[0]:,}" if len(some) == 1 else f"{some[0]:,} to {some[-1]:,}"


_HEAD = """# Memory designs compared

Each [memory design](designs.md) with each retrieval, on the same streams under the same budget. The figures are those
of benchmarks/results/designs.json, which this page is made from (`python -m benchmarks.design_page`; a test compares
them).
"""


if __name__ == "__main__":
    write_page(read_rows())
