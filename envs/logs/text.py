"""Plain text: paragraphs stand between blank lines. The last of the formats: any .txt that no other knows."""

from __future__ import annotations

from collections.abc import Iterator

from memrl.envs.building.exports import ExportEntry, LogFormat, Talk

LOG = "documents"


def _knows(entry: ExportEntry) -> bool:
    return not entry.is_folder and entry.suffix in (".txt", ".text", ".log", ".rst")


def _read(entry: ExportEntry) -> Iterator[Talk]:
    yield Talk(LOG, entry.where, text=entry.text())


FORMAT = LogFormat("text", "plain text", _knows, _read, 9)
