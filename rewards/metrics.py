r"""Question metrics: an answer and its accepted golds go in, a score in [0, 1] comes out.

No metric asks a model, and none fails on an answer, however strange: whatever a model says is scored. Text is matched
on word boundaries, so that "yes" is not found in "yesterday" nor "no" in "know"; only `substring_memalpha` matches as
the reference does.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence

from memrl.rewards.code import code_rules
from memrl.rewards.compose import unknown_name

Metric = Callable[[str, Sequence[str]], float]

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_BOXED = re.compile(r"\\boxed\s*\{\s*([+-]?[0-9]+)\s*\}")
_INTEGER = re.compile(r"[+-]?[0-9]+")
_LETTER = re.compile(r"(?<![\w'])((?<=\()[A-Za-z](?=\))|[B-HJ-Z]|A(?=[.,:;)]|\s*$)|I(?=[.,:;)]|\s*$))(?![\w'])")
ABSTENTION_WORDS = 12


def _lower(text: str) -> str:
    """Lower case, each run of white space one blank."""
    return " ".join(text.lower().split())


def _normalise(text: str) -> str:
    """SQuAD's normalisation: lower case, no ASCII punctuation, no articles, single blanks.

    Text of nothing but articles and punctuation ("The", "+") stays as it is; else it would equal an empty answer.
    """
    bare = " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())
    return bare or _lower(text)


def stands_in(needle: str, haystack: str) -> bool:
    """Whether `needle` stands in `haystack` as whole words, whatever the case and spacing."""
    words = _lower(needle)
    return bool(words) and re.search(rf"(?<!\w){re.escape(words)}(?!\w)", _lower(haystack)) is not None


def _f1(common: int, answer: int, gold: int) -> float:
    return 2.0 * common / (answer + gold) if common else 0.0


def exact_match(answer: str, golds: Sequence[str]) -> float:
    """1 where the answer equals a gold after SQuAD's normalisation."""
    given = _normalise(answer)
    return float(bool(given) and any(given == _normalise(gold) for gold in golds))


def substring(answer: str, golds: Sequence[str]) -> float:
    """1 where a gold stands in the answer as whole words."""
    return float(any(stands_in(gold, answer) for gold in golds))


def substring_memalpha(answer: str, golds: Sequence[str]) -> float:
    """1 where a gold, lower-cased, is anywhere in the answer: the reference's rule, inside words too."""
    return float(any(gold.lower() in answer.lower() for gold in golds))


def token_f1(answer: str, golds: Sequence[str]) -> float:
    """SQuAD's F1 over the bag of normalised words, the best over the golds."""
    given = Counter(_normalise(answer).split())

    def one(gold: str) -> float:
        wanted = Counter(_normalise(gold).split())
        return _f1((given & wanted).total(), given.total(), wanted.total())

    return max(map(one, golds), default=0.0)


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
    r"""ROUGE-L: F1 of the longest common subsequence of words (`\w+`, lower-cased), the best over the golds."""
    given = re.findall(r"\w+", answer.lower())

    def one(gold: str) -> float:
        wanted = re.findall(r"\w+", gold.lower())
        return _f1(_common_subsequence(wanted, given), len(given), len(wanted))

    return max(map(one, golds), default=0.0)


def _integer(text: str) -> str:
    """One spelling for each integer. As text: `int` refuses numbers of over 4,300 digits, and a model may print one."""
    digits = text.lstrip("+-").lstrip("0") or "0"
    return f"-{digits}" if text.startswith("-") and digits != "0" else digits


def boxed(answer: str, golds: Sequence[str]) -> float:
    r"""1 where the last `\boxed{}` that holds an integer holds a gold. The last: listing every label must not pay.

    Raises:
        ValueError: a gold is no integer, which is a fault of the data.
    """
    for gold in golds:
        if not _INTEGER.fullmatch(gold.strip()):
            raise ValueError(f"the metric 'boxed' needs integer golds, not {gold!r}. Choose another metric for it.")
    given = _BOXED.findall(answer)
    return float(bool(given) and any(_integer(given[-1]) == _integer(gold.strip()) for gold in golds))


def abstention(answer: str, golds: Sequence[str]) -> float:
    """1 where the answer says that it is not known, in one of the golds' words, and little else: an answer and a doubt
    after it is no abstention."""
    return float(len(answer.split()) <= ABSTENTION_WORDS and any(stands_in(gold, answer) for gold in golds))


def choice(answer: str, golds: Sequence[str]) -> float:
    """1 where the one option that the answer names, a letter that stands alone ("B", "(b)", "Answer: B."), is the gold.

    An answer that names several names none; "A" and "I" as words of a sentence do not count as letters.
    """
    bare = answer.strip().strip(".:()[]*` ")
    named = [bare] if len(bare) == 1 else [match[1] for match in _LETTER.finditer(answer)]
    letters = {letter.upper() for letter in named}
    return float(len(letters) == 1 and letters.pop() in {gold.strip().upper() for gold in golds})


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
    "token_f1": token_f1,
    "rouge_l": rouge_l,
    "boxed": boxed,
    "abstention": abstention,
    "choice": choice,
    "keyword_coverage": keyword_coverage,
    "parts_coverage": parts_coverage,
    "code_rules": code_rules,
}


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
