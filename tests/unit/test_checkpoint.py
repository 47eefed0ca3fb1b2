"""Checkpoints are whole or absent; a damaged one is named and skipped; a full disk leaves the last good one."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from memrl.errors import CheckpointError
from memrl.storage.checkpoints import find_checkpoint, list_checkpoints, save_checkpoint
from memrl.storage.files import find_damage, new_folder, write_json_atomic, write_text_atomic


def writer(text: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / "deep").mkdir()
        (folder / "deep" / "weights.bin").write_text(text)
        (folder / "state.json").write_text("{}")

    return write


def names(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir())


def test_saves_find_and_prune(tmp_path: Path) -> None:
    assert find_checkpoint(tmp_path / "none") is None
    for step in range(1, 5):
        save_checkpoint(tmp_path, step, writer(str(step)), keep=2)
    assert names(tmp_path) == ["latest", "step_00003", "step_00004"]
    assert os.readlink(tmp_path / "latest") == "step_00004"
    assert find_checkpoint(tmp_path) == (4, tmp_path / "step_00004")
    assert set(json.loads((tmp_path / "latest" / "manifest.json").read_text())["files"]) == {
        "deep/weights.bin",
        "state.json",
    }


@pytest.mark.parametrize("damage", ["change", "remove", "manifest", "no manifest"])
def test_damaged_checkpoints_are_named_and_skipped(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    for step in (1, 2):
        save_checkpoint(tmp_path, step, writer(str(step)), keep=5)
    newest = tmp_path / "step_00002"
    match damage:
        case "change":
            (newest / "deep" / "weights.bin").write_text("x")
        case "remove":
            (newest / "state.json").unlink()
        case "manifest":
            (newest / "manifest.json").write_text('["not a manifest"]')
        case _:
            (newest / "manifest.json").unlink()
    with caplog.at_level(logging.WARNING):
        assert find_checkpoint(tmp_path) == (1, tmp_path / "step_00001")
    assert str(newest) in caplog.text
    assert (find_damage(newest) or "nothing found") in caplog.text
    # The run goes on from 1 and writes 2 again, over the damaged one.
    save_checkpoint(tmp_path, 2, writer("again"), keep=5)
    assert find_checkpoint(tmp_path) == (2, newest)


def test_pruning_never_removes_the_one_just_written(tmp_path: Path) -> None:
    for step in (8, 9, 2):
        save_checkpoint(tmp_path, step, writer(str(step)), keep=1)
    assert (tmp_path / "step_00002").is_dir()


def test_a_full_disk_keeps_the_last_good_checkpoint(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, 1, writer("good"), keep=1)

    def write_to_full_disk(folder: Path) -> None:
        (folder / "half").write_text("half")
        with Path("/dev/full").open("wb") as full:  # the kernel's own ENOSPC
            full.write(b"x")
            full.flush()

    with pytest.raises(CheckpointError, match=r"disk is full.*last good checkpoint is .*step_00001"):
        save_checkpoint(tmp_path, 2, write_to_full_disk, keep=1)
    assert names(tmp_path) == ["latest", "step_00001"]
    assert find_checkpoint(tmp_path) == (1, tmp_path / "step_00001")


def test_a_killed_save_leaves_nothing_that_counts(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, 1, writer("good"), keep=3)
    leftover = tmp_path / "step_00002.partial"
    leftover.mkdir()
    (leftover / "half").write_text("half")
    assert [step for step, _ in list_checkpoints(tmp_path)] == [1]
    save_checkpoint(tmp_path, 2, writer("whole"), keep=3)
    assert names(tmp_path) == ["latest", "step_00001", "step_00002"]
    assert not (tmp_path / "step_00002" / "half").exists()


def test_an_interrupted_folder_is_removed_and_the_old_one_stays(tmp_path: Path) -> None:
    target = tmp_path / "adapter"
    with new_folder(target) as folder:
        (folder / "a").write_text("old")
    with pytest.raises(KeyboardInterrupt), new_folder(target) as folder:
        (folder / "a").write_text("new")
        raise KeyboardInterrupt
    assert names(tmp_path) == ["adapter"]
    assert (target / "a").read_text() == "old"
    assert find_damage(target) is None


def test_atomic_files(tmp_path: Path) -> None:
    path = tmp_path / "sub" / "value.json"
    write_json_atomic(path, {"ä": 1})
    write_json_atomic(path, {"ä": 2})
    assert json.loads(path.read_text(encoding="utf-8")) == {"ä": 2}
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json_atomic(path, float("nan"))
    with pytest.raises(UnicodeEncodeError):
        write_text_atomic(path, "\ud800")
    assert names(path.parent) == ["value.json"]
