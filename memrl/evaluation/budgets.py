"""Budgets of a memory as shares of the text that it is about, stream by stream.

The text's tokens are those of its chunks' texts, by the policy's tokenizer; dates, headings and prompts are not among
them. What a memory holds is counted as ever, with the ids and dates of its items, so a share of 1 is less than holding
the text word for word takes.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

from memrl.config import MemoryConfig
from memrl.errors import ConfigError
from memrl.evaluation.suites import settings_of

_WRITTEN = re.compile(r"[+-]?[0-9]{1,9}(?:/[0-9]{1,9}|\.[0-9]{1,9})?")
_REMEDY = "write shares of the text above 0 and up to 1, as in --budgets 1/8,1/4,1/2,1"
_SET = "memory.budget"


def read_budgets(words: str) -> tuple[Fraction, ...]:
    """Return the budgets that are written with commas between them, least first.

    Raises:
        ConfigError: one is no number, 0 or less, or above 1, or stands there twice; or there is none.
    """
    found = [(word.strip(), _read(word.strip())) for word in words.split(",") if word.strip()]
    if not found:
        raise ConfigError(f"--budgets names no budget: {_REMEDY}")
    for share, count in Counter(share for _, share in found).items():
        if count > 1:
            same = ", ".join(word for word, other in found if other == share)
            raise ConfigError(f"--budgets has the same budget {count} times ({same}): name it once")
    return tuple(sorted(share for _, share in found))


def _read(word: str) -> Fraction:
    try:
        share = Fraction(word) if _WRITTEN.fullmatch(word) else None
    except ZeroDivisionError:
        share = None
    if share is None:
        raise ConfigError(f"--budgets: {word!r} is no number: {_REMEDY}")
    if not 0 < share <= 1:
        where = "above 1, more than the whole text" if share > 1 else "not above 0, so nothing fits in it"
        raise ConfigError(f"--budgets: {word} is {where}; {_REMEDY}")
    return share


def check_free(suites: Sequence[str], overrides: Sequence[str]) -> None:
    """Refuse budgets beside settings that say the budget too.

    Raises:
        ConfigError: a suite, or a setting for all of them, sets `memory.budget`.
    """
    for whose, settings in (("a setting", overrides), *((f"suite {words!r}", settings_of(words)) for words in suites)):
        if any(setting.split("=", 1)[0].strip() == _SET for setting in settings):
            raise ConfigError(f"{whose} sets {_SET}, and --budgets sets it for each stream: leave one of them out")


def at_share(memory: MemoryConfig, share: Fraction, chunk_tokens: int) -> MemoryConfig:
    """Return the settings of a memory that may hold a share of a text: its tokens are rounded down, but one is left;
    the core may take all of them at most. What is shown of it stays as it is."""
    budget = max(1, int(share * chunk_tokens))
    return replace(memory, budget=budget, core_budget=min(memory.core_budget, budget))


def share_in_words(share: float) -> str:
    """Return `1/8` of 0.125."""
    return str(Fraction(share).limit_denominator(1_000_000))
