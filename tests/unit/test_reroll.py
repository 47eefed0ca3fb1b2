"""Re-rolls: another completion from the same memory is paid what the episode would have been paid with it."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memrl.config import AdvantageConfig
from memrl.envs.designs import MemoryDesign, MemoryItem, MemoryView
from memrl.envs.designs.base import HeldDesign
from memrl.envs.designs.stores import INSERT, StoreMemory
from memrl.envs.dialects.hermes import HermesDialect
from memrl.envs.memory_env import MemoryEnv
from memrl.envs.stream import Question, Stream
from memrl.envs.tools import ResultCode, ToolCall
from memrl.errors import EngineDied, EngineError, ReaderError
from memrl.records import AnswerRecord, Completion, Episode, Reroll, Step
from memrl.rewards.compose import resolve_weights
from memrl.rollout.counterfactual import view_key
from memrl.rollout.reroll import Rerolls, Workbench
from memrl.rollout.turns import Attempt
from tests.calls import answer, delete, insert, stream_of, update

WEIGHTS = resolve_weights("default")
DIALECT = HermesDialect()
Calls = list[ToolCall]


HOME, JOB, RAIN, ROME = (
    insert(text) for text in ("Ada lives in Oslo.", "Ben works as a baker.", "It rained all day.", "Ada lives in Rome.")
)
SNOW = update("sem_0001", "It snowed.")
MOVED = update("sem_0001", "Ada lives in Oslo.")


class Told:
    """Completions by their ids: a completion is what was told to be made."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def completion(self, calls: Sequence[ToolCall]) -> Completion:
        self.texts.append(DIALECT.format(calls) if calls else "nothing")
        return Completion(ids=[len(self.texts) - 1], logprobs=[0.0], stop="stop", version=0)

    def decode(self, ids: Sequence[int]) -> str:
        return self.texts[ids[0]]


async def play(told: Told, made: Sequence[Calls], memory: MemoryDesign) -> tuple[Episode, list[list[ToolCall]]]:
    """The episode that makes these calls, paid, and the calls that were carried out."""
    stream = stream_of(len(made))
    env = MemoryEnv(stream, memory, DIALECT)
    steps, calls = [], []
    for number, wanted in enumerate(made):
        completion = told.completion(wanted)
        result = env.step(told.decode(completion.ids))
        calls.append(result.calls)
        steps.append(
            Step(
                chunk=number, prompt_ids=[1], completion=completion, text=told.decode(completion.ids),
                results=result.results, diff=result.diff, memory_tokens=result.memory_tokens,
            )
        )  # fmt: skip
    answers = [await answer(question, memory) for question in stream.questions]
    episode = Episode(
        stream_id="s", source="test", index=0, version=0, seed=0, steps=steps, answers=answers,
        memory=memory.snapshot(), chunk_tokens=100, memory_tokens=memory.token_count(),
    ).paid(WEIGHTS)  # fmt: skip
    return episode, calls


class Run:
    """One episode, re-rolled."""

    def __init__(
        self, made: Sequence[Calls], others: Sequence[Calls], budget: int = 1000, design: Any = StoreMemory, **more: Any
    ) -> None:
        """Every step that is re-rolled gets `others`, in order."""
        self.asked: list[tuple[int, int, str]] = []
        self.sampled: list[tuple[int, int]] = []
        self.told = Told()
        self._others = others
        self._design = lambda: design(budget, budget)
        config = AdvantageConfig(mode="reroll", rerolls=len(others), **more)
        stream = stream_of(len(made))
        bench = Workbench(
            new_memory=self._design,
            new_env=lambda memory: MemoryEnv(stream, memory, DIALECT),
            attempt=self._attempt,
            grade=self._grade,
            ask=self._ask,
        )
        self.rerolls = Rerolls(config, bench, budget=1000, weights=WEIGHTS, seed=5)
        self.episode = asyncio.run(self._play(stream, made))

    async def _play(self, stream: Stream, made: Sequence[Calls]) -> Episode:
        memory = self._design()
        self.played, calls = await play(self.told, made, memory)
        return await self.rerolls(stream, self.played, calls, memory)

    async def _attempt(self, step: Step, number: int, memory: MemoryDesign) -> Attempt:
        self.sampled.append((step.chunk, number))
        completion = self.told.completion(self._others[number - 1])
        return Attempt(completion, self.told.decode(completion.ids), [])

    async def _grade(self, steps: Sequence[Step], number: int) -> Step:
        return steps[-1]

    async def _ask(self, question: Question, memory: MemoryDesign, place: int, number: int) -> AnswerRecord:
        self.asked.append((place, number, question.id))
        return await answer(question, memory)

    def qa(self) -> list[list[float]]:
        return [[other.episode_parts["qa"] for other in step.rerolls] for step in self.episode.steps]


