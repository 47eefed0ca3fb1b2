"""What retrieval alone can do: memory design x retrieval x set, written by a script and by no trained model.

    .venv/bin/python -m benchmarks.designs --data DIR
    .venv/bin/python -m benchmarks.designs --data DIR --retrievals bm25 dense --retrieval-options dense:model=FOLDER

DIR holds the raw files of LoCoMo and SQuAD as `memrl data build --from` takes them; without it the dialogues alone are
measured. What was measured already is not measured again: cells are kept below --out, and a command that was killed
goes on where it was. Writes its rows (`stage: scripted`) into benchmarks/results/designs.json, beside those of others,
and docs/results-designs.md.

The writer reads a stream chunk by chunk and keeps, by the design's own `keep`, what says most that is new: sentences,
or turns of a dialogue, by new words a token, up to the chunk's share of the budget. It sees no question. The budget of
the whole memory is half of the text, in the same tokens. For each question the memory shows what fits into --shown
tokens; the score is the share of questions of which a gold answer stands there, as whole words. Asked are the questions
that a span of their evidence answers. `p` is of the paired test against `stores` found by bm25 on the same streams.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

import yaml
from rich.console import Console

from benchmarks.design_page import write_page
from benchmarks.design_rows import FIGURES, Row, merge_rows
from memrl.config import MemoryConfig
from memrl.config.registries import BY_KEY
from memrl.data.build import find_jobs
from memrl.engines.prompting import Prompter
from memrl.envs.building.prose import sentences
from memrl.envs.designs import DESIGNS, MemoryDesign, count_words
from memrl.envs.designs.keeping import Keeping, calls_that_keep
from memrl.envs.errors import MemrlError
from memrl.envs.sources import open_source
from memrl.envs.stream import Question, Stream
from memrl.envs.text import fold, stands_in, words
from memrl.evaluation.statistics import SCORES, paired_difference, stream_interval
from memrl.report.progress import RunProgress
from memrl.rollout.environment import new_memory
from memrl.storage.files import write_json_atomic

SETS: dict[str, dict[str, Any]] = {
    "dialogues": {"split": "eval", "seed": 101, "sessions": 24},
    "locomo": {"chunks": 4, "chunk_tokens": 500, "questions": 200},
    "squad": {"chunks": 3, "chunk_tokens": 500, "questions": 24},
}
"""Options of the sources; as many chunks as give each set some 60 streams of a few thousand tokens or fewer."""
BASE = ("stores", "bm25")
"""What each cell is compared with, paired by stream."""
_TURN = re.compile(r"\w[^:.!?]{0,40}: ")
"""How a turn of a dialogue begins."""
_SHORTEST = 3
"""Letters or digits of an answer that is looked for: a shorter one stands in many texts by chance."""


@dataclass(frozen=True)
class Plan:
    """What a cell depends on beside its design, retrieval and set."""

    streams: int = 64
    share: float = 0.5
    """Of the text's tokens, which the memory may hold."""
    shown: int = 128
    """Tokens of memory for a question."""


@dataclass(frozen=True)
class _Counter:
    """A prompter as far as a memory needs one: it counts tokens."""

    def count_tokens(self, text: str) -> int:
        return count_words(text)


def main(arguments: Sequence[str] | None = None) -> None:
    known = retrievals()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with the raw files of LoCoMo and SQuAD")
    parser.add_argument("--designs", nargs="+", default=list(DESIGNS.shipped), help="default: all that ship")
    parser.add_argument("--retrievals", nargs="+", choices=known, default=["bm25"], help="default: bm25")
    parser.add_argument(
        "--retrieval-options",
        nargs="+",
        default=[],
        metavar="NAME:KEY=VALUE",
        help="options of retrievals, as in a config",
    )
    parser.add_argument("--sets", nargs="+", choices=SETS, help="default: all whose data is there")
    parser.add_argument("--streams", type=int, default=Plan.streams, help="of a cell, at most")
    parser.add_argument("--shown", type=int, default=Plan.shown, help="tokens of memory for a question")
    parser.add_argument("--out", type=Path, default=Path("runs/designs"), help="folder of the cells")
    parser.add_argument("--figures", type=Path, default=FIGURES, help="the JSON file that rows are written into")
    parser.add_argument("--page", type=Path, help="the page of the table (default: docs/results-designs.md)")
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.designs if not DESIGNS.knows(name)]:
        parser.error(DESIGNS.unknown(unknown[0]))
    sets = options.sets or [name for name in SETS if name == "dialogues" or options.data]
    if options.data is None and (lacking := [name for name in sets if name != "dialogues"]):
        parser.error(f"{lacking[0]} is read from files; name their folder by --data")
    if min(options.streams, options.shown) < 1:
        parser.error(f"--streams and --shown must be at least 1, got {options.streams} and {options.shown}")
    plan = Plan(options.streams, shown=options.shown)
    given = retrieval_options(options.retrieval_options, parser.error)
    cells = [
        (where, design, retrieval) for where in sets for design in options.designs for retrieval in options.retrievals
    ]
    # First what the others are compared with.
    cells = list(dict.fromkeys([*((where, *BASE) for where in sets), *cells]))
    try:
        found = table(cells, plan, given, options.data, options.out)
    except MemrlError as error:
        parser.error(str(error))
    rows = [row(name, cell, found[name[0], *BASE]) for name, cell in found.items()]
    write_page(merge_rows(rows, options.figures), *([options.page] if options.page else []))
    print(json.dumps({"results": rows}, indent=2))


