"""Items of a memory file with their metadata, and requests that are carried out once."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from memrl.agent import once as module
from memrl.agent.history import History
from memrl.agent.memory_file import MemoryFile
from memrl.agent.once import once
from memrl.agent.said import said
from memrl.agent.stored import LONGEST_METADATA, matches
from memrl.envs.tools import ResultCode
from memrl.errors import DataError, Erased, KeyReused, TooLong
from tests.calls import delete, insert, update
from tests.disks import found
from tests.support import ROOT

WRITER = """
import sys
from memrl.agent.memory_file import History, MemoryFile
from memrl.agent.once import once
from tests.calls import insert
file = MemoryFile(sys.argv[1], "ann", history=History(keep=None))
for number in range(int(sys.argv[2]), int(sys.argv[2]) + 200):
    file.execute([insert(f"fact {number}")], metadata={"number": number}, asked=once(f"key {number}", number))
    print(number, flush=True)
"""
SECOND = """
CREATE TABLE users (
    user TEXT PRIMARY KEY, life INTEGER, version INTEGER, writes INTEGER, counters TEXT) WITHOUT ROWID;
CREATE TABLE texts (number INTEGER PRIMARY KEY, user TEXT, digest BLOB, text TEXT, UNIQUE (user, digest));
CREATE TABLE items (
    user TEXT, id TEXT, store TEXT, text INTEGER, time TEXT, place INTEGER, PRIMARY KEY (user, id)) WITHOUT ROWID;
CREATE TABLE versions (
    user TEXT, version INTEGER, at REAL, by TEXT, why INTEGER, undoes INTEGER, PRIMARY KEY (user, version))
    WITHOUT ROWID;
CREATE TABLE changes (
    number INTEGER PRIMARY KEY, user TEXT, version INTEGER, item TEXT, store TEXT,
    before INTEGER, before_time TEXT, before_place INTEGER, after INTEGER, after_time TEXT, after_place INTEGER);
