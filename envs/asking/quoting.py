"""Speakers: a sentence of a talk of persons, whose speaker is asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from memrl.envs.asking.passages import ROLES, stands_alone, twins
from memrl.envs.asking.scene import DraftQuestion, Scene
from memrl.envs.text import words

FEWEST_TERMS = 4
MOST_SHARE = 0.8
"""Nobody is asked about in a talk in which one person says more of the sentences: that one would be the guess."""


def quotes(scene: Scene) -> Iterator[DraftQuestion]:
    """Telling sentences of persons. A talk with an assistant has one person, of whom nobody needs to ask."""
    said = Counter(passage.speaker for passage in scene.passages if passage.speaker in scene.people)
    if len(said) < 2 or max(said.values()) > MOST_SHARE * said.total():
        return
    names = frozenset(word for name in scene.people for word in words(name))
    for passage in scene.passages:
        speaker = passage.speaker
        if (
            speaker is None
            or speaker.casefold() in ROLES
            or speaker not in said
            or not stands_alone(passage, shortest=7)
        ):
            continue
        if len(passage.content) < FEWEST_TERMS or names & set(words(passage.text)):
            continue  # who is named in it is known not to be its speaker, or to be spoken to
        if any(other.speaker != speaker for other in twins(passage, scene.index, frozenset())):
            continue
        yield DraftQuestion(
            f'Who said this?\n"{passage.text}"',
            (speaker,),
            (passage.chunk,),
            (passage.text,),
            passage.content,
            scene.rarity(passage.content) + scene.lot(passage.text),
        )