def table(
    cells: Sequence[tuple[str, str, str]],
    plan: Plan,
    given: Mapping[str, Mapping[str, Any]],
    data: Path | None,
    out: Path,
) -> dict[tuple[str, ...], Row]:
    """Return the cells of a table: set, design, retrieval -> what was measured, now or before.

    Args:
        given: options of retrievals.
        data: the folder of raw files.
        out: the folder of the cells.
    """
    progress = RunProgress(Console(stderr=True))
    with progress, progress.phase("cells", len(cells)) as advance:
        opened: dict[str, list[Stream]] = {}
        found: dict[tuple[str, ...], Row] = {}
        for where, design, retrieval in cells:
            path = out / f"{where}-{re.sub(r'[^A-Za-z0-9_-]', '_', design)}-{retrieval}.json"
            with_what = {**asdict(plan), "options": SETS[where], "retrieval_options": given.get(retrieval, {})}
            cell = kept(path, with_what)
            if cell is None:
                if where not in opened:
                    opened[where] = streams(where, data, plan)
                cell = {**with_what, **measured(opened[where], design, retrieval, plan, given.get(retrieval, {}))}
                write_json_atomic(path, cell)
            found[where, design, retrieval] = cell
            advance()
    return found


def retrievals() -> list[str]:
    """Return the retrievals that a config may name."""
    registry = BY_KEY.get("memory.retrieval")
    return ["bm25"] if registry is None else list(registry.shipped)


def kept(path: Path, with_what: Mapping[str, Any]) -> Row | None:
    """Return a cell that was measured with the same plan and options."""
    if not path.is_file():
        return None
    cell: Row = json.loads(path.read_text(encoding="utf-8"))
    return cell if {name: cell.get(name) for name in with_what} == with_what else None


def streams(name: str, data: Path | None, plan: Plan) -> list[Stream]:
    """Return the streams of a set, each with the questions that are asked of it; those without any are left out."""
    options = dict(SETS[name])
    if name == "dialogues":
        options["count"] = plan.streams
    else:
        assert data is not None
        options["path"] = find_jobs(data, only=name)[0].path
    asked = (with_spans(stream) for stream in open_source(name, options))
    some = [stream for stream in asked if stream is not None]
    return random.Random("designs").sample(some, min(plan.streams, len(some)))


def with_spans(stream: Stream) -> Stream | None:
    """Return a stream with the questions alone that a span of their evidence, or its date, answers."""
    spans = tuple(question for question in stream.questions if any(_spans(stream, question)))
    return stream.model_copy(update={"questions": spans}) if spans else None


def _spans(stream: Stream, question: Question) -> Iterator[str]:
    if question.metric in ("abstention", "locomo_abstention", "choice"):
        return
    for place in question.evidence or ():
        chunk = stream.chunks[place]
        said = f"{chunk.time}\n{chunk.text}"
        yield from (gold for gold in golds(question) if stands_in(gold, said))


def golds(question: Question) -> list[str]:
    """Return the answers that may be looked for."""
    return [gold for gold in question.answers if len(fold(gold)) >= _SHORTEST and fold(gold) not in ("yes", "none")]


def retrieval_options(words: Sequence[str], wrong: Callable[[str], Any]) -> dict[str, dict[str, Any]]:
    """Return the options of each retrieval.

    Args:
        words: `NAME:KEY=VALUE` each, the value in YAML.
        wrong: told what is wrong with one.
    """
    found: dict[str, dict[str, Any]] = {}
    for word in words:
        name, colon, setting = word.partition(":")
        option, sign, value = setting.partition("=")
        if not (name and colon and option and sign):
            wrong(f"options of retrievals are written NAME:KEY=VALUE, not {word!r}")
        found.setdefault(name, {})[option] = yaml.safe_load(value)
    return found


