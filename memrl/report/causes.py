"""The causes of wrong answers: what became of the text that says the answer, on its way from the chunk to the reader.

A wrong answer has exactly one cause, the first of these that holds:

- `disputable`: the gold or the metric is in doubt. The answer holds a gold word for word, and nothing else but words of
  the question, and was scored as wrong; the judge rejects what the metric accepts; or the reader is right about the
  question without any memory, which `memrl eval` finds out where the baseline `nothing` is measured beside (`known`).
- `stored_falsely`: a text about the question was stored that no chunk says, and the answer is taken from it, or no text
  that says the answer was ever stored.
- `never_stored`: no text that says the answer was ever in the memory, and none was refused by the budget.
- `lost`: one was, and is no longer: overwritten or deleted; or the budget refused it.
- `not_retrieved`: the memory holds one, and the reader was shown none.
- `beside_older`: the reader was shown one, beside an older text about the same that says something else, and the answer
  is taken from that.
- `misread`: the reader was shown one, and answered otherwise. Also every other wrong answer to a question that the text
  does not answer.

Whether a text says an answer is told by words: it holds a gold word for word, and more than half of what the sentence
of the chunk has in common with the question, names and numbers all; where no sentence holds a gold word for word (a
yes, a letter, another wording), half of the content words of the sentence that has most in common with question and
gold. So the causes are as good as words are: a paraphrase that shares none of them counts as not stored.

Invariant: the causes of an episode's wrong answers are as many as its wrong answers.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property, lru_cache
from typing import Any

from memrl.envs.building.prose import sentences
from memrl.envs.stream import Chunk
from memrl.envs.text import stands_in
from memrl.envs.tools import ResultCode, ToolCall
from memrl.records import AnswerRecord, Step
from memrl.rewards.content import anchors, content_words, unfaithful

RIGHT = 0.5
"""The score below which an answer is wrong."""
ABOUT = 0.5
"""Share of the words that evidence and question have in common, above which a text is about the question: of two, both
are needed, since "Dora owns a goose" does not say who owns a goat."""


class Cause(StrEnum):
    """One cause of a wrong answer."""

    NEVER_STORED = "never_stored"
    LOST = "lost"
    STORED_FALSELY = "stored_falsely"
    NOT_RETRIEVED = "not_retrieved"
    BESIDE_OLDER = "beside_older"
    MISREAD = "misread"
    DISPUTABLE = "disputable"


IN_WORDS = {
    Cause.NEVER_STORED: "never stored",
    Cause.LOST: "stored, later lost",
    Cause.STORED_FALSELY: "stored falsely",
    Cause.NOT_RETRIEVED: "stored, not retrieved",
    Cause.BESIDE_OLDER: "retrieved beside an older version",
    Cause.MISREAD: "retrieved, misread",
    Cause.DISPUTABLE: "gold disputable",
}
"""Each cause as a person reads it, in the order in which a text gets lost."""


@dataclass(frozen=True)
class Sentence:
    """A sentence of a chunk."""

    chunk: int
    text: str


@dataclass(frozen=True)
class Why:
    """The cause of one wrong answer, and where to look."""

    cause: Cause
    detail: str
    """One sentence."""
    evidence: Sentence | None = None
    """The sentence that says the answer, where one does."""
    item: str | None = None
    """The item that decides."""
    step: int | None = None
    """Index of the step that decides: which lost it, wrote it falsely, or should have stored it."""

    @classmethod
    def of(cls, cause: Cause, detail: str, evidence: Sentence | None, one: HeldText) -> Why:
        """Return a cause that a text decides."""
        return cls(cause, detail, evidence, one.item, one.step if one.step >= 0 else None)


@dataclass(frozen=True)
class HeldText:
    """A text that stood in the memory."""

    step: int
    """Index of the step that wrote it; -1: it is held, and no step is known to have written it (a baseline's)."""
    item: str
    content: str
    time: str = ""
    """That the item bears in the final memory."""
    ended: int | None = None
    """Index of the step that overwrote or deleted it; None: it is in the final memory."""
    deleted: bool = False

    @cached_property
    def text(self) -> str:
        """The content with its time."""
        return f"({self.time}) {self.content}" if self.time else self.content


class Reading:
    """An episode as the causes are told from it: what was read, what was written when, what is left.

    Args:
        chunks: what was read; without it (older runs) the evidence is not known, and golds alone tell.
        steps: of the episode, in order.
        memory: the final one, as a snapshot.
        known: evidence by question id that other episodes of the same stream have found out; what is found out here
            joins it.
    """

    def __init__(
        self,
        chunks: Sequence[Chunk],
        steps: Sequence[Step],
        memory: Mapping[str, Any],
        known: dict[str, Evidence] | None = None,
    ) -> None:
        self.chunks = chunks
        self.steps = steps
        self.items: dict[str, Mapping[str, Any]] = {item["id"]: item for item in memory.get("items", [])}
        self.written = list(_history(steps, self.items))
        self._held = {one.item: one for one in self.written if one.ended is None}
        self._passages = [(chunk.text, chunk.time or "") for chunk in chunks]
        self._evidence = {} if known is None else known
        self._false: dict[tuple[int, str], bool] = {}
        self._refused: list[tuple[int, str]] | None = None
        self._having: dict[str, list[HeldText]] | None = None

    def evidence(self, answer: AnswerRecord) -> Evidence:
        """Return the evidence of a question of the stream."""
        found = self._evidence.get(answer.question_id)
        if found is None:
            found = self._evidence[answer.question_id] = Evidence(answer, self.chunks)
        return found

    def shown(self, answer: AnswerRecord) -> list[HeldText]:
        """Return what the reader was shown, as far as the final memory holds it."""
        return [self._held[item] for item in answer.retrieved if item in self._held]

    def with_words(self, words: Collection[str]) -> Sequence[HeldText]:
        """Return the texts that have one of the words, the rarest; all where no word is given."""
        if self._having is None:
            self._having = defaultdict(list)
            for one in self.written:
                for word in content_words(one.text):
                    self._having[word].append(one)
        return min((self._having.get(word, ()) for word in words), key=len, default=self.written)

    def stamp(self, one: HeldText) -> str:
        """Return the time that an item which is gone bore, as its call's result tells it. The final memory does not
        keep it; of one that it holds the text has it. Where no result tells (older episodes), an episodic item bore its
        chunk's, if none was named."""
        if one.ended is None or one.item in self.items:
            return ""
        step = self.steps[one.step]
        written = [result for result in step.results if result.item_id == one.item]
        if time := next((result.time for result in reversed(written) if result.time), None):
            return time
        store = next((result.store for result in written), None)
        return self.chunks[step.chunk].time or "" if store == "episodic" and step.chunk < len(self.chunks) else ""

    def age(self, one: HeldText) -> tuple[int, int]:
        """Return a number that is greater for the later of two texts of the final memory."""
        order = self.items.get(one.item, {}).get("order")
        return one.step, order if isinstance(order, int) else 0

    def is_false(self, one: HeldText) -> bool:
        """Return whether no chunk that was read by then says a text."""
        key = one.step, one.item
        if key not in self._false:
            self._false[key] = self._no_chunk_says(one)
        return self._false[key]

    def _no_chunk_says(self, one: HeldText) -> bool:
        step = self.steps[one.step] if one.step >= 0 else None
        if not self._passages:  # an older run, which kept what grading found
            return any(check.unfaithful for check in (step.checks if step else ()) if check.item_id == one.item)
        passages = self._passages[: step.chunk + 1] if step else self._passages
        if any(one.content in text for text, _ in passages):
            return False
        return bool(unfaithful(one.content, passages))

    def refused(self) -> Sequence[tuple[int, str]]:
        """Return the index of the step and the text of each call that the budget has refused."""
        if self._refused is None:
            self._refused = [
                (number, _said(call))
                for number, step in enumerate(self.steps)
                for call, result in zip(step.calls, step.results, strict=False)
                if result.code is ResultCode.OVER_BUDGET
            ]
        return self._refused


def _said(call: ToolCall) -> str:
    """Return the text that a call would have written: its content, of a tool that has none its longest argument."""
    texts = [value for value in call.arguments.values() if isinstance(value, str)]
    return str(call.arguments.get("content") or max(texts, key=len, default=""))


def _history(steps: Sequence[Step], items: Mapping[str, Mapping[str, Any]]) -> Iterator[HeldText]:
    """Yield every text that stood in the memory, in the order of writing; what no step has written comes first."""
    held: dict[str, HeldText] = {}
    ended: list[HeldText] = []
    for number, step in enumerate(steps):
        for change in step.diff:
            item, after = change["id"], change["after"]
            if (before := held.pop(item, None)) is not None:
                ended.append(replace(before, ended=number, deleted=after is None))
            if after is not None:
                # The stamp of an item is kept in the final memory alone.
                held[item] = HeldText(number, item, after, str(items.get(item, {}).get("time") or ""))
    for item, found in items.items():
        if item not in held:
            held[item] = HeldText(-1, item, str(found["content"]), str(found.get("time") or ""))
    yield from sorted([*ended, *held.values()], key=lambda one: one.step)


@lru_cache(maxsize=4_096)
def sentences_of(text: str) -> tuple[str, ...]:
    """Return a chunk's sentences."""
    return tuple(sentences(text))


class Evidence:
    """The sentences that say the answer to a question, and with them what a text must say to hold it.

    Args:
        answer: names question, golds, and evidence chunks where they are known.
    """

    def __init__(self, answer: AnswerRecord, chunks: Sequence[Chunk]) -> None:
        self.golds = [gold for gold in answer.gold if gold.strip()]
        self.answerable = answer.answerable
        asked = content_words(answer.question)
        gold_words = frozenset().union(*map(content_words, self.golds))
        places = answer.evidence if answer.evidence else range(len(chunks))
        found = [
            (Sentence(place, text), chunks[place].time or "")
            for place in places
            if place < len(chunks)
            for text in sentences_of(chunks[place].text)
        ]
        holding = [(one, time) for one, time in found if self._holds_gold(one.text, time)]
        self.verbatim = bool(holding) or not found
        ranked = [
            (len(content_words(one.text) & (asked if holding else asked | gold_words)), one)
            for one, _ in holding or found
        ]
        most = max((count for count, _ in ranked), default=0)
        best = [one for count, one in ranked if count == most] if most or holding else []
        self.sentences = best
        self.evidence = best[-1] if best else None  # of equals the latest: what is told last holds
        said = frozenset().union(*(content_words(one.text) for one in best))
        self.keys = (asked & said if best else asked) - gold_words
        self.names = anchors(answer.question) & self.keys
        self._said = content_words(self.evidence.text) if self.evidence else asked | gold_words

    def _holds_gold(self, text: str, time: str = "") -> bool:
        whole = f"({time}) {text}" if time else text
        return any(stands_in(gold, whole) for gold in self.golds)

    def about(self, text: str) -> bool:
        """Return whether a text is about the question."""
        words = content_words(text)
        enough = len(words & self.keys) > ABOUT * len(self.keys)
        return bool(self.keys) and self.names <= words and enough

    def says(self, text: str, time: str = "") -> bool:
        """Return whether a text says the answer; `time` is when it was said, where the text does not bear it."""
        if self.verbatim:  # the words first: they are known of each text, and a search in it is not
            return (not self.keys or self.about(text)) and self._holds_gold(text, time)
        return len(content_words(text) & self._said) >= max(1, ABOUT * len(self._said))


def why_wrong(answer: AnswerRecord, reading: Reading) -> Why | None:
    """Return the cause of an answer; None where it is right."""
    if answer.score >= RIGHT:
        return None
    wanted = reading.evidence(answer)
    if (doubt := _doubt(answer, wanted.answerable)) is not None:
        return Why(Cause.DISPUTABLE, doubt)
    shown = reading.shown(answer)
    if not wanted.answerable:
        return _should_abstain(answer, reading, shown)

    def says(one: HeldText) -> bool:
        return wanted.says(one.text, reading.stamp(one))

    holders = [one for one in reading.with_words(wanted.names) if says(one)]
    left = [one for one in holders if one.ended is None]
    seen = [one for one in left if one.item in answer.retrieved]
    evidence = wanted.evidence
    taken = [one for one in shown if one not in seen and taken_from(answer.answer, one.text)]
    from_right = any(taken_from(answer.answer, one.text) for one in seen)
    if not from_right and (false := next((one for one in taken if reading.is_false(one)), None)):
        detail = f"The answer is taken from {false.item}, which no chunk says."
        return Why.of(Cause.STORED_FALSELY, detail, evidence, false)
    if not holders:
        return _not_stored(reading, wanted)
    if not left:
        gone = max(holders, key=lambda one: (one.ended or 0, one.step))
        how = "deleted" if gone.deleted else "overwritten"
        chunk = "" if gone.ended is None else f" at chunk {reading.steps[gone.ended].chunk}"
        return Why(Cause.LOST, f"{gone.item} said it and was {how}{chunk}.", evidence, gone.item, gone.ended)
    if not seen:
        one = left[-1]
        others = len(answer.retrieved)
        shown_instead = "1 other item" if others == 1 else f"{others} other items"
        detail = f"{one.item} says it; the reader was shown {shown_instead}."
        return Why.of(Cause.NOT_RETRIEVED, detail, evidence, one)
    right = seen[-1]
    older = [one for one in taken if reading.age(one) < reading.age(right) and wanted.about(one.text)]
    if older and not from_right:
        detail = f"{right.item} says it; the answer is taken from the older {older[-1].item}."
        return Why.of(Cause.BESIDE_OLDER, detail, evidence, older[-1])
    return Why.of(Cause.MISREAD, f"The reader was shown {right.item}, which says it.", evidence, right)


def _doubt(answer: AnswerRecord, answerable: bool) -> str | None:
    """Return why the gold or the metric is in doubt; None where they are not."""
    if answer.metric_score is not None and answer.metric_score >= RIGHT:
        return f"The judge rejects what the metric ({answer.metric}) accepts."
    if not answerable or len(answer.answer) > 1_000:
        return None
    more = content_words(answer.answer) - content_words(answer.question)
    for gold in answer.gold:
        if stands_in(gold, answer.answer) and more <= content_words(gold):
            return f"The answer holds the gold word for word; the metric ({answer.metric}) does not accept it."
    return None


def _should_abstain(answer: AnswerRecord, reading: Reading, shown: Sequence[HeldText]) -> Why:
    """The cause of an answer to a question that the text does not answer."""
    taken = [one for one in shown if taken_from(answer.answer, one.text)]
    if false := next((one for one in taken if reading.is_false(one)), None):
        detail = f"The text does not answer it; {false.item}, which no chunk says, does."
        return Why.of(Cause.STORED_FALSELY, detail, None, false)
    detail = "The text does not answer it, and the reader did."
    return Why.of(Cause.MISREAD, detail, None, taken[0]) if taken else Why(Cause.MISREAD, detail)


def _not_stored(reading: Reading, wanted: Evidence) -> Why:
    """The cause where no text that says the answer was ever held."""
    evidence = wanted.evidence
    for number, text in reading.refused():
        chunk = reading.steps[number].chunk
        time = reading.chunks[chunk].time if chunk < len(reading.chunks) else None
        if wanted.says(text, time or ""):
            return Why(Cause.LOST, f"The budget refused it at chunk {chunk}.", evidence, None, number)
    about = (one for one in reading.with_words(wanted.names) if wanted.about(one.text))
    false = [one for one in about if reading.is_false(one)]
    if false:
        one = false[-1]
        return Why.of(Cause.STORED_FALSELY, f"{one.item} was stored, which no chunk says.", evidence, one)
    step = None
    if evidence is not None:
        step = next((number for number, one in enumerate(reading.steps) if one.chunk == evidence.chunk), None)
    where = "" if evidence is None else f"Chunk {evidence.chunk} says it. "
    return Why(Cause.NEVER_STORED, f"{where}Nothing that says it was ever stored.", evidence, None, step)


def taken_from(answer: str, text: str) -> bool:
    """Return whether an answer may be taken from a text: it has all its content words, and some."""
    words = content_words(answer)
    return bool(words) and words <= content_words(text)


def causes_of(answers: Iterable[AnswerRecord], reading: Reading) -> dict[str, Why]:
    """Return the cause of each wrong answer of an episode, by question id."""
    found = ((answer.question_id, why_wrong(answer, reading)) for answer in answers)
    return {question: why for question, why in found if why is not None}


def known(answers: Iterable[AnswerRecord]) -> frozenset[str]:
    """Return the ids of the questions that answers from an empty memory are right about. Of a question that the text
    does not answer that is no doubt: to abstain is right, with a memory and without."""
    return frozenset(answer.question_id for answer in answers if answer.answerable and answer.score >= RIGHT)


def counted(causes: Iterable[Cause | str]) -> dict[str, int]:
    """Return how often each cause occurs, the causes in their order; 0 for those that do not."""
    counts = Counter(str(cause) for cause in causes)
    return {cause.value: counts[cause.value] for cause in IN_WORDS}
