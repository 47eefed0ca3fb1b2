"""Built sets: `memrl data build | list | inspect | stats`, their cards, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from memrl.cli.main import main
from memrl.data.build import find_jobs
from memrl.data.card import read_card
from memrl.envs.sources import SOURCES
from memrl.envs.stream import read_jsonl
from tests.raw import banking77, locomo, squad
from tests.shared import SHARED, needs_shared


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Raw files of three sources, each in a folder of its own, beside others that nobody knows."""
    folder = tmp_path / "raw"
    for module in (banking77, locomo, squad):
        below = folder / module.__name__.rpartition(".")[2]
        below.mkdir(parents=True)
        module.write(below)
        (below / "README.md").write_text("read me")
    (folder / "notes.json").write_text('{"a": 1}')
    return folder


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["data", *words]) == 2
    return " ".join(capsys.readouterr().err.split())


@pytest.mark.long
def test_everything_in_a_folder_becomes_sets_with_cards(
    raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "sets"
    assert main(["data", "build", "--from", str(raw), "--out", str(out)]) == 0
    assert "files that no source knows: notes.json" in capsys.readouterr().err
    assert sorted(path.name for path in out.iterdir()) == ["banking77", "locomo", "squad"]
    for name in ("banking77", "locomo", "squad"):
        card = json.loads((out / name / "card.json").read_text())
        streams = [s for part in card["splits"].values() for s in read_jsonl(out / name / part["file"])]
        assert card["name"] == card["source"] == name
        assert card["streams"] == len(streams)
        assert card["chunks"] == sum(len(stream.chunks) for stream in streams)
        assert card["questions"] == sum(len(stream.questions) for stream in streams)
        assert card["evidence"] == pytest.approx(
            sum(q.evidence is not None for s in streams for q in s.questions) / card["questions"], abs=1e-3
        )
        assert card["tokens"] > 0 and card["seconds"] >= 0 and card["peak_mib"] > 1
        assert card["licence"] == SOURCES[name].licence
        assert {entry["file"] for entry in card["inputs"]} == {
            path.name for path in (raw / name).iterdir() if path.suffix != ".md"
        }
    assert json.loads((out / "squad" / "card.json").read_text())["answers_found"] == 1.0
    assert json.loads((out / "locomo" / "card.json").read_text())["splits"].keys() == {"eval"}


@pytest.mark.long
def test_building_again_keeps_what_is_the_same_and_refuses_what_is_not(
    raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "sets"
    words = ["build", "squad", "--from", str(raw), "--out", str(out)]
    assert main(["data", *words]) == 0
    before = (out / "squad" / "card.json").stat().st_ino
    assert main(["data", *words]) == 0
    assert (out / "squad" / "card.json").stat().st_ino == before
    assert "built from other files, options or by another version. Use --force" in refused(capsys, *words, "chunks=2")
    assert main(["data", *words, "--force", "chunks=2"]) == 0
    assert read_card(out / "squad").options == {"chunks": 2}


@pytest.mark.long
def test_one_bad_set_does_not_stop_the_others(raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = raw / "locomo" / "locomo10.json"
    file.write_text(file.read_text()[:-200])
    message = refused(capsys, "build", "--from", str(raw), "--out", str(tmp_path / "sets"))
    assert "locomo: " in message and "damaged or cut short" in message
    assert sorted(path.name for path in (tmp_path / "sets").iterdir()) == ["banking77", "squad"]


@pytest.mark.long
def test_a_generated_set_needs_no_files(tmp_path: Path) -> None:
    assert main(["data", "build", "synthetic", "--out", str(tmp_path), "count=3", "chunks=2"]) == 0
    (stream, *_) = streams = list(read_jsonl(tmp_path / "synthetic" / "all.jsonl"))
    assert len(streams) == 3 and len(stream.chunks) == 2


def test_two_inputs_of_one_source_get_a_folder_each(raw: Path) -> None:
    (raw / "more").mkdir()
    (raw / "more" / "train-v1.1.json").write_bytes((raw / "squad" / "dev-v1.1.json").read_bytes())
    assert [job.name for job in find_jobs(raw, "squad")] == ["squad-train-v1.1", "squad-dev-v1.1"]


@pytest.mark.long
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["build", "--out", "x"], "nothing to build from: give --from PATH, or a SOURCE"),
        (["build", "squat", "--out", "x"], "unknown source 'squat'; did you mean 'squad'"),
        (["build", "squad", "--out", "x"], "source 'squad' needs the option 'path'"),
        (["build", "squad", "locomo", "--out", "x"], "one SOURCE at most, not 2"),
        (["build", "--from", "/none", "--out", "x"], "/none does not exist"),
        (["build", "--from", ".", "--out", "x", "chunks=3"], "belong to a source; name it"),
        (["build", "synthetic", "--out", "x", "chunk=3"], "no option 'chunk'; did you mean 'chunks'"),
        (["build", "synthetic", "--out", "x", "chunks=[1"], "the value is no readable YAML"),
        (["list", "/none"], "/none holds no built set"),
        (["stats", "/none.jsonl"], "/none.jsonl does not exist"),
        (["stats", "/etc"], "/etc is no built set"),
        (["check"], "give sets to check, or one config"),
        (["check", "/none.jsonl"], "/none.jsonl does not exist"),
        (["check", "/etc", "--against", "/etc"], "/etc is no built set"),
        (["check", "tinny"], "tinny"),
        (["check", "tiny", "--closed-book"], "--closed-book asks a config's endpoint"),
        (["check", "tiny", "--passages", "7"], "--passages: Input should be less than or equal to 1"),
        (["inspect", "/etc/passwd"], "Use one of .jsonl, .parquet"),
        (["inspect", "synthetic", "--stream", "nope", "count=2"], "synthetic has no stream nope"),
    ],
)
def test_bad_words_are_refused(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert message in refused(capsys, *words)


def test_an_unknown_folder_says_where_to_look(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.json").write_text("{}")
    assert "`memrl data list` says what each reads" in refused(capsys, "build", "--from", str(tmp_path), "--out", "x")


@pytest.mark.long
def test_list_inspect_and_stats_show_what_is_there(
    raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "sets"
    main(["data", "build", "--from", str(raw), "--out", str(out)])
    capsys.readouterr()
    assert main(["data", "list"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in SOURCES)
    assert main(["data", "list", str(out), "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [card["name"] for card in listed["sets"]] == ["banking77", "locomo", "squad"]
    assert main(["data", "list", str(out), "--markdown"]) == 0
    assert "| locomo | 1 | 2 |" in capsys.readouterr().out
    assert main(["data", "inspect", str(out / "locomo"), "--stream", "locomo-conv-1"]) == 0
    page = capsys.readouterr().out
    assert "chunk 0, 1:56 pm on 8 May, 2023" in page and "Ann: I adopted a cat yesterday." in page
    assert "multi-hop, locomo_f1_multi, chunks 0, 1" in page
    assert main(["data", "inspect", str(out / "locomo"), "--chunks", "1"]) == 0
    assert "... 1 more chunks" in capsys.readouterr().out
    assert main(["data", "stats", str(out / "squad"), str(out / "locomo" / "eval.jsonl"), "--json"]) == 0
    stats = json.loads(capsys.readouterr().out)
    assert stats[str(out / "squad")]["questions"] == 8


@pytest.mark.long
def test_a_damaged_set_is_named(raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "sets"
    main(["data", "build", "locomo", "--from", str(raw), "--out", str(out)])
    with (out / "locomo" / "eval.jsonl").open("a") as file:
        file.write("\n")
    assert "locomo: eval.jsonl is not what was written" in refused(capsys, "list", str(out))


@pytest.mark.long
def test_check_finds_what_is_in_both_and_passes_what_is_apart(
    raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "sets"
    main(["data", "build", "squad", "--from", str(raw), "--out", str(out), "eval_share=0.5", "chunk_tokens=20"])
    main(
        [
            "data",
            "build",
            "squad",
            "--from",
            str(raw),
            "--out",
            str(tmp_path / "all"),
            "eval_share=0",
            "chunk_tokens=20",
        ]
    )
    capsys.readouterr()
    assert main(["data", "check", str(out / "squad")]) == 0
    assert "Training holds nothing that evaluation is about." in capsys.readouterr().out
    leaking = ["data", "check", str(tmp_path / "all" / "squad"), "--against", str(out / "squad")]
    assert main(leaking) == 1
    found = capsys.readouterr()
    assert "LEAK squad, trained on squad" in found.out and "1 leaks and 0 faults" in found.err
    assert main([*leaking, "--json"]) == 1
    plain = json.loads(capsys.readouterr().out)
    assert plain["ok"] is False and plain["overlap"]["pairs"][0]["documents"] == 1


@pytest.mark.slow
@needs_shared("data")
def test_the_real_sets(tmp_path: Path) -> None:
    assert main(["data", "build", "--from", str(SHARED / "data"), "--out", str(tmp_path)]) == 0
    cards = {path.name: read_card(path) for path in tmp_path.iterdir()}
    built = {card.source for card in cards.values()}
    published = {name for name, source in SOURCES.items() if (source.home or "").startswith("https")}
    assert built == {name for name in published if SOURCES[name].tried == "real" and SOURCES[name].locate is not None}
    for card in cards.values():
        assert card.answers_found >= (0.99 if card.extractive else 0)
        assert card.version or card.inputs[0].file.endswith(".tar.gz")
    assert cards["locomo"].evidence >= 0.95
