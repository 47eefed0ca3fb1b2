"""Exports of one's own: every format is known and read, what is dropped is said, what is wrong is named."""

from __future__ import annotations

import gzip
import json
import shlex
import zipfile
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from memrl.cli.main import main
from memrl.data.card import read_card
from memrl.envs.building.exports import Columns, ExportEntry
from memrl.envs.building.importing import Taken, logs_of, sessions, take
from memrl.envs.building.times import moment
from memrl.envs.errors import DataError
from memrl.envs.logs import LOG_FORMATS
from memrl.envs.logs.whatsapp import date_order
from memrl.envs.sources import open_source
from memrl.envs.stream import read_jsonl
from tests.raw import exports

PERSON = exports.person(60)
WRITERS: dict[str, tuple[str, Callable[[Path, list[list[exports.Said]]], Path]]] = {
    "chatgpt": ("chatgpt.zip", exports.chatgpt),
    "claude": ("claude.zip", exports.claude),
    "telegram": ("result.json", exports.telegram),
    "slack": ("slack", exports.slack),
    "openai": ("log.jsonl", exports.openai),
    "sharegpt": ("shared.json", exports.sharegpt),
    "whatsapp": ("WhatsApp Chat with Ben.txt", exports.whatsapp),
}
DROPPED = {
    "chatgpt": {"messages on branches that were left": 5},
    "claude": {"thoughts and calls of tools": 60, "files beside messages": 5},
    "telegram": {"service messages": 1, "messages without text (pictures, sounds, stickers)": 1},
    "slack": {"messages of the system (joined, left, topic set)": 1},
    "openai": {"messages of systems and tools": 6, "calls of tools": 1, "pictures, sounds and files in messages": 1},
    "sharegpt": {},
    "whatsapp": {
        "lines of the program (joined, left, encryption)": 1,
        "pictures, sounds, deleted messages and notes of the program": 1,
    },
}


def taken(path: Path, **options: str) -> Taken:
    (found,) = take(path, Columns(**options)).taken
    return found


def complaint(path: Path, **options: str) -> str:
    with pytest.raises(DataError) as raised:
        take(path, Columns(**options))
    return str(raised.value)


# Every format -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WRITERS)
def test_every_message_is_read_with_who_and_when_and_what_is_dropped_is_counted(name: str, tmp_path: Path) -> None:
    file, write = WRITERS[name]
    found = taken(write(tmp_path / file, PERSON))
    messages = [message for talk in found.talks for message in talk.messages]
    assert found.format == name
    said = [(who, text) for session in PERSON for who, text, _ in session]
    people: dict[str, set[str]] = {"user": set(), "assistant": set()}
    for (who, text), message in zip(said, messages, strict=False):
        assert text in message.text  # Slack's first has marks before it
        people[who].add(message.speaker)
    assert len(messages) == len(said) + (name == "whatsapp")
    assert not people["user"] & people["assistant"]
    if name != "sharegpt":
        wanted = [time.replace(tzinfo=None) for session in PERSON for _, _, time in session]
        seconds = [time.replace(second=0) for time in found.times[: len(wanted)]]
        assert seconds == wanted
    assert dict(found.noted.dropped) == DROPPED[name]


@pytest.mark.parametrize("name", WRITERS)
def test_a_zip_and_a_folder_of_it_read_the_same(name: str, tmp_path: Path) -> None:
    file, write = WRITERS[name]
    path = write(tmp_path / "given" / file if (tmp_path / "given").mkdir() is None else tmp_path, PERSON)
    packed = tmp_path / "all.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for part in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if part.is_file():
                archive.write(part, part.relative_to(tmp_path / "given"))
    assert taken(packed).talks == taken(tmp_path / "given").talks


@pytest.mark.parametrize("form", ["android-de", "android-us", "ios-uk", "ios-us", "ios-ja"])
def test_whatsapp_is_read_in_the_manner_of_every_phone(form: str, tmp_path: Path) -> None:
    found = taken(exports.whatsapp(tmp_path / "_chat.txt", PERSON, form))
    wanted = [time.replace(tzinfo=None, second=0) for session in PERSON for _, _, time in session]
    assert [time.replace(second=0) for time in found.times][: len(wanted)] == wanted
    assert found.speakers == ["Ada Falk", "Ben Ode"]
    assert found.talks[0].messages[-1].text == "A last word,\nand a second line of it."
    assert not any("encrypted" in message.text or "omitted" in message.text for message in found.talks[0].messages)


