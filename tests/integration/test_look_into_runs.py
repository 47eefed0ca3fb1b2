"""Looking into runs: a real run of two steps, whole, killed, damaged, of an older version; and hostile texts."""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard

from memrl.cli.main import main
from memrl.config import load_config
from memrl.envs.designs.stores import StoreMemory
from memrl.envs.dialects.hermes import HermesDialect
from memrl.envs.memory_env import MemoryEnv
from memrl.envs.stream import Chunk, Question, Stream
from memrl.envs.tools import ToolCall
from memrl.errors import ConfigError
from memrl.look.report import CAUSES_FILE, MARK, script, write_report
from memrl.look.runs import find_runs, open_run
from memrl.look.texts import LONGEST, visible
from memrl.records import AnswerRecord, Completion, Episode, Step
from memrl.report.causes import Cause
from memrl.storage.lock import lock_folder
from memrl.storage.rundir import EpisodeWriter
from memrl.training.rescore import rescore
from memrl.training.trainer import Trainer
from tests.support import quiet, rows


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the embedded model that has ended; nobody writes to it."""
    folder = tmp_path_factory.mktemp("looked") / "run"
    source = "[{source: synthetic, chunks: 3, sentences: 3, people: 16}]"
    words = {
        "run.dir": folder, "model.device": "cpu", "data.train": source, "data.eval": source, "train.steps": 2,
        "train.group_size": 3, "train.streams_per_step": 2, "eval.streams": 3, "eval.every": 1,
        "rollout.refill_rounds": 0, "run.report_every": 1,
    }  # fmt: skip
    config = load_config("tiny", [f"{key}={value}" for key, value in words.items()])
    Trainer(config, name="looked", resume=False, console=quiet()).run()
    return folder


@pytest.fixture
def mine(run: Path, tmp_path: Path) -> Path:
    """A copy of it, without its report."""
    shutil.copytree(run, tmp_path / "run", symlinks=True, ignore=shutil.ignore_patterns("report", "checkpoints"))
    return tmp_path / "run"


def data(out: Path) -> dict[str, Any]:
    """All records of a report, by name, as a page gets them."""
    found = {}
    for path in (out / "data").rglob("*.js"):
        text = path.read_bytes().decode("ascii")
        assert text.startswith("memrlData(") and text.endswith(");\n") and "<" not in text
        name, record = json.loads("[" + text.removeprefix("memrlData(").removesuffix(");\n") + "]")
        assert path == out / "data" / f"{name}.js"
        found[name] = record
    return found


def texts(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield value
        case dict():
            for key, below in value.items():
                yield key
                yield from texts(below)
        case list():
            for below in value:
                yield from texts(below)


# What a run keeps -----------------------------------------------------------------------------------------------------


def test_held_out_episodes_are_kept_as_those_of_training(run: Path) -> None:
    held, trained = EpisodeWriter(run / "eval" / "episodes"), EpisodeWriter(run / "episodes")
    assert (held.steps(), trained.steps()) == ([0, 1, 2], [1, 2])
    for row in rows(run):
        episodes = held.read(row["step"])
        assert len(episodes) == row["eval/streams"] == 3
        scores = [sum(answer.score for answer in one.answers) / len(one.answers) for one in episodes]
        assert row["eval/qa"] == pytest.approx(sum(scores) / 3)
    assert (run / "curve.png").stat().st_size > 10_000


def test_an_episode_says_all_that_is_needed_to_show_it(run: Path) -> None:
    trained = EpisodeWriter(run / "episodes").read(1)
    credited = [step.advantage for one in trained for step in one.steps if step.advantage is not None]
    row = rows(run)[1]
    assert len(credited) == row["advantage/samples"]
    assert sum(map(abs, credited)) / max(len(credited), 1) == pytest.approx(row["advantage/abs_mean"])
    for one in [*trained, *EpisodeWriter(run / "eval" / "episodes").read(1)]:
        assert len(one.chunks) == len(one.steps) == 3
        for step in one.steps:
            assert step.seen.startswith("# Memory (") and len(step.calls) == len(step.results)
            for call, result in zip(step.calls, step.results, strict=True):
                assert (call.name, call.raw) == (result.name, "")
                if result.content:
                    assert " ".join(call.arguments["content"].split()) == result.content


def test_the_text_of_a_stream_stands_in_its_first_episode_alone(run: Path) -> None:
    packed = (run / "episodes" / "step_00001.jsonl.zst").read_bytes()
    lines = [json.loads(line) for line in zstandard.ZstdDecompressor().decompress(packed).splitlines()]
    assert [bool(line.get("chunks")) for line in lines] == [True, False, False] * 2
    read = EpisodeWriter(run / "episodes").read(1)
    assert all(one.chunks == read[3 * (number // 3)].chunks for number, one in enumerate(read))


def test_a_run_whose_texts_are_kept_is_rescored_to_what_it_was_paid(run: Path) -> None:
    for _, before, after, _ in rescore(run):
        assert before == after


# The report -----------------------------------------------------------------------------------------------------------


def test_the_trainer_s_report_is_the_one_of_the_command(run: Path, tmp_path: Path) -> None:
    write_report([run], tmp_path / "again")
    mine, its = data(tmp_path / "again"), data(run / "report")
    assert mine.keys() == its.keys()
    for name in mine.keys() - {"index", "run/overview"}:
        assert mine[name] == its[name]
    assert its["index"]["live"] is None


def test_names_lead_from_the_index_to_every_record(run: Path) -> None:
    found = data(run / "report")
    overview = found[found["index"]["runs"][0]["overview"]]
    seen = {"index", "run/overview", *(place["compare"] for place in overview["streams"])}
    for step in (*overview["evaluations"], *overview["training"]):
        seen |= {step["groups"], step["wrong"], step["search"]}
        for row in found[step["groups"]]["groups"]:
            seen |= {row["group"], *row["episodes"]}
            assert [one["episode"] for one in found[row["group"]]["episodes"]] == row["episodes"]
    assert seen == found.keys()
    assert len(overview["evaluations"]) == 3 and len(overview["training"]) == 2
    assert {line["group"] for line in overview["series"]} >= {
        "held-out", "kinds", "reward", "lengths", "tools", "failures", "staleness", "entropy", "clipping", "time",
        "tokens", "cost",
    }  # fmt: skip


def test_what_was_read_written_and_kept_is_found_by_a_search(run: Path) -> None:
    found = data(run / "report")
    sought = {
        (some["at"], some["what"], place): text
        for step in (*found["run/overview"]["evaluations"], *found["run/overview"]["training"])
        for some in found[step["search"]]["texts"]
        for place, text in zip(some["places"], some["texts"], strict=True)
    }
    assert {what for _, what, _ in sought} == {"chunk", "question", "completion", "item", "answer"}
    kept = [(name, item) for name, record in found.items() if "answers" in record for item in record["items"]]
    assert kept and all(sought[name, "item", item["id"]] == item["text"] for name, item in kept)


def test_every_link_of_an_episode_leads_somewhere(run: Path) -> None:
    found = data(run / "report")
    operations = sentences = 0
    for name, record in found.items():
        if "-" not in name.rsplit("/", 1)[-1] or "/" not in name:
            continue
        chunks = {chunk["number"]: chunk["text"] for chunk in found[record["group"]]["chunks"]}
        items = {item["id"]: item for item in record["items"]}
        for item in record["items"]:
            change = record["steps"][item["origin"]["step"]]["changes"][item["origin"]["change"]]
            assert (change["item"], change["after"]) == (item["id"], item["text"])
            operations += 1
        links = [change["sentence"] for step in record["steps"] for change in step["changes"]]
        for answer in record["answers"]:
            assert all(one["id"] in items and items[one["id"]]["text"] in one["text"] for one in answer["shown"])
            assert (answer["why"] is None) == answer["right"] == (answer["score"] >= 0.5)
            links += answer["evidence"]
        for link in filter(None, links):
            assert chunks[link["chunk"]][link["start"] : link["end"]] == link["text"]
            sentences += 1
        for step in record["steps"]:
            for call in step["calls"]:
                if call["change"] is not None:
                    assert step["changes"][call["change"]]["item"] == call["item"]
    assert operations and sentences


def test_causes_agree_in_page_terminal_and_json_and_add_up(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    causes = json.loads((run / "report" / CAUSES_FILE).read_text())
    found = data(run / "report")
    wrong = 0
    for evaluation in found["run/overview"]["evaluations"]:
        counts = causes[str(evaluation["step"])]
        assert counts == evaluation["causes"]
        by_kind = Counter[str]()
        for of in evaluation["causes_by_kind"].values():
            by_kind.update(of)
        assert dict(by_kind) == counts
        listed = found[evaluation["wrong"]]["rows"]
        assert Counter(row["cause"] for row in listed) == {cause: count for cause, count in counts.items() if count}
        episodes = EpisodeWriter(run / "eval" / "episodes").read(evaluation["step"])
        assert len(listed) == sum(answer.score < 0.5 for one in episodes for answer in one.answers)
        assert main(["show", str(run), "--wrong", "--step", str(evaluation["step"])]) == 0
        shown = capsys.readouterr().out.splitlines()
        assert [int(text.split()[0]) for text in shown[1 : 1 + len(counts)]] == list(counts.values())
        wrong += len(listed)
    assert wrong


def test_a_report_takes_in_what_is_new_and_writes_nothing_twice(mine: Path) -> None:
    held, trained = mine / "eval" / "episodes", mine / "episodes"
    later = {path: path.read_bytes() for path in (held / "step_00002.jsonl.zst", trained / "step_00002.jsonl.zst")}
    metrics = (mine / "metrics.jsonl").read_text()
    for path in later:
        path.unlink()
    (mine / "metrics.jsonl").write_text("".join(metrics.splitlines(keepends=True)[:2]))
    write_report([mine], live=True)
    first = data(mine / "report")
    assert first["index"]["live"] and first["index"]["runs"][0]["step"] == 1
    times = {path: path.stat().st_mtime_ns for path in (mine / "report").rglob("*/00001/*.js")}
    for path, content in later.items():
        path.write_bytes(content)
    (mine / "metrics.jsonl").write_text(metrics)
    write_report([mine])
    second = data(mine / "report")
    assert second.keys() - first.keys() == {name for name in second if "/00002/" in name}
    assert times and times == {path: path.stat().st_mtime_ns for path in times}


def test_no_more_episodes_than_asked_for_get_files(mine: Path) -> None:
    write_report([mine], episodes=5)
    found = data(mine / "report")
    overview = found["run/overview"]
    assert [bool(one["groups"]) for one in overview["evaluations"]] == [False, False, True]
    assert not any(one["groups"] for one in overview["training"])
    assert "2 of 3 evaluations and 2 of 2 training steps" in overview["left_out"]
    assert all(one["causes"] for one in overview["evaluations"]), "all are counted"
    write_report([mine])
    assert all(one["groups"] for one in data(mine / "report")["run/overview"]["evaluations"])


def test_several_runs_are_one_report_with_a_band(mine: Path, tmp_path: Path) -> None:
    other = shutil.copytree(mine, tmp_path / "b" / "run")
    write_report([mine, other], tmp_path / "both")
    index = data(tmp_path / "both")["index"]
    assert [one["run"] for one in index["runs"]] == ["run", "run-2"]
    assert index["band"]["steps"] == [0, 1, 2] and index["band"]["low"] == index["band"]["mean"]


# Runs in any state ----------------------------------------------------------------------------------------------------


def test_the_state_of_a_run_is_told(mine: Path) -> None:
    assert open_run(mine).state == "ended"
    (mine / "lock").write_text(f"{os.getpid()} {socket.gethostname()}\n")
    running = open_run(mine)
    assert running.state == "running" and str(os.getpid()) in running.state_in_words
    (mine / "lock").write_text(f"999999999 {socket.gethostname()}\n")  # a process that was killed leaves its file
    assert open_run(mine).state == "ended"
    lines = (mine / "metrics.jsonl").read_text().splitlines(keepends=True)
    (mine / "metrics.jsonl").write_text("".join(lines[:2]) + lines[2][:50])  # killed while it wrote a row
    killed = open_run(mine)
    assert (killed.state, killed.step, killed.damage) == ("stopped", 1, [])
    assert "--resume" in killed.state_in_words


def test_the_runs_of_a_folder_are_listed_with_their_states(
    mine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "runs"
    for name in ("damaged", "ended", "killed", "newer", "running", "unborn"):
        shutil.copytree(mine, folder / name, symlinks=True)
    lines = (mine / "metrics.jsonl").read_text().splitlines(keepends=True)
    (folder / "damaged" / "metrics.jsonl").write_text(lines[0] + "{" + lines[1] + lines[2])
    for name in ("killed", "running"):
        (folder / name / "metrics.jsonl").write_text("".join(lines[:2]))
        (folder / name / "summary.json").unlink()
    (folder / "killed" / "lock").write_text(f"999999999 {socket.gethostname()}\n")  # as a kill leaves it behind
    (folder / "newer" / "run.json").write_text(json.dumps({"format_version": 999}))
    for path in (folder / "unborn").iterdir():
        if path.name not in ("config.yaml", "run.json"):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    with lock_folder(folder / "running"):
        assert main(["runs", str(folder), "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert main(["runs", str(folder)]) == 0
        shown = capsys.readouterr().out
    states = [(Path(row["folder"]).name, row["state"], row["of"]) for row in found["runs"]]
    assert states == [
        ("damaged", "damaged", "2/2"), ("ended", "ended", "2/2"), ("killed", "stopped", "1/2"),
        ("running", "running", "1/2"),
    ]  # fmt: skip
    for name, state, step in states:
        (at,) = (number for number, text in enumerate(shown.splitlines()) if text.split()[0].endswith(f"/{name}"))
        assert {state, step} <= set(" ".join(shown.splitlines()[at : at + 2]).split())
    assert "metrics.jsonl: 1 of 3 lines cannot be read" in shown
    for why in ("newer memrl", f"{folder / 'unborn'} is empty: it was stopped before its first step"):
        assert sum(why in text for text in found["left_out"]) == 1 and f"{why}" in shown
    assert open_run(folder / "running").state == "stopped", "its lock is gone"


def test_a_killed_run_has_a_report_without_what_came_after_its_last_row(mine: Path) -> None:
    lines = (mine / "metrics.jsonl").read_text().splitlines(keepends=True)
    (mine / "metrics.jsonl").write_text("".join(lines[:2]))
    (mine / "summary.json").unlink()
    write_report([mine])
    overview = data(mine / "report")["run/overview"]
    assert (overview["state"], overview["step"]) == ("stopped", 1)
    assert [one["step"] for one in overview["training"]] == [1]


def test_damaged_files_are_named_and_the_rest_is_shown(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (mine / "eval" / "episodes" / "step_00001.jsonl.zst").write_bytes(b"no zstd")
    packed = (mine / "episodes" / "step_00002.jsonl.zst").read_bytes()
    (mine / "episodes" / "step_00002.jsonl.zst").write_bytes(packed[: len(packed) // 2])
    text = (mine / "metrics.jsonl").read_text().splitlines(keepends=True)
    (mine / "metrics.jsonl").write_text(text[0] + '{"step": NaN"\n' + "".join(text[1:]))
    (mine / "run.json").write_text("{")
    for _ in range(2):  # made anew, and brought up to date
        write_report([mine])
        overview = data(mine / "report")["run/overview"]
        assert overview["state"] == "damaged"
        for name in ("eval/episodes/step_00001", "episodes/step_00002", "metrics.jsonl", "run.json"):
            assert any(name in damage for damage in overview["damage"]), name
        assert [one["causes"] is None for one in overview["evaluations"]] == [False, True, False]
        assert [one["groups"] is None for one in overview["training"]] == [False, True]
    assert main(["show", str(mine)]) == 0
    assert "step_00001.jsonl.zst cannot be read" in capsys.readouterr().out
    assert main(["show", str(mine), "--step", "1", "--part", "held-out"]) == 2


def test_a_run_of_an_older_version_is_read(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(mine / "eval")
    (mine / "run.json").unlink()
    for path in (mine / "episodes").iterdir():
        lines = [json.loads(line) for line in zstandard.ZstdDecompressor().decompress(path.read_bytes()).splitlines()]
        for line in lines:
            line.pop("chunks", None)
            for step in line["steps"]:
                for new in ("seen", "calls", "advantage"):
                    del step[new]
        packed = "".join(json.dumps(line) + "\n" for line in lines).encode()
        path.write_bytes(zstandard.ZstdCompressor().compress(packed))
    write_report([mine])
    found = data(mine / "report")
    assert json.loads((mine / "report" / CAUSES_FILE).read_text()) == {}
    assert all(one["causes"] is None for one in found["run/overview"]["evaluations"])
    assert found["run/training/00001/0000"]["chunks"] == []
    assert found["run/training/00001/wrong"]["rows"]
    assert main(["show", str(mine), "--step", "1", "--episode", "0"]) == 0
    assert "the text was not kept" in capsys.readouterr().out


def test_runs_are_listed_and_compared(mine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = shutil.copytree(mine, tmp_path / "other")
    (other / "config.yaml").write_text((mine / "config.yaml").read_text().replace("seed: 0", "seed: 7", 1))
    (tmp_path / "empty").mkdir()
    assert list(find_runs(tmp_path)) == [tmp_path / "other", tmp_path / "run"]
    assert main(["runs", str(tmp_path)]) == 0
    listed = capsys.readouterr().out
    assert "ended" in listed and "2/2" in listed and "looked: seeds 0, 7" in listed
    assert main(["runs", str(tmp_path), "--json"]) == 0
    plain = json.loads(capsys.readouterr().out)["runs"]
    last = rows(mine)[-1]
    assert [(one["seed"], one["step"]) for one in plain] == [(7, 2), (0, 2)]
    assert plain[0]["last"]["value"] == last["eval/qa"]
    assert main(["compare", str(mine), str(other), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["step"] for row in found["curve"]] == [0, 1, 2]
    assert found["better_by"]["value"] == 0 and found["final"]["all"][0]["low"] == last["eval/qa_low"]
    assert found["causes"][0] == json.loads((write_report([mine]).parent / CAUSES_FILE).read_text())["2"]
    assert main(["compare", str(mine), str(other)]) == 0
    assert "other better by" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["report", "nowhere"], "no such folder"),
        (["report", "."], "it holds runs: name one of them (newer, run, unborn)"),
        (["report", "empty"], "it has no config.yaml"),
        (["report", "unborn"], "was stopped before its first step"),
        (["report", "newer"], "newer memrl"),
        (["report", "run", "--out", "other"], "holds something that is no report (mine.txt)"),
        (["report", "run", "--out", "run/metrics.jsonl"], "is a file"),
        (["report", "run", "--episodes", "-1"], "must be 0 or more"),
        (["show", "run", "--step", "9"], "no episodes of step 9"),
        (["show", "run", "--step", "1", "--episode", "3"], "it has 0 to 2"),
        (["show", "run", "--episode", "3"], "--episode goes with --step"),
        (["show", "run", "--wrong", "--cause", "lots"], "choose from never_stored"),
        (["runs", "nowhere"], "no folder nowhere"),
        (["runs", "empty"], "holds no run"),
        (["compare", "run", "nowhere"], "no such folder"),
        (["show", "nowhere"], "`memrl runs .` lists those near"),
        (["show", "empty"], "it has no config.yaml"),
        (["show", "unborn"], "Start it: memrl train --resume run.dir=unborn"),
        (["show", "newer"], "newer memrl"),
        (["compare", "run", "empty"], "it has no config.yaml"),
        (["compare", "unborn", "run"], "was stopped before its first step"),
        (["compare", "run", "newer"], "newer memrl"),
        (["view", "nowhere", "--port", "0"], "no such folder"),
        (["view", "empty", "--port", "0"], "it has no config.yaml"),
        (["view", "unborn", "--port", "0"], "was stopped before its first step"),
        (["view", "newer", "--port", "0"], "newer memrl"),
        (["view", "run", "--port", "0", "--out", "other"], "give another --out, or empty it"),
        (["view", "run", "--port", "TAKEN"], "Give another --port; 0 takes a free one."),
    ],
)
def test_bad_input_is_one_line_with_the_remedy(
    mine: Path, words: list[str], says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(mine.parent)
    for name in ("empty", "unborn", "newer", "other"):
        Path(name).mkdir()
    for name in ("unborn", "newer"):
        Path(name, "config.yaml").write_text("seed: 0\n")
    Path("unborn", "run.json").write_text(json.dumps({"format_version": 1}))
    Path("newer", "run.json").write_text(json.dumps({"format_version": 999}))
    Path("other", "mine.txt").write_text("mine")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert main([port if word == "TAKEN" else word for word in words]) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1
    assert Path("other", "mine.txt").read_text() == "mine" and len(list(Path("other").iterdir())) == 1


def test_a_report_that_cannot_be_written_ends_no_run(run: Path, mine: Path) -> None:
    (mine / "report").write_text("in the way")
    with pytest.raises(ConfigError):
        write_report([mine])
    assert not (mine / MARK).exists()


# Hostile texts --------------------------------------------------------------------------------------------------------

HOSTILE = (
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "\x1b[2J\x1b]8;;file:///etc/passwd\x07link\x1b\\",
    "\u202egnp.exe\u2066",
    "[bold]no[/bold] **markup** [x](file:///etc/passwd)",
    "a\u2028b\u2029c\x00d\r\nlate",
    "long " * 210_000,
)


@pytest.fixture
def hostile(mine: Path) -> Path:
    """The run, with an episode in which every text is hostile."""
    everything = " ".join(HOSTILE)
    stream = Stream(
        id=HOSTILE[0],
        source=HOSTILE[1],
        chunks=tuple(Chunk(text=text, time=HOSTILE[2]) for text in HOSTILE),
        questions=(Question(id=HOSTILE[3], text=everything, answers=(HOSTILE[0],), kind=HOSTILE[4]),),
    )
    memory = StoreMemory(10**7, 10**7)
    env = MemoryEnv(stream, memory, HermesDialect())
    steps = []
    for number, text in enumerate(HOSTILE):
        said = HermesDialect().format(
            [
                ToolCall(name="memory_insert", arguments={"memory_type": "semantic", "content": f"{number} {text}"}),
                ToolCall(name=text[:5_000], arguments={HOSTILE[1]: "\ud800" + text[:5_000], "deep": [[[{"a": [1]}]]]}),
            ]
        )
        seen = env.observe().memory
        found = env.step(said)
        calls = [call.kept() for call in (*found.calls, *found.refused)]
        completion = Completion(ids=[1], logprobs=[0.0], stop="stop", version=0)
        steps.append(
            Step(
                chunk=number, prompt_ids=[1], completion=completion, text=said.encode("utf-8", "replace").decode(),
                results=found.results, diff=found.diff, memory_tokens=1, calls=calls, seen=seen,
            )
        )  # fmt: skip
    answer = AnswerRecord(
        question_id=HOSTILE[3], kind=HOSTILE[4], question=everything, gold=[HOSTILE[0]], answer=everything,
        metric="exact_match", score=0.0, evidence=None, retrieved=[item.id for item in memory.items],
    )  # fmt: skip
    episode = Episode(
        stream_id=HOSTILE[0], source=HOSTILE[1], index=0, version=0, seed=0, steps=steps, answers=[answer],
        memory=memory.snapshot(), chunk_tokens=9, memory_tokens=9, parts={HOSTILE[1]: 1.0}, chunks=list(stream.chunks),
    )  # fmt: skip
    EpisodeWriter(mine / "eval" / "episodes").write(2, [episode])
    assert EpisodeWriter(mine / "eval" / "episodes").read(2) == [episode]
    return mine


def test_hostile_texts_are_data_in_the_report_and_cut(hostile: Path) -> None:
    write_report([hostile])
    found = data(hostile / "report")  # each is ASCII and has no `<`
    record = found["run/held-out/00002/0000-0"]
    assert HOSTILE[0] in record["steps"][0]["completion"]
    assert all(len(text) <= LONGEST + 100 for text in texts(found))
    assert "more characters]" in record["steps"][6]["completion"]
    assert record["steps"][0]["calls"][1]["arguments"]["deep"] == "(list)"
    assert all(path.stat().st_size < 3_000_000 for path in (hostile / "report").rglob("*.js"))


def test_hostile_texts_reach_no_terminal_as_they_are(hostile: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([], ["--step", "2"], ["--step", "2", "--episode", "0"], ["--wrong"]):
        assert main(["show", str(hostile), *words]) == 0
        said = capsys.readouterr().out
        assert said and all(sign == "\n" or sign.isprintable() for sign in said), words
    assert main(["show", str(hostile), "--step", "2", "--episode", "0"]) == 0
    said = capsys.readouterr().out
    assert "\\x1b[2J" in said and "\\u202egnp.exe" in said and "[bold]no[/bold]" in said


def test_a_name_of_a_run_is_a_safe_name_of_a_file(mine: Path, tmp_path: Path) -> None:
    odd = tmp_path / "a b<script>'; é"
    shutil.copytree(mine, odd)
    write_report([odd, mine], tmp_path / "out")
    index = data(tmp_path / "out")["index"]
    assert [one["run"] for one in index["runs"]] == ["a-b-script", "run"]
    assert index["runs"][0]["folder"] == odd.name
    assert main(["runs", str(tmp_path)]) == 0


def test_what_is_hidden_is_spelled_and_scripts_stay_what_they_are() -> None:
    assert visible("a\x1b\u202e\ud800\U000e0041") == "a\\x1b\\u202e\\ud800\\U000e0041"
    for text in ("Ünïcode", "日本語", "नमस्ते", "a\u200db", "two\nlines\t"):
        assert visible(text) == text
    assert script("a", {"x": "</script>&\u2028"}) == b'memrlData("a",{"x":"\\u003c/script\\u003e\\u0026\\u2028"});\n'
    assert set(Cause) >= {"lost"}
