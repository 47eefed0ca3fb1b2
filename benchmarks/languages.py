"""Retrieval in other languages than English: the share of questions whose evidence BM25 finds among its first five.

    .venv/bin/python benchmarks/languages.py
    .venv/bin/python benchmarks/languages.py --data FOLDER --paragraphs 50

Prints one JSON line a language, for each `xquad.LANGUAGE.json` of the folder (XQuAD, arXiv 1910.11856, or files of its
format; by default the small set of `tests/raw/languages`, which was written for this project). A memory is filled with
the sentences of the first paragraphs, and each question of theirs is searched in it: by today's terms, and by those of
before, runs of `\\w` with English endings taken off.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import snowballstemmer

from memrl.envs.building.prose import sentences
from memrl.envs.retrieval import bm25
from memrl.envs.terms import terms

HAND_MADE = Path(__file__).parents[1] / "tests" / "raw" / "languages"
_ENGLISH = snowballstemmer.stemmer("english")


def old_terms(text: str) -> list[str]:
    """Return a text's terms by the rule that this project had at first."""
    return [_ENGLISH.stemWord(word) for word in re.findall(r"\w+", text.lower())]


def cases(path: Path, paragraphs: int) -> tuple[list[str], list[tuple[str, set[int]]]]:
    """Return the sentences of a file's first paragraphs, and each question with the numbers of the sentences that hold
    its answer's first character."""
    held: list[str] = []
    asked = []
    for paragraph in list(_paragraphs(path))[:paragraphs]:
        ends = []
        place, first = 0, len(held)
        for sentence in sentences(paragraph["context"]):
            held.append(sentence)
            place = paragraph["context"].index(sentence, place) + len(sentence)
            ends.append(place)
        for ask in paragraph["qas"]:
            starts = {answer["answer_start"] for answer in ask["answers"]}
            places = {first + next(number for number, end in enumerate(ends) if start < end) for start in starts}
            asked.append((ask["question"], places))
    return held, asked


def _paragraphs(path: Path) -> Iterator[dict[str, Any]]:
    for article in json.loads(path.read_text(encoding="utf-8"))["data"]:
        yield from article["paragraphs"]


def recall(held: list[str], asked: list[tuple[str, set[int]]], rule: Callable[[str], list[str]], k: int) -> float:
    """Return the share of the questions one of whose sentences is among the first `k` found."""
    before, bm25.terms = bm25.terms, rule
    try:
        index = bm25.BM25Index()
        for number, sentence in enumerate(held):
            index.add(str(number), sentence)
        found = [{int(item) for item, _ in index.search(question, k)} for question, _ in asked]
    finally:
        bm25.terms = before
    return sum(bool(some & places) for some, (_, places) in zip(found, asked, strict=True)) / len(asked)


def measure(path: Path, paragraphs: int, k: int) -> dict[str, Any]:
    """Return the figures of one language."""
    held, asked = cases(path, paragraphs)
    return {
        "language": path.name.split(".")[1],
        "sentences": len(held),
        "questions": len(asked),
        f"old_recall@{k}": round(recall(held, asked, old_terms, k), 3),
        f"recall@{k}": round(recall(held, asked, terms, k), 3),
        "old_recall@1": round(recall(held, asked, old_terms, 1), 3),
        "recall@1": round(recall(held, asked, terms, 1), 3),
    }


def main() -> None:
    """Measure each language of the folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=HAND_MADE, help="a folder of xquad.LANGUAGE.json")
    parser.add_argument("--paragraphs", type=int, default=50, help="paragraphs of each file")
    parser.add_argument("--k", type=int, default=5, help="items that are looked at")
    given = parser.parse_args()
    files = sorted(given.data.glob("xquad.*.json"))
    if not files:
        parser.error(f"{given.data} has no file xquad.LANGUAGE.json; name another folder with --data.")
    for path in files:
        print(json.dumps(measure(path, given.paragraphs, given.k)))


if __name__ == "__main__":
    main()
