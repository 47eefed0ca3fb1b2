"""A judge behind a real HTTP server in the real loop: whatever befalls it, no reward changes silently."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from memrl.cli.main import main
from memrl.config import load_config
from memrl.errors import EngineError, JudgeError, RewardHacked
from memrl.records import Episode
from memrl.report.metric_keys import metric_of
from memrl.storage.rundir import EpisodeWriter
from memrl.training.rescore import rescore
from memrl.training.trainer import Trainer
from tests import judges
from tests.openai_server import OpenAIServer
from tests.support import quiet, rows

SOURCE = "[{source: synthetic, chunks: 2, sentences: 3, people: 16, questions: 4, metric: substring}]"
GRADED = {"judge.answers": "{synthetic: default}", "rewards.content": "judge"}


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    running = OpenAIServer(chat=judges.honest)
    yield running
    running.stop()


def at(server: OpenAIServer, **changes: Any) -> dict[str, Any]:
    endpoint = {"url": server.url, "model": server.model, "retries": 2, "timeout": 5, **changes}
    return {"judge.type": "endpoint", **GRADED, **{f"judge.endpoint.{key}": value for key, value in endpoint.items()}}


def trainer(folder: Path, settings: dict[str, Any], *, resume: bool = False) -> Trainer:
    words = {
        "run.dir": folder, "model.device": "cpu", "data.train": SOURCE, "data.eval": SOURCE, "reader.type": "lexical",
        "train.steps": 2, "train.group_size": 4, "train.streams_per_step": 2, "eval.streams": 2, "eval.every": 0,
        "rollout.max_completion_tokens": 64,
        "rollout.temperature": 1.6,  # some of what is stored is false then
        **settings,
    }  # fmt: skip
    config = load_config("tiny", [f"{key}={value}" for key, value in words.items()])
    return Trainer(config, name="judged", resume=resume, console=quiet())


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose judge nothing happened to."""
    folder = tmp_path_factory.mktemp("judged") / "run"
    running = OpenAIServer(chat=judges.honest)
    trainer(folder, at(running)).run()
    running.stop()
    return folder


def told(folder: Path) -> list[dict[str, Any]]:
    """The rows without what depends on how often the judge had to be asked."""
    apart = {f"{prefix}{name}" for prefix in ("judge/", "eval/judge_") for name in ("cached", "retries")}
    apart |= {"fail/retries", "fail/judge"}
    return [{key: value for key, value in row.items() if key not in apart} for row in rows(folder)]


def played(folder: Path) -> list[Episode]:
    writer = EpisodeWriter(folder / "episodes")
    return [episode for step in writer.steps() for episode in writer.read(step)]


def test_the_judge_grades_answers_and_memory_and_its_cost_is_counted(whole: Path) -> None:
    episodes = played(whole)
    answers = [answer for episode in episodes for answer in episode.answers]
    assert all(answer.verdict is not None and answer.score == answer.verdict.accepted for answer in answers)
    assert any(answer.score for answer in answers) and not all(answer.score for answer in answers)
    checks = [(step, check) for episode in episodes for step in episode.steps for check in step.checks]
    assert checks and all(check.verdict is not None for _, check in checks)
    assert {check.right for _, check in checks} == {True, False}
    first, *steps = rows(whole)
    assert [key for row in (first, *steps) for key in row if metric_of(key) is None] == []
    assert first["eval/judge_calls"] > 0
    for row in steps:
        assert row["judge/calls"] > 0 and row["judge/prompt_tokens"] > row["judge/calls"]
        assert 0 < row["judge/agreement"] <= 1 and 0 < row["judge/accepted"] < 1
        assert 0 < row["reward/content"] < 1
        assert row["fail/judge"] == 0
    summary = json.loads((whole / "summary.json").read_text())
    assert summary["judge"]["calls"] == sum(
        row.get(key, 0) for row in rows(whole) for key in ("judge/calls", "eval/judge_calls")
    )
    assert list((whole / "judge-cache").glob("*.sqlite"))


FAULTS: dict[str, Callable[[OpenAIServer], None]] = {
    "refuses now and then": lambda server: server.faults.extend(["500", "429"] * 8),
    "answers garbage": lambda server: server.faults.extend(["garbage", "no choices"] * 8),
    "truncates": lambda server: server.faults.extend(["truncated", "reset"] * 8),
}


