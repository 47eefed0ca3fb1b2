"""Any text: which of two of its passages came first, as in Book-SORT (arXiv 2410.08133)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from pydantic import Field

from memrl.envs.building.chunking import Unit
from memrl.envs.building.documents import Document, Packing
from memrl.envs.building.order import order_asks
from memrl.envs.building.prose import paragraphs
from memrl.envs.building.raw import text_lines
from memrl.envs.building.source import Source
from memrl.envs.errors import DataError

SUFFIXES = (".txt", ".md")
_CHUNK_TOKENS = 1024


def read(
    path: Path,
    per_document: Annotated[int, Field(ge=1)] = 20,
    length: Annotated[int, Field(ge=1)] = 3,
    seed: int = 0,
    chunk_tokens: Annotated[int, Field(ge=1)] = _CHUNK_TOKENS,
) -> Iterator[Document]:
    """One document a file.

    Args:
        path: a text file (.txt or .md, plain or .gz), or a folder of such files.
        per_document: how many questions a document, at most: a short one has fewer or none.
        length: sentences of a passage.
        seed: which passages are asked for, and in what order they are shown.
        chunk_tokens: the stage's; passages come from different chunks.

    Raises:
        DataError: there is no such file, or one is damaged, not UTF-8 or empty.
    """
    for file in _files(path):
        name = file.relative_to(path).as_posix() if path.is_dir() else file.name
        # Lines of Markdown (lists, tables) mean something, those of plain text were wrapped.
        texts = paragraphs("".join(text_lines(file)), unwrap=not name.removesuffix(".gz").endswith(".md"))
        if not texts:
            raise DataError(f"{file} holds no text. Remove it, or give another path.")
        units = tuple(Unit(text, (str(number),)) for number, text in enumerate(texts))
        asks = order_asks(name, units, per_document, seed, length=length, chunk_tokens=chunk_tokens)
        yield Document(name, units, tuple(asks))


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    files = sorted(file for file in path.rglob("*") if file.name.removesuffix(".gz").endswith(SUFFIXES))
    if not files:
        raise DataError(f"{path} holds no text file ({', '.join(SUFFIXES)}). Check the path.")
    return files


SOURCE = Source(
    name="order",
    read=read,
    about="which of two passages of a text came first, from any text files",
    stage=Packing(chunk_tokens=_CHUNK_TOKENS),
    tried="generated",
)
