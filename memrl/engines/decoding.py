"""Decoding on transformers: rows that are sampled together, token by token.

There are two ways. `TreeDecoder` is for models that read trees (`memrl.engines.trees`): prompts that begin alike are
read once, and a request joins whenever a row has ended. `PlainDecoder` is for all others: it asks nothing of a model
but what `generate` asks, and a batch runs to its end. In both, equal prompts are read once where rows can be repeated.

No model is believed to do what it should: a cache that is not used, or rows that padding reaches, would sample from
another distribution than the one that is trained, without a word. `decodes_trees` and `way_to_decode` try it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers.cache_utils import DynamicCache, DynamicLayer

from memrl.engines.canary import bound_of, mean_gap, worst_gap
from memrl.engines.engine import Counts, Sampling
from memrl.engines.guide import Course, held_to
from memrl.engines.heads import Head
from memrl.engines.memory import first_line
from memrl.engines.models import score_completion
from memrl.engines.trees import TreeRow, as_mask, grow, lay_out, plan_batches, rows_shared
from memrl.errors import ConfigError

_READ_AT_ONCE = 8192
"""Padded prompt tokens in one forward pass."""
_SAME = 0.1
"""Nats by which log-probs of two decoders may differ: rounding, in bfloat16 too."""
_ROOM = 32
"""Columns by which a cache grows."""
_EMPTY = 4
"""Empty places are given up once one place in so many is empty."""
_CACHES = ("past_key_values", "cache_params")
"""Names by which models take a cache and give it back."""
Way = Literal["padded", "equal", "alone"]
"""The lines that a model can take at once: any, those whose prompts are equally long, or one."""


@dataclass
class Line:
    """One completion while it is being decoded."""

    prompt_ids: list[int]
    sampling: Sampling
    generator: np.random.Generator = field(init=False)
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    course: Course | None = None
    """The grammar that it is held to."""
    stop: str | None = None
    """What ended it: "stop" (a token that ends a turn) or "length"."""

    def __post_init__(self) -> None:
        self.generator = np.random.Generator(np.random.PCG64(self.sampling.seed))


class Decoder(ABC):
    """A batch of lines under one model.

    Args:
        model: the causal LM.
        end_ids: ids that end a turn.
        counts: is added to.
    """

    def __init__(self, model: Any, end_ids: frozenset[int], counts: Counts) -> None:
        self.model = model
        self._end_ids = end_ids
        self._counts = counts

    @property
    @abstractmethod
    def lines(self) -> list[Line]:
        """The lines that are decoded."""

    @property
    @abstractmethod
    def open(self) -> bool:
        """True where lines may join now."""

    @abstractmethod
    def join(self, lines: Sequence[Line]) -> None:
        """Read the prompts of new lines and sample the first token of each."""

    @abstractmethod
    def advance(self) -> None:
        """Sample one token more for each line that has not ended."""

    @abstractmethod
    def take_ended(self) -> list[Line]:
        """Return the lines that have ended, and hold them no more."""

    def _sample(self, lines: Sequence[Line], logits_BV: Tensor) -> None:
        """Draw one id a line and note its log-prob under the distribution it was drawn from."""
        logits_BV = _guided(lines, logits_BV)
        temperatures = [line.sampling.temperature or 1.0 for line in lines]
        if any(temperature != 1.0 for temperature in temperatures):
            logits_BV = logits_BV / torch.tensor(temperatures, device=logits_BV.device)[:, None]
        logprobs_BV = torch.log_softmax(logits_BV, dim=-1)
        if lines[0].sampling.temperature == 0:
            ids_B = logprobs_BV.argmax(dim=-1)
        else:
            # Inverse transform: the draw depends on the line's own generator alone.
            draws_B = torch.tensor([line.generator.random() for line in lines], dtype=torch.float64)
            totals_BV = logprobs_BV.double().exp().cumsum(dim=-1)
            targets_B1 = draws_B.to(totals_BV.device)[:, None] * totals_BV[:, -1:]
            ids_B = torch.searchsorted(totals_BV, targets_B1, right=True).squeeze(1).clamp(max=logits_BV.shape[1] - 1)
        chosen_B = logprobs_BV.gather(1, ids_B[:, None]).squeeze(1)
        for line, token, logprob in zip(lines, ids_B.tolist(), chosen_B.tolist(), strict=True):
            line.ids.append(token)
            line.logprobs.append(logprob)
            if line.course is not None:
                line.course.advance(token)
            if token in self._end_ids:
                line.stop = "stop"
            elif len(line.ids) >= line.sampling.max_tokens:
                line.stop = "length"

    def _note(self, padded: int, read: int = 0) -> None:
        """Count a pass over so many positions, in which so many prompt tokens are read."""
        self._counts.passes += 1
        self._counts.read += read
        self._counts.padded += padded


def _guided(lines: Sequence[Line], logits_BV: Tensor) -> Tensor:
    """Return the logits, those of lines that are held to a grammar with -inf where it lets nothing through."""
    held = [(row, line.course) for row, line in enumerate(lines) if line.course is not None]
    if not held:
        return logits_BV
    rows = torch.tensor([row for row, _ in held], device=logits_BV.device)
    bits = torch.from_numpy(np.stack([course.next() for _, course in held])).to(logits_BV.device)
    return logits_BV.index_copy(0, rows, held_to(logits_BV[rows], bits))


def _distinct(prompts: Sequence[list[int]]) -> tuple[list[list[int]], list[int]]:
    """Return the prompts, each once, and for each of those given which it is."""
    places: dict[tuple[int, ...], int] = {}
    numbers = [places.setdefault(tuple(prompt), len(places)) for prompt in prompts]
    return [list(prompt) for prompt in places], numbers


class PlainDecoder(Decoder):
    """Batches with the cache that a model makes itself, padded on the left.

    Args:
        way: which lines may share a batch.
    """

    def __init__(self, model: Any, end_ids: frozenset[int], counts: Counts, way: Way = "padded") -> None:
        super().__init__(model, end_ids, counts)
        self._way = way
        self._batches: list[_Batch] = []

    @property
    def lines(self) -> list[Line]:
        return [line for batch in self._batches for line in batch.lines]

    @property
    def open(self) -> bool:
        return not self.lines

    def join(self, lines: Sequence[Line]) -> None:
        together: dict[int, list[Line]] = {}
        for number, line in enumerate(lines):
            key = {"padded": 0, "equal": len(line.prompt_ids), "alone": number}[self._way]
            together.setdefault(key, []).append(line)
        self._batches = [_Batch(self.model, batch) for batch in together.values()]
        for batch in self._batches:
            logits_BV = batch.read()
            self._counts.prompt += sum(len(line.prompt_ids) for line in batch.lines)
            self._note(batch.padded, batch.tokens)
            self._sample(batch.lines, logits_BV)

    def advance(self) -> None:
        for batch in self._batches:
            if batch.lines:
                self._note(batch.rows)
                self._sample(batch.lines, batch.advance())

    def take_ended(self) -> list[Line]:
        return [line for batch in self._batches for line in batch.take_ended()]


class _Batch:
    """Lines that go through a model together."""

    def __init__(self, model: Any, lines: Sequence[Line]) -> None:
        self._model = model
        self._cache: Any = None
        self._cache_name = ""
        self._places: list[Line | None] = list(lines)
        """The line of each row; None: it has ended, and its row could not be taken out."""
        self.padded = self.tokens = 0
        """Positions that were read of prompts, and tokens among them."""

    @property
    def lines(self) -> list[Line]:
        """The lines that have not been taken."""
        return [line for line in self._places if line is not None]

    @property
    def rows(self) -> int:
        """Rows that go through the model."""
        return len(self._places)

    def read(self) -> Tensor:
        """Read the prompts, each once if the model's cache lets rows be repeated; returns the logits of each line."""
        given = [line.prompt_ids for line in self.lines]
        prompts, numbers = _distinct(given)
        logits_BV = self._read(prompts)
        if len(prompts) < len(given):
            if self._selects:
                spread = torch.tensor(numbers, device=self._model.device)
                self._select(spread)
                return logits_BV[spread]
            prompts, logits_BV = given, self._read(given)
        return logits_BV

    def _read(self, prompts: Sequence[list[int]]) -> Tensor:
        longest = max(map(len, prompts))
        pads = [longest - len(prompt) for prompt in prompts]
        device = self._model.device
        ids_BT = torch.tensor([[0] * pad + prompt for pad, prompt in zip(pads, prompts, strict=True)], device=device)
        mask_BT = torch.tensor([[0] * pad + [1] * (longest - pad) for pad in pads], device=device)
        self._mask_BT, self._positions_BT = mask_BT, (mask_BT.cumsum(-1) - 1).clamp(min=0)
        self._cache, self._cache_name = None, ""
        self.padded += ids_BT.numel()
        self.tokens += sum(map(len, prompts))
        return self._forward(ids_BT)

    def advance(self) -> Tensor:
        """Read the last token of each row; returns the logits of each line."""
        ids = [[0 if line is None else line.ids[-1]] for line in self._places]
        self._mask_BT = torch.cat([self._mask_BT, self._mask_BT.new_ones(len(ids), 1)], dim=1)
        self._positions_BT = self._positions_BT[:, -1:] + 1
        logits_BV = self._forward(torch.tensor(ids, device=self._model.device))
        live = [place for place, line in enumerate(self._places) if line is not None]
        return logits_BV if len(live) == len(ids) else logits_BV[live]

    def _forward(self, ids_BT: Tensor) -> Tensor:
        # The model makes its cache itself: some have one of a kind of their own.
        held = {} if self._cache is None else {self._cache_name: self._cache}
        # Mamba's cache is a state and has no columns: after the prompts there is nothing to hide.
        seen_BT = None if self._cache_name == "cache_params" else self._mask_BT
        output = self._model(
            input_ids=ids_BT,
            attention_mask=seen_BT,
            position_ids=self._positions_BT,
            use_cache=True,
            logits_to_keep=1,
            **held,
        )
        if self._cache is None:
            self._cache_name = next((name for name in _CACHES if getattr(output, name, None) is not None), "")
            if not self._cache_name:
                raise ValueError("it gives back no cache: its state is kept in itself, or nowhere")
            self._cache = getattr(output, self._cache_name)
        logits: Tensor = output.logits[:, -1, :].float()
        return logits

    @property
    def _selects(self) -> bool:
        return hasattr(self._cache, "reorder_cache")

    def take_ended(self) -> list[Line]:
        """Return the lines that have ended, and hold them no more; nor their rows, where the cache lets them go."""
        ended = [line for line in self.lines if line.stop is not None]
        if not ended:
            return ended
        self._places = [None if line is None or line.stop is not None else line for line in self._places]
        kept = [place for place, line in enumerate(self._places) if line is not None]
        if not kept:
            self._cache = None
        elif self._selects:
            self._places = [self._places[place] for place in kept]
            self._select(torch.tensor(kept, device=self._model.device))
        return ended

    def _select(self, rows: Tensor) -> None:
        # Not `batch_select_indices`: layers of a recurrent state have none, and hybrid ones forget their state in it.
        self._cache.reorder_cache(rows)
        self._mask_BT, self._positions_BT = self._mask_BT[rows], self._positions_BT[rows]


