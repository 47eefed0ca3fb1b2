"""Markdown, read as text without its marks."""

from __future__ import annotations

from collections.abc import Iterator

from memrl.envs.building.exports import ExportEntry, LogFormat, Talk
from memrl.envs.building.pages import markdown_text

LOG = "documents"


def _read(entry: ExportEntry) -> Iterator[Talk]:
    yield Talk(LOG, entry.where, text=markdown_text(entry.text()))


FORMAT = LogFormat("markdown", "Markdown", lambda entry: entry.suffix in (".md", ".markdown", ".mdx"), _read, 9)
