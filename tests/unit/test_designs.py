"""Every memory design passes the conformance test, which finds what is wrong with one; and does what it is for."""

from __future__ import annotations

import inspect
import json
import random
import re
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memrl.cli.main import main
from memrl.config import load_config
from memrl.envs.designs import DESIGNS, MemoryDesign, MemoryItem, MemoryView, count_words, open_journal
from memrl.envs.designs.conformance import (
    Nonconformity,
    check_design,
    check_keeping,
    check_play,
    check_texts,
    hostile_text,
)
from memrl.envs.designs.describe import describe, designs_page
from memrl.envs.designs.hierarchy import Hierarchy
from memrl.envs.designs.keeping import Keeping, calls_that_keep, holder
from memrl.envs.designs.ledger import FactLedger, held_at
from memrl.envs.designs.linked import MOST_LINKS, LinkedNotes, parts
from memrl.envs.designs.pages import Pages
from memrl.envs.designs.sql import SqlMemory
from memrl.envs.designs.stores import StoreMemory
from memrl.envs.designs.text import RunningText
from memrl.envs.designs.triples import Triples, cut
from memrl.envs.designs.typed import TypedMemory
from memrl.envs.dialects.hermes import HermesDialect
from memrl.envs.tools import ResultCode, ToolCall, ToolResult
from memrl.envs.wrappers import open_design
from memrl.errors import ConfigError, DataError

ROOT = Path(__file__).parents[2]

HERMES = HermesDialect()
EVERY = pytest.mark.parametrize("name", DESIGNS.shipped)
WRAPPED = ({"wrapper": "decay", "strength": 0.5}, "guard", {"wrapper": "consolidate", "every": 2})


def new(name: str, budget: int = 1000) -> Any:
    return DESIGNS.get(name)(budget, 100, count_words)


def call(tool: str, **arguments: Any) -> ToolCall:
    return ToolCall(name=f"memory_{tool}", arguments=arguments)


def do(memory: MemoryDesign, tool: str, when: str | None = None, **arguments: Any) -> ToolResult:
    return memory.execute(call(tool, **arguments), time=when)


def shown(view: MemoryView) -> list[str]:
    return [item.id for item in view.items]


# Conformance -------------------------------------------------------------------------------------------------------


@pytest.mark.long
@EVERY
@settings(max_examples=12, deadline=None)
@given(chance=st.randoms(use_true_random=False))
def test_a_design_conforms(name: str, chance: random.Random) -> None:
    check_play(DESIGNS.get(name), chance)


@EVERY
def test_a_design_keeps_and_drops_sentences(name: str) -> None:
    check_keeping(DESIGNS.get(name))


@EVERY
def test_a_design_conforms_on_a_few_seeds(name: str) -> None:
    check_design(name, seeds=range(2), steps=3)


def hostile(name: str, number: int, wrappers: Sequence[Any] = ()) -> None:
    """Have a design read so many texts, fifty an episode."""
    for episode in range(0, number, 50):
        chance = random.Random(f"hostile/{name}/{episode}")
        held = new(name)
        for sentence in ("Ada lives in Oslo.", "Ben runs."):
            for one in held.keep(sentence):
                held.execute(one)
        check_texts(open_design(name, wrappers), HERMES, [hostile_text(held, HERMES, chance) for _ in range(50)])


@pytest.mark.long
@EVERY
def test_no_text_of_a_model_breaks_a_design(name: str) -> None:
    hostile(name, 200)


@pytest.mark.slow
@EVERY
def test_no_text_of_very_many_breaks_a_design(name: str) -> None:
    hostile(name, 100_000)


@pytest.mark.long
@EVERY
def test_no_text_of_a_model_breaks_a_wrapped_design(name: str) -> None:
    hostile(name, 100, WRAPPED)


@pytest.mark.slow
@EVERY
def test_no_text_of_many_breaks_a_wrapped_design(name: str) -> None:
    hostile(name, 10_000, WRAPPED)


