"""Runs outlive versions: renamed settings, settings that come and go, formats, and the lock on a run's folder."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from memrl.agent.memory_file import MemoryFile
from memrl.cli.main import main
from memrl.config import Config, load_config, renamed, save_config
from memrl.config.identity import CONTENT, decisive, differences, set_keys
from memrl.config.renamed import RENAMED
from memrl.config.tree import values
from memrl.data.card import read_card
from memrl.envs.tools import ToolCall
from memrl.errors import ConfigError, FormatError
from memrl.policies.agent_file import AGENT_FILE
from memrl.policies.exported import open_exported
from memrl.policies.policy import open_policy
from memrl.storage.files import new_folder
from memrl.storage.formats import FORMATS, NAMES, check_format, stamp
from memrl.storage.lock import LOCK_FILE, lock_folder
from memrl.storage.rundir import CONFIG_FILE, RUN_FILE, check_run, holds_run, write_run_format
from tests.support import ROOT

SOURCES = "data: {train: [{source: synthetic}], eval: [{source: synthetic}]}\n"


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def put(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value))


# Renamed settings ---------------------------------------------------------------------------------------------------


@pytest.fixture
def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was warned of yet in this process."""
    monkeypatch.setattr(renamed, "_warned", set())


def test_every_renamed_setting_has_a_name_of_today_and_none_of_before() -> None:
    keys = {key for key, _ in values(Config())}
    assert all(new in keys and old not in keys for old, new in RENAMED.items())


