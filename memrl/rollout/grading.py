"""Grades of what an episode has written, apart from its answers: the content reward, and the meters of reward
hacking."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

from memrl.config import RewardConfig
from memrl.engines.engine import Place
from memrl.envs.searching import SEARCH
from memrl.envs.stream import Chunk, Stream
from memrl.frozen.judge import Judge
from memrl.records import ContentCheck, Step
from memrl.rewards.content import Point, content_value, content_value_memalpha, extraction, gold_points, unfaithful
from memrl.rewards.meters import Written, measure


class Grading:
    """Grades what steps stored.

    Args:
        judge: grades the texts where `rewards.content` is `judge`.
        max_completion_tokens: `rollout.max_completion_tokens`.
    """

    def __init__(self, config: RewardConfig, judge: Judge | None, *, max_completion_tokens: int) -> None:
        self._mode = config.content
        self._memalpha = config.preset == "memalpha"
        self._longest = max_completion_tokens
        self._judge = judge if self._mode == "judge" else None

    async def grade(self, stream: Stream, steps: Sequence[Step], place: Place) -> list[Step]:
        """The steps with `checks`, and with the part `content` where it is paid.

        Raises:
            JudgeError, EngineError: the judge failed.
        """
        checks = await asyncio.gather(
            *(self._checks(stream, step, place.under(number)) for number, step in enumerate(steps))
        )
        points = self._points(stream)
        held: list[Sequence[str]] = [[], *held_after(steps)]
        return [
            self._graded(step, found, points, before, after)
            for step, found, before, after in zip(steps, checks, held, held[1:], strict=False)
        ]

    async def grade_last(self, stream: Stream, steps: Sequence[Step], place: Place) -> Step:
        """The last of these steps with `checks`, and with the part `content` where it is paid; the others are looked
        at for what they left in the memory.

        Raises:
            JudgeError, EngineError: the judge failed.
        """
        found = await self._checks(stream, steps[-1], place)
        held: list[Sequence[str]] = [[], *held_after(steps)]
        return self._graded(steps[-1], found, self._points(stream), *held[-2:])

    def _points(self, stream: Stream) -> Sequence[Sequence[Point]] | None:
        return gold_points(stream) if self._mode != "none" and not self._memalpha else None

    def _graded(
        self,
        step: Step,
        checks: list[ContentCheck],
        points: Sequence[Sequence[Point]] | None,
        before: Sequence[str],
        after: Sequence[str],
    ) -> Step:
        """The step with what was found.

        Args:
            points: of each chunk, what the content reward looks for.
            before: texts of the memory before the step.
            after: and after it.
        """
        update: dict[str, object] = {"checks": checks}
        if self._mode != "none":
            right = [check.right for check in checks]
            value = (
                content_value_memalpha(right, sum(result.name != SEARCH for result in step.results))
                if self._memalpha
                else content_value(
                    right, extraction(points[step.chunk] if points and not step.tidies else [], before, after)
                )
            )
            update["parts"] = {**step.parts, "content": value}
        return step.model_copy(update=update)

    async def _checks(self, stream: Stream, step: Step, place: Place) -> list[ContentCheck]:
        replaced = {change["id"]: change["before"] for change in step.diff if change["op"] == "update"}
        written = [(str(result.item_id), str(result.store), result.content) for result in step.results]
        told = [(item, store, text) for item, store, text in written if text]
        so_far = stream.chunks[: step.chunk + 1]
        taken = [change["before"] for change in step.diff if change["before"]]
        if step.tidies and taken:  # what it has taken out of the memory is what it was told
            so_far = (*so_far, Chunk(text="\n".join(taken)))
        passages = [(chunk.text, chunk.time or "") for chunk in so_far]
        checks = [
            ContentCheck(item_id=item, text=text, unfaithful=unfaithful(text, passages)) for item, _, text in told
        ]
        if self._judge is None:
            return checks
        verdicts = await asyncio.gather(
            *(
                self._judge.grade_content(
                    text, store, _shown(so_far[-1], replaced.get(item)), place=place.under(number)
                )
                for number, (item, store, text) in enumerate(told)
            )
        )
        return [check.model_copy(update={"verdict": verdict}) for check, verdict in zip(checks, verdicts, strict=True)]

    def meters(self, stream: Stream, steps: Sequence[Step], items: Sequence[str], *, growth: float) -> dict[str, float]:
        """`memrl.rewards.meters` of one episode.

        Args:
            steps: graded.
            items: texts of the final memory.
            growth: tokens of the final memory / tokens of the chunks.
        """
        written = [completion.ids for step in steps for completion in step.completions]
        return measure(
            stream,
            [step.results for step in steps],
            [Written(step.chunk, check.text, check.unfaithful) for step in steps for check in step.checks],
            items,
            growth=growth,
            length=sum(map(len, written)) / (len(written) * self._longest),
        )


def held_after(steps: Sequence[Step]) -> Iterator[list[str]]:
    """The texts that the memory held after each step: the core's, then the others in the order in which they came."""
    texts: dict[str, str] = {}
    for step in steps:
        for change in step.diff:
            if change["after"] is None:
                del texts[change["id"]]
            else:
                texts[change["id"]] = change["after"]
        yield [texts[item] for item in sorted(texts, key=lambda item: item != "core")]


def _shown(chunk: Chunk, replaced: str | None) -> str:
    """A chunk as the judge reads it, and what a text takes the place of."""
    parts = [f"({chunk.time})" if chunk.time else "", chunk.text, f"(held before: {replaced})" if replaced else ""]
    return "\n".join(filter(None, parts))
