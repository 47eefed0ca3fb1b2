"""The terms of a text: what a memory is searched by, in every language.

Words as `memrl.envs.text.words` finds them, with their endings taken off by the stemmer of their script. A word's
script is told from the word alone, so an item and a question agree, however short one of them is. Scripts without
blanks between words give their characters and the pairs of neighbours, and so does Korean, where particles cling to the
word: pairs are usual there (Nie et al. 1996 for Chinese, Lee and Ahn 1996 for Korean), characters are the shortest
words.

Latin letters do not tell a language. Each of their words is stemmed as English; where a text's function words tell
another language, its own stem joins it where it is another one. So nothing is lost where the language of a short
question is not told.
"""
# ruff: noqa: SIM905 (word lists are read and edited as text)

from __future__ import annotations

import re
from functools import cache, lru_cache
from itertools import pairwise

import snowballstemmer

from memrl.envs.text import character_words, has_particles, is_unspaced, unspaced_runs, words

LONGEST_KNOWN = 64
"""Characters of a word whose stem is remembered: others may send words of a megabyte."""
_SCRIPTS = (
    ("\u0370", "\u03ff", "greek"),
    ("\u1f00", "\u1fff", "greek"),
    ("\u0400", "\u052f", "russian"),
    ("\u0531", "\u058f", "armenian"),
    ("\u0600", "\u06ff", "arabic"),
    ("\u0750", "\u077f", "arabic"),
    ("\u0900", "\u097f", "hindi"),
    ("\u0b80", "\u0bff", "tamil"),
)
"""A script's first and last character, and the language whose stemmer serves for it."""
_FUNCTION_WORDS = {
    "german": "der das und ist nicht ein eine einen einem einer des dem den wer wo wie wann welche welcher welches"
    " warum haben wird wurde werden sind auf mit für von zu zum zur bei nach aus ich sie wir ihr ihre sein seine auch",
    "french": "le les une et est des du dans qui que quand où quel quelle quelles quels pourquoi comment combien avec"
    " sur par il elle nous vous sont ses aux ce cette je à été ont",
    "spanish": "el los las y es del qué quién quiénes cuándo dónde cuál cuáles cómo cuántos cuántas por para"
    " su sus está fue son como más desde",
    "italian": "il lo gli è di del della dei delle nel nella che chi quando dove quale quali come perché quanti"
    " quante su sono suo sua da non",
    "portuguese": "os as uma é do da dos das em no na que quem quando onde qual quais como por com para seu sua foi são"
    " não mais desde quantos quantas",
    "dutch": "het een en de zijn wie wat waar wanneer welke hoe waarom niet met voor op uit naar bij ook hij zij heeft"
    " hebben werd worden wordt haar",
    "swedish": "och är det en ett den som på av till vem när vilken vilket vilka hur varför inte har hade hon"
    " från sin sitt sedan",
    "danish": "og er det en et den som på af til hvor hvem hvornår hvilken hvilket hvilke hvordan hvorfor ikke har"
    " havde fra siden",
    "norwegian": "og er det en et den som på av til hvor hvem når hvilken hvilket hvilke hvordan hvorfor ikke har"
    " hadde fra siden",
    "finnish": "ja on ei se hän mikä mitä missä milloin kuka miten miksi kuinka että oli ovat hänen kanssa myös",
    "polish": "i na jest nie się kto co gdzie kiedy jaki jaka jakie dlaczego jak do od był była są jego jej przez",
    "czech": "a v na je není se kdo co kde kdy jaký jaká jaké proč jak do od byl byla jsou jeho její který která",
    "turkish": "ve bir bu ne kim nerede nereye zaman hangi nasıl niçin kaç için ile değil olan olarak mı",
    "hungarian": "és egy az nem ki mi hol mikor melyik hogyan miért hány volt vannak hogy aki meg",
    "romanian": "și este în din cu pe care cine ce unde când cum de câte câți nu sunt fost lui ei",
    "indonesian": "yang di ke dari ini itu dengan untuk adalah siapa apa mana kapan bagaimana mengapa berapa tidak"
    " dalam oleh",
}
_ENGLISH = frozenset(
    (
        "a an the of to in on at by for from with and or but as is are was were be been being has have had do does did"
        " will would can could may might shall should not no so that which who whom whose what when where why how it"
        " its this these those there i me my we us our you your he him his she her they them their if than then about"
        " into over after before up out off all more many much some any one two new go"
    ).split()
)
_LANGUAGES: dict[str, tuple[str, ...]] = {}
"""The languages that a function word belongs to; English words tell none."""
for _language, _listed in _FUNCTION_WORDS.items():
    for _word in _listed.split():
        if _word not in _ENGLISH:
            _LANGUAGES[_word] = (*_LANGUAGES.get(_word, ()), _language)
