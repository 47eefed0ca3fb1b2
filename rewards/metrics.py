r"""Question metrics: an answer and its accepted golds go in, a score in [0, 1] comes out.

No metric asks a model, and none fails on an answer, however strange: whatever a model says is scored. Texts are
compared as `memrl.envs.text` folds them: "yes" is not found in "yesterday", 3.14 is not 314, -5 is not 5, and a curly
quote is a quote. Metrics that carry the name of a benchmark (`squad_*`, `hotpotqa_*`, `locomo_*`, `substring_memalpha`)
score as its own script does, weaknesses included.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence

from memrl.envs.text import fold, is_unspaced, is_word, stands_in, word_count, words
from memrl.rewards.code import code_rules
from memrl.rewards.compose import unknown_name
from memrl.rewards.porter import porter_stem

Metric = Callable[[str, Sequence[str]], float]

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_ARTICLES_AND = re.compile(r"\b(a|an|the|and)\b")
_WHOLE_ANSWERS = frozenset({"yes", "no", "noanswer"})
"""Answers that HotpotQA's script takes as a whole or not at all."""
_ASCII_PUNCTUATION = str.maketrans("", "", string.punctuation)
_BOXED = re.compile(r"\\box(?:ed)?\s*\{\s*(?:\\(?:text|textbf|mathrm|mathbf|mbox)\s*\{\s*)?([+-]?[0-9]+)\s*\}")
_INTEGER = re.compile(r"[+-]?[0-9]+")
_ANY_LETTER = r"[A-Za-z]"
_WRAP = r"[\s(\[*$\"'`_]*"
_LABEL = re.compile(rf"{_WRAP}({_ANY_LETTER})(?:[)\].:*$\"'`_]+(?:\s|$)|\s*$)")
"""An option at the very beginning: "b) Paris", "(b)", "**B**"."""
_SAID = re.compile(
    r"\b(?:answer|option|choice)\b(?:\s+(?:is|was|would be|must be|should be))?(?:\s*:)?"
    rf"{_WRAP}({_ANY_LETTER})(?![\w'])(\s+\w+)?",
    re.IGNORECASE,
)
"""An option that is called one: "The answer is b.", "Answer: $B$"."""
_LETTER = re.compile(
    r"(?<![\w'])((?<=\()[A-Za-z](?=\))|[B-HJ-Z]|[AI](?=[.,:;)*$\]]|\s*$|\s*(?:/|&|and\b|or\b)\s*[A-Z]\b)"
    r"|(?<=\bor )[AI]|(?<=\band )[AI])(?![\w'])"
)
_REASONS = frozenset({"because", "since", "as", "given", "due", "for"})
ABSTENTION_WORDS = 12
MOST_SIGNS = 4
"""Signs that may belong to one letter, as in C++."""
_NOT_KNOWN = re.compile(
    r"\b(?:(?:i |we )?(?:do|does|did|can|could|is|was|are|were|has|have)(?:n't| not|not) (?:really )?"
    r"(?:know|say|tell|answer|mention|specify|state|contain|include|provide|have|been|be|known|mentioned|specified|stated"
    r"|provided|given|answered|determined|said|told|available|recorded|possible|clear)"
    r"(?: (?:that|this|it|any|enough|an|to|the|answered|determined|known|mentioned|specified|stated"
    r"|provided|given|told|said|answer|information|mention|tell|say))*"
    r"|not (?:been )?(?:mentioned|specified|stated|provided|given|known|answerable|available|said|told|recorded|enough"
    r"|clear|sure|in (?:the|my) (?:text|memory|context))"
    r"|no (?:such )?(?:mention|information|answer|record|evidence|data|idea|details?)"
    r"|none (?:is |was )?(?:mentioned|given|stated|specified|provided|known)|unable to (?:answer|say|tell|determine)"
    r"|nothing (?:is |was )?(?:mentioned|said|known|recorded|about)"
    r"|unknown|unanswerable|unspecified|unclear|unavailable|n/a)\b"
)
"""The usual ways to say that something is not known."""
_SAYS_NOTHING = (
    "a an the i we it its that this these there is are was were be been in of on to for from about by with at and or so"
    " my our me you any such here memory text context dialogue conversation document passage information question"
    " answer details given provided available mentioned recorded stored known sorry afraid unfortunately based cannot"
    " can could sufficient enough what which who when where how have has m s re"
)
_AROUND = frozenset(_SAYS_NOTHING.split())
"""Words that say nothing beside such a phrase."""
_FIRST = re.compile(r"[^.!?]*")
_TAGGED = re.compile(r"<answer>\s*([+-]?[0-9]+)\s*</answer>", re.IGNORECASE)


