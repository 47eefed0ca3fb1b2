"""What a hostile reader found in the memory designs: each of these failed once."""

from __future__ import annotations

from typing import Any

import pytest

from memrl.envs.designs import DESIGNS, MemoryDesign, MemoryItem, count_words
from memrl.envs.designs.linked import parts
from memrl.envs.tools import ResultCode, ToolCall, ToolResult
from memrl.rollout.replay import Ledger

EVERY = pytest.mark.parametrize("name", DESIGNS.shipped)


def new(name: str, budget: int = 1000) -> Any:
    return DESIGNS.get(name)(budget, 100, count_words)


def do(memory: MemoryDesign, tool: str, **arguments: str) -> ToolResult:
    return memory.execute(ToolCall(name=f"memory_{tool}", arguments=arguments))


def keep(memory: MemoryDesign, sentence: str, instead_of: MemoryItem | None = None) -> list[ToolResult]:
    return [memory.execute(call) for call in memory.keep(sentence, instead_of=instead_of)]


@EVERY
@pytest.mark.parametrize("nothing", ["", " ", "\u200b", "\ufeff \u200d"])
def test_a_sentence_without_anything_to_see_is_refused_and_breaks_nothing(name: str, nothing: str) -> None:
    memory = new(name)
    assert [result.code for result in keep(memory, nothing)] == [ResultCode.EMPTY]
    assert not memory.items


@EVERY
@pytest.mark.parametrize(
    "said",
    [
        ["Ann lives in Bern", "Ben likes tea", "Cy came."],
        ["user: Ann lives in Bern.", "user: Ben likes tea.", "user: Cy came."],
        ["Ann works at Acme Inc.", "Ben runs.", "名前", "🐈 purrs"],
    ],
)
def test_sentences_stay_apart_however_they_begin_and_end(name: str, said: list[str]) -> None:
    memory = new(name)
    for sentence in said:
        assert all(result.ok for result in keep(memory, sentence))
    assert len(memory.items) == len(said)
    first = memory.items[0].id
    for call in memory.drop(memory.items[1]):
        assert memory.execute(call).ok
    assert memory.items[0].id == first and len(memory.items) == len(said) - 1


@EVERY
def test_an_item_that_is_written_anew_as_it_is_shown_keeps_its_parts(name: str) -> None:
    memory = new(name)
    keep(memory, "Kira lives in Ghent.")
    (before,) = memory.items
    assert all(result.ok for result in keep(memory, before.content.replace("Ghent", "Rome"), before))
    assert [item.content for item in memory.items][-1] == before.content.replace("Ghent", "Rome")


def test_a_memory_of_a_larger_budget_can_be_made_smaller() -> None:
    large = new("linked")
    for number in range(4):
        do(large, "note", content=f"Ann has seen bird number {number} here.")
    do(large, "link", memory_id="note_0001", other_id="note_0002")
    small = new("linked", 5)
    small.restore(large.snapshot())
    assert do(small, "update", memory_id="note_0003", content="Ann saw it.").ok
    assert do(small, "update", memory_id="note_0003", content="Ann saw it again.").code is ResultCode.OVER_BUDGET
    assert do(small, "unlink", memory_id="note_0001", other_id="note_0002").ok
    for number in range(1, 5):
        assert do(small, "delete", memory_id=f"note_000{number}").ok
    assert small.token_count() == 0


def test_what_changes_an_item_and_not_its_text_has_written_no_text() -> None:
    linked, ledger, pages = new("linked"), new("ledger"), new("pages")
    for text in ("Ann bakes bread.", "Ann has an oven."):
        do(linked, "note", content=text)
    for tool in ("link", "unlink"):
        assert do(linked, tool, memory_id="note_0001", other_id="note_0002").content == ""
    do(ledger, "insert", content="Ann is a baker.")
    assert do(ledger, "end", memory_id="fact_0001", until="2024").content == ""
    do(pages, "page", title="Ann", content="Ann is a baker.")
    assert do(pages, "update", memory_id="page_0001", title="Ann Berg").content == ""
    assert do(pages, "update", memory_id="page_0001", content="Ann is a pilot.").content == "Ann is a pilot."


def test_who_replays_calls_knows_that_a_linked_note_says_what_it_said() -> None:
    memory, held = new("linked"), Ledger()
    calls = [
        ToolCall(name="memory_note", arguments={"content": "Ann bakes bread."}),
        ToolCall(name="memory_note", arguments={"content": "Ann has an oven."}),
        ToolCall(name="memory_link", arguments={"memory_id": "note_0001", "other_id": "note_0002"}),
    ]
    held.follow(calls, [memory.execute(call) for call in calls], None)
    entry = held.get("note_0001")
    assert entry is not None and entry.content == "Ann bakes bread."


def test_no_time_that_a_fact_begins_with_looks_like_an_end() -> None:
    memory = new("ledger")
    for number, since in enumerate(("a to to b", "to", "to to to", "1 to", "x to to to y"), 1):
        assert do(memory, "insert", content=f"Ann has job {number}.", since=since).ok
        assert do(memory, "supersede", memory_id=memory.items[-1].id, content=f"Ben has job {number}.").ok


def test_a_fact_is_not_superseded_by_itself() -> None:
    memory = new("ledger")
    do(memory, "insert", content="Ann is a baker.")
    before = memory.snapshot()
    assert do(memory, "supersede", memory_id="fact_0001", content=" Ann is a baker. ").code is ResultCode.DUPLICATE
    assert memory.snapshot() == before


def test_a_link_to_what_was_erased_goes_with_the_next_change_and_stands_in_no_way() -> None:
    memory = new("linked")
    for text in ("Ann bakes bread.", "Ann has an oven.", "Ann is tired."):
        do(memory, "note", content=text)
    for other in ("note_0002", "note_0003"):
        do(memory, "link", memory_id="note_0001", other_id=other)
    state = memory.snapshot()
    # As an undoing leaves it after an erasing: one note is gone, and of another only one side is linked.
    state["items"] = [item for item in state["items"] if item["id"] != "note_0002"]
    state["items"][1]["content"] = "Ann is tired."
    memory.restore(state)
    assert do(memory, "update", memory_id="note_0001", tags="food").ok
    assert parts(memory.get("note_0001")).links == ("note_0003",)
    assert do(memory, "delete", memory_id="note_0001").ok


def test_a_page_that_does_not_fit_is_a_title_whatever_stands_beside_it() -> None:
    memory = new("pages", 10_000)
    do(memory, "page", title="Cats of all kinds", content="cat " * 100)
    do(memory, "page", title="Dogs of the cat", content="cat dog " * 10)
    for budget in range(20, 60):
        assert memory.retrieve("cat", budget).hidden == 0, budget


def test_the_line_of_what_was_read_has_room_in_a_full_memory() -> None:
    memory = new("compact_verbatim", 30)
    for number in range(20):
        do(memory, "passage", content=f"Passage number {number} is here now.")
    assert do(memory, "summary", content="All of the passages were read by Ann.").ok
    assert memory.token_count() <= 30 and memory.items
    state = memory.snapshot()
    assert do(memory, "summary", content="word " * 40).code is ResultCode.OVER_BUDGET
    assert memory.snapshot() == state
