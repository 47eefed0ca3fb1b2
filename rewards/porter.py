"""Porter's stemmer (Porter 1980, "An algorithm for suffix stripping") with the departures of NLTK's default.

LoCoMo's scorer stems by it. Retrieval's stemmer is Porter's second one, which gives other stems ("generous" of
"generously", here "gener"), so a score that is compared with others' figures needs this one. Each stem is that of NLTK
3.10's `PorterStemmer().stem`.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise

_IRREGULAR = {
    "sky": "sky",
    "skies": "sky",
    "dying": "die",
    "lying": "lie",
    "tying": "tie",
    "news": "news",
    "innings": "inning",
    "inning": "inning",
    "outings": "outing",
    "outing": "outing",
    "cannings": "canning",
    "canning": "canning",
    "howe": "howe",
    "proceed": "proceed",
    "exceed": "exceed",
    "succeed": "succeed",
}
_STEP_2 = (
    ("ational", "ate"),
    ("tional", "tion"),
    ("enci", "ence"),
    ("anci", "ance"),
    ("izer", "ize"),
    ("bli", "ble"),
    ("alli", "al"),
    ("entli", "ent"),
    ("eli", "e"),
    ("ousli", "ous"),
    ("ization", "ize"),
    ("ation", "ate"),
    ("ator", "ate"),
    ("alism", "al"),
    ("iveness", "ive"),
    ("fulness", "ful"),
    ("ousness", "ous"),
    ("aliti", "al"),
    ("iviti", "ive"),
    ("biliti", "ble"),
    ("fulli", "ful"),
)
_STEP_3 = (
    ("icate", "ic"),
    ("ative", ""),
    ("alize", "al"),
    ("iciti", "ic"),
    ("ical", "ic"),
    ("ful", ""),
    ("ness", ""),
)
_STEP_4 = (
    *(
        "al",
        "ance",
        "ence",
        "er",
        "ic",
        "able",
        "ible",
        "ant",
        "ement",
        "ment",
        "ent",
        "ion",
        "ou",
        "ism",
        "ate",
        "iti",
    ),
    *("ous", "ive", "ize"),
)


@lru_cache(maxsize=65_536)
def porter_stem(word: str) -> str:
    """Return a word's stem, lower-cased; a word of one or two letters is its own."""
    word = word.lower()
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if len(word) < 3:
        return word
    for step in (_plural, _past, _final_y, _long_suffix, _middle_suffix, _last_suffix, _final_e, _final_l):
        word = step(word)
    return word


def _consonants(word: str) -> list[bool]:
    """Return of each letter whether it is a consonant: y is one at the beginning and behind a vowel."""
    found: list[bool] = []
    for letter in word:
        found.append(letter not in "aeiou" and (letter != "y" or not found or not found[-1]))
    return found


def _measure(stem: str) -> int:
    """Return Porter's m: how often a consonant follows a vowel."""
    letters = _consonants(stem)
    return sum(after and not before for before, after in pairwise(letters))


def _doubled(word: str) -> bool:
    return len(word) > 1 and word[-1] == word[-2] and _consonants(word)[-1]


def _short(word: str) -> bool:
    """Return whether a word ends in consonant, vowel, consonant (not w, x or y), or is vowel and consonant."""
    ending = _consonants(word)[-3:]
    return (ending == [True, False, True] and word[-1] not in "wxy") or (len(word) == 2 and ending == [False, True])


def _plural(word: str) -> str:
    """Step 1a."""
    if word.endswith("ies"):
        return word[:-1] if len(word) == 4 else word[:-2]
    if word.endswith("sses"):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word


def _past(word: str) -> str:
    """Step 1b."""
    if word.endswith("ied"):
        return word[:-1] if len(word) == 4 else word[:-2]
    if word.endswith("eed"):
        return word[:-1] if _measure(word[:-3]) else word
    for suffix in ("ed", "ing"):
        if word.endswith(suffix):
            stem = word[: -len(suffix)]
            if not all(_consonants(stem)):
                return _mended(stem)
    return word


def _mended(stem: str) -> str:
    """Return a stem with the letter that its "ed" or "ing" took from it, or without the one that it brought."""
    if stem.endswith(("at", "bl", "iz")):
        return stem + "e"
    if _doubled(stem):
        return stem if stem[-1] in "lsz" else stem[:-1]
    return stem + "e" if _measure(stem) == 1 and _short(stem) else stem


def _final_y(word: str) -> str:
    """Step 1c."""
    return f"{word[:-1]}i" if word.endswith("y") and len(word) > 2 and _consonants(word)[-2] else word


def _long_suffix(word: str) -> str:
    """Step 2."""
    if word.endswith("alli") and _measure(word[:-4]):
        return _long_suffix(word[:-2])
    for suffix, instead in _STEP_2:
        if word.endswith(suffix):
            stem = word[: -len(suffix)]
            return stem + instead if _measure(stem) else word
    if word.endswith("logi"):
        return word[:-1] if _measure(word[:-3]) else word
    return word


def _middle_suffix(word: str) -> str:
    """Step 3."""
    for suffix, instead in _STEP_3:
        if word.endswith(suffix):
            stem = word[: -len(suffix)]
            return stem + instead if _measure(stem) else word
    return word


def _last_suffix(word: str) -> str:
    """Step 4."""
    for suffix in _STEP_4:
        if word.endswith(suffix):
            stem = word[: -len(suffix)]
            kept = _measure(stem) < 2 or (suffix == "ion" and stem[-1] not in "st")
            return word if kept else stem
    return word


def _final_e(word: str) -> str:
    """Step 5a."""
    stem = word[:-1]
    if not word.endswith("e"):
        return word
    return stem if _measure(stem) > 1 or (_measure(stem) == 1 and not _short(stem)) else word


def _final_l(word: str) -> str:
    """Step 5b."""
    return word[:-1] if word.endswith("ll") and _measure(word[:-1]) > 1 else word
