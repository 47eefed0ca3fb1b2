"""`memrl data check`: what training and evaluation sets hold, what is wrong with them, and whether they overlap."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from memrl.config import DataConfig, EvalConfig
from memrl.data.card import CARD_FILE, HELD_OUT, check_set, read_card
from memrl.data.guard import held_out_streams, training_streams
from memrl.data.leaks import Overlap, Pair, Thresholds, find_overlap
from memrl.data.quality import Meter, Quality
from memrl.envs.sources import SOURCES
from memrl.envs.sources.jsonl import READERS
from memrl.envs.stream import Stream
from memrl.errors import DataError

Side = Literal["train", "evaluation"]
FEW_PAIRS = 10
"""Of pairs that share something and do not leak, no more are shown than fill a table so long."""


@dataclass(frozen=True)
class Part:
    """Streams to be checked, and where they come from."""

    name: str
    streams: Iterable[Stream]
    card: dict[str, Any] | None = None
    """What the card beside a built set says."""


def parts_at(path: Path, side: Side, *, needed: bool = True) -> list[Part]:
    """Return what a path holds for one side: of a built set, the splits of that side.

    Args:
        needed: a set must have such a split, and a file is taken for it. Else a file counts as training.

    Raises:
        DataError: there is no such file or set, or the set lacks a split that is needed.
    """
    if not path.is_dir():
        return [part_of_file(path)] if needed or side == "train" else []
    splits = read_card(path).splits
    wanted = [name for name in splits if (name in HELD_OUT) == (side == "evaluation")]
    if needed and not wanted:
        raise DataError(f"{path} has no split for {side} (it has {', '.join(splits)}). Give a file of streams.")
    return [part_of_file(path / splits[name].file) for name in wanted]


def part_of_file(path: Path) -> Part:
    """A file of streams, `.jsonl` or `.parquet`, with the card beside it if there is one.

    Raises:
        DataError: its suffix or its card is wrong; bad data, when its stream is asked for.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"data file {path} ends in {path.suffix!r}. Use one of {', '.join(READERS)}.")
    card = path.with_name(CARD_FILE)
    check_set(path.parent)
    return Part(str(path), reader(path), _read_card(card) if card.is_file() else None)


def parts_of_run(data: DataConfig, evaluation: EvalConfig, seed: int) -> tuple[list[Part], list[Part]]:
    """Return what a run of this seed trains on and what it is evaluated on."""
    train = [Part(f"data.train[{n}]", streams) for n, (_, streams) in enumerate(training_streams(data, seed))]
    return train, [Part("data.eval", held_out_streams(data, evaluation))]


class SetReport(BaseModel):
    """The streams of one source in one part."""

    model_config = ConfigDict(frozen=True)

    side: Side
    part: str
    source: str
    licence: str | None
    home: str | None
    quality: Quality


class Report(BaseModel):
    """The findings of a check."""

    model_config = ConfigDict(frozen=True)

    sets: tuple[SetReport, ...]
    overlap: Overlap
    cards: dict[str, dict[str, Any]]
    """By part."""

    @property
    def faults(self) -> list[str]:
        """Return what is wrong with the sets themselves, in words."""
        return [f"{found.part}, {found.source}: {fault}" for found in self.sets for fault in found.quality.faults]

    @property
    def ok(self) -> bool:
        """Return whether nothing leaks and nothing is wrong."""
        return not self.overlap.leaks and not self.faults

    def plain(self) -> dict[str, Any]:
        """Return it as data for JSON."""
        return {"ok": self.ok, "faults": self.faults, **self.model_dump(mode="json")}

    def show(self, console: Console) -> None:
        """Print it."""
        console.print(_sets_table(self.sets))
        for found in self.sets:
            for missing in found.quality.missing:
                golds = " | ".join(missing.answers)
                line = f"- {found.source}: no answer in the text: {missing.text!r} ({golds!r}) in {missing.stream}"
                console.print(line, markup=False)
        shown = [pair for pair in self.overlap.pairs if pair.leaks or pair.train == pair.evaluation]
        shown += [pair for pair in self.overlap.pairs if pair not in shown][: max(0, FEW_PAIRS - len(shown))]
        if shown:
            console.print(_overlap_table(shown))
        if len(shown) < len(self.overlap.pairs):
            console.print(f"{len(self.overlap.pairs) - len(shown)} more pairs of sources have less in common (--json)")
        for pair in self.overlap.pairs:
            _show_examples(pair, console)
        for fault in self.faults:
            console.print(f"- {fault}", markup=False, style="red")
        compared = self.overlap.train and self.overlap.evaluation
        if compared and not self.overlap.leaks:
            console.print("Training holds nothing that evaluation is about.", style="green")
        for pair in self.overlap.leaks:
            console.print(f"LEAK {pair.line()}", markup=False, style="red")


