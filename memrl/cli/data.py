"""The commands `memrl data ...`: list, build, ask, inspect, check, stats."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memrl.cli.asking import add_ask_options, ask
from memrl.cli.console import (
    SafeConsole,
    add_json_option,
    next_commands,
    print_json,
    waiting,
    wide_console,
)
from memrl.cli.importing import add_import_options, import_jobs, show_import
from memrl.config import load_config
from memrl.config.load import read_value
from memrl.envs.errors import DataError, MemrlError
from memrl.envs.sources import SOURCES, open_source, source_named
from memrl.errors import ConfigError

if TYPE_CHECKING:
    from memrl.data.card import Card
    from memrl.envs.stream import Stream

EXAMPLES = {
    "list": "memrl data list data",
    "build": "memrl data build --from raw --out data",
    "inspect": "memrl data inspect data/squad --stream 3 --chunks 2",
    "check": "memrl data check data/squad/train.jsonl --against data/squad/eval.jsonl",
    "ask": "memrl data ask data/mylogs --endpoint http://127.0.0.1:8000/v1 --model NAME",
    "stats": "memrl data stats data/squad data/locomo",
}


def add_data_commands(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add `data` and what is below it to the parser of `memrl`."""
    data = commands.add_parser("data", help="sources and sets of streams", description="Sources and sets of streams.")
    below = data.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(
        name: str, run: Callable[[argparse.Namespace], None], help: str, more: str = ""
    ) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = below.add_parser(
            name,
            parents=[common],
            help=help,
            description=f"{help[0].upper()}{help[1:]}.{more}",
            epilog=f"example: {EXAMPLES[name]}",
            allow_abbrev=False,
        )
        parser.set_defaults(command=run, configured=False)
        return parser

    listing = command("list", _list, "the sources there are, and the cards of built sets")
    listing.add_argument("folder", nargs="?", type=Path, metavar="DIR", help="a folder of built sets")
    listing.add_argument("--markdown", action="store_true", help="only the table of built sets, as Markdown")
    add_json_option(listing)

    build = command("build", _build, "build sets of streams from raw files", " Finds the sources by the files.")
    build.add_argument("words", nargs="*", metavar="SOURCE | key=value", help="build this source alone, with options")
    build.add_argument(
        "--from", dest="origin", metavar="PATH", help="a file, a folder of raw files or exports, or hub:OWNER/NAME"
    )
    build.add_argument(
        "--out", type=Path, default=Path("data"), metavar="DIR", help="each set becomes a folder in it (default: data)"
    )
    build.add_argument("--force", action="store_true", help="replace sets that were built otherwise")
    add_import_options(build)
    add_json_option(build)

    inspect = command("inspect", _inspect, "a stream as a person reads it")
    inspect.add_argument(
        "words", nargs="+", metavar="PATH | SOURCE key=value", help="a set, a file of streams, a source"
    )
    inspect.add_argument("--stream", default="0", metavar="N | ID", help="which (default: 0, the first)")
    add_json_option(inspect)
    inspect.add_argument("--chunks", type=int, metavar="N", help="only its first N chunks")

    check = command(
        "check",
        _check,
        "what sets hold, what is wrong with them, and whether training holds what evaluation is about",
        " Exit code 1 where something leaks or is wrong.",
    )
    check.add_argument("words", nargs="*", metavar="PATH | CONFIG key=value", help="training sets, or a run's config")
    check.add_argument("--against", nargs="+", type=Path, default=[], metavar="PATH", help="evaluation sets")
    check.add_argument("--similarity", type=float, metavar="SHARE", help="chunks at least so alike are near-duplicates")
    check.add_argument("--passages", type=float, metavar="SHARE", help="more of an evaluation than this is a leak")
    check.add_argument("--closed-book", action="store_true", help="also ask the config's endpoint without any memory")
    add_json_option(check)

    asking = command(
        "ask",
        ask,
        "write questions on the text of a built set, without a model or by an endpoint",
        " The set stays as it is; one with the new questions is written beside it.",
    )
    add_ask_options(asking)
    add_json_option(asking)

    stats = command("stats", _stats, "how many and how long: streams, chunks, tokens, questions")
    stats.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="built sets, or files of streams")
    add_json_option(stats)


