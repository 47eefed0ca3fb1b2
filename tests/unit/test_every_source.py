"""What holds for every source: its files are found, damage is named, the same options give the same streams."""

from __future__ import annotations

import gzip
import json
import re
import shutil
from importlib import import_module
from pathlib import Path

import pytest

from memrl.envs.building.raw import LFS_POINTER
from memrl.envs.building.source import Source
from memrl.envs.errors import DataError
from memrl.envs.sources import SOURCES, open_source, option_names
from memrl.envs.stream import Stream
from memrl.rewards.metrics import METRICS

WITH_FILES = sorted(name for name, source in SOURCES.items() if source.locate is not None)


def write(name: str, folder: Path) -> Path:
    """The hand-made raw input of a source, in a folder of its own."""
    folder.mkdir(parents=True)
    path = import_module(f"tests.raw.{name}").write(folder)
    assert isinstance(path, Path)
    return path


def build(name: str, path: Path, **options: object) -> list[Stream]:
    needed = getattr(import_module(f"tests.raw.{name}"), "OPTIONS", {})
    return list(open_source(name, {"path": path, **needed, **options}))


def files(path: Path) -> list[Path]:
    return sorted(file for file in (path.rglob("*") if path.is_dir() else [path]) if file.is_file())


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_every_source_takes_a_seed_and_a_count(name: str) -> None:
    assert {"seed", "count"} <= set(option_names(name))


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_every_source_says_what_it_is(name: str) -> None:
    source: Source = SOURCES[name]
    assert source.name == name and source.about
    assert source.locate is None or (source.home and source.licence)


@pytest.mark.parametrize("name", WITH_FILES)
def test_its_files_are_found_and_become_streams(name: str, tmp_path: Path) -> None:
    path = write(name, tmp_path / "raw")
    locate = SOURCES[name].locate
    assert locate is not None
    found = {
        place for folder in {file.parent for file in files(tmp_path)} for place in locate(sorted(folder.iterdir()))
    }
    assert found == {path}
    streams = build(name, path)
    assert streams == build(name, path)
    assert len({stream.id for stream in streams}) == len(streams)
    for stream in streams:
        assert stream.source == name
        for question in stream.questions:
            assert question.metric in METRICS


@pytest.mark.parametrize("name", WITH_FILES)
def test_no_other_source_takes_its_files(name: str, tmp_path: Path) -> None:
    write(name, tmp_path / "raw")
    for other in WITH_FILES:
        if other != name:
            locate = SOURCES[other].locate
            assert locate is not None
            for folder in {file.parent for file in files(tmp_path)}:
                assert not locate(sorted(file for file in folder.iterdir() if file.is_file())), other


@pytest.mark.parametrize("name", WITH_FILES)
def test_train_and_eval_share_no_document(name: str, tmp_path: Path) -> None:
    path = write(name, tmp_path / "raw")
    seen: list[set[str]] = []
    for split in ("train", "eval"):
        try:
            streams = build(name, path, split=split, eval_share=0.5)
        except DataError:  # all few documents of the sample are of the other split
            streams = []
        seen.append({key for stream in streams for key in stream.metadata.get("documents", [stream.id])})
    assert seen[0].isdisjoint(seen[1])


def damaged(path: Path, file: Path, copy: Path) -> Path:
    """A copy of the input to spoil `file` in; returns where it is there."""
    if path.is_dir():
        shutil.copytree(path, copy)
        return copy / file.relative_to(path)
    copy.mkdir()
    return Path(shutil.copy(path, copy / path.name))


@pytest.mark.parametrize("name", WITH_FILES)
@pytest.mark.parametrize("damage", ["pointer", "cut short", "empty", "another file"])
def test_every_damaged_file_is_named(name: str, damage: str, tmp_path: Path) -> None:
    path = write(name, tmp_path / "raw")
    for number, file in enumerate(files(path)):
        spoilt = damaged(path, file, tmp_path / f"copy{number}")
        raw = spoilt.read_bytes()
        if damage == "pointer":
            spoilt.write_bytes(LFS_POINTER + b"v1\noid sha256:00\nsize 12\n")
        elif damage == "cut short":
            packed = raw if raw.startswith(b"\x1f\x8b") else gzip.compress(raw)
            spoilt.write_bytes(packed[: len(packed) // 2])
        elif damage == "empty":
            spoilt.write_bytes(b"")
        elif spoilt.suffix in {".json", ".jsonl"}:
            spoilt.write_text(json.dumps([{"nonsense": 1}]), encoding="utf-8")
        else:
            spoilt.write_bytes(b"nonsense\n")
        if file.name in getattr(import_module(f"tests.raw.{name}"), "UNREAD", ()):
            continue
        with pytest.raises(DataError, match=re.escape(spoilt.name)):
            build(name, spoilt if path.is_file() else tmp_path / f"copy{number}")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    for name in WITH_FILES:
        with pytest.raises(DataError, match="Check the path"):
            build(name, tmp_path / "none")
