"""The steps that wrote what an answer was taken from, and those that lost it, as far as the words tell.

A reader is shown more than it needs, often the whole memory, so that an item was shown says little. A word of the
answer tells more: it was taken from the item shown that holds it, of several from the one that has most in common with
question and answer, and it was brought there by the step that wrote it into the memory. Later steps that wrote the item
anew and kept the word could have lost it. So the core paragraph, which a step writes anew as a whole, is not all the
last writer's. Nor is a copy: what repeats another item just as the step found it, in all its words or in all that
question and answer have, goes on where that one was, be it still held or deleted by the step.

What an episode has lost is told by the better answers of others: it held a text with all that such an answer was taken
from, and holds none in the end. The last step that took one away has lost it, not the step that wrote it.

Invariants: the shares of an answer sum to one, and what is moved to those that lost it sums to zero.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from memrl.envs.terms import terms
from memrl.records import AnswerRecord, Episode

Array = NDArray[np.float64]


class Text(NamedTuple):
    """The text of an item from one step on."""

    step: int
    said: frozenset[str] | None
    """Its terms; None: the item was deleted."""


class WordSource(NamedTuple):
    """An item that a word of an answer was taken from."""

    item: str
    word: str
    needed: frozenset[str]
    """All words of question and answer that its text holds."""
    weight: float
    """The part of the answer; those of an answer sum to one."""


class Writers:
    """The texts that the steps of an episode wrote, by item."""

    def __init__(self, episode: Episode) -> None:
        self._steps = len(episode.steps)
        self._texts: dict[str, list[Text]] = {}
        self._having: dict[str, dict[str, None]] = defaultdict(dict)
        """Items that ever had a word, in the order in which they came to it."""
        times = {item["id"]: item.get("time") or "" for item in episode.memory.get("items", [])}
        for number, step in enumerate(episode.steps):
            for change in step.diff:
                item, after = change["id"], change["after"]
                said = None if after is None else frozenset(terms(f"{times.get(item, '')} {after}"))
                self._texts.setdefault(item, []).append(Text(number, said))
                for word in said or ():
                    self._having[word][item] = None

    def share(self, answer: AnswerRecord, spill: float) -> Array | None:
        """Return each step's share in an answer; they sum to one.

        Args:
            spill: share of a word that goes, in equal parts, to later steps that wrote its item anew and kept it.

        Returns:
            None where nothing can be told: nothing was shown that a step wrote, no word of it stands in the answer or
            the question, or the text does not say the answer and nothing was to be found.
        """
        sources = self.sources(answer)
        if not sources:
            return None
        row = np.zeros(self._steps)
        for source in sources:
            row += source.weight * self._writers(source.item, len(self._texts[source.item]) - 1, source, spill)
        return row

    def sources(self, answer: AnswerRecord) -> list[WordSource]:
        """Return what an answer was taken from; nothing where that cannot be told."""
        last = {item: texts[-1].said for item, texts in self._texts.items()}
        shown = {item: text for item in answer.retrieved if (text := last.get(item)) is not None}
        if not answer.answerable:
            return []
        said, asked = set(terms(answer.answer)), set(terms(answer.question))
        holders = _holders(said | asked, shown)
        # What the question has already tells less of where the answer is from; alone, it must do ("yes", a letter).
        telling = next((words for words in (said - asked, said & asked, asked) if words & holders.keys()), set())
        match = {item: sum(1.0 / len(items) for items in holders.values() if item in items) for item in shown}
        found: list[WordSource] = []
        for word in sorted(telling & holders.keys()):
            most = max(match[item] for item in holders[word])
            best = [item for item in holders[word] if match[item] == most]
            # A word counts the less the more items have it: one in all of them tells nothing.
            weight = 1.0 / (len(best) * len(holders[word]))
            found += [WordSource(item, word, shown[item] & (said | asked), weight) for item in best]
        whole = sum(source.weight for source in found)
        return [source._replace(weight=source.weight / whole) for source in found]

    def moved(self, sources: Sequence[WordSource], spill: float) -> Array:
        """Return what the steps that lost the sources of another episode's answer are charged, and those that had
        written them here are spared. It sums to zero."""
        row = np.zeros(self._steps)
        lost = {needed: self._lost(needed) for needed in {source.needed for source in sources}}
        for source in sources:
            if (found := lost[source.needed]) is not None:
                step, item, place = found
                row += source.weight * self._writers(item, place, source, spill)
                row[step] -= source.weight
        return row

    def _lost(self, needed: frozenset[str]) -> tuple[int, str, int] | None:
        """The last step that took away a text with some words, its item and its place; None where none was held, or
        one still is."""
        having = min((self._having.get(word, {}) for word in sorted(needed)), key=len)
        if any(_holds(self._texts[item][-1], needed) for item in having):
            return None
        lost = [
            (after.step, item, place)
            for item in having
            for place, (before, after) in enumerate(pairwise(self._texts[item]))
            if _holds(before, needed) and not _holds(after, needed)
        ]
        return max(lost, key=lambda one: one[0], default=None)

    def _writers(self, item: str, place: int, source: WordSource, spill: float) -> Array:
        """The steps' shares in the word of a source, as it stands in the text of an item at a place."""
        chain: list[int] = []
        at: tuple[str, int] | None = (item, place)
        while at is not None:
            chain.append(self._texts[at[0]][at[1]].step)
            at = self._before(*at, source)
        row = np.zeros(self._steps)
        *kept, brought = chain
        row[brought] = 1.0 - spill if kept else 1.0
        row[kept] = spill / max(len(kept), 1)
        return row

    def _before(self, item: str, place: int, source: WordSource) -> tuple[str, int] | None:
        """The text that the word in a text goes on from: the item's own before it, or another's that just before held
        all that the new one has of question and answer, or nothing that the new one lacks; the oldest of several. None
        where the word is new."""
        texts = self._texts[item]
        now = texts[place]
        if place and _holds(texts[place - 1], {source.word}):
            return item, place - 1
        said = now.said or frozenset()
        copied = [
            (other, last)
            for other in self._having.get(source.word, {})
            if (last := sum(text.step < now.step for text in self._texts[other]) - 1) >= 0
            and _holds(text := self._texts[other][last], {source.word})
            and (_holds(text, said & source.needed) or said >= (text.said or said))
        ]
        return min(copied, key=lambda one: self._texts[one[0]][one[1]].step, default=None)


def _holds(text: Text, words: frozenset[str] | set[str]) -> bool:
    return text.said is not None and words <= text.said


def _holders(words: set[str], shown: Mapping[str, frozenset[str]]) -> dict[str, Sequence[str]]:
    """Return the items shown that hold each word, in the order in which they were shown; not the words without any."""
    found = {word: [item for item, said in shown.items() if word in said] for word in sorted(words)}
    return {word: items for word, items in found.items() if items}
