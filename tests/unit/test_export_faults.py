"""Exports that would hang, crash, fill the memory or steer a terminal: each ends in words, or is read."""

from __future__ import annotations

import gzip
import io
import os
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.text import Text

from memrl.cli.console import SafeConsole
from memrl.cli.main import main
from memrl.data.show import import_table, stream_page
from memrl.envs.asking import ask_chunks
from memrl.envs.building.exports import Columns, ExportEntry
from memrl.envs.building.importing import take
from memrl.envs.building.pages import html_text
from memrl.envs.errors import DataError
from memrl.envs.stream import Chunk, Question, Stream

CHAT = "13.03.25, 10:00 - Ana: Hello.\n13.03.25, 10:01 - Ben: Hi.\n"
ARCHIVES = "memrl.envs.building.archives"


def complaint(path: Path, encoding: str | None = None) -> str:
    with pytest.raises(DataError) as raised:
        take(path, Columns(encoding=encoding))
    return str(raised.value)


def packed(path: Path, **files: str | bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


# Archives ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["//chat.txt", "/", "/chat.txt", "../chat.txt", "a/../chat.txt", "./chat.txt", "a//b"])
def test_an_archive_with_names_that_lead_elsewhere_is_refused(name: str, tmp_path: Path) -> None:
    told = complaint(packed(tmp_path / "a.zip", **{name: CHAT}))
    assert f"a.zip has an entry {name!r}, which is no place inside an archive" in told


def test_what_is_a_file_and_a_folder_is_refused_and_of_one_name_the_later_counts(tmp_path: Path) -> None:
    assert "'a' is a file and a folder" in complaint(packed(tmp_path / "a.zip", **{"a": CHAT, "a/b.txt": CHAT}))
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("c/", "")
        archive.writestr("c/chat.txt", CHAT)
        archive.writestr("c/chat.txt", CHAT.replace("Hello", "Goodbye"))
    assert take(tmp_path / "b.zip").taken[0].talks[0].messages[0].text == "Goodbye."


def test_archives_in_archives_are_followed_so_far_and_no_further(tmp_path: Path) -> None:
    data: bytes = CHAT.encode()
    name = "chat.txt"
    for depth in range(4):
        path = packed(tmp_path / f"{depth}.zip", **{name: data})
        if depth < 3:
            assert take(path).taken[0].messages == 2
        data, name = path.read_bytes(), f"{depth}.zip"
    assert "0.zip is an archive in 3 others" in complaint(path)


def test_what_unpacks_to_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.txt.gz", "b.jsonl.gz"):
        with gzip.open(tmp_path / name, "wb") as file:
            file.write(b"{" * 100_000)
    packed(tmp_path / "c.zip", **{f"{n}.txt": "x" * 900 for n in range(3)})
    packed(tmp_path / "d.zip", **{f"{n}.jpg": "x" * 900 for n in range(3)}, **{"chat.txt": CHAT})
    monkeypatch.setattr("memrl.envs.building.exports.MOST_BYTES", 90_000)
    monkeypatch.setattr(f"{ARCHIVES}.MOST_IN_ALL", 2000)
    assert "a.txt.gz unpacks to more than 90,000 bytes" in complaint(tmp_path / "a.txt.gz")
    assert "b.jsonl.gz unpacks to more than 90,000 bytes" in complaint(tmp_path / "b.jsonl.gz")
    assert "c.zip would unpack to more than 2,000 bytes" in complaint(tmp_path / "c.zip")
    assert take(tmp_path / "d.zip").media == 3  # pictures stay packed


def test_the_names_of_an_archive_are_read_once(tmp_path: Path) -> None:
    path = packed(tmp_path / "a.zip", **{f"{n % 300}/{n}.txt": "" for n in range(3000)})
    files = 0

    def count() -> None:
        nonlocal files
        files = sum(len(folder.entries()) for folder in ExportEntry(path, "a.zip").entries())

    assert took(count) < 1.5 and files == 3000  # zipfile.Path reads all names again for each folder


# Files ------------------------------------------------------------------------------------------------------------


def test_links_that_lead_nowhere_or_back_and_pipes_are_named_and_passed_by(tmp_path: Path) -> None:
    (tmp_path / "chat.txt").write_text(CHAT)
    (tmp_path / "gone.txt").symlink_to(tmp_path / "nowhere")
    (tmp_path / "round").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "pipe.txt")
    found = take(tmp_path)
    assert [taken.messages for taken in found.taken] == [2]
    assert sorted(Path(name).name for name in found.unknown) == ["gone.txt", "pipe.txt", "round"]
    slack = tmp_path / "slack"
    (slack / "general").mkdir(parents=True)
    (slack / "users.json").write_text('[{"id": "U1"}]')
    (slack / "channels.json").write_text("[]")
    (slack / "general" / "2025-03-01.json").symlink_to(tmp_path / "nowhere")
    assert "2025-03-01.json cannot be read: No such file" in complaint(slack)


