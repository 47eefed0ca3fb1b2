"""The rollout worker: owns one engine and plays episodes. A plain class, in this process or as a Ray actor.

An episode is one coroutine: read each chunk, write memory, then let the reader answer, then compute the reward parts.
No episode waits for another; they only meet in the engine's batches.
"""

from __future__ import annotations

import asyncio
import copy
import hashlib
import itertools
import math
from collections.abc import Callable, Sequence
from functools import partial

from memrl.config import AdvantageConfig, MemoryConfig, RewardConfig, RolloutConfig
from memrl.credit import wants_rerolls, wants_worth
from memrl.engines.engine import ANYWHERE, Counts, Engine, Place, sampling_of
from memrl.engines.prompting import Prompter
from memrl.envs.designs import MemoryDesign
from memrl.envs.designs.stores import StoreMemory
from memrl.envs.memory_env import MemoryEnv, StepResult
from memrl.envs.stream import Question, Stream
from memrl.envs.tools import ToolCall
from memrl.envs.wrappers.consolidate import PlannedStep
from memrl.errors import ConfigError, EngineError
from memrl.frozen.judge import Judge
from memrl.frozen.reader import Reader
from memrl.records import AdapterRef, AnswerRecord, Completion, Episode, Step
from memrl.rewards.compose import resolve_weights
from memrl.rewards.metrics import score
from memrl.rollout.counterfactual import StepWorth
from memrl.rollout.environment import new_env, new_memory, new_stores
from memrl.rollout.grading import Grading
from memrl.rollout.reroll import Rerolls, Workbench
from memrl.rollout.together import together
from memrl.rollout.turns import Attempt, play_step


def request_seed(*parts: int) -> int:
    """A 63-bit seed from (run seed, step, stream, episode, chunk), the same on every machine (law 7)."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def episode_seed(seed: int, place: Place) -> int:
    """Return the seed of the episode at a place, from the run's `seed`."""
    return request_seed(seed, place.step, place.stream, place.episode)


def group_seed(seed: int, place: Place) -> int:
    """Return the seed of what all episodes of a group have in common, from the run's `seed`."""
    return request_seed(seed, place.step, place.stream)


def _under(planned: PlannedStep) -> tuple[int, ...]:
    """The numbers of a step among those of its episode: of one that reads, its chunk."""
    return (planned.chunk, -1) if planned.tidies else (planned.chunk,)