def _normalise(text: str) -> str:
    """Return the text as exact_match and token_f1 compare it: folded, without articles and punctuation.

    Numbers keep what makes them what they are (a point, a minus); C++ and A+ their signs. Text of nothing but articles
    and punctuation ("The", "+") stays as it is; else it would equal an empty answer.
    """
    folded = fold(text)
    bare = "".join(_kept(folded, place) for place in range(len(folded)))
    return " ".join(_ARTICLES.sub(" ", bare).split()) or folded


def _kept(text: str, place: int) -> str:
    """Return what stays of a folded text's character."""
    sign = text[place]
    if sign.isspace() or is_word(sign):
        return f" {sign} " if is_unspaced(sign) and unicodedata.category(sign)[0] != "M" else sign
    before = text[place - 1] if place else " "
    after = text[place + 1] if place + 1 < len(text) else " "
    if after.isdigit():
        if before.isdigit():  # 3.14, 12:30; but 1914-1918, 2/3 are two numbers
            return sign if sign in ".,:" else " "
        if sign == "." or (sign == "-" and not is_word(before)):  # .5, -5
            return sign
    if sign in "+#-" and not is_word(after) and _grade(text, place):
        return sign
    if sign in string.punctuation or unicodedata.category(sign)[0] == "P":
        return ""
    return sign


def _grade(text: str, place: int) -> bool:
    """Return whether a sign belongs to the one letter before it: C++, C#, A-."""
    start = place
    while start and text[start - 1] in "+#" and place - start < MOST_SIGNS:
        start -= 1
    return start > 0 and text[start - 1].isalpha() and not (start > 1 and is_word(text[start - 2]))


def _f1(common: int, answer: int, gold: int) -> float:
    return 2.0 * common / (answer + gold) if common else 0.0


def exact_match(answer: str, golds: Sequence[str]) -> float:
    """1 where the answer equals a gold, but for case, articles, punctuation and spelling of signs and numbers."""
    given = _normalise(answer)
    return float(bool(given) and any(given == _normalise(gold) for gold in golds))


def _squad_words(text: str) -> list[str]:
    """SQuAD's normalisation (evaluate-v1.1.py): lower case, no ASCII punctuation, no articles."""
    return _ARTICLES.sub(" ", text.lower().translate(_ASCII_PUNCTUATION)).split()


def squad_em(answer: str, golds: Sequence[str]) -> float:
    """1 where SQuAD's own script (v1.1) finds the answer equal to a gold. An answer that it empties equals no gold."""
    given = _squad_words(answer)
    return float(bool(given) and any(given == _squad_words(gold) for gold in golds))


def squad_f1(answer: str, golds: Sequence[str]) -> float:
    """F1 of SQuAD's own script (v1.1): over the bag of its words, the best over the golds."""
    return max((_bag_f1(_squad_words(answer), _squad_words(gold)) for gold in golds), default=0.0)


def _bag_f1(given: Sequence[str], wanted: Sequence[str]) -> float:
    return _f1((Counter(given) & Counter(wanted)).total(), len(given), len(wanted))


def hotpotqa_f1(answer: str, golds: Sequence[str]) -> float:
    """F1 of HotpotQA's own script (v1), the best over the golds: SQuAD's, but where answer or gold is "yes", "no" or
    "noanswer" the other must be too."""
    return max((_hotpotqa_f1(_squad_words(answer), _squad_words(gold)) for gold in golds), default=0.0)


def _hotpotqa_f1(given: list[str], wanted: list[str]) -> float:
    if given != wanted and not _WHOLE_ANSWERS.isdisjoint((" ".join(given), " ".join(wanted))):
        return 0.0
    return _bag_f1(given, wanted)


def locomo_f1(answer: str, golds: Sequence[str]) -> float:
    """F1 of LoCoMo's own script (categories 2 to 4): SQuAD's over Porter stems, without "and"; the best over the
    golds."""
    given = _locomo_stems(answer)
    return max((_bag_f1(given, _locomo_stems(gold)) for gold in golds), default=0.0)


