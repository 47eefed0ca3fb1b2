"""Raw data as people have it: folders, stray files, names, pretty-printed JSON, ids that come twice, long texts."""

from __future__ import annotations

import json
import random
import shutil
import tarfile
import time
from importlib import import_module
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from memrl.cli.main import main
from memrl.config import load_config
from memrl.data.build import Job, build_set, find_jobs
from memrl.data.leaks import find_overlap
from memrl.envs.building.chunking import Unit, cut
from memrl.envs.building.left_out import by_reason, counting, explain_left_out
from memrl.envs.building.order import order_asks
from memrl.envs.errors import DataError, NoStream
from memrl.envs.sources import SOURCES, open_source
from memrl.envs.stream import Stream
from memrl.errors import ConfigError
from memrl.evaluation.suites import open_suite

FOLDERS = (
    "beam",
    "prefeval",
    "nlu",
    "memorycode",
    "banking77",
    "perltqa",
    "madial",
    "memorybank",
    "csabstruct",
    "trec",
)


@pytest.mark.long
@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_that_a_source_reads_is_taken_by_suite_config_and_build(name: str, tmp_path: Path) -> None:
    path = import_module(f"tests.raw.{name}").write(tmp_path)
    (tmp_path / "eval").mkdir()
    config = load_config("tiny")
    if path.is_dir():
        assert open_suite(f"{name}:path={path}", config.data, 5, [0]).streams
        load_config("tiny", [f"data.train=[{{source: {name}, path: {path}}}]"])
    with pytest.raises(DataError, match="Check the path"):
        open_suite(f"{name}:path={tmp_path / 'eval'}", config.data, 5, [0])
    with pytest.raises(ConfigError, match="does not exist"):
        load_config("tiny", [f"data.train=[{{source: {name}, path: {tmp_path / 'gone'}}}]"])
    with pytest.raises(DataError, match="no source knows a file"):
        find_jobs(tmp_path / "eval")


def test_no_source_fails_on_the_files_of_an_empty_folder() -> None:
    assert all(source.find([]) == [] for source in SOURCES.values())


def test_stray_files_do_not_refuse_a_clone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = import_module("tests.raw.prefeval").write(tmp_path / "prefeval")
    before = list(open_source("prefeval", {"path": path}))
    (path / "mcq_options" / "._travel_trains.json").write_bytes(b"\0\5\x16\7")  # as macOS leaves them
    (path / "mcq_options" / "notes.json").write_text('{"about": "options"}')
    assert list(open_source("prefeval", {"path": path})) == before
    assert "notes.json is no file of a topic" in caplog.text
    shutil.copy(path / "mcq_options" / "pet_food.json", path / "mcq_options" / "pet_toys.json")
    with pytest.raises(DataError, match="pet_toys must have a file in both"):  # a topic, and half of it is missing
        list(open_source("prefeval", {"path": path}))
    (tmp_path / "code").mkdir()
    code = import_module("tests.raw.memorycode").write(tmp_path / "code")
    (code / "dialogue_notes.json").write_text("{}")
    assert list(open_source("memorycode", {"path": code}))
    (tmp_path / "nlu").mkdir()
    nlu = import_module("tests.raw.nlu").write(tmp_path / "nlu")
    (nlu / "trainset" / "notes.csv").write_text("a;b\n1;2\n")
    assert list(open_source("nlu", {"path": nlu}))


@pytest.mark.parametrize("indent", [None, 2])
def test_a_record_written_over_several_lines_is_no_damage(indent: int | None, tmp_path: Path) -> None:
    asked = [{"question": "Where?", "answer": "Oslo"}]
    rows = [{"id": name, "text": "Ann lives in Oslo.", "questions": asked} for name in "abc"]
    for count in (1, 3):
        path = tmp_path / f"{count}.json"
        path.write_text("\n".join(json.dumps(row, indent=indent) for row in rows[:count]))
        assert len(list(open_source("documents", {"path": path}))) == count
    path.write_text("\n".join(json.dumps(row, indent=2) for row in rows)[:-40])
    with pytest.raises(DataError, match=r"after 2 records: .* damaged or cut short"):
        list(open_source("documents", {"path": path}))
    path.write_text('{"id": "a", "te\n' + json.dumps(rows[1]))  # lines, the first of which is damaged
    with pytest.raises(DataError, match="line 1, column"):
        list(open_source("documents", {"path": path}))