class RolloutWorker:
    """Plays episodes on one engine.

    Args:
        engine: generates for the policy; closed with the worker, as are reader and judge.
        prompter: the policy's.
        judge: None: nobody grades.
        advantage: says whether the worth of each step is found out in play, or other completions are tried.
        seed: the run's, of which steps are re-rolled.

    Raises:
        PluginError: a reward part of `rewards.parts` is not to be had here.
    """

    def __init__(
        self,
        engine: Engine,
        prompter: Prompter,
        reader: Reader,
        judge: Judge | None,
        *,
        memory: MemoryConfig,
        rollout: RolloutConfig,
        rewards: RewardConfig,
        advantage: AdvantageConfig,
        seed: int,
    ) -> None:
        self.engine = engine
        self.prompter = prompter
        self.judge = judge
        self.memory = memory
        self.rollout = rollout
        self._reader = reader
        self._weights = resolve_weights(rewards.preset, rewards.weights, rewards.parts)
        self._advantage = advantage
        self._seed = seed
        self._needs_worth = wants_worth(advantage.mode)
        self._needs_rerolls = wants_rerolls(advantage.mode)
        self._grading = Grading(rewards, judge, max_completion_tokens=rollout.max_completion_tokens)
        self._beside: dict[str, RolloutWorker] = {}

    def beside(self, key: str, build: Callable[[], RolloutWorker]) -> RolloutWorker:
        """Return the worker that `build` makes on this one's engine: made once for a key, and closed with this one."""
        if key not in self._beside:
            self._beside[key] = build()
        return self._beside[key]

    def holding(self, memory: MemoryConfig) -> RolloutWorker:
        """Return this worker with a memory of other budgets. Engine, reader and judge are this one's, which closes
        them."""
        other = copy.copy(self)
        other.memory = memory
        other._beside = {}
        return other

    def new_memory(self) -> MemoryDesign:
        """Return an empty memory of the configured design and budgets, counted in the policy's own tokens."""
        return new_memory(self.memory, self.prompter)

    def new_stores(self) -> StoreMemory:
        """Return an empty memory of the design `stores` under the same budgets."""
        return new_stores(self.memory, self.prompter)

    async def play(
        self,
        stream: Stream,
        *,
        seed: int,
        adapter: AdapterRef | None,
        place: Place = ANYWHERE,
        temperature: float | None = None,
        memory: MemoryConfig | None = None,
    ) -> Episode:
        """One attempt at one stream.

        Args:
            adapter: whose; None: the model without one.
            seed: of the whole episode; each request's seed derives from it and the chunk.
            place: the step, the stream and the episode.
            temperature: overrides `rollout.temperature`; 0 is greedy (evaluation).
            memory: settings in place of this worker's own, but for `retrieve_budget`, which the reader has.

        Raises:
            InfrastructureError: the engine, the reader or the judge failed. Never raised for what the policy wrote.
            ConfigError: a prompt is longer than `rollout.max_prompt_tokens`.
            PluginError: somebody's reward part failed, or its value is no finite number.
        """
        sizes = self.memory if memory is None else memory
        held = new_memory(sizes, self.prompter)
        steps, calls = await self._read(stream, held, sizes, seed, adapter, place, temperature)
        answers = await self.ask_all(stream, held, place.at(len(steps)))
        steps = await self._grading.grade(stream, steps, place.at(len(steps) + 2))
        asked_again = 0
        if self._needs_worth and temperature is None:  # evaluations need no credit
            worth = self._step_worth(stream.source, sizes, place.at(len(steps) + 1))
            worths = await worth(stream, steps, calls, answers)
            steps = [step.model_copy(update={"worth": found}) for step, found in zip(steps, worths, strict=True)]
            asked_again = worth.asked
        chunk_tokens = sum(self.prompter.count_tokens(chunk.text) for chunk in stream.chunks)
        snapshot = held.snapshot()
        items = [item["content"] for item in snapshot["items"]]
        episode = Episode(
            stream_id=stream.id,
            source=stream.source,
            index=place.episode,
            version=None if adapter is None else adapter.version,
            seed=seed,
            steps=steps,
            answers=answers,
            memory=snapshot,
            chunk_tokens=chunk_tokens,
            memory_tokens=held.token_count(),
            meters=self._grading.meters(stream, steps, items, growth=held.token_count() / chunk_tokens),
            asked_again=asked_again,
            chunks=list(stream.chunks),
        ).paid(self._weights)
        if self._needs_rerolls and temperature is None:
            rerolls = self._rerolls(stream, sizes, seed, adapter, place, len(steps))
            episode = await rerolls(stream, episode, calls, held)
        return episode

    async def _read(
        self,
        stream: Stream,
        memory: MemoryDesign,
        sizes: MemoryConfig,
        seed: int,
        adapter: AdapterRef | None,
        place: Place,
        temperature: float | None,
    ) -> tuple[list[Step], list[list[ToolCall]]]:
        """The steps, and the calls that each carried out."""
        rollout = self.rollout
        env = new_env(sizes, rollout, self.prompter, stream, memory)
        steps: list[Step] = []
        calls: list[list[ToolCall]] = []
        while not env.done:
            number, planned = env.position, env.planned
            observation = env.observe()
            prompt_ids = self.prompter.encode(observation.messages, observation.tools)
            if len(prompt_ids) > rollout.max_prompt_tokens:
                raise ConfigError(
                    f"stream {stream.id!r} of {stream.source}, {planned}: the prompt has {len(prompt_ids)} "
                    f"tokens, rollout.max_prompt_tokens allows {rollout.max_prompt_tokens}. Raise it, use shorter "
                    "chunks or lower memory.render_budget."
                )
            attempt, result = await self._turns(
                env,
                prompt_ids,
                (seed, *_under(planned)),
                adapter,
                place.at(number),
                temperature,
                str(planned),
            )
            calls.append(result.calls)
            steps.append(
                Step(
                    chunk=planned.chunk,
                    tidies=planned.tidies,
                    prompt_ids=prompt_ids,
                    completion=attempt.completion,
                    text=attempt.text,
                    turns=attempt.turns,
                    results=result.results,
                    diff=result.diff,
                    memory_tokens=result.memory_tokens,
                    seen=observation.memory,
                    calls=[call.kept() for call in (*result.calls, *result.refused)],
                )
            )
        return steps, calls

    async def _turns(
        self,
        env: MemoryEnv,
        prompt_ids: list[int],
        seeds: tuple[int, ...],
        adapter: AdapterRef | None,
        place: Place,
        temperature: float | None,
        where: str,
    ) -> tuple[Attempt, StepResult]:
        """The turns of a step, carried out in an environment.

        Args:
            seeds: parts of the first turn's seed.
            where: what it is of, in error messages.
        """

        async def complete(ids: list[int], number: int) -> Completion:
            if number == 0:
                return await self._complete(ids, request_seed(*seeds), adapter, place, temperature, where)
            again = request_seed(*seeds, -2, number)
            turn = f"{where}, turn {number + 1}"
            return await self._complete(ids, again, adapter, place.under(number), temperature, turn)

        most = self.rollout.max_prompt_tokens
        return await play_step(env, self.prompter, prompt_ids, complete, max_prompt_tokens=most, where=where)

    async def _complete(
        self,
        prompt_ids: list[int],
        seed: int,
        adapter: AdapterRef | None,
        place: Place,
        temperature: float | None,
        where: str,
    ) -> Completion:
        """One completion of a turn.

        Args:
            where: what it is of, in error messages.
        """
        rollout = self.rollout
        heat = rollout.temperature if temperature is None else temperature
        sampling = sampling_of(rollout, heat, seed)
        try:
            async with asyncio.timeout(rollout.step_timeout):
                completion = await self.engine.generate(prompt_ids, sampling, adapter, place=place)
        except TimeoutError:
            raise EngineError(
                f"{where}: no completion within rollout.step_timeout ({rollout.step_timeout:g} s)"
            ) from None
        version = None if adapter is None else adapter.version
        if completion.version != version:
            raise EngineError(f"asked for adapter version {version}, got {completion.version}")
        if not all(map(math.isfinite, completion.logprobs)):
            raise EngineError(f"{where}: the engine gave a log-prob that is no number")
        return completion

    def _rerolls(
        self, stream: Stream, sizes: MemoryConfig, seed: int, adapter: AdapterRef | None, place: Place, steps: int
    ) -> Rerolls:
        """Return the function that re-rolls the steps of the episode at `place`; `sizes` are those of its memory."""
        after = steps + 3  # the stages of questions, their repetition and grading come before

        async def attempt(step: Step, number: int, memory: MemoryDesign) -> Attempt:
            planned = PlannedStep(step.chunk, step.tidies)
            where = f"{planned}, re-roll {number}"
            at = place.at(after).under(*_under(planned), number)
            seeds = seed, *_under(planned), number
            if self.rollout.max_turns == 1:
                completion = await self._complete(step.prompt_ids, request_seed(*seeds), adapter, at, None, where)
                return Attempt(completion, self.prompter.decode(completion.ids), [])
            mine = new_memory(sizes, self.prompter)  # what its searches find depends on what it writes
            mine.restore(memory.snapshot())
            env = new_env(sizes, self.rollout, self.prompter, stream, mine)
            env.go_to(planned)
            made, _ = await self._turns(env, step.prompt_ids, seeds, adapter, at, None, where)
            return made

        async def grade(steps: Sequence[Step], number: int) -> Step:
            at = place.at(after + 1).under(*_under(PlannedStep(steps[-1].chunk, steps[-1].tidies)), number)
            return await self._grading.grade_last(stream, steps, at)

        async def ask(question: Question, memory: MemoryDesign, chunk: int, number: int) -> AnswerRecord:
            at = place.at(after + 2).under(chunk, number, order[question.id])
            return await self.ask(stream.source, question, memory, at)

        order = {question.id: number for number, question in enumerate(stream.questions)}
        bench = Workbench(
            new_memory=partial(new_memory, sizes, self.prompter),
            new_env=lambda memory: new_env(sizes, self.rollout, self.prompter, stream, memory),
            attempt=attempt,
            grade=grade,
            ask=ask,
        )
        return Rerolls(
            self._advantage,
            bench,
            budget=self.memory.retrieve_budget,
            weights=self._weights,
            seed=group_seed(self._seed, place),
        )

    def _step_worth(self, source: str, sizes: MemoryConfig, place: Place) -> StepWorth:
        """Return the function that finds out the worth of one episode's steps; `place` is where its questions to the
        reader stand, and `sizes` are those of its memory."""
        numbers = itertools.count()

        async def ask(question: Question, memory: MemoryDesign) -> AnswerRecord:
            return await self.ask(source, question, memory, place.under(next(numbers)))

        return StepWorth(
            partial(new_memory, sizes, self.prompter),
            self.memory.retrieve_budget,
            ask,
            self._advantage.counterfactual_steps,
        )

    async def ask_all(self, stream: Stream, memory: MemoryDesign, place: Place) -> list[AnswerRecord]:
        """Together: the reader's requests of one episode share a batch. If one fails nobody waits for the others."""
        return await together(
            self.ask(stream.source, question, memory, place.under(number))
            for number, question in enumerate(stream.questions)
        )

    async def ask(self, source: str, question: Question, memory: MemoryDesign, place: Place) -> AnswerRecord:
        """Put one question to the reader over a memory, and score what it says: by the question's metric, or by the
        judge where `judge.answers` names the source.

        Raises:
            ReaderError, JudgeError, EngineError: there is no answer, or no verdict on it.
        """
        answer = await self._reader.answer(question, memory, place=place)
        found = score(question.metric, answer.text, list(question.answers))
        verdict = await self.judge.verdict(source, question, answer.text, place.under(1)) if self.judge else None
        return AnswerRecord(
            question_id=question.id,
            kind=question.kind,
            question=question.text,
            gold=list(question.answers),
            answer=answer.text,
            metric=question.metric,
            score=found if verdict is None else float(verdict.accepted),
            verdict=verdict,
            metric_score=None if verdict is None else found,
            evidence=None if question.evidence is None else list(question.evidence),
            retrieved=list(answer.retrieved),
            prompt_tokens=answer.prompt_tokens,
            completion_tokens=answer.completion_tokens,
            attempts=answer.attempts,
        )

    def take_computed(self) -> dict[str, int]:
        """Return what the engine has computed since this was last asked (`Counts.take`); nothing where it does not
        count."""
        counts = getattr(self.engine, "counts", None)
        return counts.take() if isinstance(counts, Counts) else {}

    async def check_judge(self) -> None:
        """Have the judge grade its canaries, where there is one.

        Raises:
            JudgeError: it failed one.
        """
        if self.judge is not None:
            await self.judge.check()

    async def close(self) -> None:
        """End what the engine has started, and the connections to endpoints, where there are any."""
        self.engine.close()
        for worker in (self, *self._beside.values()):
            await worker._reader.close()
            if worker.judge is not None:
                await worker.judge.close()
