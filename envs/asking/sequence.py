"""Order: which of two sentences of different chunks came first (after arXiv 2410.08133)."""

from __future__ import annotations

from collections.abc import Iterator

from memrl.envs.asking.passages import Statement, is_answer, stands_alone, twins
from memrl.envs.asking.scene import DraftQuestion, Scene

FEWEST_TERMS = 5


def orders(scene: Scene) -> Iterator[DraftQuestion]:
    """Pairs of sentences that stand alone and name something, each sentence in one pair."""
    fit = [passage for passage in scene.passages if _fit(scene, passage)]
    fit.sort(key=lambda passage: scene.lot(f"order/{passage.number}"))
    while fit:
        first = fit.pop()
        partner = next(
            (other for other in fit if abs(other.chunk - first.chunk) >= 1 and not _related(first, other)), None
        )
        if partner is None:
            continue
        fit.remove(partner)
        early, late = sorted((first, partner), key=lambda passage: passage.number)
        swapped = scene.lot(f"swapped/{early.number}/{late.number}") < 0.5
        a, b = (late, early) if swapped else (early, late)
        talk = scene.speakers
        yield DraftQuestion(
            f"Which came first in the {'conversation' if talk else 'text'}?\n\nA: {_shown(a)}\n\nB: {_shown(b)}\n\n"
            "Answer with the letter alone, A or B.",
            ("B" if swapped else "A",),
            (early.chunk, late.chunk),
            (early.text, late.text),
            early.content | late.content,
            (late.chunk - early.chunk) + scene.rarity(early.content) + scene.rarity(late.content),
            metric="choice",
        )


def _fit(scene: Scene, passage: Statement) -> bool:
    return (
        stands_alone(passage)
        and not is_answer(passage)
        and len(passage.content) >= FEWEST_TERMS
        and bool(scene.spans[passage.number])
        and not any(twins(passage, scene.index, frozenset()))
    )


def _related(first: Statement, other: Statement) -> bool:
    """Return whether two sentences are about the same, so that their sense may tell which came first."""
    return len(first.content & other.content) >= 3


def _shown(passage: Statement) -> str:
    return f'{passage.speaker}: "{passage.text}"' if passage.speaker else f'"{passage.text}"'
