"""The command `memrl demo`."""

from __future__ import annotations

import argparse
import os
import sys
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from memrl.cli.console import SafeConsole, next_commands, waiting
from memrl.cli.served import add_served_options, named_server
from memrl.config.registries import ENGINES
from memrl.config.shipped import TINY
from memrl.errors import ConfigError

if TYPE_CHECKING:
    from memrl.agent.agent import MemoryAgent

HOST = "127.0.0.1"
PORT = 8767
USER = "me"


def add_demo_command(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add `demo` to the parser of `memrl`."""
    demo = commands.add_parser(
        "demo",
        parents=[common],
        help="chat with an agent and watch its memory, in a browser",
        description=(
            "Open a page with a chat, and beside it the memory that it makes: what is kept of each text, what an "
            "answer was read from, every item with its history, to correct and to undo. For this machine alone."
        ),
        epilog="example: memrl demo; memrl demo exported/tiny --store memory.sqlite",
        allow_abbrev=False,
    )
    demo.add_argument(
        "policy",
        nargs="?",
        type=Path,
        default=Path(TINY),
        metavar="POLICY",
        help="a folder that memrl export wrote (default: tiny, the embedded model as it ships)",
    )
    demo.add_argument("--store", type=Path, metavar="FILE", help="keep the memory there (default: gone at the end)")
    demo.add_argument("--budget", type=int, metavar="N", help="tokens that the memory may hold (default: as trained)")
    demo.add_argument("--port", type=int, default=PORT, metavar="N", help=f"default: {PORT}; 0: a free one")
    demo.add_argument("--no-browser", action="store_true", help="print the address, and open nothing")
    demo.add_argument("--base-model", metavar="PATH", help="an adapter's base model, if it is no longer where it was")
    demo.add_argument(
        "--retrieval-model", metavar="PATH", help="the model of the memory's retrieval, if that is elsewhere"
    )
    demo.add_argument("--engine", default="transformers", help=f"{', '.join(ENGINES.shipped)}, or a plug-in's")
    add_served_options(demo)
    demo.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto", help="default: auto")
    demo.set_defaults(command=_demo, own_signals=True)  # the server ends its requests first


def _demo(arguments: argparse.Namespace) -> None:
    from memrl.storage.rundir import CONFIG_FILE

    policy: Path = arguments.policy
    if (policy / CONFIG_FILE).is_file():
        raise ConfigError(f"{policy} is a run. Take its policy out first: memrl export {policy} --out exported")
    if arguments.budget is not None and arguments.budget < 1:
        raise ConfigError(f"--budget is {arguments.budget}; it must be at least 1")
    if complaint := ENGINES.complaint(arguments.engine):
        raise ConfigError(f"--engine: {complaint}")
    server = named_server(arguments)
    try:
        from memrl.serve.demo import Demo
        from memrl.serve.limits import Limits
        from memrl.serve.run import serve_http
    except ModuleNotFoundError as error:
        raise ConfigError(f"{error.name} is not installed. Run: pip install 'memrl[serve]'") from error

    console = SafeConsole(highlight=False)

    def say(message: str) -> None:
        console.print(message, markup=False, soft_wrap=True)

    def ready(address: str) -> None:
        say(f"{address}/ (Ctrl-C ends it)")
        if not arguments.no_browser and _has_browser():
            webbrowser.open(f"{address}/")

    with _place(arguments.store) as store:

        def open_agent() -> MemoryAgent:
            from memrl.agent.agent import MemoryAgent

            with waiting("loads the policy"):
                return MemoryAgent.open(
                    policy,
                    store=store,
                    user=USER,
                    budget=arguments.budget,
                    base_model=arguments.base_model,
                    engine=arguments.engine,
                    served=server,
                    device=arguments.device,
                    retrieval_options={"model": arguments.retrieval_model} if arguments.retrieval_model else None,
                )

        demo = Demo(str(policy), None if arguments.store is None else str(arguments.store))
        with suppress(KeyboardInterrupt):  # the way to end it
            serve_http(open_agent, Limits(), host=HOST, port=arguments.port, demo=demo, ready=ready)
    kept = f"the memory is in {arguments.store}" if arguments.store else "the memory is gone (--store FILE keeps one)"
    say(f"ended; {kept}")
    if str(policy) == TINY:
        next_commands(("train it, and see the difference", ["memrl", "train", TINY]))
    else:
        next_commands(("for other programs", ["memrl", "serve", policy, "--store", arguments.store or "memory.sqlite"]))


@contextmanager
def _place(store: Path | None) -> Iterator[Path]:
    """The memory's file; where none is named, one that is removed at the end."""
    if store is not None:
        yield store
        return
    with TemporaryDirectory(prefix="memrl-demo-") as folder:
        yield Path(folder) / "memory.sqlite"


def _has_browser() -> bool:
    """Return whether a page can be opened in a window: a browser of the terminal would take it from the server."""
    if sys.platform.startswith("linux") and not {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys():
        return False
    try:
        webbrowser.get()
    except webbrowser.Error:
        return False
    return True
