"""What was done to the memory file on purpose: full disks, locks, foreign files, kills, and words that must be gone."""

from __future__ import annotations

import errno
import os
import random
import re
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from memrl.agent import turns
from memrl.agent.database import Database
from memrl.agent.history import PAGE_CHARACTERS, History
from memrl.agent.memory_file import LONGEST_WHY, MemoryFile
from memrl.cli.main import main
from memrl.envs.tools import ToolCall
from memrl.errors import Closed, DataError, Erased, StoreBusy, StoreFailed, TooLong
from tests.calls import delete, insert, update
from tests.disks import fill, found, held_by_another, make_read_only, small_disk
from tests.support import ROOT

OTHER = """
import sys
from memrl.agent.memory_file import MemoryFile
from tests.calls import insert, update
file = MemoryFile(sys.argv[1])
for word in sys.argv[2:]:
    print(file.execute([insert(word)])[0].item_id)
"""
OLD_TABLES = """
CREATE TABLE users (user TEXT PRIMARY KEY, version INTEGER, writes INTEGER, counters TEXT) WITHOUT ROWID;
CREATE TABLE items (
    user TEXT, id TEXT, store TEXT, content TEXT, time TEXT, place INTEGER, PRIMARY KEY (user, id)) WITHOUT ROWID;
CREATE TABLE history (
    number INTEGER PRIMARY KEY, user TEXT, version INTEGER, at REAL, by TEXT, why TEXT, item TEXT,
    before TEXT, after TEXT, undoes INTEGER);
CREATE INDEX history_of ON history (user, version);
PRAGMA user_version = 1;
INSERT INTO users VALUES ('default', 2, 3, '{"semantic": 2, "episodic": 0}');
INSERT INTO items VALUES ('default', 'sem_0001', 'semantic', 'Ann lives in Oslo.', NULL, 3);
INSERT INTO items VALUES ('default', 'sem_0002', 'semantic', 'Bob plays the oboe.', NULL, 2);
"""
REASON = "Ann lives in Rome, and Bob plays the oboe, she said."


def other(path: Path, *words: str) -> list[str]:
    """What another process writes, and the ids that it got."""
    done = subprocess.run(
        [sys.executable, "-c", OTHER, str(path), *words],
        capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    return done.stdout.split()


def texts(file: MemoryFile) -> list[str]:
    return [item.content for item in file.items]


# Full disks ------------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_a_commit_that_fails_changes_nothing_in_memory_and_another_process_is_still_read(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 1000) as disk:
        path = disk / "memory.sqlite"
        file = MemoryFile(path)
        file.execute([insert("Ann lives in Rome.")])
        filler = fill(disk)
        with pytest.raises(StoreFailed, match=r"the disk of .*memory\.sqlite is full; nothing was changed"):
            file.execute([insert("Refused.")])
        filler.unlink()
        assert other(path, "Bob plays the oboe.") == ["sem_0002"]
        # The other's version has the number that the refused one would have had.
        assert texts(file) == ["Ann lives in Rome.", "Bob plays the oboe."]
        (result,) = file.execute([update("sem_0002", "Bob plays the flute.")])
        assert result.ok
        assert file.execute([insert("Cy came.")])[0].item_id == "sem_0003"
        assert file.items == MemoryFile(path).items and len(file.history()) == 4
        file.close()


@pytest.mark.long
def test_on_a_full_disk_the_memory_is_what_the_disk_has(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 400) as disk:
        path = disk / "memory.sqlite"
        file = MemoryFile(path)
        kept = 0
        with pytest.raises(StoreFailed, match="is full"):
            while True:
                file.execute([insert(f"{kept} " + "word " * 400)])
                kept += 1
        assert kept and len(file.items) == kept
        with suppress(StoreFailed):  # where undoing needs more room than is left
            assert file.undo()
            kept -= 1
        assert len(file.items) == kept
        copy = tmp_path / "copy"
        copy.mkdir()
        for each in disk.glob("memory.sqlite*"):
            (copy / each.name).write_bytes(each.read_bytes())
        assert MemoryFile(copy / "memory.sqlite").items == file.items
        file.close()


@pytest.mark.long
def test_undo_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 1000) as disk:
        file = MemoryFile(disk / "memory.sqlite")
        file.execute([insert("Ann lives in Rome.")])
        file.execute([insert(f"{number} " + "word " * 300) for number in range(60)])
        held_items = file.items
        fill(disk)
        with pytest.raises(StoreFailed):
            file.undo()
        assert file.items == held_items
        file.close()