def test_an_old_name_is_read_everywhere_with_one_warning(
    tmp_path: Path, forgetful: None, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "old.yaml"
    file.write_text(SOURCES + "rollout: {min_group: min_viable}\n")
    with caplog.at_level(logging.WARNING):
        assert load_config(file).rollout.on_failure == "min_viable"
        assert load_config(file, ["rollout.min_group=fail_fast"]).rollout.on_failure == "fail_fast"
        assert load_config("tiny", ["rollout={min_group: fail_fast}"]).rollout.on_failure == "fail_fast"
    assert caplog.messages == [
        f"{file}: rollout.min_group is called rollout.on_failure now; the old name is still read"
    ]


def test_what_is_said_later_wins_by_whatever_name(tmp_path: Path) -> None:
    old, new = tmp_path / "old.yaml", tmp_path / "new.yaml"
    old.write_text(SOURCES + "rollout: {min_group: min_viable}\n")
    new.write_text(SOURCES + "rollout: {on_failure: min_viable}\n")
    assert load_config(old, ["rollout.on_failure=fail_fast"]).rollout.on_failure == "fail_fast"
    assert load_config(new, ["rollout.min_group=fail_fast"]).rollout.on_failure == "fail_fast"


def test_both_names_in_one_place_must_agree(tmp_path: Path) -> None:
    file = tmp_path / "both.yaml"
    file.write_text(SOURCES + "rollout: {min_group: retry, on_failure: fail_fast}\n")
    with pytest.raises(ConfigError, match=r"both\.yaml: rollout\.min_group is 'retry', and rollout\.on_failure, its"):
        load_config(file)
    with pytest.raises(ConfigError, match=r"leave rollout\.min_group out"):
        load_config("tiny", ["rollout.on_failure=retry", "rollout.min_group=fail_fast"])
    file.write_text(SOURCES + "rollout: {min_group: fail_fast, on_failure: fail_fast}\n")
    assert load_config(file).rollout.on_failure == "fail_fast"


# What decides the numbers -------------------------------------------------------------------------------------------


def tiny(*overrides: str) -> Config:
    return load_config("tiny", overrides, check=False)


def nested(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings as checkpoints without a format version hold them: by section, with lists, without content."""
    config = tiny()
    data = {name: value for name, value in vars(config.data).items() if name not in ("curriculum", "difficulty")}
    sections = {"model": vars(config.model) | {"lora": vars(config.model.lora)}, "data": data}
    for name in ("memory", "rollout", "reader", "judge", "rewards", "advantage", "loss", "train", "eval", "sft"):
        sections[name] = dict(vars(getattr(config, name)))
    sections["reader"].pop("endpoint")
    sections["judge"].pop("endpoint")
    sections["sft"].pop("endpoint")
    sections["rollout"]["min_group"] = sections["rollout"].pop("on_failure")
    plain: dict[str, Any] = json.loads(json.dumps({"seed": config.seed, **sections, **settings}))
    return plain


@pytest.mark.long
def test_settings_of_before_there_were_versions_are_understood() -> None:
    assert differences(nested({}), tiny()) == {}
    assert differences(nested({"seed": 3}), tiny()) == {"seed": "seed: 3 then, 0 now"}
    others = tiny("train.lr=0.5", "data.train=[{source: synthetic, people: 3}]", "rollout.on_failure=fail_fast")
    changed = differences(nested({}), others)
    assert changed["train.lr"] == f"train.lr: {tiny().train.lr} then, 0.5 now"
    assert changed["data.train[0].people"] == "data.train[0].people: 16 then, 3 now"
    assert all(key == "train.lr" or key.startswith("data.train[0].") for key in changed)


@pytest.mark.long
def test_a_setting_that_did_not_exist_counts_as_its_default() -> None:
    old = decisive(tiny())
    for key in ("reader.quoted", "advantage.min_spread", "judge.votes", "eval.seed"):
        del old[key]
    assert differences(old, tiny("reader.quoted=true")) == {}
    assert differences(old, tiny("reader.quoted=true", "judge.votes=3")) == {
        "judge.votes": "judge.votes: 1 then, 3 now"
    }
    assert "reader.quoted" in differences(old, tiny()), "configs/tiny.yaml has another value than the default"


@pytest.mark.long
def test_a_setting_that_is_gone_counts_only_where_it_was_set() -> None:
    old = {**decisive(tiny()), "train.momentum": 0.9}
    assert differences(old, tiny(), set_then=set_keys(tiny())) == {}
    for set_then in ([*set_keys(tiny()), "train.momentum"], None):
        changed = differences(old, tiny(), set_then=set_then)
        assert changed == {"train.momentum": "train.momentum: 0.9 then, and this version of memrl has no such setting"}
    assert differences({**old, "ray.speed": 3}, tiny(), set_then=set_keys(tiny())) == {}


@pytest.mark.long
def test_where_things_are_written_and_who_plays_decides_nothing() -> None:
    words = ("run.dir=/x", "ray.hang_grace=1", "rollout.workers=2", "rollout.on_failure=fail_fast", "vllm.sleep=true",
             "train.processes=2", "rewards.on_alarm=stop", "reader.endpoint.url=http://a/v1", "sft.lr=1")  # fmt: skip
    assert decisive(tiny(*words)) == decisive(tiny())
    asked = ("reader.type=endpoint", "reader.endpoint.model=one")
    assert differences(decisive(tiny(*asked)), tiny(*asked, "reader.endpoint.url=http://b/v1")) == {}
    assert differences(decisive(tiny(*asked)), tiny(asked[0], "reader.endpoint.model=two")).keys() == {
        "reader.endpoint.model"
    }


@pytest.mark.long
def test_an_evaluation_does_not_depend_on_how_it_was_trained() -> None:
    longer = tiny("train.steps=999", "train.lr=1", "rewards.weights.qa=3", "loss.type=grpo", "eval.every=0")
    assert differences(decisive(tiny(), training=False), longer, training=False) == {}
    other = tiny("memory.budget=21", "seed=1")
    assert differences(decisive(tiny(), training=False), other, training=False).keys() == {"memory.budget", "seed"}


@pytest.mark.long
def test_models_and_data_are_known_by_their_content(tmp_path: Path) -> None:
    for name, text in (("one", "weights"), ("other", "other weights")):
        with new_folder(tmp_path / name) as folder:
            (folder / "config.json").write_text(text)
            (folder / "train.jsonl").write_text(text)

    def of(folder: Path) -> Config:
        data = f"data.train=[{{source: jsonl, path: {folder / 'train.jsonl'}}}]"
        return tiny(f"model.path={folder}", data)

    then = decisive(of(tmp_path / "one"))
    assert then[CONTENT].keys() == {"model.path", "data.train[0].path"}
    shutil.move(tmp_path / "one", tmp_path / "moved")
    assert differences(then, of(tmp_path / "moved")) == {}
    changed = differences(then, of(tmp_path / "other"))
    assert changed.keys() == {"model.path", "data.train[0].path"}
    assert "is not what stood at" in changed["model.path"]
    shutil.rmtree(tmp_path / "moved")
    shutil.move(tmp_path / "other", tmp_path / "one")
    assert differences(then, of(tmp_path / "one")).keys() == changed.keys(), "the path alone says nothing"


def test_without_a_manifest_the_path_counts(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    then = decisive(tiny(f"model.path={tmp_path / 'model'}"))
    assert then[CONTENT] == {}
    assert differences(then, tiny(f"model.path={tmp_path / 'model'}")) == {}
    assert differences(then, tiny(f"model.path={tmp_path / 'elsewhere'}")).keys() == {"model.path"}


# Formats ------------------------------------------------------------------------------------------------------------


def test_every_format_has_a_name_and_a_number() -> None:
    assert FORMATS.keys() == NAMES.keys()
    for kind, number in FORMATS.items():
        assert check_format(kind, stamp(kind), Path("x")) == number
        assert check_format(kind, {}, Path("x")) == 0
        told = rf"x was written by a newer memrl: it is {NAMES[kind]} of format {number + 1}, .* Update memrl"
        with pytest.raises(FormatError, match=told):
            check_format(kind, number + 1, Path("x"))
    for damaged in ("one", True, -1, [1]):
        with pytest.raises(FormatError, match="damaged"):
            check_format("run", {"format_version": damaged}, Path("x"))


@pytest.mark.long
def test_a_run_folder_of_a_newer_format_is_refused_by_every_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    config = tiny(f"run.dir={run}")
    save_config(config, run / CONFIG_FILE)
    check_run(run)  # none: an older one
    write_run_format(run, "1.0", "tiny")
    check_run(run)
    put(run / RUN_FILE, {"format_version": FORMATS["run"] + 1, "memrl": "9.0"})
    with (run / CONFIG_FILE).open("a") as file:
        file.write("future: {setting: 1}\n")
    before = tree(run)
    for words in (
        ["train", "tiny", f"run.dir={run}"],
        ["train", "tiny", f"run.dir={run}", "--resume"],
        ["eval", str(run)],
        ["export", str(run), "--out", str(tmp_path / "out")],
        ["rescore", str(run)],
    ):
        assert main(words) == 2
        message = " ".join(capsys.readouterr().err.split())
        assert f"{run} was written by a newer memrl: it is a run folder of format" in message
        assert "Update memrl" in message
    assert tree(run) == before
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.long
def test_a_set_of_a_newer_format_is_refused_and_an_older_one_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "synthetic"
    assert main(["data", "build", "synthetic", "--out", str(tmp_path), "count=4"]) == 0
    card = json.loads((folder / "card.json").read_text())
    assert card["format_version"] == read_card(folder).format_version == FORMATS["set"]
    file = folder / next(iter(card["splits"].values()))["file"]
    train = f"data.train=[{{source: jsonl, path: {file}}}]"
    held_out = "data.eval=[{source: synthetic, people: 3}]"
    del card["format_version"]
    put(folder / "card.json", card)
    assert read_card(folder).format_version == 0
    assert main(["train", "tiny", train, held_out, f"run.dir={tmp_path / 'run'}", "--dry-run"]) == 0
    put(folder / "card.json", {"format_version": FORMATS["set"] + 1, "what": "nobody knows"})
    before = tree(folder)
    capsys.readouterr()
    for words in (
        ["data", "check", str(folder), "--against", str(folder)],
        ["data", "stats", str(folder)],
        ["data", "build", "synthetic", "--out", str(tmp_path), "count=4"],
        ["train", "tiny", train, held_out, f"run.dir={tmp_path / 'other'}"],
    ):
        assert main(words) in (1, 2), words
        assert "was written by a newer memrl: it is a built set" in " ".join(capsys.readouterr().err.split()), words
    assert tree(folder) == before
    assert not (tmp_path / "other").exists()


@pytest.mark.long
def test_an_export_of_a_newer_format_is_refused_and_an_older_one_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "exported"
    folder.mkdir()
    told = {
        "format": "merged", "base_model": "x", "dtype": "float32", "adapter": "v00001", "memory": {"budget": 10},
        "dialect": "hermes", "instruction": None, "example": False, "max_prompt_tokens": 256,
        "max_completion_tokens": 32, "reader": {"max_tokens": 6},
    }  # fmt: skip
    put(folder / AGENT_FILE, told)
    config = open_exported(folder).config
    assert config.memory.budget == 10
    assert config.memory.max_calls == Config().memory.max_calls, "what an older one does not say is the default"
    put(folder / AGENT_FILE, {"format_version": FORMATS["export"] + 1, "form": "of the future"})
    before = tree(folder)
    with pytest.raises(FormatError, match="exported policy of format"):
        open_policy(str(folder))
    for words in (["eval", str(folder)], ["serve", str(folder), "--store", str(tmp_path / "memory.sqlite")]):
        assert main(words) == 2
        assert "was written by a newer memrl" in " ".join(capsys.readouterr().err.split())
    assert tree(folder) == before
    assert not (tmp_path / "memory.sqlite").exists()


def test_a_memory_file_of_a_newer_format_is_refused_untouched(tmp_path: Path) -> None:
    path = tmp_path / "memory.sqlite"
    file = MemoryFile(path)
    call = ToolCall(name="memory_insert", arguments={"memory_type": "semantic", "content": "Ann lives in Rome."})
    file.execute([call])
    file.close()

    def make(version: int) -> None:
        database = sqlite3.connect(path)
        database.execute("PRAGMA journal_mode = DELETE")
        database.execute(f"PRAGMA user_version = {version}")
        database.close()

    make(FORMATS["memory"] + 1)
    before = tree(tmp_path)
    with pytest.raises(FormatError, match=r"memory\.sqlite was written by a newer memrl: it is a memory file"):
        MemoryFile(path)
    assert tree(tmp_path) == before
    make(FORMATS["memory"])  # tests/unit/test_memory_file_attacks.py has older ones
    assert [item.content for item in MemoryFile(path).items] == ["Ann lives in Rome."]


# The lock -----------------------------------------------------------------------------------------------------------

HOLD = """
import os, sys, time
from pathlib import Path
from memrl.storage.lock import lock_folder
with lock_folder(Path(sys.argv[1])):
    if len(sys.argv) > 2:
        child = os.fork()
        if not child:
            time.sleep(60)
            os._exit(0)
        print(child, flush=True)
    print("held", flush=True)
    time.sleep(60)
"""


def hold(folder: Path, *more: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-c", HOLD, str(folder), *more]
    return subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, text=True)


def until_held(process: subprocess.Popen[str]) -> list[str]:
    """Return what it said before it held the lock."""
    assert process.stdout is not None
    said = []
    while (line := process.stdout.readline().strip()) != "held":
        assert line, "it ended without the lock"
        said.append(line)
    return said


def test_a_second_run_is_refused_until_the_first_has_ended_or_was_killed(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "one"
    first = hold(folder)
    try:
        until_held(first)
        told = rf"{folder} is in use: process {first.pid} on \S+ is training there"
        with pytest.raises(ConfigError, match=told), lock_folder(folder):
            pass
        assert not holds_run(folder)
    finally:
        first.kill()
        first.wait()
    assert (folder / LOCK_FILE).is_file(), "a killed process removes nothing"
    with lock_folder(folder):
        assert (folder / LOCK_FILE).read_text().split()[0] == str(os.getpid())
    assert list(folder.iterdir()) == [], "the folder was there before, so it stays"


def test_a_child_of_a_killed_run_does_not_keep_its_lock(tmp_path: Path) -> None:
    first = hold(tmp_path / "one", "and fork")
    (child,) = until_held(first)
    try:
        first.kill()
        first.wait()
        os.kill(int(child), 0)  # it lives
        deadline = time.monotonic() + 30
        while True:  # the child lets go as soon as it runs, which may be after its parent was killed
            try:
                with lock_folder(tmp_path / "one"):
                    break
            except ConfigError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
    finally:
        os.kill(int(child), signal.SIGKILL)


def test_a_run_that_never_began_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyError), lock_folder(tmp_path / "runs" / "one"):
        raise KeyError
    assert list(tmp_path.iterdir()) == []
    with lock_folder(tmp_path / "runs" / "one"):
        (tmp_path / "runs" / "one" / "metrics.jsonl").touch()
    assert [path.name for path in (tmp_path / "runs" / "one").iterdir()] == ["metrics.jsonl"]


def test_a_folder_of_something_else_is_not_taken_for_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine" / "adapters" / "v1").mkdir(parents=True)
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    for more, told in (([], "holds another run"), (["--resume"], "holds other things, and no run")):
        assert main(["train", "tiny", f"run.dir={tmp_path / 'mine'}", *more]) == 2
        assert told in capsys.readouterr().err
    assert sorted(path.name for path in (tmp_path / "mine").rglob("*")) == ["adapters", "notes.txt", "v1"]


@pytest.mark.long
def test_many_that_begin_at_once_are_one_after_another(tmp_path: Path) -> None:
    """Whoever gets the lock works alone, though each removes the file that the next one locks."""
    work = """
import os, sys, time
from pathlib import Path
from memrl.errors import ConfigError
from memrl.storage.lock import lock_folder
folder, end = Path(sys.argv[1]), time.monotonic() + 3
held = 0
while time.monotonic() < end:
    try:
        with lock_folder(folder):
            os.mkdir(folder / "alone")
            os.rmdir(folder / "alone")
            held += 1
    except ConfigError:
        pass
print(held)
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    jobs = [
        subprocess.Popen(
            [sys.executable, "-c", work, str(tmp_path)], env=environment, stdout=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    held = [int(job.communicate()[0]) for job in jobs]
    assert all(job.returncode == 0 for job in jobs)
    assert sum(held) > 10
