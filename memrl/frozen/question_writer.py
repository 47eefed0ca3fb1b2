"""Questions written by a model behind an endpoint, each tried before it is kept.

A question is kept where its quote stands in the chunk word for word, its answer does not stand in the question, the
model answers it from the quote, and does not answer it from nothing. What is dropped is counted by the reason.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from memrl.config import ReaderConfig
from memrl.endpoints.client import Endpoint
from memrl.envs.asking import Asked
from memrl.envs.asking.passages import content, stands_in_question
from memrl.envs.building.splitting import share_of
from memrl.envs.building.tokens import count_tokens
from memrl.envs.dialects.thoughts import said
from memrl.envs.stream import Question, Stream
from memrl.envs.text import fold, words
from memrl.frozen.reader import INSTRUCTION
from memrl.rewards.metrics import score

TASK = """Write questions on a text that somebody reads once and must remember. Each question is asked weeks later,
without the text. So it names what it is about: people, places, things; it never says "the text", "the user" or "he".
Ask for facts that only this text tells: names, numbers, dates, choices, changes. One right answer, of at most eight
words, and no word of it in the question. Quote the one sentence that the answer stands in, word for word.
Reply with one JSON object a line, and nothing else:
{"question": "...", "answer": "...", "quote": "..."}"""
RIGHT = 0.5
"""The score of an answer from which on it is right."""
LONGEST_ANSWER = 12
"""Words."""
SPARE = 2
"""So many times more questions are asked for than are wanted, since some will be dropped."""
MOST_A_CHUNK = 8
TOKENS_A_QUESTION = 80
ANSWER_TOKENS = 48
SAME = 0.7
"""Share of the terms of two questions, of one answer, from which on they ask the same."""


@dataclass(frozen=True)
class Asking:
    """The most that is going to be asked of the endpoint, before anything is sent."""

    requests: int
    prompt_tokens: int
    completion_tokens: int
    """Estimated, as of all questions being tried twice."""

    def told(self) -> str:
        """Return it in words."""
        return (
            f"up to {self.requests:,} requests, about {self.prompt_tokens:,} tokens of prompts and "
            f"{self.completion_tokens:,} of answers (estimates)"
        )


@dataclass
class Tally:
    """Counts of what came back."""

    written: int = 0
    kept: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def told(self) -> str:
        """Return it in words."""
        dropped = "".join(f", {count:,} {why}" for why, count in self.dropped.most_common())
        return (
            f"{self.written:,} questions were written, {self.kept:,} kept; dropped{dropped or ' none'}; "
            f"{self.prompt_tokens:,} tokens of prompts, {self.completion_tokens:,} of answers"
        )


def plan(streams: Iterable[Stream], count: int, seed: int = 0) -> Asking:
    """Return the most that asking for `count` questions of each stream sends."""
    requests = prompts = completions = 0
    for stream in streams:
        places, each = _chosen(stream, count, seed)
        wanted = len(places) * each
        requests += len(places) + 2 * wanted
        prompts += sum(count_tokens(TASK) + count_tokens(stream.chunks[place].text) + 40 for place in places)
        prompts += 2 * wanted * (count_tokens(INSTRUCTION) + TOKENS_A_QUESTION)
        completions += wanted * (TOKENS_A_QUESTION + 2 * 12)
    return Asking(requests, prompts, completions)


def _chosen(stream: Stream, count: int, seed: int) -> tuple[list[int], int]:
    """The chunks that are asked about, by lot where there are more than questions, and how many questions of each."""
    filler = set(stream.metadata.get("filler", ()))
    places = [place for place in range(len(stream.chunks)) if place not in filler]
    places.sort(key=lambda place: share_of(f"{seed}/{stream.id}/{place}"))
    places = sorted(places[: count * SPARE])
    each = min(max(-(-count * SPARE // max(len(places), 1)), 1), MOST_A_CHUNK)
    return places, each


class QuestionWriter:
    """Writes and tries questions.

    Args:
        endpoint: asked; it is closed by whoever opened it.
        count: questions of a stream at most.
    """

    def __init__(self, endpoint: Endpoint, count: int, *, seed: int = 0, config: ReaderConfig | None = None) -> None:
        self._endpoint = endpoint
        self._count = count
        self._seed = seed
        self._max_tokens = ANSWER_TOKENS if config is None else config.max_tokens
        self.tally = Tally()

    async def write(self, stream: Stream) -> list[Asked]:
        """Return questions on a stream.

        Raises:
            ReaderError: the endpoint gives no answer.
        """
        places, each = _chosen(stream, self._count, self._seed)
        replies = await asyncio.gather(*(self._ask_for(stream.chunks[place].text, each) for place in places))
        found = [
            (place, *one)
            for place, reply in zip(places, replies, strict=True)
            for one in self._sound(reply, stream.chunks[place].text)
        ]
        found = self._once(found)
        tried = await asyncio.gather(*(self._try(question, answer, quote) for _, question, answer, quote in found))
        kept = [one for one, good in zip(found, tried, strict=True) if good]
        kept.sort(key=lambda one: share_of(f"{self._seed}/{stream.id}/{one[1]}"))
        kept = sorted(kept[: self._count])
        self.tally.kept += len(kept)
        return [
            Asked(
                Question(
                    id=f"{stream.id}-asked-{number}",
                    text=question,
                    answers=(answer,),
                    kind="written",
                    evidence=(place,),
                ),
                (quote,),
            )
            for number, (place, question, answer, quote) in enumerate(kept)
        ]

    async def _complete(self, messages: Sequence[dict[str, str]], max_tokens: int) -> str:
        reply = await self._endpoint.complete(messages, max_tokens)
        self.tally.prompt_tokens += reply.prompt_tokens
        self.tally.completion_tokens += reply.completion_tokens
        return said(reply.text)

    async def _ask_for(self, text: str, count: int) -> str:
        messages = [
            {"role": "system", "content": TASK},
            {"role": "user", "content": f"# Text\n{text}\n# Task\nWrite {count} questions on this text."},
        ]
        return await self._complete(messages, TOKENS_A_QUESTION * count + 64)

    def _sound(self, reply: str, text: str) -> list[tuple[str, str, str]]:
        """The questions of a reply with answer and quote, without those that are wrong by their words alone."""
        found = []
        for line in reply.split("\n"):
            if not line.strip().startswith("{"):
                continue
            self.tally.written += 1
            fault, one = _read(line, text)
            if one is None:
                self.tally.dropped[fault] += 1
            else:
                found.append(one)
        return found

    def _once(self, found: list[tuple[int, str, str, str]]) -> list[tuple[int, str, str, str]]:
        kept: list[tuple[int, str, str, str]] = []
        for one in found:
            terms = content(one[1])
            if any(
                fold(one[1]) == fold(other[1])
                or (fold(one[2]) == fold(other[2]) and len(terms & content(other[1])) >= SAME * len(terms))
                for other in kept
            ):
                self.tally.dropped["asked twice"] += 1
            else:
                kept.append(one)
        return kept

    async def _try(self, question: str, answer: str, quote: str) -> bool:
        """Return whether the model answers it from its quote, and not from nothing."""
        shown, hidden = await asyncio.gather(self._answered(question, quote), self._answered(question, ""))
        if not score("token_f1", shown, (answer,)) >= RIGHT:
            self.tally.dropped["not answered from their own quote"] += 1
        elif score("token_f1", hidden, (answer,)) >= RIGHT:
            self.tally.dropped["answered without the text"] += 1
        else:
            return True
        return False

    async def _answered(self, question: str, quote: str) -> str:
        content = f"# Memory\n{quote or '(empty)'}\n# Question\n{question}"
        return await self._complete(
            [{"role": "system", "content": INSTRUCTION}, {"role": "user", "content": content}], self._max_tokens
        )


def _read(line: str, text: str) -> tuple[str, tuple[str, str, str] | None]:
    """The question, answer and quote of a line; or why it is none."""
    try:
        value = json.loads(line.strip().rstrip(","))
        question, answer, quote = (str(value[name]).strip() for name in ("question", "answer", "quote"))
    except (ValueError, KeyError, TypeError, RecursionError):
        return "no JSON with question, answer and quote", None
    exact = _exact(quote, text)
    if not question or not answer or len(words(answer)) > LONGEST_ANSWER:
        return "without an answer, or with a long one", None
    if exact is None:
        return "whose quote does not stand in the text", None
    if stands_in_question(answer, question):
        return "that give their answer away", None
    return "", (question, answer, exact)


def _exact(quote: str, text: str) -> str | None:
    """Return the quote as the text has it, blanks aside; None where it has not."""
    plain = " ".join(text.split())
    wanted = " ".join(quote.split())
    place = plain.casefold().find(wanted.casefold()) if wanted else -1
    return plain[place : place + len(wanted)] if place >= 0 else None
