"""`memrl train`: a new run, or one that goes on."""

from __future__ import annotations

import argparse
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from memrl.cli.absent import IN_A_FOLDER, not_checked
from memrl.cli.console import (
    SafeConsole,
    add_json_option,
    is_quiet,
    next_commands,
    print_json,
    progress_console,
    wide_console,
)
from memrl.config import Config, check_config, config_name, load_config, save_config
from memrl.envs.faults import gathering
from memrl.errors import ConfigError, DataError

if TYPE_CHECKING:
    from memrl.engines.prompting import Prompter

ALWAYS, AUTO = "always", "auto"
"""What `--resume` alone means, and `--resume auto`."""


def add_train_command(
    commands: argparse._SubParsersAction, configured: argparse.ArgumentParser, common: argparse.ArgumentParser
) -> None:
    """Add `train` to the parser of `memrl`."""
    train = commands.add_parser(
        "train",
        parents=[configured, common],
        help="train a policy",
        description="Train a policy with GRPO. Everything goes to run.dir (default: runs/<config name>).",
        epilog=(
            "example: memrl train configs/tiny.yaml seed=1 run.dir=runs/tiny-1. Then `memrl train --resume "
            "run.dir=runs/tiny-1` goes on with it by its own config; with `--resume auto` one command serves the first "
            "start and every later one."
        ),
        allow_abbrev=False,
    )
    train.add_argument("--dry-run", action="store_true", help="check everything, show what it would cost, and stop")
    add_resume_option(train, "go on with the run in run.dir; with auto: begin one where there is none yet")
    add_json_option(train)
    train.set_defaults(command=train_command)


def add_resume_option(parser: argparse.ArgumentParser, help: str) -> None:
    """Add `--resume [auto]`."""
    parser.add_argument("--resume", nargs="?", choices=[ALWAYS, AUTO], const=ALWAYS, metavar="auto", help=help)


def join_resume(words: Sequence[str]) -> list[str]:
    """Return a command's words with `--resume auto` and `--resume` as one word each: what else follows is no value."""
    joined: list[str] = []
    for word in words:
        if joined and joined[-1] == "--resume":
            joined[-1] += f"={AUTO if word == AUTO else ALWAYS}"
            if word == AUTO:
                continue
        joined.append(word)
    return joined  # a last --resume is whole as it is


def resume_command(words: Sequence[str]) -> str:
    """Return the command line that goes on with a run that `words` began or went on with, as it is called here."""
    called = Path(sys.argv[0])
    program = ["memrl"]
    if called.parts[-3:] == ("memrl", "cli", "__main__.py"):
        program = [Path(sys.executable).name, "-m", "memrl.cli"]
    elif called.parts[-2:] == ("memrl", "__main__.py"):
        program = [Path(sys.executable).name, "-m", "memrl"]
    elif called.name == "memrl" and not _found_by_name(called):
        program = [str(called.relative_to(Path.cwd()) if called.is_relative_to(Path.cwd()) else called)]
    resumes = any(word == "--resume" or word.startswith("--resume=") for word in words)
    return shlex.join([*program, *words, *(() if resumes else ("--resume",))])


def _found_by_name(called: Path) -> bool:
    found = shutil.which("memrl")
    return found is not None and called.exists() and Path(found).samefile(called)


def can_resume(arguments: argparse.Namespace) -> bool:
    """Return whether the command is a training, and a checkpoint of it is there."""
    folder: Path | None = getattr(arguments, "run_dir", None)
    return arguments.command is train_command and folder is not None and (folder / "checkpoints").is_dir()


def load(arguments: argparse.Namespace, *, records: bool = True, here: bool = True) -> Config:
    """Return the config that a command names, its data looked at.

    Args:
        records: look at the records too.
        here: this machine is to carry it.

    Raises:
        ConfigError, DataError: config or data are wrong, or the machine has not what they need.
    """
    from memrl.data.feed import check_data
    from memrl.data.reach import out_of_reach
    from memrl.training.machine import check_device

    try:
        config = load_config(arguments.config, arguments.overrides, machine=here)
    except ConfigError as error:
        raise _with_data(error, arguments) from error
    arguments.run_dir = Path(config.run.dir or "")  # load_config fills it in
    if here:
        check_device(config)
    if here or not out_of_reach(config.data):
        check_data(config.data, config.seed, records=records)
    return config


