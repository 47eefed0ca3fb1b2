"""The steps that wrote what an answer was taken from, as far as that can be told from the words.

A reader is shown more than it needs, often the whole memory, so that an item was shown says little. A word of the
answer tells more: it was taken from the item shown that holds it, of several from the one that has most in common with
question and answer, and it was brought there by the step that wrote it into that item's text. Later steps that wrote
the item anew and kept the word could have lost it. So the core paragraph, which a step writes anew as a whole, is not
all the last writer's.

Invariant: the shares of an answer sum to one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from memrl.envs.terms import terms
from memrl.records import AnswerRecord, Episode

Array = NDArray[np.float64]
Texts = list[tuple[int, frozenset[str]]]
"""What an item has said so far, the last text last: the number of the step that wrote it, and its terms."""


class Writers:
    """The texts that the steps of an episode wrote, by item."""

    def __init__(self, episode: Episode) -> None:
        self._steps = len(episode.steps)
        self._texts: dict[str, Texts] = {}
        times = {item["id"]: item.get("time") or "" for item in episode.memory.get("items", [])}
        for number, step in enumerate(episode.steps):
            for change in step.diff:
                item = change["id"]
                if change["after"] is None:
                    self._texts.pop(item, None)
                else:
                    said = frozenset(terms(f"{times.get(item, '')} {change['after']}"))
                    self._texts.setdefault(item, []).append((number, said))

    def share(self, answer: AnswerRecord, spill: float) -> Array | None:
        """Return each step's share in an answer; they sum to one.

        Args:
            spill: share of a word that goes, in equal parts, to later steps that wrote its item anew and kept it.

        Returns:
            None where nothing can be told: nothing was shown that a step wrote, no word of it stands in the answer or
            the question, or the text does not say the answer and nothing was to be found.
        """
        shown = {item: self._texts[item] for item in answer.retrieved if item in self._texts}
        if not answer.answerable:
            return None
        said, asked = set(terms(answer.answer)), set(terms(answer.question))
        holders = _holders(said | asked, shown)
        # What the question has already tells less of where the answer is from; alone, it must do ("yes", a letter).
        telling = next((words for words in (said - asked, said & asked, asked) if words & holders.keys()), None)
        if telling is None:
            return None
        match = {item: sum(1.0 / len(items) for items in holders.values() if item in items) for item in shown}
        row = np.zeros(self._steps)
        for word in sorted(telling & holders.keys()):
            most = max(match[item] for item in holders[word])
            best = [item for item in holders[word] if match[item] == most]
            for item in best:
                # A word counts the less the more items have it: one in all of them tells nothing.
                row += _writers(shown[item], word, spill, self._steps) / (len(best) * len(holders[word]))
        shares: Array = row / row.sum()
        return shares


def _holders(words: set[str], shown: Mapping[str, Texts]) -> dict[str, Sequence[str]]:
    """Return the items shown that hold each word, in the order in which they were shown; not the words without any."""
    found = {word: [item for item, texts in shown.items() if word in texts[-1][1]] for word in sorted(words)}
    return {word: items for word, items in found.items() if items}


def _writers(texts: Texts, word: str, spill: float, steps: int) -> Array:
    """Return the steps' shares in a word of an item's last text."""
    chain: list[int] = []
    for number, said in reversed(texts):
        if word not in said:
            break
        chain.append(number)
    row = np.zeros(steps)
    *kept, brought = chain
    row[brought] = 1.0 - spill if kept else 1.0
    row[kept] = spill / max(len(kept), 1)
    return row