def _list(arguments: argparse.Namespace) -> None:
    from memrl.data.card import cards_in
    from memrl.data.show import cards_markdown, cards_table, sources_table

    cards = [] if arguments.folder is None else cards_in(arguments.folder)
    if arguments.folder is not None and not cards:
        raise DataError(f"{arguments.folder} holds no built set. Build one: {EXAMPLES['build']}")
    if arguments.json:
        plain = {
            "sources": [
                {
                    "name": s.name,
                    "kind": s.kind,
                    "about": s.about,
                    "reads": s.reads,
                    "home": s.home,
                    "licence": s.licence,
                    "tried": s.tried,
                }
                for s in SOURCES.values()
            ],
            "sets": [card.model_dump(mode="json") for card in cards],
        }
        print_json(plain)
    elif arguments.markdown:
        sys.stdout.write(cards_markdown(cards))
    else:
        wide_console().print(cards_table(cards) if cards else sources_table(SOURCES.values()))
    if cards and arguments.folder is not None:
        next_commands(("look", ["memrl", "data", "inspect", arguments.folder / cards[0].name]))
    else:
        next_commands(("build", EXAMPLES["build"].split()))


def _build(arguments: argparse.Namespace) -> None:
    from memrl.data.build import Job, build_sets, find_jobs, unknown_files
    from memrl.data.show import cards_table
    from memrl.envs.building.left_out import explain_left_out

    names, options = _source_words(arguments.words)
    if len(names) > 1:
        raise DataError(
            f"one SOURCE at most, not {len(names)}: {', '.join(names)}. Leave it out to build all that is there."
        )
    only = names[0] if names else None
    imports = import_jobs(arguments, only, options) if arguments.origin is not None else None
    if options and only is None and imports is None:
        raise DataError(
            f"options ({', '.join(options)}) belong to a source; name it: memrl data build SOURCE key=value"
        )
    if imports is not None:
        jobs = imports
        if jobs[0].source == "logs":
            if not arguments.json or arguments.look:
                show_import(jobs[0], plain=arguments.json)
            if arguments.look:
                next_commands(
                    ("take it", ["memrl", "data", "build", "--from", arguments.origin, "--out", arguments.out])
                )
                return
    elif arguments.origin is not None:
        jobs = find_jobs(Path(arguments.origin), only, options)
    elif only is not None:
        source_named(only).open(options)  # an option that is missing or wrong is told before anything starts
        jobs = [Job(only, name=only, options=options)]
    else:
        raise DataError(f"nothing to build from: give --from PATH, or a SOURCE. Example: {EXAMPLES['build']}")
    cards: list[Card] = []
    wrong: list[str] = []
    with waiting("sets", len(jobs)) as advance:

        def done(job: Job, outcome: Card | DataError) -> None:
            if isinstance(outcome, DataError):
                wrong.append(f"{job.name}: {outcome}")
            else:
                cards.append(outcome)
            advance()

        build_sets(jobs, arguments.out, force=arguments.force, done=done)
    cards.sort(key=lambda card: card.name)
    if arguments.json:
        print_json([card.model_dump(mode="json") for card in cards])
    elif cards:
        wide_console().print(cards_table(cards))
    for card in cards if not arguments.json else ():
        if said := explain_left_out(card.left_out, card.questions):
            wide_console().print(f"- {card.name}: {said}", markup=False)
    if only is None and imports is None and arguments.origin is not None:
        origin = Path(arguments.origin)
        if unknown := unknown_files(origin, jobs):
            listed = ", ".join(str(path.relative_to(origin)) for path in unknown)
            SafeConsole(stderr=True, soft_wrap=True).print(f"files that no source knows: {listed}", markup=False)
            SafeConsole(stderr=True, soft_wrap=True).print(
                f"if these are exports of your own: memrl data build logs --from {origin} --look", markup=False
            )
    if wrong:
        raise DataError("\n".join(wrong))
    built = arguments.out / cards[0].name
    next_commands(
        ("look", ["memrl", "data", "inspect", built]),
        (
            "ask questions" if not cards[0].questions else "check",
            ["memrl", "data", "ask" if not cards[0].questions else "check", built],
        ),
    )


def _source_words(words: list[str]) -> tuple[list[str], dict[str, Any]]:
    """Words that are names, and `key=value` options."""
    names = [word for word in words if "=" not in word]
    pairs = [word.partition("=") for word in words if "=" in word]
    return names, {key: read_value(value) for key, _, value in pairs}


