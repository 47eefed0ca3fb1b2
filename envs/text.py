"""Text as it is compared: one spelling for what looks the same, numbers as numbers, words in every script.

Metrics, the content reward, meters, checks of data and the duplicates of a memory compare texts by `fold`, `stands_in`
and `words`, so that a curly quote, a full-width digit, another Unicode form or a comma
between thousands makes no difference anywhere, and 3.14 is 314 nowhere.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

_QUOTES = "‘’‚‛′ʼ´＇"
_DOUBLE_QUOTES = "“”„‟″«»「」『』＂"
_DASHES = "‐‑‒–—―−﹣－"
_BLANKS = "\u00a0\u1680\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
_NOTHING = "\u00ad\u200b\u200c\u200d\u200e\u200f\u2060\u2061\u2062\u2063\u2064\ufeff\ufe0e\ufe0f"
_PLAIN = str.maketrans(
    {
        **dict.fromkeys(_QUOTES, "'"),
        **dict.fromkeys(_DOUBLE_QUOTES, '"'),
        **dict.fromkeys(_DASHES, "-"),
        **dict.fromkeys(_BLANKS, " "),
        **dict.fromkeys(_NOTHING, ""),
        **{chr(wide): chr(wide - 0xFEE0) for wide in range(0xFF01, 0xFF5F) if chr(wide) not in "＂＇－"},
        "…": "...",
    }
)
UNSPACED_RANGES = (
    # Kana, ideographs, Bopomofo, Thai, Lao, Tibetan, Burmese, Khmer.
    "\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff\u3040-\u312f\u31a0-\u31bf\u31f0-\u31ff\u3400-\u4dbf"
    "\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U0001b000-\U0001b16f\U00020000-\U0003ffff"
)
"""Scripts without blanks between words."""
_HANGUL = "\uac00-\ud7a3"
# Thousands are grouped by three, in India by two above the first three.
_GROUPED = re.compile(r"(?<![\w.,'])(?:\d{1,3}(?:,\d{2,3})*,\d{3}|\d{1,3}(?:'\d{3})+)(?!\w|,\d)")
_ANY_GROUPED = re.compile(
    rf"(?<![.,'])(?<!(?![{UNSPACED_RANGES}{_HANGUL}])\w)(?:\d{{1,3}}(?:,\d{{2,3}})*,\d{{3}}|\d{{1,3}}(?:'\d{{3}})+)"
    rf"(?!(?![{UNSPACED_RANGES}{_HANGUL}])\w|,\d)"
)
"""The same where a number may stand between characters without a blank."""
_PROCLITICS = frozenset(["و", "ف", "ب", "ك", "ل", "ال", "وال", "فال", "بال", "كال", "لل", "ولل"])
"""Arabic's "and", "so", "in", "like", "to", "the", which are written together with the word that they stand before."""
_SHORTEST_AFTER_PROCLITIC = 4
"""Letters. So many need not be the end of another word."""
_OTHER_DIGIT = re.compile(r"(?![0-9])\d")
_ASCII_WORD = re.compile(r"(?<!\w)\d+(?:[.,:]\d+)*(?!\w)|\w+")
_UNSPACED = re.compile(f"[{UNSPACED_RANGES}]")
_SEPARATORS = ".,:"


def plain(text: str) -> str:
    """Return the text with one spelling for what looks the same, its case and lines kept: the composed form of Unicode,
    plain quotes, dashes, digits and blanks, nothing invisible, no commas between thousands."""
    if not text.isascii():
        text = unicodedata.normalize("NFC", text).translate(_PLAIN)
        text = _OTHER_DIGIT.sub(lambda found: str(unicodedata.decimal(found[0])), text)
        return _ANY_GROUPED.sub(_ungrouped, text)
    return _GROUPED.sub(_ungrouped, text)


@lru_cache(maxsize=32)  # several golds are looked for in one text; few, since a text may be a whole document
def fold(text: str) -> str:
    """Return the text as texts are compared: plain, case folded, each run of blanks and line ends one blank."""
    folded = " ".join(plain(text).casefold().split())
    return folded if folded.isascii() else unicodedata.normalize("NFC", folded)


def _ungrouped(match: re.Match[str]) -> str:
    return re.sub(r"[^0-9]", "", match[0])


def words(text: str) -> list[str]:
    """Return the words of a text, folded: runs of letters and marks, whole numbers (3.14, 12:30), and single characters
    of scripts that put no blanks between words. Where a text has none of these, each of its signs is one."""
    folded = fold(text)
    found: list[str] = (_ASCII_WORD if folded.isascii() else _any_word()).findall(folded)
    return found or [sign for sign in folded if not sign.isspace()]


def unspaced_runs(text: str) -> list[str]:
    """Return the words of a text as `words` does, but a run of a script without blanks as one: who reads its characters
    by twos must know which are neighbours."""
    folded = fold(text)
    return _any_word(runs=True).findall(folded) or [sign for sign in folded if not sign.isspace()]


def character_words(run: str) -> list[str]:
    """Return the characters of a run, each with its marks."""
    return _character().findall(run)


