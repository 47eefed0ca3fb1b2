"""OpenAI messages, as fine-tuning files and logs of API calls have them: a list a line, or one message a line."""

from __future__ import annotations

from collections.abc import Iterator

from memrl.envs.building.exports import ExportEntry, LogFormat, Message, Talk
from memrl.envs.building.message_lists import TIMES, openai_messages
from memrl.envs.errors import DataError


def _knows(entry: ExportEntry) -> bool:
    return ("messages" in entry.keys and not entry.keys >= {"name", "type"}) or entry.keys >= {"role", "content"}


def _read(entry: ExportEntry) -> Iterator[Talk]:
    loose: list[Message] = []
    for number, (where, record) in enumerate(entry.objects("OpenAI messages"), 1):
        if "messages" in record:
            time = next((record[name] for name in TIMES if record.get(name) is not None), None)
            said = openai_messages(record["messages"], entry, where, time=time)
            yield Talk(entry.stem, str(number), said)
        elif "role" in record:
            loose += openai_messages([record], entry, where)
        else:
            raise DataError(
                f"{where} has neither messages nor role: the file mixes forms. Keep those records in another file."
            )
    if loose:
        yield Talk(entry.stem, "1", tuple(loose))


FORMAT = LogFormat("openai", "OpenAI messages in JSON or JSON lines", _knows, _read)