def streams_at(path: Path) -> Iterator[Stream]:
    """The streams of a file, or of all files of a built set.

    Raises:
        DataError: there is no such thing.
    """
    from memrl.data.card import CARD_FILE, cards_in
    from memrl.envs.sources.jsonl import READERS

    files = [path]
    if path.is_dir():
        cards = cards_in(path) if (path / CARD_FILE).is_file() else []
        if not cards:
            raise DataError(
                f"{path} is no built set: it has no {CARD_FILE}. Give a set's folder, or a file of streams."
            )
        files = [path / output.file for output in cards[0].splits.values()]
    for file in files:
        if file.suffix not in READERS:
            raise DataError(
                f"{file} ends in {file.suffix!r}. Use one of {', '.join(READERS)}, or a built set's folder."
            )
        yield from READERS[file.suffix](file)


def _inspect(arguments: argparse.Namespace) -> None:
    from memrl.data.show import stream_page

    names, options = _source_words(arguments.words)
    if len(names) != 1:
        raise DataError(f"one PATH or SOURCE, not {len(names)}. Example: {EXAMPLES['inspect']}")
    known = SOURCES.knows(names[0]) and not Path(names[0]).exists()
    streams = open_source(names[0], options) if known else streams_at(Path(names[0]))
    wanted = arguments.stream
    if wanted.isdigit():
        chosen = next(islice(streams, int(wanted), None), None)
    else:
        chosen = next((stream for stream in streams if stream.id == wanted), None)
    if chosen is None:
        raise DataError(f"{names[0]} has no stream {wanted}. `memrl data stats` says how many there are.")
    if arguments.json:
        print_json(chosen.model_dump(mode="json"))
    else:
        SafeConsole().print(stream_page(chosen, arguments.chunks))
    next_commands(("check", ["memrl", "data", "check" if not known else "list", *(names if not known else [])]))


def _check(arguments: argparse.Namespace) -> None:
    from pydantic import ValidationError

    from memrl.data.check import check, parts_at, parts_of_run
    from memrl.data.leaks import Thresholds
    from memrl.envs.sources.jsonl import READERS
    from memrl.envs.stream import explain
    from memrl.frozen.closed_book import closed_book_table

    given = {"similarity": arguments.similarity, "passages": arguments.passages}
    try:
        limits = Thresholds(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        raise DataError(f"--{explain(error)}") from error
    paths = [Path(word) for word in arguments.words if "=" not in word]
    config = None
    if len(paths) == 1 and not arguments.against and not paths[0].is_dir() and paths[0].suffix not in READERS:
        config = load_config(arguments.words[0], [word for word in arguments.words if "=" in word])
        train, evaluation = parts_of_run(config.data, config.eval, config.seed)
    elif not paths or len(paths) < len(arguments.words):
        raise DataError(f"give sets to check, or one config with its settings. Example: {EXAMPLES['check']}")
    elif arguments.against:
        train = [part for path in paths for part in parts_at(path, "train")]
        evaluation = [part for path in arguments.against for part in parts_at(path, "evaluation")]
    else:
        train = [part for path in paths for part in parts_at(path, "train", needed=False)]
        evaluation = [part for path in paths for part in parts_at(path, "evaluation", needed=False)]
    with waiting("looks for faults and leaks"):
        report = check(train, evaluation, limits)
    guesses = None
    if arguments.closed_book:
        if config is None or config.reader.type != "endpoint":
            raise ConfigError(
                "--closed-book asks a config's endpoint: memrl data check CONFIG reader.type=endpoint ..."
            )
        from memrl.data.guard import held_out_streams
        from memrl.frozen.closed_book import closed_book

        guesses = closed_book(held_out_streams(config.data, config.eval), config.reader, config.run.dir)
    if arguments.json:
        plain = report.plain() | ({} if guesses is None else {"closed_book": guesses.model_dump(mode="json")})
        print_json(plain)
    else:
        report.show(wide_console())
        if guesses is not None:
            wide_console().print(closed_book_table(guesses))
    if not report.ok:
        raise MemrlError(f"{len(report.overlap.leaks)} leaks and {len(report.faults)} faults were found.")
    if config is not None:
        next_commands(("train", ["memrl", "train", *arguments.words]))


def _stats(arguments: argparse.Namespace) -> None:
    from memrl.data.quality import measure
    from memrl.data.show import stats_table

    measured = {}
    with waiting("counts", len(arguments.paths)) as advance:
        for path in arguments.paths:
            measured[str(path)] = measure(streams_at(path))
            advance()
    if arguments.json:
        plain = {path: quality.model_dump(mode="json") for path, quality in measured.items()}
        print_json(plain)
    else:
        wide_console().print(stats_table(measured))
    next_commands(("look", ["memrl", "data", "inspect", arguments.paths[0]]))
