"""A memory on disk: what was returned is kept whatever happens, users never meet, and changes can be taken back."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memrl.agent.memory_file import MemoryFile
from memrl.envs.designs import MemoryItem
from memrl.envs.tools import ResultCode, ToolCall
from memrl.errors import DataError
from tests.calls import delete, insert, update

ROOT = Path(__file__).parents[2]
WRITER = """
import sys
from memrl.envs.tools import ToolCall
from memrl.agent.memory_file import MemoryFile
path, user, first = sys.argv[1], sys.argv[2], int(sys.argv[3])
file = MemoryFile(path, user)
for number in range(first, first + 200):
    calls = [ToolCall(name="memory_insert", arguments={"memory_type": "semantic", "content": f"{user} {number} {part}"})
             for part in ("one", "two")]
    assert all(result.ok for result in file.execute(calls, by="writer", why=str(number)))
    print(number, flush=True)
"""


def texts(file: MemoryFile) -> list[str]:
    return [item.content for item in file.items]


def test_what_was_written_is_there_when_it_is_opened_again(tmp_path: Path) -> None:
    path = tmp_path / "memory.sqlite"
    file = MemoryFile(path)
    file.execute([insert("Ann lives in Rome."), insert("Ann went home.", "episodic")], time="2 May")
    file.execute([update("core", "The user is Ann."), update("sem_0001", "Ann lives in Oslo.")])
    file.execute([delete("epi_0001"), insert("Bob plays the oboe.")])
    held = file.items
    file.close()
    again = MemoryFile(path)
    assert again.items == held
    assert texts(again) == ["The user is Ann.", "Ann lives in Oslo.", "Bob plays the oboe."]
    # Ids go on where they were, those of deleted items included.
    (result,) = again.execute([insert("Cy came.", "episodic")])
    assert result.item_id == "epi_0002"
    view = again.state().retrieve("Where does Ann live?", 100)
    assert view.best and view.best.id == "sem_0001"


def test_a_bad_call_is_a_result_and_changes_nothing(tmp_path: Path) -> None:
    file = MemoryFile(tmp_path / "memory.sqlite", budget=10)
    file.execute([insert("Ann lives in Rome.")])
    results = file.execute(
        [delete("sem_0009"), insert("Ann lives in Rome."), insert("word " * 20), ToolCall(name="fly")]
    )
    assert [result.code for result in results] == [
        ResultCode.UNKNOWN_ID, ResultCode.DUPLICATE, ResultCode.OVER_BUDGET, ResultCode.UNKNOWN_TOOL,
    ]  # fmt: skip
    assert len(file.history()) == 1


def test_the_history_says_who_when_and_why(tmp_path: Path) -> None:
    file = MemoryFile(tmp_path / "memory.sqlite")
    before = time.time()
    file.execute([insert("Ann lives in Rome.")], by="agent", why="I live in Rome.")
    file.execute([update("sem_0001", "Ann lives in Oslo.")], by="agent", why="I have moved.")
    made, moved = file.history("sem_0001")
    assert (made.by, made.why, made.before) == ("agent", "I live in Rome.", None)
    assert made.after is not None and moved.before == made.after
    assert moved.after == MemoryItem("sem_0001", "semantic", "Ann lives in Oslo.", None, 2)
    assert before <= made.at <= moved.at <= time.time()
    assert file.history("sem_0002") == []


def test_undo_takes_back_one_change_after_another(tmp_path: Path) -> None:
    file = MemoryFile(tmp_path / "memory.sqlite")
    states = [texts(file)]
    for calls in (
        [insert("Ann lives in Rome."), insert("Bob plays the oboe.")],
        [update("sem_0001", "Ann lives in Oslo."), delete("sem_0002"), update("core", "Ann")],
        [insert("Cy came.", "episodic")],
    ):
        file.execute(calls)
        states.append(texts(file))
    for state in reversed(states[:-1]):
        assert file.undo(by="user")
        assert texts(file) == state
        assert texts(MemoryFile(file.path)) == state
    assert file.undo() == []
    file.execute([insert("Ann lives in Rome.")])
    assert file.undo() and texts(file) == []
    assert [change.undoes for change in file.history()][-2:] == [None, file.history()[-2].version]
    # What was read may say what it likes.
    file.execute([insert("x")], why="undo 1")
    assert [(change.why, change.undoes) for change in file.undo()] == [("undo 1", None)]


def test_an_id_is_known_however_it_is_spaced(tmp_path: Path) -> None:
    file = MemoryFile(tmp_path / "memory.sqlite")
    file.execute([insert("Ann lives in Rome.")])
    assert file.execute([update(" sem_0001\n", "Ann lives in Oslo.")])[0].ok
    assert file.history()[-1].before is not None
    assert file.undo() and texts(file) == ["Ann lives in Rome."]


def test_a_copy_is_whole_and_of_its_moment(tmp_path: Path) -> None:
    file = MemoryFile(tmp_path / "memory.sqlite", "ann")
    file.execute([insert("Ann lives in Rome.")])
    file.save(tmp_path / "copy.sqlite")
    file.execute([insert("Bob plays the oboe.")])
    copy = MemoryFile(tmp_path / "copy.sqlite", "ann")
    assert texts(copy) == ["Ann lives in Rome."] and len(copy.history()) == 1
    with pytest.raises(DataError, match="exists already"):
        file.save(tmp_path / "copy.sqlite")


@pytest.mark.parametrize("data", [b"no database", b"SQLite format 3\x00" + b"\xff" * 200])
def test_a_file_that_is_none_is_refused_and_left_alone(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "memory.sqlite"
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"memory\.sqlite is no memory file, or damaged"):
        MemoryFile(path)
    assert path.read_bytes() == data


def test_a_later_format_is_refused(tmp_path: Path) -> None:
    file = MemoryFile(tmp_path / "memory.sqlite")
    file._database.execute("PRAGMA user_version = 99")
    file.close()
    with pytest.raises(DataError, match="newer memrl"):
        MemoryFile(file.path)


CALLS = st.lists(
    st.one_of(
        st.text("abc '\"%_;-\x00é", min_size=1, max_size=8).map(insert),
        st.sampled_from(["sem_0001", "sem_0002", "core"]).map(delete),
        st.sampled_from(["sem_0001", "core"]).map(lambda item: update(item, f"new {item}")),
    ),
    max_size=4,
)


@pytest.mark.long
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["ann", "bob", "ann'--", "%", ""]), CALLS), max_size=8), st.booleans())
def test_no_user_ever_sees_anothers_memory(tmp_path: Path, done: list[tuple[str, list[ToolCall]]], undo: bool) -> None:
    folder = Path(tempfile.mkdtemp(dir=tmp_path))
    path = folder / "shared.sqlite"
    alone: dict[str, MemoryFile] = {}
    shared: dict[str, MemoryFile] = {}
    for number, (user, calls) in enumerate(done):
        if user not in alone:
            alone[user] = MemoryFile(folder / f"{len(alone)}.sqlite", user)
        own = alone[user]
        ours = shared.setdefault(user, MemoryFile(path, user))
        if undo and number % 3 == 2:
            assert len(ours.undo()) == len(own.undo())
        assert ours.execute(calls) == own.execute(calls)
    for user, own in alone.items():
        assert shared[user].items == own.items == MemoryFile(path, user).items
        assert len(shared[user].history()) == len(own.history())
        for question in ("a", "b", "new core"):
            assert shared[user].state().retrieve(question, 100) == own.state().retrieve(question, 100)


def start(path: Path, user: str, first: int) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", WRITER, str(path), user, str(first)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})


@pytest.mark.long
def test_two_processes_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "memory.sqlite"
    writers = [start(path, "both", 0), start(path, "both", 1000)]
    assert [writer.wait(timeout=120) for writer in writers] == [0, 0]
    file = MemoryFile(path, "both")
    expected = {f"both {first + n} {part}" for first in (0, 1000) for n in range(200) for part in ("one", "two")}
    assert set(texts(file)) == expected
    assert len({item.id for item in file.items}) == len({item.order for item in file.items}) == 800


@pytest.mark.slow
def test_a_kill_at_any_moment_leaves_what_was_returned_and_nothing_torn(tmp_path: Path) -> None:
    path = tmp_path / "memory.sqlite"
    draw = random.Random(0)
    told: list[int] = []
    for life in range(50):
        first = 1000 * life
        writer = start(path, "ann", first)
        assert writer.stdout is not None
        if draw.random() < 0.9:  # else it may die before it has written anything
            writer.stdout.readline()
            told.append(first)
        time.sleep(draw.random() * 0.05)
        writer.send_signal(signal.SIGKILL)
        told += [int(line) for line in writer.stdout.read().split("\n") if line.strip()]
        writer.wait()
    file = MemoryFile(path, "ann")
    assert file._database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    held = set(texts(file))
    assert len(told) > 100
    for number in told:
        assert {f"ann {number} one", f"ann {number} two"} <= held
    assert all({text[:-3] + "one", text[:-3] + "two"} <= held for text in held), "both of a transaction or none"
    assert len(file.history()) == len(held)
