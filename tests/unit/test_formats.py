"""Sources whose published files are not at hand, on hand-made files of their formats."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from memrl.envs.building.dialogue import ABSTAIN
from memrl.envs.errors import DataError
from memrl.envs.sources import SOURCES, open_source
from memrl.envs.stream import Stream
from memrl.rewards.metrics import score
from tests.raw import babi, longmemeval, perltqa


def build(name: str, path: Path) -> dict[str, Stream]:
    return {stream.metadata["documents"][0]: stream for stream in open_source(name, {"path": path, "split": "eval"})}


def test_longmemeval_knows_its_evidence_and_what_is_not_answered(tmp_path: Path) -> None:
    streams = build("longmemeval", longmemeval.write(tmp_path))
    first, sessions, nothing = (streams[name] for name in ("q1", "q2", "q3_abs"))
    assert [(chunk.time, chunk.text) for chunk in first.chunks] == [
        ("2023/05/20 (Sat) 02:21", "User: I bought a tent for 60 euros.\nAssistant: Nice."),
        ("2023/05/21 (Sun) 10:00", "User: How do tides work?\nAssistant: By the moon."),
    ]
    (question,) = first.questions
    assert question.text == "How much was the tent? (asked on 2023/05/30 (Tue) 23:40)"
    assert (question.answers, question.metric, question.evidence) == (("60",), "token_f1", (0,))
    assert (sessions.questions[0].answers, sessions.questions[0].evidence) == (("60 euros",), (0,))
    assert (nothing.questions[0].answers, nothing.questions[0].metric) == (ABSTAIN, "abstention")


def test_a_longmemeval_session_may_come_twice(tmp_path: Path) -> None:
    path = tmp_path / "longmemeval_s.json"
    path.write_text(json.dumps([longmemeval.record("q1", haystack_session_ids=["answer_1", "answer_1"])]))
    assert build("longmemeval", path)["q1"].questions[0].evidence == (0,)
    path.write_text(json.dumps([longmemeval.record("q1", haystack_dates=["2023/05/20"])]))
    with pytest.raises(
        DataError, match=r"record 1 \(q1\): 2 haystack_sessions, 2 haystack_session_ids, 1 haystack_dates"
    ):
        build("longmemeval", path)


def test_longmemeval_is_told_in_the_order_of_its_dates(tmp_path: Path) -> None:
    path = tmp_path / "longmemeval_oracle.json"
    days = ["2023/05/20 (Sat) 10:00", "2023/05/20 (Sat) 02:21"]
    path.write_text(json.dumps([longmemeval.record("q1", haystack_dates=days)]))
    stream = build("longmemeval", path)["q1"]
    assert [chunk.time for chunk in stream.chunks] == days[::-1]
    assert stream.chunks[1].text.startswith("User: I bought a tent")
    assert stream.questions[0].evidence == (1,)


@pytest.mark.parametrize(
    "name", ["longmemeval_s", "longmemeval_m", "longmemeval_oracle.gz", "longmemeval_s_cleaned.json"]
)
def test_longmemeval_is_found_by_the_names_of_the_hub(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    text = json.dumps([longmemeval.record("q1")]).encode()
    path.write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    other = tmp_path / "longmemeval_notes"
    other.write_text("no data")
    locate = SOURCES["longmemeval"].locate
    assert locate is not None and locate([path, other]) == [path]
    assert set(build("longmemeval", path)) == {"q1"}


def test_babi_asks_a_story_its_last_question(tmp_path: Path) -> None:
    path = babi.write(tmp_path)
    streams = list(open_source("babi", {"path": path, "chunk_tokens": 6}))
    asked = {stream.questions[0].text: stream for stream in streams}
    mary, milk = asked["Where is Mary?"], asked["Where is the milk?"]
    assert [chunk.text for chunk in mary.chunks] == [
        "Mary moved to the bathroom.",
        "John went to the hallway.",
        "Mary went to the garden.",
    ]
    assert (mary.questions[0].answers, mary.questions[0].evidence) == (("garden",), (2,))
    assert [chunk.text for chunk in milk.chunks] == ["Daniel took the milk.", "Daniel went home."]
    assert milk.questions[0].evidence == (0, 1)
    assert {question.kind for stream in streams for question in stream.questions} == {"qa2_two-supporting-facts"}


@pytest.mark.parametrize(
    ("answer", "given", "expected"),
    [
        ("milk,apple", "milk, apple", 1.0),
        ("milk,apple", "apple, milk", 1.0),
        ("milk,apple", "milk,apple", 1.0),
        ("milk,apple", "milk", 2 / 3),
        ("s,w", "s, w", 1.0),
        ("s,w", "s,w", 1.0),
        ("s,w", "south, west", 1.0),
        ("s,w", "west, south", 0.0),
        ("two", "two", 1.0),
        ("two", "two or three", 0.0),
    ],
)
def test_babi_scores_things_in_any_order_and_paths_in_theirs(
    tmp_path: Path, answer: str, given: str, expected: float
) -> None:
    path = tmp_path / "qa8_lists-sets_test.txt"
    path.write_text(f"1 Mary took the milk.\n2 Mary took the apple.\n3 What then? \t{answer}\t1 2\n")
    (stream,) = open_source("babi", {"path": path})
    (question,) = stream.questions
    assert score(question.metric, given, question.answers) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("qa5_train.txt", "qa5"),
        ("qa5_valid.txt", "qa5"),
        ("qa5_test.txt.gz", "qa5"),
        ("qa2_two-supporting-facts_test.txt", "qa2_two-supporting-facts"),
    ],
)
def test_babi_knows_the_names_with_and_without_the_task(tmp_path: Path, name: str, kind: str) -> None:
    path, other = tmp_path / name, tmp_path / "out.txt"
    text = "".join(babi.STORIES).encode()
    path.write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    other.write_text("no data")
    locate = SOURCES["babi"].locate
    assert locate is not None and locate([path, other]) == [path]
    assert {q.kind for stream in open_source("babi", {"path": path}) for q in stream.questions} == {kind}


def test_stories_of_babi_are_told_apart_by_their_file(tmp_path: Path) -> None:
    path = babi.write(tmp_path)
    other = path.with_name(path.name.replace("train", "test"))
    other.write_bytes(path.read_bytes())
    train, test = ({s.metadata["documents"][0] for s in open_source("babi", {"path": p})} for p in (path, other))
    assert len(train) == len(test) == 2 and train.isdisjoint(test)


def test_a_question_of_babi_may_have_no_support(tmp_path: Path) -> None:
    path = tmp_path / "qa7_counting_train.txt"
    path.write_text("1 Mary left.\n2 How many things does Ann carry? \tnone\t\n")
    (stream,) = open_source("babi", {"path": path})
    assert stream.questions[0].answers == ("none",) and stream.questions[0].evidence is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 Mary left.\nWhere is Mary?\tout\t1\n", "line 2: it must begin with a number"),
        ("1 Mary left.\n2 Where is Mary?\tout\n", "line 2: a question is its text, its answer and the numbers"),
        ("1 Mary left.\n2 Where is Mary?\tout\tone\n", "line 2: a question is"),
        ("1 Mary left.\n", "the story that ends in line 1 asks nothing"),
    ],
)
def test_a_line_of_babi_that_is_wrong_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "qa1_single_train.txt"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        list(open_source("babi", {"path": path}))


def test_perltqa_knows_its_evidence_and_its_times(tmp_path: Path) -> None:
    folder = perltqa.write(tmp_path)
    (stream,) = open_source("perltqa", {"path": folder})
    assert [(chunk.time, chunk.text) for chunk in stream.chunks] == [
        (None, "Occupation: baker\nHobbies: chess\n\nAnn is a baker who plays chess."),
        (None, "Relationship: brother; Supporting Characters: Ben"),
        ("May 2, 2023", "Ann won a chess match in Oslo."),
        ("June 2023", "Ann sold her shop."),
        ("2023-05-02 10:00", "Ann: I won!\nBen: Well done."),
        ("2023-06-09 10:00", "Ann: The shop is sold."),
    ]
    assert [(q.kind, q.metric, q.evidence) for q in stream.questions] == [
        ("profile", "token_f1", (0,)),
        ("social_relationship", "token_f1", (1,)),
        ("events", "token_f1", (2,)),
        ("dialogues", "token_f1", (4,)),
    ]
    assert "evidence_lost" not in stream.metadata
    spoilt = json.loads((folder / "perltmem_en_v2.json").read_text())
    spoilt["Ann Lee"]["social_relationship"] = "{'a': open('x')}"
    (folder / "perltmem_en_v2.json").write_text(json.dumps(spoilt))
    with pytest.raises(DataError, match=r"perltmem_en_v2\.json, Ann Lee: social_relationship cannot be read"):
        list(open_source("perltqa", {"path": folder}))


@pytest.mark.parametrize(
    ("reference", "evidence"),
    [
        ("['7_0_0', '7_0_1']", (2, 3)),
        ("7_0_1", (3,)),
        (["7_0_1"], (3,)),
        ("['0_0_1']", (3,)),  # another person's number, and one event alone ends so
        ("['7_5_5']", None),
        ("[]", None),
    ],
)
def test_a_reference_of_perltqa_is_a_list_of_ids_as_text(
    tmp_path: Path, reference: str | list[str], evidence: tuple[int, ...] | None
) -> None:
    folder = perltqa.write(tmp_path)
    asked = [{"Question": "What of it?", "Answer": "That.", "Reference Memory": reference}]
    (folder / "perltqa_en_v2.json").write_text(json.dumps([{"Ann Lee": {"events": [{"x": asked}]}}]))
    (stream,) = open_source("perltqa", {"path": folder})
    assert stream.questions[0].evidence == evidence


def test_an_answer_of_perltqa_may_be_a_number(tmp_path: Path) -> None:
    folder = perltqa.write(tmp_path)
    asked = [{"Question": "How old is she?", "Answer": 31, "Reference Memory": "7_0_1"}]
    (folder / "perltqa_en_v2.json").write_text(json.dumps([{"Ann Lee": {"events": [{"x": asked}]}}]))
    (stream,) = open_source("perltqa", {"path": folder})
    assert stream.questions[0].answers == ("31",)


def test_a_reference_of_perltqa_that_fits_several_memories_names_none(tmp_path: Path) -> None:
    folder = perltqa.write(tmp_path)
    memories = json.loads((folder / "perltmem_en_v2.json").read_text())
    dialogues = memories["Ann Lee"]["dialogues"]
    dialogues["7_0_0#2"] = dialogues["7_0_1#1"]
    (folder / "perltmem_en_v2.json").write_text(json.dumps(memories))
    asked = [{"Question": "What of it?", "Answer": "That.", "Reference Memory": "['7_0_0#9']"}]
    (folder / "perltqa_en_v2.json").write_text(json.dumps([{"Ann Lee": {"dialogues": [{"x": asked}]}}]))
    (stream,) = open_source("perltqa", {"path": folder})
    assert stream.questions[0].evidence is None
    assert stream.metadata["evidence_lost"] == [stream.questions[0].id]


@pytest.mark.parametrize("reference", ["['7_0_0'", "[open('x')]", "[7]"])
def test_a_reference_of_perltqa_that_cannot_be_read_is_named(tmp_path: Path, reference: str) -> None:
    folder = perltqa.write(tmp_path)
    asked = [{"Question": "What of it?", "Answer": "That.", "Reference Memory": reference}]
    (folder / "perltqa_en_v2.json").write_text(json.dumps([{"Ann Lee": {"events": [{"x": asked}]}}]))
    with pytest.raises(DataError, match=r"perltqa_en_v2\.json, record 1 \(Ann Lee\): Reference Memory"):
        list(open_source("perltqa", {"path": folder}))