@pytest.mark.parametrize(
    ("dates", "halves", "order"),
    [
        ([(13, 2, 25), (1, 3, 25)], False, ("dmy", True)),
        ([(2, 13, 25), (3, 1, 25)], True, ("mdy", True)),
        ([(2025, 2, 3)], False, ("ymd", True)),
        ([(1, 2, 25), (2, 1, 25)], False, ("mdy", True)),  # days would run backwards
        ([(2, 1, 25), (1, 2, 25)], True, ("dmy", True)),
        ([(1, 2, 25)], False, ("dmy", False)),
        ([(1, 2, 25)], True, ("mdy", False)),
    ],
)
def test_the_order_of_dates_is_told_from_all_of_them(
    dates: list[tuple[int, int, int]], halves: bool, order: tuple[str, bool]
) -> None:
    assert date_order(dates, halves) == order


def test_dates_that_do_not_tell_are_said_and_can_be_given(tmp_path: Path) -> None:
    path = tmp_path / "chat.txt"
    path.write_text("1/2/25, 10:00 - Ada: Hello.\n1/2/25, 10:01 - Ben: Hi.\n")
    assert "the day is taken to come first (dates=dmy|mdy)" in " ".join(taken(path).noted.notes)
    assert taken(path).times[0] == datetime(2025, 2, 1, 10)
    assert taken(path, dates="mdy").times[0] == datetime(2025, 1, 2, 10)
    path.write_text("31/2/25, 10:00 - Ada: Hello.\n1/3/25, 10:01 - Ben: Hi.\n")
    assert "chat.txt, line 1: 31-2-25 is no date in the order dmy" in complaint(path)


def test_chatgpt_keeps_the_branch_that_was_last_seen(tmp_path: Path) -> None:
    found = taken(exports.chatgpt(tmp_path / "a.zip", PERSON))
    assert not any("nobody kept" in message.text for talk in found.talks for message in talk.messages)


def test_telegram_is_read_chat_by_chat_from_a_whole_account(tmp_path: Path) -> None:
    chat = json.loads(exports.telegram(tmp_path / "result.json", PERSON).read_text(encoding="utf-8"))
    quiet = {"name": "Saved", "type": "saved_messages", "id": 1, "messages": chat["messages"][2:3]}
    account = {"about": "x", "personal_information": {"user_id": 1}, "chats": {"about": "y", "list": [chat, quiet]}}
    (tmp_path / "result.json").write_text(json.dumps(account))
    found = taken(tmp_path / "result.json")
    assert {talk.log for talk in found.talks} == {"Helper"} and found.messages == 60
    assert found.noted.dropped["messages of logs in which one person alone speaks"] == 1


def test_slack_names_people_and_reads_links(tmp_path: Path) -> None:
    found = taken(exports.slack(tmp_path / "slack", PERSON))
    assert found.talks[0].messages[0].text.startswith("Hello @Ben Ode, see this page & tell me.")