# Locks -----------------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_a_lock_of_another_process_keeps_nobody_from_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "BUSY_SECONDS", 1.0)
    path = tmp_path / "memory.sqlite"
    ann = MemoryFile(path, "ann")
    ann.execute([insert("Ann lives in Rome.")])
    bob = ann.for_user("bob")
    refused: list[BaseException] = []

    def write(user: str) -> None:
        with closing(ann.for_user(user)) as file:
            try:
                file.execute([insert("x")])
            except StoreBusy as error:
                refused.append(error)

    with held_by_another(path):
        writers = [threading.Thread(target=write, args=(f"user {number}",)) for number in range(40)]
        for writer in writers:
            writer.start()
        # All of this ends while the file is held, and while writers wait for it.
        assert texts(ann) == ["Ann lives in Rome."] and bob.items == ()
        assert ann.retrieve("Where does Ann live?", 100).items and len(ann.history()) == 1
        assert texts(MemoryFile(path, "ann")) == ["Ann lives in Rome."], "opening waits for nobody"
        with pytest.raises(StoreBusy, match="Try again"):
            ann.execute([insert("y")])
        for writer in writers:
            writer.join()
        assert len(refused) == 40
        assert any("16 wait for it already" in str(error) for error in refused)
    assert ann.execute([insert("y")])[0].ok
    assert bob.execute([insert("z")])[0].ok


def test_a_new_file_that_another_process_holds_is_busy_and_not_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "BUSY_SECONDS", 0.2)
    path = tmp_path / "memory.sqlite"
    sqlite3.connect(path).close()
    with held_by_another(path, "BEGIN EXCLUSIVE"), pytest.raises(StoreBusy, match=r"memory\.sqlite"):
        MemoryFile(path)
    assert MemoryFile(path).items == ()


