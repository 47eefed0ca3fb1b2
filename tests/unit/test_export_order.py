"""Exports read in the order in which things were said, and once, however the files stand and overlap."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from memrl.envs.asking import ask_chunks
from memrl.envs.asking.passages import passages
from memrl.envs.building.exports import Columns
from memrl.envs.building.importing import Import, logs_of, take
from memrl.envs.building.pages import html_text
from memrl.envs.building.times import moment
from memrl.envs.errors import DataError
from memrl.envs.stream import Chunk

DAY = datetime(2025, 3, 1, 9, tzinfo=UTC)


def units(found: Import) -> dict[str, list[str]]:
    return {name: [unit.text for unit in some] for name, some, _ in logs_of(found, timedelta(hours=6))}


def chatgpt(path: Path, talks: Sequence[tuple[str, Sequence[tuple[float | None, str]]]]) -> Path:
    """Conversations by id: what was said in turns by the user and the assistant, and on which day (None: no time)."""
    listed = []
    for name, said in talks:
        mapping: dict[str, Any] = {
            str(n): {
                "parent": str(n - 1) if n else None,
                "children": [str(n + 1)] if n + 1 < len(said) else [],
                "message": {
                    "author": {"role": "assistant" if n % 2 else "user"},
                    "create_time": None if day is None else (DAY + timedelta(days=day)).timestamp(),
                    "content": {"content_type": "text", "parts": [text]},
                },
            }
            for n, (day, text) in enumerate(said)
        }
        listed.append({"id": name, "create_time": None, "mapping": mapping, "current_node": str(len(said) - 1)})
    path.write_text(json.dumps(listed))
    return path


def whatsapp(path: Path, days: Sequence[int], also: str = "") -> Path:
    lines = [
        f"{DAY + timedelta(days=day):%d.%m.%y}, 09:0{n} - {who}: {text} {day}."
        for day in days
        for n, (who, text) in enumerate((("Ana", "Good morning on day"), ("Ben", "Nothing new on day")))
    ]
    path.write_text("\n".join(lines) + "\n" + also, encoding="utf-8")
    return path


# Order ------------------------------------------------------------------------------------------------------------


def test_a_log_that_stands_newest_first_is_read_from_its_end(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    rows = [
        ("2025-03-28", "Ana", "My cousin Lena rents a flat in Heidelberg near the old castle."),
        ("2025-03-28", "Ben", "B2"),
        ("2025-03-27", "Ben", "B1"),
        ("2025-03-01", "Ana", "My cousin Lena rents a flat in Dresden near the old castle."),
    ]
    path.write_text("date,author,text\n" + "".join(",".join(row) + "\n" for row in rows))
    found = take(path)
    assert "newest first: read from its end" in found.taken[0].noted.notes
    told = units(found)["t"]
    assert [text.partition(": ")[2][-3:] for text in told] == ["le.", "B1", "B2", "le."]  # of one day too
    assert "Dresden" in told[0] and "Heidelberg" in told[-1]
    chunks = [Chunk(text=text) for text in told]
    (change,) = ask_chunks(chunks, "t", 5, kinds=["change"], who=["Ana", "Ben"])
    assert change.question.answers == ("Heidelberg",)


def test_loose_messages_are_put_in_the_order_of_time_and_those_without_one_stay_with_the_one_before(
    tmp_path: Path,
) -> None:
    said = [("b", 2000000000), ("c", None), ("a", 1900000000), ("d", 2100000000)]
    (tmp_path / "log.jsonl").write_text(
        "\n".join(
            json.dumps({"role": "user" if n % 2 else "assistant", "content": text, "timestamp": time})
            for n, (text, time) in enumerate(said)
        )
    )
    assert [text[-1] for text in units(take(tmp_path / "log.jsonl"))["log"]] == ["a", "b", "c", "d"]


def test_a_conversation_that_was_continued_is_read_where_each_session_was(tmp_path: Path) -> None:
    path = chatgpt(tmp_path / "conversations.json", [
        ("1", [(0, "hello"), (0, "hi"), (300, "LATEST"), (300, "ok")]),
        ("2", [(100, "MIDDLE"), (100, "fine")]),
    ])  # fmt: skip
    told = [text.partition(": ")[2] for text in units(take(path))["chatgpt"]]
    assert told == ["hello", "hi", "MIDDLE", "fine", "LATEST", "ok"]


def test_a_tree_says_itself_in_what_order_its_messages_stand(tmp_path: Path) -> None:
    path = chatgpt(tmp_path / "conversations.json", [("1", [(0.0001, "question"), (0, "answer"), (0.0002, "thanks")])])
    assert [text.partition(": ")[2] for text in units(take(path))["chatgpt"]] == ["question", "answer", "thanks"]


def test_a_conversation_without_a_time_stays_beside_its_neighbours(tmp_path: Path) -> None:
    talks: list[tuple[str, list[tuple[float | None, str]]]] = [
        (str(day), [(None if day == 3 else day, f"day {day}"), (None if day == 3 else day, "ok")])
        for day in (5, 4, 3, 2, 1)
    ]
    found = take(chatgpt(tmp_path / "conversations.json", talks))
    told = units(found)["chatgpt"]
    assert [text[-1] for text in told if "day" in text] == ["1", "2", "3", "4", "5"]
    assert found.taken[0].noted.notes == ["conversations without a time, read beside their neighbours: 1"]


# Once -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("longer_first", [False, True])
def test_chats_that_overlap_are_one_and_each_message_is_taken_once(longer_first: bool, tmp_path: Path) -> None:
    first, second = ("b", "a") if longer_first else ("a", "b")
    whatsapp(tmp_path / f"{first}.txt", range(6), also="07.03.25, 10:00 - Ana: Never exported again.\n")
    whatsapp(tmp_path / f"{second}.txt", range(9))
    found = take(tmp_path)
    told = units(found)
    assert list(told) == ["a"]
    assert len(told["a"]) == len(set(told["a"])) == 2 * 9 + 1
    dropped = sum(found.taken[1].noted.dropped.values())
    assert found.taken[1].noted.dropped["messages that were there before"] == dropped == 12


def test_a_copy_under_another_name_and_an_earlier_state_are_left_out(tmp_path: Path) -> None:
    for name, days in (("a.txt", 4), ("b.txt", 4), ("c.txt", 7)):
        whatsapp(tmp_path / name, range(days))
    found = take(tmp_path)
    assert {name: len(texts) for name, texts in units(found).items()} == {"c": 14}
    left = {taken.where[-5:]: dict(taken.noted.dropped) for taken in found.taken}
    longer = {"conversations that stand elsewhere with more messages": 1}
    assert left == {"a.txt": longer, "b.txt": longer, "c.txt": {}}


def test_of_a_conversation_with_a_number_the_longest_is_taken(tmp_path: Path) -> None:
    chatgpt(tmp_path / "a.json", [("1", [(0, "A"), (0, "old answer")]), ("2", [(1, "B"), (1, "C")])])
    chatgpt(tmp_path / "b.json", [("1", [(0, "A"), (0, "new answer"), (1, "D")]), ("2", [(1, "B"), (1, "C")])])
    told = [text.partition(": ")[2] for text in units(take(tmp_path))["chatgpt"]]
    assert sorted(told) == ["A", "B", "C", "D", "new answer"]


def test_the_same_word_in_two_chats_at_one_minute_is_nobodys_copy(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.txt").write_text(
            f"01.03.25, 10:00 - Ana: ok\n01.03.25, 10:00 - Ana: ok\n13.03.25, 10:01 - {name}: Where are you?\n"
        )
    assert {name: len(texts) for name, texts in units(take(tmp_path)).items()} == {"a": 3, "b": 3}


def test_chats_of_one_name_are_told_apart_and_those_that_were_left_are_read(tmp_path: Path) -> None:
    def chat(number: int, text: str) -> dict[str, Any]:
        said = [{"type": "message", "date": "2025-03-01T10:00:00", "from": who, "text": text} for who in ("Ana", "I")]
        return {"name": "Ana", "type": "personal_chat", "id": number, "messages": said}

    account = {"personal_information": {}, "chats": {"list": [chat(7, "A"), chat(8, "B")]},
               "left_chats": {"list": [chat(9, "C")]}}  # fmt: skip
    (tmp_path / "result.json").write_text(json.dumps(account))
    assert units(take(tmp_path)) == {
        log: [f"Ana: {text}", f"I: {text}"] for log, text in (("Ana", "A"), ("Ana (8)", "B"), ("Ana (9)", "C"))
    }


# What is read -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "time"),
    [
        ("20250305", datetime(2025, 3, 5)),
        (20250305, datetime(2025, 3, 5)),
        ("2025", None),
        (2025, None),
        ("20251340", None),
        ("03/05/2025 10:00", None),  # which number is the day?
        ("2025-03-05 10:14:33 UTC", datetime(2025, 3, 5, 10, 14, 33)),
        ("2025-03-05 10:14:33 +0100", datetime(2025, 3, 5, 9, 14, 33)),
        ("2025-03-05 10:14:33 +0000 UTC", datetime(2025, 3, 5, 10, 14, 33)),
        (1740823200000000, datetime(2025, 3, 1, 10)),
        ("1740823200000", datetime(2025, 3, 1, 10)),
        (-315619200000, datetime(1960, 1, 1)),
        ("0001-01-01T00:00:00+01:00", None),
        (10**400, None),
        (float("nan"), None),
    ],
)
def test_a_time_is_read_as_what_it_is_or_not_at_all(value: Any, time: datetime | None) -> None:
    assert moment(value) == time


def test_times_that_cannot_be_read_are_counted_and_a_column_of_them_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("date,author,text\n03/05/2025 10:00,Ana,Hello.\nsoon,Ben,Hi.\n,Ben,Yes.\n")
    (found,) = take(path).taken
    assert found.noted.dropped == {"times that cannot be read (2025-03-05 10:14 can)": 2}
    with pytest.raises(DataError, match=r"column 'date' holds no time that can be read \('03/05/2025 10:00'\)"):
        take(path, Columns(time="date"))


def test_who_speaks_is_told_whatever_the_name_is() -> None:
    long = "Dr. Maximiliane Wolkenstein-Rodenegg of Innsbruck"
    chunk = Chunk(
        text="Ana: I sold the boat.\nEve: home: Good morning to all.\nMy grandmother planted it.\n"
        f"Bob: The cellar is dry.\n{long}: The lecture begins at noon.\nNote: bring shoes.\nAnd an umbrella."
    )
    known = frozenset({"Ana", "Bob", "Eve", "Eve: home", long})
    assert [(one.speaker, one.text) for one in passages([chunk], known)] == [
        ("Ana", "I sold the boat."),
        ("Eve: home", "Good morning to all."),
        ("Eve: home", "My grandmother planted it."),
        ("Bob", "The cellar is dry."),
        (long, "The lecture begins at noon."),
        (long, "an umbrella."),
    ]


def test_words_after_a_name_that_was_not_told_are_not_those_of_the_speaker_before() -> None:
    talk = [
        Chunk(text=f"{who}: The tea is number {n}.\nBen: A cup.\nAna: One.") for n in range(3) for who in ("Ana", "Ben")
    ]
    talk.append(Chunk(text="Ana: I stay.\nZoe: Let me in.\nI brought my sister.\nBen: Come in."))
    said = [(one.speaker, one.text) for one in passages(talk) if one.chunk == 6]
    assert said == [("Ana", "I stay."), ("Ben", "Come in.")]


def test_names_of_speakers_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('author,text\n"A\nB",Hello.\nBen,Hi.\n')
    assert take(tmp_path / "t.csv").taken[0].speakers == ["A B", "Ben"]


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("<body><form id=f><p>Bread and milk.</p><button>Go</button></form></body>", "Bread and milk."),
        ("<head><title>x</title><p>Bread and milk.", "x\n\nBread and milk."),
        ("<title>x</title><style>p {}</style>Bread<nav><nav>a</nav>b</x></nav> and milk.", "x\n\nBread and milk."),
        ("<head><title>x</title></head><body><script>1</script></body>", ""),  # a title alone is no text
        ("<head><title>x<body>Bread and milk.", "x\n\nBread and milk."),
    ],
)
def test_a_page_is_read_whatever_its_marks_leave_out(page: str, text: str) -> None:
    assert html_text(page) == text


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("Dinner costs 12.50 (each)", True),
        ("look at python.org (the docs)", True),
        ("see report.pdf (page 3)", True),
        ("<Media omitted>", False),
        ("IMG-20250301-WA0001.jpg (fichier joint)", False),
        ("IMG-20250301-WA0001.jpg (pièce)", False),
        ("My big plan.pdf (file attached)", False),
        ("Foto 1.JPG (Datei angehängt)", False),
    ],
)
def test_messages_about_files_are_messages(text: str, read: bool, tmp_path: Path) -> None:
    path = tmp_path / "chat.txt"
    path.write_text(f"13.03.25, 10:00 - Ana: {text}\n13.03.25, 10:01 - Ben: Hi.\n13.03.25, 10:02 - Ana: Bye.\n")
    (found,) = take(path).taken
    assert [message.text for message in found.talks[0].messages] == [*([text] if read else []), "Hi.", "Bye."]
