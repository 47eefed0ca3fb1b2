"""Questions for a built set: its streams again, with questions written from their text. The set is left as it is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import memrl
from memrl.data.build import peak_mib, totals, written
from memrl.data.card import CARD_FILE, Card, Output, cards_in
from memrl.data.quality import measure
from memrl.envs.asking import QUOTES, SPEAKERS, Asked, ask_chunks
from memrl.envs.building.left_out import by_reason, counting, leave_out
from memrl.envs.errors import DataError
from memrl.envs.stream import Question, Stream, read_jsonl
from memrl.storage.files import new_folder, sha256_file, write_json_atomic
from memrl.storage.formats import FORMATS

Write = Callable[[Stream], Sequence[Asked]]
"""From a stream to the questions that it is to have."""


def without_model(count: int, *, seed: int = 0, kinds: Sequence[str] | None = None) -> Write:
    """Return a writer that asks without a model.

    Args:
        count: questions of a stream at most.
        kinds: names in `memrl.envs.asking.KINDS`; None: all.
    """

    def write(stream: Stream) -> Sequence[Asked]:
        metadata = stream.metadata
        return ask_chunks(
            stream.chunks,
            f"{stream.id}-asked",
            count,
            seed=seed,
            kinds=kinds,
            who=metadata.get(SPEAKERS),
            skipped=metadata.get("filler", ()),
        )

    return write


def set_at(folder: Path) -> Card:
    """Return the card of the built set in a folder.

    Raises:
        DataError: there is none, or it is damaged.
    """
    if not (folder / CARD_FILE).is_file():
        raise DataError(
            f"{folder} is no built set: it has no {CARD_FILE}. Build one first: memrl data build --from ..."
        )
    return cards_in(folder)[0]


def streams_of(folder: Path, card: Card) -> Iterator[Stream]:
    """The streams of all splits of a set."""
    for output in card.splits.values():
        yield from read_jsonl(folder / output.file)


def ask_set(
    folder: Path, out: Path, write: Write, options: dict[str, Any], *, keep: bool = False, force: bool = False
) -> Card:
    """Write a set like another, with other questions, whole or not at all.

    Args:
        write: writes the questions of a stream. A stream without any is left out, and counted.
        options: how they are written, for the card.
        keep: let the streams have their own questions too.
        force: replace what lies in `out`.

    Raises:
        DataError: there is no such set, `out` is taken, nothing could be asked, or a quote does not stand in its text.
    """
    card = set_at(folder)
    if out.exists() and not force:
        raise DataError(f"{out} is there already. Use --force to replace it, or another --out.")
    started = time.monotonic()
    with new_folder(out) as target, counting() as left_out:
        splits: dict[str, Output] = {}
        for name, output in card.splits.items():
            path = target / f"{name}.jsonl"
            quality = measure(
                written(path, _asked(read_jsonl(folder / output.file), partial(_with, write=write, keep=keep)))
            )
            if not quality.streams:
                path.unlink(missing_ok=True)
                continue
            size = path.stat().st_size
            splits[name] = Output(file=path.name, bytes=size, sha256=sha256_file(path), quality=quality)
        if not splits:
            raise DataError(
                f"{folder}: nothing can be asked of its text in this way. Ask more kinds, or an --endpoint."
            )
        asked = card.model_copy(
            update={
                "format_version": FORMATS["set"],
                "name": out.name,
                "builder": f"memrl {memrl.__version__}",
                "options": {**card.options, "asked": options},
                "splits": splits,
                "left_out": by_reason(left_out),
                "seconds": round(time.monotonic() - started, 2),
                "peak_mib": round(peak_mib(), 1),
                "date": datetime.now(UTC).date().isoformat(),
                **totals([output.quality for output in splits.values()], card.extractive),
            }
        )
        write_json_atomic(target / CARD_FILE, asked.model_dump(mode="json"))
    return asked


def _asked(streams: Iterator[Stream], change: Callable[[Stream], Stream | None]) -> Iterator[Stream]:
    for stream in streams:
        if (changed := change(stream)) is not None:
            yield changed
        else:
            leave_out("for a stream of which nothing can be asked", stream.id)


def _with(stream: Stream, *, write: Write, keep: bool) -> Stream | None:
    """The stream with its new questions; None where there are none."""
    asked = write(stream)
    for one in asked:
        held = " ".join(" ".join(stream.chunks[place].text.split()) for place in one.question.evidence or ())
        for quote in one.quotes:
            if " ".join(quote.split()) not in held:
                raise DataError(
                    f"stream {stream.id}, question {one.question.id}: {quote[:80]!r} is not in its evidence."
                )
    own = stream.questions if keep else ()
    asked = _fresh(asked, own)
    if not asked and not own:
        return None
    return Stream(
        id=stream.id,
        source=stream.source,
        chunks=stream.chunks,
        questions=(*own, *(one.question for one in asked)),
        metadata={
            **stream.metadata,
            QUOTES: {
                **(stream.metadata.get(QUOTES, {}) if keep else {}),
                **{one.question.id: list(one.quotes) for one in asked},
            },
        },
    )


def _fresh(asked: Sequence[Asked], own: Sequence[Question]) -> list[Asked]:
    """The new questions that the stream has not got already, with ids that none of its own bears."""
    texts, ids = {question.text for question in own}, {question.id for question in own}
    found = []
    for one in asked:
        if one.question.text in texts:
            continue
        name = one.question.id
        base, number = name.rpartition("-")[0] or name, 0
        while name in ids:
            name, number = f"{base}-{number}", number + 1
        ids.add(name)
        found.append(replace(one, question=one.question.model_copy(update={"id": name})))
    return found
