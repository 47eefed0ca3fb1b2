"""The canary of a run: after each swap, the engine samples from what the learner made (law 2).

Three looks, since none sees all:

- once, at the start, a loud adapter is swapped in and out again: the engine must follow it, and come back. This sees an
  adapter that is missing or loaded in part, whatever the precision;
- after each swap, engine and learner score completions of the step: a gap above rounding at half of them is an adapter
  that was not swapped (in a single one, rounding may have been made large by a sharp attention head). Where rounding is
  larger than what one update changes (bfloat16), the engine must lie closer to the newest adapter than to the one
  before, over many tokens and over the last steps together;
- where all samples are of the newest version, the log-probs that were sampled with must be the learner's: the other two
  ask the engine to score, and only this one sees the path that samples.
"""

from __future__ import annotations

import io
import math
import shutil
import statistics
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path

import torch

from memrl.engines.canary import Leaning, bound_of, mean_gap, worst_gap
from memrl.errors import EngineError
from memrl.learner.interface import AnyLearner
from memrl.records import AdapterRef, Sample

Score = Callable[[Sequence[int], Sequence[int], AdapterRef], list[list[float]]]
"""Each worker's log-probs of a completion (`Pool.score`)."""
_SHARP = 1e-3
"""Bounds below this tell one update from rounding: a mean gap is enough."""
_TOKENS, _SAMPLES = 1024, 16
"""Of the step's completions, at most so much is scored where rounding must be averaged out."""
_FEW = 5
"""Completions that are scored where it need not be."""
_MEMORY = 20
"""Steps whose leanings are added up at most."""
_LOUD = 1.0
"""Nats a token that the loud adapter changes, if it can be made to."""
_QUIETEST, _LOUDEST = 0.02, 12
"""Standard deviation of the noise that is tried first, and how many are tried, each twice the one before."""
_FOLLOWS = 0.25
"""Share of the loud adapter's effect by which engine and learner may differ."""