@pytest.mark.long
def test_threads_of_one_process_write_and_read_at_once_and_lose_nothing(tmp_path: Path) -> None:
    file = MemoryFile(tmp_path / "memory.sqlite", "ann", history=History(keep=None))
    seen: list[int] = []

    def write(number: int) -> None:
        for count in range(15):
            assert all(result.ok for result in file.execute([insert(f"{number} {count} {part}") for part in "ab"]))

    def read() -> None:
        for _ in range(60):
            contents = texts(file)
            seen.append(len(contents))
            assert len(contents) % 2 == 0, "both of a transaction or none"
            file.retrieve("1 2 a", 100)

    workers = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    workers += [threading.Thread(target=read) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(file.items) == 120 and len(seen) == 120
    assert file.items == MemoryFile(file.path, "ann").items


# How much is written, and told ------------------------------------------------------------------------------------


def test_a_reason_is_stored_once_and_has_a_limit(tmp_path: Path) -> None:
    path = tmp_path / "memory.sqlite"
    file = MemoryFile(path)
    why = "because " * (LONGEST_WHY // 8)
    for number in range(2):
        file.execute([insert(f"fact {number} {part}") for part in range(40)], why=why)
    with pytest.raises(TooLong, match=r"the reason \(why\) has 65537 characters; 65536 are allowed"):
        file.execute([insert("x")], why="x" * (LONGEST_WHY + 1))
    with pytest.raises(TooLong, match="the time has 900000 characters"):
        file.execute([insert("x")], time="x" * 900_000)
    assert {change.why for change in file.history()} == {why}
    file.close()
    assert path.stat().st_size < 3 * LONGEST_WHY


def test_a_text_stands_in_the_file_once(tmp_path: Path) -> None:
    path = tmp_path / "memory.sqlite"
    file = MemoryFile(path)
    marks = [f"mark{number:04d}" for number in range(3)]
    for mark in marks:
        file.execute([update("core", f"{mark} {'word ' * 100}")], why=f"{mark}-why")
    file.execute([update("core", "short")])
    file.vacuum()
    file.close()
    data = path.read_bytes()
    assert [len(re.findall(mark.encode() + b"[^-]", data)) for mark in marks] == [1, 1, 1]


@pytest.mark.long
def test_pages_are_bounded_and_hold_together(tmp_path: Path) -> None:
    file = MemoryFile(tmp_path / "memory.sqlite")
    for number in range(12):
        file.execute(
            [insert(f"fact {number} {part}", ["semantic", "episodic"][part % 2]) for part in range(8)],
            why="why " * (LONGEST_WHY // 4),
        )
    file.execute([update("core", "The core.")])
    everything = file.history()
    pages = []
    after: int | None = 0
    while after is not None:
        page, after = file.history_page(None, after, 50)
        assert len(page) <= 50 and sum(change.characters() for change in page) <= PAGE_CHARACTERS
        pages += page
    assert pages == everything and len(pages) == 97
    assert file.history(limit=3) == everything[:3] and file.history(after=everything[2].number) == everything[3:]
    assert file.history_page("epi_0001", 0, 1) == (file.history("epi_0001"), None)
    held_items = []
    name: str | None = None
    while True:
        items, name = file.page(name, 10)
        held_items += items
        if name is None:
            break
        file.execute([delete(name)])  # a page's last item may be gone when the next is asked for
    assert len(held_items) == 97 and held_items[0].id == "core"
    assert [item.id for item in held_items[1:]] == sorted(item.id for item in held_items[1:])


@pytest.mark.long
def test_as_much_history_is_kept_as_was_asked_for(tmp_path: Path) -> None:
    for keep, least in ((0, 0), (1, 1), (20, 17)):
        file = MemoryFile(tmp_path / f"{keep}.sqlite", history=History(keep=keep))
        for number in range(60):
            file.execute([update("core", f"state{number:02d}")], why=f"reason{number:02d}")
            versions = {change.version for change in file.history()}
            assert min(least, number + 1) <= len(versions) <= keep
            assert not versions or max(versions) == number + 1
        assert texts(file) == ["state59"]
        undone = 0
        while file.undo():
            undone += 1
        assert undone <= keep
        file.vacuum()
        file.close()
        data = (tmp_path / f"{keep}.sqlite").read_bytes()
        assert b"reason30" not in data and b"state30" not in data


# Erasing ----------------------------------------------------------------------------------------------------------


def test_an_erased_item_is_in_no_byte_of_the_files(tmp_path: Path) -> None:
    file = MemoryFile(tmp_path / "memory.sqlite", "ann")
    watching = MemoryFile(file.path, "ann")  # as another process would
    file.execute([insert("SECRETONE lives in Rome."), insert("Bob is here.")], why="SECRETONE lives in Rome. WHYONE")
    file.execute([update("sem_0001", "SECRETTWO lives in Oslo.")], why="WHYTWO")
    file.execute([insert("Zed came.")], why="I said: SECRETONE lives in Rome. And Zed came.")
    file.execute([insert("SECRETTWO lives in Oslo.", "episodic"), delete("epi_0001")], why="WHYTHREE")
    assert len(watching.items) == 3
    assert file.erase("sem_0001") == 3
    for word in ("SECRET", "WHY", "I said"):
        assert found(tmp_path, word) == []
    assert texts(file) == texts(watching) == ["Bob is here.", "Zed came."]
    assert [(change.item_id, change.why) for change in file.history()] == [("sem_0002", ""), ("sem_0003", "")]
    assert file.erase("sem_0001") == file.erase("sem_0009") == 0
    assert [change.item_id for change in file.undo()] == ["sem_0003"]
    assert file.execute([insert("Cy came.")])[0].item_id == "sem_0004", "ids are not used again"


@pytest.mark.long
def test_erased_words_are_gone_whatever_was_done_before(tmp_path: Path) -> None:
    draw = random.Random(0)
    file = MemoryFile(tmp_path / "memory.sqlite", "ann")
    bob = file.for_user("bob")
    words = 0
    for _ in range(6):
        for _ in range(draw.randint(5, 40)):
            user = draw.choice([file, bob])
            calls = []
            for _ in range(draw.randint(1, 6)):
                words += 1
                # of all lengths, so that some are moved from page to page, and some have pages of their own
                text = f"{user.user}word{words:05d} " + "x" * draw.choice([0, 10, 300, 2000, 9000])
                ids = [item.id for item in user.items]
                act = draw.choice(["insert", "insert", "update", "delete"]) if ids else "insert"
                item = draw.choice(ids) if ids else ""
                calls.append(
                    insert(text) if act == "insert" else update(item, text) if act == "update" else delete(item)
                )
            user.execute(calls, why=f"{user.user}why{words:05d}")
            if draw.random() < 0.1:
                user.undo()
        items = {change.item_id for change in file.history()}
        item = draw.choice(sorted(items))
        mine = [change for change in file.history() if change.item_id == item]
        gone = {state.content.split()[0] for change in mine for state in (change.before, change.after) if state}
        gone |= {change.why for change in mine if change.why}
        kept = {each.content.split()[0] for each in file.items if each.id != item}
        assert file.erase(item)
        for word in gone:
            assert found(tmp_path, word) == []
        assert {each.content.split()[0] for each in file.items} == kept
        assert file.items == MemoryFile(file.path, "ann").items
    assert bob.erase_user("ann") and file.items == () and file.history() == []
    assert found(tmp_path, "annword") == found(tmp_path, "annwhy") == found(tmp_path, "ann") == []
    assert bob.items and bob.erase_user("ann") == 0


def test_a_user_begins_anew_after_the_erasing_for_other_processes_too(tmp_path: Path) -> None:
    ann = MemoryFile(tmp_path / "memory.sqlite", "ann")
    watching = MemoryFile(tmp_path / "memory.sqlite", "ann")
    ann.execute([insert("Ann lives in Rome.")])
    assert texts(watching) == ["Ann lives in Rome."]
    life = ann.begin()
    assert ann.erase_user("ann") == 2
    with pytest.raises(Erased):  # a text that was being read
        watching.execute([insert("Ann lives in Rome.")], life=life)
    ann.execute([insert("Ann lives in Oslo.")])  # of the same version as the fact before
    assert texts(watching) == ["Ann lives in Oslo."]
    assert len(ann.history()) == 1


KILLED = """
import os, signal, sys
from memrl.agent.database import Database
from memrl.agent.memory_file import MemoryFile
Database.clean = lambda self: os.kill(os.getpid(), signal.SIGKILL)
MemoryFile(sys.argv[1]).erase("sem_0001")
"""


@pytest.mark.long
def test_an_erasing_that_was_killed_is_finished_when_the_file_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "memory.sqlite"
    file = MemoryFile(path)
    file.execute([insert("SECRET " * 1000), insert("Bob is here.")], why="SECRET")
    file.close()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    killed = subprocess.run([sys.executable, "-c", KILLED, str(path)], env=environment, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert texts(MemoryFile(path)) == ["Bob is here."]
    assert found(tmp_path, "SECRET") == []


@pytest.mark.long
def test_bytes_that_others_keep_from_being_cleared_are_told_of_and_vacuum_clears_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(turns, "BUSY_SECONDS", 0.3)
    path = tmp_path / "memory.sqlite"
    file = MemoryFile(path)
    file.execute([insert("SECRET " * 1000), insert("Bob is here.")])
    with held_by_another(path, "BEGIN"):  # a reader, who sees the file as it was
        with pytest.raises(StoreBusy, match=rf"(?s)sem_0001 is erased.*bytes of it may be left.*vacuum {path}"):
            file.erase("sem_0001")
        assert texts(file) == ["Bob is here."]
    assert found(tmp_path, "SECRET")
    assert main(["agent", "vacuum", str(path)]) == 0
    assert found(tmp_path, "SECRET") == []
    assert re.search(r"memory\.sqlite: [\d,]+ bytes, before [\d,]+", capsys.readouterr().out)
    assert main(["agent", "vacuum", str(tmp_path / "none.sqlite")]) == 2
    assert "does not exist" in capsys.readouterr().err and not (tmp_path / "none.sqlite").exists()


@pytest.mark.long
@pytest.mark.parametrize("what", ["item", "user"])
def test_an_erasing_that_was_refused_is_finished_by_asking_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setattr(turns, "BUSY_SECONDS", 0.3)
    path = tmp_path / "memory.sqlite"
    file = MemoryFile(path, "ann")
    bob = file.for_user("bob")
    file.execute([insert("SECRET " * 1000)], why="SECRET")
    bob.execute([insert("Bob is here.")])

    def erase() -> int:
        return file.erase("sem_0001") if what == "item" else bob.erase_user("ann")

    with held_by_another(path, "BEGIN"):  # a reader, who sees the file as it was
        for _ in range(2):  # nothing is left to erase the second time, and yet it is not done
            with pytest.raises(StoreBusy) as told:
                erase()
            assert told.value.erased
    assert found(tmp_path, "SECRET")
    assert erase() == 0
    assert found(tmp_path, "SECRET") == []
    assert not bob._database.unfinished() and texts(bob) == ["Bob is here."]


def test_what_a_live_item_once_said_is_erased_with_the_item_that_says_it_now(tmp_path: Path) -> None:
    file = MemoryFile(tmp_path / "memory.sqlite")
    file.execute([insert("My code is SECRET.")], why="a reason that says nothing of it")
    file.execute([update("sem_0001", "My cat is Tom.")])
    file.execute([insert("My code is SECRET."), insert("Bob is here.")])
    file.execute([update("sem_0001", "My cat is Tim.")])
    assert file.erase("sem_0002") == 4
    assert found(tmp_path, "SECRET") == []
    assert texts(file) == ["My cat is Tim.", "Bob is here."]
    assert [(change.item_id, change.version) for change in file.history()] == [("sem_0003", 3), ("sem_0001", 4)]
    assert [change.item_id for change in file.undo()] == ["sem_0001"]
    assert texts(file) == ["My cat is Tom.", "Bob is here."]


ERASES = """
import os, signal, sys
from memrl.agent.database import Database
from memrl.agent.memory_file import MemoryFile
file = MemoryFile(sys.argv[1])
Database.clean = lambda self: os.kill(os.getpid(), signal.SIGKILL)
file.erase_user("bob")
"""


@pytest.mark.long
def test_an_erasing_of_another_process_during_ours_keeps_its_mark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "memory.sqlite"
    file = MemoryFile(path, "ann")
    file.execute([insert("ann's SECRET")])
    file.for_user("bob").execute([insert("bob's SECRET")])
    emptied = Database._empty_log

    def and_another_erases(self: Database, turn: turns.WriteTurn) -> None:
        emptied(self, turn)
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        killed = subprocess.run([sys.executable, "-c", ERASES, str(path)], env=environment, check=False)
        assert killed.returncode == -signal.SIGKILL

    monkeypatch.setattr(Database, "_empty_log", and_another_erases)
    assert file.erase_user("ann")
    monkeypatch.undo()
    assert file._database.unfinished() and found(tmp_path, "bob's SECRET")
    MemoryFile(path).close()
    assert found(tmp_path, "SECRET") == []


@pytest.mark.long
def test_writers_do_not_crowd_while_the_file_is_written_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "BUSY_SECONDS", 4.0)
    path = tmp_path / "memory.sqlite"
    file = MemoryFile(path)
    file.execute([insert("Ann lives in Rome.")])
    ended: list[BaseException] = []

    def write(user: MemoryFile) -> None:
        try:
            user.execute([insert("x")])
        except StoreBusy as error:
            ended.append(error)

    def vacuum() -> None:
        with pytest.raises(StoreBusy):
            file.vacuum()

    writers = [threading.Thread(target=write, args=(file.for_user(f"user{number}"),)) for number in range(40)]
    with held_by_another(path, "BEGIN"):  # a reader, for whom the log must stay
        clearing = threading.Thread(target=vacuum)
        clearing.start()
        deadline = time.monotonic() + 60
        while file._database._turns._asking_since is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        for writer in writers:
            writer.start()
        while len(ended) < len(writers) - turns.MOST_WAITING - 1:
            assert clearing.is_alive(), "those who are too many are told before it ends"
            time.sleep(0.01)
        clearing.join()
    for writer in writers:
        writer.join()


@pytest.mark.long
def test_whoever_waits_to_write_keeps_nobody_from_closing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "BUSY_SECONDS", 60.0)
    monkeypatch.setattr(turns, "CLOSING_SECONDS", 0.5)
    path = tmp_path / "memory.sqlite"
    file = MemoryFile(path)
    ended: list[BaseException] = []

    def write() -> None:
        try:
            file.execute([insert("x")])
        except (StoreBusy, Closed) as error:
            ended.append(error)

    writers = [threading.Thread(target=write) for _ in range(3)]
    with held_by_another(path):
        for writer in writers:
            writer.start()
        deadline = time.monotonic() + 30
        while len(file._database._turns._waiting) < len(writers):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        began = time.monotonic()
        file.close()
        for writer in writers:
            writer.join()
        assert time.monotonic() - began < 30 and len(ended) == len(writers)


# Opening ----------------------------------------------------------------------------------------------------------


def test_what_is_no_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "plain").write_text("text")
    for path, complaint in (
        ("folder", "is a folder"),
        ("link", "is a link to .*nowhere, which does not exist"),
        ("pipe", "is no ordinary file"),
        ("plain/memory.sqlite", "cannot be made or opened"),
        ("plain", "no memory file, or damaged"),
        ("a\0b", "is no path"),
        ("x" * 300, "cannot be made or opened"),
    ):
        with pytest.raises(DataError, match=f"(?s){complaint}"):
            MemoryFile(tmp_path / path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "link", "pipe", "plain"]


def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "theirs.sqlite"
    for statement in ("CREATE TABLE users (name TEXT)", "PRAGMA user_version = 7", "PRAGMA application_id = 5"):
        with closing(sqlite3.connect(path)) as database:
            database.execute(statement)
        before = path.read_bytes()
        with pytest.raises(DataError, match="is an SQLite file of another program"):
            MemoryFile(path)
        assert path.read_bytes() == before
    ours = tmp_path / "ours.sqlite"
    MemoryFile(ours).close()
    with closing(sqlite3.connect(ours)) as database:
        database.execute("CREATE TRIGGER t AFTER INSERT ON items BEGIN DELETE FROM items; END")
    with pytest.raises(DataError, match="its tables are not those of a memory"):
        MemoryFile(ours)


def test_a_disk_that_may_not_be_written_is_named(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 1000) as disk:
        MemoryFile(disk / "memory.sqlite").close()
        make_read_only(disk)
        for name in ("memory.sqlite", "new.sqlite", "folder/new.sqlite"):
            with pytest.raises(DataError, match=r"(?i)read-only"):
                MemoryFile(disk / name)


def test_a_disk_without_room_for_a_new_file_is_named(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 40) as disk:
        fill(disk)
        with pytest.raises(StoreFailed, match="is full"):
            MemoryFile(disk / "memory.sqlite")


def test_a_memory_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "made" / "for it" / "memory.sqlite"
    file = MemoryFile(path)
    file.execute([insert("Ann lives in Rome.")])
    file.save(tmp_path / "copy.sqlite")
    modes = {each: stat.S_IMODE(each.stat().st_mode) for each in (*path.parent.iterdir(), tmp_path / "copy.sqlite")}
    assert len(modes) == 4 and set(modes.values()) == {0o600}
    assert [stat.S_IMODE(folder.stat().st_mode) for folder in (path.parent, path.parent.parent)] == [0o700, 0o700]
    file.close()
    path.chmod(0o640)  # whoever opens it to others has meant it
    MemoryFile(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@pytest.mark.parametrize("open_still", [False, True])
def test_an_older_or_empty_file_becomes_its_owners_alone(tmp_path: Path, open_still: bool) -> None:
    older, empty = tmp_path / "older.sqlite", tmp_path / "empty.sqlite"
    empty.touch()
    with closing(sqlite3.connect(older)) as database:
        database.executescript("PRAGMA journal_mode = WAL;" + OLD_TABLES)
        for path in (older, *([older.with_name(f"{older.name}{end}") for end in ("-wal", "-shm")])):
            path.chmod(0o644)
        empty.chmod(0o644)
        if not open_still:
            database.close()
        files = [MemoryFile(older), MemoryFile(empty)]
        for file in files:
            file.execute([insert("Ann has a dog.")])
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
        assert len(modes) == 6 and set(modes.values()) == {0o600}


def test_rights_that_cannot_be_changed_are_named_before_anything_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "older.sqlite"
    with closing(sqlite3.connect(path)) as database:
        database.executescript(OLD_TABLES)
    path.chmod(0o644)
    before = path.read_bytes()

    def refuse(self: Path, mode: int) -> None:  # as for whom the file does not belong to; root may all
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(Path, "chmod", refuse)
    with pytest.raises(DataError, match="can be read by others, and that cannot be changed"):
        MemoryFile(path)
    assert path.read_bytes() == before


@pytest.mark.long
def test_a_new_file_is_made_by_many_at_once(tmp_path: Path) -> None:
    for number in range(40):
        path = tmp_path / f"{number}.sqlite"
        path.touch()
        ready = threading.Barrier(8)
        failed: list[BaseException] = []

        def make() -> None:
            try:
                ready.wait(30)  # noqa: B023
                Database(path).close()  # noqa: B023
            except BaseException as error:
                failed.append(error)  # noqa: B023

        makers = [threading.Thread(target=make) for _ in range(8)]
        for maker in makers:
            maker.start()
        for maker in makers:
            maker.join()
        assert failed == []


def test_a_file_that_another_would_make_ours_meanwhile_is_seen_at_one_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "BUSY_SECONDS", 0.2)
    file = Database(tmp_path / "memory.sqlite")
    path = tmp_path / "new.sqlite"
    path.touch()

    class Between(sqlite3.Connection):
        """A connection between whose first looks at the file another would make it ours."""

        looked = False

        def execute(self, statement: str, *given: Any) -> sqlite3.Cursor:
            rows = super().execute(statement, *given)
            if "application_id" in statement and not self.looked:
                self.looked = True
                with suppress(StoreBusy):
                    Database(path).close()
            return rows

    with closing(sqlite3.connect(path, isolation_level=None, factory=Between)) as database:
        assert file._kind(database) == "new"
    file.close()
    Database(path).close()


def test_a_long_name_that_is_in_the_file_already_is_taken(tmp_path: Path) -> None:
    path, name = tmp_path / "memory.sqlite", "u" * 300
    with closing(sqlite3.connect(path)) as database:
        database.executescript(OLD_TABLES)
        for table in ("users", "items"):
            database.execute(f"UPDATE {table} SET user = ?", (name,))
        database.commit()
    file = MemoryFile(path, name)
    assert len(file.items) == 2 and file.execute([insert("Ann has a dog.")])[0].ok
    with pytest.raises(TooLong):
        file.for_user("v" * 300)
    assert file.erase_user(name)
    with pytest.raises(TooLong):
        file.for_user(name)


@pytest.mark.parametrize("version", [0, 1])
def test_a_file_of_the_first_format_is_read_and_brought_up(tmp_path: Path, version: int) -> None:
    path = tmp_path / "memory.sqlite"
    rome = '{"id": "sem_0001", "store": "semantic", "content": "Ann lives in Rome.", "time": null, "order": 1}'
    oslo = rome.replace("Rome", "Oslo").replace('"order": 1', '"order": 3')
    bob = rome.replace("Ann lives in Rome.", "Bob plays the oboe.").replace("sem_0001", "sem_0002").replace("1}", "2}")
    with closing(sqlite3.connect(path)) as database, database:
        database.executescript(OLD_TABLES)
        database.execute(f"PRAGMA user_version = {version}")
        for row in (
            (1, 10.5, "agent", REASON, "sem_0001", None, rome),
            (1, 10.5, "agent", REASON, "sem_0002", None, bob),
            (2, 11.5, "user", "moved", "sem_0001", rome, oslo),
        ):
            database.execute("INSERT INTO history VALUES (NULL, 'default', ?, ?, ?, ?, ?, ?, ?, NULL)", row)
    path.chmod(0o644)
    file = MemoryFile(path)
    assert texts(file) == ["Ann lives in Oslo.", "Bob plays the oboe."]
    assert [(change.version, change.at, change.by, change.why, change.item_id) for change in file.history()] == [
        (1, 10.5, "agent", REASON, "sem_0001"),
        (1, 10.5, "agent", REASON, "sem_0002"),
        (2, 11.5, "user", "moved", "sem_0001"),
    ]
    assert file.undo() and texts(file)[0] == "Ann lives in Rome."
    assert file.execute([insert("Cy came.")])[0].item_id == "sem_0003"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    file.close()
    assert path.read_bytes().count(REASON.encode()) == 1
    again = MemoryFile(path)
    assert len(again.items) == 3 and again.erase("sem_0001") and found(tmp_path, "Ann") == []


# Words, and the end -----------------------------------------------------------------------------------------------


def test_halves_of_surrogate_pairs_are_cleaned_everywhere(tmp_path: Path) -> None:
    file = MemoryFile(tmp_path / "memory.sqlite")
    call = ToolCall(
        name="memory_insert", arguments={"memory_type": "episodic", "content": "cut \ud83d", "time": "\ud83d"}
    )
    assert file.execute([call], time="\ud83d", by="\ud83d", why="\ud83d")[0].content == "cut ?"
    (change,) = file.history()
    assert (change.by, change.why) == ("?", "?")
    with pytest.raises(DataError, match="is no name of a user"):
        MemoryFile(file.path, "\ud83d")
    with pytest.raises(TooLong, match="a user's name has 300 characters"):
        MemoryFile(file.path, "x" * 300)
    with pytest.raises(DataError, match="is no path"):
        MemoryFile(tmp_path / "\ud83d\0")


def test_ids_and_numbers_that_no_file_can_hold_are_unknown(tmp_path: Path) -> None:
    file = MemoryFile(tmp_path / "memory.sqlite", "?")
    file.execute([insert("Ann lives in Rome.")])
    assert file.erase("\ud83d") == file.erase_user("\ud83d") == 0, "nor does it become the name of another"
    assert file.history("\ud83d") == [] and file.history_page("\ud83d") == ([], None)
    for after in (2**62, 2**64):
        assert file.history(after=after) == [] and file.history_page(after=after) == ([], None)
    assert len(file.history(after=-(2**64), limit=2**64)) == len(file.history_page(limit=2**64)[0]) == 1


def test_a_closed_file_says_so(tmp_path: Path) -> None:
    file = MemoryFile(tmp_path / "memory.sqlite")
    other_user = file.for_user("bob")
    file.close()
    file.close()
    for use in (
        lambda: file.items,
        lambda: file.execute([insert("x")]),
        file.history,
        file.undo,
        file.begin,
        file.vacuum,
        lambda: file.erase("core"),
        lambda: file.erase_user("bob"),
        lambda: file.save(tmp_path / "copy.sqlite"),
        lambda: file.for_user("eva"),
    ):
        with pytest.raises(Closed):
            use()
    assert other_user.execute([insert("x")])[0].ok, "closing one leaves the file to the others"
    other_user.close()
    assert [path.name for path in tmp_path.iterdir()] == ["memory.sqlite"]


@pytest.mark.long
def test_closing_while_others_write_loses_nothing_that_was_returned(tmp_path: Path) -> None:
    path = tmp_path / "memory.sqlite"
    for _ in range(5):
        file = MemoryFile(path, history=History(keep=None))
        begun = len(file.items)
        returned: list[str] = []
        ended: list[BaseException] = []
        several = threading.Event()

        def write() -> None:
            try:
                while True:
                    returned.append(file.execute([insert(f"{begun} {len(returned)}")])[0].content or "")  # noqa: B023
                    if len(returned) > 3:  # noqa: B023
                        several.set()  # noqa: B023
            except Closed as error:
                ended.append(error)  # noqa: B023

        writer = threading.Thread(target=write)
        writer.start()
        assert several.wait(60)
        file.close()
        writer.join()
        assert len(ended) == 1
        with closing(MemoryFile(path)) as again:
            assert set(returned) <= set(texts(again))
