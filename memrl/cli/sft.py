"""`memrl sft`: a warm start, new or one that goes on."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.table import Table

from memrl.cli.console import SafeConsole, add_json_option, is_quiet, next_commands, print_json
from memrl.cli.train import add_resume_option, load
from memrl.config import Config, config_name
from memrl.errors import ConfigError


def add_sft_command(
    commands: argparse._SubParsersAction, configured: argparse.ArgumentParser, common: argparse.ArgumentParser
) -> None:
    """Add `sft` to the parser of `memrl`."""
    sft = commands.add_parser(
        "sft",
        parents=[configured, common],
        help="warm-start a model on demonstrations",
        description="Supervised warm start: teach a model the memory tools and the reader's format.",
        epilog=(
            "example: memrl sft squad-smollm2-cpu data.path=dev-v2.0.json sft.teacher=words sft.steps=50; memrl sft "
            "tiny --from runs/tiny --best 0.25 sft.dir=runs/again. With `--resume auto` one command serves the first "
            "start and every later one."
        ),
        allow_abbrev=False,
    )
    sft.add_argument("--dry-run", action="store_true", help="show what the teacher shows and what it costs, and stop")
    add_resume_option(sft, "go on with the warm start that was stopped; with auto: begin one where there is none")
    sft.add_argument("--from", dest="episodes", metavar="RUN", help="show the best saved episodes of a run")
    sft.add_argument("--best", metavar="SHARE", help="of each group's episodes, with --from (default: sft.best, 0.25)")
    add_json_option(sft)
    sft.set_defaults(command=sft_command)


def sft_command(arguments: argparse.Namespace) -> None:
    """Warm-start as the command line says."""
    if arguments.best is not None and arguments.episodes is None:
        raise ConfigError("--best is a share of a run's saved episodes: name the run by --from RUN")
    if arguments.json and not arguments.dry_run:
        raise ConfigError("--json prints what --dry-run finds: give both")
    if arguments.episodes is not None:
        arguments.overrides = [*arguments.overrides, "sft.teacher=episodes", f"sft.episodes={arguments.episodes}"]
        arguments.overrides += [] if arguments.best is None else [f"sft.best={arguments.best}"]
    config = load(arguments, here=not arguments.dry_run)
    from memrl.sft.names import out_folder

    arguments.sft_out = out_folder(config)
    if arguments.dry_run:
        _dry_run(config, as_json=arguments.json)
        return
    from memrl.sft import run_sft

    out = run_sft(config, SafeConsole(quiet=is_quiet()), resume=arguments.resume)
    if not config.sft.lora:
        next_commands(("train", ["memrl", "train", config_name(arguments.config), f"model.path={out}"]))


def can_resume_sft(arguments: argparse.Namespace) -> bool:
    """Return whether the command is a warm start, and what it needs to go on is there."""
    from memrl.sft.names import TOLD, training_folder

    out: Path | None = getattr(arguments, "sft_out", None)
    return arguments.command is sft_command and out is not None and (training_folder(out) / TOLD).is_file()


def _dry_run(config: Config, *, as_json: bool) -> None:
    from memrl.engines.models import load_tokenizer
    from memrl.sft.plan import plan
    from memrl.sft.teach import open_teacher_prompter

    prompter = open_teacher_prompter(config, load_tokenizer(config.model))
    found = plan(config, prompter)
    if as_json:
        print_json({**found, "prompts": prompter.told()})
        return
    console = SafeConsole()
    prompts = Table("", "", title="prompts, by the model's chat template", show_header=False)
    for key, value in prompter.told().items():
        prompts.add_row(key, value)
    console.print(prompts)
    figures = Table("", "", title=f"the teacher {config.sft.teacher}", show_header=False)
    for key, value in found.items():
        if key not in ("shown", "endpoint"):
            figures.add_row(key.replace("_", " "), f"{value:,}")
    console.print(figures)
    if "endpoint" in found:
        console.print(found["endpoint"], markup=False)
    console.print(f"\nthe first demonstration:\n{found['shown']}", markup=False, highlight=False)
