"""The command `memrl serve`."""

from __future__ import annotations

import argparse
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memrl.cli.served import add_served_options, named_server
from memrl.config.keys import read_key
from memrl.config.registries import ENGINES
from memrl.errors import ConfigError

if TYPE_CHECKING:
    from memrl.agent.agent import MemoryAgent

EXAMPLES = """\
examples:
  memrl serve exported/tiny --store memory.sqlite
  memrl serve exported/tiny --store memory.sqlite --mcp --user ann
  memrl serve exported/tiny --store memory.sqlite --chat-model gpt-5 \\
    --chat https://api.openai.com/v1 --chat-key-env OPENAI_API_KEY
  MEMRL_TOKEN=... memrl serve exported/tiny --store memory.sqlite \\
    --host 0.0.0.0 --mcp --http --user ann"""


def add_serve_command(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add `serve` to the parser of `memrl`."""
    serve = commands.add_parser(
        "serve",
        parents=[common],
        help="a trained policy's memory for other programs: REST and MCP",
        description=(
            "Serve the memory of an exported policy: REST for any number of users, or with\n"
            "--mcp MCP for one. docs/serve.md has the routes and tools."
        ),
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    serve.add_argument("policy", type=Path, metavar="POLICY", help="a folder that memrl export wrote")
    serve.add_argument("--store", type=Path, required=True, metavar="FILE", help="the memory; made where there is none")
    serve.add_argument("--mcp", action="store_true", help="MCP over standard input and output, for a client to start")
    serve.add_argument("--http", action="store_true", help="with --mcp: MCP at /mcp, beside REST")
    serve.add_argument("--user", default="default", metavar="NAME", help="whose memory MCP is (default: default)")
    serve.add_argument("--host", default="127.0.0.1", help="default: 127.0.0.1; any other but loopback needs a token")
    serve.add_argument("--port", type=int, default=8765, metavar="N", help="default: 8765; 0: a free one")
    serve.add_argument("--token-env", metavar="NAME", help="the variable that holds the token (default: MEMRL_TOKEN)")
    serve.add_argument("--max-body", type=int, metavar="BYTES", help="the longest request (default: 1048576)")
    serve.add_argument("--rate", type=int, metavar="N", help="requests a minute of one client (default: 600)")
    serve.add_argument(
        "--history-keep",
        type=int,
        metavar="N",
        help="changes of each user that history and undo go back (default: 1000)",
    )
    serve.add_argument(
        "--chat",
        metavar="URL",
        help="an OpenAI-compatible server whose model answers /v1/chat/completions (default: the policy's own reader)",
    )
    serve.add_argument("--chat-model", metavar="NAME", help="what that server calls the model")
    serve.add_argument("--chat-key-env", metavar="VARIABLE", help="environment variable with that server's key")
    serve.add_argument("--base-model", metavar="PATH", help="an adapter's base model, if it is no longer where it was")
    serve.add_argument(
        "--retrieval-model", metavar="PATH", help="the model of the memory's retrieval, if that is elsewhere"
    )
    serve.add_argument("--engine", default="transformers", help=f"{', '.join(ENGINES.shipped)}, or a plug-in's")
    add_served_options(serve)
    serve.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto", help="default: auto")
    serve.set_defaults(command=_serve, own_signals=True)  # the server ends its requests first


def _serve(arguments: argparse.Namespace) -> None:
    if arguments.http and not arguments.mcp:
        raise ConfigError("--http goes with --mcp; REST is served over HTTP without it.")
    if complaint := ENGINES.complaint(arguments.engine):
        raise ConfigError(f"--engine: {complaint}")
    server = named_server(arguments)
    over_http = {"--max-body": arguments.max_body, "--rate": arguments.rate, "--token-env": arguments.token_env}
    if arguments.mcp and not arguments.http and (vain := [name for name, value in over_http.items() if value]):
        raise ConfigError(f"{vain[0]} is for requests over HTTP; --mcp alone uses standard input and output.")
    if bool(arguments.chat) != bool(arguments.chat_model):
        raise ConfigError("--chat and --chat-model go together: where the server is, and what it calls the model")
    if arguments.chat_key_env and not arguments.chat:
        raise ConfigError("--chat-key-env is the key of the server that --chat names")
    if arguments.chat and arguments.mcp and not arguments.http:
        raise ConfigError("--chat answers requests over HTTP; --mcp alone uses standard input and output.")
    if arguments.history_keep is not None and arguments.history_keep < 0:
        raise ConfigError(f"--history-keep is {arguments.history_keep}; it must be at least 0")
    for name, value in (("--max-body", arguments.max_body), ("--rate", arguments.rate)):
        if value is not None and value < 1:
            raise ConfigError(f"{name} is {value}; it must be at least 1")
    try:
        from memrl.serve.chat import Upstream
        from memrl.serve.limits import Limits
        from memrl.serve.run import serve_http, serve_stdio
    except ModuleNotFoundError as error:
        raise ConfigError(f"{error.name} is not installed. Run: pip install 'memrl[serve]'") from error

    given = {"body_bytes": arguments.max_body, "per_minute": arguments.rate}
    limits = Limits(**{name: value for name, value in given.items() if value is not None})

    chat = Upstream(arguments.chat, arguments.chat_model, arguments.chat_key_env) if arguments.chat else None
    if chat is not None and chat.api_key_env:
        read_key(chat.api_key_env)  # before anything slow

    def open_agent() -> MemoryAgent:
        from memrl.agent.agent import MemoryAgent
        from memrl.agent.history import History

        return MemoryAgent.open(
            arguments.policy,
            store=arguments.store,
            user=arguments.user,
            base_model=arguments.base_model,
            engine=arguments.engine,
            served=server,
            device=arguments.device,
            retrieval_options={"model": arguments.retrieval_model} if arguments.retrieval_model else None,
            history=None if arguments.history_keep is None else History(arguments.history_keep),
        )

    with suppress(KeyboardInterrupt):  # the way to end it
        if arguments.mcp and not arguments.http:
            serve_stdio(open_agent, limits)
        else:
            serve_http(
                open_agent,
                limits,
                host=arguments.host,
                port=arguments.port,
                token_env=arguments.token_env,
                mcp=arguments.mcp,
                chat=chat,
            )
