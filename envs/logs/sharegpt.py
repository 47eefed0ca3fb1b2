"""ShareGPT: records with `conversations`, each message with `from` and `value`."""

from __future__ import annotations

from collections.abc import Iterator

from memrl.envs.building.exports import ExportEntry, LogFormat, Talk
from memrl.envs.building.message_lists import sharegpt_messages
from memrl.envs.errors import DataError


def _read(entry: ExportEntry) -> Iterator[Talk]:
    for number, (where, record) in enumerate(entry.objects("ShareGPT JSON"), 1):
        if "conversations" not in record:
            raise DataError(
                f"{where} has no conversations: the file mixes forms. Keep those records in a file of their own."
            )
        yield Talk(
            entry.stem, str(record.get("id") or number), sharegpt_messages(record["conversations"], entry, where)
        )


FORMAT = LogFormat(
    "sharegpt", "ShareGPT conversations in JSON or JSON lines", lambda entry: "conversations" in entry.keys, _read
)
