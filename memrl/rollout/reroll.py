"""Re-rolls: other completions of a step, sampled from the memory that it found and its very prompt, and tried.

    played:      memory before t | completion t | calls of t+1 ... T | answers
    re-rolled:   the same memory | another one  | the same calls     | answers, asked again where their context changed

Invariant: a re-roll that does what the episode's own completion did is paid the same. The calls of later steps were
made for the memory of the episode; how they are made on another is told in `memrl.rollout.replay`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from memrl.config import AdvantageConfig
from memrl.envs.designs import MemoryDesign, open_journal
from memrl.envs.memory_env import MemoryEnv
from memrl.envs.stream import Question, Stream
from memrl.errors import EngineDied, InfrastructureError
from memrl.records import AnswerRecord, Episode, Reroll, Step
from memrl.rewards.compose import RewardWeights
from memrl.rollout.counterfactual import contents, view_key
from memrl.rollout.grading import held_after
from memrl.rollout.replay import Calls, Ledger, Replay, time_of, walk
from memrl.rollout.together import together
from memrl.rollout.turns import Attempt

Result = TypeVar("Result")


@dataclass(frozen=True)
class Workbench:
    """The things that trying a re-roll takes, all of one episode. Numbers are those of the step, and of the re-roll."""

    new_memory: Callable[[], MemoryDesign]
    """Makes an empty memory."""
    new_env: Callable[[MemoryDesign], MemoryEnv]
    """Makes an environment that writes a memory."""
    attempt: Callable[[Step, int, MemoryDesign], Coroutine[Any, Any, Attempt]]
    """Samples another completion of a step, in all its turns, and leaves the memory that the step found as it is."""
    grade: Callable[[Sequence[Step], int], Coroutine[Any, Any, Step]]
    """Grades the last of some steps, which is a re-roll of the episode's."""
    ask: Callable[[Question, MemoryDesign, int, int], Coroutine[Any, Any, AnswerRecord]]
    """Puts a question to the reader over a memory."""


