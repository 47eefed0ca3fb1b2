"""Sentences that something can be asked about: where they stand, who says them, and what stands alone.

Speakers are told from the text, where a chunk's lines begin with "Name: " again and again.
"""
# ruff: noqa: SIM905 (word lists are read and edited as text)

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import overload

from memrl.envs.building.prose import sentences
from memrl.envs.stream import Chunk
from memrl.envs.terms import terms
from memrl.envs.text import fold, words

ROLES = frozenset("user assistant system human bot ai chatgpt claude gpt model tool agent unknown".split())
"""Speakers that are parts in a talk and no persons."""
ANSWERING = frozenset("assistant bot ai chatgpt claude gpt model tool agent".split())
"""Speakers whose words are mostly no news of the user."""
_OPENER = re.compile(
    r"(?:(?:So|Yes|Yeah|Yep|No|Nope|Okay|OK|Ok|Well|Alright|Right|Oh|Ah|Hmm|And|But|Also|Honestly|Actually|Anyway"
    r"|By the way|Good news|Guess what|Hey|Hi|Great|Perfect|Thanks|Thank you)[,:!.…-]{1,5} "
    r"|(?:So|And|But|Also|Oh) )+"
)
"""What people begin a sentence with in talk, and what it can do without."""
FEWEST_WITH_IT = 10
"""Words: a shorter sentence of a talk with "it" tells too little of what it is."""
_VAGUE = frozenset("it that them one again then there".split())
_ENDS = frozenset(".!。！।؟۔")
_POINTS = re.compile(r"\b(?:this|these|those|the latter|the former|respectively)\b", re.IGNORECASE)
_PERSONAL = frozenset("you your yours you're you've you'll you'd we our".split())
_SPEAKER = re.compile(r"([^\s:][^:\n]{0,39}): (?=\S)")
_NO_NAME = re.compile(r"[\d*#|\"“(\[<>_/]")
"""Signs that no speaker's name has where nobody says who speaks."""
LEANING = frozenset(
    """he she it they this that these those his her their its such here there then thus however therefore also another
    both others one some many most all each him them another afterwards later meanwhile instead similarly likewise
    additionally furthermore moreover finally consequently hence nevertheless nonetheless yet but and or so because
    which who whom whose while although though if when where what how why either neither same latter former yes no
    initially eventually originally subsequently previously currently typically usually common
    sure ok okay oh well great thanks thank sounds absolutely definitely""".split()
)
"""First words of a sentence that leans on what stood before it, or says nothing."""
_BAD = re.compile(r"https?://|www\.|[{}<>|\\#*=_`~\[\]→]|\S{30}|:(?=\s)")
"""Signs of code, tables, links, headings and marks, in which a gap is no fair question."""
_ITEM = re.compile(r"\s*(?:[-*+•|#>]|\d{1,3}[.)]\s|[a-zA-Z][.)]\s)")
"""The beginning of a line of a list, a table or a heading."""
_LEANS = re.compile(
    r"^[‘“'\"(]"
    r"|^(?:For (?:example|instance|today|now|the date|next|your|you|me)|Given|Scheduled|Once|If you|Note that|Overall"
    r"|In (?:fact|addition|other words|summary|short|conclusion|contrast|general|particular|turn|response)"
    r"|As (?:a result|such|well|mentioned)|Of course|At the same time|By (?:the end|doing)|On the other hand"
    r"|After (?:this|that|completing)|First|Second|Third|Finally|Please|Let me|Let's"
    r"|The (?:following|above|latter|former|same|other|others|answer|result|agreement|first|second|third))(?!\w)"
    r"|^(?:\S+ ){0,5}(?:this|these|those|such|following|above|aforementioned|that's)\b"
    r"|\b(?:as follows|mentioned above)\b"
)
"""What a sentence says that points to others beside it."""
ALIKE = 0.7
"""Share of its terms that a sentence must have in common with another for a gap in it to be unclear."""
NEAR = 0.6
"""Share of the terms of a text that sentences near it have."""
STOP = frozenset(
    """a an the of to in on at by for with from as is are was were be been being am and or but nor so if than that this
    these those it its he she they we you i me my mine your yours his her hers our ours their theirs him them us who
    whom whose which what when where why how not no do does did have has had having will would can could may might must
    shall should there here up down out over under into onto about after before between through during also very just
    more most some any all each other another such only own same too then now get got let like one two really much
    many well back still even been because while until against within without among per via both either neither
    i'm i've i'd i'll it's that's don't didn't can't isn't wasn't you're we're they're there's let's what's""".split()
)
"""Words that tell nothing about what a sentence is about."""


@dataclass(frozen=True)
class Statement:
    """A sentence of a chunk."""

    text: str
    chunk: int
    """0-based index."""
    speaker: str | None
    time: str | None
    number: int
    """Its place among all sentences of the text."""
    content: frozenset[str] = field(default_factory=frozenset)
    """Terms (words without endings) that tell what it is about."""


