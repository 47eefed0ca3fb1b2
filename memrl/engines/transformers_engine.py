"""The engine on transformers: requests that wait together are generated together, on a CPU or one GPU.

Coroutines put requests into a queue. When every coroutine that can run has run, the pump takes the queue in logical
order, cuts it into batches of one adapter each, and runs them one after another; episodes that finish a step early go
on with their next one while others still wait. The decode loop is ours and not `generate`: each row draws from its own
seeded generator, and the log-prob of every sampled id comes for free.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from memrl.engines.adapters import AdapterShelf, cannot_be_loaded
from memrl.engines.engine import ANYWHERE, Place, Sampling, check_request
from memrl.engines.models import score_completion
from memrl.errors import EngineError
from memrl.records import AdapterRef, Completion

log = logging.getLogger(__name__)


@dataclass
class _Request:
    prompt_ids: list[int]
    sampling: Sampling
    adapter: AdapterRef | None
    place: Place
    future: asyncio.Future[Completion]


@dataclass
class _Row:
    """One sequence while it is being decoded."""

    request: _Request
    generator: np.random.Generator
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    stop: str | None = None


class TransformersEngine:
    """Implements `Engine` on a transformers causal LM.

    Args:
        model: the base model. It is wrapped for LoRA when the first adapter comes; its weights are never changed.
        end_ids: ids that end a turn.
        max_batch: requests in one batch.
        keep_versions: adapters held at once; the one that was loaded first is unloaded.
    """

    def __init__(self, model: Any, end_ids: Sequence[int], *, max_batch: int = 64, keep_versions: int = 2) -> None:
        self.model = model.eval()
        self.end_ids = frozenset(end_ids)
        self.max_batch = max_batch
        self.context_length = int(getattr(model.config, "max_position_embeddings", 1 << 30))
        self._adapters = AdapterShelf(keep_versions)
        self._queue: list[_Request] = []
        self._pump_task: asyncio.Task[None] | None = None

    # Adapters ---------------------------------------------------------------------------------------------------

    async def load_adapter(self, ref: AdapterRef) -> None:
        if not self._adapters.lacks(ref):
            return
        self._read_adapter(ref)
        self.model.eval()
        for oldest in self._adapters.add(ref):
            self.model.set_adapter(ref.name)  # peft warns when the active one goes
            self.model.delete_adapter(oldest.name)

    def _read_adapter(self, ref: AdapterRef) -> None:
        from peft import PeftModel

        wrapped = isinstance(self.model, PeftModel)
        try:
            if wrapped:
                self.model.load_adapter(ref.path, adapter_name=ref.name, is_trainable=False)
            else:
                self.model = PeftModel.from_pretrained(self.model, ref.path, adapter_name=ref.name, is_trainable=False)
        except Exception as error:  # peft raises many kinds; all mean that the adapter does not fit this model
            if wrapped and ref.name in self.model.peft_config:
                self.model.delete_adapter(ref.name)
            raise cannot_be_loaded(ref, error) from error

    def _select(self, adapter: AdapterRef | None) -> Any:
        """The model to call for `adapter`, and the context in which to call it."""
        if adapter is None:
            return self.model.disable_adapter() if len(self._adapters) else torch.no_grad()
        self._adapters.require(adapter)
        self.model.set_adapter(adapter.name)
        return torch.no_grad()

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
        loop = asyncio.get_running_loop()
        request = _Request(list(prompt_ids), sampling, adapter, place, loop.create_future())
        self._queue.append(request)
        if self._pump_task is None or self._pump_task.done():
            self._pump_task = loop.create_task(self._pump())
            # Ctrl-C mostly lands in the pump; the loop raises it as well, so nobody else asks the task for it.
            self._pump_task.add_done_callback(lambda task: task.cancelled() or task.exception())
        return await request.future

    async def _pump(self) -> None:
        while self._queue:
            await self._settle()
            # Those that nobody waits for any more (cancelled, timed out) take no place in a batch.
            waiting = [request for request in self._queue if not request.future.done()]
            waiting.sort(key=lambda request: (request.place, len(request.prompt_ids)))
            batch = self._next_batch(waiting) if waiting else []
            taken = {id(request) for request in batch}
            self._queue = [request for request in waiting if id(request) not in taken]
            if not batch:
                continue
            try:
                # In the loop's own thread: with a worker thread, what joins the next batch would depend on timing.
                completions = self._run(batch)
            except Exception as error:
                # torch reports out of memory as RuntimeError, an id that is none as IndexError. Anything else is a bug
                # and goes to those who wait as it is: a pump that died of it would leave them waiting for ever.
                known = isinstance(error, RuntimeError | ValueError | IndexError)
                failure = EngineError(f"generation failed: {error}") if known else error
                failure.__cause__ = error if known else None
                for request in batch:
                    request.future.set_exception(failure)
                continue
            for request, completion in zip(batch, completions, strict=True):
                if not request.future.done():
                    request.future.set_result(completion)

    async def _settle(self) -> None:
        """Wait until no coroutine adds a request any more."""
        size, quiet = -1, 0
        while quiet < 3:
            quiet = quiet + 1 if len(self._queue) == size else 0
            size = len(self._queue)
            await asyncio.sleep(0)

    def _next_batch(self, waiting: list[_Request]) -> list[_Request]:
        first = waiting[0]
        return [request for request in waiting if _kind(request) == _kind(first)][: self.max_batch]

    # Decoding ---------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def _run(self, requests: list[_Request]) -> list[Completion]:
        from transformers import DynamicCache

        adapter = requests[0].adapter
        rows = [_Row(request, np.random.Generator(np.random.PCG64(request.sampling.seed))) for request in requests]
        live = list(rows)
        device = self.model.device
        ids_BT, mask_BT = _left_pad([row.request.prompt_ids for row in live], device)
        positions_BT = (mask_BT.cumsum(-1) - 1).clamp(min=0)
        cache = DynamicCache(config=self.model.config)
        with self._select(adapter):
            while live:
                output = self.model(
                    input_ids=ids_BT,
                    attention_mask=mask_BT,
                    position_ids=positions_BT,
                    past_key_values=cache,
                    use_cache=True,
                    logits_to_keep=1,
                )
                self._sample(live, output.logits[:, -1, :].float())
                keep = [index for index, row in enumerate(live) if row.stop is None]
                if len(keep) < len(live):
                    live = [live[index] for index in keep]
                    if not live:
                        break
                    kept = torch.tensor(keep, device=device)
                    cache.batch_select_indices(kept)
                    mask_BT, positions_BT = mask_BT[kept], positions_BT[kept]
                ids_BT = torch.tensor([[row.ids[-1]] for row in live], device=device)
                mask_BT = torch.cat([mask_BT, mask_BT.new_ones(len(live), 1)], dim=1)
                positions_BT = positions_BT[:, -1:] + 1
        version = adapter.version if adapter else None
        return [
            Completion(
                ids=row.ids, logprobs=row.logprobs, stop="stop" if row.stop == "stop" else "length", version=version
            )
            for row in rows
        ]

    def _sample(self, rows: list[_Row], logits_BV: torch.Tensor) -> None:
        """Draw one id a row and note its log-prob under the distribution it was drawn from."""
        temperatures = [row.request.sampling.temperature or 1.0 for row in rows]
        if any(temperature != 1.0 for temperature in temperatures):
            logits_BV = logits_BV / torch.tensor(temperatures, device=logits_BV.device)[:, None]
        logprobs_BV = torch.log_softmax(logits_BV, dim=-1)
        if rows[0].request.sampling.temperature == 0:
            ids_B = logprobs_BV.argmax(dim=-1)
        else:
            # Inverse transform: the draw depends on the row's own generator alone.
            draws_B = torch.tensor([row.generator.random() for row in rows], dtype=torch.float64)
            totals_BV = logprobs_BV.double().exp().cumsum(dim=-1)
            targets_B1 = draws_B.to(totals_BV.device)[:, None] * totals_BV[:, -1:]
            ids_B = torch.searchsorted(totals_BV, targets_B1, right=True).squeeze(1).clamp(max=logits_BV.shape[1] - 1)
        chosen_B = logprobs_BV.gather(1, ids_B[:, None]).squeeze(1)
        for row, token, logprob in zip(rows, ids_B.tolist(), chosen_B.tolist(), strict=True):
            row.ids.append(token)
            row.logprobs.append(logprob)
            if token in self.end_ids:
                row.stop = "stop"
            elif len(row.ids) >= row.request.sampling.max_tokens:
                row.stop = "length"

    async def score(
        self, prompt_ids: Sequence[int], completion_ids: Sequence[int], adapter: AdapterRef | None
    ) -> list[float]:
        with self._select(adapter):
            return score_completion(self.model, prompt_ids, completion_ids)

    async def sleep(self) -> None:
        """Nothing is given back: the weights stay where they are."""

    async def wake(self) -> None:
        """Do nothing: it never sleeps."""

    def close(self) -> None:
        """Nothing to end: the model goes when nobody holds it."""


def _left_pad(prompts: list[list[int]], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and mask, (B, T), padded on the left with id 0 (masked)."""
    longest = max(len(prompt) for prompt in prompts)
    ids = torch.tensor([[0] * (longest - len(prompt)) + prompt for prompt in prompts], device=device)
    mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts], device=device)
    return ids, mask


def _kind(request: _Request) -> tuple[AdapterRef | None, bool, int]:
    """Return what the requests of one batch share. The step is part of it: how far one step's rollout has come when the
    next one's begins depends on timing, and a batch must not."""
    return request.adapter, request.sampling.temperature == 0, request.place.step
