"""Names, numbers and dates in a sentence, found by their form alone."""
# ruff: noqa: SIM905 (word lists are read and edited as text)

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from memrl.envs.asking.passages import LEANING, STOP
from memrl.envs.terms import told_language
from memrl.envs.text import words

SpanKind = Literal["name", "number", "date", "thing"]
MONTHS = "January February March April May June July August September October November December".split()
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
_MONTH = "|".join(MONTHS)
_DATE = re.compile(
    rf"\b(?:(?:{_MONTH}) \d{{1,2}}(?:st|nd|rd|th)?(?:, ?\d{{4}})?"
    rf"|\d{{1,2}}(?:st|nd|rd|th)? (?:of )?(?:{_MONTH})(?:,? \d{{4}})?"
    rf"|(?:{_MONTH}),? \d{{4}}|\d{{4}}-\d\d-\d\d|(?:1[0-9]|20)\d\d(?![\w%-])(?![.,]\d)|\d{{1,4}} (?:BCE?|AD|CE)"
    rf"|(?:{'|'.join(DAYS)}))(?!\w)"
)
_DATED = re.compile(
    r"(?:\b(?:in|on|by|until|till|since|from|to|of|about|around|before|after|between|and|during|year|early|late|mid|for|next"
    r"|this|last|at|year) |\()$",
    re.IGNORECASE,
)
"""What stands before a date that is one by itself, and no part of a name ("the 1991 Gulf War")."""
_TIME = re.compile(r"\b\d{1,2}(?::\d\d)? ?(?:AM|PM|am|pm|a\.m\.|p\.m\.)(?!\w)|\b\d{1,2}:\d\d(?![\w:])")
_NUMBER = re.compile(
    r"(?<![\w.,/:$€£¥(–-])[$€£¥]?\d{1,3}(?:,\d{3})+(?:\.\d+)?(?![\w,/:(–-])"
    r"|(?<![\w.,/:$€£¥(–-])[$€£¥]?\d+(?:\.\d+)?(?![\w/:(–-]|,\d|\.\d)"
)
_SCALE = re.compile(r"(?: ?%| percent| per cent)?(?: (?:hundred|thousand|million|billion|trillion))?")
_GOES_ON = re.compile(r"[-/–\"”)]|,? (?:(?:of|for|&)(?: the)? [A-Z\"“]|[A-Z(\d])|, [A-Z]\w+,? and [A-Z]\w+ [A-Z]")
_GOES_BEFORE = re.compile(r"[A-Z][\w’'-]*\.? (?:(?:of|for|and|&)(?: the)? )?$|[\"“/–-]$|[A-Z]\w*, $")
"""What stands beside a name that is but a part of a longer one, or one of a list."""
_PEOPLE = re.compile(
    r"(?:[a-z](?:ish|ese|ians?|cans?|eans?)|^(?:Bible|God|Jews?|Poles|Internet|Web|West|East|North|South|Western|Eastern"
    r"|Northern|Southern|French|Dutch|German|Greek|Earth|Sun|Moon|State|Court|Council|Parliament|King|Queen|Emperor))$"
)
"""Peoples, languages, quarters of the sky and the like: a reader guesses them from what stands around."""
_THING = re.compile(r"\b(?:a|an|the|to|of|as|in|at|for|with|from|my|our|some) ((?:[a-z]{3,30} )?[a-z]{4,30})[.!]$")
_TOKEN = re.compile(r"\S+")
NEVER = frozenset(MONTHS) | frozenset(DAYS) | frozenset(
    "I I'm I've I'll I'd The A An And But Or So If In On At By For With From As Of To Mr Mrs Dr AD BC CE BCE AM PM OK"
    " TV First Second Third Fourth Chapter Article Section Part Act Day Week Step Option Phase Point Level Table"
    " Figure".split()
)  # fmt: skip
INNER = ("of", "de", "du", "van", "von", "al", "ibn", "bin")
"""Small words inside names."""
MOST_CAPITALS = 0.45
"""Share of the words of a sentence that may bear capitals; more are a title's."""
JOINING = frozenset(
    """in on at by for with from as of to and or but is was are were be been has had have will would can could may might
    who whom which that when where while after before during until since because though although than then through
    against between into under over about around near within without across along among did does do said became began
    made took gave won lost led went came wrote founded built moved died lived born""".split()
)
"""Words beside a name that show it to be one by itself, and no part of a longer phrase ("French troops")."""


@dataclass(frozen=True)
class Span:
    """A part of a sentence that can be asked for."""

    kind: SpanKind
    text: str
    start: int
    end: int


