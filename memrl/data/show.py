"""Sets and streams as a person reads them: tables of sources, cards and figures; a stream page by page."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Group
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from memrl.data.card import Card
from memrl.data.quality import Quality
from memrl.envs.building.importing import Import
from memrl.envs.building.source import Source
from memrl.envs.building.times import shown
from memrl.envs.building.tokens import count_tokens
from memrl.envs.stream import Stream

TRIED = {"real": "published files", "format": "a hand-made file of the format", "generated": "generated"}
CARD_COLUMNS = (
    "set", "streams", "chunks", "tokens", "questions", "answers found", "evidence",
    "seconds", "peak MiB", "tried on", "licence",
)  # fmt: skip


def plain_table(first: str, *others: str, title: str) -> Table:
    """A table whose first column, the name, is never cut."""
    table = Table(title=title)
    table.add_column(first, no_wrap=True)
    for other in others:
        table.add_column(other, overflow="fold")
    return table


def sources_table(sources: Iterable[Source]) -> Table:
    """Return the table of what there is to build from."""
    table = plain_table("source", "kind", "what it is", "reads", "from", "licence", "tried on", title="sources")
    for source in sources:
        table.add_row(
            source.name,
            source.kind,
            escape(source.about),
            escape(source.reads),
            source.home or ("generated" if source.tried == "generated" else "your own"),
            source.licence or "",
            TRIED[source.tried],
        )
    return table


def card_row(card: Card) -> list[str]:
    """One line of the table of built sets."""
    found = f"{card.answers_found:.3f}" if card.extractive else f"({card.answers_found:.3f})"
    return [
        card.name,
        f"{card.streams:,}",
        f"{card.chunks:,}",
        f"{card.tokens:,}",
        f"{card.questions:,}",
        found,
        f"{card.evidence:.3f}",
        f"{card.seconds:.1f}",
        f"{card.peak_mib:.0f}",
        TRIED[card.tried],
        card.licence or "",
    ]


def cards_table(cards: Sequence[Card]) -> Table:
    """The built sets."""
    table = plain_table(*CARD_COLUMNS, title="built sets (answers found in brackets: not spans of the text)")
    for card in cards:
        table.add_row(*card_row(card))
    return table


def cards_markdown(cards: Sequence[Card]) -> str:
    """The same as Markdown."""
    rows = [list(CARD_COLUMNS), ["---"] * len(CARD_COLUMNS), *(card_row(card) for card in cards)]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def stream_page(stream: Stream, chunks: int | None = None) -> Group:
    """A stream as it is read: its chunks in order, then its questions with answers and where the evidence is.

    Args:
        chunks: show only so many of the chunks, and the questions about them; None: all.
    """
    some = stream.chunks[:chunks]
    parts: list[Any] = [
        Text(f"{stream.id}  ({stream.source}, {len(stream.chunks)} chunks, {len(stream.questions)} questions)", "bold")
    ]
    parts += [Text(f"{key}: {_short(value)}", "dim") for key, value in stream.metadata.items()]
    for index, chunk in enumerate(some):
        date = f", {chunk.time}" if chunk.time else ""
        parts += [Text(), Text(f"chunk {index}{date}, {count_tokens(chunk.text)} tokens", "cyan")]
        parts.append(Padding(Text(chunk.text), (0, 0, 0, 2)))
    if len(some) < len(stream.chunks):
        parts += [Text(), Text(f"... {len(stream.chunks) - len(some)} more chunks", "dim")]
    parts += [Text(), Text("questions", "cyan")]
    for question in stream.questions:
        evidence = question.evidence
        if len(some) < len(stream.chunks) and not (evidence and evidence[-1] < len(some)):
            continue
        where = f"chunks {', '.join(map(str, evidence))}" if evidence else "no evidence known"
        parts += [
            Padding(Text(f"{question.id}  {question.text}"), (0, 0, 0, 2)),
            Padding(Text(" | ".join(question.answers), "green"), (0, 0, 0, 4)),
            Padding(Text(f"{question.kind}, {question.metric}, {where}", "dim"), (0, 0, 0, 4)),
        ]
    return Group(*parts)


def _short(value: Any, most: int = 200) -> str:
    text = str(value)
    return text if len(text) <= most else f"{text[:most]}..."


def import_table(found: Import) -> Table:
    """Return the table of what was found in exports: by file, with people, times and first words."""
    table = plain_table(
        "file", "format", "logs", "messages", "texts", "who", "from", "to", "first words", title="what is there"
    )
    for taken in found.taken:
        speakers, times = taken.speakers, taken.times
        more = f" and {len(speakers) - 4} more" if len(speakers) > 4 else ""
        first = taken.talks[0] if taken.talks else None
        words = "" if first is None else first.messages[0].text if first.messages else first.text.strip()
        table.add_row(
            escape(os.path.relpath(taken.where, os.path.dirname(found.root))),
            taken.format,
            f"{len({talk.log for talk in taken.talks}):,}",
            f"{taken.messages:,}",
            f"{taken.texts:,}",
            escape(", ".join(speakers[:4]) + more),
            shown(min(times)) if times else "",
            shown(max(times)) if times else "",
            escape(_short(" ".join(words.split()), 60)),
        )
    return table


def stats_table(measured: dict[str, Quality]) -> Table:
    """Figures of several files beside each other."""
    table = plain_table("", *measured, title="stream statistics")
    rows: dict[str, list[str]] = {}
    for quality in measured.values():
        for key, text in _figures(quality).items():
            rows.setdefault(key, []).append(text)
    for key, texts in rows.items():
        table.add_row(key, *texts)
    return table


def _figures(quality: Quality) -> dict[str, str]:
    streams, chunks, questions = max(quality.streams, 1), max(quality.chunks, 1), max(quality.questions, 1)
    return {
        "streams": f"{quality.streams:,}",
        "chunks a stream": f"{quality.chunks / streams:.1f}",
        "tokens a chunk": f"{quality.tokens / chunks:,.0f}",
        "longest chunk, tokens": f"{quality.longest_chunk_tokens:,}",
        "tokens a stream": f"{quality.tokens / streams:,.0f}",
        "tokens": f"{quality.tokens:,}",
        "questions a stream": f"{quality.questions / streams:.1f}",
        "questions": f"{quality.questions:,}",
        "answers found in the chunks": f"{quality.answers_found / questions:.3f}",
        "questions with evidence": f"{quality.evidence / questions:.3f}",
        "kinds": ", ".join(f"{kind} {count:,}" for kind, count in quality.kinds.items()),
        "metrics": ", ".join(f"{metric} {count:,}" for metric, count in quality.metrics.items()),
    }