class Babbling:
    """Honest, but for every so manieth reply."""

    def __init__(self, every: int) -> None:
        self.every = every
        self.asked = 0

    def __call__(self, messages: judges.Messages) -> str:
        self.asked += 1
        return "I know that!" if self.asked % self.every == 0 else judges.honest(messages)


def test_replies_without_a_verdict_are_asked_for_again_and_change_no_reward(
    server: OpenAIServer, whole: Path, tmp_path: Path
) -> None:
    made = trainer(tmp_path / "run", at(server))
    server.chat = Babbling(3)
    made.run()
    # The requests are reminders then, and episodes that were played again sat in other batches: log-probs are rounded
    # otherwise. What was paid is the same.
    for row, other in zip(rows(tmp_path / "run"), rows(whole), strict=True):
        paid = [key for key in other if key.startswith("reward/") or key == "eval/qa"]
        assert {key: row[key] for key in paid} == {key: other[key] for key in paid}
    # Whether one request meets three such replies, and its episode is played again, is for the order of arrival to say.
    assert sum(row.get("judge/retries", 0) + row.get("eval/judge_retries", 0) for row in rows(tmp_path / "run")) > 0


@pytest.mark.parametrize("fault", FAULTS)
def test_what_passes_changes_no_reward(server: OpenAIServer, whole: Path, tmp_path: Path, fault: str) -> None:
    made = trainer(tmp_path / "run", at(server))
    FAULTS[fault](server)
    made.run()
    assert told(tmp_path / "run") == told(whole)
    assert sum(row.get("judge/retries", 0) + row.get("eval/judge_retries", 0) for row in rows(tmp_path / "run")) > 0


def test_a_judge_that_stalls_delays_and_changes_nothing(server: OpenAIServer, whole: Path, tmp_path: Path) -> None:
    made = trainer(tmp_path / "run", at(server, timeout=1))
    server.faults.extend(["stall", "stall"])
    made.run()
    assert told(tmp_path / "run") == told(whole)


@pytest.mark.parametrize(
    ("always", "says"),
    [("500", "answered 500"), ("garbage", "no JSON"), ("stall", "no answer within"), ("filtered", "content filter")],
)
def test_past_the_threshold_the_run_stops_with_the_reason(
    server: OpenAIServer, tmp_path: Path, always: str, says: str
) -> None:
    settings = at(server, retries=0, timeout=0.5) | {"rollout.retries": 0}
    made = trainer(tmp_path / "run", settings)
    server.always = always
    with pytest.raises(EngineError, match=rf"episodes failed.*JudgeError.*{says}"):
        made.run()
    assert not any("reward/qa" in row for row in rows(tmp_path / "run") or [])


def test_a_judge_without_verdicts_stops_the_run_and_is_no_bad_answer(server: OpenAIServer, tmp_path: Path) -> None:
    made = trainer(tmp_path / "run", at(server) | {"rollout.retries": 0})
    server.chat = lambda messages: "no"
    with pytest.raises(EngineError, match=r"JudgeError: the judge gave no verdict in 3 attempts"):
        made.run()


def test_some_failures_are_counted_and_their_episodes_removed(server: OpenAIServer, tmp_path: Path) -> None:
    made = trainer(tmp_path / "run", at(server) | {"rollout.on_failure": "min_viable", "rollout.max_failure_rate": 0.9})

    def struck(text: str) -> bool:
        return hashlib.sha256(text.encode()).digest()[0] < 40

    def chat(messages: judges.Messages) -> str:
        stored = judges.parts_of(messages).get("Stored text")
        return "hm" if stored is not None and struck(stored) else judges.honest(messages)

    server.chat = chat
    made.run()
    steps = rows(tmp_path / "run")[1:]
    assert sum(row["fail/judge"] for row in steps) >= sum(row["fail/episodes"] for row in steps) > 0
    for episode in played(tmp_path / "run"):
        assert not any(struck(check.text) for step in episode.steps for check in step.checks)