def spans(sentence: str, known: frozenset[str] = frozenset()) -> list[Span]:
    """Return the names, numbers and dates of a sentence, none inside another.

    Args:
        known: words that are names elsewhere, where no sentence begins: they may be one at its beginning too.
    """
    found: list[Span] = []

    def free(start: int, end: int) -> bool:
        return all(end <= span.start or start >= span.end for span in found)

    taken: list[tuple[int, int]] = []
    for pattern in (_DATE, _TIME):
        for match in pattern.finditer(sentence):
            taken.append(match.span())
            if free(match.start(), match.end()) and _DATED.search(sentence[max(0, match.start() - 10) : match.start()]):
                found.append(Span("date", match[0], match.start(), match.end()))
    for match in _NUMBER.finditer(sentence):
        scale = _SCALE.match(sentence, match.end())
        end = scale.end() if scale is not None else match.end()
        before = sentence[: match.start()].split()[-1:]
        part_of_name = (
            bool(before) and before[0][:1].isupper() and len(before[0]) > 1 and sentence.split()[0] != before[0]
        )
        dated = any(match.start() < last and first < end for first, last in taken)
        if free(match.start(), end) and not part_of_name and not dated:
            found.append(Span("number", sentence[match.start() : end], match.start(), end))
    for start, end in _names(sentence, known) if _capitals_tell(sentence) else ():
        if free(start, end) and not _is_letters(sentence[start:end]):
            found.append(Span("name", sentence[start:end], start, end))
    return sorted(found, key=lambda span: span.start)


def _capitals_tell(sentence: str) -> bool:
    """Return whether a capital is a sign of a name: not in German, and not in titles."""
    said = _TOKEN.findall(sentence)
    return (
        sum(word[:1].isupper() for word in said) <= MOST_CAPITALS * len(said)
        and told_language(words(sentence)) != "german"
    )


def _is_letters(name: str) -> bool:
    """Return whether a name is a word of initials ("KPIs", "PIN"), which stands for common words."""
    return " " not in name and sum(sign.isupper() for sign in name) > max(1, len(name) / 2)


def _names(sentence: str, known: frozenset[str]) -> Iterator[tuple[int, int]]:
    """The runs of words with capitals, "of" and the like between them."""
    run: list[re.Match[str]] = []
    tokens = list(_TOKEN.finditer(sentence))
    for place, token in enumerate(tokens):
        word = token[0].strip("\"'“”‘’().,;:!?")
        capital = word[:1].isupper() and word not in NEVER and word.casefold() not in LEANING
        begins = place == 0 or tokens[place - 1][0][-1] in ":.!?" or token[0][0] in '"“‘('
        if begins and capital:
            capital = word in known
        after = " ".join(token[0] for token in tokens[place + 1 : place + 3])
        if capital:
            run.append(token)
            if token[0][-1] in '.,;:!?)"”' and not re.fullmatch(r"(?:[A-Z]|St|Dr|Mr|Mrs|Jr)\.", token[0]):
                yield _extent(run)
                run = []
        elif (
            run and word in INNER and (after[:1].isupper() or (after.startswith("the ") and after[4:5].isupper()))
        ) or (run and word == "the" and run[-1][0] == "of" and after[:1].isupper()):
            run.append(token)
        else:
            if run:
                yield _extent(run)
            run = []
    if run:
        yield _extent(run)


def _extent(run: list[re.Match[str]]) -> tuple[int, int]:
    start, end = run[0].start(), run[-1].end()
    text = run[0].string
    while start < end and not text[start].isalnum():
        start += 1
    for ending in ("'s", "’s"):
        if text[start:end].rstrip('.,;:!?)"”').endswith(ending):
            end = start + text[start:end].rindex(ending)
    while end > start and not text[end - 1].isalnum():
        end -= 1
    return start, end


def known_names(sentences: Iterable[str]) -> frozenset[str]:
    """Return the words that bear a capital where no sentence begins, more often than not."""
    large: Counter[str] = Counter()
    small: Counter[str] = Counter()
    for sentence in sentences:
        for token in _TOKEN.findall(sentence)[1:]:
            word = token.strip("\"'“”‘’().,;:!?")
            if word[:1].isupper():
                large[word] += 1
            elif word:
                small[word.capitalize()] += 1
    return frozenset(word for word, count in large.items() if count > small[word] and word not in NEVER)


def thing(sentence: str) -> Span | None:
    """Return what a sentence ends in, where that is a thing: "a striped goldfish", "allergic to sesame"."""
    match = _THING.search(sentence)
    return None if match is None else Span("thing", match[1], match.start(1), match.end(1))


def is_whole(span: Span, sentence: str) -> bool:
    """Return whether a name stands by itself: beside it are signs, or words that join phrases."""
    before = re.findall(r"[\w’'-]+|[^\w\s]", sentence[: span.start])[-1:]
    after = re.findall(r"[\w’'-]+|[^\w\s]", sentence[span.end :])[:1]
    if _GOES_ON.match(sentence, span.end) or _GOES_BEFORE.search(sentence[max(0, span.start - 60) : span.start]):
        return False
    if before and (before[0][:1].isupper() and before[0].isalnum() and before[0] not in NEVER and len(before[0]) > 1):
        return span.start == 0
    if sentence.startswith(("'s ", "’s "), span.end) and sentence[span.end + 3 : span.end + 4].isupper():
        return False
    if " " not in span.text and _PEOPLE.search(span.text):
        return False
    follows = not after or not after[0][:1].isalnum() or after[0].casefold() in JOINING or after[0][:1] in "'’"
    return follows and (not before or before[0] not in "-/–")


def telling(text: str) -> bool:
    """Return whether a name has a word that tells something."""
    return any(word.casefold() not in STOP and len(word) > 1 for word in text.split())
