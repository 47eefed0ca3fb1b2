"""Mode `retrieved`: who wrote what an answer was taken from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memrl.config import AdvantageConfig
from memrl.credit import group_advantages
from memrl.credit.shown import Writers
from memrl.envs.designs import open_journal
from memrl.envs.designs.stores import StoreMemory
from memrl.envs.tools import ToolCall
from memrl.records import AnswerRecord, Completion, Episode, Group, Step
from memrl.rewards.compose import resolve_weights, total
from tests.calls import delete, insert, update

WEIGHTS = resolve_weights("memalpha", {"tool_success": 0.5, "compression": 0.0, "content": 0.0})
CONFIG = AdvantageConfig(mode="retrieved", normalize_std=False)
WHERE = "Where does Ada live?"


HOME, JOB, RAIN = insert("Ada lives in Oslo."), insert("Ben works as a baker."), insert("It rained all day long.")


def asked(question: str, said: str, retrieved: Sequence[str], score: float = 1.0, gold: str = "gold") -> AnswerRecord:
    return AnswerRecord(
        question_id=question, kind="fact", question=question, gold=[gold], answer=said, metric="substring",
        score=score, evidence=None, retrieved=list(retrieved),
    )  # fmt: skip


def played(
    calls: Sequence[Sequence[ToolCall]],
    answers: Sequence[AnswerRecord],
    index: int = 0,
    times: Sequence[str | None] | None = None,
) -> Episode:
    """An episode that makes these calls. An answer that names nothing that was shown was shown the whole memory."""
    memory = StoreMemory(1000, 1000)
    steps = []
    for number, made in enumerate(calls):
        with open_journal(memory) as journal:
            results = [memory.execute(call, time=times[number] if times else None) for call in made]
            changes = journal.diff()
        assert all(result.ok for result in results)
        completion = Completion(ids=[index, number, 2], logprobs=[-1.0, -1.0, 0.0], stop="stop", version=0)
        steps.append(
            Step(
                chunk=number, prompt_ids=[1], completion=completion, text="", results=results, diff=changes,
                memory_tokens=memory.token_count(), parts={"tool_success": 1.0},
            )
        )  # fmt: skip
    everything = [item["id"] for item in memory.snapshot()["items"]]
    return Episode(
        stream_id="s", source="test", index=index, version=0, seed=0, steps=steps,
        answers=[answer.model_copy(update={"retrieved": answer.retrieved or everything}) for answer in answers],
        memory=memory.snapshot(), chunk_tokens=100, memory_tokens=memory.token_count(),
        parts={"qa": float(np.mean([answer.score for answer in answers])), "compression": 0.0},
    )  # fmt: skip


OSLO, BAKER = asked(WHERE, "Oslo", []), asked("What does Ben do?", "a baker", [])
CORE = [
    update("core", "Ada lives in Oslo."),
    update("core", "Ada lives in Oslo. Ben works as a baker."),
    update("core", "Ada lives in Oslo. Ben works as a baker. It rained."),
]


@pytest.mark.parametrize(
    ("calls", "answer", "wanted"),
    [
        # the whole memory was shown, and one item holds the answer
        ([[RAIN], [HOME], [JOB]], OSLO, [0.0, 1.0, 0.0]),
        # what was not shown is nobody's
        ([[insert("Ben was born in Oslo.")], [HOME]], asked(WHERE, "Oslo", ["sem_0002"]), [0.0, 1.0]),
        # but for what it says again
        ([[HOME], [insert("Ada has a flat in Oslo.")]], asked(WHERE, "Oslo", ["sem_0002"]), [0.8, 0.2]),
        # several hold the word: the one that answers the question
        ([[insert("Ben was born in Oslo.")], [HOME]], OSLO, [0.0, 1.0]),
        # the same in two stores, none better than the other: the second is a copy of the first
        ([[HOME], [insert("Ada lives in Oslo.", "episodic")]], OSLO, [0.9, 0.1]),
        ([[HOME, insert("Ada lives in Oslo.", "episodic")], [RAIN]], OSLO, [1.0, 0.0]),
        # what was deleted and inserted anew, or copied, is kept as by an update
        ([[HOME], [RAIN], [delete("sem_0001"), HOME]], OSLO, [0.8, 0.0, 0.2]),
        ([[HOME], [RAIN], [insert("Where does Ada live? Ada lives in Oslo.")]], OSLO, [0.8, 0.0, 0.2]),
        ([[HOME], [RAIN], [update("core", "Ada lives in Oslo."), delete("sem_0001")]], OSLO, [0.8, 0.0, 0.2]),
        ([[HOME], [delete("sem_0001"), HOME], [delete("sem_0002"), HOME]], OSLO, [0.8, 0.1, 0.1]),
        # but what was gone is brought again, and another fact with the same word is another
        ([[HOME], [delete("sem_0001")], [HOME]], OSLO, [0.0, 0.0, 1.0]),
        ([[insert("Ben lives in Oslo.")], [HOME]], OSLO, [0.0, 1.0]),
        # an answer of two items
        ([[HOME], [JOB]], asked("Where, and as what?", "Oslo; baker", []), [0.5, 0.5]),
        # a later step wrote the item anew: it has brought the answer, or kept it
        ([[insert("Ada lives in Rome.")], [update("sem_0001", "Ada lives in Oslo.")]], OSLO, [0.0, 1.0]),
        ([[HOME], [update("sem_0001", "Ada lives in Oslo, by the sea.")]], OSLO, [0.8, 0.2]),
        ([[HOME], [update("sem_0001", "Ada lives in Rome.")], [update("sem_0001", "Ada lives in Oslo.")]], OSLO,
         [0.0, 0.0, 1.0]),
        # the core is written anew as a whole each time
        ([[call] for call in CORE], OSLO, [0.8, 0.1, 0.1]),
        ([[call] for call in CORE], BAKER, [0.0, 0.8, 0.2]),
        # a step that wrote an item twice is one step
        ([[HOME, update("sem_0001", "Ada lives in Oslo now.")], [RAIN]], OSLO, [1.0, 0.0]),
        # the lexical reader answers with a whole item and its id
        ([[RAIN], [HOME], [JOB]], asked(WHERE, "sem_0002: Ada lives in Oslo.", []), [0.0, 1.0, 0.0]),
        # the answer stands in no item, so what the question is about tells
        ([[RAIN], [HOME]], asked("Does Ada live in Norway?", "yes", []), [0.0, 1.0]),
        # or in the question too
        ([[RAIN], [HOME]], asked("Does Ada live in Oslo or in Rome?", "Oslo", []), [0.0, 1.0]),
        # scripts without blanks between words
        ([[insert("李雷住在北京。")], [insert("韩梅梅住在上海。")]], asked("韩梅梅住在哪里?", "上海", []), [0.0, 1.0]),
    ],
)  # fmt: skip
def test_an_answer_belongs_to_those_who_wrote_its_words(
    calls: list[list[ToolCall]], answer: AnswerRecord, wanted: list[float]
) -> None:
    episode = played(calls, [answer])
    share = Writers(episode).share(episode.answers[0], spill=0.2)
    assert share is not None
    np.testing.assert_allclose(share, wanted, atol=1e-12)


def test_a_date_is_brought_by_who_inserted_the_event() -> None:
    calls = [[insert("Ada moved.", "episodic")], [update("epi_0001", "Ada moved house.")], [insert("Ben left.")]]
    episode = played(calls, [asked("When did Ada move?", "7 May", [])], times=["7 May 2023", "9 June 2023", None])
    share = Writers(episode).share(episode.answers[0], spill=0.2)
    assert share is not None
    np.testing.assert_allclose(share, [0.8, 0.2, 0.0], atol=1e-12)


@pytest.mark.parametrize(
    ("calls", "answer"),
    [
        ([[RAIN]], asked(WHERE, "Paris", [])),  # nothing in common with what was shown
        ([[HOME], [delete("sem_0001")]], asked(WHERE, "Oslo", ["sem_0001"])),
        ([[HOME]], asked(WHERE, "Oslo", ["elsewhere"])),
        ([[HOME]], asked("Where does Ada work?", "unknown", [], gold="unknown")),  # nothing was to be found
    ],
)
def test_where_nothing_can_be_told_nobody_is_named(calls: list[list[ToolCall]], answer: AnswerRecord) -> None:
    if answer.gold == ["unknown"]:
        answer = answer.model_copy(update={"metric": "abstention"})
        assert not answer.answerable
    episode = played(calls, [answer])
    assert Writers(episode).share(episode.answers[0], spill=0.2) is None


def advantages(episodes: list[Episode], config: AdvantageConfig = CONFIG) -> np.ndarray:
    found = group_advantages([Group("s", episodes, [])], config, WEIGHTS).samples
    return np.array([sample.advantage for sample in found]).reshape(len(episodes), -1)


def test_the_writer_is_paid_and_all_have_the_uniform_share() -> None:
    wrong = asked(WHERE, "It rained all day long.", [], score=0.0)
    episodes = [played([[RAIN], [HOME], []], [OSLO]), played([[RAIN], [], []], [wrong], index=1)]
    uniform = 0.2 / 3
    found = advantages(episodes)
    np.testing.assert_allclose(found[0], 0.5 * np.array([uniform, 0.8 + uniform, uniform]), atol=1e-12)
    # Who failed to write it is charged, not the writer of what was shown in its place.
    np.testing.assert_allclose(found[1], -found[0], atol=1e-12)


def test_without_a_uniform_share_a_step_is_paid_for_its_own_words_alone() -> None:
    wrong = asked(WHERE, "unknown", [], score=0.0)
    episodes = [played([[RAIN], [HOME], []], [OSLO]), played([[RAIN], [], []], [wrong], index=1)]
    np.testing.assert_allclose(advantages(episodes, replace(CONFIG, uniform_share=0.0))[0], [0.0, 0.5, 0.0], atol=1e-12)
    np.testing.assert_allclose(advantages(episodes, replace(CONFIG, uniform_share=1.0))[0], [0.5 / 3] * 3, atol=1e-12)


@pytest.mark.parametrize(
    "removal",
    [
        [delete("sem_0001")],
        [update("sem_0001", "Ada likes tea.")],
        [delete("sem_0001"), insert("Ben was born in Oslo.")],  # the word alone is not the fact
    ],
)
def test_who_takes_an_answer_away_is_charged_and_its_writer_is_not(removal: list[ToolCall]) -> None:
    wrong = asked(WHERE, "unknown", [], score=0.0)
    episodes = [played([[HOME], [], []], [OSLO]), played([[HOME], [], removal], [wrong], index=1)]
    uniform = 0.2 / 3
    found = advantages(episodes)
    np.testing.assert_allclose(found[1], -0.5 * np.array([uniform, uniform, 0.8 + uniform]), atol=1e-12)
    np.testing.assert_allclose(found[0], -found[1], atol=1e-12)


def test_one_of_two_who_wrote_it_and_lost_it_is_charged_by_the_last_removal() -> None:
    wrong = asked(WHERE, "unknown", [], score=0.0)
    twice = [[HOME, update("core", "Ada lives in Oslo.")], [delete("sem_0001")], [update("core", "It rained.")]]
    episodes = [played([[HOME], [], []], [OSLO]), played(twice, [wrong], index=1)]
    uniform = 0.2 / 3
    np.testing.assert_allclose(advantages(episodes)[1], -0.5 * np.array([uniform, uniform, 0.8 + uniform]), atol=1e-12)


@pytest.mark.parametrize(
    "made",
    [
        [[HOME], [], [RAIN]],  # still held: the reader failed
        [[HOME], [update("core", "Ada lives in Oslo.")], [delete("sem_0001")]],  # held elsewhere
        [[HOME, delete("sem_0001")], [], []],  # written and lost by one step
    ],
)
def test_nothing_is_moved_where_nothing_was_lost_by_another(made: list[list[ToolCall]]) -> None:
    wrong = asked(WHERE, "unknown", [], score=0.0)
    right = played([[HOME], [], []], [OSLO])
    assert not Writers(played(made, [wrong])).moved(Writers(right).sources(right.answers[0]), 0.2).any()


def test_an_answer_that_nothing_tells_of_is_shared_by_all() -> None:
    right = asked(WHERE, "Paris", [])
    episodes = [played([[RAIN], []], [right]), played([[RAIN], []], [right.model_copy(update={"score": 0.0})], index=1)]
    np.testing.assert_allclose(advantages(episodes), [[0.25, 0.25], [-0.25, -0.25]], atol=1e-12)


def test_writing_much_earns_nothing() -> None:
    """With equal parts to all items shown, who wrote eleven of twelve would get eleven twelfths."""
    chatter = [insert(f"Cloud number {number} was seen.") for number in range(11)]
    other = played([[], [HOME]], [OSLO], index=1)
    found = advantages([played([chatter, [HOME]], [OSLO]), other])
    np.testing.assert_allclose(found, 0.0, atol=1e-12)


WORDS = ("oslo", "rome", "baker", "ada", "lives", "rain")


@st.composite
def episodes(draw: st.DrawFn) -> list[Episode]:
    """Episodes of one stream with any calls, answers, views and scores."""
    steps, size = draw(st.integers(1, 5)), draw(st.integers(2, 4))
    text = st.lists(st.sampled_from(WORDS), min_size=1, max_size=4).map(" ".join)
    found = []
    for index in range(size):
        memory, calls, ids = StoreMemory(1000, 1000), [], ["core"]
        for _ in range(steps):
            made = []
            for _ in range(draw(st.integers(0, 3))):
                call = draw(
                    st.builds(insert, text)
                    | st.builds(update, st.sampled_from(ids), text)
                    | st.builds(delete, st.sampled_from(ids))
                )
                result = memory.execute(call)
                if result.ok:
                    made.append(call)
                    ids.append(str(result.item_id))
            calls.append(made)
        answers = [
            asked(question, draw(text), draw(st.lists(st.sampled_from(ids))), draw(st.floats(0, 1)))
            for question in (WHERE, "rain?")
        ]
        found.append(played(calls, answers, index))
    return found


@pytest.mark.long
@settings(max_examples=150, deadline=None)
@given(episodes(), st.floats(0, 1), st.floats(0, 1))
def test_credit_is_conserved(made: list[Episode], spill: float, uniform: float) -> None:
    for episode in made:
        for answer in episode.answers:
            share = Writers(episode).share(answer, spill)
            assert share is None or (share.sum() == pytest.approx(1.0) and share.min() >= 0.0)
    totals = np.array([total(e.parts, [step.parts for step in e.steps], WEIGHTS) for e in made])
    report = group_advantages(
        [Group("s", made, [])], replace(CONFIG, spill=spill, uniform_share=uniform, min_spread=0.0), WEIGHTS
    )
    paid = np.array([sample.advantage for sample in report.samples]).reshape(len(made), -1)
    np.testing.assert_allclose(paid.sum(axis=1), totals - totals.mean(), atol=1e-9)
    np.testing.assert_allclose(paid.sum(axis=0), 0.0, atol=1e-9)
