"""The content reward without a judge: is what was stored true to the text, was it what mattered, were changes followed?

Three shares, each in [0, 1], of one step (after HaluMem, arXiv 2511.03506, which has a model grade them):

- faithful: of the texts that the step wrote, those that some chunk so far says; 1 where it wrote nothing.
- recall: of what was worth keeping of the chunk, what the memory holds after the step. Known from a source's memory
  points or notes; else from its questions, whose gold answers stand in their evidence chunks.
- updated: of the changes that the chunk tells of things in memory, those after which the new value is held and the
  old one is not.

The step's content is the mean of those that can be told. Whether a chunk says a text is decided by words alone (below):
exact for copies, fair for condensed sentences, blind to paraphrase and to swapped roles within one sentence. A judge
(`rewards.content=judge`) takes its place where that is not enough.
"""
# ruff: noqa: SIM905 (word lists are read and edited as text)

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from memrl.envs.building.prose import clauses
from memrl.envs.stream import Stream
from memrl.envs.terms import stem
from memrl.envs.text import has_particles, is_unspaced, pairs, plain, stands_in, word_patterns
from memrl.rewards.injection import gives_orders
from memrl.rewards.metrics import ABSTENTIONS

COVERED = 0.8
"""Share of a text's content words that its passage must have."""
HELD = 0.75
"""Share of a memory point's content words that an item must have."""
WINDOW = 3
"""Sentences that may say a text together, where the later ones refer to the earlier ones."""
_CLAUSE = re.compile(r"[,.!?;:()،؛]\s|[，、；：（）]|\b(?:and|but|while|although|because)\b")
_WORD = re.compile(r"[^\W_]+(?:[.'-][^\W_]+)*")
_REFERS = frozenset(
    "he she it they him her them his hers its their theirs i me my we us our you your this that these those who which "
    "there then er sie es ihm ihn ihr ihre ihren sein seine seinen dies diese dieser dieses das он она оно они его её"
    " ее ему ей им их هو هي هم هذا هذه वह वे उस उसने उसका उसकी उसके उनका उनकी उनके यह इस".split()
)
_REFERS_WITHIN = re.compile("[他她它此该]|这[些个]|彼|それ|その|これ|この|เขา|เธอ|มัน|그(?:는|가|의|를|녀|것|들)")
"""The same in languages that put no blanks between words, or particles behind them."""
_NEGATIONS = frozenset("not no never none nobody nothing neither nor without cannot".split())
_OTHER_NEGATIONS = frozenset(
    "nicht kein keine keinen keinem keiner keines nie niemals niemand nichts ohne jamais aucun aucune rien sans nunca"
    " jamás nadie нет не никогда никто ничего ничто без нельзя لا لم لن ليس ليست بدون नहीं मत बिना".split()
)
_NEGATIONS_WITHIN = re.compile(
    "不(?![同过過仅僅断斷])|没|沒|未(?![来來])|无法|無法|ない|ません|なかった|ずに|ไม่|มิได้|않|못[하했]|없|아니"
)
_STOP = frozenset(
    "a an the of to in on at by for from with and or but as is are was were be been being has have had do does did "
    "will would can could may might shall should so very also that which who whom it its this these those there i me "
    "my we us our you your he him his she her they them their user assistant says said tell told mentioned".split()
)


@dataclass(frozen=True)
class Point:
    """One thing in a chunk that is worth keeping, and what it takes the place of."""

    text: str
    replaces: tuple[str, ...] = ()
    verbatim: bool = False
    """It is a short value that must be held word for word, not a sentence."""


@dataclass(frozen=True)
class Extraction:
    """The share of what mattered that a step took; None where it cannot be told."""

    recall: float | None
    updated: float | None


def _words(text: str) -> list[str]:
    """The words of a text, as written; pairs of characters where a script puts no blanks between words, and in Korean,
    whose particles cling to them."""
    text = plain(text)
    if text.isascii():
        return _WORD.findall(text)
    found: list[str] = []
    for word in _any_word().findall(text):
        found += pairs(word) if is_unspaced(word[0]) or has_particles(word[0]) else [word]
    return found


@lru_cache(maxsize=1)
def _any_word() -> re.Pattern[str]:
    single, inside = word_patterns()
    inside = f"(?!_){inside}"
    return re.compile(rf"(?:{single})+|(?:{inside})+(?:[.'-](?:{inside})+)*")


def _negates(word: str) -> bool:
    return word in _NEGATIONS or word in _OTHER_NEGATIONS or word.endswith("n't")


def _refers(text: str) -> bool:
    """Return whether a sentence refers to what came before."""
    return not _REFERS.isdisjoint(word.casefold() for word in _words(text)) or bool(_REFERS_WITHIN.search(text))


@lru_cache(maxsize=16_384)
def content_words(text: str) -> frozenset[str]:
    """Stems of the words that carry meaning."""
    words = (word.casefold() for word in _words(text))
    return frozenset(stem(word) for word in words if word not in _STOP and not _negates(word))


@lru_cache(maxsize=16_384)
def anchors(text: str) -> frozenset[str]:
    """Stems of numbers and names, which no synonym may replace: words with digits, and capitalised ones other than a
    sentence's first."""
    words = _words(text)
    found = {word for word in words if any(letter.isdigit() for letter in word)}
    found |= {word for word in words[1:] if word[0].isupper()}
    return frozenset(stem(word.casefold()) for word in found if word.casefold() not in _STOP)


@lru_cache(maxsize=16_384)
def _negative(text: str) -> bool:
    return any(_negates(word.casefold()) for word in _words(text)) or bool(_NEGATIONS_WITHIN.search(text))


