"""Pages of the site that are made from code, so that they cannot fall behind it: settings, reference, project.

A hook of mkdocs (mkdocs.yml). Nothing is written into docs/: the pages live in the build alone. It imports
`memrl.config`, and neither torch nor ray.
"""

from __future__ import annotations

import html
import posixpath
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from memrl.config.describe import SettingInfo, settings

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = {
    "agent": ("A trained policy in your own program", ["memrl.MemoryAgent", "memrl.Served"]),
    "config": ("The configuration", ["memrl.config.load", "memrl.config.registries", "memrl.config.schema"]),
    "envs": (
        "The task",
        [
            "memrl.envs.stream",
            "memrl.envs.memory_env",
            "memrl.envs.designs.design",
            "memrl.envs.tools",
            "memrl.envs.dialects",
            "memrl.envs.retrieval",
            "memrl.envs.building.source",
            "memrl.envs.registry",
        ],
    ),
    "rewards": (
        "The pay",
        ["memrl.rewards.metrics", "memrl.rewards.parts", "memrl.rewards.compose", "memrl.rewards.meters"],
    ),
    "pipeline": (
        "The pipeline",
        [
            "memrl.records",
            "memrl.credit",
            "memrl.engines.engine",
            "memrl.frozen.reader",
            "memrl.learner.loss",
            "memrl.report.trackers",
        ],
    ),
    "errors": ("Errors", ["memrl.errors"]),
}
"""Page of the reference -> its title, and the modules and names that it shows."""
PROJECT = {
    "readme": "README.md",
    "contributing": "CONTRIBUTING.md",
    "changelog": "CHANGELOG.md",
    "security": "SECURITY.md",
}
"""Page -> the file at the top of the repository that it is."""


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add to the guides each page of docs/ that mkdocs.yml does not name, so that none is out of reach."""
    named = set(_paths(config.nav))
    guides = next(section["Guides"] for section in config.nav or [] if "Guides" in section)
    guides += [page.name for page in sorted((ROOT / "docs").glob("*.md")) if page.name not in named]
    return config


def _paths(nav: Any) -> Iterator[str]:
    for entry in nav if isinstance(nav, list) else [nav]:
        if isinstance(entry, dict):
            yield from (path for below in entry.values() for path in _paths(below))
        else:
            yield str(entry)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages to those of docs/."""
    pages = {
        "reference/settings.md": settings_page(settings()),
        **{f"reference/{name}.md": reference_page(*page) for name, page in REFERENCE.items()},
        **{
            f"project/{name}.md": rehome((ROOT / file).read_text(encoding="utf-8"), file, f"project/{name}.md")
            for name, file in PROJECT.items()
        },
    }
    for path, text in pages.items():
        files.append(File.generated(config, path, content=text))
    return files


def settings_page(found: Iterable[SettingInfo]) -> str:
    """Return the page of all settings, a table a section."""
    lines = [
        "# Settings",
        "",
        "Every key of a config, made from `memrl/config/schema.py`. Each may be set on the command line: "
        "`memrl train tiny train.steps=20`.",
    ]
    for section, members in groupby(found, key=lambda setting: setting.key.rpartition(".")[0]):
        lines += [
            "",
            f"## {section or 'The run as a whole'}",
            "",
            "| key | type | default | meaning |",
            "|---|---|---|---|",
        ]
        for one in members:
            default = "none" if one.default is None else str(one.default)
            lines.append(f"| `{one.key}` | `{_cell(one.type)}` | `{_cell(default)}` | {_words(one.meaning)} |")
    return "\n".join(lines) + "\n"


def reference_page(title: str, names: Sequence[str]) -> str:
    """Return a page of the reference; mkdocstrings fills it from the docstrings."""
    return f"# {title}\n\n" + "\n".join(f"::: {name}\n" for name in names)


def on_page_markdown(markdown: str, *, page: Page, **_: object) -> str:
    """Mend the links of pages under docs/ that lead out of it."""
    return rehome(markdown, f"docs/{page.file.src_uri}", page.file.src_uri)


def rehome(text: str, source: str, page: str) -> str:
    """Return text whose links, right in the repository, are right in the site: what has no page is named only.

    Args:
        source: where the text stands in the repository.
        page: where it stands in the site.
    """
    pages = {file: f"project/{name}.md" for name, file in PROJECT.items()}

    def moved(match: re.Match[str]) -> str:
        shown, target = match.groups()
        path, mark, anchor = target.partition("#")
        if not path or ":" in path:
            return match.group()
        place = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        inside = place.removeprefix("docs/") if place.startswith("docs/") else pages.get(place)
        if inside is None:
            return str(shown)
        return f"[{shown}]({posixpath.relpath(inside, posixpath.dirname(page) or '.')}{mark}{anchor})"

    return re.sub(r"\[([^\]]+)\]\(([^)\s]+)\)", moved, text)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _words(text: str) -> str:
    """Return text for a cell that is no code: signs of HTML are shown, but in what is code already."""
    pieces = re.split("(`[^`]*`)", _cell(text))
    return "".join(piece if piece.startswith("`") else html.escape(piece, quote=False) for piece in pieces)
