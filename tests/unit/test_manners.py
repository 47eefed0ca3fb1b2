"""The manners that all commands share: help, JSON, widths, colours, completion, and the word of what comes next."""

from __future__ import annotations

import argparse
import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from memrl.cli import main as cli
from memrl.cli.parser import GROUPS
from tests.raw import exports

ROOT = Path(__file__).parents[2]
NO_TABLE = {
    "report",
    "view",
    "serve",
    "sft",
    "export",
    "agent vacuum",
    "tiny build",
    "tiny reword",
    "completion",
    "start",
    "demo",
}
"""The commands that print no table."""


def commands(parser: argparse.ArgumentParser, name: str = "") -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Yield the commands that can be run, those of `data` and the like by both words."""
    below = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not below:
        yield name, parser
    for action in below:
        for word, one in action.choices.items():
            yield from commands(one, f"{name} {word}".strip())


def ask(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m memrl` as a program that is no terminal's."""
    inherited = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR")}
    whole = {**inherited, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]), **environment}
    return subprocess.run(
        [sys.executable, "-m", "memrl", *words], capture_output=True, text=True, env=whole, check=False
    )


def on_terminal(words: list[str], columns: int, **environment: str) -> str:
    """Run `python -m memrl` on a terminal and return what stands on it."""
    ours, theirs = pty.openpty()
    inherited = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS")}
    whole = {**inherited, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", "COLUMNS": str(columns), **environment}
    with subprocess.Popen(
        [sys.executable, "-m", "memrl", *words], stdin=theirs, stdout=theirs, stderr=theirs, env=whole
    ):
        os.close(theirs)
        seen = b""
        while True:
            try:
                piece = os.read(ours, 65536)
            except OSError:  # the terminal's other side is closed
                break
            if not piece:
                break
            seen += piece
    os.close(ours)
    return seen.decode().replace("\r\n", "\n")


def test_every_command_has_one_place_in_the_help() -> None:
    named = [name for names in GROUPS.values() for name in names]
    assert len(named) == len(set(named))
    there = {name.split()[0] for name, _ in commands(cli._parser())}
    assert there <= set(named)
    shown = cli._parser().format_help()
    assert all(f"\n  {name} " in shown for name in there)
    assert shown.index("\nbegin:") < shown.index("\ntrain:") < shown.index("\ntake it out:")


def test_every_command_that_prints_tables_prints_json_too() -> None:
    without = {name for name, parser in commands(cli._parser()) if "--json" not in parser._option_string_actions}
    assert without <= NO_TABLE


def test_every_command_can_be_quiet_and_verbose() -> None:
    for name, parser in commands(cli._parser()):
        assert {"--quiet", "-q", "--verbose", "-v", "--debug"} <= set(parser._option_string_actions), name


@pytest.mark.parametrize("name", [name for name, _ in commands(cli._parser())])
def test_help_fits_in_80_columns_and_has_an_example(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as end:
        cli.main([*name.split(), "--help"])
    assert end.value.code == 0
    shown = capsys.readouterr().out
    assert not [line for line in shown.splitlines() if len(line) > 80]
    assert "example" in shown


@pytest.mark.parametrize(
    "words",
    [
        ["train", "nowhere.yaml"],
        ["train", "tiny", "train.stps=3", "train.group_size=1", "model.path=models/gone"],
        ["trian"],
        ["train", "--resum"],
        ["data", "build"],
        ["data", "inspect", "a", "b"],
        ["data", "stats", "gone.jsonl"],
        ["data", "check", "gone"],
        ["data", "list", "gone"],
        ["show", "gone"],
        ["report", "gone"],
        ["compare", "a", "b"],
        ["runs", "gone"],
        ["eval", "gone"],
        ["export", "gone", "--out", "there"],
        ["rescore", "gone", "seed=3"],
        ["config", "train.stps"],
        ["judge", "tiny"],
        ["serve", "gone", "--store", "m.sqlite", "--rate", "0"],
        ["completion", "tcsh"],
        ["--quiet", "runs", "--verbose"],
    ],
)
def test_messages_fit_in_80_columns_and_are_one_line_where_there_are_none(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    assert _code(words) == 2
    shown = capsys.readouterr()
    assert not shown.out
    assert not [line for line in shown.err.splitlines() if len(line) > 80 and " " in line.strip()]
    monkeypatch.delenv("COLUMNS")
    assert _code(words) == 2
    there = capsys.readouterr().err
    assert " ".join(there.split()) == " ".join(shown.err.split()), "the same words"
    assert "\x1b" not in there


def _code(words: list[str]) -> int:
    try:
        return cli.main(words)
    except SystemExit as end:
        assert isinstance(end.code, int)
        return end.code


@pytest.mark.parametrize("words", [["config", "train"], ["data", "list"], ["plugins"], ["runs", "."]])
def test_tables_have_the_columns_that_there_are(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    _code(words)
    shown = capsys.readouterr().out
    assert not [line for line in shown.splitlines() if len(line) > 80]
    monkeypatch.delenv("COLUMNS")
    _code(words)
    assert "…" not in capsys.readouterr().out, "nothing is cut where there are no columns"


@pytest.mark.parametrize("words", [["config", "train"], ["data", "list"], ["plugins"]])
def test_json_is_one_value_and_nothing_else(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*words, "--json"]) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out) is not None
    assert not shown.err


def test_sets_are_shown_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = str(exports.chatgpt(tmp_path / "mine.zip", exports.person()))
    out = tmp_path / "sets"
    for words in (
        ["data", "build", "--from", mine, "--out", str(out), "--look"],
        ["data", "build", "--from", mine, "--out", str(out)],
        ["data", "list", str(out)],
        ["data", "inspect", str(out / "mine")],
        ["data", "stats", str(out / "mine")],
        ["data", "ask", str(out / "mine")],
    ):
        code = cli.main([*words, "--json"])
        shown = capsys.readouterr()
        assert code == 0, shown.err
        assert json.loads(shown.out)


@pytest.mark.long
def test_a_dry_run_is_json_and_names_the_command_that_trains(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "tiny", "--dry-run", f"run.dir={tmp_path / 'a'}"]
    assert cli.main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["run"]
    assert cli.main(words) == 0
    assert f"train: memrl train tiny run.dir={tmp_path / 'a'}\n" in capsys.readouterr().err
    assert cli.main(["--quiet", *words]) == 0
    assert "train: memrl" not in capsys.readouterr().err


def test_the_module_is_the_command() -> None:
    done = ask("--version")
    assert done.stdout.startswith("memrl ")


def test_quiet_may_stand_before_and_after_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["config", "train.steps"]) == 0
    assert "set it: memrl train tiny train.steps=" in capsys.readouterr().err
    for words in (["-q", "config", "train.steps"], ["config", "train.steps", "--quiet"]):
        assert cli.main(words) == 0
        assert not capsys.readouterr().err


@pytest.mark.long
def test_no_color_takes_the_colours_away() -> None:
    words = ["train", "nowhere.yaml"]
    assert "\x1b[31m" in on_terminal(words, 80)
    plain = on_terminal(words, 80, NO_COLOR="1")
    assert "\x1b[" not in plain
    assert "no config file" in plain


@pytest.mark.long
def test_a_terminal_of_80_columns_shows_lines_of_80_columns() -> None:
    shown = on_terminal(["train", "tiny", "train.stps=3", "train.group_size=1", "model.path=gone"], 80, NO_COLOR="1")
    assert shown.count("\n") > 2
    assert not [line for line in shown.splitlines() if len(line) > 80]


@pytest.mark.long
@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("memrl tra", "train"),
        ("memrl train --dry", "--dry-run"),
        ("memrl train qwen3-0", "qwen3-0.6b"),
        ("memrl train train.group", "train.group_size="),
        ("memrl data in", "inspect"),
        ("memrl completion z", "zsh"),
    ],
)
def test_a_shell_is_told_the_words(line: str, wanted: str, tmp_path: Path) -> None:
    pytest.importorskip("argcomplete")
    told = tmp_path / "told"
    ask(
        _ARGCOMPLETE="1", _ARGCOMPLETE_STDOUT_FILENAME=str(told),
        _ARGCOMPLETE_IFS="\n", _ARGCOMPLETE_SUPPRESS_SPACE="1",
        COMP_LINE=line, COMP_POINT=str(len(line)), COMP_TYPE="9", _ARC_DEBUG="",
    )  # fmt: skip
    assert wanted in told.read_text().splitlines()


@pytest.mark.long
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "powershell"])
def test_a_shell_is_given_its_script(shell: str) -> None:
    pytest.importorskip("argcomplete")
    done = ask("completion", shell)
    assert done.returncode == 0
    assert "memrl" in done.stdout
    if shell == "bash":
        assert subprocess.run(["bash", "-n"], input=done.stdout, text=True, check=False).returncode == 0