def measured(
    some: Sequence[Stream], design: str, retrieval: str, plan: Plan, options: Mapping[str, Any] | None = None
) -> Row:
    """Return the scores of a cell by stream: of what is in sight, and of the best item alone."""
    begun = time.process_time()
    sight, best, held, budgets = [], [], [], []
    for stream in some:
        budget = round(plan.share * sum(count_words(chunk.text) for chunk in stream.chunks))
        memory = memory_of(design, retrieval, budget, options)
        write(memory, stream)
        views = [(question, memory.retrieve(question.text, plan.shown)) for question in stream.questions]
        sight.append([_right(question, view.text()) for question, view in views])
        best.append([_right(question, view.best.line() if view.best else "") for question, view in views])
        held.append(memory.token_count())
        budgets.append(budget)
    return {
        "sight": sight,
        "best": best,
        "memory_tokens": held,
        "budgets": budgets,
        "cpu_seconds": round(time.process_time() - begun, 1),
    }


def memory_of(design: str, retrieval: str, budget: int, options: Mapping[str, Any] | None = None) -> MemoryDesign:
    """Return an empty memory as a config makes it."""
    config = MemoryConfig(design=design, budget=budget, core_budget=budget)
    if "memory.retrieval" in BY_KEY:
        config = replace(config, **{"retrieval": retrieval, "retrieval_options": dict(options or {})})
    return new_memory(config, cast(Prompter, _Counter()))


def _right(question: Question, text: str) -> float:
    return float(any(stands_in(gold, text) for gold in golds(question)))


def write(memory: MemoryDesign, stream: Stream) -> None:
    """Write a stream into a memory: of each chunk what says most that is new, up to the chunk's share of the budget."""
    seen: set[str] = set()
    total = sum(count_words(chunk.text) for chunk in stream.chunks)
    read = 0
    for chunk in stream.chunks:
        read += count_words(chunk.text)
        left = memory.budget * read / total - memory.token_count()
        found = units(chunk.text)
        chosen = set()
        worth = [news(unit, seen) for unit in found]
        for place in sorted(range(len(found)), key=lambda place: -worth[place]):
            tokens = count_words(found[place])
            if tokens <= left:
                chosen.add(place)
                left -= tokens
        kept_units = [found[place] for place in sorted(chosen)]
        if getattr(memory, "rewrites", False) and kept_units:  # one call says the whole memory
            kept_units = ["\n".join(kept_units)]
        wishes = [Keeping(unit, event=chunk.time is not None) for unit in kept_units]
        for call in calls_that_keep(memory, wishes, chunk.time):
            memory.execute(call, time=chunk.time)
        seen.update(words(chunk.text))


def units(text: str) -> list[str]:
    """Return what is kept whole: turns of a dialogue, elsewhere sentences."""
    found = []
    for line in text.splitlines():
        found += [line] if _TURN.match(line) else sentences(line)
    return found


def news(unit: str, seen: set[str]) -> float:
    """Return how much a unit says that is new: longer words and numbers that have not been seen, a token."""
    new = {word for word in words(unit) if word not in seen and (len(word) > 3 or word[0].isdigit())}
    return len(new) / (count_words(unit) + 3)


def row(name: tuple[str, ...], cell: Row, base: Row) -> Row:
    """Return the row of a cell."""
    where, design, retrieval = name
    interval = stream_interval(cell["sight"], bounds=SCORES)
    top = stream_interval(cell["best"], bounds=SCORES)
    p = None if (design, retrieval) == BASE else round(paired_difference(cell["sight"], base["sight"]).p, 5)
    return {
        "design": design,
        "retrieval": retrieval,
        "stage": "scripted",
        "set": where,
        "score": _figures(interval),
        "best_item": _figures(top),
        "memory_tokens": round(sum(cell["memory_tokens"]) / len(cell["memory_tokens"])),
        "p": p,
        "budget": round(sum(cell["budgets"]) / len(cell["budgets"])),
        "shown": cell["shown"],
        "streams": len(cell["sight"]),
        "questions": sum(map(len, cell["sight"])),
        "cpu_seconds": cell["cpu_seconds"],
    }


def _figures(interval: Any) -> dict[str, float | None]:
    return {
        name: None if value is None else round(value, 4)
        for name, value in (("value", interval.value), ("low", interval.low), ("high", interval.high))
    }


if __name__ == "__main__":
    main()