@pytest.mark.parametrize(
    ("made", "other", "wanted"),
    [
        # what the other completion adds or leaves out is seen in the answers
        ([[HOME], [RAIN]], [JOB], [[0.5], [1.0]]),
        ([[HOME], [JOB]], [], [[0.5], [0.5]]),
        # later calls are made again on what it has left
        ([[ROME], [MOVED]], [HOME], [[0.5], [0.5]]),
        ([[ROME], [MOVED]], [RAIN], [[0.0], [0.0]]),
        # a later call that means the missing item fails; it does not fall on the other one, which has its id
        ([[RAIN], [SNOW]], [HOME], [[0.5], [0.5]]),
        # but finds the item that says the same
        ([[RAIN, ROME], [update("sem_0002", "Ada lives in Oslo.")]], [ROME], [[0.5], [0.0]]),
        # what was stored later is refused as a repetition, and calls that mean it find what says the same
        ([[RAIN], [HOME], [delete("sem_0002")]], [HOME], [[0.0], [0.0], [0.5]]),
        ([[], [ROME], [MOVED]], [ROME], [[0.5], [0.5], [0.0]]),
    ],
)
def test_a_reroll_is_paid_what_the_answers_are_with_it(
    made: list[Calls], other: Calls, wanted: list[list[float]]
) -> None:
    run = Run(made, [other])
    assert run.qa() == wanted
    assert run.episode.model_copy(update={"steps": run.played.steps, "asked_again": 0}) == run.played
    assert run.episode.asked_again == len(run.asked)


def test_rerolls_hold_their_completion_its_calls_and_its_price() -> None:
    run = Run([[HOME], [JOB]], [[HOME, HOME], [RAIN]])
    first, second = run.episode.steps[0].rerolls
    assert isinstance(first, Reroll)
    assert [result.code for result in first.results] == [ResultCode.OK, ResultCode.DUPLICATE]
    assert (first.parts["tool_success"], second.parts["tool_success"]) == (0.5, 1.0)
    assert json.loads(first.model_dump_json())["completion"]["ids"] == first.completion.ids
    held = run.played.memory_tokens
    rain = StoreMemory(1000, 1000)
    rain.execute(RAIN)
    rain.execute(JOB)
    assert first.episode_parts["compression"] == pytest.approx(1 - held / 100)
    assert second.episode_parts["compression"] == pytest.approx(1 - rain.token_count() / 100)


def test_only_questions_that_would_be_shown_something_else_are_asked_again_and_once() -> None:
    run = Run([[HOME], [JOB]], [[HOME], [RAIN], [RAIN]])
    # Both questions see the whole memory. The first re-roll of the first step is what was played; of the second step it
    # is a repetition, and the job is missing. The third sees what the second did.
    assert [(place, number) for place, number, _ in run.asked] == [(0, 2), (0, 2), (1, 1), (1, 1), (1, 2), (1, 2)]


def test_at_most_so_many_steps_are_rerolled_and_the_same_ones_in_each_episode() -> None:
    made = [[HOME], [JOB], [RAIN], []]
    runs = [Run(calls, [[ROME]], reroll_steps=2) for calls in (made, made[::-1])]
    chosen = [[step.chunk for step in run.episode.steps if step.rerolls] for run in runs]
    assert chosen[0] == chosen[1] and len(chosen[0]) == 2
    assert runs[0].sampled == [(chunk, 1) for chunk in chosen[0]]
    assert len(Run(made, [[ROME]], reroll_steps=9).sampled) == 4


def event(content: str, time: str) -> ToolCall:
    return ToolCall(name=INSERT.name, arguments={"memory_type": "episodic", "content": content, "time": time})


TWO_DAYS = [event("Ada met Ben.", "May 1"), event("Ada met Ben.", "May 2")]
CALLS = st.one_of(
    st.sampled_from([HOME, JOB, RAIN, ROME, insert("Ben lives in Oslo."), *TWO_DAYS]),
    st.builds(delete, st.sampled_from(["sem_0001", "sem_0002", "sem_0003", "epi_0001"])),
    st.builds(
        update,
        st.sampled_from(["sem_0001", "sem_0002", "epi_0001", "core"]),
        st.sampled_from(["Ada lives in Oslo.", "No."]),
    ),
)
STEPS = st.lists(st.lists(CALLS, max_size=3), min_size=1, max_size=4)