def _with_data(error: ConfigError, arguments: argparse.Namespace) -> ConfigError:
    """Return the error of a config that cannot be used with what is wrong with its data, where it names its data well:
    who mends the model must not wait to hear of them."""
    from memrl.data.feed import check_data

    try:
        config = load_config(arguments.config, arguments.overrides, check=False)
        if any(complaint.startswith("data.") for complaint in check_config(config)):
            return error
        check_data(config.data, config.seed)
    except DataError as more:
        return ConfigError(f"{error}\n{more}")
    except ConfigError:
        pass
    return error


def _own_config(arguments: argparse.Namespace) -> str | None:
    """Let the run that `--resume` means, where no CONFIG is named, go on by its own config (or begin by the one that a
    dry run left); returns its name.

    Raises:
        ConfigError: a run has begun in its folder, and its config is gone.
    """
    from memrl.storage.rundir import CONFIG_FILE, RUN_FILE, run_name

    if arguments.config is not None or not arguments.resume:
        return None
    folder = Path(load_config(None, arguments.overrides, check=False).run.dir or "")
    if not (folder / CONFIG_FILE).is_file():
        if (folder / RUN_FILE).is_file():
            raise ConfigError(
                f"{folder} has a run's {RUN_FILE} and no {CONFIG_FILE} to go on by. Name the config that the run was "
                "begun with."
            )
        return None
    arguments.config = folder / CONFIG_FILE
    arguments.overrides = [*arguments.overrides, f"run.dir={folder}"]  # it may have been moved
    return run_name(folder)


def train_command(arguments: argparse.Namespace) -> None:
    """Train as the command line says."""
    name = _own_config(arguments)
    # Records of the data are told all together, once their lengths are known too.
    config = load(arguments, records=False, here=not arguments.dry_run)
    folder: Path = arguments.run_dir
    if arguments.dry_run:
        _dry_run(config, folder, plain=arguments.json)
        next_commands(
            ("train", ["memrl", "train", *([str(arguments.config)] if arguments.config else []), *arguments.overrides])
        )
        return
    from memrl.training.machine import check_room_for_ray

    check_room_for_ray(config)
    from memrl.data.guard import guard
    from memrl.storage.lock import lock_folder
    from memrl.storage.rundir import RUN_MARKS, check_run, holds_run

    resume = arguments.resume == ALWAYS or (arguments.resume == AUTO and holds_run(folder))
    if resume and not folder.is_dir():
        raise ConfigError(
            f"nothing to resume: {folder} does not exist. Leave out --resume, give its run.dir=..., or let --resume "
            "auto begin it."
        )
    if resume and holds_run(folder) and not any((folder / mark).is_file() for mark in RUN_MARKS):
        raise ConfigError(
            f"nothing to resume: {folder} holds other things, and no run ({' or '.join(RUN_MARKS)}). To begin one "
            f"there, name a subfolder: run.dir={folder / 'run'}"
        )
    check_run(folder)
    with lock_folder(folder):
        if not resume and holds_run(folder):
            raise ConfigError(
                f"{folder} holds another run. Go on with it by --resume, or give a new name: run.dir={folder}-2"
            )
        if not resume:  # it was looked at when the run began
            with gathering():
                guard(config.data, config.eval, config.seed)
        from memrl.training.trainer import Trainer

        name = name or config_name(arguments.config)
        console = progress_console() if arguments.json or is_quiet() else wide_console()
        summary = Trainer(config, name=name, resume=resume, console=console).run()
    if arguments.json:
        print_json(summary)
    elif is_quiet():
        _show_end(summary, folder)
    next_commands(
        ("look", ["memrl", "report", folder]),
        ("measure", ["memrl", "eval", folder]),
        ("take it out", ["memrl", "export", folder, "--out", f"exported/{folder.name}"]),
    )