class _Layer(DynamicLayer):
    """A layer of the cache: a row for each place of a batch, and room to spare in it, so that a new token is written
    where it belongs. Otherwise everything would be copied for it.

    All rows end in the same column; `begin` is the first that is still in use by one of them.
    """

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        super().__init__()
        self.dtype, self.device, self.is_initialized = keys.dtype, keys.device, True
        self.begin = self.end = 0
        self._held = [like.new_zeros(0, like.shape[1], 0, like.shape[3]) for like in (keys, values)]

    def _forget_views(self) -> None:
        """Let go of what `update` has returned, so that the memory behind it goes with what is given up."""
        self.keys = self.values = self._held[0].new_zeros(0)

    def get_seq_length(self) -> int:
        """Columns that are in use."""
        return self.end - self.begin

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Write the next token of each row, (B, heads, 1, D), and return all."""
        self._make_room(self._held[0].shape[0], self.end + 1)
        for held, new in zip(self._held, (key_states, value_states), strict=True):
            held[:, :, self.end : self.end + 1] = new
        self.end += 1
        self.keys, self.values = (held[:, :, self.begin : self.end] for held in self._held)
        return self.keys, self.values

    def put(self, places: Tensor, both: Sequence[Tensor], rows: int) -> None:
        """Fill places with (B, heads, T, D), keys and values, so that they end where the others do."""
        length = both[0].shape[2]
        if length > self.end:  # the others move to the right
            self._held = [pad(held, (0, 0, length - self.end, 0)) for held in self._held]
            self.begin, self.end = self.begin + length - self.end, length
        self._make_room(rows, self.end)
        for held, new in zip(self._held, both, strict=True):
            held[places, :, : self.end - length] = 0  # a NaN that was left there would get through the mask
            held[places, :, self.end - length : self.end] = new

    def keep(self, places: Tensor) -> None:
        """Hold only these rows, from `begin` on."""
        self._forget_views()
        self._held = [held[places, :, self.begin :] for held in self._held]
        self.begin, self.end = 0, self.end - self.begin

    def _make_room(self, rows: int, columns: int) -> None:
        below, right = max(0, rows - self._held[0].shape[0]), columns - self._held[0].shape[2]
        if right > 0 and self.begin:
            self._held = [held[:, :, self.begin :] for held in self._held]
            self.begin, self.end = 0, self.end - self.begin
        if below or right > 0:
            self._forget_views()
            more = (0, 0, 0, right + _ROOM if right > 0 else 0, 0, 0, 0, below)
            self._held = [pad(held, more) for held in self._held]


class TreeDecoder(Decoder):
    """Prompts are read as trees; lines come and go between two tokens.

    A line that has ended leaves its place empty, for one that joins.

    Args:
        model: the causal LM itself, which reads trees.
        head: its head.
    """

    def __init__(self, model: Any, end_ids: frozenset[int], counts: Counts, head: Head) -> None:
        super().__init__(model, end_ids, counts)
        self._head = head
        self._places: list[Line | None] = []
        """The line of each row; None: it has ended, and nothing has taken its row."""
        self._cache: DynamicCache | None = None
        self._lengths: list[int] = []
        """Tokens of each place that are in the cache; 0 where it is empty."""

    @property
    def lines(self) -> list[Line]:
        return [line for line in self._places if line is not None]

    @property
    def open(self) -> bool:
        return True

    def join(self, lines: Sequence[Line]) -> None:
        self._close_ranks(len(lines))
        prompts, numbers = _distinct([line.prompt_ids for line in lines])
        places = [place for place, line in enumerate(self._places) if line is None][: len(lines)]
        more = len(lines) - len(places)
        places += range(len(self._places), len(self._places) + more)
        self._places += [None] * more
        self._lengths += [0] * more
        wanted: list[list[int]] = [[] for _ in prompts]
        for place, line, number in zip(places, lines, numbers, strict=True):
            self._places[place], self._lengths[place] = line, len(line.prompt_ids)
            wanted[number].append(place)
        hidden: list[Any] = [None] * len(prompts)
        rows = rows_shared(prompts, _READ_AT_ONCE)
        for batch in plan_batches([row.places for row in rows], _READ_AT_ONCE):
            self._read([rows[number] for number in batch], prompts, wanted, hidden)
        self._counts.prompt += sum(len(line.prompt_ids) for line in lines)
        self._begin()
        self._sample(lines, self._head(torch.stack([hidden[number] for number in numbers])).float())

    def _read(
        self,
        rows: Sequence[TreeRow],
        prompts: Sequence[list[int]],
        wanted: Sequence[list[int]],
        hidden: list[Any],
    ) -> None:
        """Read the prompts of some rows into the places where they are wanted.

        Args:
            wanted: by prompt.
            hidden: gets the last hidden state of each prompt.
        """
        device = self.model.device
        trees = [grow([prompts[member] for member in row.members]) for row in rows]
        laid_out = lay_out(trees, device)
        read = DynamicCache()
        output = self.model.base_model(past_key_values=read, use_cache=True, **laid_out.asked_of(self.model))
        self._note(laid_out.ids_RL.numel(), sum(len(tree.ids) for tree in trees))
        members = [member for row in rows for member in row.members]
        paths = [path for tree in trees for path in tree.paths]
        tree_of = [number for number, tree in enumerate(trees) for _ in tree.paths]
        ends = torch.tensor([path[-1] for path in paths], device=device)
        for member, state in zip(members, output.last_hidden_state[tree_of, ends], strict=True):
            hidden[member] = state
        # Each place gets its path, padded on the left.
        longest = max(map(len, paths))
        places = [place for member in members for place in wanted[member]]
        repeats = [number for number, member in enumerate(members) for _ in wanted[member]]
        sources = torch.tensor([tree_of[number] for number in repeats], device=device)[:, None]
        columns = torch.tensor([[0] * (longest - len(paths[n])) + paths[n] for n in repeats], device=device)
        target = torch.tensor(places, device=device)
        if self._cache is None:
            self._cache = DynamicCache()
            self._cache.layers = [_Layer(layer.keys, layer.values) for layer in read.layers]
        for layer, found in zip(self._layers, read.layers, strict=True):
            both = [held.transpose(1, 2)[sources, columns].transpose(1, 2) for held in (found.keys, found.values)]
            layer.put(target, both, len(self._places))

    @property
    def _layers(self) -> list[Any]:
        return [] if self._cache is None else self._cache.layers

    def _begin(self) -> None:
        """Note in all layers where the longest line begins."""
        for layer in self._layers:
            layer.begin = layer.end - max(self._lengths)

    def advance(self) -> None:
        self._close_ranks(0)
        device = self.model.device
        self._lengths = [length + (line is not None) for length, line in zip(self._lengths, self._places, strict=True)]
        width = max(self._lengths)
        for layer in self._layers:
            layer.begin = layer.end + 1 - width
        begins = torch.tensor([width - max(length, 1) for length in self._lengths], device=device)
        seen = torch.arange(width, device=device) >= begins[:, None]
        output = self.model.base_model(
            input_ids=torch.tensor([[0 if line is None else line.ids[-1]] for line in self._places], device=device),
            attention_mask=as_mask(self.model, seen[:, None, None]),
            position_ids=torch.tensor([[max(length - 1, 0)] for length in self._lengths], device=device),
            past_key_values=self._cache,
            use_cache=True,
        )
        self._note(len(self._places))
        live = [place for place, line in enumerate(self._places) if line is not None]
        self._sample(self.lines, self._head(output.last_hidden_state[live, -1]).float())

    def take_ended(self) -> list[Line]:
        ended = [line for line in self.lines if line.stop is not None]
        for place, line in enumerate(self._places):
            if line is not None and line.stop is not None:
                self._places[place], self._lengths[place] = None, 0
        return ended

    def _close_ranks(self, wanted: int) -> None:
        """Give up empty places once there are many of them that are not wanted."""
        held = [place for place, line in enumerate(self._places) if line is not None]
        if not held:
            self._cache, self._places, self._lengths = None, [], []
            return
        if (len(self._places) - len(held) - wanted) * _EMPTY < len(self._places):
            return
        self._begin()
        places = torch.tensor(held, device=self.model.device)
        for layer in self._layers:
            layer.keep(places)
        self._places = [self._places[place] for place in held]
        self._lengths = [self._lengths[place] for place in held]


def _probe_lines(model: Any) -> list[Line]:
    """Return lines whose prompts differ in length, of which two are equal, and which end one after another."""
    size = model.get_input_embeddings().weight.shape[0]
    prompts = [[(7 * place + row) % size for place in range(9)] + [row % size] * row for row in (1, 1, 2, 4)]
    return [Line(prompt, Sampling(2 + number, 1.0, number)) for number, prompt in enumerate(prompts)]


def _play(decoder: Decoder, *parts: Sequence[Line]) -> None:
    """Decode lines to their end, the parts one token after another."""
    for part in parts:
        decoder.join(part)
        decoder.take_ended()
        if decoder.lines:
            decoder.advance()
    while decoder.lines:
        decoder.take_ended()
        if decoder.lines:
            decoder.advance()


@torch.no_grad()
def decodes_trees(model: Any, head: Head) -> bool:
    """Return whether a model that reads trees also goes on from them, line by line, as it does from plain batches."""
    trees, plain = _probe_lines(model), _probe_lines(model)
    try:
        _play(TreeDecoder(model, frozenset(), Counts(), head), trees[:3], trees[3:])
        _play(PlainDecoder(model, frozenset(), Counts()), plain)
    except Exception:  # a cache that is laid out otherwise says so in its own way
        return False
    return all(_alike(one, other) for one, other in zip(trees, plain, strict=True))


@torch.no_grad()
def way_to_decode(model: Any) -> Way:
    """Return which lines a model can take at once, so that their log-probs are those of a pass without a cache.

    Raises:
        ConfigError: it cannot take even one.
    """
    dtype = str(next(model.parameters()).dtype).removeprefix("torch.")
    bound = bound_of(dtype, carried=True)
    why = ""
    for way in get_args(Way):
        lines = _probe_lines(model)
        try:
            _play(PlainDecoder(model, frozenset(), Counts(), way), lines)
            plain = [score_completion(model, line.prompt_ids, line.ids) for line in lines]
            gap = worst_gap([mean_gap(line.logprobs, scores) for line, scores in zip(lines, plain, strict=True)])
        except Exception as error:  # a model that takes no cache, or none of this kind, says so in its own way
            why = first_line(error)
            continue
        if gap <= bound:  # NaN is no agreement
            return way
        why = f"its log-probs with a cache are {gap:.2g} nats a token away from those without (bound {bound:.2g})"
    raise ConfigError(
        f"rollout.engine=transformers cannot sample from {type(model).__name__}: {why}. Use rollout.engine=vllm if "
        "vLLM has this architecture, another version of transformers, or another model."
    )


def _alike(one: Line, other: Line) -> bool:
    """Compare log-probs for as long as the same ids were drawn."""
    for first, second, gap in zip(one.ids, other.ids, np.subtract(one.logprobs, other.logprobs), strict=True):
        if first != second:
            break
        if not abs(gap) <= _SAME:  # NaN is no agreement
            return False
    return one.ids[0] == other.ids[0] or abs(one.logprobs[0] - other.logprobs[0]) <= _SAME
