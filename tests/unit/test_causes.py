"""Each cause of a wrong answer, planted: a real memory, written by real calls, and what was done to it is the cause."""

from __future__ import annotations

from typing import Any

import pytest

from memrl.envs.designs.stores import StoreMemory
from memrl.envs.dialects.hermes import HermesDialect
from memrl.envs.memory_env import MemoryEnv
from memrl.envs.stream import Chunk, Question, Stream
from memrl.envs.tools import ToolCall
from memrl.evaluation.measure import Measured
from memrl.evaluation.results import without_memory
from memrl.records import AnswerRecord, Completion, Step, Verdict
from memrl.report.causes import IN_WORDS, Cause, Reading, Why, causes_of, counted, why_wrong

HERMES = HermesDialect()
CHUNKS = (
    Chunk(text="Ada lives in Oslo. It rained all day.", time="May 3"),
    Chunk(text="The zoo was full. Ben likes pears.", time="May 4"),
    Chunk(text="Ada moved again. Ada now lives in Rome.", time="May 5"),
)
ADA = Question(id="q", text="Where does Ada live?", answers=("Rome",), kind="latest", evidence=(2,))


def insert(content: str, store: str = "semantic") -> ToolCall:
    return ToolCall(name="memory_insert", arguments={"memory_type": store, "content": content})


def update(item: str, content: str) -> ToolCall:
    return ToolCall(name="memory_update", arguments={"memory_id": item, "content": content})


def delete(item: str) -> ToolCall:
    return ToolCall(name="memory_delete", arguments={"memory_id": item})


def played(*calls: list[ToolCall], budget: int = 100, chunks: tuple[Chunk, ...] = CHUNKS) -> Reading:
    """An episode whose steps make these calls."""
    stream = Stream(id="s", source="test", chunks=chunks, questions=(ADA.model_copy(update={"evidence": None}),))
    memory = StoreMemory(budget, 10)
    env = MemoryEnv(stream, memory, HERMES)
    steps = []
    for number in range(len(chunks)):
        text = HERMES.format(calls[number]) if number < len(calls) and calls[number] else ""
        found = env.step(text)
        completion = Completion(ids=[1], logprobs=[0.0], stop="stop", version=0)
        steps.append(
            Step(
                chunk=number,
                prompt_ids=[1],
                completion=completion,
                text=text,
                results=found.results,
                diff=found.diff,
                memory_tokens=found.memory_tokens,
                calls=[call.kept() for call in found.calls],
            )
        )
    return Reading(chunks, steps, memory.snapshot())


def asked(text: str, *shown: str, question: Question = ADA, **more: Any) -> AnswerRecord:
    fields: dict[str, Any] = {
        "question_id": question.id,
        "kind": question.kind,
        "question": question.text,
        "gold": list(question.answers),
        "answer": text,
        "metric": question.metric,
        "score": 0.0,
        "evidence": list(question.evidence or ()) or None,
        "retrieved": list(shown),
    }
    return AnswerRecord(**(fields | more))


def cause(answer: AnswerRecord, reading: Reading) -> Why:
    found = why_wrong(answer, reading)
    assert found is not None
    return found


def test_a_right_answer_has_no_cause() -> None:
    assert why_wrong(asked("Rome", score=1.0), played()) is None


def test_never_stored() -> None:
    found = cause(asked("unknown", "sem_0001"), played([], [insert("Ben likes pears.")], []))
    assert found.cause is Cause.NEVER_STORED
    assert (found.step, found.evidence and found.evidence.text) == (2, "Ada now lives in Rome.")


def test_an_older_version_that_is_true_to_its_chunk_is_no_false_one() -> None:
    found = cause(asked("Oslo", "sem_0001"), played([insert("Ada lives in Oslo.")]))
    assert found.cause is Cause.NEVER_STORED


@pytest.mark.parametrize(
    ("last", "how"), [(update("sem_0001", "Ada likes to travel."), "overwritten"), (delete("sem_0001"), "deleted")]
)
def test_stored_and_later_lost(last: ToolCall, how: str) -> None:
    chunks = (CHUNKS[2], CHUNKS[1])
    question = ADA.model_copy(update={"evidence": (0,)})
    reading = played([insert("Ada now lives in Rome.")], [last], chunks=chunks)
    found = cause(asked("unknown", question=question), reading)
    assert (found.cause, found.item, found.step) == (Cause.LOST, "sem_0001", 1)
    assert how in found.detail


