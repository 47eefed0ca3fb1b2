"""Published tables: read as they are, metrics by set, and whatever is wrong named with file, row and remedy."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from memrl.envs.building.releases import MEMALPHA_BENCH, MEMALPHA_TEST, MEMALPHA_TRAIN, MEMORYAGENTBENCH
from memrl.envs.errors import DataError
from memrl.envs.sources import open_source, source_named
from memrl.envs.stream import Stream
from memrl.rewards.metrics import METRICS, score, unanswerable
from tests.raw import memalpha, memoryagentbench
from tests.raw.memalpha import row, save


def streams(name: str, path: Path, **options: Any) -> list[Stream]:
    return list(open_source(name, {"path": str(path), **options}))


def test_memalpha_is_read_as_it_is(tmp_path: Path) -> None:
    folder = memalpha.write(tmp_path)
    found = {stream.metadata["set"]: stream for stream in streams("memalpha", folder)}
    nlu = "icl_nlu_8296shot_balance"
    assert {name: stream.questions[0].metric for name, stream in found.items()} == {
        "squad": "substring_memalpha",
        "perltqa": "parts_coverage",
        nlu: "boxed",
    }
    assert [chunk.text for chunk in found["squad"].chunks] == ["[Dialogue 0] Ada lives in Oslo.", "Ben likes tea."]
    assert found["squad"].questions[0].text == "Where does Ada live?"
    assert [stream.metadata["set"] for stream in streams("memalpha", folder, split="test")] == ["hotpotqa"]
    assert [stream.metadata["set"] for stream in streams("memalpha", folder, sources=[nlu])] == [nlu]
    assert len(streams("memalpha", folder, count=2)) == 2
    one = folder / "test-00000-of-00001.parquet"
    assert streams("memalpha", one)[0].chunks == streams("memalpha", folder, split="test")[0].chunks


RIGHT = {
    "substring_memalpha": "She lives in Oslo.",
    "substring": "Oslo",
    "parts_coverage": "Oslo, in Norway",
    "keyword_coverage": "Ada goes on a journey to Oslo",
}


@pytest.mark.parametrize("name", sorted({*memalpha.TRAIN, *memalpha.BENCH}))
def test_every_data_source_of_memalpha_is_asked_and_scored_as_published(tmp_path: Path, name: str) -> None:
    (stream,) = streams("memalpha", memalpha.save(tmp_path / "train-0.parquet", [memalpha.row(0, name)]))
    (question,) = stream.questions
    assert stream.metadata["set"] == question.kind == name
    golds = list(question.answers)
    if name.startswith(("icl_", "pubmed")):
        assert question.metric == "boxed" and "\\boxed{number}" in question.text, "the reader is told to box"
        (gold,) = golds
        for answer in (rf"\boxed{{{gold}}}", gold, f'"{gold}"', f"So it is <answer>{gold}</answer>."):
            assert score("boxed", answer, golds) == 1.0, answer
        for answer in (rf"\boxed{{{gold}1}}", f"{gold} or 4", "the second"):
            assert score("boxed", answer, golds) == 0.0, answer
        return
    assert score(question.metric, RIGHT.get(question.metric, golds[0]), golds) == 1.0
    assert ("summary of a book" in question.text) == (name in ("booksum", "infbench_sum_eng_shots2"))
    assert unanswerable(question.metric, golds) == (name == "longmemeval_s*")


def test_the_publications_hold_what_they_say() -> None:
    assert (set(memalpha.TRAIN), set(memalpha.BENCH)) == (
        {one.name for one in MEMALPHA_TRAIN.sets},
        {one.name for one in MEMALPHA_BENCH.sets},
    )
    counts = [(sum(one.streams or 0 for one in release.sets), len(release.sets))
              for release in (MEMALPHA_TRAIN, MEMALPHA_TEST, MEMALPHA_BENCH, MEMORYAGENTBENCH)]  # fmt: skip
    assert counts == [(567, 8), (458, 7), (112, 9), (146, 22)]
    assert sum(one.questions or 0 for one in MEMORYAGENTBENCH.sets) == 3671
    for release in (MEMALPHA_TRAIN, MEMALPHA_TEST, MEMALPHA_BENCH, MEMORYAGENTBENCH):
        known = (*release.sets, *release.earlier)
        assert len({one.name for one in known}) == len(known)
        assert all(one.metric in METRICS for one in known)


def test_a_question_that_cannot_be_asked_is_counted(tmp_path: Path) -> None:
    asked = [
        {"question": "Where?", "answer": "Oslo"},
        {"question": " ", "answer": "x"},
        {"question": "Who?", "answer": ""},
    ]
    path = save(tmp_path / "train-0.parquet", [{**row(0, "squad"), "questions_and_answers": json.dumps(asked)}])
    (stream,) = streams("memalpha", path)
    assert [question.id for question in stream.questions] == ["q0"]
    assert stream.metadata["left_out"] == {"it has no words": 1, "no answer of it is published": 1}


def test_which_publication_a_path_holds() -> None:
    source = source_named("memalpha")
    assert source.release is not None
    for path, more, release in (
        ("YuWangX/Memalpha", {}, MEMALPHA_TRAIN),
        ("YuWangX/Memalpha", {"split": "test"}, MEMALPHA_TEST),
        ("YuWangX/Memalpha-Memoryagentbench", {"split": "test"}, MEMALPHA_BENCH),
        ("data/elsewhere", {"release": "memoryagentbench"}, MEMALPHA_BENCH),
    ):  # fmt: skip
        assert source.release({**source.options(), "path": path, **more}) is release


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


@pytest.mark.parametrize("name", [one.name for one in MEMORYAGENTBENCH.sets])
def test_every_set_of_memoryagentbench_is_known(tmp_path: Path, name: str) -> None:
    answers = ["17"] if name.startswith("icl_") else ["Oslo"]
    table = memoryagentbench.row(name, answers)
    memalpha.save(tmp_path / "Accurate_Retrieval-0.parquet", [table, memoryagentbench.row("ruler_qa1_197K", ["Oslo"])])
    found = {s.metadata["set"]: s for s in streams("memoryagentbench", tmp_path, competencies=["Accurate_Retrieval"])}
    if name == "recsys_redial_full":
        assert set(found) == {"ruler_qa1_197K"}, "nothing here can score it"
        return
    question = found[name].questions[0]
    right = r"\boxed{17}" if name.startswith("icl_") else "Oslo"
    assert score(question.metric, right, list(question.answers)) == 1.0
    assert question.text.endswith("\n\nWhere?"), "what is to be said stands before the question"
    assert ("\\boxed{number}" in question.text) == name.startswith("icl_")
    assert ("greater number" in question.text) == name.startswith("factconsolidation")


def test_an_unanswerable_question_of_memoryagentbench_asks_for_abstention(tmp_path: Path) -> None:
    table = memoryagentbench.row("longmemeval_s*", ["You did not say."])
    table["metadata"]["question_ids"] = ["a_abs", "b"]
    memalpha.save(tmp_path / "Accurate_Retrieval-0.parquet", [table])
    (stream,) = streams("memoryagentbench", tmp_path, competencies=["Accurate_Retrieval"])
    assert [question.metric for question in stream.questions] == ["abstention", "token_f1"]


def test_a_set_that_nobody_published_is_named(tmp_path: Path) -> None:
    memalpha.save(tmp_path / "Accurate_Retrieval-0.parquet", [memoryagentbench.row("ruler_qa3_1M", ["Oslo"])])
    options = {"competencies": ["Accurate_Retrieval"]}
    with pytest.raises(DataError, match=r"row 0: the set 'ruler_qa3_1M' is not known.*did you mean 'ruler_qa.*metric="):
        streams("memoryagentbench", tmp_path, **options)
    (stream,) = streams("memoryagentbench", tmp_path, metric="exact_match", **options)
    assert {question.metric for question in stream.questions} == {"exact_match"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"chunks": "[1"}, "row 0, chunks is no readable JSON"),
        ({"chunks": "[]"}, "row 0: chunks: List should have at least 1 item"),
        ({"chunks": "[3]"}, "row 0: chunks.0: Input should be a valid string"),
        ({"questions_and_answers": '[{"question": "x"}]'}, "row 0: questions_and_answers.0.answer: Field required"),
        ({"questions_and_answers": '[{"question": "x", "answer": ""}]'}, "row 0: none of its questions has both words"),
        ({"data_source": "pubmed-rct"}, "row 0: question 0 of labels has the answer 'Oslo', which is no"),
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
