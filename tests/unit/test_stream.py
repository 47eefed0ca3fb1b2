"""Streams on disk: what is written is read back, and each kind of bad input is named with its place."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memrl.envs.errors import DataError
from memrl.envs.sources import open_source
from memrl.envs.stream import Chunk, Question, Stream, read_jsonl, read_parquet, write_jsonl, write_parquet

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20).filter(
    lambda text: bool(text.strip())
)


@st.composite
def any_stream(draw: st.DrawFn) -> Stream:
    chunks = draw(st.lists(st.builds(Chunk, text=TEXT, time=st.none() | TEXT), min_size=1, max_size=3))
    places = st.lists(st.integers(0, len(chunks) - 1), max_size=2).map(tuple)
    questions = [
        Question(id=f"q{number}", text=draw(TEXT), answers=(draw(TEXT),), evidence=draw(st.none() | places))
        for number in range(draw(st.integers(1, 3)))
    ]
    return Stream(id=draw(TEXT), source=draw(TEXT), chunks=tuple(chunks), questions=tuple(questions))


def stream(name: str) -> Stream:
    question = Question(id="q", text="Who?", answers=("Ada",), evidence=(0,))
    return Stream(id=name, source="test", chunks=(Chunk(text="Ada came.", time="May 3"),), questions=(question,))


@pytest.mark.long
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
@given(st.lists(any_stream(), max_size=3))
@pytest.mark.parametrize(
    ("write", "read", "name"), [(write_jsonl, read_jsonl, "s.jsonl"), (write_parquet, read_parquet, "s.parquet")]
)
def test_round_trip(tmp_path: Path, write: Any, read: Any, name: str, streams: list[Stream]) -> None:
    assert write(tmp_path / name, streams) == len(streams)
    assert list(read(tmp_path / name)) == streams
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    write_jsonl(path, [stream("old")])

    def breaks() -> Any:
        yield stream("new")
        raise RuntimeError("disk full")

    with pytest.raises(RuntimeError):
        write_jsonl(path, breaks())
    assert [found.id for found in read_jsonl(path)] == ["old"]


def test_task_data_is_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        stream("s").id = "other"  # type: ignore[misc]


Change = Callable[[dict[str, Any]], Any]


@pytest.mark.long
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tree: tree.update(chunks=[]), "stream 's' has no chunks"),
        (lambda tree: tree.update(questions=[]), "stream 's' has no questions"),
        (lambda tree: tree["chunks"][0].update(text=" "), "chunks.0.text: a chunk's text is empty"),
        (lambda tree: tree["questions"][0].update(answers=[]), "question 'q' has no answer"),
        (lambda tree: tree["questions"][0].update(answers=[" "]), "question 'q' has no answer"),
        (lambda tree: tree["questions"][0].update(text=""), "question 'q' has no text"),
        (lambda tree: tree["questions"][0].update(evidence=[1]), "names evidence chunk 1, but the stream has chunks 0"),
        (lambda tree: tree["questions"].append(tree["questions"][0]), "two questions with the id 'q'"),
        (lambda tree: tree.pop("id"), "id: Field required"),
        (lambda tree: tree.update(chunk=1), "chunk: Extra inputs are not permitted"),
        (lambda tree: tree.update(chunks="text"), "chunks: Input should be a valid"),
    ],
)
@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_a_bad_stream_is_named_by_file_and_line(tmp_path: Path, change: Change, message: str, suffix: str) -> None:
    tree = json.loads(stream("s").model_dump_json())
    change(tree)
    rows = [stream("good").model_dump_json(), json.dumps(tree)]
    path = tmp_path / f"bad{suffix}"
    if suffix == ".jsonl":
        path.write_text(rows[0] + "\n\n" + rows[1] + "\n", encoding="utf-8")
        where = "bad.jsonl, line 3: "
    else:
        pq.write_table(pa.table({"stream": rows}), path)
        where = "bad.parquet, row 1: "
    with pytest.raises(DataError) as caught:
        list(open_source("jsonl", {"path": path}))
    assert where in str(caught.value)
    assert message in str(caught.value)
    assert "Mend or remove that line." in str(caught.value)


@pytest.mark.parametrize("line", ["{", "null", "[]", '{"id": "\\ud800"}', "nonsense"])
def test_a_line_that_is_no_stream_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(line, encoding="utf-8")
    with pytest.raises(DataError, match=r"bad\.jsonl, line 1: "):
        list(read_jsonl(path))


def test_bytes_that_are_no_text_are_named(tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_bytes(b'{"id": "\xff"}\n')
    with pytest.raises(DataError, match=r"bad\.jsonl, line 1: "):
        list(read_jsonl(path))


@pytest.mark.parametrize(("read", "name"), [(read_jsonl, "s.jsonl"), (read_parquet, "s.parquet")])
def test_a_missing_file_is_named(tmp_path: Path, read: Any, name: str) -> None:
    with pytest.raises(DataError, match=f"{name} does not exist. Check the path"):
        list(read(tmp_path / name))


def test_a_damaged_parquet_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "s.parquet"
    write_parquet(path, [stream("s")])
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(DataError, match=r"s\.parquet is not a readable parquet file"):
        list(read_parquet(path))


def test_damage_inside_a_parquet_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "s.parquet"
    write_parquet(path, [stream(str(number)) for number in range(50)])
    raw = bytearray(path.read_bytes())
    raw[4 : len(raw) // 2] = bytes(len(raw) // 2 - 4)
    path.write_bytes(raw)
    with pytest.raises(DataError, match=r"s\.parquet cannot be read to its end"):
        list(open_source("jsonl", {"path": path}))


def test_parquet_without_our_column_is_named(tmp_path: Path) -> None:
    pq.write_table(pa.table({"chunks": ["a"]}), tmp_path / "s.parquet")
    with pytest.raises(DataError, match=r"no column 'stream' \(it has chunks\)"):
        list(read_parquet(tmp_path / "s.parquet"))


def test_the_source_shuffles_by_seed_and_goes_round(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    write_jsonl(path, [stream(str(number)) for number in range(8)])
    once = [found.id for found in open_source("jsonl", {"path": str(path), "seed": 1})]
    assert sorted(once) == [str(number) for number in range(8)]
    twice = [found.id for found in open_source("jsonl", {"path": str(path), "seed": 1, "count": 16})]
    assert twice[:8] == once
    assert sorted(twice[8:]) == sorted(once)
    assert twice[8:] != once
    assert [found.id for found in open_source("jsonl", {"path": path, "seed": 2})] != once


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("s.jsonl", "\n\n", "holds no stream"),
        ("s.csv", "a,b", "ends in '.csv'. Use one of .jsonl, .parquet"),
        ("s.jsonl", (stream("s").model_dump_json() + "\n") * 2, "two streams with the id 's'"),
    ],
)
def test_an_unusable_file_is_refused_by_the_source(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        list(open_source("jsonl", {"path": tmp_path / name}))


def test_a_negative_count_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="count is -1"):
        list(open_source("jsonl", {"path": tmp_path / "s.jsonl", "count": -1}))
