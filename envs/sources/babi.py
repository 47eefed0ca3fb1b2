r"""bAbI tasks (arXiv 1502.05698), in their text format: numbered lines of a story, with questions among them.

    1 Mary moved to the bathroom.
    2 Where is Mary? \tbathroom\t1

A line with the number 1 begins a new story. A question is asked where it stands, and what comes after may change its
answer; so only the last question of a story is asked, of all lines before it.

An answer of several words has commas and no blanks: a path ("s,w"), right in this order alone, or things in any order,
which are scored by F1. Stories are told apart by their file too: train and test both begin at line 1.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePath
from typing import Annotated, Literal

from pydantic import Field

from memrl.envs.building.chunking import Unit
from memrl.envs.building.documents import Document, DocumentQuestion, Packing
from memrl.envs.building.left_out import leave_out
from memrl.envs.building.locating import archives_with
from memrl.envs.building.raw import contents, is_archive, lines_of, text_lines
from memrl.envs.building.source import Source
from memrl.envs.errors import DataError

_LINE = re.compile(r"(\d+) (.+)")
_NAME = re.compile(r"(qa\d+(?:_.+)?)_(?:train|valid|test)\.txt")
DIRECTIONS = {"n": "north", "s": "south", "e": "east", "w": "west"}


def read(
    path: Path,
    folder: str = "en",
    task: Annotated[int | None, Field(ge=1, le=20)] = None,
    part: Literal["train", "valid", "test"] = "train",
) -> Iterator[Document]:
    """One document a story, up to its last question.

    Args:
        path: a file such as qa1_single-supporting-fact_train.txt, or qa1_valid.txt of `en-valid`, plain or .gz; or
            tasks_1-20_v1-2.tar.gz, or the folder that it unpacks to.
        folder: of an archive or folder: which of its folders (en, en-10k, en-valid, ...).
        task: of an archive or folder: this task alone; None: all twenty.
        part: of an archive or folder: the files of this part.

    Raises:
        DataError: the file is missing, or a line is not of this format: its number and what is wrong.
    """
    if not path.is_dir() and not is_archive(path):
        yield from _stories(path.name, str(path), text_lines(path))
        return
    for where, data in contents(path, f"{folder}/qa{task or '*'}_*{part}.txt"):
        yield from _stories(PurePath(where.rsplit(", ", 1)[-1]).name, where, lines_of(data, where))


def _stories(name: str, path: str, lines: Iterable[str]) -> Iterator[Document]:
    task = found[1] if (found := _NAME.match(name)) else name.split(".")[0]
    name = name.removesuffix(".gz").removesuffix(".txt")
    story: list[tuple[int, str, int]] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        parsed = _LINE.fullmatch(line.strip("\r\n"))
        if parsed is None:
            raise DataError(f"{path}, line {number}: it must begin with a number and a blank. Check the file.")
        if int(parsed[1]) == 1 and story:
            yield from _document(name, task, story, path)
            story = []
        story.append((int(parsed[1]), parsed[2], number))
    yield from _document(name, task, story, path)


def _document(file: str, task: str, story: list[tuple[int, str, int]], path: str) -> Iterator[Document]:
    last = max((place for place, (_, text, _) in enumerate(story) if "\t" in text), default=None)
    if last is None:
        raise DataError(
            f"{path}: the story that ends in line {story[-1][2] if story else 0} asks nothing. Check the file."
        )
    unasked = sum("\t" in text for _, text, _ in story) - 1
    leave_out("before the last question of their story", f"{path}, line {story[0][2]}", unasked)
    told = [(number, text) for number, text, _ in story[:last] if "\t" not in text]
    text, answer, *support = (part.strip() for part in story[last][1].split("\t"))
    keys = " ".join(support).split()
    if not told or not text or not answer or len(support) != 1 or not all(key.isdigit() for key in keys):
        raise DataError(
            f"{path}, line {story[last][2]}: a question is its text, its answer and the numbers of the lines that "
            "support it (none, in some tasks), with tabs between them, after the story. Check the file."
        )
    name = f"{file}-{story[0][2]}"
    units = tuple(Unit(sentence, (str(number),)) for number, sentence in told)
    answers, metric = _golds(answer)
    yield Document(name, units, (DocumentQuestion(name, text, answers, metric, tuple(keys) or None, task),))


def _golds(answer: str) -> tuple[tuple[str, ...], str]:
    parts = answer.split(",")
    if len(parts) == 1:
        return (answer,), "exact_match"
    listed = (", ".join(parts), answer)  # to a metric, "a, b" is two words and "a,b" one
    if DIRECTIONS.keys() >= set(parts):
        return (*listed, ", ".join(DIRECTIONS[part] for part in parts)), "exact_match"
    return listed, "token_f1"


def _locate(files: list[Path]) -> list[Path]:
    plain = [file for file in files if _NAME.fullmatch(file.name.removesuffix(".gz"))]
    return plain + archives_with("en/qa1_*train.txt", files)


SOURCE = Source(
    name="babi",
    read=read,
    about="short stories of who went where, and one question on each",
    stage=Packing(chunk_tokens=24),
    home="https://research.facebook.com/downloads/babi/",
    licence="CC BY 3.0",
    kind="synthetic",
    tried="format",
    locate=_locate,
)