class Rerolls:
    """Re-rolls the steps of one episode.

    Args:
        config: how many re-rolls, of how many steps.
        bench: what trying one takes.
        budget: tokens of memory that the reader is shown.
        weights: of the reward parts.
        seed: of the choice of steps; the same for all episodes of a group, so that those steps that are not re-rolled
            can be compared with each other.
    """

    def __init__(
        self, config: AdvantageConfig, bench: Workbench, *, budget: int, weights: RewardWeights, seed: int
    ) -> None:
        self._config = config
        self._bench = bench
        self._budget = budget
        self._weights = weights
        self._seed = seed
        self._known: dict[tuple[str, str, str | None], float] = {}
        """Scores by the question and what the reader is shown for it."""
        self._asked = 0
        self._failed = 0

    async def __call__(self, stream: Stream, episode: Episode, calls: Calls, memory: MemoryDesign) -> Episode:
        """The episode with the re-rolls of its steps, and the questions counted that were asked again. Re-rolls that an
        infrastructure failure has ended are left out and counted.

        Args:
            episode: paid.
            calls: those that were carried out, in the order of each step's results.
            memory: the episode's, at its end.

        Raises:
            EngineDied: no re-roll can be had any more.
            PluginError: somebody's reward part failed.
        """
        if not episode.steps:
            return episode
        steps = list(episode.steps)
        results = [step.results[: len(made)] for step, made in zip(steps, calls, strict=True)]
        chosen = self._chosen(len(steps))
        views = [memory.retrieve(question.text, self._budget) for question in stream.questions]
        shown = [(contents(view), answer.score) for view, answer in zip(views, episode.answers, strict=True)]
        memory = self._bench.new_memory()
        numbers = range(1, self._config.rerolls + 1)
        for place, held, after in walk(memory, stream, calls, results, max(chosen) + 1):
            if place not in chosen:
                continue
            sampled = await together(
                self._tried(self._bench.attempt(steps[place], number, memory)) for number in numbers
            )
            found = []
            for number, attempt in zip(numbers, sampled, strict=True):
                if attempt is None:
                    continue
                with open_journal(memory) as journal:
                    try:
                        made = self._play(stream, episode, calls, memory, place, attempt, held, after)
                        scores = await self._tried(self._answer(stream, memory, shown, place, number))
                    finally:
                        journal.undo()
                if scores is None:
                    continue
                other = await self._tried(self._paid(episode, made, scores, place, number))
                if other is not None:
                    found.append(other)
            steps[place] = steps[place].model_copy(update={"rerolls": found})
        return episode.model_copy(
            update={
                "steps": steps,
                "asked_again": episode.asked_again + self._asked,
                "rerolls_failed": self._failed,
            }
        )

    async def _tried(self, work: Coroutine[Any, Any, Result]) -> Result | None:
        """A part of a re-roll, done; None where an infrastructure failure has ended it, which is counted. The episode
        is whole without it."""
        try:
            return await work
        except EngineDied:
            raise
        except InfrastructureError:
            self._failed += 1
            return None

    def _chosen(self, steps: int) -> list[int]:
        """The numbers of the steps to re-roll. By chance: to choose by what they did would favour some completions."""
        most = self._config.reroll_steps
        if most is None or most >= steps:
            return list(range(steps))
        return sorted(random.Random(self._seed).sample(range(steps), most))

    def _play(
        self,
        stream: Stream,
        episode: Episode,
        calls: Calls,
        memory: MemoryDesign,
        place: int,
        attempt: Attempt,
        held: Ledger,
        after: Ledger,
    ) -> list[Step]:
        """The episode's steps with a re-roll in the place of one, and what became of the later calls; `memory`, as it
        was before that step, is what they leave.

        Args:
            held: what the memory held before the step.
            after: and after it, in the episode.
        """
        steps = list(episode.steps)
        env = self._bench.new_env(memory)
        env.position = place
        done = attempt.carry_out(env)
        steps[place] = Step(
            chunk=steps[place].chunk,
            tidies=steps[place].tidies,
            prompt_ids=steps[place].prompt_ids,
            completion=attempt.completion,
            text=attempt.text,
            turns=attempt.turns,
            results=done.results,
            diff=done.diff,
            memory_tokens=done.memory_tokens,
        )
        here = held.copy().follow(done.calls, done.results[: len(done.calls)], time_of(stream, steps[place]))
        replay = Replay(memory, stream, held, after, here)
        for later in range(place + 1, len(steps)):
            before = steps[later].results
            with open_journal(memory) as journal:
                now = replay.step(later, calls[later], before[: len(calls[later])])
                update = {
                    "results": [*now, *before[len(now) :]],
                    "diff": journal.diff(),
                    "memory_tokens": memory.token_count(),
                }
            steps[later] = steps[later].model_copy(update=update)
        return steps

    async def _answer(
        self,
        stream: Stream,
        memory: MemoryDesign,
        shown: Sequence[tuple[object, float]],
        place: int,
        number: int,
    ) -> list[float]:
        """The score of each question over `memory`: as in the episode where the reader is shown the same."""
        scores: list[float] = []
        open_questions: list[tuple[int, tuple[str, str, str | None]]] = []
        for index, (question, (content, score)) in enumerate(zip(stream.questions, shown, strict=True)):
            view = memory.retrieve(question.text, self._budget)
            key = view_key(question, view)
            scores.append(score)
            if contents(view) == content:
                continue
            if key in self._known:
                scores[index] = self._known[key]
            else:
                open_questions.append((index, key))
        self._asked += len(open_questions)
        answers = await together(
            self._bench.ask(stream.questions[index], memory, place, number) for index, _ in open_questions
        )
        for (index, key), answer in zip(open_questions, answers, strict=True):
            self._known[key] = scores[index] = answer.score
        return scores

    async def _paid(
        self, episode: Episode, steps: list[Step], scores: Sequence[float], place: int, number: int
    ) -> Reroll:
        """The re-roll of a step, with what the episode would have been paid.

        Args:
            steps: as they would have been.
            scores: of the answers, likewise.
        """
        steps[place] = await self._bench.grade(steps[: place + 1], number)
        *_, texts = held_after(steps)
        other = episode.model_copy(
            update={
                "steps": steps,
                "answers": [
                    answer.model_copy(update={"score": score})
                    for answer, score in zip(episode.answers, scores, strict=True)
                ],
                "memory": {"items": [{"content": text} for text in texts]},
                "memory_tokens": steps[-1].memory_tokens,
                "parts": {},
            }
        ).paid(self._weights)
        made = other.steps[place]
        return Reroll(
            completion=made.completion,
            text=made.text,
            turns=made.turns,
            results=made.results,
            parts=made.parts,
            episode_parts=other.parts,
        )