@pytest.mark.parametrize("name", ["latin-99", "hex", "a\0b"])
def test_an_encoding_that_is_none_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "chat.txt").write_text(CHAT)
    assert f"no encoding of texts that is called {name!r}" in complaint(tmp_path / "chat.txt", name)


def test_a_long_text_in_a_table_is_read(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(f"text\n{'word ' * 30_000}\n")
    assert len(take(tmp_path / "t.csv").taken[0].talks[0].text) == 149_999


# The terminal -----------------------------------------------------------------------------------------------------


def test_what_would_steer_a_terminal_is_shown_and_not_sent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "chat.txt").write_text(CHAT.replace("Ana", "A\x1b]0;pwned\x07na").replace("Hi", "\x1b[2J\u202eHi\x9b"))
    assert main(["data", "build", "--from", "chat.txt", "--look"]) == 0
    (tmp_path / "bad\x1b[2Jname.xyz").write_text("x")
    assert main(["data", "build", "logs", "--from", "bad\x1b[2Jname.xyz", "--look"]) == 2
    told = capsys.readouterr()
    assert "A\\x1b]0;pwned" in told.out and "bad\\x1b[2Jname.xyz" in told.err
    out = SafeConsole(file=io.StringIO(), width=200, force_terminal=True)
    out.print(import_table(take(tmp_path / "chat.txt")))
    asked = (Question(id="q", text="What?", answers=("a",)),)
    out.print(stream_page(Stream(id="\x1b[2J", source="s", chunks=(Chunk(text="a\x9bb\u2066\n\tc"),), questions=asked)))
    out.print(Text("\x1b[5m", "bold red"))
    shown = out.file.getvalue()
    assert "\x1b[1;31m\\x1b[5m" in shown and "a\\x9bb\\u2066" in shown  # its own colours are sent
    assert not {"\x1b[2J", "\x1b[5m", "\x9b", "\u202e", "\u2066"} & {
        mark for mark in ("\x1b[2J", "\x1b[5m", "\x9b", "\u202e", "\u2066") if mark in told.out + told.err + shown
    }


# Time -------------------------------------------------------------------------------------------------------------


def took(doing: Callable[[], object]) -> float:
    """Return the seconds of this process that something takes, however busy the machine is."""
    began = time.process_time()
    doing()
    return time.process_time() - began


def test_a_message_of_many_lines_takes_no_time(tmp_path: Path) -> None:
    (tmp_path / "chat.txt").write_text(CHAT + "a line that goes on\n" * 60_000)
    assert took(lambda: take(tmp_path / "chat.txt")) < 5  # two strings joined line by line need a minute


def test_marks_that_are_not_closed_take_no_time() -> None:
    page = "<nav>" + "<p>" * 8000 + "</x>" * 8000 + "</nav>Bread."
    assert took(lambda: html_text(page)) < 1.5
    assert html_text(page) == "Bread."


def test_many_sentences_that_are_alike_take_no_time() -> None:
    lines = [f"The mill{n} near tower{n} costs {n} euros." for n in range(700)]
    chunks = [Chunk(text="\n".join(lines[n : n + 50])) for n in range(0, len(lines), 50)]
    assert took(lambda: ask_chunks(chunks, "s", 20, kinds=["change"])) < 2
