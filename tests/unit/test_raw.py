"""Raw files: every way they can be packed reads the same, and every way they can be broken is named."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from pathlib import Path

import pytest
from pydantic import BaseModel

from memrl.envs.building.raw import LFS_POINTER, contents, csv_rows, find, parse_json, records, text_lines
from memrl.envs.building.shuffling import shuffled
from memrl.envs.errors import DataError


class Row(BaseModel):
    n: int


ROWS = [{"n": number} for number in range(5)]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS).encode()


@pytest.mark.parametrize(
    ("name", "raw", "at"),
    [
        ("a.json", json.dumps(ROWS).encode(), "item"),
        ("a.json", b"\xef\xbb\xbf  " + json.dumps(ROWS, indent=2).encode(), "item"),
        ("a.json", json.dumps({"more": 1, "data": ROWS}).encode(), "data.item"),
        ("a.jsonl", LINES, "item"),
        ("a.jsonl", b"\n" + LINES.rstrip() + b"\n\n", "item"),
        ("a.jsonl.gz", gzip.compress(LINES, mtime=0), "item"),
        ("packed", gzip.compress(LINES, mtime=0), "item"),
    ],
)
def test_records_come_out_the_same(tmp_path: Path, name: str, raw: bytes, at: str) -> None:
    path = tmp_path / name
    path.write_bytes(raw)
    assert [row.n for _, row in records(path, Row, at=at)] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("name", "raw", "message"),
    [
        ("a.jsonl", LINES[:-4], "a.jsonl, line 5, column 6: .* damaged or cut short"),
        ("a.json", json.dumps(ROWS).encode()[:-12], "a.json, after 3 records: .* damaged or cut short"),
        ("a.json", b'[{"n": 1}, {"n": "one"}]', "a.json, record 2: n: Input should be a valid integer.* Mend that"),
        ("a.jsonl", LINES + b'{"m": 1}\n', "a.jsonl, line 6: n: Field required"),
        ("a.jsonl", LINES + b'{"n": "\xff"}\n', "a.jsonl, line 6 is not UTF-8 text"),
        ("a.jsonl", LINES + b'{"n": ' + b"9" * 5000 + b"}\n", "a.jsonl, line 6"),
        ("a.json", b"[]", "a.json is not rows: it holds no record"),
        ("a.jsonl", b"", "a.jsonl"),
        ("a.jsonl.gz", gzip.compress(LINES, mtime=0)[:-12], "a.jsonl.gz is damaged or cut short"),
        ("a.jsonl.gz", LINES, "Not a gzipped file"),
        ("a.jsonl", LFS_POINTER + b"v1\n", "a.jsonl is a Git LFS pointer.*git lfs pull"),
    ],
)
def test_damage_is_named(tmp_path: Path, name: str, raw: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(raw)
    with pytest.raises(DataError, match=message):
        list(records(path, Row, kind="rows"))


def test_a_folder_and_a_missing_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"is a folder; this source reads a file"):
        list(records(tmp_path, Row))
    with pytest.raises(DataError, match=r"none\.json does not exist\. Check the path"):
        list(records(tmp_path / "none.json", Row))
    with pytest.raises(DataError, match=r"has no file a\.csv \(or a\.csv\.gz\)"):
        find(tmp_path, "a.csv")


def test_an_archive_and_its_folder_hold_the_same(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    for name in ("one/a.json", "one/b.json", "two/c.json"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f'{{"n": {len(name)}}}')
    archive = tmp_path / "set.tar.gz"
    with tarfile.open(archive, "w:gz") as file:
        file.add(folder, arcname="top")
    for path in (folder, archive):
        assert [parse_json(Row, data, where).n for where, data in contents(path, "one/*.json")] == [10, 10]
    with pytest.raises(DataError, match=r"set\.tar\.gz holds no file three/\*"):
        list(contents(archive, "three/*"))
    archive.write_bytes(archive.read_bytes()[:60])
    with pytest.raises(DataError, match=r"set\.tar\.gz is damaged or cut short"):
        list(contents(archive, "one/*.json"))


def test_a_pointer_in_an_archive_is_named(tmp_path: Path) -> None:
    archive = tmp_path / "set.tar"
    with tarfile.open(archive, "w") as file:
        entry = tarfile.TarInfo("a.json")
        entry.size = len(LFS_POINTER)
        file.addfile(entry, io.BytesIO(LFS_POINTER))
    with pytest.raises(DataError, match=r"set\.tar, a\.json is a Git LFS pointer"):
        list(contents(archive, "*.json"))


def test_csv_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(b'text,label,more\r\n"a, b",x,1\r\n"two\r\nlines",y,2\r\n', mtime=0))
    rows = list(csv_rows(text_lines(path), str(path), ("text", "label")))
    assert [row for _, row in rows] == [{"text": "a, b", "label": "x"}, {"text": "two\r\nlines", "label": "y"}]
    with pytest.raises(DataError, match=r"has no column kind \(it has text, label, more\)"):
        list(csv_rows(text_lines(path), str(path), ("kind",)))
    path.write_bytes(b"text,label\nhello\n")
    with pytest.raises(DataError, match="Not a gzipped file"):
        list(text_lines(path))
    with pytest.raises(DataError, match="f, line 2: the column label is empty"):
        list(csv_rows(["text,label\n", "hello\n"], "f", ("text", "label")))
    with pytest.raises(DataError, match=r"f, line 1: .* The CSV is damaged"):
        list(csv_rows(["text,label\n", '"hello\n'], "f", ("text", "label")))


def test_shuffling_is_seeded_and_complete() -> None:
    first = list(shuffled(range(1000), "a"))
    assert sorted(first) == list(range(1000)) and first != sorted(first)
    assert first == list(shuffled(range(1000), "a")) != list(shuffled(range(1000), "b"))
