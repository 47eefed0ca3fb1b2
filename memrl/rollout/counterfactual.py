"""The worth of each step to the answers: what they lose when all calls are made again but that step's.

The calls are carried out again from the memory that the step found (`memrl.rollout.replay`). A later call that names an
item of the step that is left out fails, as it must; one that was refused as a duplicate may now store what it says.

Only questions that would be shown something else are asked again. For the `lexical` reader the result is exact; a
reader that is a model sees other item ids where an earlier insert is missing, and may word its answer otherwise.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from memrl.envs.designs import MemoryDesign, MemoryView, open_journal
from memrl.envs.stream import Question, Stream
from memrl.records import AnswerRecord, Step
from memrl.rollout.replay import Calls, play_again, walk

Ask = Callable[[Question, MemoryDesign], Awaitable[AnswerRecord]]


class StepWorth:
    """Finds out what the steps of episodes were worth.

    Args:
        new_memory: makes an empty memory.
        budget: tokens of memory that the reader is shown.
        ask: puts one question to the reader over a memory.
        most_steps: leave out so many steps at most, those whose items matched the most questions best, then those whose
            items were shown for the most; the worth of the others is not known and counts as nothing. None: every step
            that wrote.
    """

    def __init__(
        self, new_memory: Callable[[], MemoryDesign], budget: int, ask: Ask, most_steps: int | None = None
    ) -> None:
        self._new_memory = new_memory
        self._budget = budget
        self._ask = ask
        self._most_steps = most_steps
        self.asked = 0
        """Questions that were put to the reader again."""

    async def __call__(
        self, stream: Stream, steps: Sequence[Step], calls: Calls, answers: Sequence[AnswerRecord]
    ) -> list[dict[str, float]]:
        """The worth of each step: question id -> what its score loses without the step, where it is not 0.

        Negative where the answer is better without it.

        Args:
            calls: those that were carried out, in the order of each step's results.
            answers: of the whole episode, one for each question of the stream, in order.

        Raises:
            ReaderError, EngineError: the reader failed.
        """
        results = [step.results[: len(made)] for step, made in zip(steps, calls, strict=True)]
        memory = self._new_memory()
        for _ in walk(memory, stream, calls, results, len(steps)):
            pass
        shown = [memory.retrieve(question.text, self._budget) for question in stream.questions]
        known: dict[tuple[str, str, str | None], float] = {}
        worth: list[dict[str, float]] = [{} for _ in steps]
        left_out = self._chosen(steps, shown)
        memory = self._new_memory()
        for number, held, after in walk(memory, stream, calls, results, max(left_out, default=-1) + 1):
            if number not in left_out:
                continue
            with open_journal(memory) as journal:
                play_again(memory, stream, calls, results, number + 1, held, after)
                for question, view, answer in zip(stream.questions, shown, answers, strict=True):
                    other = memory.retrieve(question.text, self._budget)
                    if contents(other) == contents(view):
                        continue
                    place = view_key(question, other)
                    if place not in known:
                        self.asked += 1
                        known[place] = (await self._ask(question, memory)).score
                    if loss := answer.score - known[place]:
                        worth[number][question.id] = loss
                journal.undo()
        return worth

    def _chosen(self, steps: Sequence[Step], shown: Sequence[MemoryView]) -> list[int]:
        """The steps to leave out: those that made a call, the most read ones first where there are too many."""
        made = [number for number, step in enumerate(steps) if any(result.ok for result in step.results)]
        if self._most_steps is None or len(made) <= self._most_steps:
            return made
        written = [{result.item_id for result in step.results if result.ok} for step in steps]
        read = [
            (
                sum(view.best is not None and view.best.id in items for view in shown),
                sum(bool(items & {item.id for item in view.items}) for view in shown),
            )
            for items in written
        ]
        return sorted(sorted(made, key=lambda number: read[number], reverse=True)[: self._most_steps])


def contents(view: MemoryView) -> tuple[object, ...]:
    """Return what a view shows but for its items' ids."""
    best = None if view.best is None else (view.best.store, view.best.time, view.best.content)
    return (best, *((item.store, item.time, item.content) for item in view.items))


def view_key(question: Question, view: MemoryView) -> tuple[str, str, str | None]:
    """Return what decides an answer: the question, what is shown for it, and which item matches best."""
    return question.id, view.text(), None if view.best is None else view.best.id