class Raises(StoreMemory):
    def carry_out(self, tool: str, arguments: dict[str, str], time: str | None) -> ToolResult:
        if "Oslo" in arguments.get("content", ""):
            raise KeyError("Oslo")
        return super().carry_out(tool, arguments, time)


class Overflows(StoreMemory):
    def __init__(self, budget: int, core_budget: int, count_tokens: Any) -> None:
        super().__init__(budget, core_budget, count_tokens)
        self.held_budget = budget

    def write(self, tool: str, item: MemoryItem) -> ToolResult:
        self.budget += 1000
        result = super().write(tool, item)
        self.budget = self.held_budget
        return result


class Forgets(StoreMemory):
    def counts(self) -> dict[str, Any]:
        return {**super().counts(), "counters": {"semantic": 0, "episodic": 0}}


class ShowsTooMuch(StoreMemory):
    def retrieve(self, question: str, budget: int) -> MemoryView:
        return super().retrieve(question, 10 * budget)


class ShowsStrangers(StoreMemory):
    def retrieve(self, question: str, budget: int) -> MemoryView:
        view = super().retrieve(question, budget)
        return MemoryView(tuple(MemoryItem(f"x{i.id}", i.store, "-", None, i.order) for i in view.items), view.hidden)


class ChangesWhenRead(StoreMemory):
    def relevant(self, text: str, budget: int | None = None) -> Iterator[MemoryItem]:
        self.held.writes += 1
        return super().relevant(text, budget)


class Chances(StoreMemory):
    made = 0

    def carry_out(self, tool: str, arguments: dict[str, str], time: str | None) -> ToolResult:
        Chances.made += 1
        if "content" in arguments:
            arguments["content"] += f" {Chances.made}"
        return super().carry_out(tool, arguments, time)


class TakesAny(StoreMemory):
    def restore(self, state: dict[str, Any]) -> None:
        super().restore({**state, "design": "stores", "version": 1})


class KeepsNothing(StoreMemory):
    def keep(self, sentence: str, *, event: bool = False, instead_of: MemoryItem | None = None) -> list[ToolCall]:
        return [] if event else super().keep(sentence, instead_of=instead_of)


class DropsAnother(StoreMemory):
    def drop(self, item: MemoryItem) -> list[ToolCall]:
        return super().drop(next(other for other in self.items if other.id != item.id))


class UndoesLess(StoreMemory):
    def snapshot(self) -> dict[str, Any]:
        return {**super().snapshot(), "calls": getattr(self, "calls", 0)}

    def carry_out(self, tool: str, arguments: dict[str, str], time: str | None) -> ToolResult:
        result = super().carry_out(tool, arguments, time)
        self.calls = getattr(self, "calls", 0) + result.ok
        return result

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        self.calls = max(state["calls"], getattr(self, "calls", 0))


@pytest.mark.long
@pytest.mark.parametrize(
    ("design", "found"),
    [
        (Raises, "raises KeyError"),
        (Overflows, "are allowed"),
        (Forgets, "made another memory|has another snapshot|not what it was|had other results"),
        (ShowsTooMuch, "tokens are shown"),
        (ShowsStrangers, "is shown, and `get` knows none"),
        (ChangesWhenRead, "looking at a memory has changed it"),
        (Chances, "the same calls"),
        (TakesAny, "another design or version is restored"),
        (KeepsNothing, "there are no calls for"),
        (DropsAnother, "an item still says it"),
        (UndoesLess, "undone, the memory is not what it was"),
    ],
)
def test_the_conformance_test_finds_what_is_wrong(design: Any, found: str) -> None:
    with pytest.raises(Nonconformity, match=found):
        check_design(design, seeds=range(40))


