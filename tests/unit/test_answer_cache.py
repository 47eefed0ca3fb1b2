"""The cache of answers: what it gives back is what was put in, or nothing; it never fails anybody."""

from __future__ import annotations

import logging
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from memrl.config import EndpointConfig
from memrl.endpoints.cache import AnswerCache, CachedAnswer, cache_folder, request_key
from tests.support import ROOT

ROME = CachedAnswer("Rome", 12, 1)


def filled(folder: Path, count: int = 1) -> Path:
    cache = AnswerCache(folder)
    for number in range(count):
        cache.put(f"key {number}", CachedAnswer(f"Rome {number}", 12, 1))
    cache.close()
    return cache.path


def test_what_was_put_in_is_there_for_the_next_process_of_this_host(tmp_path: Path) -> None:
    cache = AnswerCache(tmp_path / "new")
    assert cache.get("key") is None
    cache.put("key", ROME)
    assert cache.get("key") == AnswerCache(tmp_path / "new").get("key") == ROME
    assert socket.gethostname() in cache.path.name
    assert [path.name for path in cache.path.parent.iterdir()] == [cache.path.name]


def test_the_key_tells_apart_what_may_be_answered_differently() -> None:
    messages = [{"role": "user", "content": "Where?"}]
    keys = {
        request_key("model", messages, 64),
        request_key("other", messages, 64),
        request_key("model", messages, 65),
        request_key("model", [{"role": "user", "content": "Where? "}], 64),
        request_key("model", [{"role": "system", "content": "Where?"}], 64),
    }
    assert len(keys) == 5
    assert request_key("model", [{"content": "Where?", "role": "user"}], 64) in keys


def overwritten(path: Path) -> None:
    path.write_bytes(b"not a database at all" * 100)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5000])


def one_letter_changed(path: Path) -> None:
    """SQLite itself does not notice."""
    path.write_bytes(path.read_bytes().replace(b"Rome 3", b"Roma 3"))


@pytest.mark.parametrize("damage", [overwritten, cut, one_letter_changed])
def test_a_damaged_file_is_set_aside_with_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: Callable[[Path], None]
) -> None:
    path = filled(tmp_path, 200)
    damage(path)
    cache = AnswerCache(tmp_path)
    for number in range(200):
        found = cache.get(f"key {number}")
        assert found is None or found.text == f"Rome {number}"
    assert path.with_name(path.name + ".damaged").is_file()
    cache.put("key", ROME)
    assert AnswerCache(tmp_path).get("key") == ROME
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert f"{path} is damaged (" in caplog.text


def test_a_file_that_another_process_has_replaced_already_is_left_alone(tmp_path: Path) -> None:
    path = filled(tmp_path)
    one, other = AnswerCache(tmp_path), AnswerCache(tmp_path)
    assert one.get("key 0") == other.get("key 0")
    with sqlite3.connect(path) as database:
        database.execute("UPDATE answers SET text = 'Roma'")
    assert one.get("key 0") is None
    one.put("key", ROME)
    assert other.get("key 0") is None  # from the file that it holds open, which is the damaged one
    assert one.get("key") == other.get("key") == AnswerCache(tmp_path).get("key") == ROME


def test_a_folder_that_cannot_be_written_is_done_without(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = AnswerCache(tmp_path / "file")
    for _ in range(3):
        cache.put("key", ROME)
        assert cache.get("key") is None
    assert caplog.text.count("what it lacks is asked again") == 1


def test_a_database_of_somebody_else_is_done_without(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = AnswerCache(tmp_path).path
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE answers (question TEXT)")
    cache = AnswerCache(tmp_path)
    cache.put("key", ROME)
    assert cache.get("key") is None
    assert "no such column" in caplog.text or "has 1 column" in caplog.text


def test_a_locked_file_costs_one_answer_and_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("memrl.endpoints.cache.BUSY_SECONDS", 0.05)
    path = filled(tmp_path)
    cache = AnswerCache(tmp_path)
    assert cache.get("key 0") is not None
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    cache.put("key", ROME)
    assert cache.get("key 0") is None
    other.execute("ROLLBACK")
    assert cache.get("key") is None
    assert cache.get("key 0") == CachedAnswer("Rome 0", 12, 1)


WRITER = """
import sys
from pathlib import Path
from memrl.endpoints.cache import AnswerCache, CachedAnswer
cache = AnswerCache(Path(sys.argv[1]))
for number in range(300):
    key = f"{sys.argv[2]} {number}" if number % 3 else f"shared {number}"
    found = cache.get(key)
    assert found in (None, CachedAnswer(key, number, 1)), found
    cache.put(key, CachedAnswer(key, number, 1))
"""


@pytest.mark.long
def test_two_processes_write_one_file(tmp_path: Path) -> None:
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), name], cwd=ROOT, stderr=subprocess.PIPE)
        for name in ("one", "other")
    ]
    for writer in writers:
        _, complaints = writer.communicate(timeout=60)
        assert (writer.returncode, complaints) == (0, b"")
    [path] = tmp_path.iterdir()
    with sqlite3.connect(path) as database:
        assert database.execute("SELECT count(*) FROM answers").fetchone() == (100 + 2 * 200,)
    cache = AnswerCache(tmp_path)
    assert cache.get("one 1") == CachedAnswer("one 1", 1, 1)
    assert cache.get("other 299") == CachedAnswer("other 299", 299, 1)


def test_where_the_cache_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    endpoint = EndpointConfig()
    assert cache_folder(endpoint, "reader", None) is None
    assert cache_folder(endpoint, "reader", "runs/mine") == tmp_path / "runs" / "mine" / "reader-cache"
    assert cache_folder(endpoint, "judge", "runs/mine") == tmp_path / "runs" / "mine" / "judge-cache"
    endpoint.cache_dir = "answers"
    assert cache_folder(endpoint, "reader", "runs/mine") == tmp_path / "answers"
    endpoint.cache = False
    assert cache_folder(endpoint, "reader", "runs/mine") is None
