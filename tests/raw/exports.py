"""Exports of a made-up person's talks, in the forms of several programs. All are written here; none is anybody's."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from memrl.envs.sources import open_source

Said = tuple[str, str, datetime]
"""Who says what, and when (UTC)."""
BEGIN = datetime(2025, 3, 1, 9, 0, tzinfo=UTC)


def person(messages: int = 300, seed: int = 0) -> list[list[Said]]:
    """The sessions of a made-up person with an assistant, about a week apart."""
    options = {"count": 1, "seed": seed, "sessions": -(-messages // 12), "chunk_tokens": 100_000, "chatter": 0.1}
    stream = next(open_source("dialogues", options))
    sessions: list[list[Said]] = []
    left = messages
    for number, chunk in enumerate(stream.chunks):
        begin = BEGIN + timedelta(days=5 * number)
        lines = [line.partition(": ") for line in chunk.text.split("\n")][:left]
        left -= len(lines)
        sessions.append([(who.lower(), text, begin + timedelta(minutes=n)) for n, (who, _, text) in enumerate(lines)])
    return [session for session in sessions if session]


def chatgpt(path: Path, sessions: Sequence[Sequence[Said]]) -> Path:
    """A zip as ChatGPT gives it: trees of messages, one answer that was generated anew, a page to look at."""
    conversations = []
    for number, session in enumerate(sessions):
        mapping: dict[str, Any] = {"root": {"id": "root", "message": None, "parent": None, "children": ["0"]}}
        for place, (who, text, time) in enumerate(session):
            mapping[str(place)] = {
                "id": str(place),
                "parent": str(place - 1) if place else "root",
                "children": [str(place + 1)] if place + 1 < len(session) else [],
                "message": {
                    "author": {"role": who, "name": None},
                    "create_time": time.timestamp(),
                    "content": {"content_type": "text", "parts": [text]},
                    "recipient": "all",
                    "metadata": {},
                },
            }
        left = json.loads(json.dumps(mapping["1"])) | {"id": "left", "children": []}
        left["message"]["content"]["parts"] = ["An answer that nobody kept."]
        mapping["left"] = left
        conversations.append(
            {
                "title": f"Talk {number}",
                "create_time": session[0][2].timestamp(),
                "mapping": mapping,
                "current_node": str(len(session) - 1),
                "conversation_id": f"c{number}",
            }
        )
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("conversations.json", json.dumps(conversations))
        archive.writestr("user.json", json.dumps({"id": "user-1"}))
        archive.writestr("chat.html", "<html><body>all of it again</body></html>")
    return path


def claude(path: Path, sessions: Sequence[Sequence[Said]]) -> Path:
    """A zip as Claude gives it."""
    roles = {"user": "human"}
    conversations = [
        {
            "uuid": f"u{number}",
            "name": "",
            "created_at": session[0][2].isoformat(),
            "chat_messages": [
                {
                    "sender": roles.get(who, who),
                    "text": text,
                    "content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": text}],
                    "created_at": time.isoformat().replace("+00:00", "Z"),
                    "attachments": [],
                    "files": [{"file_name": "a.png"}] if not place else [],
                }
                for place, (who, text, time) in enumerate(session)
            ],
        }
        for number, session in enumerate(sessions)
    ]
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("conversations.json", json.dumps(conversations))
        archive.writestr("users.json", json.dumps([{"uuid": "u", "full_name": "Somebody"}]))
    return path


def telegram(path: Path, sessions: Sequence[Sequence[Said]], names: dict[str, str] | None = None) -> Path:
    """`result.json` of one chat, with a service message, a sticker, and text in runs."""
    names = names or {"user": "Ada Falk", "assistant": "Helper"}
    messages: list[dict[str, Any]] = [
        {"id": 1, "type": "service", "date": "2025-03-01T08:00:00", "actor": "Ada Falk", "action": "create_group"},
        {
            "id": 2,
            "type": "message",
            "date": "2025-03-01T08:01:00",
            "from": "Ada Falk",
            "text": "",
            "media_type": "sticker",
        },
    ]
    for number, (who, text, time) in enumerate((said for session in sessions for said in session), 3):
        first, _, rest = text.partition(" ")
        messages.append(
            {
                "id": number,
                "type": "message",
                "date": time.replace(tzinfo=None).isoformat(),
                "date_unixtime": str(int(time.timestamp())),
                "from": names[who],
                "text": [first + " ", {"type": "bold", "text": rest}] if number % 2 else text,
            }
        )
    chat = {"name": "Helper", "type": "personal_chat", "id": 7, "messages": messages}
    path.write_text(json.dumps(chat, indent=1, ensure_ascii=False), encoding="utf-8")
    return path


def whatsapp(path: Path, sessions: Sequence[Sequence[Said]], form: str = "android-de") -> Path:
    """A chat as text, in the manner of a phone: `android-de`, `android-us`, `ios-uk`, `ios-us`, `ios-ja`."""
    head = {
        "android-de": lambda t: f"{t:%d.%m.%y, %H:%M} - ",
        "android-us": lambda t: f"{t.month}/{t.day}/{t:%y}, {int(t.strftime('%I'))}:{t:%M}\u202f{t:%p} - ",
        "ios-uk": lambda t: f"[{t:%d/%m/%Y, %H:%M:%S}] ",
        "ios-us": lambda t: f"[{t.month}/{t.day}/{t:%y}, {int(t.strftime('%I'))}:{t:%M:%S}\u202f{t:%p}] ",
        "ios-ja": lambda t: f"[{t:%Y/%m/%d} {t:%H:%M:%S}] ",
    }[form]
    system = "\u200e" if form.startswith("ios") else ""
    names = {"user": "Ada Falk", "assistant": "Ben Ode"}
    begin = sessions[0][0][2]
    told = "Ben Ode: " if system else ""
    lines = [f"{system}{head(begin)}{told}{system}Messages and calls are end-to-end encrypted."]
    for session in sessions:
        for who, text, time in session:
            lines.append(f"{head(time)}{names[who]}: {text}")
    lines.append(f"{head(time)}Ada Falk: {'‎image omitted' if system else '<Media omitted>'}")
    lines.append(f"{head(time)}Ada Falk: A last word,\nand a second line of it.")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def slack(folder: Path, sessions: Sequence[Sequence[Said]]) -> Path:
    """An export's folder: people, channels, a file a day."""
    ids = {"user": "U1", "assistant": "U2"}
    day_files: dict[str, list[dict[str, Any]]] = {}
    for session in sessions:
        for who, text, time in session:
            value = {"type": "message", "user": ids[who], "text": text, "ts": f"{time.timestamp():.6f}"}
            day_files.setdefault(time.date().isoformat(), []).append(value)
    first = next(iter(day_files.values()))
    first.insert(
        0, {"type": "message", "subtype": "channel_join", "user": "U2", "text": "<@U2> has joined", "ts": "1.0"}
    )
    first[1]["text"] = "Hello <@U2>, see <https://example.org|this page> &amp; tell me. " + first[1]["text"]
    (folder / "general").mkdir(parents=True)
    people = [
        {"id": "U1", "name": "ada", "profile": {"display_name": "Ada Falk"}},
        {"id": "U2", "name": "ben", "real_name": "Ben Ode", "profile": {"display_name": ""}},
    ]
    (folder / "users.json").write_text(json.dumps(people))
    (folder / "channels.json").write_text(json.dumps([{"id": "C1", "name": "general"}]))
    for name, values in day_files.items():
        (folder / "general" / f"{name}.json").write_text(json.dumps(values))
    return folder


