"""The command `memrl`. Everything heavy is imported inside the commands, so help and bad input answer at once.

Exit codes: 0 done; 1 the run failed; 2 the command, config or data is wrong (`doctor CONFIG`: it would not run here);
130 interrupted (Ctrl-C); 143 ended by SIGTERM.
"""

from __future__ import annotations

import argparse
import errno
import json
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from rich.logging import RichHandler
from rich.markup import escape
from rich.table import Table

import memrl
from memrl.cli.agent import add_agent_command
from memrl.cli.completion import add_completion_command, complete, config_words
from memrl.cli.console import (
    SafeConsole,
    add_json_option,
    complain,
    is_quiet,
    next_commands,
    print_json,
    set_manners,
    waiting,
    wide_console,
)
from memrl.cli.data import add_data_commands
from memrl.cli.demo import add_demo_command
from memrl.cli.designs import add_designs_command
from memrl.cli.eval import add_eval_command
from memrl.cli.look import add_look_commands
from memrl.cli.parser import Parser
from memrl.cli.plugins import add_plugins_command
from memrl.cli.profile import add_profile_command
from memrl.cli.serve import add_serve_command
from memrl.cli.settings import add_config_command
from memrl.cli.sft import add_sft_command, can_resume_sft
from memrl.cli.signals import Terminated, last_word, terminable
from memrl.cli.start import add_start_command
from memrl.cli.train import add_train_command, can_resume, join_resume, load, resume_command, train_command
from memrl.envs.suggest import nearest
from memrl.errors import ConfigError, DataError, MemrlError
from memrl.packages import extra_of