@EVERY
def test_the_snapshot_of_another_design_is_refused_in_a_line(name: str) -> None:
    memory, other = new(name), new("ledger" if name != "ledger" else "stores")
    before = memory.snapshot()
    with pytest.raises(DataError, match=f"is of memory design '{other.name}', version 1; this memory is of '{name}'"):
        memory.restore(other.snapshot())
    assert memory.snapshot() == before


def test_a_snapshot_from_before_there_were_designs_is_of_stores() -> None:
    memory = StoreMemory(100, 10)
    state = {key: value for key, value in memory.snapshot().items() if key not in ("design", "version")}
    memory.restore(state)
    with pytest.raises(DataError):
        FactLedger(100, 10).restore(state)


@EVERY
def test_several_sentences_of_one_step_are_all_kept(name: str) -> None:
    memory = new(name)
    for one in calls_that_keep(
        memory, [Keeping("Ann works as a baker."), Keeping("Ben met Eve.", event=True)], "May 3"
    ):
        assert memory.execute(one, time="May 3").ok
    old = holder(memory.items, "Ann works as a baker.")
    before = memory.snapshot()
    calls = calls_that_keep(memory, [Keeping("Otto sings."), Keeping("Ann works as a pilot.", instead_of=old)], "May 4")
    assert memory.snapshot() == before
    assert all(memory.execute(one, time="May 4").ok for one in calls)
    for sentence in ("Ben met Eve.", "Otto sings.", "Ann works as a pilot."):
        assert holder(memory.items, sentence), sentence


# What each is for --------------------------------------------------------------------------------------------------


def test_a_ledger_keeps_what_held_before() -> None:
    memory = new("ledger")
    do(memory, "insert", "2024-01-05", content="Ann lives in Rome.")
    do(memory, "insert", "2024-01-05", content="Ben lives in Bern.", since="2020")
    assert (
        do(memory, "supersede", "2024-03-02", memory_id="fact_0001", content="Ann lives in Oslo.").item_id
        == "fact_0003"
    )
    assert [item.line() for item in memory.items] == [
        "fact_0001 (2024-01-05 to 2024-03-02): Ann lives in Rome.",
        "fact_0002 (2020): Ben lives in Bern.",
        "fact_0003 (2024-03-02): Ann lives in Oslo.",
    ]
    assert [fact.id for fact in memory.as_of("2024-02-01")] == ["fact_0001", "fact_0002"]
    assert [fact.id for fact in memory.as_of("2024-03-02")] == ["fact_0002", "fact_0003"]
    assert next(memory.relevant("Where does Ann live?")).id == "fact_0003"
    assert next(memory.relevant("Where did Ann live on 2024-02-01?")).id == "fact_0001"
    # What is closed is not closed again, and may hold again.
    assert do(memory, "supersede", memory_id="fact_0001", content="x").code is ResultCode.UNKNOWN_ID
    assert do(memory, "insert", "2025-01-01", content="Ann lives in Rome.").ok
    assert do(memory, "insert", "2025-01-02", content="ann lives in  Rome.").code is ResultCode.DUPLICATE
    assert do(memory, "end", "2025-02-01", memory_id="fact_0002").ok
    assert not held_at(memory.get("fact_0002"), "2025-02-01")


def test_a_fact_is_superseded_as_a_whole_or_not_at_all() -> None:
    memory = FactLedger(8, 0)
    do(memory, "insert", content="Ann lives in Rome.")
    before = memory.snapshot()
    assert do(memory, "supersede", memory_id="fact_0001", content="a b c d e f g").code is ResultCode.OVER_BUDGET
    assert memory.snapshot() == before


def test_a_running_text_tells_what_was_added_and_what_was_lost() -> None:
    memory = new("text")
    assert do(memory, "text", content="Ann sings. Ben runs.").content == "Ann sings. Ben runs."
    first = {item.content: item.id for item in memory.items}
    assert do(memory, "text", content="Ben runs. Eve reads. Ben runs.").content == "Eve reads."
    assert memory.text == "Ben runs. Eve reads."
    assert {item.content: item.id for item in memory.items}["Ben runs."] == first["Ben runs."]
    assert memory.render("", 100).text() == "Ben runs.\nEve reads."
    assert do(memory, "text", content="Ben runs.  Eve reads.").code is ResultCode.DUPLICATE
    assert do(memory, "text", content="Eve reads. Ben runs.").content is None
    assert memory.text == "Eve reads. Ben runs."