@pytest.mark.parametrize(
    ("name", "held_out"),
    [
        ("dev-v2.0.json", True),
        ("test.json", True),
        ("hotpot_dev_distractor_v1.json", True),
        ("qa1_single-supporting-fact_test.txt", True),
        ("train-v2.0.json", False),
        ("contest.json", False),
        ("latest.json", False),
    ],
)
def test_what_is_published_as_test_or_dev_is_for_evaluation(name: str, held_out: bool, tmp_path: Path) -> None:
    path = import_module("tests.raw.squad").write(tmp_path).rename(tmp_path / name)
    assert SOURCES["squad"].held_out(str(path)) == held_out
    assert not SOURCES["documents"].held_out(str(path))  # one's own are one's own
    card = build_set(Job("squad", path, "squad"), tmp_path / "sets")
    assert ("train" in card.splits) == (not held_out)
    if held_out:
        with pytest.raises(NoStream, match="trains on what is published for evaluation"):
            list(open_source("squad", {"path": path, "split": "train"}))
        assert list(open_source("squad", {"path": path, "split": "train", "eval_share": 0.0}))


def test_questions_that_are_left_out_are_counted_with_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "docs.jsonl"
    asked = [{"question": f"Where is {n}?", "answer": "Oslo"} for n in range(12)]
    rows = [{"id": f"d{n}", "text": f"Ann{n} lives in Oslo.", "questions": asked} for n in range(20)]
    path.write_text("\n".join(json.dumps(row) for row in rows))
    with counting() as counts:
        streams = list(open_source("documents", {"path": path, "chunks": 3, "questions": 30, "seed": 1}))
    found = by_reason(counts)
    given = sum(len(stream.questions) for stream in streams)
    assert found["over questions=30 of their stream"] == 6 * sum(len(stream.chunks) == 3 for stream in streams)
    assert given + sum(found.values()) == 240
    card = build_set(Job("documents", path, "documents", {"chunks": 3, "questions": 30}), tmp_path / "sets")
    assert card.questions + sum(card.left_out.values()) == 240
    told = explain_left_out(card.left_out, card.questions)
    assert told.startswith(f"{card.questions} of 240 questions are asked; left out: ")


def test_many_files_of_one_source_are_called_by_their_names(tmp_path: Path) -> None:
    squad = import_module("tests.raw.squad").write(tmp_path)
    for language in ("ar", "de", "el"):
        shutil.copy(squad, tmp_path / f"xquad.{language}.json")
    for task in ("qa1", "qa10"):
        shutil.copy(import_module("tests.raw.babi").write(tmp_path), tmp_path / f"{task}_train.txt")
    (tmp_path / "more").mkdir()
    shutil.copy(squad, tmp_path / "more" / "xquad.de.json")
    squad.unlink()
    names = sorted(job.name for job in find_jobs(tmp_path, "squad"))
    folder = tmp_path.name
    assert names == sorted([f"squad-{folder}-xquad.de", "squad-more-xquad.de", "squad-xquad.ar", "squad-xquad.el"])
    assert {"babi-qa1_train", "babi-qa10_train"} <= {job.name for job in find_jobs(tmp_path, "babi")}


def test_two_records_of_one_id_are_numbered_apart(tmp_path: Path) -> None:
    path = tmp_path / "train.json"
    article = {
        "title": "Oslo",
        "paragraphs": [
            {"context": "Ann lives in Oslo.", "qas": [{"id": "q", "question": "Where?", "answers": [{"text": "Oslo"}]}]}
        ],
    }
    path.write_text(json.dumps({"data": [article, article]}))
    alone = list(open_source("squad", {"path": path, "chunks": None}))
    assert sorted(stream.id for stream in alone) == ["squad-Oslo", "squad-Oslo~2"]
    [packed] = open_source("squad", {"path": path, "chunks": 2})
    assert sorted(question.id for question in packed.questions) == ["q", "q~2"]


# Forms of one format ------------------------------------------------------------------------------------------------


