"""What a step was worth: exactly what the answers lose when its calls are never made."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memrl.envs.designs.base import HeldDesign
from memrl.envs.designs.stores import StoreMemory
from memrl.envs.tools import ToolCall, ToolResult
from memrl.records import AnswerRecord, Completion, Step
from memrl.rollout.counterfactual import StepWorth
from memrl.rollout.replay import Ledger, play_again
from tests.calls import answer, delete, insert, stream_of, update

BUDGET = 1000
HOME, JOB, CHATTER = insert("Ada lives in Oslo."), insert("Ben works as a baker."), insert("It rained all day long.")


COMPLETION = Completion(ids=[2], logprobs=[0.0], stop="stop", version=0)
ROME, MOVED = insert("Ada lives in Rome."), update("sem_0001", "Ada lives in Oslo.")
HOME_ONLY = {"home": 1.0}


def played(
    calls: Sequence[Sequence[ToolCall]], budget: int = 1000
) -> tuple[list[Step], list[AnswerRecord], StoreMemory]:
    """The steps and answers of an episode that makes these calls."""
    memory = StoreMemory(budget, budget)
    steps: list[Step] = []
    for number, made in enumerate(calls):
        results: list[ToolResult] = [memory.execute(call) for call in made]
        steps.append(
            Step(
                chunk=number, prompt_ids=[1], completion=COMPLETION, text="", results=results, diff=[],
                memory_tokens=memory.token_count(),
            )
        )  # fmt: skip
    answers = [asyncio.run(answer(question, memory)) for question in stream_of(len(calls)).questions]
    return steps, answers, memory


def worths(calls: Sequence[Sequence[ToolCall]], budget: int = 1000, **more: Any) -> list[dict[str, float]]:
    steps, answers, _ = played(calls, budget)
    worth = StepWorth(lambda: StoreMemory(budget, budget), BUDGET, answer, **more)
    return asyncio.run(worth(stream_of(len(calls)), steps, calls, answers))


@pytest.mark.parametrize(
    ("calls", "budget", "wanted"),
    [
        ([[HOME], [CHATTER], [JOB]], 1000, [{"home": 1.0}, {}, {"job": 1.0}]),
        ([[HOME, JOB]], 1000, [{"home": 1.0, "job": 1.0}]),
        # the only copy is deleted: that step has cost the whole answer
        ([[HOME], [delete("sem_0001")]], 1000, [{}, {"home": -1.0}]),
        # two copies, one refused as a duplicate: each step alone could be missed
        ([[HOME], [HOME]], 1000, [{}, {}]),
        # what did not fit is not tried again: what used up the memory is charged for that by its price alone
        ([[CHATTER], [HOME]], 8, [{}, {}]),
        # a wrong update has spoilt the answer, a right one has made it
        ([[HOME], [update("sem_0001", "Ada lives in Rome.")]], 1000, [{}, {"home": -1.0}]),
        ([[ROME], [MOVED]], 1000, [HOME_ONLY, HOME_ONLY]),
        # later calls find their item though an earlier insert is missing and ids are others
        ([[CHATTER], [ROME], [update("sem_0002", "Ada lives in Oslo.")]], 1000, [{}, HOME_ONLY, HOME_ONLY]),
        # a later item that has the missing one's id now is not the one that a call means
        ([[CHATTER], [HOME], [JOB], [update("sem_0001", "It snowed.")]], 1000, [{}, HOME_ONLY, {"job": 1.0}, {}]),
        ([[CHATTER], [HOME], [delete("sem_0001")]], 1000, [{}, HOME_ONLY, {}]),
        # but one that says the same is: a duplicate that is stored now
        ([[ROME], [ROME], [MOVED]], 1000, [{}, {}, HOME_ONLY]),
        # an item that was changed is what it says by then
        (
            [[CHATTER], [HOME], [ROME, update("sem_0003", "It snowed.")], [delete("sem_0003")]],
            1000,
            [{}, HOME_ONLY, {}, {}],
        ),
        # what is refused as a repetition now is the item that it repeats
        ([[ROME], [CHATTER, delete("sem_0001")], [ROME], [update("sem_0003", "Ada lives in Oslo.")]], 1000,
         [{}, {}, HOME_ONLY, HOME_ONLY]),
        # a step that made no call, or only bad ones, is worth nothing
        ([[], [delete("sem_0009")], [HOME]], 1000, [{}, {}, {"home": 1.0}]),
    ],
)  # fmt: skip
def test_a_step_is_worth_what_the_answers_lose(
    calls: list[list[ToolCall]], budget: int, wanted: list[dict[str, float]]
) -> None:
    assert worths(calls, budget) == wanted


CALLS = st.one_of(
    st.sampled_from([HOME, JOB, CHATTER, insert("Ada lives in Rome."), insert("Ben lives in Oslo.")]),
    st.builds(delete, st.sampled_from(["sem_0001", "sem_0002", "sem_0003"])),
    st.builds(update, st.sampled_from(["sem_0001", "sem_0002"]), st.sampled_from(["Ada lives in Oslo.", "Ben left."])),
)


@pytest.mark.long
@settings(max_examples=150, deadline=None)
@given(st.lists(st.lists(CALLS, max_size=3), min_size=1, max_size=5), st.sampled_from([12, 20, 1000]))
def test_it_is_exact_for_the_lexical_reader(calls: list[list[ToolCall]], budget: int) -> None:
    """Against playing the whole episode again from its start and asking every question."""
    steps, answers, _ = played(calls, budget)
    found = worths(calls, budget)
    for left_out in range(len(calls)):
        memory = StoreMemory(budget, budget)
        results = [step.results for step in steps]
        stream = stream_of(len(calls))
        play_again(memory, stream, calls[:left_out], results[:left_out], 0)
        held = Ledger()
        for made, found_then in zip(calls[:left_out], results[:left_out], strict=True):
            held.follow(made, found_then, None)
        after = held.copy().follow(calls[left_out], results[left_out], None)
        play_again(memory, stream, calls, results, left_out + 1, held, after)
        for question, before in zip(stream_of(len(calls)).questions, answers, strict=True):
            loss = before.score - asyncio.run(answer(question, memory)).score
            assert found[left_out].get(question.id, 0.0) == (
                loss if any(r.ok for r in steps[left_out].results) else 0.0
            )


def test_at_most_so_many_steps_are_left_out_and_those_read_most() -> None:
    calls = [[CHATTER], [HOME], [insert("Snow fell.")], [JOB]]
    assert worths(calls, most_steps=2) == [{}, {"home": 1.0}, {}, {"job": 1.0}]


def test_a_question_is_asked_again_only_if_it_would_be_shown_something_else() -> None:
    steps, answers, _ = played([[HOME], [JOB], [HOME]])
    one_item = 9
    worth = StepWorth(lambda: StoreMemory(1000, 1000), one_item, answer)
    asyncio.run(worth(stream_of(3), steps, [[HOME], [JOB], [HOME]], answers))
    assert worth.asked == 1  # the job without its step; without the first step the third stores the home


class WithoutJournal(StoreMemory):
    """A design whose snapshot is its own, so that no journal of its parent can know what it holds."""

    def snapshot(self) -> dict[str, Any]:
        return {**super().snapshot(), "mine": True}


@pytest.mark.parametrize(
    "calls",
    [[[HOME], [CHATTER], [JOB]], [[ROME], [MOVED], [delete("sem_0001")], [HOME]], [[HOME], [HOME]]],
)
def test_a_steps_worth_is_the_same_without_a_journal(calls: list[list[ToolCall]]) -> None:
    steps, answers, _ = played(calls)
    worth = StepWorth(lambda: WithoutJournal(1000, 1000), BUDGET, answer)
    assert asyncio.run(worth(stream_of(len(calls)), steps, calls, answers)) == worths(calls)


def test_finding_out_what_steps_are_worth_copies_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = [[HOME], [CHATTER], [MOVED], [JOB]]
    wanted = worths(calls)

    def refused(*_: Any) -> Any:
        raise AssertionError("the whole memory was copied")

    monkeypatch.setattr(HeldDesign, "snapshot", refused)
    monkeypatch.setattr(HeldDesign, "restore", refused)
    assert worths(calls) == wanted
