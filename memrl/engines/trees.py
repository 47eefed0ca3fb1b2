"""Sequences that begin alike are read once: they share a row, in which each token is a node of a tree.

The episodes of a group begin with the same prompt, and those that have written the same memory go on with the same
ones; the questions over one memory differ in their last words. A row holds the tree of such sequences, one token a
place; a token attends to itself and to those before it on its own path, and its position is its depth. Hidden states
and gradients are those of the sequences one by one, but for rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

_WORTH = 8
"""Tokens that a sequence must share with the one before it, to stand in its row."""
_ROW = 512
"""Places of a row, or twice those of the longest sequence."""
_WINDOWS = ("attention_chunk_size", "attention_types", "attention_window_size", "local_attention", "window_size")
"""Further settings by which models attend to the last tokens only."""
_PAIRS = 640
"""Pairs of places that cost as much to look at as one place costs otherwise (measured on a CPU, 160 dimensions; wider
models bear more)."""
_SAME = {torch.float64: 1e-6, torch.float32: 1e-3}
"""Difference of two hidden states, relative to their size, up to which they are the same but for rounding."""
_HALF_SAME = 5e-2


@dataclass(frozen=True)
class TreeRow:
    """One row of a batch."""

    members: tuple[int, ...]
    """Its sequences, by their places among all."""
    places: int
    """Input positions that it takes."""


@dataclass(frozen=True)
class Tree:
    """The tokens of some sequences, each common beginning once."""

    ids: list[int]
    depths: list[int]
    paths: list[list[int]]
    """For each sequence the places of its tokens, in order."""


@dataclass(frozen=True)
class LaidOut:
    """Trees as a model takes them: R rows of L places, padded on the right."""

    ids_RL: Tensor
    depths_RL: Tensor | None
    """The position of each token in its sequence; None: its place in the row, which holds one sequence."""
    visible_R1LL: Tensor | None
    """bool: which places each place attends to; None: all up to itself."""

    def asked_of(self, model: nn.Module) -> dict[str, Any]:
        """Return the arguments of a forward pass."""
        if self.visible_R1LL is None:
            return {"input_ids": self.ids_RL}
        mask = as_mask(model, self.visible_R1LL)
        return {"input_ids": self.ids_RL, "attention_mask": mask, "position_ids": self.depths_RL}


def rows_alone(sequences: Sequence[Sequence[int]]) -> list[TreeRow]:
    """Return a row for each sequence."""
    return [TreeRow((number,), len(ids)) for number, ids in enumerate(sequences)]


def rows_shared(sequences: Sequence[list[int]], max_tokens: int | None = None) -> list[TreeRow]:
    """Return rows in which sequences that begin alike stand together; each is in one of them, in sorted order.

    Args:
        max_tokens: places of a row, unless one sequence alone has more.
    """
    longest = max(map(len, sequences), default=0)
    widest = max(_ROW, 2 * longest)
    if max_tokens is not None:
        widest = min(widest, max(max_tokens, longest))
    order = sorted(range(len(sequences)), key=lambda number: (sequences[number], number))
    rows: list[TreeRow] = []
    for number, before in zip(order, [None, *order], strict=False):
        length = len(sequences[number])
        shared = 0 if before is None else common(sequences[before], sequences[number])
        last = rows[-1] if rows else None
        places = 0 if last is None else last.places + length - shared
        if last is not None and places <= widest and shared >= _price(last.places, places, length):
            rows[-1] = TreeRow((*last.members, number), places)
        else:
            rows.append(TreeRow((number,), length))
    return rows


def _price(before: int, after: int, length: int) -> float:
    """Return how many tokens a sequence must share for a row that grows from `before` to `after` places to be cheaper
    than a row of its own, which looks at fewer pairs."""
    return max(min(_WORTH, length), (after**2 - before**2 - length**2) / _PAIRS)


def common(first: Sequence[int], second: Sequence[int]) -> int:
    """Return how many ids two sequences begin with alike."""
    shortest = min(len(first), len(second))
    if first[:shortest] == second[:shortest]:
        return shortest
    return next(place for place in range(shortest) if first[place] != second[place])


def plan_batches(lengths: Sequence[int], max_tokens: int) -> list[list[int]]:
    """Split the rows 0..n-1 so that rows * longest <= `max_tokens`; an over-long row goes alone.

    Longest first: what does not fit into the memory of a GPU fails at once, not at the end.
    """
    order = sorted(range(len(lengths)), key=lambda row: (-lengths[row], row))
    batches: list[list[int]] = []
    for row in order:
        if batches and (len(batches[-1]) + 1) * lengths[batches[-1][0]] <= max_tokens:
            batches[-1].append(row)
        else:
            batches.append([row])
    return batches


def grow(sequences: Sequence[list[int]]) -> Tree:
    """Return the tree of sequences, which are sorted, so that what one shares with any before it, it shares with the
    one right before it."""
    ids, depths = list(sequences[0]), list(range(len(sequences[0])))
    paths = [list(range(len(ids)))]
    for before, after in pairwise(sequences):
        shared = common(before, after)
        fresh = range(len(ids), len(ids) + len(after) - shared)
        paths.append([*paths[-1][:shared], *fresh])
        ids += after[shared:]
        depths += range(shared, len(after))
    return Tree(ids, depths, paths)


def visible(trees: Sequence[Tree], length: int) -> Tensor:
    """Return which places each place attends to: bool, (rows, 1, length, length). What pads a row sees itself."""
    seen = torch.zeros(len(trees), 1, length, length, dtype=torch.bool)
    for row, tree in enumerate(trees):
        known = 0
        for path in tree.paths:
            fresh = [place for place in path if place >= known]
            if not fresh:
                continue
            begin, end = fresh[0], fresh[-1] + 1
            above = path[: len(path) - len(fresh)]
            seen[row, 0, begin:end, above] = True
            seen[row, 0, begin:end, begin:end] = torch.ones(end - begin, end - begin, dtype=torch.bool).tril()
            known = end
        padding = torch.arange(len(tree.ids), length)
        seen[row, 0, padding, padding] = True
    return seen


def lay_out(trees: Sequence[Tree], device: torch.device | str) -> LaidOut:
    """Return trees as the rows of a batch."""
    length = max(len(tree.ids) for tree in trees)

    def rows(of: Sequence[list[int]]) -> Tensor:
        return torch.tensor([row + [0] * (length - len(row)) for row in of], dtype=torch.long, device=device)

    ids_RL = rows([tree.ids for tree in trees])
    if all(len(tree.paths) == 1 for tree in trees):
        return LaidOut(ids_RL, None, None)
    return LaidOut(ids_RL, rows([tree.depths for tree in trees]), visible(trees, length).to(device))


@torch.no_grad()
def reads_trees(model: PreTrainedModel) -> bool:
    """Return whether a model gives the tokens of a tree the hidden states that they have one by one.

    It is tried, for a state that is carried along, or attention that takes no such mask. A window over the last tokens
    would show in long rows only, so that is read off the config.
    """
    config = model.config.get_text_config()
    layers = getattr(config, "layer_types", None)
    windowed = getattr(config, "sliding_window", None) if layers is None else set(layers) != {"full_attention"}
    if windowed or any(getattr(config, name, None) for name in _WINDOWS):
        return False
    device = next(model.parameters()).device
    vocabulary = model.get_input_embeddings().weight.shape[0]
    generator = torch.Generator().manual_seed(0)
    stem, *branches = torch.randint(vocabulary, (3, 24), generator=generator).tolist()
    tree = grow(sorted(stem + branch for branch in branches))
    try:
        whole = _hidden(model, lay_out([tree], device))
        for path in tree.paths:
            alone = _hidden(model, lay_out([grow([[tree.ids[place] for place in path]])], device))
            bound = _SAME.get(alone.dtype, _HALF_SAME) * float(alone.abs().max())
            if not float((whole[path] - alone).abs().max()) <= bound:  # NaN is no agreement
                return False
    except Exception:  # a model that takes no such mask says so in its own way
        return False
    return True


def _hidden(model: nn.Module, row: LaidOut) -> Tensor:
    base: Any = model.base_model
    hidden: Tensor = base(use_cache=False, **row.asked_of(model)).last_hidden_state[0]
    return hidden


def as_mask(model: nn.Module, seen: Tensor) -> Tensor:
    """Return the mask as a model's attention takes it: to be added to the scores."""
    dtype = next(model.parameters()).dtype
    return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill(~seen, torch.finfo(dtype).min)
