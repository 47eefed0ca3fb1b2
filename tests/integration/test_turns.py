"""Searches while reading, on the real loop: a scripted policy whose log-probs are the model's own."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
from collections.abc import Sequence
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import memrl.agent.agent
import memrl.engines.transformers_engine
from memrl.agent import MemoryAgent
from memrl.agent.memory_file import MemoryFile
from memrl.config import Config, load_config
from memrl.engines.engine import ANYWHERE, Place, Sampling
from memrl.engines.models import load_tokenizer
from memrl.engines.prompting import Prompter, open_prompter
from memrl.engines.transformers_engine import TransformersEngine
from memrl.envs.searching import SEARCH
from memrl.envs.sources.synthetic import synthetic
from memrl.envs.stream import Chunk, Question, Stream
from memrl.envs.tools import ToolCall
from memrl.errors import ConfigError
from memrl.export import export
from memrl.learner.batching import inputs_of, plan_rows
from memrl.look.episodes import _step_record
from memrl.policies.exported import open_exported
from memrl.records import AdapterRef, Completion, Episode, Sample
from memrl.rollout.build import build_worker, check_records
from memrl.rollout.lengths import Lengths
from memrl.sft.examples import memorising
from memrl.sft.teacher import Carelessness
from memrl.storage.rundir import EpisodeWriter
from memrl.training.rescore import rescore
from memrl.training.trainer import Trainer
from tests.calls import insert, update
from tests.support import quiet, rows

SOURCE = "[{source: synthetic, chunks: 3, sentences: 2, people: 6, questions: 6, metric: substring}]"
TURNS = {
    "rollout.max_turns": 3, "rollout.max_prompt_tokens": 900, "rollout.max_completion_tokens": 96,
    "memory.search_budget": 48, "rollout.temperature": 1.0, "memory.budget": 200,
}  # fmt: skip
SETTINGS = {
    "model.device": "cpu", "data.train": SOURCE, "data.eval": SOURCE, "reader.type": "lexical", "train.steps": 2,
    "train.group_size": 3, "train.streams_per_step": 2, "eval.streams": 1, "eval.every": 0,
    "advantage.mode": "evidence", "rollout.refill_rounds": 0, **TURNS,
}  # fmt: skip


def settings(folder: Path, **more: Any) -> Config:
    found = {**SETTINGS, "run.dir": folder, **{key.replace("__", "."): value for key, value in more.items()}}
    return load_config("tiny", [f"{key}={value}" for key, value in found.items()])


class Scripted(TransformersEngine):
    """Says what its seed decides: it stores, searches, and stores what it has not found. Its log-probs are the model's
    own of these ids."""

    async def generate(
        self,
        prompt_ids: Sequence[int],
        sampling: Sampling,
        adapter: AdapterRef | None = None,
        *,
        place: Place = ANYWHERE,
    ) -> Completion:
        prompter = prompter_of()
        page = prompter.tokenizer.decode(list(prompt_ids)).replace("<|im_start|> ", "<|im_start|>")
        turn = page.count("<|im_start|>tool\n")
        chance = random.Random(f"{sampling.seed}/{place.stage if sampling.temperature == 0 else ''}")
        said = insert(f"{chance.choice(['Ann', 'Ben', 'Cy'])} owns {chance.randrange(40)} bees.")
        seek = ToolCall(name=SEARCH, arguments={"query": chance.choice(["bees", "Ann", "", "zebra"])})
        calls = [[said, seek], [said], [seek, update("sem_0001", f"Di has {chance.randrange(9)} cats.")]][
            chance.choice([0, 0, 1, 2])
        ]
        calls = calls if turn < 2 else [said]
        ids = prompter.tokenizer.encode(prompter.dialect.format(calls), add_special_tokens=False)
        ids = [*ids, prompter.end_id]
        logprobs = await self.score(prompt_ids, ids, adapter)
        return Completion(ids=ids, logprobs=logprobs, stop="stop", version=adapter and adapter.version)


_PROMPTERS: list[Prompter] = []


def prompter_of() -> Prompter:
    if not _PROMPTERS:
        config = load_config("tiny")
        _PROMPTERS.append(open_prompter(load_tokenizer(config.model), config.rollout.dialect))
    return _PROMPTERS[0]


def train(folder: Path, *, resume: bool = False, given: list[Sample] | None = None, **more: Any) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memrl.engines.transformers_engine, "TransformersEngine", Scripted)
        trainer = Trainer(settings(folder, **more), name="turns", resume=resume, console=quiet())
        step = trainer.learner.step
        if given is not None:
            patch.setattr(trainer.learner, "step", lambda samples, *rest: given.extend(samples) or step(samples, *rest))
        trainer.run()
    return folder


def episodes_of(folder: Path, step: int) -> list[Episode]:
    return EpisodeWriter(folder / "episodes").read(step)


GIVEN: list[Sample] = []


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    GIVEN.clear()
    return train(tmp_path_factory.mktemp("turns") / "run", given=GIVEN)


def test_each_turn_is_a_sample_with_the_steps_advantage_and_the_models_log_probs(run: Path) -> None:
    many = 0
    for number, row in zip((1, 2), rows(run)[1:], strict=True):
        steps = [step for episode in episodes_of(run, number) for step in episode.steps]
        turns = [turn for step in steps for turn in step.in_turns()]
        searches = [result for step in steps for result in step.results if result.name == SEARCH]
        assert row["tools/turns_per_step"] == len(turns) / len(steps) > 1
        assert row["tools/searches_per_step"] == len(searches) / len(steps) > 0
        assert row["tools/calls_per_step"] == sum(len(step.results) for step in steps) / len(steps)
        assert row["tokens/prompt"] == sum(len(ids) for ids, _ in turns)
        assert row["tokens/completion"] == sum(len(completion.ids) for _, completion in turns)
        assert 0 <= row["loss/sampling_gap"] < 1e-4, "what was sampled is what is learned from, later turns too"
        assert row["advantage/samples"] == row["learner/samples"] <= len(turns)
        for step in steps:
            many += bool(step.turns)
            assert len(step.calls) == len(step.results)
            for turn in step.turns:
                assert turn.told in [
                    result.message for result in step.results if result.name == SEARCH
                ] or turn.told.startswith("# 1")
            for (ids, completion), (later, _) in pairwise(step.in_turns()):
                assert later[: len(ids) + len(completion.ids)] == [*ids, *completion.ids]
    assert many > 5
    paid: dict[Any, set[float]] = {}
    for sample in GIVEN:
        paid.setdefault((sample.version, sample.stream_id, sample.episode, sample.chunk), set()).add(sample.advantage)
    assert all(len(found) == 1 for found in paid.values()) and len(paid) < len(GIVEN)


def test_turns_of_a_step_share_a_row_of_the_learner(run: Path) -> None:
    shared = plan_rows(GIVEN, 4096, shared=True)
    places = sum(row.places for rows_ in shared for row in rows_)
    assert sorted(index for rows_ in shared for row in rows_ for index in row.members) == list(range(len(GIVEN)))
    assert places < 0.6 * sum(len(inputs_of(sample)) for sample in GIVEN)


def test_a_run_is_the_same_again_and_after_a_stop(run: Path, tmp_path: Path) -> None:
    stopped = Path(shutil.copytree(run, tmp_path / "run", symlinks=True))
    shutil.rmtree(stopped / "checkpoints" / "step_00002")
    train(stopped, resume=True)
    assert rows(stopped) == rows(run)
    for number in (1, 2):
        assert episodes_of(stopped, number) == episodes_of(run, number)


def test_what_was_paid_is_paid_again(run: Path) -> None:
    for (_, before, after, advantages), row in zip(rescore(run), rows(run)[1:], strict=True):
        assert before == after
        assert all(row[key] == value for key, value in advantages.items())
    assert len(list(rescore(run, ["advantage.mode=retrieved", "rewards.preset=memalpha"]))) == 2


def test_the_page_shows_turns(run: Path) -> None:
    episode = next(one for one in episodes_of(run, 1) if any(step.turns for step in one.steps))
    step = next(step for step in episode.steps if step.turns)
    record = _step_record(episode, step, 0)
    assert [turn["told"] for turn in record["turns"]] == [turn.told for turn in step.turns]
    assert record["turns"][0]["prompt_tokens"] > record["prompt_tokens"]
    assert [call["name"] for call in record["calls"]] == [result.name for result in step.results]


@pytest.mark.parametrize("mode", ["counterfactual", "reroll"])
def test_steps_with_searches_are_played_again(mode: str, tmp_path: Path) -> None:
    more = {"train__steps": 1, "advantage__mode": mode, "advantage__rerolls": 2, "advantage__reroll_steps": 2}
    given: list[Sample] = []
    train(tmp_path / "run", given=given, **more)
    row, episodes = rows(tmp_path / "run")[-1], episodes_of(tmp_path / "run", 1)
    assert row["loss/sampling_gap"] < 1e-4
    if mode == "counterfactual":
        # What a step was worth is what the answers lose without it: nothing more than they had.
        for episode in episodes:
            for answer in episode.answers:
                gained = sum((step.worth or {}).get(answer.question_id, 0.0) for step in episode.steps)
                assert gained <= len(episode.steps) * answer.score
        return
    others = [other for episode in episodes for step in episode.steps for other in step.rerolls]
    assert len(others) == len(episodes) * 2 * 2 and any(other.turns for other in others)
    assert row["fail/rerolls"] == 0
    assert {sample.turn for sample in given if sample.reroll} > {0}
    for episode in episodes:
        for step in episode.steps:
            for other in step.rerolls:
                same = [other.completion, *(turn.completion for turn in other.turns)]
                if [one.ids for one in same] == [one.ids for one in step.completions]:
                    assert (other.results, other.parts, other.episode_parts) == (
                        step.results,
                        step.parts,
                        episode.parts,
                    )


def test_the_embedded_model_itself_plays_and_learns(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    Trainer(settings(folder), name="turns", resume=False, console=quiet()).run()
    found = rows(folder)
    assert [row["step"] for row in found] == [0, 1, 2]
    assert all(row["tools/turns_per_step"] >= 1 and row["tools/searches_per_step"] >= 0 for row in found[1:])


def test_demonstrations_stand_in_the_prompts_of_the_rollout(tmp_path: Path) -> None:
    config = settings(tmp_path)
    prompter = prompter_of()
    worker = build_worker(config)
    [stream] = synthetic(seed=4, count=1, chunks=2)
    first = next(memorising(stream, config, prompter, random.Random(0), Carelessness()))
    episode = asyncio.run(worker.play(stream, seed=0, adapter=None))
    asyncio.run(worker.close())
    assert first.prompt_ids == episode.steps[0].prompt_ids
    assert SEARCH in prompter.tokenizer.decode(first.prompt_ids)
    assert SEARCH not in prompter.tokenizer.decode(first.completion_ids)


def test_lengths_know_the_turns(tmp_path: Path) -> None:
    config = settings(tmp_path)
    chunk = Chunk(text="Ann owns bees. " * 100)
    question = Question(id="q", text="?", answers=("x",))
    stream = Stream(id="s", source="test", chunks=(chunk,), questions=(question,))
    found = {}
    for turns in (1, 3):
        config.rollout.max_turns = turns
        lengths = Lengths(
            prompter_of(), memory=config.memory, rollout=config.rollout, reader=config.reader, context=None
        )
        found[turns] = list(lengths(stream))
    assert found[1] == [] and len(found[3]) == 1
    assert "the turns before the last of rollout.max_turns up to" in found[3][0] and "Raise it to" in found[3][0]
    config.data.train = [{"source": "synthetic", "sentences": 80, "people": 16}]
    with pytest.raises(ConfigError, match=r"rollout\.max_turns up to"):
        check_records(config, prompter_of())


def test_an_export_says_its_turns_and_is_checked_in_them(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memrl.engines.transformers_engine, "TransformersEngine", Scripted)
    export(run, tmp_path / "out")
    told = json.loads((tmp_path / "out" / "memory_agent.json").read_text())
    assert told["max_turns"] == 3 and SEARCH in told["tools"]
    assert open_exported(tmp_path / "out").config.rollout.max_turns == 3


def test_an_agent_reads_in_turns_and_writes_what_it_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exported = open_exported(Path("tiny"))
    exported.config.rollout, exported.config.memory = settings(tmp_path).rollout, settings(tmp_path).memory
    monkeypatch.setattr(memrl.agent.agent, "open_exported", lambda *_, **__: exported)
    asked: list[str] = []
    texts = [[insert("Ann owns 3 bees."), search("bees")], [update("sem_0002", "Ann owns 4 bees.")]]
    with MemoryAgent.open("tiny", store=tmp_path / "memory.db") as agent:
        prompter, engine = agent._policy.prompter, agent._policy._engine

        async def generate(ids: Sequence[int], *rest: Any, **more: Any) -> Completion:
            asked.append(prompter.tokenizer.decode(list(ids)))
            if len(asked) == 2:  # meanwhile somebody else writes, and takes the id that the policy was shown
                count = prompter.count_tokens
                file = MemoryFile(
                    tmp_path / "memory.db", "default", design="stores", budget=200, core_budget=20, count_tokens=count
                )
                with closing(file) as other:
                    other.execute([insert("Zed naps.")])
            said = prompter.tokenizer.encode(prompter.dialect.format(texts[len(asked) - 1]), add_special_tokens=False)
            return Completion(ids=[*said, prompter.end_id], logprobs=[], stop="stop", version=None)

        agent.add("Ben has a cat.", infer=False)
        monkeypatch.setattr(engine, "generate", generate)
        results = agent.read("Ann owns bees.")
        assert [(result.name, result.ok) for result in results] == [("memory_insert", True), ("memory_update", True)]
        assert "sem_0002" not in asked[0] and "sem_0002" in asked[1]
        held = sorted(item.content for item in agent.get_all())
        assert held == ["Ann owns 4 bees.", "Ben has a cat.", "Zed naps."]


def search(query: str) -> ToolCall:
    return ToolCall(name=SEARCH, arguments={"query": query})


def test_exports_of_before_have_one_turn(exported_policy: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(exported_policy / "adapter", tmp_path / "old"))
    file = folder / "memory_agent.json"
    told = json.loads(file.read_text())
    assert told.pop("max_turns") == 1
    told["memory"].pop("search_budget")
    file.write_text(json.dumps(told))
    assert open_exported(folder).config.rollout.max_turns == 1