def test_documents_are_read_as_a_person_sees_them(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("One paragraph.\n\nAnother one.")
    (tmp_path / "b.md").write_text(
        "---\ntitle: x\n---\n# A trip\n\nWe saw **Oslo** and [Bergen](https://b.no).\n\n---\n"
    )
    (tmp_path / "c.html").write_text(
        "<html><head><title>Page</title><style>p{}</style></head><body><nav>Menu</nav><script>var x</script>"
        "<h1>Trip</h1><p>We saw Oslo &amp; Bergen.<p>Then<br>home.</body></html>"
    )
    texts = {Path(one.where).name: one.talks[0].text for one in take(tmp_path).taken}
    assert texts["a.txt"] == "One paragraph.\n\nAnother one."
    assert texts["b.md"] == "A trip\n\nWe saw Oslo and Bergen."
    assert texts["c.html"] == "Page\n\nTrip\n\nWe saw Oslo & Bergen.\n\nThen home."


def test_a_pdf_is_read_page_by_page_and_pages_of_pictures_are_counted(tmp_path: Path) -> None:
    pytest.importorskip("pypdf", reason="pypdf is not installed: it is the extra pdf")
    found = taken(exports.pdf(tmp_path / "a.pdf", ["Ada lives in Oslo.", "", "Ben in Bergen."]))
    assert found.talks[0].text == "Ada lives in Oslo.\n\nBen in Bergen."
    assert found.noted.dropped == {"pages without text (pictures alone)": 1}
    (tmp_path / "a.pdf").write_bytes((tmp_path / "a.pdf").read_bytes()[:60])
    assert "damaged or cut short" in complaint(tmp_path / "a.pdf")


def test_a_pdf_without_the_extra_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pypdf", None)
    assert "pip install 'memrl[pdf]'" in complaint(exports.pdf(tmp_path / "a.pdf", ["x"]))


def test_tables_are_read_by_named_columns(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text('who,when,what\nAda,2025-03-01 10:00,"Hello, Ben."\nBen,2025-03-01 10:05,Hi.\nBen,,\n')
    assert "has no column that is called text" in complaint(path) and "--text-column" in complaint(path)
    assert "has no column 'wat' (it has who, when, what)" in complaint(path, text="wat")
    found = taken(path, text="what", speaker="who", time="when")
    assert [(m.speaker, m.text, m.time) for m in found.talks[0].messages] == [
        ("Ada", "Hello, Ben.", datetime(2025, 3, 1, 10)),
        ("Ben", "Hi.", datetime(2025, 3, 1, 10, 5)),
    ]
    assert found.noted.dropped == {"rows without text": 1}
    assert [talk.text for talk in taken(path, text="what").talks] == ["Hello, Ben.", "Hi."]
    path.write_text("text\nHello, Ben\n")
    assert "line 2 has more values than there are columns" in complaint(path)


def test_parquet_and_json_lines_are_tables_too(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [{"author": "Ada", "body": "Hello."}, {"author": "Ben", "body": "Hi."}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    talks = [taken(tmp_path / name).talks[0].messages for name in ("t.parquet", "t.jsonl")]
    assert talks[0] == talks[1] and [m.speaker for m in talks[0]] == ["Ada", "Ben"]
    talk = [{"role": "user", "content": "A"}, {"role": "x", "content": "B"}]
    pq.write_table(pa.Table.from_pylist([{"messages": talk}]), tmp_path / "hub.parquet")
    assert taken(tmp_path / "hub.parquet").messages == 2


# What is wrong ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("data", "said"), [(b"\x89PNG....", "knows what is there"), (b"{}", "knows what is there")])
def test_unknown_files_are_refused_with_what_is_known(data: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(data)
    told = complaint(tmp_path)
    assert said in told and "x.bin" in told and all(name in told for name in LOG_FORMATS.shipped)


@pytest.mark.parametrize("name", [name for name in WRITERS if name not in ("slack", "whatsapp")])
def test_a_cut_export_is_refused(name: str, tmp_path: Path) -> None:
    file, write = WRITERS[name]
    path = write(tmp_path / file, PERSON)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    told = complaint(path)
    assert path.name in told and "cut short" in told


@pytest.mark.parametrize(("name", "data"), [("a.txt", b""), ("a.json", b"[]"), ("a.txt", b"\n \n"), ("a.jsonl", b"")])
def test_an_empty_export_is_refused(name: str, data: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(data)
    assert name in complaint(tmp_path / name)
    assert "does not exist" in complaint(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    assert "it is empty" in complaint(tmp_path / "empty")


def test_sealed_exports_are_refused(tmp_path: Path) -> None:
    (tmp_path / "msgstore.db.crypt15").write_bytes(b"x")
    assert "export each chat as text" in complaint(tmp_path)
    path = exports.chatgpt(tmp_path / "a.zip", PERSON)
    data = bytearray(path.read_bytes())
    for place in (data.index(b"PK\x03\x04") + 6, data.index(b"PK\x01\x02") + 8):  # the flag of encryption
        data[place] |= 1
    path.write_bytes(bytes(data))
    assert "a.zip/conversations.json is encrypted" in complaint(path)


def test_a_zip_of_zeros_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("memrl.envs.building.exports.MOST_BYTES", 1000)
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.txt", "0" * 10_000)
    assert "has 10,000 bytes, over 1,000" in complaint(tmp_path / "a.zip")


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (
            ['{"messages": [{"role": "user", "content": "A"}]}', '{"conversations": []}'],
            "line 2 has neither messages nor",
        ),
        (['{"conversations": [{"from": "human", "value": "A"}]}', '{"messages": []}'], "line 2 has no conversations"),
        (['{"messages": [{"content": "A"}]}'], "line 1, message 0 has no role"),
        (['{"messages": [{"role": "user", "content": 7}]}'], "content is int"),
        (['{"conversations": [{"from": "human"}]}'], "line 1, message 0 has no value"),
        (['{"messages": "A"}'], "line 1: messages is no list"),
        (['{"mapping": {"a": {"parent": "a", "message": null}}, "current_node": "a"}'], "is its own ancestor"),
        (['{"mapping": {"a": {"parent": "b", "message": null}}, "current_node": "a"}'], "node 'b' is missing"),
        (['{"mapping": 3}'], "line 1 has no mapping"),
        (['{"chat_messages": 3}'], "line 1 has no chat_messages"),
        (['{"name": "x", "type": "personal_chat", "messages": 3}'], "has no messages"),
        (['{"messages": [{"role": "user", "content": "A"}]}', '{"messages": [{'], "line 2"),
    ],
)
def test_a_wrong_record_is_named_with_its_place(lines: list[str], said: str, tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text("\n".join(lines))
    told = complaint(tmp_path / "log.jsonl")
    assert said in told and "log.jsonl" in told


@pytest.mark.parametrize("encoding", ["utf-16", "cp1252", "utf-8-sig", "cp1251"])
def test_other_encodings_are_read_and_said(encoding: str, tmp_path: Path) -> None:
    text = (
        "Die Gäste aßen Käse für fünf Öre, sagte Jürgen. Das hätte keiner geglaubt, als sie über die Brücke gingen.\n"
        * 4
    )
    if encoding == "cp1251":
        text = "Гости ели сыр и пили чай, сказал Иван. Никто не поверил бы этому, когда они шли через мост.\n" * 4
    path = tmp_path / "a.txt"
    path.write_bytes(text.encode(encoding))
    found = taken(path)
    assert found.talks[0].text == text
    assert ("UTF-8" in " ".join(found.noted.notes)) == (encoding != "utf-8-sig")
    assert taken(path, encoding=encoding).talks[0].text == text
    if encoding == "cp1251":
        assert "cannot be read as utf-8" in complaint(path, encoding="utf-8")


def test_text_that_is_cut_in_a_character_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("Käse für ü".encode()[:-1])
    assert "cut short in the middle of a character" in complaint(tmp_path / "a.txt")


def test_a_log_of_one_person_is_refused_unless_it_is_notes(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text('{"messages": [{"role": "user", "content": "A"}, {"role": "user", "content": "B"}]}')
    assert "nobody but 'user' says anything" in complaint(path) and "one_person=true" in complaint(path)
    assert take(path, one_person=True).taken[0].messages == 2


def test_of_many_logs_those_of_one_person_are_dropped_and_counted(tmp_path: Path) -> None:
    folder = exports.slack(tmp_path / "slack", PERSON)
    (folder / "quiet").mkdir()
    only = [{"type": "message", "user": "U1", "text": "Anybody?", "ts": "1740800000.0"}]
    (folder / "quiet" / "2025-03-01.json").write_text(json.dumps(only))
    found = taken(folder)
    assert {talk.log for talk in found.talks} == {"general"}
    assert found.noted.dropped["messages of logs in which one person alone speaks"] == 1


def test_a_folder_of_several_formats_is_taken_and_the_rest_is_named(tmp_path: Path) -> None:
    exports.chatgpt(tmp_path / "chatgpt.zip", PERSON)
    exports.telegram(tmp_path / "result.json", PERSON)
    (tmp_path / "notes.md").write_text("# Notes\n\nBread and milk.")
    (tmp_path / "what.bin").write_bytes(b"\0\1\2")
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8")
    (tmp_path / ".hidden").write_text("x")
    found = take(tmp_path)
    assert sorted(one.format for one in found.taken) == ["chatgpt", "markdown", "telegram"]
    assert [Path(name).name for name in found.unknown] == ["what.bin"]
    assert (found.media, found.beside) == (1, 2)  # chat.html and user.json


def test_what_was_exported_twice_is_taken_once(tmp_path: Path) -> None:
    exports.chatgpt(tmp_path / "january.zip", PERSON[:3])
    exports.chatgpt(tmp_path / "june.zip", PERSON)
    first, second = take(tmp_path).taken
    assert (len(first.talks), len(second.talks)) == (3, 2)
    assert second.noted.dropped["conversations and texts that were there before"] == 3


def test_a_set_on_the_hub_that_cannot_be_reached_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    def refuse(*_: object, **__: object) -> None:
        raise OSError("no route")

    monkeypatch.setattr(datasets, "load_dataset", refuse)
    assert "nobody/nothing cannot be read from the hub: no route" in complaint(Path("hub:nobody/nothing"))


@pytest.mark.long
def test_a_set_of_the_hub_is_read_as_its_columns_tell(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    talk = [{"from": "human", "value": "I live in Oslo."}, {"from": "gpt", "value": "Noted."}]
    (tmp_path / "set").mkdir()
    pq.write_table(pa.Table.from_pylist([{"conversations": talk}] * 2), tmp_path / "set" / "train-0.parquet")
    (found,) = take(f"hub:{tmp_path / 'set'}:train").taken  # a folder as the hub has it stands for one
    assert found.format == "hub" and found.speakers == ["user", "assistant"]
    assert [message.text for message in found.talks[0].messages] == ["I live in Oslo.", "Noted."]
    assert "nosuch" in complaint(Path(f"hub:{tmp_path / 'set'}:nosuch"))


# Streams ----------------------------------------------------------------------------------------------------------


def test_moments_are_read_in_every_form() -> None:
    assert moment(1740823200) == moment("1740823200") == moment(1740823200000) == datetime(2025, 3, 1, 10)
    assert moment("2025-03-01T11:00:00+01:00") == moment("2025-03-01T10:00:00Z") == datetime(2025, 3, 1, 10)
    assert moment("2025-03-01") == datetime(2025, 3, 1)
    assert moment("soon") is moment(None) is moment(True) is moment(1e300) is None


def test_silence_ends_a_session_and_where_no_hours_are_known_the_day_does(tmp_path: Path) -> None:
    found = taken(exports.telegram(tmp_path / "result.json", PERSON))
    assert [len(part) for part in sessions(found.talks[0].messages, timedelta(hours=6))] == [12] * 5
    days = [
        message.__class__("a", "b", datetime(2025, 3, n // 2 + 1))
        for n, message in enumerate(found.talks[0].messages[:6])
    ]
    assert [len(part) for part in sessions(tuple(days), timedelta(hours=6))] == [2, 2, 2]


def test_evaluation_is_what_was_said_last(tmp_path: Path) -> None:
    path = exports.telegram(tmp_path / "result.json", exports.person(300))
    options = {"path": str(path), "chunk_tokens": 120}
    sides = {split: list(open_source("logs", {**options, "split": split})) for split in ("train", "eval")}
    times = {side: [chunk.time or "" for stream in some for chunk in stream.chunks] for side, some in sides.items()}
    assert max(times["train"]) <= min(times["eval"]) and max(times["train"]) < max(times["eval"])
    share = len(times["eval"]) / (len(times["eval"]) + len(times["train"]))
    assert share == pytest.approx(0.2, abs=0.05)
    assert all(len(stream.chunks) <= 10 for some in sides.values() for stream in some)
    both = [stream.id for stream in open_source("logs", options)]
    assert sorted(both) == sorted(stream.id for some in sides.values() for stream in some)


def test_documents_in_no_order_have_some_for_evaluation(tmp_path: Path) -> None:
    things = ["bridge", "tower", "harbour", "mill", "library", "prison", "theatre", "abbey", "market", "garden"]
    for number in range(20):
        thing, town = things[number % 10], f"Ald{chr(97 + number)}burg"
        (tmp_path / f"{number}.txt").write_text(
            f"The {thing} of {town} was paid for by weaver Jan{chr(97 + number)} with {number * 7 + 20} sacks of flour."
        )
    found = {name: units for name, units, _ in logs_of(take(tmp_path), timedelta(hours=6))}
    assert len(found["documents"]) == 20
    held = open_source("logs", {"path": str(tmp_path), "split": "eval", "chunk_tokens": 30})
    assert sum(len(stream.chunks) for stream in held) == 4


# The command ------------------------------------------------------------------------------------------------------


def test_looking_shows_all_and_builds_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = exports.whatsapp(tmp_path / "WhatsApp Chat with Ben.txt", PERSON)
    out = tmp_path / "sets"
    assert main(["data", "build", "--from", str(path), "--out", str(out), "--look"]) == 0
    shown = capsys.readouterr()
    told = " ".join(shown.out.split())
    assert all(word in told for word in ("whatsapp", "Ada", "Ben Ode", "2025-03-01", "09:00", "61"))
    assert "dropped 1 lines of the program" in told and "take it: memrl data build --from" in shown.err
    assert not out.exists()


@pytest.mark.long
def test_an_export_becomes_a_set_that_is_named_after_it(tmp_path: Path) -> None:
    path = exports.chatgpt(tmp_path / "my logs.zip", exports.person(300))
    words = ["data", "build", "--from", str(path), "--out", str(tmp_path / "sets")]
    assert main(words) == 0
    folder = tmp_path / "sets" / "my-logs"
    card = read_card(folder)
    assert card.source == "logs" and set(card.splits) == {"train", "eval"} and card.questions >= 15
    first = next(read_jsonl(folder / "train.jsonl"))
    assert first.metadata["speakers"] == ["assistant", "user"]
    assert main(words) == 0  # the same again is kept
    exports.chatgpt(path, PERSON)
    assert main(words) == 2


@pytest.mark.long
def test_a_table_with_labels_becomes_labelled_examples(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [{"what": f"Where is my order number {n}?" if n % 2 else f"Please book room {n}.", "kind": "ab"[n % 2]}
            for n in range(200)]  # fmt: skip
    path = tmp_path / "t.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)
    words = ["data", "build", "--from", str(path), "--out", str(tmp_path / "sets")]
    assert main([*words, "--text-column", "what", "--label-column", "kinds"]) == 2
    assert "has no column kinds (it has what, kind)" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "sets").exists() or not list((tmp_path / "sets").iterdir())
    assert main([*words, "--text-column", "what", "--label-column", "kind", "chunks=3"]) == 0
    assert read_card(tmp_path / "sets" / "t").source == "labelled"


def test_nothing_is_built_of_a_bad_export(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = exports.chatgpt(tmp_path / "a.zip", PERSON)
    path.write_bytes(path.read_bytes()[:-400])
    assert main(["data", "build", "--from", str(path), "--out", str(tmp_path / "sets")]) == 2
    assert "a.zip is damaged or cut short" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "sets").exists()


def test_compressed_files_are_read_plain(tmp_path: Path) -> None:
    path = exports.telegram(tmp_path / "result.json", PERSON)
    (tmp_path / "packed").mkdir()
    with gzip.open(tmp_path / "packed" / "result.json.gz", "wb") as file:
        file.write(path.read_bytes())
    assert taken(tmp_path / "packed").talks == taken(path).talks


def test_every_format_is_named_as_its_module_and_says_what_it_is() -> None:
    for name, known in LOG_FORMATS.items():
        assert known.name == name and known.about
        assert not known.knows(ExportEntry(Path(__file__), __file__))  # a program is nobody's log


@pytest.mark.long
def test_the_documented_way_from_three_exports_runs_up_to_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (Path(__file__).parents[2] / "docs" / "own-data.md").read_text(encoding="utf-8")
    commands = [shlex.split(line) for line in page.split("```sh\n")[1].split("```")[0].splitlines()]
    assert len(commands) <= 6
    sessions = exports.person(300)
    (tmp_path / "mylogs").mkdir()
    exports.chatgpt(tmp_path / "mylogs" / "chatgpt.zip", sessions[:9])
    exports.telegram(tmp_path / "mylogs" / "result.json", sessions[9:17])
    exports.whatsapp(tmp_path / "mylogs" / "WhatsApp Chat with Ben.txt", sessions[17:])
    monkeypatch.chdir(tmp_path)
    look, build, train = (words[1:] for words in commands[:3])
    assert main(look) == 0 and not (tmp_path / "data").exists()
    assert main(build) == 0
    built = tmp_path / "data" / "mylogs"
    streams = [stream for split in ("train", "eval") for stream in read_jsonl(built / f"{split}.jsonl")]
    logs = {stream.metadata["documents"][0].split("/")[0] for stream in streams}
    assert logs == {"chatgpt", "Helper", "WhatsApp Chat with Ben"}
    assert sum(len(stream.questions) for stream in streams) >= 50
    assert train[0] == "train" and main([*train, "--dry-run"]) == 0