def test_a_text_that_is_too_long_leaves_the_old_one() -> None:
    memory = RunningText(6, 0)
    do(memory, "text", content="Ann sings.")
    assert do(memory, "text", content="Ann sings. Ben runs. Eve reads.").code is ResultCode.OVER_BUDGET
    assert memory.text == "Ann sings."


def test_linked_notes_bring_each_other() -> None:
    memory = new("linked")
    do(memory, "note", content="Ann bakes bread.", keywords="oven")
    for number in range(30):
        do(memory, "note", content=f"Somebody saw bird {number}.")
    do(memory, "note", content="The key lies under the mat.", tags="home")
    assert do(memory, "link", memory_id="note_0001", other_id="note_0032").ok
    assert do(memory, "link", memory_id="note_0032", other_id="note_0001").code is ResultCode.DUPLICATE
    assert do(memory, "link", memory_id="note_0001", other_id="note_0001").code is ResultCode.UNKNOWN_ID
    assert [item.id for item in memory.relevant("oven")] == ["note_0001", "note_0032"]
    assert shown(memory.retrieve("oven", 40))[:1] != shown(memory.retrieve("bird 7", 40))[:1]
    assert do(memory, "update", memory_id="note_0001", tags="food | work").content == "", "its text is as it was"
    assert memory.get("note_0001").content == (
        "Ann bakes bread. | keywords: oven | tags: food / work | links: note_0032"
    )
    assert do(memory, "delete", memory_id="note_0001").ok
    assert parts(memory.get("note_0032")).links == ()


def test_a_note_has_so_many_links_and_no_more() -> None:
    memory = LinkedNotes(10**6, 0)
    for number in range(MOST_LINKS + 2):
        do(memory, "note", content=f"Note {number}.")
    results = [do(memory, "link", memory_id="note_0001", other_id=item.id) for item in memory.items[1:]]
    assert [result.ok for result in results] == [True] * MOST_LINKS + [False]
    assert parts(memory.items[-1]).links == ()
    assert do(memory, "unlink", memory_id="note_0001", other_id="note_0002").ok
    assert parts(memory.get("note_0002")).links == ()


def test_a_triple_is_reached_over_another() -> None:
    memory = new("triples")
    do(memory, "triple", subject="Ann", relation="is a sister of", object="Eve Holt")
    for number in range(30):
        do(memory, "triple", subject=f"Person {number}", relation="lives in", object="a city")
    do(memory, "triple", subject="Eve Holt", relation="lives in", object="Oslo")
    assert [item.id for item in memory.relevant("In which city does the sister of Ann live?")][:2] == [
        "triple_0001",
        "triple_0032",
    ]
    assert do(memory, "update", memory_id="triple_0001", object="Ida | Berg").content == "Ann is a sister of Ida / Berg"
    assert memory.get("triple_0001").content == "Ann | is a sister of | Ida / Berg"
    assert do(memory, "update", memory_id="triple_0001").code is ResultCode.EMPTY


@pytest.mark.parametrize(
    ("sentence", "parted"),
    [
        ("Ann Berg works as a baker.", ("Ann Berg", "works as a", "baker.")),
        ("Ann Berg met Ben Holt.", ("Ann Berg", "met", "Ben Holt.")),
        ("my sister moved to Rome", ("my", "sister moved to", "Rome")),
        ("Ann Berg Holt", ("Ann", "Berg", "Holt")),
        ("安在罗马工作。", ("安", "在罗马工作", "。")),
        ("Hi", ("Hi", "is", "so")),
        ("Otto sings.", ("Otto", "sings", ".")),
    ],
)
def test_a_sentence_is_cut_in_three(sentence: str, parted: tuple[str, str, str]) -> None:
    assert cut(sentence) == parted