def passages(
    chunks: Sequence[Chunk], known: frozenset[str] | None = None, skipped: frozenset[int] = frozenset()
) -> list[Statement]:
    """Return the sentences of a text, with their speakers where it is a talk; lists, tables and headings are left out.

    Args:
        known: who speaks; None: it is told from the text.
        skipped: chunks that nothing is asked about.
    """
    all_known = known is not None
    known = speakers(chunks) if known is None else known
    longest = max(map(len, known), default=0)
    found: list[Statement] = []
    for index, chunk in enumerate(chunks):
        speaker: str | None = None
        lost = False  # whoever speaks may be somebody whose name was not told from the text
        for line in chunk.text.split("\n"):
            name = _begun_by(line, known, longest)
            if name is not None:
                speaker, line, lost = name, line[len(name) + 2 :], False
            elif known and (match := _SPEAKER.match(line)) is not None:
                lost = lost or (not all_known and _may_be_name(match[1]))
                continue
            elif _ITEM.match(line):
                continue
            if index not in skipped and not lost:
                for whole in sentences(line):
                    opener = _OPENER.match(whole) if speaker is not None else None
                    sentence = whole[opener.end() :] if opener is not None else whole
                    found.append(Statement(sentence, index, speaker, chunk.time, len(found), content(sentence)))
    return found


def _begun_by(line: str, known: frozenset[str], longest: int) -> str | None:
    """The name that a line begins with, before ": "; the longest one, as names may have colons of their own."""
    name = None
    place = line.find(": ", 0, longest + 2)
    while place >= 0:
        if line[:place] in known:
            name = line[:place]
        place = line.find(": ", place + 1, longest + 2)
    return name


def _may_be_name(name: str) -> bool:
    return not _NO_NAME.search(name) and len(name.split()) <= 4


def speakers(chunks: Sequence[Chunk]) -> frozenset[str]:
    """Return who speaks in a text; nobody where it is no talk.

    Chunks of a talk begin with a speaker: whoever begins one is, and others that look alike ("Note: ...") are not.
    """
    first = [match[1] for chunk in chunks if (match := _SPEAKER.match(chunk.text)) is not None]
    names = Counter(name for name in first if _may_be_name(name))
    lines = Counter(
        match[1]
        for chunk in chunks
        for line in chunk.text.split("\n")
        if (match := _SPEAKER.match(line)) is not None and (match[1] in names or match[1].casefold() in ROLES)
    )
    talk = len(lines) >= 2 and len(first) >= 0.8 * len(chunks) and sum(lines.values()) >= 1.5 * len(chunks)
    return frozenset(lines) if talk else frozenset()


def content(text: str) -> frozenset[str]:
    """Return the terms of a text that tell what it is about."""
    kept = " ".join(word for word in words(text) if word not in STOP)
    return frozenset(terms(kept))


def stands_alone(passage: Statement, shortest: int = 8, longest: int = 32) -> bool:
    """Return whether a sentence can be read by itself: whole, of a fair length, leaning on nothing before it."""
    text = passage.text
    said = words(text)
    if not shortest <= len(said) <= longest or _BAD.search(text):
        return False
    first = text.lstrip("\"'“‘(")[:1]
    begins = first.isupper() or first.isdigit() or not first.isascii() or passage.speaker is not None
    last = text.rstrip("\"'”’)")[-1:]
    ends = last in _ENDS or (passage.speaker is not None and last.isalnum())  # who chats sets no full stop
    if not begins or not ends:
        return False
    if is_answer(passage) and not _PERSONAL & set(said):
        return False  # what an assistant knows of the world it would know without any memory
    if passage.speaker is None and _POINTS.search(text):
        return False
    if passage.speaker is not None and len(said) < FEWEST_WITH_IT and _VAGUE & set(said):
        return False
    return (
        said[0] not in LEANING
        and not _LEANS.search(text)
        and text.count('"') % 2 == 0
        and text.count("(") == text.count(")")
    )


def is_answer(passage: Statement) -> bool:
    """Return whether an assistant says it: such words repeat the user's, or tell of the world."""
    return passage.speaker is not None and passage.speaker.casefold() in ANSWERING


def twins(passage: Statement, others: SentenceIndex, without: frozenset[str]) -> Iterator[Statement]:
    """The other sentences that say much the same, the gap aside: whose answer a gap would be is not to be told then."""
    mine = passage.content - without
    for other in others.near(mine):
        if other.number != passage.number and len(mine & other.content) > ALIKE * len(mine):
            yield other


class SentenceIndex:
    """Sentences by their terms."""

    def __init__(self, found: Sequence[Statement]) -> None:
        self.passages = list(found)
        self._holding: dict[str, list[Statement]] = {}
        for passage in found:
            for term in passage.content:
                self._holding.setdefault(term, []).append(passage)

    def count(self, term: str) -> int:
        """Return in how many sentences a term stands."""
        return len(self._holding.get(term, ()))

    @overload
    def near(self, content: frozenset[str]) -> list[Statement]: ...
    @overload
    def near(self, content: frozenset[str], most: int) -> list[Statement] | None: ...
    def near(self, content: frozenset[str], most: int | None = None) -> list[Statement] | None:
        """Return the sentences that may have `NEAR` of the terms of a text or more, and others among them.

        Args:
            most: return None where there may be more of them.
        """
        # Who has NEAR of the terms has one of the rarest, if one more than may be missing are looked at.
        missing = int((1 - NEAR) * len(content)) + 1
        rare = sorted(content, key=lambda term: (self.count(term), term))[:missing]
        if most is not None and any(self.count(term) > most for term in rare):
            return None
        found = {passage.number: passage for term in rare for passage in self._holding.get(term, ())}
        return list(found.values())


def stands_in_question(answer: str, question: str) -> bool:
    """Return whether a question gives its answer away: all telling words of the answer stand in it."""
    telling = content(answer) or frozenset(words(answer))
    return fold(answer) in fold(question) or telling <= content(question)