def locomo_f1_multi(answer: str, golds: Sequence[str]) -> float:
    """F1 of LoCoMo's own script for questions with several answers (category 1): a gold's parts between commas, each
    with the part of the answer that fits it best; their mean, the best over the golds."""
    given = [_locomo_stems(part) for part in answer.split(",")]

    def one(gold: str) -> float:
        wanted = [_locomo_stems(part) for part in gold.split(",")]
        return sum(max(_bag_f1(part, other) for part in given) for other in wanted) / len(wanted)

    return max(map(one, golds), default=0.0)


def locomo_abstention(answer: str, golds: Sequence[str]) -> float:
    """1 where LoCoMo's own script (category 5) takes an answer for an abstention: it holds "no information available"
    or "not mentioned", whatever stands beside it and whatever the golds are."""
    return float(any(phrase in answer.lower() for phrase in ("no information available", "not mentioned")))


def _locomo_stems(text: str) -> list[str]:
    plain = text.lower().translate(_ASCII_PUNCTUATION)
    return [porter_stem(word) for word in _ARTICLES_AND.sub(" ", plain).split()]


def substring(answer: str, golds: Sequence[str]) -> float:
    """1 where a gold stands in the answer as whole words."""
    return float(any(stands_in(gold, answer) for gold in golds))


def substring_memalpha(answer: str, golds: Sequence[str]) -> float:
    """1 where a gold, lower-cased, is anywhere in the answer: the reference's rule, inside words too."""
    return float(any(gold.lower() in answer.lower() for gold in golds))


def token_f1(answer: str, golds: Sequence[str]) -> float:
    """F1 over the bag of normalised words (SQuAD's measure), the best over the golds."""
    given = _normalise(answer).split()
    return max((_bag_f1(given, _normalise(gold).split()) for gold in golds), default=0.0)


def _common_subsequence(first: list[str], second: list[str]) -> int:
    """Length of the longest common subsequence, bit-parallel (Hyyrö 2004): linear in `second` for ordinary texts."""
    places: dict[str, int] = {}
    for index, word in enumerate(first):
        places[word] = places.get(word, 0) | (1 << index)
    full = (1 << len(first)) - 1
    state = full
    for word in second:
        hits = state & places.get(word, 0)
        state = ((state + hits) | (state - hits)) & full
    return len(first) - state.bit_count()


def rouge_l(answer: str, golds: Sequence[str]) -> float:
    """ROUGE-L: F1 of the longest common subsequence of words, the best over the golds."""
    given = words(answer)

    def one(gold: str) -> float:
        wanted = words(gold)
        return _f1(_common_subsequence(wanted, given), len(given), len(wanted))

    return max(map(one, golds), default=0.0)


def _integer(text: str) -> str:
    """One spelling for each integer. As text: `int` refuses numbers of over 4,300 digits, and a model may print one."""
    digits = text.lstrip("+-").lstrip("0") or "0"
    return f"-{digits}" if text.startswith("-") and digits != "0" else digits


def boxed(answer: str, golds: Sequence[str]) -> float:
    r"""1 where the last `\boxed{}` that holds an integer holds a gold; where there is none, the last `<answer>` that
    does; where there is none either, the answer as a whole, quoted or not (Mem-alpha's scorer takes all three).

    The last: listing every label must not pay.

    Raises:
        ValueError: a gold is no integer, which is a fault of the data.
    """
    for gold in golds:
        if not _INTEGER.fullmatch(gold.strip()):
            raise ValueError(f"the metric 'boxed' needs integer golds, not {gold!r}. Choose another metric for it.")
    text = answer if answer.isascii() else fold(answer)
    bare = text.strip().strip("\"'").strip()
    given = _BOXED.findall(text) or _TAGGED.findall(text) or ([bare] if _INTEGER.fullmatch(bare) else [])
    return float(bool(given) and any(_integer(given[-1]) == _integer(gold.strip()) for gold in golds))