class AdapterCanary:
    """The canary of one run.

    Args:
        learner: whose adapters the engines are to sample from.
        score: how the engines are asked.
        dtype: of the model, for the bound.
        carried: the model carries a state from token to token, for the bound too.
        engine: name of the engine and the model, for messages.
    """

    def __init__(self, learner: AnyLearner, score: Score, dtype: str, engine: str, *, carried: bool = False) -> None:
        self._learner = learner
        self._score = score
        self._bound = bound_of(dtype, carried=carried)
        self._engine = engine
        self._before: tuple[int, list[Sample], list[float]] | None = None
        self._complaint = ""
        self._leanings: deque[list[Leaning]] = deque(maxlen=_MEMORY)

    def swap_loud(self, sample: Sample, folder: Path, load: Callable[[AdapterRef], None]) -> None:
        """Swap a loud adapter in, and see whether the engines follow it. Who calls then loads the run's own adapter and
        calls `check`, which sees them come back, and complains where they did not follow.

        Args:
            sample: what is scored.
            folder: where the loud adapter lies meanwhile; all workers must see it.
            load: makes an adapter the engines' newest.
        """
        own = self._learner.state()
        try:
            quiet = self._logprobs([sample])
            for state in _louder(own):
                self._learner.restore(state, "the canary's loud adapter")
                loud = self._logprobs([sample])
                effect = mean_gap(loud, quiet)
                if effect >= _LOUD:
                    break
            self._learner.write_whole(folder)
        finally:
            self._learner.restore(own, "the learner's own state")
        ref = AdapterRef(version=-1, name="loud", path=str(folder))
        try:
            load(ref)
            scores = self._score(sample.prompt_ids, sample.completion_ids, ref)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        gap = worst_gap([mean_gap(found, loud) for found in scores])
        if not gap <= max(self._bound, _FOLLOWS * effect):
            self._complaint = (
                f"canary: an adapter that changes log-probs by {effect:.2g} nats a token was loaded to try it, and the "
                f"engine's are {gap:.2g} away from the learner's. {self._engine} leaves the adapter out, or takes only "
                "a part of it: look at model.lora.target_modules and at what the engine supports, or use another."
            )

    def remember(self, samples: Sequence[Sample]) -> None:
        """Score the step's completions under the adapter before, where `check` will need that to tell the two apart."""
        self._before = None
        if samples and self._bound >= _SHARP:
            chosen = _telling_most(samples, _SAMPLES)
            self._before = (self._learner.version, chosen, self._logprobs(chosen))

    def check(self, adapter: AdapterRef, samples: Sequence[Sample]) -> float:
        """Return the gap between an engine's and the learner's log-probs at the worst worker: the median over
        completions of the mean over tokens.

        Args:
            adapter: what the engines have loaded last.
            samples: the step's; none: nothing is looked at.

        Raises:
            EngineError: an engine does not sample from what the learner made.
        """
        if not samples:
            return 0.0
        before, self._before = self._before, None
        chosen = _telling_most(samples, _FEW) if before is None else before[1]
        newest = self._learner.logprobs(chosen, temperature=1.0)
        scores = [self._score(sample.prompt_ids, sample.completion_ids, adapter) for sample in chosen]
        workers = list(zip(*scores, strict=False))  # one that dies meanwhile scores no more
        gap = worst_gap([_median_gap(found, newest) for found in workers])
        if not gap <= self._bound:  # NaN is no agreement
            raise EngineError(
                f"canary: after loading {adapter.name} the engine's log-probs are {gap:.2g} nats a token away from the "
                f"learner's (bound {self._bound:.2g}). {self._why(adapter)}"
            )
        if self._complaint:
            raise EngineError(self._complaint)
        if before is not None and before[0] != adapter.version:
            self._compare(adapter, [_flat(found) for found in workers], before[2], _flat(newest))
        return gap

    def check_sampled(self, gap: float, temperature: float) -> None:
        """Look at the path that samples.

        Args:
            gap: mean difference of the sampled log-probs and the learner's, at the same temperature.
            temperature: of the rollouts, by which differences of the model's own log-probs are divided.

        Raises:
            EngineError: the two differ by more than rounding.
        """
        bound = self._bound / min(temperature, 1.0) if temperature > 0 else self._bound
        if not gap <= bound:
            raise EngineError(
                f"canary: the log-probs that were sampled with are {gap:.2g} nats a token away from the learner's "
                f"(bound {bound:.2g}), though both are of one version: what {self._engine} samples from is not what it "
                "scores with, or its log-probs are not of the distribution that was sampled."
            )

    def _compare(
        self, adapter: AdapterRef, workers: Sequence[Sequence[float]], before: Sequence[float], newest: Sequence[float]
    ) -> None:
        found = [Leaning.of(scores, before, newest) for scores in workers]
        if self._leanings and len(self._leanings[-1]) != len(found):
            self._leanings.clear()  # workers came or went: nobody knows who is who
        self._leanings.append(found)
        for leanings in zip(*self._leanings, strict=True):
            # From the last step on backwards: what was right long ago must not outweigh what is wrong now.
            for together in accumulate(reversed(leanings)):
                if not together.stale:
                    continue
                raise EngineError(
                    f"canary: after loading {adapter.name} the engine's log-probs of {together.tokens} tokens lie "
                    f"closer to the adapter before than to the newest, by more than chance. {self._why(adapter)}"
                )

    def _why(self, adapter: AdapterRef) -> str:
        if adapter.version:
            return (
                "The engine holds another adapter than the learner published; the last checkpoint is from before this "
                f"step. Check {adapter.path} and start again with --resume."
            )
        return (
            f"No adapter acts yet, so the two do not compute the same model: {self._engine} does not support it "
            "exactly. Use another engine."
        )

    def _logprobs(self, samples: Sequence[Sample]) -> list[float]:
        return _flat(self._learner.logprobs(samples, temperature=1.0))


def _flat(rows: Iterable[Sequence[float]]) -> list[float]:
    return [score for row in rows for score in row]


def _telling(sample: Sample) -> tuple[float, int]:
    """Rank samples by how much their log-probs have moved, if any have."""
    return abs(sample.advantage), len(sample.completion_ids)


def _median_gap(found: Sequence[Sequence[float]], expected: Sequence[Sequence[float]]) -> float:
    """Return the median over completions of their mean gaps: an adapter that was not swapped is seen in all of them."""
    gaps = list(map(mean_gap, found, expected))
    return math.nan if any(map(math.isnan, gaps)) else statistics.median(gaps)


def _telling_most(samples: Sequence[Sample], count: int) -> list[Sample]:
    """Return the most telling samples, so many of them, up to a bound of tokens."""
    chosen: list[Sample] = []
    tokens = 0
    for sample in sorted(samples, key=_telling, reverse=True)[:count]:
        if chosen and tokens + len(sample.completion_ids) > _TOKENS:
            break
        chosen.append(sample)
        tokens += len(sample.completion_ids)
    return chosen


def _louder(state: bytes) -> Iterator[bytes]:
    """Yield a learner's state with noise in the adapter's B matrices, each time twice as loud."""
    held = torch.load(io.BytesIO(state), map_location="cpu", weights_only=True)
    generator = torch.Generator().manual_seed(0)
    quiet = {name: tensor for name, tensor in held["adapter"].items() if "lora_B" in name}
    noise = {name: torch.randn(tensor.shape, generator=generator) for name, tensor in quiet.items()}
    for doublings in range(_LOUDEST):
        size = _QUIETEST * 2**doublings
        held["adapter"] |= {name: tensor + (noise[name] * size).to(tensor.dtype) for name, tensor in quiet.items()}
        buffer = io.BytesIO()
        torch.save(held, buffer)
        yield buffer.getvalue()
