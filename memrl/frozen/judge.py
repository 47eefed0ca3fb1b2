"""The judge: a frozen model that grades answers and stored texts, hardened and watched.

Invariant: a verdict is what the model said in the one form that counts, repeated by as many votes as are wanted; or a
`JudgeError` is raised, which removes the episode. Nothing that fails ever reads as "rejected".
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from memrl.config import JudgeConfig, RewardConfig
from memrl.endpoints.cache import AnswerCache, CachedAnswer, request_key
from memrl.endpoints.client import Endpoint, Messages, Reply
from memrl.engines.engine import ANYWHERE, Engine, Place, Sampling
from memrl.engines.prompting import Prompter
from memrl.envs.stream import Question
from memrl.errors import JudgeError
from memrl.records import Verdict
from memrl.rewards.attacks import ATTACKS, Attack
from memrl.rewards.judge import (
    CANARIES,
    CANARY_GOLD,
    CANARY_PASSAGE,
    CANARY_QUESTION,
    CONTENT_CANARIES,
    LONGEST_TEXT,
    Request,
    VerdictError,
    answer_request,
    content_request,
    parse_verdict,
    refused_unread,
)
from memrl.rewards.metrics import ABSTENTIONS

CANARY_PLACE = Place(Place.CANARIES)
TRIES = 3
"""How often a reply that is no verdict is asked for."""
_REMINDER = "Your last reply was no such JSON object. Reply with it alone."
Accept = Callable[[str], object]


class Asker(Protocol):
    """Puts a request to the judge's model. A reply that `accept` raises `VerdictError` on is never kept."""

    async def complete(
        self, messages: Messages, max_tokens: int, *, place: Place, accept: Accept, fresh: bool
    ) -> Reply: ...

    async def close(self) -> None: ...