def test_refused_by_the_budget_is_lost() -> None:
    reading = played([insert("It rained all day.")], [], [insert("Ada now lives in Rome.")], budget=6)
    found = cause(asked("unknown", "sem_0001"), reading)
    assert (found.cause, found.step) == (Cause.LOST, 2)
    assert "budget" in found.detail


def test_stored_falsely_in_place_of_the_truth() -> None:
    found = cause(asked("Paris", "sem_0001"), played([], [], [insert("Ada lives in Paris.")]))
    assert (found.cause, found.item, found.step) == (Cause.STORED_FALSELY, "sem_0001", 2)


def test_stored_falsely_beside_the_truth_and_answered_from() -> None:
    reading = played([], [], [insert("Ada now lives in Rome."), insert("Ada lives in Paris.")])
    found = cause(asked("Paris", "sem_0001", "sem_0002"), reading)
    assert (found.cause, found.item) == (Cause.STORED_FALSELY, "sem_0002")


def test_stored_and_not_retrieved() -> None:
    found = cause(
        asked("unknown", "sem_0001"), played([], [insert("Ben likes pears.")], [insert("Ada lives in Rome.")])
    )
    assert (found.cause, found.item, found.step) == (Cause.NOT_RETRIEVED, "sem_0002", 2)


def test_retrieved_beside_an_older_version_that_contradicts_it() -> None:
    reading = played([insert("Ada lives in Oslo.")], [], [insert("Ada now lives in Rome.")])
    found = cause(asked("Oslo", "sem_0001", "sem_0002"), reading)
    assert (found.cause, found.item, found.step) == (Cause.BESIDE_OLDER, "sem_0001", 0)


def test_retrieved_and_misread() -> None:
    reading = played([insert("Ada lives in Oslo.")], [], [insert("Ada now lives in Rome.")])
    found = cause(asked("unknown", "sem_0001", "sem_0002"), reading)
    assert (found.cause, found.item) == (Cause.MISREAD, "sem_0002")


def test_an_answer_that_only_the_metric_refuses_is_disputable() -> None:
    reading = played([], [], [insert("Ada now lives in Rome.")])
    assert cause(asked("Ada lives in Rome.", "sem_0001", metric="exact_match"), reading).cause is Cause.DISPUTABLE
    hedged = asked("Oslo or Rome", "sem_0001", metric="exact_match")
    assert cause(hedged, reading).cause is Cause.MISREAD, "an answer that names others too is no fault of the metric"


def test_what_the_judge_refuses_against_the_metric_is_disputable() -> None:
    reading = played([], [], [insert("Ada now lives in Rome.")])
    verdict = Verdict(rubric="r", accepted=False, votes=[False])
    assert cause(asked("In Rome", verdict=verdict, metric_score=1.0), reading).cause is Cause.DISPUTABLE


def test_the_date_of_a_chunk_counts_as_said_and_that_of_an_item_as_stored() -> None:
    when = Question(id="w", text="When did Ada move again?", answers=("May 5",), kind="when", evidence=(2,))
    held = played([], [], [insert("Ada moved again.", "episodic")])
    assert cause(asked("unknown", "epi_0001", question=when), held).cause is Cause.MISREAD
    without = played([], [], [insert("Ada moved again.")])
    assert cause(asked("unknown", "sem_0001", question=when), without).cause is Cause.NEVER_STORED
    gone = played(
        [], [insert("Ada moved again.", "episodic")], [delete("epi_0001")], chunks=(*CHUNKS[:1], *CHUNKS[2:] * 2)
    )
    late = when.model_copy(update={"evidence": (1,)})
    assert cause(asked("unknown", question=late), gone).cause is Cause.LOST


def test_an_item_of_another_that_holds_the_gold_does_not_say_the_answer() -> None:
    reading = played([], [], [insert("Ben flew to Rome.")])
    assert cause(asked("unknown", "sem_0001"), reading).cause is not Cause.MISREAD