def test_hotpotqa_as_the_hub_has_it_is_the_same(tmp_path: Path) -> None:
    published = import_module("tests.raw.hotpotqa").write(tmp_path)
    wanted = list(open_source("hotpotqa", {"path": published}))
    rows = json.loads(published.read_text())
    for row in rows:
        row["id"] = row.pop("_id")
        row["supporting_facts"] = dict(
            zip(("title", "sent_id"), zip(*row["supporting_facts"], strict=True), strict=True)
        )
        row["context"] = dict(zip(("title", "sentences"), zip(*row["context"], strict=True), strict=True))
    hub = tmp_path / "hub"
    hub.mkdir()
    (hub / "train.json").write_text(json.dumps(rows))
    (hub / "train.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    pq.write_table(pa.Table.from_pylist(json.loads(json.dumps(rows))), hub / "train-00000-of-00001.parquet")
    for path in sorted(hub.iterdir()):
        assert list(open_source("hotpotqa", {"path": path})) == wanted
    assert SOURCES["hotpotqa"].find(sorted(hub.iterdir())) == sorted(hub.iterdir())
    rows[0]["context"]["title"] = rows[0]["context"]["title"][:-1]
    (hub / "train.json").write_text(json.dumps(rows))
    with pytest.raises(DataError, match="record 1: context: the columns are not as long as each other"):
        list(open_source("hotpotqa", {"path": hub / "train.json"}))
    cut = hub / "cut.parquet"
    cut.write_bytes((hub / "train-00000-of-00001.parquet").read_bytes()[:-20])
    with pytest.raises(DataError, match=r"cut\.parquet, after 0 rows"):
        list(open_source("hotpotqa", {"path": cut}))


@pytest.mark.parametrize("end", [".tar", ".tar.gz"])
def test_beam_and_babi_are_read_from_archives(end: str, tmp_path: Path) -> None:
    def pack(folder: Path, name: str) -> Path:
        made = tmp_path / f"{name}{end}"
        with tarfile.open(made, "w:gz" if end.endswith("gz") else "w") as archive:
            archive.add(folder, arcname=folder.name)
        return made

    chats = import_module("tests.raw.beam").write(tmp_path / "100K")
    packed = pack(chats, "beam")
    assert list(open_source("beam", {"path": packed})) == list(open_source("beam", {"path": chats}))
    assert [job.name for job in find_jobs(packed)] == ["beam"]
    tasks = tmp_path / "tasks_1-20_v1-2"
    for folder in ("en", "en-10k"):
        (tasks / folder).mkdir(parents=True)
        for task in (1, 10):
            for part in ("train", "test"):
                (tasks / folder / f"qa{task}_some-facts_{part}.txt").write_text(stories(5, task))
    packed = pack(tasks, "tasks")
    made = list(open_source("babi", {"path": packed}))
    assert len(made) == 10 and made == list(open_source("babi", {"path": tasks}))
    assert {question.kind for stream in made for question in stream.questions} == {"qa1_some-facts", "qa10_some-facts"}
    assert len(list(open_source("babi", {"path": packed, "task": 1, "folder": "en-10k"}))) == 5
    with pytest.raises(NoStream):
        list(open_source("babi", {"path": packed, "part": "test", "split": "train"}))
    assert list(open_source("babi", {"path": packed, "part": "test", "split": "eval"}))
    with pytest.raises(DataError, match="holds no file hn/qa"):
        list(open_source("babi", {"path": packed, "folder": "hn"}))
    assert [job.source for job in find_jobs(packed)] == ["babi"]


def test_a_table_of_texts_and_labels_is_read(tmp_path: Path) -> None:
    folder = import_module("tests.raw.banking77").write(tmp_path)
    wanted = list(open_source("banking77", {"path": folder, "chunks": 2, "chunk_tokens": 200}))
    made = list(open_source("labelled", {"path": folder, "chunks": 2, "chunk_tokens": 200}))
    assert [len(stream.chunks) for stream in made] == [len(stream.chunks) for stream in wanted]
    table = tmp_path / "mine.tsv"
    rows = [f"customer {n} asks about {label}\t{label}" for label in ("loans", "cards") for n in range(30)]
    table.write_text("\n".join(["what\tkind", *rows]))
    with pytest.raises(DataError, match=r"has no column text or sentence .* Name the column by the option text"):
        list(open_source("labelled", {"path": table}))
    options = {"path": table, "text": "what", "label": "kind", "chunks": 2, "chunk_tokens": 200}
    streams = {split: list(open_source("labelled", {**options, "split": split})) for split in ("train", "eval")}
    assert all(streams.values())
    assert set(streams["train"][0].metadata["labels"].values()) == {"loans", "cards"}


def test_every_source_says_what_it_reads(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "list", "--json"]) == 0
    said = {source["name"]: source["reads"] for source in json.loads(capsys.readouterr().out)["sources"]}
    assert said.keys() == set(SOURCES)
    assert "tar archive" in said["beam"] and "tasks_1-20_v1-2.tar.gz" in said["babi"] and "parquet" in said["hotpotqa"]
    assert said["synthetic"] == "nothing: it is generated"
    for name, source in SOURCES.items():
        assert "path" not in source.options() or "path: " in (source.read.__doc__ or ""), name


# Time -------------------------------------------------------------------------------------------------------------


def prose(size: int) -> list[str]:
    rng = random.Random(1)
    words = ("the", "of", "a", "time", "man", "house", "river", "blue", "green", "quick", "slow", "went", "saw", "few")
    paragraphs: list[str] = []
    while sum(map(len, paragraphs[-1:])) + 420 * len(paragraphs) < size:
        said = (" ".join(rng.choice(words) for _ in range(rng.randint(8, 15))).capitalize() for _ in range(6))
        paragraphs.append(". ".join(said) + ".")
    return paragraphs