CREATE TABLE marks (name TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE INDEX changes_of_version ON changes (user, version);
CREATE INDEX changes_of_item ON changes (user, item);
PRAGMA application_id = 1836215373;
PRAGMA user_version = 2;
INSERT INTO users VALUES ('default', 7, 2, 2, '{"semantic": 1, "episodic": 0}');
INSERT INTO texts VALUES (1, 'default', x'01', 'Ann lives in Rome.');
INSERT INTO texts VALUES (2, 'default', x'02', 'Ann lives in Oslo.');
INSERT INTO items VALUES ('default', 'sem_0001', 'semantic', 2, NULL, 2);
INSERT INTO versions VALUES ('default', 1, 10.5, 'agent', NULL, NULL);
INSERT INTO versions VALUES ('default', 2, 11.5, 'user', NULL, NULL);
INSERT INTO changes VALUES (1, 'default', 1, 'sem_0001', 'semantic', NULL, NULL, NULL, 1, NULL, 1);
INSERT INTO changes VALUES (2, 'default', 2, 'sem_0001', 'semantic', 1, NULL, 1, 2, NULL, 2);
"""


def test_metadata_come_with_items_and_are_kept_changed_and_taken_back(tmp_path: Path) -> None:
    file = MemoryFile(tmp_path / "memory.sqlite")
    before = time.time()
    file.execute([insert("Ann lives in Oslo."), insert("Bob plays.")], metadata={"source": "chat", "day": 2})
    file.execute([update("sem_0001", "Ann lives in Rome.")], metadata={"day": 3, "sure": True})
    file.execute([update("sem_0002", "Bob plays the oboe.")])
    ann, bob = file.stored("sem_0001"), file.stored(" sem_0002 ")
    assert ann is not None and ann.metadata == {"source": "chat", "day": 3, "sure": True}
    assert bob is not None and bob.metadata == {"source": "chat", "day": 2}
    assert before <= ann.added <= ann.changed <= bob.changed <= time.time()  # type: ignore[operator]
    assert file.revise("sem_0001", metadata={"day": 4}).ok
    assert file.stored("sem_0001").metadata == {"day": 4} and file.stored("sem_0001").added == ann.added
    assert (
        file.revise("sem_0001", "Ann lives in Bern.", metadata={}, by="me", why="moved").content == "Ann lives in Bern."
    )
    last = file.history("sem_0001")[-1]
    assert (last.before_metadata, last.after_metadata, last.by, last.why) == ({"day": 4}, None, "me", "moved")
    for metadata in ({"day": 4}, {"source": "chat", "day": 3, "sure": True}):
        file.undo()
        assert file.stored("sem_0001").metadata == metadata
    file.execute([delete("sem_0001")])
    assert file.stored("sem_0001") is None and file.undo()
    again = MemoryFile(tmp_path / "memory.sqlite").stored("sem_0001")
    assert again.metadata == {"source": "chat", "day": 3, "sure": True} and again.added == ann.added


def test_a_revision_that_cannot_be_is_a_result_and_changes_nothing(tmp_path: Path) -> None:
    file = MemoryFile(tmp_path / "memory.sqlite", budget=30)
    file.execute([insert("Ann lives in Oslo."), insert("Bob plays.")])
    history = file.history()
    codes = [
        file.revise("sem_0009", "x").code, file.revise("sem_0009", metadata={"a": 1}).code,
        file.revise("sem_0001", "bob PLAYS.").code, file.revise("sem_0001", "x " * 100, metadata={"a": 1}).code,
        file.revise("sem_0001", " ").code,
    ]  # fmt: skip
    assert codes == [
        ResultCode.UNKNOWN_ID, ResultCode.UNKNOWN_ID, ResultCode.DUPLICATE, ResultCode.OVER_BUDGET, ResultCode.EMPTY,
    ]  # fmt: skip
    assert file.revise("sem_0001").ok and file.revise("sem_0001", " Ann lives  in Oslo. ").ok
    assert file.revise("sem_0001", metadata={}).ok
    assert file.history() == history and file.stored("sem_0001").metadata == {}
    assert file.revise("core", "The user is Ann.", metadata={"a": 1}).ok and file.stored("core").metadata == {"a": 1}


def test_items_are_found_by_words_and_by_metadata_in_pages(tmp_path: Path) -> None:
    file = MemoryFile(tmp_path / "memory.sqlite")
    for number in range(30):
        file.execute([insert(f"fact {number} of Ann")], metadata={"odd": number % 2 == 1, "tens": number // 10})
    file.execute([insert("nobody's fact")])
    seen: list[str] = []
    after: str | None = None
    while True:
        items, after = file.stored_page(after, 4, {"odd": True, "tens": [1, 2]})
        seen += [item.id for item in items]
        if after is None:
            break
    assert seen == [f"sem_{number + 1:04d}" for number in range(10, 30) if number % 2]
    best = file.best("fact 17", 3, {"tens": 1})
    assert best[0].content == "fact 17 of Ann" and {item.metadata["tens"] for item in best} == {1} and len(best) == 3
    assert file.best("oboe") == [] and file.best("fact", 5, {"no": 1}) == []
    assert matches({"a": 1}, {"a": 1.0}) and not matches({"a": 1}, {"a": True}) and not matches({}, {"a": None})
    assert matches({"a": ["x"]}, {"a": ["x"]}) and matches({"a": "x"}, {"a": ["y", "x"]})


def test_metadata_that_no_file_can_hold_are_refused(tmp_path: Path) -> None:
    file = MemoryFile(tmp_path / "memory.sqlite")
    deep: dict[str, object] = {}
    for _ in range(50):
        deep = {"a": deep}
    for metadata in ({"a": float("nan")}, {"a": object()}, {1: "a"}, {"a": {1: 2}}, ["a"]):
        with pytest.raises(DataError, match="metadata must be"):
            file.execute([insert("x")], metadata=metadata)  # type: ignore[arg-type]
    for metadata in ({"a": "x" * LONGEST_METADATA}, deep):
        with pytest.raises(TooLong, match="metadata"):
            file.revise("sem_0001", metadata=metadata)
    assert file.items == () and file.execute([insert("x")], metadata={"\ud800": "\ud800"})[0].ok
    assert file.stored("sem_0001").metadata == {"?": "?"}


def test_a_request_with_a_key_is_carried_out_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = MemoryFile(tmp_path / "memory.sqlite", "ann")
    asked = once("k1", "insert", "Ann has a dog.")
    first = file.execute([insert("Ann has a dog.")], asked=asked)
    other = MemoryFile(tmp_path / "memory.sqlite", "ann")
    assert other.execute([insert("Ann has a dog.")], asked=asked) == first and first[0].ok
    with pytest.raises(KeyReused):
        file.execute([insert("Ann has a cat.")], asked=once("k1", "insert", "Ann has a cat."))
    assert file.for_user("bob").execute([insert("Bob sings.")], asked=once("k1", "else"))[0].ok, (
        "keys are each user's own"
    )
    failed = file.execute([delete("sem_0009")], asked=once("k2", "delete"))
    assert file.execute([delete("sem_0009")], asked=once("k2", "delete")) == failed and not failed[0].ok
    assert [file.revise("sem_0001", "Ann has a cat.", asked=once("k3", "a")) for _ in "ab"][1].ok
    assert len(file.history()) == 2
    assert file.undo(asked=once("k4")) == file.undo(asked=once("k4")) != []
    assert file.stored("sem_0001").content == "Ann has a dog."
    assert file.undo(asked=once("k5")) and file.undo(asked=once("k6")) == file.undo(asked=once("k6")) == []
    monkeypatch.setattr(module, "KEPT_SECONDS", 0.0)
    assert file.execute([insert("Ann has a dog.")], asked=asked)[0].item_id == "sem_0002", "after a day it is another"
    monkeypatch.setattr(module, "MOST_KEPT", 3)
    monkeypatch.setattr(module, "KEPT_SECONDS", 1000.0)
    for number in range(10):
        file.execute([], asked=once(f"many {number}", number))
    with closing(sqlite3.connect(file.path)) as database:
        assert database.execute("SELECT count(*) FROM replies WHERE user = 'ann'").fetchone() == (3,)
    for key, error in (("", DataError), (" ", DataError), ("k" * 257, TooLong)):
        with pytest.raises(error, match="key"):
            once(key, 1)
    assert once(None, 1) is None


def test_metadata_keys_and_replies_are_erased_to_the_last_byte(tmp_path: Path) -> None:
    file = MemoryFile(tmp_path / "memory.sqlite", "ann")
    bob = file.for_user("bob")
    file.execute([insert("ANNFACT one")], metadata={"place": "ANNMETA"}, asked=once("ANNKEY", "x"))
    file.execute([insert("ANNOTHER two")], metadata={"place": "ANNKEPT"})
    file.revise("sem_0001", "ANNFACT new", metadata={"place": "ANNLATER"}, asked=once("ANNKEY2", "y"))
    bob.execute([insert("BOBFACT")], metadata={"place": "BOBMETA"}, asked=once("BOBKEY", "z"))
    assert found(tmp_path, "ANNKEY") == [], "keys stand there as digests"
    assert file.erase("sem_0001")
    for word in ("ANNFACT", "ANNMETA", "ANNLATER"):
        assert found(tmp_path, word) == []
    assert file.stored("sem_0002").metadata == {"place": "ANNKEPT"}
    with pytest.raises(Erased, match="since"):
        file.execute([insert("ANNFACT one")], asked=once("ANNKEY", "x"))
    assert bob.execute([insert("BOBFACT")], asked=once("BOBKEY", "z"))[0].item_id == "sem_0001"
    assert bob.erase_user("ann")
    assert found(tmp_path, "ANN") == found(tmp_path, "ann") == [] and found(tmp_path, "BOBMETA")
    only_asked = MemoryFile(tmp_path / "memory.sqlite", "carl")
    only_asked.execute([], asked=once("k", 1))
    assert only_asked.erase_user("carl") == 0 and found(tmp_path, "carl") == []


def test_history_that_is_forgotten_takes_its_metadata_along(tmp_path: Path) -> None:
    file = MemoryFile(tmp_path / "memory.sqlite", history=History(keep=4))
    file.execute([insert("fact")], metadata={"word": "FORGOTTEN"})
    for number in range(10):
        file.revise("sem_0001", metadata={"word": number})
    file.vacuum()
    assert found(tmp_path, "FORGOTTEN") == [] and file.stored("sem_0001").metadata == {"word": 9}


@pytest.mark.long
def test_whatever_was_done_erased_metadata_are_gone_and_others_stay(tmp_path: Path) -> None:
    draw = random.Random(0)
    file = MemoryFile(tmp_path / "memory.sqlite", "ann")
    for word in range(120):
        ids = [item.id for item in file.items]
        act = draw.choice(["insert", "revise", "describe", "delete", "undo"]) if ids else "insert"
        metadata, asked = {"word": f"META{word:04d}", "of": draw.randint(0, 2)}, once(f"k{word}", word)
        if act == "insert":
            file.execute([insert(f"TEXT{word:04d}")], metadata=metadata, asked=asked)
        elif act == "revise":
            file.revise(draw.choice(ids), f"TEXT{word:04d}", metadata=metadata, asked=asked)
        elif act == "describe":
            file.revise(draw.choice(ids), metadata=metadata)
        elif act == "delete":
            file.execute([delete(draw.choice(ids))], asked=asked)
        else:
            file.undo(asked=asked)
        if word % 20 == 19 and (ids := [item.id for item in file.items]):
            item = draw.choice(ids)
            mine = file.history(item)
            gone = {told["word"] for each in mine for told in (each.before_metadata, each.after_metadata) if told}
            kept = {other.id: other.metadata for other in file.stored_page()[0] if other.id != item}
            assert file.erase(item)
            for each in gone:
                assert found(tmp_path, each) == []
            assert {other.id: other.metadata for other in file.stored_page()[0]} == kept
            assert MemoryFile(file.path, "ann").stored_page() == file.stored_page()


@pytest.mark.slow
def test_a_kill_at_any_moment_leaves_both_the_work_and_its_reply_or_neither(tmp_path: Path) -> None:
    path = tmp_path / "memory.sqlite"
    draw = random.Random(0)
    told: set[int] = set()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for life in range(15):
        words = [sys.executable, "-c", WRITER, str(path), str(1000 * life)]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment) as writer:
            assert writer.stdout is not None
            told.add(int(writer.stdout.readline()))
            time.sleep(draw.random() * 0.05)
            writer.send_signal(signal.SIGKILL)
            told |= {int(line) for line in writer.stdout.read().split("\n") if line.strip()}
    file = MemoryFile(path, "ann")
    held = {item.metadata["number"]: item.id for item in file.stored_page()[0]}
    assert told <= held.keys() and len(told) > 15
    for number, item in list(held.items())[:300]:
        (again,) = file.execute([insert(f"fact {number}")], asked=once(f"key {number}", number))
        assert again.ok and again.item_id == item, "a retry is answered as the first time"
    assert len(file.items) == len(held)


def test_a_file_of_the_second_format_is_brought_up_whole(tmp_path: Path) -> None:
    path = tmp_path / "memory.sqlite"
    with closing(sqlite3.connect(path)) as database:
        database.executescript(SECOND)
    path.chmod(0o640)
    file = MemoryFile(path)
    item = file.stored("sem_0001")
    assert (item.content, item.metadata, item.added, item.changed) == ("Ann lives in Oslo.", {}, 10.5, 11.5)
    assert path.stat().st_mode & 0o777 == 0o640, "whoever opened it to others has meant it"
    assert len(file.history()) == 2 and file.undo()[0].version == 2
    assert file.stored("sem_0001").content == "Ann lives in Rome." and file.stored("sem_0001").added == 10.5
    assert file.execute([insert("Bob plays.")], metadata={"a": 1}, asked=once("k", 1))[0].ok


def test_messages_are_lines_with_who_says_them() -> None:
    assert said(
        [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": [{"type": "text", "text": "I live in Bern. "}, {"type": "image_url"}]},
            {"role": "assistant", "content": None, "tool_calls": [{}]},
            {"role": "tool", "content": "17"},
            {"role": "assistant", "content": "Nice \ud83d"},
            {"role": "user", "name": "Ann", "content": "It is."},
        ]
    ) == ["user: I live in Bern.", "assistant: Nice ?", "Ann: It is."]
    assert said("as it is") == ["as it is"] and said({"role": "user", "content": "x"}) == ["user: x"] and said([]) == []
    for wrong in ([{"content": "x"}], ["x"], [{"role": "user", "content": 5}]):
        with pytest.raises(DataError, match="message 1"):
            said(wrong)  # type: ignore[arg-type]
