"""The engine on transformers: requests that wait together are generated together, on a CPU or one GPU.

Coroutines put requests into a queue. When every coroutine that can run has run, the pump takes requests of one kind
from it in logical order and decodes them; when one ends, its coroutine goes on, and what it asks next joins the others
where the model allows it. The decode loop is ours and not `generate`: each request draws from its own seeded generator,
and the log-prob of every sampled id comes for free.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import torch

from memrl.engines.adapted import AdaptedModel
from memrl.engines.decoding import Decoder, Line, PlainDecoder, TreeDecoder, Way, decodes_trees, way_to_decode
from memrl.engines.engine import ANYWHERE, Counts, Place, Sampling, check_request
from memrl.engines.guide import Guide
from memrl.engines.memory import first_line, give_back_memory, out_of_memory
from memrl.engines.models import score_completion
from memrl.engines.trees import reads_trees
from memrl.errors import EngineError
from memrl.records import AdapterRef, Completion

log = logging.getLogger(__name__)

_SMALL = 20_000_000
"""Parameters below which a model on a CPU is computed by one thread."""
_PATIENCE = 8
"""Full batches of other kinds that a request lets go first."""
_JOIN = 4
"""New requests join those that are decoded once there is one for so many of them: a join costs a pass."""


class _Kind(NamedTuple):
    """The things that the requests of one batch share, in the order in which kinds are taken.

    The step is part of it: how far one step's rollout has come when the next one's begins depends on timing, and a
    batch must not. What the base model is asked (by readers, judges) comes last, when all of a step's is there: much of
    it is equal.
    """

    step: int
    base: bool
    version: int
    name: str
    greedy: bool


@dataclass
class _Request:
    prompt_ids: list[int]
    sampling: Sampling
    adapter: AdapterRef | None
    place: Place
    future: asyncio.Future[Completion]
    born: int
    """Lines that had begun when it came."""
    kind: _Kind = field(init=False)
    twin: object = field(init=False)
    """Equal for requests whose completions are equal."""
    order: tuple[object, ...] = field(init=False)

    def __post_init__(self) -> None:
        place, greedy = self.place, self.sampling.temperature == 0
        version, name = (-1, "") if self.adapter is None else (self.adapter.version, self.adapter.name)
        self.kind = _Kind(place.step, self.adapter is None, version, name, greedy)
        self.twin = (tuple(self.prompt_ids), replace(self.sampling, seed=0)) if greedy else id(self)
        self.order = (place.step, place.stream, place.episode, place.stage, place.number, len(self.prompt_ids))

    @property
    def tokens(self) -> int:
        return len(self.prompt_ids) + self.sampling.max_tokens


@dataclass
class _Running:
    """The requests that are decoded, by the line that answers them."""

    decoder: Decoder
    asked: dict[int, list[_Request]] = field(default_factory=dict)

    def all(self) -> list[_Request]:
        return [request for requests in self.asked.values() for request in requests]


class TransformersEngine:
    """Implements `Engine` on a transformers causal LM.

    Args:
        model: the base model; its weights are never changed.
        end_ids: ids that end a turn.
        max_batch: requests in one batch.
        max_batch_tokens: tokens for which the cache of one batch may have room, padding included.
        keep_versions: adapters held at once; the one that was loaded first is unloaded.
        share_prefixes: read what prompts begin with alike once, and let requests join a batch, where the model can.
        merge: hold adapters merged into copies of the model.
        guide: the grammar of requests that ask to be held to it.

    Raises:
        ConfigError: what the model computes token by token is not what it computes of a whole text.
    """

    def __init__(
        self,
        model: Any,
        end_ids: Sequence[int],
        *,
        max_batch: int = 64,
        max_batch_tokens: int = 65536,
        keep_versions: int = 2,
        share_prefixes: bool = True,
        merge: bool = False,
        guide: Guide | None = None,
    ) -> None:
        self.end_ids = frozenset(end_ids)
        self.max_batch = max_batch
        self.max_batch_tokens = max_batch_tokens
        self.context_length = int(getattr(model.config.get_text_config(), "max_position_embeddings", 1 << 30))
        self.counts = Counts()
        """What was computed so far."""
        # Where a pass takes milliseconds, its threads wait for each other longer than they work (docs/performance.md).
        self._small = model.device.type == "cpu" and sum(p.numel() for p in model.parameters()) < _SMALL
        self._vocabulary = int(model.get_input_embeddings().weight.shape[0])
        self._begun = 0
        self._guide = guide
        self._weights = AdaptedModel(model, keep_versions=keep_versions, merge=merge)
        head = self._weights.head(model) if share_prefixes and reads_trees(model) else None
        self._reads_trees = head is not None and decodes_trees(model, head)
        self._way: Way = "padded" if self._reads_trees else way_to_decode(model)
        self._in_turn = False
        self._queue: list[_Request] = []
        self._pump_task: asyncio.Task[None] | None = None

    async def load_adapter(self, ref: AdapterRef) -> None:
        self._weights.load(ref)

    def take_turns(self) -> None:
        """Serve requests in the order in which they come, whatever they ask, and let the loop's other work go on
        between two tokens. For programs that serve: what is decoded together then depends on timing, as in training it
        must not."""
        self._in_turn = True

    # Requests ---------------------------------------------------------------------------------------------------

    async def generate(
        self,
        prompt_ids: Sequence[int],
        sampling: Sampling,
        adapter: AdapterRef | None = None,
        *,
        place: Place = ANYWHERE,
    ) -> Completion:
        check_request(prompt_ids, sampling, self.context_length)
        if not 0 <= min(prompt_ids) <= max(prompt_ids) < self._vocabulary:
            raise EngineError(
                f"generation failed: the prompt holds an id that is none of the model's {self._vocabulary}"
            )
        if adapter is not None:
            self._weights.require(adapter)
        loop = asyncio.get_running_loop()
        request = _Request(list(prompt_ids), sampling, adapter, place, loop.create_future(), self._begun)
        self._queue.append(request)
        if self._pump_task is None or self._pump_task.done():
            self._pump_task = loop.create_task(self._pump())
            # Ctrl-C mostly lands in the pump; the loop raises it as well, so nobody else asks the task for it.
            self._pump_task.add_done_callback(lambda task: task.cancelled() or task.exception())
        return await request.future

    async def _pump(self) -> None:
        while self._queue:
            await self._settle()
            if waiting := self._waiting():
                passed = self._passed_over(waiting)
                await self._decode(min(request.kind for request in passed or waiting))

    async def _settle(self) -> None:
        """Wait until no coroutine adds a request any more."""
        size, quiet = -1, 0
        while quiet < 3:
            quiet = quiet + 1 if len(self._queue) == size else 0
            size = len(self._queue)
            await asyncio.sleep(0)

    def _waiting(self) -> list[_Request]:
        """Drop the requests that nobody waits for any more (cancelled, timed out) and return the others in order."""
        waiting = [request for request in self._queue if not request.future.done()]
        waiting.sort(key=lambda request: request.order)
        self._queue = waiting
        return waiting

    def _passed_over(self, waiting: Sequence[_Request]) -> list[_Request]:
        """Return those that have let so many others go first that it is their turn."""
        if self._in_turn:
            return list(waiting[:1])
        return [request for request in waiting if self._begun - request.born >= _PATIENCE * self.max_batch]

    async def _decode(self, kind: _Kind) -> None:
        """Decode what waits of one kind, and what of it comes meanwhile."""
        running: _Running | None = None
        while True:
            new = self._take(kind, running)
            try:
                # In the loop's own thread: with a worker thread, what joins would depend on timing.
                running = self._work(running, new)
                ended = [] if running is None else running.decoder.take_ended()
            except Exception as error:
                held = [*([] if running is None else running.all()), *new]
                if not self._again_with_fewer(held, error):
                    _fail(held, error)
                return
            if running is None:
                return
            for line in ended:
                version = None if kind.base else kind.version
                for request in running.asked.pop(id(line)):
                    if not request.future.done():
                        request.future.set_result(
                            Completion(
                                ids=list(line.ids),
                                logprobs=list(line.logprobs),
                                stop="stop" if line.stop == "stop" else "length",
                                version=version,
                            )
                        )
            if ended:
                await self._settle()
            elif self._in_turn:
                await asyncio.sleep(0)
            if ended or self._in_turn:
                self._give_up(running)

    def _give_up(self, running: _Running) -> None:
        """End the lines that nobody waits for any more."""
        for line in running.decoder.lines:
            if all(request.future.done() for request in running.asked[id(line)]):
                line.stop = "length"

    def _take(self, kind: _Kind, running: _Running | None) -> list[_Request]:
        """Take from the queue what begins to be decoded now."""
        if running is not None and (not running.decoder.open or not self._queue):
            return []
        everything = self._waiting()
        if running is not None and any(request.kind != kind for request in self._passed_over(everything)):
            return []
        waiting = [request for request in everything if request.kind == kind]
        held = [] if running is None else running.decoder.lines
        longest = max((len(line.prompt_ids) + line.sampling.max_tokens for line in held), default=0)
        chosen: set[object] = set()
        for request in waiting:
            if request.twin not in chosen:
                lines = len(held) + len(chosen) + 1
                widest = max(longest, request.tokens)
                if lines > self.max_batch or (lines > 1 and lines * widest > self.max_batch_tokens):
                    break
                longest = widest
            chosen.add(request.twin)
        if len(chosen) * _JOIN < len(held):
            return []
        taken = [request for request in waiting if request.twin in chosen]  # equal ones further back come along
        gone = {id(request) for request in taken}
        self._queue = [request for request in self._queue if id(request) not in gone]
        return taken

    def _work(self, running: _Running | None, new: list[_Request]) -> _Running | None:
        """Begin with new requests, or go on by one token with those that run; None: there is nothing to do."""
        threads = torch.get_num_threads()
        if self._small and threads > 1:
            torch.set_num_threads(1)
        try:
            return self._pass(running, new)
        finally:
            if threads != torch.get_num_threads():
                torch.set_num_threads(threads)

    @torch.no_grad()
    def _pass(self, running: _Running | None, new: list[_Request]) -> _Running | None:
        if running is None:
            if not new:
                return None
            running = _Running(self._decoder(new[0].adapter))
        if not new:
            if not running.decoder.lines:
                return None
            self._weights.under(running.all()[0].adapter)
            running.decoder.advance()
            return running
        self._weights.under(new[0].adapter)
        together: dict[object, list[_Request]] = {}
        for request in new:
            together.setdefault(request.twin, []).append(request)
        lines = [self._line(requests[0]) for requests in together.values()]
        self._begun += len(lines)
        running.decoder.join(lines)
        running.asked |= {id(line): requests for line, requests in zip(lines, together.values(), strict=True)}
        return running

    def _line(self, request: _Request) -> Line:
        guide = self._guide if request.sampling.guided else None
        return Line(request.prompt_ids, request.sampling, course=None if guide is None else guide.begin())

    def _decoder(self, adapter: AdapterRef | None) -> Decoder:
        causal = self._weights.under(adapter)
        head = self._weights.head(causal) if self._reads_trees else None
        if head is None:
            return PlainDecoder(causal, self.end_ids, self.counts, self._way)
        return TreeDecoder(causal, self.end_ids, self.counts, head)

    def _again_with_fewer(self, requests: list[_Request], error: Exception) -> bool:
        """Put requests back after running out of memory, and decode half as many at once from now on."""
        lines = len({request.twin for request in requests})
        if lines < 2 or not out_of_memory(error):
            return False
        self.max_batch = max(1, min(lines, self.max_batch) // 2)
        log.warning(
            "out of memory with %d requests at once; from now on at most %d (rollout.max_batch, "
            "rollout.max_batch_tokens): %s",
            lines,
            self.max_batch,
            first_line(error),
        )
        give_back_memory()
        self._queue = requests + self._queue
        return True

    async def score(
        self, prompt_ids: Sequence[int], completion_ids: Sequence[int], adapter: AdapterRef | None
    ) -> list[float]:
        return score_completion(self._weights.under(adapter), prompt_ids, completion_ids)

    async def sleep(self) -> None:
        """Nothing is given back: the weights stay where they are."""

    async def wake(self) -> None:
        """Do nothing: it never sleeps."""

    def close(self) -> None:
        """Nothing to end: the model goes when nobody holds it."""


def _fail(requests: Sequence[_Request], error: Exception) -> None:
    """Tell those who wait.

    torch reports out of memory as RuntimeError, an id that is none as IndexError. Anything else is a bug and goes to
    them as it is: a pump that died of it would leave them waiting for ever.
    """
    known = isinstance(error, RuntimeError | ValueError | IndexError) and not isinstance(error, EngineError)
    failure = EngineError(f"generation failed: {error}") if known else error
    if out_of_memory(error):
        tokens = max((request.tokens for request in requests), default=0)
        failure = EngineError(
            f"generation failed: out of memory with one request of up to {tokens:,} tokens: {first_line(error)}. Lower "
            "rollout.max_prompt_tokens or rollout.max_completion_tokens, or use model.dtype=bfloat16."
        )
    failure.__cause__ = error if known else None
    for request in requests:
        if not request.future.done():
            request.future.set_exception(failure)