OK, FAILED, USAGE, INTERRUPTED, TERMINATED = 0, 1, 2, 130, 143
FULL = {errno.ENOSPC, errno.EDQUOT}
REFUSED = {errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.ENAMETOOLONG}
"""What a disk says to whom may not write there."""
QUIET_ENVIRONMENT = {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "TOKENIZERS_PARALLELISM": "false",
}
log = logging.getLogger("memrl")
Step = TypeVar("Step")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code. Errors of ours are one message on stderr (`--debug`: with traceback)."""
    words = list(sys.argv[1:] if argv is None else argv)
    arguments = _parse(words)
    _set_up(arguments)
    try:
        with nullcontext() if arguments.own_signals else terminable(), _last_word(arguments, words):
            arguments.command(arguments)
    except Terminated:
        complain(_stopped("Ended by SIGTERM", arguments, words))
        return TERMINATED
    except KeyboardInterrupt:
        complain(_stopped("Interrupted", arguments, words))
        return INTERRUPTED
    except (MemrlError, OSError) as error:
        if isinstance(error, OSError) and not (error.errno in FULL or (error.errno in REFUSED and error.filename)):
            raise  # a bug of ours, or of the machine: the traceback is the message
        if arguments.debug:
            traceback.print_exc()
        complain(_explain(error, arguments, words))
        return USAGE if isinstance(error, ConfigError | DataError) else FAILED
    except ModuleNotFoundError as error:
        if arguments.debug or (remedy := extra_of(error)) is None:
            raise
        complain(f"This command needs more than is installed: {remedy}")
        return USAGE
    return OK


def _parser() -> Parser:
    parser = Parser(
        prog="memrl",
        description="Train an agent to keep a memory, and see whether it did.",
        epilog=(
            "example: memrl train tiny train.steps=20. `memrl COMMAND --help` has the options of a command, and "
            "`memrl config` the settings. NO_COLOR=1 takes the colours away."
        ),
        usage="memrl [OPTION ...] COMMAND ...",
        allow_abbrev=False,
    )
    parser.grouped = True
    parser.set_defaults(own_signals=False)
    parser.add_argument("--version", action="version", version=f"memrl {memrl.__version__}")
    _add_manners(parser, default=False)
    common = Parser(add_help=False)
    _add_manners(common.add_argument_group("manners"), default=argparse.SUPPRESS)
    configured = Parser(add_help=False)
    named = configured.add_argument(
        "words",
        nargs="*",
        metavar="CONFIG | key=value",
        help="a config file, or the name of one in configs/ (default: tiny); and any settings to change",
    )
    named.completer = config_words  # type: ignore[attr-defined]  # argcomplete's name for it
    configured.set_defaults(configured=True)
    commands = parser.add_subparsers(prog="memrl", title="commands", metavar="COMMAND", required=True)

    add_start_command(commands, common)
    add_train_command(commands, configured, common)

    add_sft_command(commands, configured, common)

    doctor = commands.add_parser(
        "doctor",
        parents=[configured, common],
        help="what this machine or cluster has, and what would run on it",
        description="Look at this machine (and a Ray cluster), and say which configs would run and what is missing.",
        epilog="example: memrl doctor qwen3-0.6b model.path=/models/Qwen3-0.6B --address auto",
        allow_abbrev=False,
    )
    doctor.add_argument("--address", metavar="ADDRESS", help="also look at the Ray cluster there (auto, or host:port)")
    add_json_option(doctor)
    doctor.set_defaults(command=_doctor)

    add_eval_command(commands, common)
    add_designs_command(commands, common)
    add_plugins_command(commands, common)
    add_config_command(commands, common)

    judge = commands.add_parser(
        "judge",
        parents=[configured, common],
        help="attack the judge of a config, and show what it lets through",
        description=(
            "Have the judge grade cases whose verdict is known and some sixty attacks. Exit code 1 where it fails one."
        ),
        epilog=(
            "example: memrl judge tiny judge.type=endpoint judge.endpoint.url=http://127.0.0.1:8000/v1 "
            "judge.endpoint.model=NAME rewards.content=judge"
        ),
        allow_abbrev=False,
    )
    add_json_option(judge)
    judge.set_defaults(command=_judge)

    export = commands.add_parser(
        "export",
        parents=[common],
        help="take the trained policy out of a run",
        description=(
            "Write a run's adapter, or the model with it merged in, with a model card, and check that it is the same "
            "policy."
        ),
        epilog="example: memrl export runs/tiny --format merged --out exported/tiny",
        allow_abbrev=False,
    )
    export.add_argument("run", type=Path, metavar="RUN", help="the run's folder; it may still be going on")
    export.add_argument("--out", type=Path, required=True, metavar="DIR", help="where to; must not exist yet")
    export.add_argument("--format", choices=["adapter", "merged", "gguf"], default="adapter", help="default: adapter")
    export.add_argument(
        "--adapter", default="best", metavar="NAME", help="best (default), last, or e.g. v00012 or step_00012"
    )
    export.add_argument("--model", metavar="PATH", help="the base model, if it is no longer where the run found it")
    export.add_argument("--push", metavar="OWNER/NAME", help="then upload it to this repository of the Hub")
    export.set_defaults(command=_export)

    rescore = commands.add_parser(
        "rescore",
        parents=[common],
        help="pay the saved episodes of a run by other rewards",
        description="Compute all rewards and advantages of a run's saved episodes again. Nothing is generated.",
        epilog="example: memrl rescore runs/tiny --rewards memalpha advantage.mode=pooled",
        allow_abbrev=False,
    )
    rescore.add_argument("run", type=Path, metavar="RUN", help="the run's folder")
    rescore.add_argument("words", nargs="*", metavar="key=value", help="rewards. and advantage. settings to change")
    rescore.add_argument("--rewards", metavar="PRESET", help="the same as rewards.preset=PRESET")
    rescore.add_argument("--metric", metavar="NAME", help="score every answer by this metric")
    rescore.add_argument("--out", type=Path, metavar="FILE", help="also write every episode's rewards, as JSON lines")
    add_json_option(rescore)
    rescore.set_defaults(command=_rescore, configured=False)

    add_look_commands(commands, common)
    add_profile_command(commands, common)
    add_serve_command(commands, common)
    add_demo_command(commands, common)
    add_agent_command(commands, common)
    add_data_commands(commands, common)

    add_completion_command(commands, common)

    tiny = commands.add_parser("tiny", help="the embedded model", description="The embedded tiny model.")
    tiny_commands = tiny.add_subparsers(title="commands", metavar="COMMAND", required=True)
    build = tiny_commands.add_parser(
        "build",
        parents=[common],
        help="build and warm-start it again",
        description="Build the tiny model and its tokenizer and warm-start it, from the recorded recipe.",
        epilog="example: memrl tiny build --out /tmp/tiny --quick",
        allow_abbrev=False,
    )
    build.add_argument("--out", type=Path, metavar="DIR", help="where to (default: the one in the package)")
    build.add_argument("--quick", action="store_true", help="a few steps only: shows that the recipe runs")
    build.set_defaults(command=_tiny_build)
    reword = tiny_commands.add_parser(
        "reword",
        parents=[common],
        help="write it in the words of another memory design",
        description=(
            "Write the embedded model with a tokenizer in which the tools and ids of another memory design are one "
            "token each; memrl sft then teaches it to use them."
        ),
        epilog="example: memrl tiny reword ledger --out models/ledger-words",
        allow_abbrev=False,
    )
    reword.add_argument("design", metavar="DESIGN", help="a name that memrl designs lists, or an import path")
    reword.add_argument("--out", type=Path, metavar="DIR", required=True, help="a folder; an older one is replaced")
    reword.set_defaults(command=_tiny_reword)
    return parser


def _add_manners(options: Any, default: Any) -> None:
    """Add what every command takes, before its name or after it."""
    options.add_argument(
        "--quiet", "-q", action="store_true", default=default, help="no progress, and no word of what comes next"
    )
    options.add_argument("--verbose", "-v", action="store_true", default=default, help="show debug messages")
    options.add_argument(
        "--debug", action="store_true", default=default, help="the same, and tracebacks of what went wrong"
    )


def _parse(words: list[str]) -> argparse.Namespace:
    parser = _parser()
    complete(parser)
    # argparse takes a run of positionals once; settings after an option come back as unknown words.
    arguments, rest = parser.parse_known_args(join_resume(words))
    options = [word for word in rest if word.startswith("-")]
    if options or (rest and not hasattr(arguments, "words")):
        known = sorted(_options(parser, words))
        guesses = [f"{word} (did you mean {near}?)" if (near := nearest(word, known)) else word for word in options]
        parser.error(f"unknown: {', '.join(guesses or rest)}")
    if not hasattr(arguments, "words"):
        return arguments
    given = arguments.words + rest
    if not arguments.configured:
        arguments.words = given
        return arguments
    names = [word for word in given if "=" not in word or Path(word).is_file()]
    if len(names) > 1:
        parser.error(f"one CONFIG at most, not {len(names)}: {', '.join(names)} (settings are written key=value)")
    arguments.config = names[0] if names else None
    arguments.overrides = [word for word in given if word not in names]
    return arguments


def _options(parser: argparse.ArgumentParser, words: Sequence[str]) -> set[str]:
    """Return the options of the command that `words` name; of all commands below where they name none."""
    found = set(parser._option_string_actions)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            named = next((place for place, word in enumerate(words) if word in action.choices), None)
            if named is not None:
                return _options(action.choices[words[named]], words[named + 1 :])
            found |= {option for below in action.choices.values() for option in _options(below, ())}
    return found


def _set_up(arguments: argparse.Namespace) -> None:
    if arguments.quiet and (arguments.verbose or arguments.debug):
        raise SystemExit(_usage("--quiet does not go with --verbose or --debug"))
    debug, verbose = arguments.debug, arguments.debug or arguments.verbose
    set_manners(quiet=arguments.quiet, hints=not getattr(arguments, "json", False))
    for name, value in QUIET_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    handler = RichHandler(console=SafeConsole(stderr=True), show_path=debug, rich_tracebacks=debug, show_level=debug)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", datefmt="%H:%M:%S", handlers=[handler], force=True)
    log.setLevel(logging.DEBUG if verbose else logging.WARNING if arguments.quiet else logging.INFO)
    if not verbose:
        # peft and TRL use names that transformers will rename; nothing that a user of ours could act on
        warnings.filterwarnings("ignore", category=FutureWarning, module=r"transformers\.")
        for noisy in ("transformers", "httpx", "huggingface_hub", "ray", "filelock", "datasets"):
            logging.getLogger(noisy).setLevel(logging.ERROR)


def _usage(message: str) -> int:
    complain(f"memrl: {message}")
    return USAGE


def _doctor(arguments: argparse.Namespace) -> None:
    from memrl.cli.doctor import examine, show

    with waiting("looks at this machine"):
        found = examine(arguments.config, arguments.overrides, arguments.address)
    if arguments.json:
        print_json(found.plain())
    else:
        show(found, SafeConsole())
    judged = [verdict for verdict in found.verdicts if not verdict.runs]
    if arguments.config and judged:
        raise ConfigError(f"{judged[0].config} would not run here: {'; '.join(judged[0].missing)}")
    runs = next((verdict.config for verdict in found.verdicts if verdict.runs), None)
    if runs is not None:
        named = [arguments.config, *arguments.overrides] if arguments.config else [runs]
        next_commands(("what it would cost", ["memrl", "train", *named, "--dry-run"]))


def _judge(arguments: argparse.Namespace) -> None:
    config = load(arguments)
    if config.judge.type == "none":
        raise ConfigError("judge.type is none: there is no judge to attack. Set judge.type=endpoint, or policy-base.")
    from memrl.cli.judge_check import attack_judge
    from memrl.errors import JudgeError

    console = wide_console()
    probes = attack_judge(config)
    if arguments.json:
        print_json([{**asdict(probe), "held": probe.held} for probe in probes])
    table = Table("case", "outcome", "", "why", title="the judge, attacked")
    for probe in probes:
        table.add_row(probe.name, probe.outcome, "held" if probe.held else "FAILED", escape(probe.why[:80]))
    if not arguments.json:
        console.print(table)
    failed = [probe.name for probe in probes if not probe.held]
    if failed:
        raise JudgeError(f"the judge failed {len(failed)} of {len(probes)} cases: {', '.join(failed)}.")
    if not arguments.json:
        console.print(f"all {len(probes)} cases held")
    next_commands(("train", ["memrl", "train", arguments.config or "tiny", *arguments.overrides]))


def _export(arguments: argparse.Namespace) -> None:
    from memrl.export import export
    from memrl.export.push import check_name, push

    if arguments.push:
        check_name(arguments.push)
    with waiting("writes and checks"):
        check = export(
            arguments.run,
            arguments.out,
            format=arguments.format,
            adapter=arguments.adapter,
            model=arguments.model,
        )
    console = SafeConsole()
    console.print(f"{arguments.out}: checked: {check}", markup=False)
    if arguments.push:
        console.print(f"uploaded: {push(arguments.out, arguments.push)}", markup=False)
    if arguments.format != "gguf":
        next_commands(
            ("measure", ["memrl", "eval", arguments.out]),
            ("serve it", ["memrl", "serve", arguments.out, "--store", "memory.sqlite"]),
        )


def _rescore(arguments: argparse.Namespace) -> None:
    from memrl.storage.files import write_text_atomic
    from memrl.training.figures import reward_figures
    from memrl.training.rescore import rescore

    if wrong := [word for word in arguments.words if "=" not in word]:
        raise ConfigError(f"{', '.join(wrong)}: settings are written key=value")
    overrides = [*([f"rewards.preset={arguments.rewards}"] if arguments.rewards else []), *arguments.words]
    rows: list[tuple[int, int, dict[str, str], float]] = []
    lines: list[str] = []
    same = True
    for number, before, after, advantages in _seen(rescore(arguments.run, overrides, metric=arguments.metric)):
        was, now = reward_figures(before), reward_figures(after)
        same = same and before == after
        shown = {key: " -> ".join(f"{row[key]:.4f}" if key in row else "-" for row in (was, now)) for key in was | now}
        rows.append((number, len(after), shown, advantages["advantage/groups_used"]))
        for old, new in zip(before, after, strict=True):
            place = {"step": number, "stream": new.stream_id, "episode": new.index}
            lines.append(json.dumps({**place, "was": old.total, "is": new.total, "parts": new.parts}))
    keys = list(dict.fromkeys(key for _, _, shown, _ in rows for key in shown))
    names = [key.removeprefix("reward/").replace("_", " ") for key in keys]
    table = Table("step", "episodes", *names, "groups used", title="was -> is")
    for number, count, shown, used in rows:
        table.add_row(str(number), str(count), *(shown.get(key, "-") for key in keys), f"{used:.0f}")
    if arguments.json:
        steps = [
            {"step": number, "episodes": count, "was_is": shown, "groups_used": used}
            for number, count, shown, used in rows
        ]
        print_json({"steps": steps, "same": same})
    else:
        console = wide_console()
        console.print(table)
        console.print("every reward is the one that was paid" if same else "rewards differ from those that were paid")
    if arguments.out:
        write_text_atomic(arguments.out, "".join(f"{line}\n" for line in lines))
    next_commands(("look", ["memrl", "report", arguments.run]))


def _seen(steps: Iterator[Step]) -> Iterator[Step]:
    """Yield a run's steps, and show how many there have been."""
    with waiting("steps") as advance:
        for step in steps:
            yield step
            advance()