@lru_cache(maxsize=1_024)
def _windows(passage: str) -> tuple[str, ...]:
    """Single sentences, and up to WINDOW in a row whose later ones refer to what came before."""
    sentences = clauses(passage)
    windows = list(sentences)
    for start in range(len(sentences)):
        joined = sentences[start]
        for other in sentences[start + 1 : start + WINDOW]:
            if not _refers(other):
                break
            joined = f"{joined}. {other}"
            windows.append(joined)
    return tuple(windows)


def says(passage: str, text: str, time: str = "") -> bool:
    """Return whether a passage says a text, by its words.

    Each sentence of the text must have its content words (COVERED of them, and every name and number) in one sentence
    of the passage, or in a few in a row that refer to each other, and must not deny what that one does not deny.

    Args:
        time: when the passage was said; a text may add it.
    """
    return all(_said(passage, said, content_words(time)) for said in clauses(text) if content_words(said))


def _said(passage: str, sentence: str, given: frozenset[str]) -> bool:
    wanted, names = content_words(sentence) - given, anchors(sentence) - given
    whole = content_words(passage)
    if not names <= whole or len(wanted & whole) < COVERED * len(wanted):
        return False
    return any(
        names <= content_words(window)
        and len(wanted & content_words(window)) >= COVERED * len(wanted)
        and _negative(sentence) in _polarities(window, wanted)
        for window in _windows(passage)
    )


def _polarities(window: str, wanted: frozenset[str]) -> set[bool]:
    """Return whether the clauses that share most words with a text, names apart, deny something."""
    names = {stem(word.casefold()) for word in _words(window) if word[0].isupper()}
    wanted = wanted - names or wanted
    clauses = [clause for clause in _CLAUSE.split(window) if clause.strip()]
    most = max((len(wanted & content_words(clause)) for clause in clauses), default=0)
    return {_negative(clause) for clause in clauses if len(wanted & content_words(clause)) == most}


def unfaithful(text: str, passages: Sequence[tuple[str, str]]) -> str:
    """Return why a stored text is not to be trusted: it gives orders, says nothing, or no passage says it; else
    nothing.

    An order that a chunk holds word for word is no invention of the policy, but of no use either: it is refused too.

    Args:
        passages: text and time of the chunks so far, the newest last.
    """
    if gives_orders(text):
        return "it gives orders"
    if not content_words(text):
        return "it says nothing"
    if not any(says(passage, text, time) for passage, time in reversed(passages)):
        return "no chunk says it"
    return ""


def gold_points(stream: Stream) -> list[list[Point]] | None:
    """Return what is worth keeping of each chunk, where the stream lets one tell."""
    listed = stream.metadata.get("memory_points") or stream.metadata.get("notes")
    if listed is not None:
        replaced = stream.metadata.get("memory_replaces", {})
        return [[_point(given, replaced) for given in chunk] for chunk in listed]
    points: list[list[Point]] = [[] for _ in stream.chunks]
    for question in stream.questions:
        if question.metric in ABSTENTIONS | {"choice", "code_rules", "boxed"}:
            continue
        for chunk in question.evidence or ():
            said = [answer for answer in question.answers if stands_in(answer, stream.chunks[chunk].text)]
            point = Point(said[0], verbatim=True) if said else None
            if point is not None and point not in points[chunk]:
                points[chunk].append(point)
    return points if any(points) else None


def _point(given: str | Mapping[str, Any], replaced: Mapping[str, Sequence[str]]) -> Point:
    """A memory point is its text; a note says itself what it replaces."""
    if isinstance(given, str):
        return Point(given, tuple(replaced.get(given, ())))
    return Point(given["text"], (given["replaces"],) if given.get("replaces") else ())


def extraction(points: Sequence[Point], before: Sequence[str], after: Sequence[str]) -> Extraction:
    """Return how much of a chunk's points a step took.

    Args:
        before, after: texts of the memory's items before and after the step.
    """
    if not points:
        return Extraction(None, None)
    held = [_held(point, after) for point in points]
    followed = []
    for point, new in zip(points, held, strict=True):
        old = [text for text in point.replaces if any(_covers(item, text) for item in before)]
        if old:
            stale = any(_covers(item, text) and not _covers(item, point.text) for item in after for text in old)
            followed.append(new and not stale)
    return Extraction(_share(held), _share(followed) if followed else None)


def _held(point: Point, items: Iterable[str]) -> bool:
    return any(stands_in(point.text, item) if point.verbatim else _covers(item, point.text) for item in items)


def _covers(item: str, text: str) -> bool:
    wanted = content_words(text)
    return (
        bool(wanted)
        and anchors(text) <= content_words(item)
        and len(wanted & content_words(item)) >= HELD * len(wanted)
    )


def _share(found: Sequence[bool]) -> float:
    return sum(found) / len(found)


def content_value(right: Sequence[bool], taken: Extraction) -> float:
    """The step's content: the mean of the shares that can be told.

    Args:
        right: of each text that the step wrote, whether it is in order.
    """
    shares = [_share(right) if right else 1.0, taken.recall, taken.updated]
    told = [share for share in shares if share is not None]
    return sum(told) / len(told)


def content_value_memalpha(right: Sequence[bool], calls: int) -> float:
    """Mem-alpha's r4 (arXiv 2509.25911, section 3): texts of the right kind / all calls; 0 without calls.

    A call that failed wrote nothing and earns nothing, where the reference's code lets it.
    """
    return sum(right) / calls if calls else 0.0