def pairs(run: str) -> list[str]:
    """Return what stands for a run of a script without blanks: its characters two by two, or the one that it has."""
    signs = character_words(run)
    return ["".join(signs[place : place + 2]) for place in range(len(signs) - 1)] or signs


def word_count(text: str) -> int:
    """Return how many words a text has, where a bound is meant as one of English: of scripts without blanks, two
    characters count as a word."""
    return length(words(text))


def length(found: list[str]) -> int:
    """Return how many words these are, two single characters of a script without blanks being one."""
    return len(found) - sum(map(is_unspaced, (word[0] for word in found))) // 2


@lru_cache(maxsize=2)
def _any_word(runs: bool = False) -> re.Pattern[str]:
    single, inside = word_patterns()
    one = f"(?:{single})+" if runs else single
    beside = f"(?![{_HANGUL}]){inside}"  # in Korean what is counted follows a number without a blank
    return re.compile(rf"(?<!{beside})\d+(?:[.,:]\d+)*(?!{beside})|{one}|(?:{inside})+")


@lru_cache(maxsize=1)
def word_patterns() -> tuple[str, str]:
    """Return two regular expressions: a character of a script without blanks with its marks, and a character or mark of
    any other word. Python's `\\w` leaves out marks: vowel signs would cut a word of Hindi in pieces."""
    marks = _marks()
    return (
        rf"(?![{_unspaced_signs()}])[{UNSPACED_RANGES}][{marks}]*",
        rf"(?![{UNSPACED_RANGES}])[\w{marks}]",
    )


@lru_cache(maxsize=1)
def _character() -> re.Pattern[str]:
    marks = _marks()
    return re.compile(rf"[^{marks}][{marks}]*|[{marks}]+")


@lru_cache(maxsize=1)
def _unspaced_signs() -> str:
    """The signs between words (a middle dot, a Burmese full stop) that the scripts without blanks have among their
    characters."""
    return "".join(
        re.escape(sign)
        for sign in map(chr, range(0xE00, 0x3130))
        if is_unspaced(sign) and unicodedata.category(sign)[0] in "PSZ"
    )


@lru_cache(maxsize=1)
def _marks() -> str:
    return "".join(sign for sign in map(chr, range(0x300, 0x1E94B)) if unicodedata.category(sign)[0] == "M")


def is_unspaced(character: str) -> bool:
    """Return whether a character belongs to a script that puts no blanks between words."""
    return _UNSPACED.match(character) is not None


def has_particles(character: str) -> bool:
    """Return whether a character is Korean: particles follow such a word without a blank."""
    return "\uac00" <= character <= "\ud7a3"


def is_word(character: str) -> bool:
    """Return whether a character is part of a word: a letter, a digit, or a mark on one (a vowel sign, say)."""
    return character.isalnum() or character == "_" or unicodedata.category(character)[0] == "M"


def stands_in(needle: str, haystack: str) -> bool:
    """Return whether `needle` stands in `haystack` as whole words and whole numbers, however the two are spelt.

    5 does not stand in 3.5, in -5 or in 1,500; 1000 stands in "1,000 people". A word of a script without blanks may
    stand anywhere; in Korean, particles may follow, and in Arabic "and", "in", "the" and their like may stand before.
    """
    wanted, text = fold(needle), fold(haystack)
    if not wanted:
        return False
    place = text.find(wanted)
    while place >= 0:
        if _begins(text, place) and _ends(text, place + len(wanted)):
            return True
        place = text.find(wanted, place + 1)
    return False


def _begins(text: str, place: int) -> bool:
    """Return whether a word or number begins at `place`."""
    if place == 0:
        return True
    before, first = text[place - 1], text[place]
    if first.isdigit():
        # A minus sign belongs to the number, a hyphen between two words or numbers does not.
        if before == "-" and not (place > 1 and is_word(text[place - 2])):
            return False
        if before in _SEPARATORS and place > 1 and text[place - 2].isdigit():
            return False
    if "\u0621" <= first <= "\u064a" and _after_proclitic(text, place):
        return True
    return not _joined(before, first)


def _after_proclitic(text: str, place: int) -> bool:
    """Return whether an Arabic word begins at `place` behind nothing but what is written together with it."""
    start, end = place, place
    while start and is_word(text[start - 1]):
        start -= 1
    while end < len(text) and is_word(text[end]):
        end += 1
    return end - place >= _SHORTEST_AFTER_PROCLITIC and text[start:place] in _PROCLITICS


def _ends(text: str, place: int) -> bool:
    """Return whether a word or number ends before `place`."""
    if place == len(text):
        return True
    last, after = text[place - 1], text[place]
    if last.isdigit() and after in _SEPARATORS and text[place + 1 : place + 2].isdigit():
        return False
    if has_particles(last):
        return True
    return not _joined(last, after)


def _joined(left: str, right: str) -> bool:
    """Return whether two neighbours belong to one word."""
    if unicodedata.category(right)[0] == "M":  # a vowel sign or accent belongs to what it stands on
        return is_word(left)
    if (left.isdigit() and has_particles(right)) or (has_particles(left) and right.isdigit()):
        return False
    return is_word(left) and is_word(right) and not is_unspaced(left) and not is_unspaced(right)
