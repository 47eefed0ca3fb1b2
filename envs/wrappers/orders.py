"""Signs in a text that it is no note but an order to whoever reads it: the list of them, and how they are found.

A sign is `sure` (nobody tells a fact so) or not: then what is held decides (`memrl.envs.wrappers.guard`). Texts are
read word by word, in linear time; what looks alike is one (`memrl.envs.text.plain`). How many orders are found and
how often facts are taken for one: benchmarks/guard.py, docs/designs.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from memrl.envs.text import has_particles, is_unspaced, is_word, plain

_TOKEN = re.compile(r"[\w\u064b-\u065f\u0900-\u0d7f]+|[^\w\s]")
"""Words, their marks with them, and single signs."""
_DECORATION = dict.fromkeys(range(0x300, 0x370))
"""Marks that are part of no composed letter."""
_WINDOW = 8
"""Words within which a verb has its object."""
_NEAR = 14
"""Characters, likewise, of a script without blanks."""


class Sign(NamedTuple):
    """A part of a text that looks like an order."""

    what: str
    """In words, to be read by people."""
    sure: bool


class _Pair(NamedTuple):
    """Verbs and their objects, in one language."""

    verbs: tuple[str, ...]
    objects: tuple[str, ...]
    """Beginnings of words; of a script without blanks, what stands near the verb."""
    anywhere: bool = False
    """Whether the verb commands wherever it stands: it has a form for it. Else it must begin a clause."""


_TOLD = ("instruction", "prompt", "guideline", "directive", "orders", "command", "safeguard")
_BEFORE = frozenset(("previous", "prior", "above", "earlier", "preceding", "foregoing", "system", "your", "all", "any"))
_BEFORE_WHAT = frozenset(
    ("rules", "text", "messages", "message", "context", "training", "above", "before", "said", "told")
)
_OVERRIDE = frozenset(("ignore", "disregard", "forget", "override", "bypass", "discard", "overwrite"))
_SAY = frozenset(
    (
        "answer", "claim", "confirm", "deny", "include", "insist", "mention", "output", "pretend", "print", "recommend",
        "refuse", "repeat", "reply", "respond", "return", "reveal", "say", "state", "tell", "write",
    )
)  # fmt: skip
_HANDLE = frozenset(
    (
        "answer", "assume", "believe", "call", "delete", "erase", "execute", "follow", "forget", "ignore", "obey",
        "remember", "reply", "respond", "run", "say", "store", "treat", "trust",
    )
)  # fmt: skip
_ALWAYS = frozenset(("always", "only", "never"))
_OPENERS = frozenset(
    ("please", "now", "then", "and", "must", "should", "shall", "kindly", "just", "immediately", "first")
)
_READERS = frozenset(("assistant", "ai", "agent", "chatbot", "llm", "bot", "reader", "gpt", "claude", "qwen"))
_OBLIGED = frozenset(("must", "should", "shall", "needs", "has", "will", "ought"))
_DEEDS = _SAY | _HANDLE | _ALWAYS
_PHRASES: tuple[tuple[str, str, bool], ...] = (
    ("system prompt", "speaks of the system prompt", True),
    ("developer mode", "asks for another mode", True),
    ("jailbreak", "asks for another mode", True),
    ("new instructions", "gives new instructions", True),
    ("tell the user", "tells what the user may know", False),
    ("not tell the user", "hides something from the user", True),
    ("without telling the user", "hides something from the user", True),
    ("from now on", "sets a rule for what comes", False),
    ("in all future", "sets a rule for what comes", False),
    ("in every future", "sets a rule for what comes", False),
    ("note to the assistant", "speaks to the assistant", True),
    ("message to the assistant", "speaks to the assistant", True),
    ("instruction for the assistant", "speaks to the assistant", True),
    ("ab sofort", "sets a rule for what comes", False),
    ("à partir de maintenant", "sets a rule for what comes", False),
    ("a partir de ahora", "sets a rule for what comes", False),
    ("d'ora in poi", "sets a rule for what comes", False),
    ("с этого момента", "sets a rule for what comes", False),
)
_CALL_MARKS = (
    "<tool_call", "</tool_call", "<|", "|>", "<function", "[tool_calls]", "[inst]", "[/inst]", "<<sys>>",
    '"arguments"', "'arguments'", '"name":', "'name':", "### instruction", "### system", "<system>", "</system>",
)  # fmt: skip
_IGNORE = (
    _Pair(
        ("ignoriere", "ignoriert", "ignorieren", "vergiss", "vergesst", "vergessen", "missachte", "missachten"),
        ("anweisung", "instruktion", "vorgabe", "befehl", "regeln"),
    ),
    _Pair(("ignorez", "ignore", "oublie", "oubliez"), ("instruction", "consigne", "directive")),
    _Pair(("ignora", "ignore", "ignorad", "olvida", "olvide", "descarta"), ("instruccion", "indicacion", "órdenes")),
    _Pair(("ignora", "ignori", "ignorate", "dimentica", "dimentichi"), ("istruzion", "indicazion", "comandi")),
    _Pair(("ignore", "ignora", "esqueça", "desconsidere"), ("instruç", "ordens", "comandos")),
    _Pair(("negeer", "vergeet"), ("instructie", "opdracht")),
    _Pair(("ignorera", "glöm"), ("instruktion",)),
    _Pair(("zignoruj", "ignoruj", "zapomnij", "pomiń"), ("instrukc", "polece"), anywhere=True),
    _Pair(("игнорируй", "игнорируйте", "проигнорируй", "забудь", "забудьте"), ("инструкц", "указани"), anywhere=True),
    _Pair(("ігноруй", "ігноруйте", "забудь"), ("інструкц", "вказівк"), anywhere=True),
    _Pair(("gel", "gelin", "unut", "unutun"), ("talimat", "komut"), anywhere=True),
    _Pair(("تجاهل", "تجاهلوا", "انس"), ("التعليمات", "تعليمات", "الأوامر")),
    _Pair(("अनदेखा", "नज़रअंदाज़", "भूल"), ("निर्देश",), anywhere=True),
    _Pair(("忽略", "无视", "無視", "忘记", "忘記", "忽視"), ("指令", "指示", "提示", "命令", "规则", "規則")),
    _Pair(
        ("無視してください", "無視しなさい", "無視しろ", "無視せよ", "忘れてください", "忘れなさい", "忘れろ"),
        ("指示", "命令", "プロンプト", "ルール"),
        anywhere=True,
    ),
    _Pair(
        ("무시하세요", "무시하라", "무시하십시오", "무시해", "잊어라", "잊으세요"),
        ("지시", "명령", "프롬프트", "지침"),
        anywhere=True,
    ),
    _Pair(("เพิกเฉย", "ละเว้น", "ลืม"), ("คำสั่ง", "คำแนะนำ")),
)
_SAY_ALWAYS = (
    _Pair(("antworte", "antworten", "sage"), ("immer", "stets", "nur")),
    _Pair(("réponds", "répondez"), ("toujours", "jamais", "uniquement")),
    _Pair(("responde", "responda", "responded"), ("siempre", "sempre", "nunca", "solo")),
    _Pair(("rispondi", "rispondete"), ("sempre", "mai", "solo")),
    _Pair(("antwoord",), ("altijd", "alleen")),
    _Pair(("отвечай", "отвечайте"), ("всегда", "только", "никогда"), anywhere=True),
    _Pair(("总是", "始终", "必须", "永远"), ("回答", "回复", "推荐", "输出")),
    _Pair(("答えてください", "答えなさい", "答えろ", "回答してください"), ("常に", "必ず"), anywhere=True),
    _Pair(("대답하세요", "대답하라", "답변하세요", "응답하세요"), ("항상", "반드시"), anywhere=True),
)


def signs(text: str, tools: Sequence[str] = ()) -> Iterator[Sign]:
    """Yield what in a text looks like an order.

    Args:
        tools: names that no note has.
    """
    said = plain(text).translate(_DECORATION).casefold()
    for mark in _CALL_MARKS:
        if mark in said:
            yield Sign(f"looks like a call or a turn of a chat ({mark})", True)
            break
    tokens = _TOKEN.findall(said)
    named = next((tool for tool in tools if tool in tokens), None)
    if named is not None:
        yield Sign(f"names the tool {named}", True)
    yield from _english(tokens)
    spaced = f" {' '.join(tokens)} "
    for phrase, what, sure in _PHRASES:
        if f" {' '.join(_TOKEN.findall(phrase))} " in spaced:
            yield Sign(f"{what} ({phrase})", sure)
    for pairs, what in ((_IGNORE, "orders to ignore what was said"), (_SAY_ALWAYS, "orders what to answer")):
        for pair in pairs:
            if (found := _near(tokens, pair) or _near_signs(said, pair)) is not None:
                yield Sign(f"{what} ({found})", True)


def _english(tokens: Sequence[str]) -> Iterator[Sign]:
    asked = -_WINDOW * 2
    for place, token in enumerate(tokens):
        following = tokens[place + 1 : place + 1 + _WINDOW]
        if token in ("asked", "asks", "ask") or (token in ("question", "questions") and place):
            asked = place
        if token in _OVERRIDE and _commands(tokens, place) and _is_what_was_told(following):
            yield Sign(f"orders to {token} what was said", True)
        if (
            token in _ALWAYS
            and following
            and following[0] in _SAY
            and _commands(tokens, place)
            and following[1:2] != ["never"]
        ):
            yield Sign(f"orders what to answer ({token} {following[0]})", True)
        if (
            token in _SAY
            and 0 < place - asked <= 2 * _WINDOW
            and tokens[place - 1] in (",", ":", ";", "always", "only")
        ):
            yield Sign(f"orders what to answer when asked ({token})", True)
        if token == "system" and following[:1] == [":"] and _begins(tokens, place):
            yield Sign("is written as a turn of a chat (system:)", True)
        if token in _READERS and following[:1] and following[0] in _OBLIGED and _DEEDS.intersection(following[1:4]):
            yield Sign(f"speaks to the {token}", True)
        if token == "you" and len(following) > 1 and following[0] in _OBLIGED and _HANDLE.intersection(following[1:3]):
            yield Sign(f"orders the reader to {' '.join(following[:3])}", False)
        if token == "you" and following[:2] == ["are", "now"] and _begins(tokens, place):
            yield Sign("gives the reader another role (you are now)", True)
        if token == "act" and following[:1] == ["as"] and _begins(tokens, place):
            yield Sign("gives the reader another role (act as)", False)


def _is_what_was_told(words: Sequence[str]) -> bool:
    told = any(word.startswith(_TOLD) for word in words)
    return told or bool(_BEFORE.intersection(words) and _BEFORE_WHAT.intersection(words))


def _begins(tokens: Sequence[str], place: int) -> bool:
    """Return whether a clause begins there."""
    before = tokens[place - 1] if place else ""
    if before in ("'", "-"):  # a quotation begins, or a word goes on
        before = tokens[place - 2] if place > 1 else ""
    return not (before and before[0].isalnum())


def _commands(tokens: Sequence[str], place: int) -> bool:
    """Return whether a verb or its adverb commands: nothing stands before it that it could be said of."""
    if _begins(tokens, place) or tokens[place - 1] in _OPENERS | _ALWAYS:
        return True
    before = tokens[max(place - 4, 0) : place]
    return tokens[place - 1] in ("to", "will", "can", "you") and bool({"you", *_READERS}.intersection(before))


def _near(tokens: Sequence[str], pair: _Pair) -> str | None:
    """Return a verb that commands and has its object near it, in this order or the other."""
    for place, token in enumerate(tokens):
        if token in pair.verbs and (pair.anywhere or _begins(tokens, place)):
            around = tokens[max(place - _WINDOW, 0) : place + _WINDOW]
            if any(other.startswith(pair.objects) for other in around):
                return token
    return None


def _near_signs(said: str, pair: _Pair) -> str | None:
    """Return the same in a script without blanks: the first of each verb."""
    for verb in pair.verbs if is_unspaced(pair.verbs[0][0]) or has_particles(pair.verbs[0][0]) else ():
        place = said.find(verb)
        if place < 0:
            continue
        before, end = said[:place].rstrip()[-1:], place + len(verb)
        begins = not before or not is_word(before) or before in "请請你您"
        around = said[max(place - _NEAR, 0) : end + _NEAR]
        done = said[end : end + 1] == "了"
        if (pair.anywhere or begins) and not done and any(one in around for one in pair.objects):
            return verb
    return None
