"""Published tables: read as they are, metrics by set, and whatever is wrong named with file, row and remedy."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from memrl.envs.errors import DataError
from memrl.envs.sources import open_source
from memrl.envs.stream import Stream
from tests.raw import memalpha, memoryagentbench
from tests.raw.memalpha import row, save


def streams(name: str, path: Path, **options: Any) -> list[Stream]:
    return list(open_source(name, {"path": str(path), **options}))


def test_memalpha_is_read_as_it_is(tmp_path: Path) -> None:
    folder = memalpha.write(tmp_path)
    found = {stream.metadata["set"]: stream for stream in streams("memalpha", folder)}
    assert {name: stream.questions[0].metric for name, stream in found.items()} == {
        "squad": "substring_memalpha",
        "perltqa": "parts_coverage",
        "nlu": "boxed",
    }
    assert [chunk.text for chunk in found["squad"].chunks] == ["[Dialogue 0] Ada lives in Oslo.", "Ben likes tea."]
    assert found["nlu"].questions[0].answers == ("7",)
    assert [stream.metadata["set"] for stream in streams("memalpha", folder, split="test")] == ["hotpotqa"]
    assert [stream.metadata["set"] for stream in streams("memalpha", folder, sources=["nlu"])] == ["nlu"]
    assert len(streams("memalpha", folder, count=2)) == 2
    one = folder / "test-00000-of-00001.parquet"
    assert streams("memalpha", one)[0].chunks == streams("memalpha", folder, split="test")[0].chunks


def test_memoryagentbench_is_cut_and_scored_by_its_sets(tmp_path: Path) -> None:
    found = {
        s.metadata["competency"]: s
        for s in streams("memoryagentbench", memoryagentbench.write(tmp_path), chunk_tokens=8)
    }
    assert {name: stream.questions[0].metric for name, stream in found.items()} == {
        "Accurate_Retrieval": "substring",
        "Test_Time_Learning": "boxed",
        "Long_Range_Understanding": "rouge_l",
        "Conflict_Resolution": "substring",
    }
    stream = found["Accurate_Retrieval"]
    assert [chunk.text for chunk in stream.chunks] == ["Ada lives in Oslo.", "She likes it.", "Ben lives in Rome."]
    assert stream.questions[0].answers == ("Oslo", "oslo")
    (one,) = streams("memoryagentbench", tmp_path, competencies=["Conflict_Resolution"])
    assert one.metadata["set"] == "factconsolidation_sh_6k"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"chunks": "[1"}, "row 0, chunks is no readable JSON"),
        ({"chunks": "[]"}, "row 0: chunks: List should have at least 1 item"),
        ({"chunks": "[3]"}, "row 0: chunks.0: Input should be a valid string"),
        ({"questions_and_answers": '[{"question": "x"}]'}, "row 0: questions_and_answers.0.answer: Field required"),
        ({"data_source": "poems"}, "row 0: the data source 'poems' is not known.*metric="),
    ],
)
def test_a_damaged_row_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = save(tmp_path / "train-0.parquet", [{**row(0, "squad"), **change}])
    with pytest.raises(DataError, match=rf"train-0\.parquet, {message}"):
        streams("memalpha", path)


def test_a_set_of_another_kind_is_named(tmp_path: Path) -> None:
    path = save(tmp_path / "train-0.parquet", [{"text": "hello"}])
    with pytest.raises(DataError, match="has no column instance_id, chunks, questions_and_answers, data_source"):
        streams("memalpha", path)
    path = save(tmp_path / "train-1.parquet", [{**row(0, "squad"), "chunks": ["a", "b"]}])
    with pytest.raises(DataError, match="row 0, chunks must be a JSON string, not list"):
        streams("memalpha", path)
    with pytest.raises(
        DataError, match=r"no parquet file of the split 'test' \(it has: train-0.parquet, train-1.parquet\)"
    ):
        streams("memalpha", tmp_path, split="test")
    with pytest.raises(DataError, match="no competency 'Recall'"):
        streams("memoryagentbench", tmp_path, competencies=["Recall"])


@pytest.mark.long
def test_a_hub_that_cannot_be_reached_is_named() -> None:
    code = (
        "from memrl.envs.sources import open_source\n"
        "from memrl.envs.errors import DataError\n"
        "try:\n    next(open_source('memalpha', {}))\n"
        "except DataError as error:\n    print(error)\n"
    )
    offline = {"HF_HUB_OFFLINE": "1", "PATH": "/usr/bin:/bin", "HF_HOME": "/nonexistent"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=offline, capture_output=True, text=True, cwd=Path(__file__).parents[2]
    )
    assert "YuWangX/Memalpha cannot be read from the hub" in done.stdout, done.stderr
    assert "download it and give its folder" in done.stdout
