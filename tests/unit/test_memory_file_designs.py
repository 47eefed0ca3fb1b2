"""A memory file of any design: the same promises as of `stores`, for a memory that is laid out otherwise."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memrl.agent.history import History
from memrl.agent.memory_file import MemoryFile, ReadStep
from memrl.agent.once import once
from memrl.agent.parts import placed, split, whole
from memrl.cli.main import main
from memrl.envs.designs import DESIGNS
from memrl.envs.designs.conformance import drawn_calls
from memrl.envs.tools import ResultCode, ToolCall
from memrl.errors import DataError, NotOffered, PluginError
from tests.calls import insert
from tests.disks import found
from tests.running_text import HOARDER, PATH, Hoarder, RunningText, rewrite
from tests.support import ROOT

WRITER = """
import sys
from memrl.agent.memory_file import History, MemoryFile
file = MemoryFile(sys.argv[1], "ann", design=sys.argv[3], wrappers=sys.argv[4:], history=History(keep=None))
for number in range(int(sys.argv[2]), int(sys.argv[2]) + 200):
    assert file.keep([f"Number {number} came.", f"Number {number} went."], by="writer")[-1].ok
    print(number, flush=True)
"""
WRAPPERS = ("decay", "guard", "consolidate")
EVERY_MEMORY = [*((design, ()) for design in (*DESIGNS.shipped, PATH)), *((one, WRAPPERS) for one in DESIGNS.shipped)]
SAID = re.compile(r"Number (\d+) (came|went)")
NAMES, PLACES = ("Ann", "Bob", "Cy", "Dan", "Eve"), ("Rome", "Oslo", "Bern", "Cork", "Lyon")
ROME, OSLO, OBOE = "Ann lives in Rome.", "Ann lives in Oslo.", "Bob plays the oboe."


def opened(path: Path, user: str = "default", **options: object) -> MemoryFile:
    return MemoryFile(path, user, design=PATH, **options)  # type: ignore[arg-type]


def texts(file: MemoryFile) -> list[str]:
    return [item.content for item in file.state().items]


def sorted_state(file: MemoryFile) -> dict[str, object]:
    """The snapshot, whatever the order in which it lists the items: each has its place among them."""
    state = file.state().snapshot()
    return {**state, "items": sorted(state["items"], key=lambda item: item["id"])}


def said_in(file: MemoryFile) -> set[str]:
    """The sentences of WRITER that are held, whatever signs a design puts between words."""
    plain = (" ".join(re.findall(r"\w+", item.content)) for item in file.items)
    return {" ".join(found) for text in plain for found in SAID.findall(text)}


def whole_state(file: MemoryFile) -> str:
    """The snapshot to the letter: the order of all that has one counts."""
    return json.dumps(file.state().snapshot())


def test_a_memory_of_another_design_is_exactly_what_it_was_when_it_is_opened_again(tmp_path: Path) -> None:
    file = opened(tmp_path / "memory.sqlite")
    file.execute([rewrite(f"{ROME} {OBOE} Cy came.")], why="one")
    file.execute([rewrite(f"Dan knows. {OBOE} {OSLO}")], why="two")
    file.execute([rewrite(f"{OSLO} Eve is new. {OBOE}")])
    state = whole_state(file)
    file.close()
    again = opened(tmp_path / "memory.sqlite")
    assert whole_state(again) == state and texts(again) == [OSLO, "Eve is new.", OBOE]
    assert [item.content for item in again.best("Who plays the oboe?", 1)] == [OBOE]
    assert again.execute([rewrite("Fay.")])[0].item_id == "s4-0", "the counters go on"


def test_what_was_written_is_taken_back_step_by_step_and_all_of_it(tmp_path: Path) -> None:
    file = opened(tmp_path / "memory.sqlite")
    states = [whole_state(file)]
    for text in (
        f"{ROME} {OBOE}",
        f"{OBOE} {ROME}",
        f"Cy came. {OBOE} Dan knows.",
        "Eve is new.",
        f"{ROME} Eve is new.",
    ):
        assert file.execute([rewrite(text)], why=text)[0].ok
        states.append(whole_state(file))
    assert [change.why for change in file.history("s1-0")][:2] == [f"{ROME} {OBOE}", f"{OBOE} {ROME}"]
    for state in reversed(states[:-1]):
        assert file.undo(by="user") and whole_state(file) == state == whole_state(opened(file.path))
    assert file.undo() == []
    file.execute([rewrite(ROME)])
    assert file.execute([rewrite(ROME)])[0].code is ResultCode.DUPLICATE
    last = file.history()[-1]
    assert last.undoes is None and last.after is not None and last.after.content == ROME


def test_sentences_are_kept_replaced_and_removed_by_the_designs_own_calls(tmp_path: Path) -> None:
    file = opened(tmp_path / "memory.sqlite", budget=20)
    results = file.keep([ROME, OBOE], metadata={"chat": 7}, by="user")
    assert [result.name for result in results] == ["text_rewrite"] * 2 and texts(file) == [ROME, OBOE]
    ann, bob = file.state().items
    assert file.stored(ann.id).metadata == file.stored(bob.id).metadata == {"chat": 7}  # type: ignore[union-attr]
    moved = file.revise(ann.id, OSLO, why="moved")
    assert moved.ok and texts(file) == [OSLO, OBOE]
    assert file.revise(f" {bob.id} ", metadata={"chat": 8}).ok and file.revise(bob.id, OBOE).ok
    assert [item.id for item in file.stored_page(filters={"chat": 8})[0]] == [bob.id]
    assert file.revise("s9-9", "x").code is file.drop(["s9-9"])[0].code is ResultCode.UNKNOWN_ID
    assert file.revise(bob.id, "word " * 30).code is ResultCode.OVER_BUDGET and texts(file) == [OSLO, OBOE]
    assert file.drop([bob.id])[0].ok and texts(file) == [OSLO]
    file.keep(["Always be kind."])
    pinned = file.state().items[-1]
    (refused,) = file.drop([pinned.id])
    assert (refused.code, refused.message) == (
        ResultCode.UNKNOWN_TOOL, f"a memory of the design running-text has no tool that removes {pinned.id}",
    )  # fmt: skip
    with pytest.raises(NotOffered, match=rf"running-text cannot remove {pinned.id}\. Erase the user\."):
        file.erase(pinned.id)
    assert texts(file) == texts(opened(file.path)) == [OSLO, "Always be kind."]
    keyed = [file.keep(["Cy came."], asked=once("k", 1)) for _ in "ab"]
    assert keyed[0] == keyed[1] and texts(file)[-1:] == ["Cy came."]


def test_an_item_that_stands_in_the_place_of_another_bears_what_that_one_bore(tmp_path: Path) -> None:
    file = opened(tmp_path / "memory.sqlite")
    (kept,) = file.keep([ROME], metadata={"chat": 7})
    moved = file.revise(str(kept.item_id), OSLO)
    assert moved.item_id != kept.item_id
    assert file.stored(str(moved.item_id)).metadata == {"chat": 7}  # type: ignore[union-attr]


def test_an_erased_item_is_in_no_byte_and_what_was_before_it_cannot_be_taken_back(tmp_path: Path) -> None:
    file = opened(tmp_path / "memory.sqlite", "ann")
    watching = opened(file.path, "ann")
    file.keep(["SECRET one.", OBOE])
    file.execute([rewrite(f"{OBOE} SECRET two. {ROME}")], why="She said: SECRET two.")
    assert len(watching.items) == 3
    secret = next(item for item in file.items if "SECRET" in item.content)
    assert file.erase("s9-9") == 0
    assert file.erase(secret.id) > 0
    assert texts(file) == texts(watching) == [OBOE, ROME]
    assert found(tmp_path, "SECRET two") == []
    assert file.undo() == [] and file.execute([rewrite(f"{ROME} {OBOE} Cy.")])[0].ok
    assert file.undo() and texts(file) == [OBOE, ROME]
    gone = next(change.item_id for change in file.history() if change.before and "SECRET one" in change.before.content)
    assert file.erase(gone) and found(tmp_path, "SECRET") == []
    assert opened(file.path, "bob").erase_user("ann") and found(tmp_path, "oboe") == found(tmp_path, "ann") == []
    assert whole_state(file) == whole_state(opened(tmp_path / "new.sqlite"))


def test_what_a_design_holds_elsewhere_too_is_not_said_to_be_erased(tmp_path: Path) -> None:
    file = opened(tmp_path / "memory.sqlite")
    file.keep(["Yes.", "The answer was: Yes."])
    first, _ = file.state().items
    assert file.erase(first.id) == 2 and texts(file) == ["The answer was: Yes."], "what other items say stays"
    hoard = MemoryFile(tmp_path / "hoard.sqlite", "ann", design=HOARDER)
    hoard.keep([ROME, OBOE])
    state = whole_state(hoard)
    with pytest.raises(NotOffered, match=r"hoarder holds what s1-0 said elsewhere too\. Erase the user\."):
        hoard.erase("s1-0")
    assert whole_state(hoard) == state == whole_state(MemoryFile(hoard.path, "ann", design=HOARDER))
    assert hoard.undo() and hoard.erase_user("ann") and found(tmp_path, "Rome") == []


def test_what_no_item_shows_is_kept_and_taken_back_with_the_change_before_it(tmp_path: Path) -> None:
    file = MemoryFile(tmp_path / "memory.sqlite", design=HOARDER)
    file.keep([ROME])
    before = whole_state(file)
    file.keep([OBOE])
    memory = file.state()
    assert isinstance(memory, Hoarder)
    memory._attic.append("found in passing")
    assert file.execute([rewrite(f"{ROME} {OBOE}")])[0].code is ResultCode.DUPLICATE
    assert "found in passing" in whole_state(MemoryFile(file.path, design=HOARDER)) and len(file.history()) == 2
    assert file.undo() and whole_state(file) == before


@pytest.mark.parametrize("design", DESIGNS.shipped)
def test_each_shipped_design_has_a_memory_file(tmp_path: Path, design: str) -> None:
    path = tmp_path / "memory.sqlite"
    file = MemoryFile(path, "ann", design=design)
    text, calls = file.state().example
    file.execute(calls, why=text)
    said = [f"{name} lives in {place}." for name, place in zip(NAMES, PLACES, strict=True)]
    assert all(result.ok for result in file.keep(said, time="2024-05-02"))
    states: list[list[str]] = []

    def note() -> None:
        states.append(sorted(item.line() for item in file.items))
        again = MemoryFile(path, "ann", design=design)
        assert sorted(item.line() for item in again.items) == states[-1]
        assert again.retrieve("Where does Bob live?", 200) == file.retrieve("Where does Bob live?", 200)
        again.close()

    note()
    first = next(item for item in file.items if "Ann" in item.content and item.id != "core")
    assert file.revise(first.id, "Ann lives in Lima.").ok
    note()
    assert any("Lima" in item.content for item in file.items)
    last = next(item for item in file.items if "Eve" in item.content and item.id != "core")
    assert file.drop([last.id])[0].ok
    note()
    for state in reversed(states[:-1]):
        assert file.undo() and sorted(item.line() for item in file.items) == state
    second = next(item for item in file.items if "Bob" in item.content and item.id != "core")
    assert file.erase(second.id) and found(tmp_path, "Bob lives") == []
    assert file.keep(["Fay lives in Kyoto."])[-1].ok
    other = file.for_user("bob")
    assert other.items == () and other.keep(["Bob sings."])[-1].ok
    assert file.erase_user("ann") and file.items == () and found(tmp_path, "Kyoto") == []
    assert [item.id for item in other.items]


@pytest.mark.parametrize("design", DESIGNS.shipped)
def test_what_an_erased_item_said_is_in_no_reason_and_no_gone_item_whatever_is_written_to_it(
    tmp_path: Path, design: str
) -> None:
    file = MemoryFile(tmp_path / "memory.sqlite", "ann", design=design)
    with file.reading() as memory:
        first, other = memory.keep("Ann hides gold."), memory.keep("Bob sings.")
    file.execute(first, why="one")
    gone = next(item for item in file.items if "gold" in item.content)
    file.drop([gone.id])  # of `text` it is the last sentence, which stays
    file.execute(other, why="They said: Ann hides gold. Bob sings.")
    with file.reading() as memory:
        again = memory.keep("Ann hides gold.", event=True)
    file.execute(again, why="two")
    last = [item for item in file.items if "gold" in item.content][-1]
    assert file.erase(last.id) and found(tmp_path, "Ann hides gold") == []
    assert not any("gold" in item.content for item in file.items)
    assert [item.content for item in file.items if "Bob" in item.content]


def test_a_note_that_is_linked_or_cut_loose_bears_what_it_bore(tmp_path: Path) -> None:
    file = MemoryFile(tmp_path / "memory.sqlite", design="linked")
    file.keep([ROME], metadata={"chat": 7})
    file.keep([OBOE], metadata={"chat": 8})
    ids = {"memory_id": "note_0001", "other_id": "note_0002"}
    assert file.execute([ToolCall(name="memory_link", arguments=ids)], metadata={"chat": 9})[0].ok
    assert [item.metadata for item in file.stored_page()[0]] == [{"chat": 7}, {"chat": 8}]
    delete = ToolCall(name="memory_delete", arguments={"memory_id": "note_0001"})
    assert file.execute([delete], metadata={"chat": 10})[0].ok
    assert [item.metadata for item in file.stored_page()[0]] == [{"chat": 8}]


@pytest.mark.parametrize("design", DESIGNS.shipped)
def test_an_item_given_the_sentence_that_it_says_is_as_it_was_and_bears_what_is_given(
    tmp_path: Path, design: str
) -> None:
    file = MemoryFile(tmp_path / "memory.sqlite", design=design)
    kept = file.keep([ROME])[-1]
    assert kept.item_id is not None
    before = file.items
    for text in (ROME, next(item.content for item in before if item.id == kept.item_id)):
        assert file.revise(kept.item_id, text, metadata={"about": text}).item_id == kept.item_id
        assert file.items == before
        assert file.stored(kept.item_id).metadata == {"about": text}  # type: ignore[union-attr]


@pytest.mark.parametrize("design", ["stores", "typed", "compact_verbatim"])
def test_the_core_is_made_by_hand_where_the_design_has_one(tmp_path: Path, design: str) -> None:
    file = MemoryFile(tmp_path / "memory.sqlite", design=design)
    assert file.revise("core", ROME).ok and file.items[0].id == "core" and file.items[0].content == ROME
    assert file.undo() and file.items == ()


def test_a_file_of_another_version_of_its_design_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = MemoryFile(tmp_path / "memory.sqlite", design="ledger")
    file.keep([ROME])
    file.close()
    monkeypatch.setattr(DESIGNS.get("ledger"), "version", 2)
    with pytest.raises(DataError, match="of version 1 of the design 'ledger', which is here of version 2"):
        MemoryFile(file.path, design="ledger")
    MemoryFile(tmp_path / "new.sqlite", design="ledger").close()
    monkeypatch.undo()
    with pytest.raises(DataError, match="of version 2 of the design 'ledger', which is here of version 1"):
        MemoryFile(tmp_path / "new.sqlite", design="ledger")
    assert [item.content for item in MemoryFile(file.path, design="ledger").items] == [ROME]


def test_a_file_is_of_one_design_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = opened(tmp_path / "text.sqlite")
    file.keep([ROME])
    with pytest.raises(
        DataError, match=r"holds memories of the design 'running-text', .* keeps one of 'stores'\. Noth"
    ):
        MemoryFile(file.path)
    stores = MemoryFile(tmp_path / "stores.sqlite")
    stores.execute([insert(ROME)])
    with pytest.raises(DataError, match="'stores', and this policy keeps one of 'running-text'"):
        opened(stores.path)
    with pytest.raises(DataError, match="'stores'"):
        opened(stores.path, "another user")
    assert texts(file) == [ROME] and [item.content for item in stores.items] == [ROME]
    with pytest.raises(PluginError, match="did you mean 'stores'"):
        MemoryFile(tmp_path / "none.sqlite", design="store")
    assert not (tmp_path / "none.sqlite").exists()
    file.close()
    assert main(["agent", "vacuum", str(file.path)]) == 0 and texts(opened(file.path)) == [ROME]
    with closing(sqlite3.connect(file.path)) as database:
        database.execute("""UPDATE parts SET value = '2' WHERE name LIKE '["version"%'""")
        database.commit()
    with pytest.raises(DataError, match="version 2; this memory is of 'running-text', version 1"):
        texts(opened(file.path))


def test_a_file_of_the_third_format_is_of_stores_and_is_brought_up_whole(tmp_path: Path) -> None:
    file = MemoryFile(tmp_path / "memory.sqlite")
    file.execute([insert(ROME)], metadata={"chat": 7})
    file.close()
    with closing(sqlite3.connect(file.path)) as database:
        database.executescript("PRAGMA journal_mode = DELETE; PRAGMA user_version = 3")
        database.executescript("DROP TABLE about; DROP TABLE parts; DROP TABLE part_changes")
    with pytest.raises(DataError, match="'stores', and this policy keeps one of 'ledger'"):
        MemoryFile(file.path, design="ledger")
    again = MemoryFile(file.path)
    assert again.stored("sem_0001").metadata == {"chat": 7} and again.undo() and again.items == ()  # type: ignore[union-attr]


def test_history_that_is_forgotten_takes_its_states_along(tmp_path: Path) -> None:
    file = opened(tmp_path / "memory.sqlite", history=History(keep=4))
    for number in range(12):
        file.execute([rewrite(f"State number{number:02d}.")])
    undone = 0
    while file.undo():
        undone += 1
    assert 0 < undone <= 4 and texts(file) == [f"State number{11 - undone:02d}."]
    file.vacuum()
    file.close()
    assert found(tmp_path, "number03") == []


@pytest.mark.long
@pytest.mark.parametrize(("design", "wrappers"), EVERY_MEMORY)
def test_no_user_ever_sees_anothers_memory_whatever_the_design(
    tmp_path: Path, design: str, wrappers: tuple[str, ...]
) -> None:
    given: dict[str, Any] = {"design": design, "wrappers": wrappers, "budget": 60}
    draw = random.Random(0)
    alone: dict[str, MemoryFile] = {}
    shared: dict[str, MemoryFile] = {}
    for number in range(24):
        user = draw.choice(["ann", "bob", "ann'--"])
        if user not in alone:
            alone[user] = MemoryFile(tmp_path / f"{len(alone)}.sqlite", user, **given)
            shared[user] = MemoryFile(tmp_path / "shared.sqlite", user, **given)
        own, ours = alone[user], shared[user]
        if draw.random() < 0.25:
            assert len(ours.undo()) == len(own.undo())
        calls = [*drawn_calls(own.state(), draw), *own.state().keep(f"{user} said {number}.")]
        step = ReadStep(f"{user} said {number}.")
        assert ours.execute(calls, time="2024-05-02", step=step) == own.execute(calls, time="2024-05-02", step=step)
    for user, own in alone.items():
        again = MemoryFile(tmp_path / "shared.sqlite", user, **given)
        assert sorted_state(shared[user]) == sorted_state(own) == sorted_state(again)
        assert own.items and len(shared[user].history()) == len(own.history())
        for question in ("Where does Ada live?", "tea"):
            assert shared[user].retrieve(question, 60) == own.retrieve(question, 60) == again.retrieve(question, 60)


@pytest.mark.slow
@pytest.mark.parametrize(("design", "wrappers"), EVERY_MEMORY)
def test_a_kill_at_any_moment_leaves_what_was_returned_of_any_design(
    tmp_path: Path, design: str, wrappers: tuple[str, ...]
) -> None:
    path = tmp_path / "memory.sqlite"
    draw = random.Random(0)
    told: set[int] = set()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for life in range(6):
        words = [sys.executable, "-c", WRITER, str(path), str(1000 * life), design, *wrappers]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment) as writer:
            assert writer.stdout is not None
            told.add(int(writer.stdout.readline()))
            time.sleep(draw.random() * 0.05)
            writer.send_signal(signal.SIGKILL)
            told |= {int(line) for line in writer.stdout.read().split("\n") if line.strip()}
    file = MemoryFile(path, "ann", design=design, wrappers=wrappers)
    held = said_in(file)
    assert len(told) >= 6
    assert {f"{number} {did}" for number in told for did in ("came", "went")} <= held
    assert all({f"{text.split()[0]} {did}" for did in ("came", "went")} <= held for text in held), "both or none"
    before = len(held)
    assert file.undo()
    assert len(said_in(file)) == before - 2


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text('ab é"\\', max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=3),
    max_leaves=8,
)
ITEMS = st.lists(st.fixed_dictionaries({"id": st.text("xyz", max_size=2), "content": VALUES}), max_size=5)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.text("kl", max_size=2), VALUES | ITEMS, max_size=5))
def test_parts_put_together_are_the_state_that_was_split(state: dict[str, object]) -> None:
    assert json.dumps(whole(split(state))) == json.dumps(state)


@settings(max_examples=200, deadline=None)
@given(st.permutations([str(number) for number in range(9)]), st.lists(st.integers(0, 11), unique=True, max_size=9))
def test_places_grow_along_the_names_and_few_move(names: list[str], before: list[int]) -> None:
    known = {str(number): float(place) for place, number in enumerate(before)}
    places = placed(names, known)
    assert list(places) == names and sorted(places.values()) == list(places.values())
    assert len(set(places.values())) == len(names)
    assert placed(names, places) == places
    one_moved = [*names[1:], names[0]]
    assert len(set(placed(one_moved, places).items()) - set(places.items())) == 1


def test_places_without_room_between_them_are_numbered_anew() -> None:
    names, places = ["first", "last"], {"first": 0.0, "last": 1.0}
    for number in range(1100):
        names.insert(1, str(number))
        places = placed(names, places)
        assert sorted(places.values()) == list(places.values()) and len(set(places.values())) == len(names)


def test_the_second_design_is_one_that_the_registry_takes() -> None:
    assert DESIGNS.get(PATH) is RunningText
    memory = RunningText(100, 10)
    assert memory.execute(ToolCall(name="fly")).code is ResultCode.UNKNOWN_TOOL