def test_each_type_has_its_share_of_what_is_found() -> None:
    memory = TypedMemory(10**6, 0)
    for number in range(9):
        do(memory, "insert", memory_type="semantic", content=f"The oven is hot, {number}.")
    do(memory, "insert", memory_type="procedural", content="To bake, heat the oven, which takes a while, and wait.")
    found = [item.store for item in memory.relevant("oven")]
    assert found[:4] == ["semantic", "semantic", "procedural", "semantic"] and len(found) == 10


def test_a_hierarchy_is_read_from_the_top_down() -> None:
    memory = Hierarchy(10**6, 0)
    do(memory, "trace", domain="work", topic="oven", content="The oven was bought in May.")
    do(memory, "trace", domain="home", topic="garden", content="The oven of the neighbour smokes.")
    do(memory, "trace", domain="work", topic="oven", content="The oven was mended in June.")
    do(memory, "summary", domain="work", topic="oven", content="All about it.")
    assert do(memory, "summary", domain="work", topic="oven", content="Bought and mended.").item_id == "topic_0001"
    assert [item.id for item in memory.relevant("When was the oven mended?")] == [
        "topic_0001", "trace_0003", "trace_0001", "trace_0002",
    ]  # fmt: skip
    assert do(memory, "update", memory_id="trace_0002", content="It > smokes.").content == "It > smokes."
    assert memory.get("trace_0002").content == "home > garden > It > smokes."


def test_an_old_passage_makes_room_for_a_new_one() -> None:
    memory = new("compact_verbatim", 12)
    do(memory, "summary", content="About Ann")
    for text in ("Ann bakes bread.", "It rained all day.", "Eve sings."):
        assert do(memory, "passage", content=text).ok
    assert [item.content for item in memory.items] == ["Ann bakes bread.", "Eve sings."]
    before = memory.snapshot()
    assert do(memory, "passage", content="word " * 12).code is ResultCode.OVER_BUDGET
    assert memory.snapshot() == before
    assert do(memory, "delete", memory_id="core").code is ResultCode.UNKNOWN_ID


def test_pages_are_titles_until_they_are_asked_for() -> None:
    memory = Pages(10**6, 0)
    do(memory, "page", title="Baking", content="Ann has an oven. It came from Otto Lind.")
    do(memory, "page", title="A neighbour", content="Otto Lind owns a red boat.")
    for number in range(20):
        do(memory, "page", title=f"Birds {number}", content=f"Somebody saw bird {number} there.")
    assert "page_0001: Baking" in memory.render("", 1000).text().splitlines()
    assert [item.id for item in memory.relevant("Who gave away the oven?")][:2] == ["page_0001", "page_0002"]
    view = memory.retrieve("Who gave away the oven?", 60)
    assert "page_0001: Baking | Ann has an oven. It came from Otto Lind." in view.text().splitlines()
    assert "page_0002: A neighbour | Otto Lind owns a red boat." in view.text().splitlines()
    assert view.best is not None and view.best.id == "page_0001"


def test_triples_of_one_subject_are_not_read_all() -> None:
    memory = Triples(10**6, 0)
    for number in range(300):
        do(memory, "triple", subject="Ann", relation="saw", object=f"bird {number}")
    assert next(memory.relevant("bird 299 of Ann")).content == "Ann | saw | bird 299"


@pytest.fixture
def people() -> SqlMemory:
    memory = SqlMemory(10**6, 1000)
    for statement in (
        "CREATE TABLE people (name TEXT, city)",
        "INSERT INTO people VALUES (NULL, 'Ann', 'Rome'), (NULL, 'Ben', 'Bern')",
        "create table cats (name)",
        "INSERT INTO cats (name) VALUES ('Tom')",
    ):
        assert do(memory, "sql", "May 3", statement=statement).ok
    return memory


