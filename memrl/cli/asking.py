"""The command `memrl data ask`: questions for a built set, without a model or by an endpoint."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memrl.cli.console import SafeConsole, next_commands, print_json, progress_console, wide_console
from memrl.envs.errors import DataError
from memrl.errors import ConfigError, MemrlError

if TYPE_CHECKING:
    from memrl.data.asking import Write
    from memrl.data.card import Card
    from memrl.envs.asking import Asked
    from memrl.envs.stream import Stream

QUESTIONS = 20
OPTIONS = {
    "reader.endpoint.url": "--endpoint",
    "reader.endpoint.model": "--model",
    "reader.endpoint.api_key_env": "--key-env",
    "reader.endpoint.timeout": "its limit",
    "; then --resume": "; then run the command again: what was answered is kept",
    "Then go on with --resume": "Then run the command again: what was answered is kept",
    "a run that has begun goes on with --resume": "what was answered is kept",
    "the reader's endpoint": "the endpoint",
}
"""What messages about an endpoint call settings, and what this command calls them."""


def add_ask_options(ask: argparse.ArgumentParser) -> None:
    """Add the options of `memrl data ask` to its parser."""
    ask.add_argument("set", type=Path, metavar="SET", help="the folder of a built set")
    ask.add_argument("--out", type=Path, metavar="DIR", help="the new set (default: SET-asked beside it)")
    ask.add_argument(
        "--questions", type=int, default=QUESTIONS, metavar="N", help=f"of a stream at most (default: {QUESTIONS})"
    )
    ask.add_argument("--kinds", nargs="+", metavar="KIND", help="without a model: only these kinds (default: all)")
    ask.add_argument("--seed", type=int, default=0, metavar="N", help="draws lots (default: 0)")
    ask.add_argument("--keep", action="store_true", help="let the streams have their own questions too")
    ask.add_argument("--force", action="store_true", help="replace what lies in --out")
    ask.add_argument("--endpoint", metavar="URL", help="an OpenAI-compatible server that writes them, up to /v1")
    ask.add_argument("--model", metavar="NAME", help="as the server calls it")
    ask.add_argument("--key-env", metavar="NAME", help="the environment variable that holds the server's key")
    ask.add_argument("--yes", action="store_true", help="ask the endpoint without asking you first")


def ask(arguments: argparse.Namespace) -> None:
    """Run `memrl data ask`."""
    from memrl.data.asking import ask_set, set_at, without_model
    from memrl.data.show import cards_table

    if arguments.questions < 1:
        raise DataError(f"--questions is {arguments.questions}; it must be at least 1.")
    folder: Path = arguments.set
    card = set_at(folder)
    out: Path = arguments.out or folder.with_name(f"{folder.name}-asked")
    if out.exists() and not arguments.force:
        raise DataError(f"{out} is there already. Use --force to replace it, or another --out.")
    how: dict[str, Any] = {"questions": arguments.questions, "seed": arguments.seed}
    if arguments.endpoint is None:
        if arguments.model or arguments.key_env:
            raise ConfigError("--model and --key-env belong to an endpoint; give --endpoint URL too.")
        write: Write = without_model(arguments.questions, seed=arguments.seed, kinds=arguments.kinds)
        how["kinds"] = arguments.kinds
    else:
        if arguments.kinds:
            raise ConfigError("--kinds are of questions without a model; leave them out, or leave out --endpoint.")
        write = _by_endpoint(arguments, folder, card, out)
        how["model"] = arguments.model
    asked = ask_set(folder, out, write, how, keep=arguments.keep, force=arguments.force)
    kinds: dict[str, int] = {}
    for output in asked.splits.values():
        for kind, count in output.quality.kinds.items():
            kinds[kind] = kinds.get(kind, 0) + count
    if arguments.json:
        print_json(asked.model_dump(mode="json"))
        return
    wide_console().print(cards_table([asked]))
    SafeConsole().print("kinds: " + ", ".join(f"{kind} {count:,}" for kind, count in kinds.items()), markup=False)
    next_commands(("look", ["memrl", "data", "inspect", out]), ("check", ["memrl", "data", "check", out]))


def _by_endpoint(arguments: argparse.Namespace, folder: Path, card: Card, out: Path) -> Write:
    """Return the questions that an endpoint writes, once the user has seen what it takes; all are written before the
    set is begun.

    Raises:
        ConfigError: an option is missing or wrong, the user does not agree, or the endpoint refuses.
    """
    from memrl.config import EndpointConfig
    from memrl.config.check_endpoint import check_endpoint
    from memrl.data.asking import streams_of
    from memrl.frozen.question_writer import plan

    config = EndpointConfig(
        url=arguments.endpoint,
        model=arguments.model,
        api_key_env=arguments.key_env,
        cache_dir=str(out.parent / ".asked-cache"),
    )
    if wrong := list(check_endpoint("reader.endpoint", config, used=True, environment=True)):
        raise ConfigError(_in_words_of_options("; ".join(wrong) + "."))
    planned = plan(streams_of(folder, card), arguments.questions, arguments.seed)
    SafeConsole(stderr=arguments.json).print(f"{config.url}, model {config.model}: {planned.told()}", markup=False)
    if not arguments.yes:
        if not sys.stdin.isatty():
            raise ConfigError("nobody is there to agree to that cost; give --yes.")
        if input("Go on? [y/N] ").strip().casefold() not in ("y", "yes"):
            raise ConfigError("nothing was asked.")
    try:
        found = asyncio.run(_written(arguments, folder, card, config))
    except MemrlError as error:
        raise type(error)(_in_words_of_options(str(error))) from None
    return found


async def _written(
    arguments: argparse.Namespace, folder: Path, card: Card, config: Any
) -> Callable[[Stream], Sequence[Asked]]:
    from rich.progress import track

    from memrl.data.asking import streams_of
    from memrl.endpoints.client import open_endpoint
    from memrl.frozen.question_writer import ANSWER_TOKENS, QuestionWriter

    endpoint = open_endpoint(config, "reader", None)
    try:
        rehearsal = [{"role": "user", "content": "Are you there? Answer in one word."}]
        await endpoint.rehearse(rehearsal, ANSWER_TOKENS)
        writer = QuestionWriter(endpoint, arguments.questions, seed=arguments.seed)
        found: dict[str, Sequence[Asked]] = {}
        for stream in track(streams_of(folder, card), "streams", total=card.streams, console=progress_console()):
            found[stream.id] = await writer.write(stream)
    finally:
        await endpoint.close()
    SafeConsole(stderr=arguments.json).print(writer.tally.told(), markup=False)
    return lambda stream: found[stream.id]


def _in_words_of_options(message: str) -> str:
    for setting, option in OPTIONS.items():
        message = message.replace(setting, option)
    return message
