"""HTML: what a browser shows of it, without scripts, navigation and buttons."""

from __future__ import annotations

from collections.abc import Iterator

from memrl.envs.building.exports import ExportEntry, LogFormat, Talk
from memrl.envs.building.pages import html_text

LOG = "documents"


def _read(entry: ExportEntry) -> Iterator[Talk]:
    yield Talk(LOG, entry.where, text=html_text(entry.text()))


FORMAT = LogFormat("html", "HTML", lambda entry: entry.suffix in (".html", ".htm", ".xhtml"), _read, 9)