def check(train: Sequence[Part], evaluation: Sequence[Part] = (), limits: Thresholds | None = None) -> Report:
    """Measure all streams and compare the two sides; each stream is read once.

    Raises:
        DataError: bad data.
    """
    meters: dict[tuple[Side, str, str], Meter] = {}

    def watched(side: Side, parts: Sequence[Part]) -> Iterator[Stream]:
        for part in parts:
            for stream in part.streams:
                meters.setdefault((side, part.name, stream.source), Meter()).add(stream)
                yield stream

    overlap = find_overlap(watched("train", train), watched("evaluation", evaluation), limits)
    cards = {part.name: part.card for part in (*train, *evaluation) if part.card is not None}
    sets = [
        SetReport(
            side=side,
            part=part,
            source=source,
            licence=SOURCES[source].licence if source in SOURCES else _licence(cards.get(part)),
            home=SOURCES[source].home if source in SOURCES else None,
            quality=meter.result(),
        )
        for (side, part, source), meter in meters.items()
    ]
    sets.sort(key=lambda found: (found.side == "evaluation", found.part, found.source))
    return Report(sets=tuple(sets), overlap=overlap, cards=cards)


def _read_card(path: Path) -> dict[str, Any]:
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is no readable JSON ({error}). Build the set again, or remove the file.") from error
    if not isinstance(card, dict):
        raise DataError(f"{path} must hold an object, not {card!r:.40}. Build the set again, or remove the file.")
    return card


def _licence(card: dict[str, Any] | None) -> str | None:
    named = (card or {}).get("licence")
    return named if isinstance(named, str) else None


def _sets_table(sets: Sequence[SetReport]) -> Table:
    names = ("streams", "chunks", "questions", "tokens", "longest chunk", "answer in text", "in its evidence")
    table = Table("", "source", "licence", title="sets")
    for name in (*names, "evidence"):
        table.add_column(name, justify="right")
    for found in sets:
        quality = found.quality
        table.add_row(
            found.side,
            escape(found.source),
            escape(found.licence or "unknown"),
            *(f"{count:,}" for count in (quality.streams, quality.chunks, quality.questions, quality.tokens)),
            f"{quality.longest_chunk_tokens:,}",
            _share(quality.answers_found, quality.questions),
            _share(quality.answers_in_evidence, quality.evidence),
            _share(quality.evidence, quality.questions),
        )
    return table


def _overlap_table(pairs: Sequence[Pair]) -> Table:
    table = Table("evaluation", "trained on", title="what evaluation has of training")
    for name in ("streams", "documents", "equal chunks", "near chunks", "passages", "worst stream", "same questions"):
        table.add_column(name, justify="right")
    table.add_column("")
    for pair in pairs:
        expected = "templates" if pair.templates else "as such texts do"
        table.add_row(
            escape(pair.evaluation),
            escape(pair.train),
            f"{pair.leaking} of {pair.streams}",
            str(pair.documents),
            _share(pair.equal_chunks, pair.chunks),
            _share(pair.near_chunks, pair.chunks),
            _share(pair.seen_passages, pair.passages),
            f"{pair.worst_passages:.1%}",
            f"{pair.repeated_questions} + {pair.same_questions}",
            f"[red]leaks: {', '.join(pair.leaks)}[/red]" if pair.leaks else expected,
        )
    return table


def _show_examples(pair: Pair, console: Console) -> None:
    for example in pair.examples if pair.leaks else ():
        alike = f" ({example.similarity:.2f} alike)" if example.similarity < 1 else ""
        console.print(
            f"- {example.what}{alike} {example.text!r} in {example.train} and {example.evaluation}", markup=False
        )


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "-"