def openai(path: Path, sessions: Sequence[Sequence[Said]]) -> Path:
    """Lists of messages, one a line, with a call of a tool whose content is null, parts, a name and unix times."""
    lines = []
    for session in sessions:
        messages: list[dict[str, Any]] = [{"role": "system", "content": "Be kind."}]
        messages += [{"role": who, "content": text, "timestamp": int(time.timestamp())} for who, text, time in session]
        lines.append({"messages": messages})
    first = lines[0]["messages"]
    first[1]["content"] = [
        {"type": "text", "text": first[1]["content"]},
        {"type": "image_url", "image_url": {"url": "x"}},
    ]
    first[1]["name"] = "ada"
    call = {"id": "1", "type": "function", "function": {"name": "clock", "arguments": "{}"}}
    first.insert(2, {"role": "assistant", "content": None, "tool_calls": [call]})
    first.insert(3, {"role": "tool", "tool_call_id": "1", "content": "12:00"})
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def sharegpt(path: Path, sessions: Sequence[Sequence[Said]]) -> Path:
    """Conversations of ShareGPT in one array."""
    roles = {"user": "human", "assistant": "gpt"}
    value = [
        {"id": f"s{number}", "conversations": [{"from": roles[who], "value": text} for who, text, _ in session]}
        for number, session in enumerate(sessions)
    ]
    path.write_text(json.dumps(value))
    return path


def pdf(path: Path, pages: Sequence[str]) -> Path:
    """The smallest PDF that has pages of text."""
    kids = " ".join(f"{4 + 2 * n} 0 R" for n in range(len(pages)))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for number, text in enumerate(pages):
        stream = f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET"
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {5 + 2 * number} 0 R "
            "/Resources << /Font << /F1 3 0 R >> >> >>"
        )
        objects.append(f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream")
    data = b"%PDF-1.4\n"
    places = []
    for number, content in enumerate(objects, 1):
        places.append(len(data))
        data += f"{number} 0 obj\n{content}\nendobj\n".encode()
    start = len(data)
    data += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode()
    data += b"".join(f"{place:010d} 00000 n \n".encode() for place in places)
    data += f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n".encode()
    path.write_bytes(data)
    return path