def test_rows_are_items_and_items_rows(people: SqlMemory) -> None:
    assert people.core == "people(name, city); cats(name)"
    assert [item.line() for item in people.items] == [
        "row_0001 (May 3): people | name: Ann | city: Rome",
        "row_0002 (May 3): people | name: Ben | city: Bern",
        "row_0003 (May 3): cats | name: Tom",
    ]
    assert do(people, "sql", statement="UPDATE people SET city = 'Oslo' WHERE name = 'Ann'").content == "Ann Oslo"
    assert do(people, "sql", statement="DELETE FROM people WHERE id = 2").item_id == "row_0002"
    result = do(people, "sql", statement="INSERT INTO people (name, city) SELECT name, 'Rome' FROM cats")
    assert (result.item_id, result.content) == ("row_0004", "Tom Rome")
    assert (
        do(people, "sql", statement="INSERT INTO people (id, name) VALUES (1, 'Eve')").code is ResultCode.BAD_ARGUMENTS
    )
    assert do(people, "sql", statement="REPLACE INTO people (id, name) VALUES (1, 'Eve')").item_id == "row_0001"
    assert do(people, "sql", statement="INSERT INTO people (id, name) VALUES (77, 'Ida')").item_id == "row_0005"
    assert do(people, "sql", statement="DELETE FROM people WHERE name = 'Nobody'").code is ResultCode.UNKNOWN_ID
    held = {item.id: item.content for item in people.items}
    revived = SqlMemory(10**6, 1000)
    revived.restore(json.loads(json.dumps(people.snapshot())))
    assert {item.id: item.content for item in revived.items} == held
    assert do(revived, "sql", statement="UPDATE people SET city = name WHERE city IS NULL").ok
    assert [item.content for item in revived.items if item.id in ("row_0001", "row_0005")] == [
        "people | name: Eve | city: Eve",
        "people | name: Ida | city: Ida",
    ]


@pytest.mark.parametrize(
    "statement",
    [
        "ATTACH DATABASE '/tmp/x.db' AS x",
        "DROP TABLE people",
        "PRAGMA writable_schema = 1",
        "SELECT * FROM people",
        "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) INSERT INTO cats SELECT x, x FROM n",
        "INSERT INTO cats (name) WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x FROM n",
        "INSERT INTO cats (name) SELECT sql FROM sqlite_master",
        "INSERT INTO cats (name) SELECT name FROM pragma_table_info('people')",
        "INSERT INTO changed_rows VALUES ('people', 1)",
        "DELETE FROM temp.changed_rows",
        "UPDATE people SET id = id + 1",
        "INSERT INTO cats (name) VALUES (load_extension('x'))",
        "INSERT INTO cats (name) VALUES (hex(randomblob(1000)))",
        "INSERT INTO cats (name) VALUES (CURRENT_TIMESTAMP)",
        "INSERT INTO cats (name) VALUES (CAST(X'410A42' AS TEXT))",
        "INSERT INTO cats (name) VALUES (X'00')",
        "INSERT INTO cats (name) VALUES (CAST(X'FF' AS TEXT))",
        "INSERT INTO cats (name) VALUES ('a'); DROP TABLE people",
        "INSERT INTO cats (name) VALUES ('a'); COMMIT",
        "INSERT INTO cats (name) VALUES ('a\x00b')",
        "INSERT INTO cats (name) VALUES (?)",
        "CREATE TABLE x AS SELECT * FROM people",
        "CREATE TRIGGER x AFTER INSERT ON cats BEGIN DELETE FROM people; END",
        "CREATE TABLE sqlite_x (a)",
        "CREATE TABLE cats2 (id)",
        "CREATE TABLE cats2 (a, a)",
        "COMMIT",
        "BEGIN",
        "insert",
        "DELETE FROM cats WHERE name LIKE '" + "%a" * 300 + "'",
        "UPDATE cats SET name = 'x' WHERE " + "(" * 600 + "1" + ")" * 600,
    ],
)
def test_sql_that_is_more_than_rows_is_refused_and_nothing_is_lost(people: SqlMemory, statement: str) -> None:
    before = people.snapshot()
    result = do(people, "sql", statement=statement)
    assert not result.ok and result.message
    assert people.snapshot() == before
    assert do(people, "sql", statement="UPDATE people SET city = 'Oslo' WHERE id = 1").content == "Ann Oslo"


