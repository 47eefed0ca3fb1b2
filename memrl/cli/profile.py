"""`memrl profile`: where a run's time and tokens went."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from memrl.cli.console import add_json_option, next_commands, print_json, wide_console
from memrl.errors import ConfigError, EngineError

if TYPE_CHECKING:
    from rich.table import Table

_MEANING = {
    "prompt": "of the policy",
    "prompt_cached": "of those, in the engine's prefix cache",
    "completion": "sampled by the policy",
    "dropped": "of those, nothing was learned from",
    "reader": "of the frozen reader",
    "reroll_prompt": "of re-rolls",
    "reroll_completion": "sampled for re-rolls",
    "trained": "completion tokens that the learner was given",
    "learner_positions": "that went through the learner, prompts, padding and repeated updates included",
}
_COMPUTED = {
    "prompt": "of requests, equal ones once",
    "shared": "of those, read once for several requests",
    "read": "of those, that went through the model",
    "decoded": "positions of decoding and padding",
    "positions": "that went through the model in all",
    "passes": "forward passes",
}


def add_profile_command(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add `memrl profile`."""
    parser = commands.add_parser(
        "profile",
        parents=[common],
        help="where a run's time and tokens went",
        description="Show where a run's time and tokens went, in all or step by step. Nothing is run again, but "
        "for a flame graph; a run in progress can be looked at too.",
        epilog="example: memrl profile runs/tiny",
        allow_abbrev=False,
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="the run's folder")
    parser.add_argument("--steps", action="store_true", help="a row for each step too")
    add_json_option(parser)
    parser.add_argument(
        "--flame",
        type=Path,
        metavar="FILE.svg",
        help="take one more first step with the run's settings, in a folder of its own, and draw where all its "
        "threads and processes spend their time (with py-spy: pip install 'memrl[profile]')",
    )
    parser.set_defaults(command=_profile, configured=False)


def _profile(arguments: argparse.Namespace) -> None:
    from rich.table import Table

    from memrl.training.profile import profile

    if arguments.flame is not None:
        sampler = _sampler(arguments.flame)  # before anything slow
    found = profile(arguments.run)
    if arguments.flame is not None:
        _flame(arguments.run, arguments.flame, sampler)
    if arguments.json:
        print_json(found)
        return
    console = wide_console()
    wall = found["seconds"]["wall"]
    times = Table("phase", "seconds", "share", title=f"{arguments.run}: {found['steps']} steps in {wall:,.1f} s")
    for phase, spent in sorted(found["seconds"].items(), key=lambda one: -one[1]):
        if phase != "wall":
            times.add_row(phase, f"{spent:,.1f}", f"{spent / max(wall, 1e-9):.1%}")
    console.print(times)
    console.print(_counted("tokens", found["tokens"], _MEANING))
    if found["engine"]:
        console.print(_counted("computed by the engine, for the steps", found["engine"], _COMPUTED))
    if arguments.steps:
        console.print(_by_step(found["by_step"]))
    next_commands(("look", ["memrl", "report", arguments.run]))


def _sampler(out: Path) -> str:
    """Return where py-spy is.

    Raises:
        ConfigError: it is not installed, or the flame graph cannot be written.
    """
    found = shutil.which("py-spy", path=str(Path(sys.executable).parent)) or shutil.which("py-spy")
    if found is None:
        raise ConfigError("--flame needs py-spy: pip install 'memrl[profile]'")
    if not out.absolute().parent.is_dir():
        raise ConfigError(f"--flame {out}: there is no folder {out.absolute().parent}")
    return found


def _flame(run: Path, out: Path, sampler: str) -> None:
    """Draw one step of a run's settings."""
    from memrl.storage.rundir import CONFIG_FILE

    with TemporaryDirectory() as folder:
        words = ["train.steps=1", "train.warmup_steps=0", "eval.every=0", "eval.streams=1", f"run.dir={folder}/run"]
        done = subprocess.run(
            [
                sampler, "record", "--subprocesses", "--threads", "--nonblocking", "--output", str(out.absolute()),
                "--", sys.executable, "-m", "memrl.cli", "train", str((run / CONFIG_FILE).absolute()), *words,
            ],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        )  # fmt: skip
    if done.returncode or not out.is_file():
        last = "\n".join(done.stdout.splitlines()[-12:])
        raise EngineError(f"the step for the flame graph ended with {done.returncode}:\n{last}")
    print(f"{out}: the flame graph of one step", file=sys.stderr)


def _counted(title: str, counts: dict[str, int], meaning: dict[str, str]) -> Table:
    from rich.table import Table

    table = Table("what", "count", "", title=title)
    for name, words in meaning.items():
        if counts.get(name):
            table.add_row(name.replace("_", " "), f"{counts[name]:,}", words)
    return table


def _by_step(rows: list[dict[str, Any]]) -> Table:
    from rich.table import Table

    phases = list(dict.fromkeys(phase for row in rows for phase in row["seconds"]))
    table = Table("step", *phases, "prompt", "completion", "reader", title="seconds and tokens by step")
    for row in rows:
        spent = (f"{row['seconds'].get(phase, 0.0):.2f}" for phase in phases)
        tokens = (f"{row['tokens'][name]:,}" for name in ("prompt", "completion", "reader"))
        table.add_row(str(row["step"]), *spent, *tokens)
    return table