def _show_end(summary: dict[str, Any], folder: Path) -> None:
    from memrl.report.progress import final_table

    console = wide_console()
    console.print(final_table(summary, folder, console.width))


def _dry_run(config: Config, folder: Path, *, plain: bool) -> None:
    from memrl.config.stages import stages
    from memrl.data.feed import StreamFeed
    from memrl.data.guard import guard
    from memrl.data.reach import out_of_reach
    from memrl.engines.build import open_guide
    from memrl.engines.models import load_tokenizer
    from memrl.engines.prompting import open_prompter
    from memrl.rollout.build import check_records
    from memrl.storage.files import write_json_atomic
    from memrl.storage.rundir import CONFIG_FILE, ESTIMATE_FILE, holds_run
    from memrl.training.cost import PUBLISHED, estimate, measure, model_folder

    here = model_folder(config.model.path) is not None
    absent = out_of_reach(config.data)
    unchecked = not_checked(config, absent)
    prompter = open_prompter(load_tokenizer(config.model), config.rollout.dialect) if here else None
    if here:
        open_guide(config)
    if absent:
        stats = next((PUBLISHED[name] for name in absent if name in PUBLISHED), None)
        if stats is None:
            raise DataError(f"{absent[0]} is not on this disk, and the hub does not answer. {IN_A_FOLDER}")
        based = f"the published figures of {absent[0]}"
    else:
        with gathering():
            guard(config.data, config.eval, config.seed)
        check_records(config, prompter, SafeConsole(stderr=True))
        streams = [
            stream
            for stage in stages(config.data, config.memory)
            for stream in StreamFeed(stage.train, config.data.path, config.seed, cycle=False).take(8)
        ]
        stats, based = measure(streams, config.model.path), f"{len(streams)} streams of the data"
    result = estimate(config, stats)
    result["not_checked"] = unchecked
    if plain:
        print_json(result)
    else:
        _show_estimate(config, result, based, prompter)
    console = progress_console() if plain else SafeConsole()
    if holds_run(folder):
        console.print(f"- {folder} holds a run: nothing was written there", markup=False)
        return
    save_config(config, folder / CONFIG_FILE)
    write_json_atomic(folder / ESTIMATE_FILE, result)
    console.print(f"resolved config and estimate: {folder}", markup=False)


def _show_estimate(config: Config, result: dict[str, Any], based: str, prompter: Prompter | None) -> None:
    console = SafeConsole()
    table = Table("", "a step", "the run", title=f"estimate from {based}")
    for key, value in result["run"].items():
        step = result["per_step"].get(key)
        table.add_row(key.replace("_", " "), "" if step is None else f"{step:,}", f"{value:,}")
    console.print(table)
    if prompter is not None:
        prompts = Table("", "", title="prompts, by the model's chat template", show_header=False)
        for key, value in prompter.told().items():
            prompts.add_row(key, escape(value))
        if config.rollout.max_turns > 1:
            prompts.add_row("results of searches", prompter.replies.told())
        console.print(prompts)
    if result["model"] is not None:
        memory = Table("", "", title=f"model {escape(config.model.path)}", show_header=False)
        for key, value in result["model"].items():
            label = key.removesuffix("_gib").replace("_", " ")
            memory.add_row(label, f"{value:.3g} GiB" if key.endswith("_gib") else f"{value:,}")
        console.print(memory)
    if result["cards"]:
        cards = Table("on a card like", "hours at most", "where completions are short", "does not fit", title="hours")
        for card in result["cards"]:
            lacks = escape("\n".join(card["lacking"]))
            cards.add_row(card["card"], f"{card['hours_at_most']:,}", f"{card['hours_short_completions']:,}", lacks)
        console.print(cards)
    for line in result["not_checked"]:
        console.print(f"- not checked: {line}", markup=False)
    for note in result["notes"]:
        console.print(f"- {note}", markup=False)