@pytest.mark.parametrize("chat", [judges.generous, judges.grumpy, judges.obedient])
def test_a_run_does_not_begin_with_a_judge_that_fails_its_canaries(
    server: OpenAIServer, tmp_path: Path, chat: Callable[[judges.Messages], str]
) -> None:
    server.chat = chat
    with pytest.raises(JudgeError, match=r"failed \d+ of 14 canaries"):
        trainer(tmp_path / "run", at(server))
    assert not (tmp_path / "run").exists(), "nothing was written"


def test_the_doctor_asks_the_judge(server: OpenAIServer, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["doctor", "tiny", *(f"{key}={value}" for key, value in at(server).items())]
    assert main(words) == 0
    server.chat = judges.generous
    assert main(words) == 2
    assert "canaries" in capsys.readouterr().err


def test_a_judge_that_turns_is_found_out_on_the_schedule_and_the_step_is_saved(
    server: OpenAIServer, whole: Path, tmp_path: Path
) -> None:
    made = trainer(tmp_path / "run", at(server) | {"judge.canary_every": 1})
    began = len(server.requests)

    def chat(messages: judges.Messages) -> str:
        # Honest on what is graded, generous to the canaries: only they can tell.
        return (judges.generous if "Ann Berg" in messages[-1]["content"] else judges.honest)(messages)

    server.chat = chat
    with pytest.raises(JudgeError, match="canaries"):
        made.run()
    assert len(server.requests) > began
    assert told(tmp_path / "run") == told(whole)[:2]
    server.chat = judges.honest
    trainer(tmp_path / "run", at(server) | {"judge.canary_every": 1}, resume=True).run()
    assert told(tmp_path / "run") == told(whole)


@pytest.mark.slow
def test_a_worker_on_ray_asks_the_same_judge(server: OpenAIServer, whole: Path, tmp_path: Path) -> None:
    trainer(tmp_path / "run", at(server) | {"rollout.workers": 1, "judge.canary_every": 1}).run()
    for row, other in zip(rows(tmp_path / "run"), rows(whole), strict=True):
        kept = [
            key for key in other if key.startswith(("reward/", "judge/")) and not key.endswith(("cached", "retries"))
        ]
        assert {key: row[key] for key in kept} == pytest.approx({key: other[key] for key in kept})
    canaries = [request for request in server.requests if "Ann Berg" in request["messages"][-1]["content"]]
    assert len(canaries) > 2 * 10, "at the start and after each step"


def test_rescoring_keeps_the_verdicts_to_the_bit(whole: Path) -> None:
    for _, before, after, _ in rescore(whole):
        assert before == after
    changed = list(rescore(whole, metric="exact_match"))
    assert any(before != after for _, before, after, _ in changed)
    weighted = next(iter(rescore(whole, ["rewards.weights.content=2.0"])))
    assert any(old.total != new.total for old, new in zip(weighted[1], weighted[2], strict=True))


def test_an_alarm_warns_once_and_stops_where_it_is_told_to(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    alarms = {"rewards.alarms": "{growth: 0.0}", "rewards.content": "lexical"}
    trainer(tmp_path / "warned", alarms).run()
    assert [row["alarm/growth"] for row in rows(tmp_path / "warned")[1:]] == [1.0, 1.0]
    assert sum("growth is" in record.message for record in caplog.records) == 1
    with pytest.raises(RewardHacked, match=r"step 1: growth is 0\.\d+, above 0"):
        trainer(tmp_path / "stopped", alarms | {"rewards.on_alarm": "stop", "run.save_every": 5}).run()
    assert len(rows(tmp_path / "stopped")) == 2
    assert (tmp_path / "stopped" / "checkpoints" / "step_00001").is_dir(), "the step that raised it is saved"
    assert rows(tmp_path / "stopped") == rows(tmp_path / "warned")[:2]


def test_the_base_model_as_judge_must_pass_its_canaries_too(tmp_path: Path) -> None:
    with pytest.raises(JudgeError, match="canaries"):
        trainer(
            tmp_path / "run", {"judge.type": "policy-base", **GRADED, "judge.max_tokens": 8, "rollout.max_batch": 8}
        )


def test_parts_apart_train_too(tmp_path: Path) -> None:
    settings = {"advantage.normalize_parts": "true", "rewards.content": "lexical", "train.steps": 1}
    made = trainer(tmp_path / "run", settings)
    assert replace(made.config.advantage).normalize_parts
    made.run()
    assert rows(tmp_path / "run")[1]["loss/grad_norm"] > 0