class EndpointAsker:
    """A model behind an OpenAI-compatible endpoint."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    async def complete(
        self, messages: Messages, max_tokens: int, *, place: Place, accept: Accept, fresh: bool
    ) -> Reply:
        return await self._endpoint.complete(messages, max_tokens, accept=accept, fresh=fresh)

    async def close(self) -> None:
        await self._endpoint.close()


class EngineAsker:
    """The policy's base model, adapter off, in the worker's own engine.

    Args:
        model: its name, by which its answers are kept.
        max_prompt_tokens: `rollout.max_prompt_tokens`.
    """

    def __init__(
        self, engine: Engine, prompter: Prompter, cache: AnswerCache | None, *, model: str, max_prompt_tokens: int
    ) -> None:
        self._engine = engine
        self._prompter = prompter
        self._model = model
        self._longest = max_prompt_tokens
        self._cache = cache

    async def complete(
        self, messages: Messages, max_tokens: int, *, place: Place, accept: Accept, fresh: bool
    ) -> Reply:
        key = request_key(self._model, messages, max_tokens)
        found = None if fresh or self._cache is None else self._cache.get(key)
        if found is not None:
            return Reply(found.text, found.prompt_tokens, found.completion_tokens, attempts=0)
        ids = self._prompter.encode([dict(message) for message in messages])
        if len(ids) > self._longest:
            raise JudgeError(
                f"the judge's prompt has {len(ids)} tokens, rollout.max_prompt_tokens allows {self._longest}. Raise "
                "it, or use judge.type=endpoint."
            )
        completion = await self._engine.generate(ids, Sampling(max_tokens, 0.0), None, place=place)
        text = self._prompter.decode(completion.ids)
        accept(text)
        if self._cache is not None and not fresh:
            self._cache.put(key, CachedAnswer(text, len(ids), len(completion.ids)))
        return Reply(text, len(ids), len(completion.ids), attempts=1)

    async def close(self) -> None:
        if self._cache is not None:
            self._cache.close()


@dataclass(frozen=True)
class Probe:
    """The outcome of a canary or an attack put to a judge: accepted, rejected, unread (rejected unasked), or no
    verdict."""

    name: str
    outcome: str
    held: bool
    """Nothing was paid that should not be, nor withheld from what is right."""
    why: str = ""


class Judge:
    """Grades.

    Args:
        rewards: what it is asked about, beside answers, and by which rubric.
        asker: its model.
    """

    def __init__(self, config: JudgeConfig, rewards: RewardConfig, asker: Asker) -> None:
        self._config = config
        self._content = rewards.content == "judge"
        self._content_rubric = "memalpha" if rewards.preset == "memalpha" else "default"
        self._asker = asker

    async def close(self) -> None:
        """Close its connections and cache."""
        await self._asker.close()

    async def verdict(self, source: str, question: Question, answer: str, place: Place) -> Verdict | None:
        """Grade an answer to a source's question; None where `judge.answers` leaves it to its metric.

        Raises:
            JudgeError: the judge gave no verdict.
            EngineError: its engine failed.
        """
        rubric = self._config.answers.get(source)
        if rubric is None:
            return None
        kind = "abstention" if question.metric in ABSTENTIONS else question.kind
        return await self.grade_answer(question.text, question.answers, answer, rubric=rubric, kind=kind, place=place)

    async def grade_answer(
        self,
        question: str,
        golds: Sequence[str],
        answer: str,
        *,
        rubric: str,
        kind: str = "",
        place: Place = ANYWHERE,
        fresh: bool = False,
    ) -> Verdict:
        """Grade an answer as right or wrong.

        Raises:
            JudgeError: the judge gave no verdict.
            EngineError: its engine failed.
        """
        if why := refused_unread(answer, question):
            return Verdict(rubric=rubric, accepted=False, reason=f"not shown to the judge: {why}")

        def ask(vote: int) -> Request:
            return answer_request(question, golds, answer, rubric=rubric, kind=kind, vote=vote)

        return await self._votes(rubric, ask, place, fresh)

    async def grade_content(
        self, text: str, store: str, passage: str, *, place: Place = ANYWHERE, fresh: bool = False
    ) -> Verdict:
        """Grade whether a stored text is in the right store, and (but for the preset `memalpha`) faithful to what was
        read.

        Raises:
            JudgeError: the judge gave no verdict.
            EngineError: its engine failed.
        """
        rubric = self._content_rubric
        if why := refused_unread(text, longest=LONGEST_TEXT):
            return Verdict(rubric=rubric, accepted=False, reason=f"not shown to the judge: {why}")

        def ask(vote: int) -> Request:
            return content_request(text, store, passage, rubric=rubric, vote=vote)

        return await self._votes(rubric, ask, place, fresh)

    async def canaries(self, place: Place = CANARY_PLACE) -> list[Probe]:
        """Grade the cases whose verdict is known, the cache passed by."""
        jobs: list[Coroutine[Any, Any, Probe]] = []
        for rubric in sorted(set(self._config.answers.values())):
            for canary in CANARIES:
                if rubric == "locomo" and canary.name == "every option listed":
                    continue  # LoCoMo's lenient rule lets a list pass that holds the answer
                grading = self.grade_answer(
                    CANARY_QUESTION,
                    [CANARY_GOLD],
                    canary.answer,
                    rubric=rubric,
                    place=place.under(len(jobs)),
                    fresh=True,
                )
                jobs.append(self._probe(f"{canary.name} ({rubric})", canary.accepted, grading))
        for text in CONTENT_CANARIES if self._content else ():
            if self._content_rubric == "memalpha" and text.name == "an invented fact":
                continue  # it does not see what is invented
            graded = self.grade_content(text.text, text.store, CANARY_PASSAGE, place=place.under(len(jobs)), fresh=True)
            jobs.append(self._probe(text.name, text.accepted, graded))
        return await asyncio.gather(*jobs)

    async def check(self) -> None:
        """Grade the canaries.

        Raises:
            JudgeError: it got one wrong, or has no verdict on what is right: it must not hand out pay.
        """
        probes = await self.canaries()
        wrong = [probe for probe in probes if not probe.held]
        if wrong:
            raise JudgeError(
                f"the judge failed {len(wrong)} of {len(probes)} canaries: "
                + "; ".join(f"{probe.name}: {probe.outcome} ({probe.why[:120]})" for probe in wrong[:3])
                + ". What it grades cannot be trusted. Use a stronger judge (judge.type=endpoint), or none; "
                "memrl judge CONFIG shows all."
            )

    async def attacked(self, attacks: Iterable[Attack] = ATTACKS, *, rubric: str = "default") -> list[Probe]:
        """Put each attack to the judge and return what it makes of them; none raises, however the judge fails."""
        return await asyncio.gather(
            *(
                self._probe(
                    attack.name,
                    False,
                    self.grade_answer(
                        CANARY_QUESTION,
                        [CANARY_GOLD],
                        attack.text,
                        rubric=rubric,
                        place=Place(Place.ATTACKS).under(number),
                    )
                    if attack.target == "answer"
                    else self.grade_content(
                        attack.text, "semantic", CANARY_PASSAGE, place=Place(Place.ATTACKS).under(number)
                    ),
                )
                for number, attack in enumerate(attacks)
            )
        )

    async def _probe(self, name: str, accepted: bool, grading: Awaitable[Verdict]) -> Probe:
        try:
            verdict = await grading
        except JudgeError as error:
            # No verdict pays nobody; but a judge that has none for a plain right answer cannot be used.
            return Probe(name, "no verdict", not accepted, str(error))
        outcome = "accepted" if verdict.accepted else "rejected" if verdict.votes else "unread"
        return Probe(name, outcome, verdict.accepted == accepted, verdict.reason)

    async def _votes(self, rubric: str, ask: Callable[[int], Request], place: Place, fresh: bool) -> Verdict:
        votes: list[bool] = []
        reason = ""
        replies: list[Reply] = []
        again = 0
        for number in range(self._config.votes):
            request = ask(number)
            accepted, why, reply, tries = await self._verdict(request, place.under(number), fresh)
            replies.append(reply)
            again += tries - 1
            votes.append(accepted)
            reason = reason or why
            if max(votes.count(True), votes.count(False)) * 2 > self._config.votes:
                break  # decided
        return Verdict(
            rubric=rubric,
            accepted=votes.count(True) > votes.count(False),
            votes=votes,
            reason=reason,
            prompt_tokens=sum(reply.prompt_tokens for reply in replies),
            completion_tokens=sum(reply.completion_tokens for reply in replies),
            calls=len(replies),
            cached=sum(reply.attempts == 0 for reply in replies),
            retries=sum(max(reply.attempts - 1, 0) for reply in replies) + again,
        )

    async def _verdict(self, request: Request, place: Place, fresh: bool) -> tuple[bool, str, Reply, int]:
        """One verdict, its reason, the reply that holds it, and how many replies it took."""
        messages = request.messages
        failure = ""
        for tried in range(TRIES):
            try:
                reply = await self._asker.complete(
                    messages,
                    self._config.max_tokens,
                    place=place.under(tried),
                    accept=lambda text: parse_verdict(text, request.code),
                    fresh=fresh,
                )
                return *parse_verdict(reply.text, request.code), reply, tried + 1
            except VerdictError as error:
                failure = str(error)
                *first, last = request.messages
                messages = [*first, {**last, "content": f"{last['content']}\n{_REMINDER}"}]
        raise JudgeError(
            f"the judge gave no verdict in {TRIES} attempts: {failure}. Raise judge.max_tokens if its replies are cut "
            "short, or use a model that keeps to a form."
        )