@pytest.mark.long
@settings(max_examples=100, deadline=None)
@given(STEPS, st.sampled_from([12, 20, 1000]))
def test_a_reroll_that_does_the_same_is_paid_the_same(made: list[Calls], budget: int) -> None:
    for place, calls in enumerate(made):
        run = Run(made, [calls], budget)
        [same] = run.episode.steps[place].rerolls
        assert same.results == run.played.steps[place].results
        assert same.parts == run.played.steps[place].parts
        assert same.episode_parts == run.played.parts
        assert not [asked for asked in run.asked if asked[0] == place]


@pytest.mark.long
@settings(max_examples=100, deadline=None)
@given(STEPS, st.lists(CALLS, max_size=3), st.sampled_from([12, 1000]))
def test_the_last_step_is_exact(made: list[Calls], other: Calls, budget: int) -> None:
    """Nothing is made again after it: the re-roll is the episode that has it in its place, played as a whole."""
    [found] = Run(made, [other], budget).episode.steps[-1].rerolls
    whole, _ = asyncio.run(play(Told(), [*made[:-1], other], StoreMemory(budget, budget)))
    assert (found.results, found.parts, found.episode_parts) == (
        whole.steps[-1].results, whole.steps[-1].parts, whole.parts
    )  # fmt: skip


class WithoutJournal(StoreMemory):
    """A design whose snapshot is its own, so that no journal of its parent can know what it holds."""

    def snapshot(self) -> dict[str, Any]:
        return {**super().snapshot(), "mine": True}


def test_rerolls_are_the_same_without_a_journal() -> None:
    made, others = [[ROME], [MOVED, RAIN], [delete("sem_0001")], [HOME]], [[JOB], [HOME, RAIN], []]
    run, other = Run(made, others), Run(made, others, design=WithoutJournal)
    assert run.episode.steps == other.episode.steps and run.asked == other.asked


def test_rerolling_copies_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    made = [[HOME], [RAIN], [MOVED], [JOB]]
    wanted = Run(made, [[ROME]]).episode.steps
    snapshot, taken = StoreMemory.snapshot, []

    def counted(self: StoreMemory) -> dict[str, Any]:
        taken.append(1)
        return snapshot(self)

    monkeypatch.setattr(HeldDesign, "snapshot", counted)
    assert Run(made, [[ROME]]).episode.steps == wanted
    assert len(taken) == 1  # the episode's own


class Failing(Run):
    """The second re-roll of the first step has no completion."""

    async def _attempt(self, step: Step, number: int, memory: MemoryDesign) -> Attempt:
        if (step.chunk, number) == (0, 2):
            raise EngineError("gone")
        return await super()._attempt(step, number, memory)


def test_a_reroll_that_fails_is_left_out_and_counted() -> None:
    run, whole = Failing([[HOME], [JOB]], [[ROME], [JOB]]), Run([[HOME], [JOB]], [[ROME], [JOB]])
    first, second = whole.episode.steps
    assert run.qa() == [whole.qa()[0][:1], whole.qa()[1]] and run.episode.rerolls_failed == 1
    assert run.episode.steps[1].rerolls[0].episode_parts == second.rerolls[0].episode_parts
    assert first.rerolls and whole.episode.rerolls_failed == 0


def test_an_answer_that_fails_ends_its_reroll_and_the_memory_is_as_it_was() -> None:
    class Silent(Run):
        async def _ask(self, question: Question, memory: MemoryDesign, place: int, number: int) -> AnswerRecord:
            if (place, number) == (0, 1):
                raise ReaderError("no answer")
            return await super()._ask(question, memory, place, number)

    made, others = [[HOME], [JOB]], [[ROME], [JOB]]
    run, whole = Silent(made, others), Run(made, others)
    assert run.qa() == [whole.qa()[0][1:], whole.qa()[1]] and run.episode.rerolls_failed == 1


def test_an_engine_that_died_ends_the_episode_and_leaves_nothing_waiting() -> None:
    waiting: list[asyncio.Task[Any]] = []

    class Dying(Run):
        async def _attempt(self, step: Step, number: int, memory: MemoryDesign) -> Attempt:
            if number == 2:
                raise EngineDied("gone")
            task = asyncio.current_task()
            assert task is not None
            waiting.append(task)
            await asyncio.sleep(60)
            raise AssertionError("nobody waits so long")

    with pytest.raises(EngineDied, match="gone"):
        Dying([[HOME]], [[ROME], [JOB]])
    assert all(task.cancelled() for task in waiting) and waiting


def test_completions_are_sampled_a_step_at_a_time() -> None:
    """A request may time out while it waits, so those of later steps do not queue."""
    flying: list[int] = []

    class Counting(Run):
        now = 0

        async def _attempt(self, step: Step, number: int, memory: MemoryDesign) -> Attempt:
            self.now += 1
            await asyncio.sleep(0)
            flying.append(self.now)
            await asyncio.sleep(0)
            self.now -= 1
            return await super()._attempt(step, number, memory)

    Counting([[HOME], [JOB], [RAIN]], [[ROME], [JOB]])
    assert flying == [2] * 6


