"""The three stores: every operation and its result code, ids, budgets, views, snapshots."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memrl.envs.designs import count_words, diff
from memrl.envs.designs.stores import StoreMemory
from memrl.envs.retrieval.bm25 import BM25Index
from memrl.envs.tools import ResultCode, ToolCall, ToolResult


def memory(budget: int = 1000, core_budget: int = 100, **options: Any) -> StoreMemory:
    return StoreMemory(budget, core_budget, **options)


def call(tool: str, **arguments: Any) -> ToolCall:
    return ToolCall(name=f"memory_{tool}", arguments=arguments)


def insert(held: StoreMemory, content: str, store: str = "semantic", **options: Any) -> ToolResult:
    return held.execute(call("insert", memory_type=store, content=content, **options))


def contents(held: StoreMemory) -> dict[str, str]:
    return {item.id: item.content for item in held.items}


# Ids ------------------------------------------------------------------------------------------------------------


def test_ids_count_up_in_each_store_and_are_never_reused() -> None:
    held = memory()
    assert [insert(held, text).item_id for text in "ab"] == ["sem_0001", "sem_0002"]
    assert insert(held, "c", "episodic").item_id == "epi_0001"
    assert held.execute(call("delete", memory_id="sem_0002")).ok
    assert insert(held, "d").item_id == "sem_0003"
    assert insert(held, "b").item_id == "sem_0004"


def test_a_refused_insert_uses_no_id() -> None:
    held = memory(budget=3)
    assert insert(held, "one two three four").code is ResultCode.OVER_BUDGET
    assert insert(held, "").code is ResultCode.EMPTY
    assert insert(held, "one").item_id == "sem_0001"


def test_ids_stay_in_order_past_four_digits() -> None:
    held = memory(budget=10**6)
    held.restore({"items": [], "counters": {"semantic": 9999, "episodic": 0}, "writes": 9999})
    assert insert(held, "a").item_id == "sem_10000"


# Result codes ---------------------------------------------------------------------------------------------------


def test_what_was_written_is_said() -> None:
    result = insert(memory(), "  Ada lives\n in Oslo. ")
    assert result == ToolResult(
        name="memory_insert", code="ok", item_id="sem_0001", store="semantic", content="Ada lives in Oslo."
    )


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (call("insert", memory_type="semantic", content=" \n\u2028"), ResultCode.EMPTY),
        (call("update", memory_id="sem_0001", content=""), ResultCode.EMPTY),
        (call("update", memory_id="core", content=""), ResultCode.EMPTY),
        (call("insert", memory_type="semantic", content="ada LIVES in\tOslo."), ResultCode.DUPLICATE),
        (call("update", memory_id="sem_0002", content="Ada lives in Oslo."), ResultCode.DUPLICATE),
        (call("update", memory_id="sem_0001", content="Ada lives in Oslo."), ResultCode.DUPLICATE),
        (call("update", memory_id="sem_0009", content="x"), ResultCode.UNKNOWN_ID),
        (call("update", memory_id="", content="x"), ResultCode.UNKNOWN_ID),
        (call("delete", memory_id="sem_0009"), ResultCode.UNKNOWN_ID),
        (call("delete", memory_id="core"), ResultCode.UNKNOWN_ID),
        (call("delete", memory_id="x" * 10_000), ResultCode.UNKNOWN_ID),
        (call("insert", memory_type="core", content="x"), ResultCode.BAD_ARGUMENTS),
        (call("insert", memory_type="semantic"), ResultCode.BAD_ARGUMENTS),
        (call("insert", memory_type="semantic", content=3), ResultCode.BAD_ARGUMENTS),
        (call("delete", memory_id="sem_0001", force="yes"), ResultCode.BAD_ARGUMENTS),
        (call("search", query="x"), ResultCode.UNKNOWN_TOOL),
        (ToolCall(), ResultCode.UNKNOWN_TOOL),
        (ToolCall(error=ResultCode.MALFORMED, message="not JSON"), ResultCode.MALFORMED),
        (call("insert", memory_type="semantic", content="word " * 2000), ResultCode.OVER_BUDGET),
    ],
)
def test_a_bad_call_has_a_code_and_changes_nothing(bad: ToolCall, code: ResultCode) -> None:
    held = memory()
    insert(held, "Ada lives in Oslo.")
    insert(held, "Ben likes tea.")
    before = json.dumps(held.snapshot())
    result = held.execute(bad)
    assert result.code is code
    assert not result.ok
    assert result.item_id is result.content is None
    assert len(result.message) < 300
    assert json.dumps(held.snapshot()) == before


@pytest.mark.parametrize("again", ["Rene\u0301e sings.", "RENÉE  sings.", "Ren\u00e9e\u200b sings."])
def test_what_looks_the_same_is_a_duplicate(again: str) -> None:
    held = memory()
    assert insert(held, "Ren\u00e9e sings.").ok
    assert insert(held, again).code is ResultCode.DUPLICATE


def test_other_numbers_are_no_duplicates() -> None:
    held = memory()
    assert insert(held, "It cost 3.14 euros.").ok
    assert insert(held, "It cost 314 euros.").ok
    assert insert(held, "It cost −314 euros.").ok


def test_an_item_may_correct_its_own_capitals_but_not_repeat_itself() -> None:
    held = memory()
    assert insert(held, "ann lives in oslo").ok
    assert held.execute(call("update", memory_id="sem_0001", content="Ann lives in Oslo")).ok
    assert contents(held) == {"sem_0001": "Ann lives in Oslo"}
    again = held.execute(call("update", memory_id="sem_0001", content="Ann lives in Oslo"))
    assert again.code is ResultCode.DUPLICATE
    assert insert(held, "ann lives in oslo").code is ResultCode.DUPLICATE


@pytest.mark.parametrize("nothing", ["\u200b", "\u200d\ufeff", " \u00ad "])
def test_what_nobody_can_see_is_empty(nothing: str) -> None:
    assert insert(memory(), nothing).code is ResultCode.EMPTY


def test_null_stands_for_an_optional_argument_that_is_left_out() -> None:
    held = memory()
    assert insert(held, "Ann called.", "episodic", time=None).ok
    assert held.items[0].time is None
    assert insert(held, None).code is ResultCode.BAD_ARGUMENTS  # type: ignore[arg-type]


def test_a_deleted_text_may_be_stored_again_and_a_replaced_one_too() -> None:
    held = memory()
    insert(held, "a")
    held.execute(call("update", memory_id="sem_0001", content="b"))
    assert insert(held, "a").ok
    assert insert(held, "b").code is ResultCode.DUPLICATE
    held.execute(call("delete", memory_id="sem_0001"))
    assert insert(held, "b").ok


def test_the_same_event_on_two_days_is_no_duplicate() -> None:
    held = memory()
    assert insert(held, "Ada ran.", "episodic", time="May 3").ok
    assert insert(held, "Ada ran.", "episodic", time="May 4").ok
    assert insert(held, "Ada ran.", "episodic", time="May 4").code is ResultCode.DUPLICATE
    assert insert(held, "Ada ran.").ok


def test_no_content_can_draw_a_second_line() -> None:
    held = memory()
    insert(held, "a\n# Memory\u2028sem_0009: b", "episodic", time="May\n3")
    held.execute(call("insert", memory_type="episodic", content="b"), time="May\n4")
    assert held.render("", 100).text().splitlines() == [
        "epi_0001 (May 3): a # Memory sem_0009: b",
        "epi_0002 (May 4): b",
    ]


def test_text_that_no_file_takes_is_mended_on_its_way_in() -> None:
    held = memory()
    assert insert(held, "a\ud800", "episodic", time="\udfff").content == "a?"
    assert insert(held, "\ud800").ok
    json.dumps(held.snapshot(), ensure_ascii=False).encode()


# Time -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("own", "given_time", "expected"), [("", "May 3", "May 3"), ("May 1", "May 3", "May 1")])
def test_an_event_takes_the_chunks_time_unless_it_names_its_own(own: str, given_time: str, expected: str) -> None:
    held = memory()
    held.execute(call("insert", memory_type="episodic", content="Ada ran.", time=own), time=given_time)
    assert held.items[0].time == expected
    assert held.items[0].line() == f"epi_0001 ({expected}): Ada ran."


@pytest.mark.parametrize("given_time", [None, "", " \n"])
def test_without_any_time_an_event_has_none(given_time: str | None) -> None:
    held = memory()
    held.execute(call("insert", memory_type="episodic", content="Ada ran."), time=given_time)
    assert held.items[0].time is None


def test_facts_have_no_time_and_an_update_keeps_an_events() -> None:
    held = memory()
    held.execute(call("insert", memory_type="semantic", content="a"), time="May 3")
    held.execute(call("insert", memory_type="episodic", content="b"), time="May 3")
    held.execute(call("update", memory_id="epi_0001", content="c"), time="May 9")
    assert [item.time for item in held.items] == [None, "May 3"]
    assert held.items[1].content == "c"


# Budgets --------------------------------------------------------------------------------------------------------


def test_a_write_past_the_budget_is_refused_and_one_up_to_it_is_not() -> None:
    held = memory(budget=5)
    assert insert(held, "one two three").ok
    assert insert(held, "four five six").code is ResultCode.OVER_BUDGET
    assert insert(held, "four five").ok
    assert held.token_count() == 5
    assert held.execute(call("update", memory_id="sem_0002", content="four five six")).code is ResultCode.OVER_BUDGET
    assert held.execute(call("update", memory_id="sem_0002", content="six seven")).ok
    assert held.execute(call("delete", memory_id="sem_0001")).ok
    assert held.token_count() == 2
    assert insert(held, "one two three").ok


def test_the_time_of_an_event_counts() -> None:
    held = memory(budget=4)
    assert insert(held, "Ada ran.", "episodic", time="May 3").code is ResultCode.OVER_BUDGET
    assert insert(held, "Ada ran", "episodic", time="May 3").ok
    assert held.token_count() == 4


def test_core_has_a_budget_of_its_own_inside_the_whole() -> None:
    held = memory(budget=6, core_budget=3)
    assert held.execute(call("update", memory_id="core", content="a b c d")).code is ResultCode.OVER_BUDGET
    assert held.core == ""
    assert held.execute(call("update", memory_id="core", content="a b c")).ok
    assert insert(held, "d e f").ok
    assert insert(held, "g").code is ResultCode.OVER_BUDGET
    assert held.execute(call("update", memory_id="core", content="A B")).ok
    assert (held.core, held.token_count()) == ("A B", 5)
    assert "core" not in contents(held)


@pytest.mark.parametrize(("text", "tokens"), [("", 0), ("Ada's cat.", 5), ("🐈🐈", 2), ("@@@", 3), (" \n", 0)])
def test_words_and_marks_are_counted(text: str, tokens: int) -> None:
    assert count_words(text) == tokens


# Views ----------------------------------------------------------------------------------------------------------


def filled() -> StoreMemory:
    held = memory(recent=1)
    for text in ("Ada lives in Oslo.", "Ben likes tea.", "Cora owns a cat.", "Dan plays the harp."):
        insert(held, text)
    held.execute(call("update", memory_id="core", content="People of Oslo."))
    return held


def test_a_memory_that_fits_is_shown_whole_and_alike_whatever_is_asked() -> None:
    held = filled()
    views = [held.retrieve(asked, 100) for asked in ("Who likes tea?", "Which pet has she got?", "")]
    assert [item.id for item in views[0].items] == ["sem_0001", "sem_0002", "sem_0003", "sem_0004", "core"]
    assert views[0].text() == views[1].text() == views[2].text() and views[0].hidden == 0
    assert [view.best and view.best.id for view in views] == ["sem_0002", None, None]


def test_what_matches_comes_first_and_the_newest_of_the_others_fill_the_budget() -> None:
    held = filled()
    lines = {item.id: count_words(item.line()) + 1 for item in held.retrieve("", 100).items}
    budget = lines["core"] + lines["sem_0002"] + lines["sem_0004"]
    view = held.retrieve("Who likes tea?", budget)
    assert [item.id for item in view.items] == ["sem_0002", "sem_0004", "core"] and view.hidden == 2
    held.execute(call("delete", memory_id="sem_0004"))
    assert [item.id for item in held.retrieve("Who likes tea?", budget).items] == ["sem_0002", "sem_0003", "core"]


def test_what_lacks_room_leaves_it_to_smaller_ones() -> None:
    held = memory()
    for text in ("Ada likes tea.", "Ada likes tea and cake and bread and milk.", "Ben runs."):
        insert(held, text)
    assert [item.id for item in held.retrieve("tea and cake and bread and milk", 16).items] == ["sem_0002"]
    assert [item.id for item in held.retrieve("Ada tea", 14).items] == ["sem_0001", "sem_0003"]


def test_while_reading_the_last_writes_come_before_what_matches() -> None:
    held = filled()
    lines = {item.id: count_words(item.line()) + 1 for item in held.retrieve("", 100).items}
    budget = lines["core"] + lines["sem_0004"] + lines["sem_0001"]
    assert [item.id for item in held.render("Ada went away.", budget).items] == ["sem_0001", "sem_0004", "core"]
    held.execute(call("update", memory_id="sem_0003", content="Cora owns a dog."))
    assert [item.id for item in held.render("", budget).items] == ["sem_0004", "core", "sem_0003"]


@pytest.mark.parametrize("budget", [-1, 0, 1, 5, 8, 14, 15, 22, 30, 1000])
def test_a_view_keeps_its_budget_and_counts_what_it_hides(budget: int) -> None:
    held = filled()
    for view in (held.render("Ada Ben Cora Dan", budget), held.retrieve("Ada Ben Cora Dan", budget)):
        assert sum(count_words(item.line()) + 1 for item in view.items) <= max(budget, 0)
        assert len(view.items) + view.hidden == 5
        assert len({item.id for item in view.items}) == len(view.items)
        assert view.text().count("\n") == max(len(view.items) - 1, 0)
    assert not view.items or view.items[-1].id == "core"


def test_an_item_too_long_to_show_hides_nothing_but_itself() -> None:
    held = memory()
    insert(held, "Ada lives in Oslo.")
    insert(held, "Ada " * 50)
    held.execute(call("update", memory_id="core", content="long " * 50))
    assert held.retrieve("Ada", 20).text() == "sem_0001: Ada lives in Oslo."
    assert held.render("Ada", 20).hidden == 2


def test_an_empty_memory_has_an_empty_view() -> None:
    view = memory().render("Ada", 100)
    assert (view.items, view.hidden, view.text()) == ((), 0, "")


# Snapshots ------------------------------------------------------------------------------------------------------

TEXTS = st.lists(st.sampled_from(["Ada", "Ben", "tea", "Oslo", "cat", "runs", "."]), max_size=4).map(" ".join)
IDS = st.sampled_from([f"{prefix}_{number:04d}" for prefix in ("sem", "epi") for number in range(1, 6)] + ["core"])
OPERATIONS = st.one_of(
    st.builds(
        lambda store, text, time: call("insert", memory_type=store, content=text, **time),
        st.sampled_from(["semantic", "episodic"]),
        TEXTS,
        st.sampled_from([{}, {"time": "May 1"}, {"time": "May 2"}]),
    ),
    st.builds(lambda item, text: call("update", memory_id=item, content=text), IDS, TEXTS),
    st.builds(lambda item: call("delete", memory_id=item), IDS),
)


@pytest.mark.long
@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(OPERATIONS, st.booleans()), max_size=30), TEXTS)
def test_a_memory_saved_and_restored_on_the_way_is_one_that_never_was(
    operations: list[tuple[ToolCall, bool]], question: str
) -> None:
    lived, revived = memory(25, 4), memory(25, 4)
    given_out: set[str] = set()
    for operation, interrupted in operations:
        if interrupted:
            state = json.loads(json.dumps(revived.snapshot()))
            revived = memory(25, 4)
            revived.restore(state)
        before = set(contents(lived))
        result = lived.execute(operation, time="May 3")
        assert revived.execute(operation, time="May 3") == result
        assert revived.snapshot() == lived.snapshot()
        assert revived.items == lived.items
        assert revived.core == lived.core
        assert revived.token_count() == lived.token_count() <= 25
        assert count_words(lived.core) <= 4
        for budget in (8, 20, 100):
            assert revived.retrieve(question, budget) == lived.retrieve(question, budget)
            assert revived.render(question, budget) == lived.render(question, budget)
        new = set(contents(lived)) - before
        assert not new & given_out
        given_out |= new
        assert lived.token_count() == sum(
            count_words(f"{item.time or ''} {item.content}") for item in lived.items
        ) + count_words(lived.core)
        fresh = BM25Index()
        for item in sorted(lived.items, key=lambda item: item.order):
            fresh.add(item.id, f"{item.time or ''} {item.content}")
        assert lived.held.index.search(question) == fresh.search(question)


def test_equals_rank_as_before_after_restoring() -> None:
    held = memory()
    for name in ("a", "b", "c"):
        insert(held, f"{name} cat")
    held.execute(call("update", memory_id="sem_0001", content="d cat"))
    other = memory()
    other.restore(held.snapshot())
    budget = count_words("sem_0001: d cat") + 1
    assert [item.id for item in other.retrieve("cat", budget).items] == ["sem_0001"]
    assert other.retrieve("cat", 2 * budget) == held.retrieve("cat", 2 * budget)


def test_a_snapshot_is_a_copy() -> None:
    held = memory()
    insert(held, "a")
    state = held.snapshot()
    saved = json.dumps(state)
    insert(held, "b")
    held.execute(call("update", memory_id="sem_0001", content="c"))
    assert json.dumps(state) == saved
    state["items"][0]["content"] = "forged"
    state["counters"]["semantic"] = 99
    assert contents(held) == {"sem_0001": "c", "sem_0002": "b"}
    again = held.snapshot()
    other = memory()
    other.restore(again)
    again["items"][0]["content"] = "forged"
    again["counters"]["semantic"] = 99
    assert insert(held, "d").item_id == insert(other, "d").item_id == "sem_0003"
    assert contents(other) == contents(held)


def test_restoring_forgets_what_was_there() -> None:
    held = memory()
    empty = held.snapshot()
    insert(held, "Ada")
    held.execute(call("update", memory_id="core", content="x"))
    held.restore(empty)
    assert (held.items, held.core, held.token_count()) == ((), "", 0)
    assert held.retrieve("Ada", 100).items == ()
    assert insert(held, "Ada").item_id == "sem_0001"


def test_the_diff_names_what_was_inserted_updated_and_deleted() -> None:
    held = memory()
    for text in ("a", "b", "c"):
        insert(held, text)
    before = held.snapshot()
    held.execute(call("delete", memory_id="sem_0001"))
    held.execute(call("update", memory_id="sem_0002", content="B2"))
    held.execute(call("update", memory_id="core", content="core text"))
    insert(held, "d", "episodic")
    insert(held, "gone")
    held.execute(call("delete", memory_id="sem_0004"))
    assert diff(before, held.snapshot()) == [
        {"op": "delete", "id": "sem_0001", "before": "a", "after": None},
        {"op": "update", "id": "sem_0002", "before": "b", "after": "B2"},
        {"op": "insert", "id": "core", "before": None, "after": "core text"},
        {"op": "insert", "id": "epi_0001", "before": None, "after": "d"},
    ]
    assert diff(held.snapshot(), held.snapshot()) == []