@pytest.mark.long
def test_a_text_twice_as_long_takes_twice_as_long() -> None:
    def seconds(size: int) -> float:
        units = [Unit(text, (str(number),)) for number, text in enumerate(prose(size))]
        began = time.process_time()
        assert order_asks("d", units, 20, 0)
        cut(units, 1024)
        return time.process_time() - began

    assert seconds(3_000_000) < 3 * 2.5 * max(seconds(1_000_000), 0.1)  # the square would be nine times


def test_a_passage_that_comes_twice_is_not_asked_for() -> None:
    texts = prose(30_000)
    units = [Unit(text, (str(number),)) for number, text in enumerate([*texts, *texts[:20]])]
    asked = order_asks("d", units, 500, 0, length=6, chunk_tokens=200)
    assert asked
    assert not any(text in ask.text for ask in asked for text in texts[:20])


def test_a_turn_is_cut_only_where_it_is_asked_for() -> None:
    units = [Unit("A: " + "word " * 500, ("t",), turn=True), Unit("B: yes", ("u",), turn=True)]
    assert [piece.tokens for piece in cut(units, 100)] == [502, 3]
    pieces = cut(units, 100, longest=400)
    assert max(piece.tokens for piece in pieces) <= 100
    assert " ".join(" ".join(piece.text for piece in pieces).split()) == "A: " + "word " * 500 + "B: yes"
    assert all("t" in piece.keys for piece in pieces[:-1])
    assert max(piece.tokens for piece in cut([Unit("x" * 9000)], 100, longest=100)) <= 100


# Templates and filler are no leaks --------------------------------------------------------------------------------


def stories(count: int, seed: int) -> str:
    rng = random.Random(seed)
    told = []
    for _ in range(count):
        lines = []
        for _ in range(5):
            for _ in range(2):
                verb = rng.choice(("moved", "went", "journeyed", "travelled"))
                name, place = rng.choice(("Mary", "John", "Sandra", "Daniel")), rng.choice(("hall", "garden", "office"))
                lines.append(f"{name} {verb} to the {place}.")
            lines.append(f"Where is {name}? \t{place}\t{len(lines)}")
        told.append("".join(f"{number} {line}\n" for number, line in enumerate(lines, start=1)))
    return "".join(told)


@pytest.mark.long
@pytest.mark.parametrize("source", ["babi", "mine"])
def test_templates_are_no_leak_and_a_copied_story_is(source: str, tmp_path: Path) -> None:
    streams: dict[str, list[Stream]] = {}
    for part, count in (("train", 200), ("test", 40)):
        path = tmp_path / f"qa1_single_{part}.txt"
        path.write_text(stories(count, len(part)))
        made = open_source("babi", {"path": path, "chunk_tokens": 120})
        streams[part] = [stream.model_copy(update={"source": source}) for stream in made]
    [pair] = find_overlap(streams["train"], streams["test"]).pairs
    assert pair.leaks == ()
    copied = [*streams["train"], *streams["test"][:3]]
    [pair] = find_overlap(copied, streams["test"]).pairs
    assert "document" in pair.leaks and pair.leaking == 3


def test_filler_that_people_share_is_no_leak_and_what_is_theirs_is(tmp_path: Path) -> None:
    talk = " ".join(f"word{number}" for number in range(60))

    def person(name: str, told: str) -> Stream:
        turns = [
            {"speaker": "User", "content": f"{told} {name}", "is_query": False},
            {"speaker": "User", "content": "What now?", "is_query": True, "query_id": "Q1", "category_name": "fact"},
            {"speaker": "Assistant", "content": "Go on."},
        ]
        base = {"current_time": "2025-12-19 (Friday)", "extracted_memory": []}
        dialogues = [
            {**base, "session_identifier": f"Plan:{name}", "session_uuid": "1", "dialogue_turns": turns},
            {
                **base,
                "session_identifier": "Enhanced:S1",
                "session_uuid": "2",
                "dialogue_turns": [{"speaker": "User", "content": talk}],
            },
        ]
        path = tmp_path / f"{name}_dialogues_1.json"
        path.write_text(json.dumps({"_metadata": {"person_name": name}, "dialogues": dialogues}))
        [stream] = open_source("realmem", {"path": path})
        return stream

    ann, bob = person("Ann", "I plan a trip."), person("Bob", "My garden grows.")
    assert ann.metadata["filler"] == [1]
    assert not find_overlap([ann], [bob]).leaks
    eve = person("Eve", talk)
    assert find_overlap([eve], [person("Ada", talk)]).leaks