def test_a_statement_ends_in_time_and_changes_so_many_rows(people: SqlMemory) -> None:
    for number in range(200):
        do(people, "sql", statement=f"INSERT INTO cats (name) VALUES ('cat {number}')")
    before = people.snapshot()
    begun = time.process_time()
    many = "INSERT INTO cats (name) SELECT count(*) FROM cats a, cats b, cats c, cats d, cats e"
    assert do(people, "sql", statement=many).code is ResultCode.TOO_LONG
    assert time.process_time() - begun < 5
    assert do(people, "sql", statement="UPDATE cats SET name = name").code is ResultCode.TOO_LONG
    assert people.snapshot() == before


def test_a_memory_of_rows_is_told_and_undone_like_any(people: SqlMemory) -> None:
    before = people.snapshot()
    with open_journal(people) as journal:
        do(people, "sql", statement="CREATE TABLE towns (name)")
        do(people, "sql", statement="INSERT INTO towns (name) VALUES ('Bern')")
        do(people, "sql", statement="DELETE FROM people")
        assert [change["op"] for change in journal.diff()] == ["update", "delete", "delete", "insert"]
        journal.undo()
    assert people.snapshot() == before
    assert do(people, "sql", statement="UPDATE people SET city = 'Oslo' WHERE id = 1").ok
    assert do(people, "sql", statement="INSERT INTO towns (name) VALUES ('Bern')").code is ResultCode.BAD_ARGUMENTS


# What is told of them ----------------------------------------------------------------------------------------------


def test_the_page_of_designs_is_what_the_code_says() -> None:
    written = (ROOT / "docs" / "designs.md").read_text(encoding="utf-8")
    assert written == designs_page(), "run: python -m memrl.envs.designs.describe > docs/designs.md"


@EVERY
def test_a_design_says_what_it_is_whose_and_what_was_left_out(name: str) -> None:
    one = describe(name)
    assert one.line and one.paper.startswith("After ") and "arXiv" in one.paper and one.left_out
    assert len(inspect.getsource(sys.modules[DESIGNS.get(name).__module__]).splitlines()) < 200


def test_memrl_designs_lists_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["designs", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in found if not row["wrapper"]] == DESIGNS.shipped
    assert [row["name"] for row in found if row["wrapper"]] == ["decay", "guard", "consolidate"]
    assert found[0]["tools"] == ["memory_insert", "memory_update", "memory_delete"]
    assert main(["designs"]) == 0
    listed = capsys.readouterr().out
    assert "memory_supersede" in listed and "strength: 8" in listed


def test_the_nearest_design_is_named() -> None:
    with pytest.raises(ConfigError, match=r"memory.design is 'leger'; did you mean 'ledger'\?"):
        load_config("tiny", ["memory.design=leger"])


def cookbook() -> str:
    """The design that docs/designs.md shows."""
    page = (ROOT / "docs" / "designs.md").read_text(encoding="utf-8")
    return re.findall(r"```python\n(.*?)```", page, re.DOTALL)[0]


def test_the_design_of_the_cookbook_conforms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "diary.py").write_text(cookbook(), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    check_design("diary:Diary", seeds=range(5))
    assert describe("diary:Diary").line == "The memory design `diary`: one line a day, which grows as the day does."
    load_config("tiny", ["memory.design=diary:Diary"])
