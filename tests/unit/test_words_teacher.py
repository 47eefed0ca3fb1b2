"""The teacher by words: what it keeps of a set with labels of evidence, in the tools of every design."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from memrl.envs.designs import DESIGNS, MemoryDesign
from memrl.envs.designs.design import count_words
from memrl.envs.sources import open_source
from memrl.envs.stream import Chunk, Question, Stream
from memrl.envs.text import words
from memrl.envs.tools import ToolCall
from memrl.sft.words import Words, named_by_evidence

TEXT = (
    "Oslo is the capital of Norway. It lies by a fjord. In 1624 a fire destroyed it. King Christian IV built it anew. "
    "The weather is mild."
)

CHANGING = {"seed": 3, "count": 1, "sessions": 6, "changes": 0.6, "chatter": 0.3, "questions": 40}


def asked(name: str, text: str, answer: str, evidence: tuple[int, ...] = (0,), kind: str = "fact") -> Question:
    return Question(id=name, text=text, answers=(answer,), metric="substring", kind=kind, evidence=evidence)


def town(*questions: Question, chunks: int = 1) -> Stream:
    return Stream(id="town", source="squad", chunks=tuple(Chunk(text=TEXT) for _ in range(chunks)), questions=questions)


def anything(calls: Sequence[ToolCall]) -> bool:
    return True


def kept(stream: Stream, budget: int = 500, design: str = "stores", teach: Words | None = None) -> MemoryDesign:
    """Play a stream as the teacher does; every call succeeds."""
    memory = DESIGNS.get(design)(budget, budget // 4, count_words)
    for place, chunk in enumerate(stream.chunks):
        view = memory.render(chunk.text, budget)
        for call in (teach or Words(anything))(stream, place, memory, view, random.Random(0)):
            result = memory.execute(call, time=chunk.time)
            assert result.ok, result
    return memory


def test_the_sentence_that_holds_the_answer_is_named() -> None:
    stream = town(asked("a", "When did a fire destroy Oslo?", "1624"), asked("b", "Who built it anew?", "Christian IV"))
    wishes = named_by_evidence(stream, 0)
    assert [wish.sentence for wish in wishes] == ["In 1624 a fire destroyed it.", "King Christian IV built it anew."]
    assert [item.content for item in kept(stream).items] == [wish.sentence for wish in wishes]


def test_an_answer_that_stands_nowhere_names_the_sentence_that_shares_most_words() -> None:
    wishes = named_by_evidence(town(asked("a", "Is Oslo near the sea, by a fjord?", "yes, it lies by one")), 0)
    assert [wish.sentence for wish in wishes] == ["It lies by a fjord."]
    assert named_by_evidence(town(asked("a", "Who sings?", "Maria")), 0) == []


def test_of_other_chunks_nothing_is_named() -> None:
    stream = town(asked("a", "When did a fire destroy Oslo?", "1624", evidence=(1,)), chunks=2)
    assert named_by_evidence(stream, 0) == []
    assert len(named_by_evidence(stream, 1)) == 1


def test_what_asks_for_a_date_is_kept_as_an_event() -> None:
    [wish] = named_by_evidence(town(asked("a", "When did a fire destroy Oslo?", "1624", kind="temporal")), 0)
    assert wish.event


def test_room_is_left_for_the_rest_of_the_text_and_goes_to_what_is_asked_most() -> None:
    often = [asked(f"a{number}", "Who built it anew?", "Christian IV") for number in range(3)]
    stream = town(asked("b", "When did a fire destroy Oslo?", "1624"), *often, chunks=4)
    memory = kept(stream, budget=4 * count_words("King Christian IV built it anew."))
    assert [item.content for item in memory.items] == ["King Christian IV built it anew."]


def test_no_more_is_shown_than_fits_one_step() -> None:
    stream = town(asked("a", "When did a fire destroy Oslo?", "1624"), asked("b", "Who built it anew?", "Christian IV"))
    assert len(kept(stream, teach=Words(lambda calls: len(calls) <= 1)).items) == 1


@pytest.mark.parametrize("design", list(DESIGNS))
def test_every_design_is_shown_changes_in_its_own_tools(design: str) -> None:
    [stream] = open_source("dialogues", CHANGING)
    changed = [note for notes in stream.metadata["notes"] for note in notes if note["replaces"]]
    assert changed
    memory = kept(stream, budget=4000, design=design)
    held = {word for item in memory.items for word in words(item.content)}
    told = [note["text"] for notes in stream.metadata["notes"] for note in notes]
    assert sum(set(words(text)) <= held for text in told) > len(told) / 3


def test_a_changed_value_takes_the_place_of_the_old_one() -> None:
    [stream] = open_source("dialogues", CHANGING)
    held = [item.content for item in kept(stream, budget=4000).items]
    old = {note["replaces"] for notes in stream.metadata["notes"] for note in notes if note["replaces"]}
    assert len(old & set(held)) < len(old) / 3, "but of what changes twice in a chunk, whose id nobody has seen"