AGAIN = [ROME, update("sem_0001", "Cy sings."), ROME]


@pytest.mark.parametrize(
    "made",
    [
        [AGAIN, [update("sem_0001", "Ben works as a baker.")]],
        [TWO_DAYS, [update("epi_0001", "Ada lives in Oslo.")]],
        [[update("core", "Ada."), RAIN], [HOME, delete("sem_0001")]],
        [[RAIN, delete("sem_0001"), RAIN], [update("sem_0002", "Ada lives in Oslo.")]],
    ],
)
def test_the_same_calls_are_paid_the_same(made: list[Calls]) -> None:
    run = Run(made, [made[0]])
    [same] = run.episode.steps[0].rerolls
    assert same.episode_parts == run.played.parts and not [one for one in run.asked if one[0] == 0]


OSLO = "Ada lives in Oslo."


@pytest.mark.parametrize(
    ("made", "place", "other", "wanted"),
    [
        # the same memory by other calls
        ([[ROME], [update("sem_0001", OSLO)]], 0, [RAIN, update("sem_0001", "Ada lives in Rome.")], 0.5),
        ([[RAIN, update("sem_0001", "Ada lives in Rome.")], [update("sem_0001", OSLO)]], 0, [ROME], 0.5),
        ([[RAIN], [ROME], [update("sem_0002", OSLO)]], 1, [update("sem_0001", "Ada lives in Rome.")], 0.5),
        ([[ROME], [], [update("sem_0001", OSLO)]], 1, [delete("sem_0001"), ROME], 0.5),
        # a later insert is refused as a repetition of what the re-roll changed, and calls that mean it find that
        ([[RAIN], [JOB], [HOME], [delete("sem_0003")]], 1, [update("sem_0001", OSLO)], 0.0),
        # what said something else when the call was made is another item
        ([[insert(OSLO), update("sem_0001", "It rained.")], [delete("sem_0001")]], 0, [HOME], 0.5),
        ([[insert(OSLO), update("sem_0001", "It rained.")], [delete("sem_0001")]], 0, [JOB, HOME], 1.0),
        ([[event(OSLO, "May 2")], [delete("epi_0001")]], 0, [event(OSLO, "May 9")], 0.5),
    ],
)
def test_a_later_call_finds_what_says_the_same_now(made: list[Calls], place: int, other: Calls, wanted: float) -> None:
    assert Run(made, [other]).qa()[place] == [wanted]


def test_what_is_known_of_an_answer_is_known_of_its_best_item() -> None:
    """Two memories may be shown in the same words, and another item matches best."""
    question = Question(id="q", text="Where?", answers=("a",))
    item = MemoryItem("sem_0001", "semantic", "Oslo", None, 1)
    other = MemoryItem("sem_0002", "semantic", "Rome", None, 2)
    views = [MemoryView((item, other), 0, best) for best in (item, other, None)]
    assert len({view_key(question, view) for view in views}) == 3


class Sometimes:
    """A part that an episode without Oslo has no value of."""

    level = "episode"
    default_weight = 1.0

    def value(self, seen: Any) -> float | None:
        return 5.0 if any("Oslo" in text for text in seen.memory) else None


class Order:
    level = "episode"
    default_weight = 1.0

    def value(self, seen: Any) -> float:
        return float(len(seen.memory[0])) if seen.memory else 0.0


def weighed(monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    weights = resolve_weights("default", None, {"mine": {"import_path": f"{__name__}:{part}"}})
    monkeypatch.setattr(sys.modules[__name__], "WEIGHTS", weights)


def test_a_part_that_a_reroll_has_no_value_of_is_not_the_episodes(monkeypatch: pytest.MonkeyPatch) -> None:
    weighed(monkeypatch, "Sometimes")
    run = Run([[HOME]], [[RAIN], [HOME]])
    assert run.played.parts["mine"] == 5.0
    assert [other.episode_parts.get("mine") for other in run.episode.steps[0].rerolls] == [None, 5.0]


def test_a_part_sees_the_memory_of_a_reroll_in_the_order_of_a_snapshot(monkeypatch: pytest.MonkeyPatch) -> None:
    weighed(monkeypatch, "Order")
    run = Run([[HOME], [update("core", "Ada.")]], [[HOME]])
    assert run.played.parts["mine"] == run.episode.steps[0].rerolls[0].episode_parts["mine"] == 4.0