def _tiny_build(arguments: argparse.Namespace) -> None:
    from memrl.tiny import build

    console = SafeConsole(quiet=is_quiet())
    out = build(out=arguments.out, quick=arguments.quick, console=console)
    next_commands(("train", ["memrl", "train", "tiny", f"model.path={out}"]))


def _tiny_reword(arguments: argparse.Namespace) -> None:
    from memrl.tiny import reword

    out = reword(arguments.design, arguments.out)
    words = [f"model.path={out}", f"memory.design={arguments.design}"]
    next_commands(("warm start", ["memrl", "sft", "tiny", *words, "sft.lr=5e-5", "sft.steps=60", "sft.dir=DIR"]))


def _last_word(arguments: argparse.Namespace, words: list[str]) -> AbstractContextManager[None]:
    if arguments.command is not train_command or arguments.dry_run:
        return nullcontext()
    return last_word(
        "The run was ended from outside, without a word: killed (out of memory is the usual reason), or by Ray, whose "
        "head or an agent of it has died (/tmp/ray/session_latest/logs). Its checkpoints are whole; go on with: "
        f"{resume_command(words)}"
    )


def _stopped(how: str, arguments: argparse.Namespace, words: list[str]) -> str:
    if can_resume(arguments):
        return f"{how}. Every finished step is saved; go on with: {resume_command(words)}"
    if can_resume_sft(arguments):
        return f"{how}. Go on from its last checkpoint (sft.save_every) with: {resume_command(words)}"
    if arguments.command is not train_command:
        return f"{how}."
    return f"{how}. No checkpoint was written yet."


def _explain(error: MemrlError | OSError, arguments: argparse.Namespace, words: list[str]) -> str:
    if isinstance(error, MemrlError):
        return str(error)
    full = error.errno in FULL
    message = f"The disk is full: {error}." if full else f"{error.filename} is refused: {error.strerror}."
    remedy = "free some space" if full else "give it back the right to write"
    if can_resume(arguments):
        return f"{message} The last good checkpoint is kept; {remedy} and go on with: {resume_command(words)}"
    if arguments.command is train_command and not full:
        message += " Name a folder that can be written: run.dir=..."
    return message
