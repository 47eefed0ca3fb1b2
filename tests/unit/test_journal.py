"""A journal tells and undoes what two snapshots would, at the price of what was changed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memrl.envs.designs import MemoryDesign, count_words, diff, open_journal
from memrl.envs.designs.base import HeldDesign
from memrl.envs.designs.held import ItemJournal
from memrl.envs.designs.journal import SnapshotJournal
from memrl.envs.designs.stores import StoreMemory
from memrl.envs.dialects.hermes import HermesDialect
from memrl.envs.errors import EnvironmentFault
from memrl.envs.memory_env import MemoryEnv
from memrl.envs.stream import Chunk, Question, Stream
from memrl.envs.tools import ToolCall, ToolResult


def call(tool: str, **arguments: Any) -> ToolCall:
    return ToolCall(name=f"memory_{tool}", arguments=arguments)


def insert(held: StoreMemory, content: str) -> ToolResult:
    return held.execute(call("insert", memory_type="semantic", content=content))


TEXTS = st.lists(st.sampled_from(["Ada", "Ben", "tea", "Oslo", "cat", "runs"]), max_size=4).map(" ".join)
IDS = st.sampled_from([f"{prefix}_{number:04d}" for prefix in ("sem", "epi") for number in range(1, 6)] + ["core"])
OPERATIONS = st.one_of(
    st.builds(
        lambda store, text: call("insert", memory_type=store, content=text),
        st.sampled_from(["semantic", "episodic"]),
        TEXTS,
    ),
    st.builds(lambda item, text: call("update", memory_id=item, content=text), IDS, TEXTS),
    st.builds(lambda item: call("delete", memory_id=item), IDS),
)
STEPS = st.lists(st.tuples(st.lists(OPERATIONS, max_size=6), st.booleans()), max_size=6)


class WithoutJournal(StoreMemory):
    """A design whose snapshot is its own, so that no journal of its parent can know what it holds."""

    def snapshot(self) -> dict[str, Any]:
        return {**super().snapshot(), "mine": True}


def same(one: StoreMemory, other: StoreMemory, question: str) -> None:
    assert one.snapshot() == other.snapshot()
    assert one.items == other.items
    assert (one.core, one.token_count()) == (other.core, other.token_count())
    assert list(one.newest()) == list(other.newest())
    for budget in (8, 20, 100):
        assert one.retrieve(question, budget) == other.retrieve(question, budget)
        assert one.render(question, budget) == other.render(question, budget)
    assert one.held.index.search(question) == other.held.index.search(question)


@pytest.mark.long
@settings(max_examples=200, deadline=None)
@given(st.lists(OPERATIONS, max_size=15), STEPS, st.lists(OPERATIONS, max_size=6), TEXTS)
def test_a_journal_tells_and_undoes_what_snapshots_would(
    first: list[ToolCall], steps: list[tuple[list[ToolCall], bool]], last: list[ToolCall], question: str
) -> None:
    """Journals stand in each other, and each is undone or not; then the memory goes on as one that was restored."""
    held, revived = StoreMemory(40, 6), StoreMemory(40, 6)
    for one in first:
        held.execute(one, time="May 3")
    held.retrieve(question, 20)  # a posting that was read is kept otherwise

    def play(rest: list[tuple[list[ToolCall], bool]]) -> None:
        if not rest:
            return
        before = held.snapshot()
        (calls, undone), *rest = rest
        with open_journal(held) as journal:
            assert isinstance(journal, ItemJournal)
            for one in calls:
                held.execute(one, time="May 4")
            play(rest)
            assert journal.diff() == diff(before, held.snapshot())
            if undone:
                journal.undo()
                assert held.snapshot() == before
                assert journal.diff() == []

    play(steps)
    revived.restore(json.loads(json.dumps(held.snapshot())))
    same(held, revived, question)
    for one in last:
        assert held.execute(one) == revived.execute(one)
    same(held, revived, question)


@pytest.mark.long
@settings(max_examples=60, deadline=None)
@given(st.lists(OPERATIONS, max_size=8), st.lists(OPERATIONS, max_size=8))
def test_a_design_without_a_journal_is_told_by_its_snapshots(first: list[ToolCall], then: list[ToolCall]) -> None:
    with_one, without = StoreMemory(40, 6), WithoutJournal(40, 6)
    for one in first:
        assert with_one.execute(one) == without.execute(one)
    before = without.snapshot()
    with open_journal(with_one) as known, open_journal(without) as compared:
        assert isinstance(compared, SnapshotJournal)
        for one in then:
            assert with_one.execute(one) == without.execute(one)
        assert known.diff() == compared.diff()
        compared.undo()
        assert without.snapshot() == before


def test_a_subclass_that_says_how_its_journal_is_kept_is_trusted() -> None:
    class WithBoth(WithoutJournal):
        def open_journal(self) -> Any:
            return super().open_journal()

    class Untouched(StoreMemory):
        pass

    for design in (WithBoth, Untouched):
        with open_journal(design(10, 10)) as journal:
            assert isinstance(journal, ItemJournal)


def test_a_journal_knows_what_was_touched_in_order_and_what_it_was() -> None:
    held = StoreMemory(100, 10)
    insert(held, "Ada")
    insert(held, "Ben")
    ada, ben = held.items
    with held.open_journal() as journal:
        held.execute(call("update", memory_id="sem_0002", content="Cora"))
        held.execute(call("delete", memory_id="sem_0001"))
        insert(held, "Dan")
        held.execute(call("delete", memory_id="sem_0002"))
        assert journal.touched() == {"sem_0002": ben, "sem_0001": ada, "sem_0003": None}
    with held.open_journal() as journal:
        assert journal.touched() == {}


def test_a_memory_is_not_restored_while_its_journal_is_open() -> None:
    held = StoreMemory(100, 10)
    state = held.snapshot()
    with held.open_journal(), pytest.raises(EnvironmentFault, match="leave the journal first"):
        held.restore(state)
    held.restore(state)


def test_places_of_removed_items_are_kept_while_they_may_be_put_back() -> None:
    held = StoreMemory(10**6, 10)
    for number in range(3000):
        insert(held, f"item {number}")
    before = held.held.index.search("item 7 2999")
    with held.open_journal() as journal:
        for number in range(2900):
            held.execute(call("delete", memory_id=f"sem_{number + 1:04d}"))
        assert len(held.items) == 100
        journal.undo()
    assert held.held.index.search("item 7 2999") == before and len(before) == 3000


# Whoever uses one -----------------------------------------------------------------------------------------------

QUESTIONS = (Question(id="q", text="Who?", answers=("Ada",)),)


def env(memory: MemoryDesign, chunks: int) -> MemoryEnv:
    stream = Stream(id="s", source="test", chunks=tuple(Chunk(text="Ada", time="May 3") for _ in range(chunks)),
                    questions=QUESTIONS)  # fmt: skip
    return MemoryEnv(stream, memory, HermesDialect(), max_calls=4)


@pytest.mark.long
@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(OPERATIONS, max_size=6), min_size=1, max_size=5))
def test_a_step_is_the_same_with_a_journal_and_without(steps: list[list[ToolCall]]) -> None:
    with_one, without = env(StoreMemory(40, 6), len(steps)), env(WithoutJournal(40, 6), len(steps))
    for calls in steps:
        text = HermesDialect().format(calls)
        assert with_one.step(text) == without.step(text)


def counting() -> tuple[StoreMemory, list[str]]:
    """A memory, and the texts whose tokens it has counted."""
    counted: list[str] = []

    def count(text: str) -> int:
        counted.append(text)
        return count_words(text)

    return StoreMemory(10**6, 10, count), counted


def test_a_step_does_not_look_at_what_it_does_not_touch(monkeypatch: pytest.MonkeyPatch) -> None:
    memory, counted = counting()
    for number in range(200):
        insert(memory, f"Ada saw bird {number}.")
    assert len(counted) == 200

    def refused(_: StoreMemory) -> dict[str, Any]:
        raise AssertionError("a snapshot was taken")

    monkeypatch.setattr(HeldDesign, "snapshot", refused)
    counted.clear()
    played = env(memory, 1)
    result = played.step(HermesDialect().format([call("insert", memory_type="semantic", content="Ben left.")]))
    assert result.diff == [{"op": "insert", "id": "sem_0201", "before": None, "after": "Ben left."}]
    assert counted == ["Ben left."]


def test_the_tokens_of_a_line_are_counted_once_for_an_item() -> None:
    held, counted = counting()
    for number in range(20):
        insert(held, f"Ada saw bird {number}.")
    counted.clear()
    views = [held.retrieve("Which bird did Ada see?", 60) for _ in range(3)]
    assert views[0] == views[1] == views[2] and views[0].items
    known = set(counted)
    assert len(views[0].items) <= len(counted) == len(known)
    held.execute(call("update", memory_id=views[0].items[0].id, content="Ada saw a cat."))
    counted.clear()
    held.retrieve("Which bird did Ada see?", 1000)
    assert sorted(counted) == sorted({item.line() for item in held.items} - known)