def abstention(answer: str, golds: Sequence[str]) -> float:
    """1 where the answer says that it is not known, in one of the golds' words or a usual phrase, and nothing else: an
    answer beside a doubt ("Rome, or unknown") is no abstention."""
    if word_count(answer) > ABSTENTION_WORDS:
        return 0.0
    rest = fold(answer)
    found = 0
    for gold in sorted(map(fold, golds), key=len, reverse=True):
        if gold and stands_in(gold, rest):
            rest = rest.replace(gold, " ")
            found += 1
    rest, more = _NOT_KNOWN.subn(" ", rest)
    return float(found + more > 0 and {word for word in words(rest) if is_word(word[0])} <= _AROUND)


def unanswerable(metric: str, golds: Sequence[str]) -> bool:
    """Return whether a question asks for what the text does not say: its metric is for abstentions, or every gold's
    first sentence says that it is not known ("You did not mention this information. You mentioned ...")."""
    if metric in ABSTENTIONS:
        return True
    return bool(golds) and all(abstention(_first_sentence(gold), ()) == 1.0 for gold in golds)


def _first_sentence(text: str) -> str:
    found = _FIRST.match(text.strip())
    return found[0] if found else ""


def choice(answer: str, golds: Sequence[str]) -> float:
    """1 where the one option that the answer names is the gold: a letter that begins it ("b) Paris"), is called the
    answer ("The answer is b."), or stands alone ("(b)", "B").

    An answer that names several names none; "A" and "I" as words of a sentence do not count as letters.
    """
    letters = {letter.upper() for letter in _options(unicodedata.normalize("NFKC", answer))}
    return float(len(letters) == 1 and letters.pop() in {gold.strip().upper() for gold in golds})


def _options(text: str) -> list[str]:
    """The options that an answer names, by the plainest way in which it does."""
    beginning = _LABEL.match(text)
    others = [match[1] for match in _LETTER.finditer(text)]
    if beginning is not None:
        return [beginning[1], *others]
    called = []
    for match in _SAID.finditer(text):
        letter, following = match[1], (match[2] or "").strip()
        word = letter in "AIai" or letter.islower()
        if not (word and following and following.lower() not in _REASONS):
            called.append(letter)
    return called or others


def _share_found(parts: Sequence[str], answer: str) -> float:
    wanted = [part for part in parts if part.strip()]
    return sum(stands_in(part, answer) for part in wanted) / len(wanted) if wanted else 0.0


def keyword_coverage(answer: str, golds: Sequence[str]) -> float:
    """Share of the keywords found. The golds are the keywords; a single gold is a list of them split at commas."""
    return _share_found(golds if len(golds) != 1 else golds[0].split(","), answer)


def parts_coverage(answer: str, golds: Sequence[str]) -> float:
    """Share of a gold's `;`-separated parts found, the best over the golds."""
    return max((_share_found(gold.split(";"), answer) for gold in golds), default=0.0)


METRICS: dict[str, Metric] = {
    "exact_match": exact_match,
    "substring": substring,
    "substring_memalpha": substring_memalpha,
    "squad_em": squad_em,
    "squad_f1": squad_f1,
    "hotpotqa_em": squad_em,
    "hotpotqa_f1": hotpotqa_f1,
    "locomo_f1": locomo_f1,
    "locomo_f1_multi": locomo_f1_multi,
    "locomo_abstention": locomo_abstention,
    "token_f1": token_f1,
    "rouge_l": rouge_l,
    "boxed": boxed,
    "abstention": abstention,
    "choice": choice,
    "keyword_coverage": keyword_coverage,
    "parts_coverage": parts_coverage,
    "code_rules": code_rules,
}
ABSTENTIONS = frozenset({"abstention", "locomo_abstention"})
"""Metrics of questions whose right answer is that it is not known."""
SPANS = frozenset(METRICS) - ABSTENTIONS - {"rouge_l", "choice", "keyword_coverage", "parts_coverage", "code_rules"}
"""Metrics whose golds one expects to stand in the text."""


def score(metric: str, answer: str, golds: Sequence[str]) -> float:
    """Score one answer.

    Args:
        metric: a name in `METRICS`.
        golds: the accepted answers; at least one.

    Raises:
        ValueError: unknown metric (the nearest right name is given), or no gold.
    """
    if metric not in METRICS:
        raise unknown_name("metric", metric, list(METRICS))
    if not golds:
        raise ValueError(f"the metric {metric!r} needs at least one gold answer.")
    return METRICS[metric](answer, golds)