def test_an_item_that_has_half_of_a_question_s_words_does_not_say_its_answer() -> None:
    who = Question(id="w", text="Who likes pears?", answers=("Ben",), kind="who", evidence=(1,))
    reading = played([], [insert("Ben likes apples.")])
    assert cause(asked("unknown", "sem_0001", question=who), reading).cause is not Cause.MISREAD


def test_a_question_that_the_text_does_not_answer() -> None:
    nothing = Question(id="n", text="Where does Ben live?", answers=("unknown",), metric="abstention", evidence=None)
    true = played([insert("Ada lives in Oslo.")])
    assert cause(asked("Oslo", "sem_0001", question=nothing), true).cause is Cause.MISREAD
    false = played([insert("Ben lives in Paris.")])
    assert cause(asked("Paris", "sem_0001", question=nothing), false).cause is Cause.STORED_FALSELY


def test_a_gold_that_stands_nowhere_is_looked_for_by_the_words_of_its_sentence() -> None:
    yes = Question(id="y", text="Does Ben like pears?", answers=("yes",), evidence=(1,))
    assert cause(asked("no", "sem_0001", question=yes), played([], [insert("Ben likes pears.")])).cause is Cause.MISREAD
    assert cause(asked("no", question=yes), played()).cause is Cause.NEVER_STORED


def test_an_episode_of_an_older_version_has_causes_too() -> None:
    reading = played([], [insert("Ben likes pears.")], [insert("Ada now lives in Rome.")])
    bare = Reading((), reading.steps, {"items": list(reading.items.values())})
    assert cause(asked("unknown", "sem_0001"), bare).cause is Cause.NOT_RETRIEVED
    assert cause(asked("unknown", "sem_0002"), bare).cause is Cause.MISREAD


def test_every_wrong_answer_has_one_cause_and_the_counts_add_up() -> None:
    reading = played([insert("Ada lives in Oslo.")], [], [insert("Ada now lives in Rome.")])
    answers = [asked(text, *shown, question_id=str(number)) for number, (text, shown) in enumerate(
        [("Oslo", ("sem_0001", "sem_0002")), ("unknown", ("sem_0002",)), ("unknown", ("sem_0001",)), ("\u202e<b>", ())]
    )]  # fmt: skip
    found = causes_of([*answers, asked("Rome", score=1.0)], reading)
    counts = counted(why.cause for why in found.values())
    assert list(found) == ["0", "1", "2", "3"]
    assert sum(counts.values()) == 4
    assert list(counts) == [cause.value for cause in IN_WORDS]
    assert set(IN_WORDS) == set(Cause)


def test_a_memory_that_no_step_has_written_is_looked_at_as_it_is() -> None:
    memory = {"items": [{"id": "a", "content": CHUNKS[2].text}, {"id": "b", "content": CHUNKS[1].text}]}
    held = Reading(CHUNKS, [], memory)
    assert cause(asked("unknown", "b"), held).cause is Cause.NOT_RETRIEVED
    misread = cause(asked("unknown", "a"), held)
    assert (misread.cause, misread.item, misread.step) == (Cause.MISREAD, "a", None)


def test_what_the_reader_knows_without_a_memory_is_disputable() -> None:
    def measured(method: str, *answers: AnswerRecord, causes: dict[str, str]) -> Measured:
        return Measured(
            suite="s", method=method, stream="1", set_name="s", chunks=1, answers=list(answers), causes=causes
        )

    policy = measured(
        "policy", asked("unknown"), asked("Paris", metric="abstention", gold=["unknown"], question_id="n"),
        causes={"q": "never_stored", "n": "misread"},
    )  # fmt: skip
    closed_book = measured("nothing", asked("Rome", score=1.0), asked("unknown", question_id="n", score=1.0,
                           metric="abstention", gold=["unknown"]), causes={})  # fmt: skip
    elsewhere = closed_book.model_copy(update={"stream": "2"})
    failed = closed_book.model_copy(update={"failure": "the reader did not answer"})
    assert [one.causes for one in without_memory([policy, closed_book])] == [{"q": "disputable", "n": "misread"}, {}]
    assert without_memory([policy, elsewhere])[0] == without_memory([policy, failed])[0] == policy