_TELLING = frozenset(_LANGUAGES)
_WORD = re.compile(r"\w+")
_JOINED = re.compile(r"[0-9][.,:'][0-9]")


def terms(text: str) -> list[str]:
    """Return the terms by which a text is indexed and searched for, each as often as it stands in it."""
    if text.isascii():
        # Without digits that a sign joins these are the words of `words`, found faster.
        found = words(text) if _JOINED.search(text) else _WORD.findall(text.lower())
        stems = [stem(word) for word in found]
        return stems if _TELLING.isdisjoint(found) else stems + _own_stems(found)
    stems = []
    latin = []
    for word in unspaced_runs(text):
        if is_unspaced(word[0]) or has_particles(word[0]):
            signs = character_words(word)
            stems += signs
            stems += map("".join, pairwise(signs))
        else:
            stems.append(stem(word))
            latin.append(word)
    return stems + _own_stems(latin)


def stem(word: str) -> str:
    """Return a folded word without its ending, by the stemmer of its script; of Latin letters English (Porter 2), so
    that "live" finds "lives"."""
    return _known_stem(word) if len(word) <= LONGEST_KNOWN else _new_stem(word)


def _new_stem(word: str) -> str:
    return str(_stemmer(_script(word)).stemWord(word))


_known_stem = lru_cache(maxsize=65_536)(_new_stem)


def _script(word: str) -> str:
    """Return the language whose stemmer serves for a word's script."""
    if word.isascii():
        return "english"
    return next((language for first, last, language in _SCRIPTS if first <= word[0] <= last), "english")


def _stem_of(language: str, word: str) -> str:
    known = len(word) <= LONGEST_KNOWN
    return _known_stem_of(language, word) if known else str(_stemmer(language).stemWord(word))


@lru_cache(maxsize=65_536)
def _known_stem_of(language: str, word: str) -> str:
    return str(_stemmer(language).stemWord(word))


@cache
def _stemmer(language: str) -> snowballstemmer.BaseStemmer:
    return snowballstemmer.stemmer(language)


def _own_stems(found: list[str]) -> list[str]:
    """Return the stems in a text's own language of Latin letters, where they are others than the English ones."""
    language = told_language(found)
    if language == "english":
        return []
    own = ((word, _stem_of(language, word)) for word in found if _script(word) == "english")
    return [f"{language} {stemmed}" for word, stemmed in own if stemmed != stem(word)]


def told_language(found: list[str]) -> str:
    """Return the language of Latin letters that most function words among these words belong to: English unless one
    other language has two or more of them, and more than English and each other one has. (One alone may be a name's:
    "Charles de Gaulle".)"""
    votes: dict[str, int] = {}
    english = 0
    for word in found:
        english += word in _ENGLISH
        for language in _LANGUAGES.get(word, ()):
            votes[language] = votes.get(language, 0) + 1
    most = max(votes.values(), default=0)
    best = [language for language, count in votes.items() if count == most]
    return best[0] if len(best) == 1 and most > max(english, 1) else "english"
