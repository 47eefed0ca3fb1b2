"""A start that can copy and look up. Forming the attention heads that look things up takes a small model most of its
training; two cores have no time for that, so they are written into the fresh weights by hand, and training goes on from
there.

Embeddings tell names, verbs, values, ids of items and dates apart, and the forms of a verb ("lives", "live") have one
code. Most heads write the code of what they find into a place of the residual stream that embeddings do not use.

- Layer 0: one head looks at the token before (a constant query and key, turned by the rotary embedding, peak at that
  distance), the others at the last name, verb, value, id and heading: so each place knows whom and what its sentence or
  question is about, in which item it stands, and whether that is in the memory.
- Layer 1: two induction heads (Olsson et al., "In-context Learning and Induction Heads", 2022) look at tokens whose
  predecessor is the current token, two at values of which the same is said of the same person; these add what they find
  to the prediction. One looks for an item that says the same of the same person, or at the beginning of the prompt
  where there is none, and notes the item; one for where the same is said of the same value, and notes person and item.
- Layer 2: two heads look at the id of the first note, two at the person and two at the date of the second, and add what
  they find to the prediction.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import Qwen3ForCausalLM

HIDDEN, HEADS, HEAD = 192, 6, 32
CODE = 16
"""Dimensions of a word's code."""
WIDE, SAID = 12, 8
"""Of them, those of a name, value or id, and of a verb, that are noted and compared."""
FLAGS = 9
NAME, VERB, VALUE, ID, HEADING, MEMORY, START, MONTH, DAY = range(FLAGS)
"""Dimensions that tell what a token is."""
SIZE, FLAG = 0.06, 0.25
"""Of each dimension of an embedding, and of a flag."""
THETA = 1e7
"""Base of the rotary embedding: with it the last pairs hardly turn over a prompt's length."""
STILL = [*range(5, HEAD // 2), *range(HEAD // 2 + 5, HEAD)]
"""Dimensions of these pairs."""
LOOK, LOOK_UP, POINT = 25.0, 18.0, 6.0
"""Sharpness of the heads of layers 0, 1 and 2."""


@dataclass(frozen=True)
class Marked:
    """Ids of the tokens that the model is told something of."""

    names: Sequence[int]
    verbs: Mapping[int, int]
    """Verb -> number of what it says; the forms of one verb have one."""
    values: Sequence[int]
    items: Sequence[int]
    """Ids of items."""
    headings: Sequence[int]
    """Beginnings of a part of the prompt or of a call."""
    memory: Sequence[int]
    """Those of the headings behind which the items stand."""
    months: Sequence[int]
    days: Sequence[int]
    start: int


class _Space:
    """The residual stream, by orthogonal parts."""

    def __init__(self, basis: Tensor) -> None:
        widths = [CODE, WIDE, SAID, WIDE, WIDE + 1, WIDE + 1, WIDE, WIDE, CODE, FLAGS]
        parts = basis.split([*widths, HIDDEN - sum(widths)])
        self.before, self.person, self.verb, self.value, self.item, self.held, self.whose, self.dated = parts[:8]
        """`item` has the code of the last id and, last, whether the last heading is the memory's, `held` the same of
        the place that says the same of the same person."""
        self.code, self.flags, self.known = parts[8:]
        """What embeddings use; by the last, words are known."""
        self.own = torch.cat(parts[8:])


@torch.no_grad()
def initialise(model: Qwen3ForCausalLM, marked: Marked, *, seed: int) -> None:
    """Write embeddings and heads into a freshly initialised Qwen3 of `HIDDEN` dimensions with attention biases, `HEADS`
    heads of `HEAD` dimensions, three layers or more, and the rotary base `THETA`."""
    generator = torch.Generator().manual_seed(seed)
    basis, _ = torch.linalg.qr(torch.randn(HIDDEN, HIDDEN, generator=generator))
    space = _Space(basis)
    _embed(model, marked, space, generator)
    # Every head after the first layer passes on what it looks at: where to look is quickly learned, an identity over
    # hundreds of words is not.
    for layer in model.model.layers[1:]:
        for number in range(HEADS):
            rows = torch.randperm(len(space.known), generator=generator)[:HEAD]
            _pass_on(layer.self_attn, number, space.known[rows], space.known[rows], 0.3)
    for layer in model.model.layers:
        layer.mlp.down_proj.weight.mul_(0.1)  # what it has not learned yet would drown the codes
    _look_back(model.model.layers[0].self_attn, space)
    _look_up(model.model.layers[1].self_attn, space)
    _point(model.model.layers[2].self_attn, space)


def _embed(model: Qwen3ForCausalLM, marked: Marked, space: _Space, generator: torch.Generator) -> None:
    embedding = model.model.embed_tokens.weight
    rows = torch.randn(embedding.shape[0], len(space.own), generator=generator) * SIZE
    rows[:, CODE : CODE + FLAGS] = 0.0
    for words, width in ((marked.names, WIDE), (marked.verbs, SAID), (marked.values, WIDE), (marked.items, 0)):
        numbers = words if isinstance(words, Mapping) else {word: number for number, word in enumerate(words)}
        codes = _apart(len(set(numbers.values())), width, generator) * SIZE
        for word, number in numbers.items():
            rows[word, :CODE] = codes[number]
    nobody = [*marked.items, *marked.headings]  # where an item or a part begins, nobody is spoken of yet
    flagged = {
        NAME: [*marked.names, *nobody], VERB: [*marked.verbs], VALUE: [*marked.values, *nobody], ID: marked.items,
        HEADING: marked.headings, MEMORY: marked.memory, MONTH: marked.months, DAY: marked.days,
    }  # fmt: skip
    for flag, words_of in flagged.items():
        rows[list(words_of), CODE + flag] = FLAG
    rows[marked.start, CODE + START] = 4 * FLAG
    embedding.copy_(rows @ space.own)


def _apart(count: int, width: int, generator: torch.Generator) -> Tensor:
    """Return codes of +1 and -1 that differ in several of their first `width` places, the first ones most:
    (count, CODE)."""
    chosen = torch.zeros(0, CODE)
    least = width // 2
    while len(chosen) < count:
        for _ in range(2000):
            drawn = torch.randint(0, 2, (CODE,), generator=generator) * 2.0 - 1.0
            if bool(((chosen != drawn)[:, :width].sum(1) >= least).all()):
                chosen = torch.cat([chosen, drawn[None]])
                break
        else:
            least -= 1
    return chosen


def _look_back(attention: Any, space: _Space) -> None:
    half = HEAD // 2
    attention.q_norm.weight.fill_(LOOK)
    start = _clear(attention, 0)
    for place in range(4):  # the fast pairs alone tell neighbours apart
        angle = THETA ** (-place / half)
        attention.k_proj.bias[start + place] = 1.0
        attention.q_proj.bias[start + place] = math.cos(angle)
        attention.q_proj.bias[start + half + place] = -math.sin(angle)
    _pass_on(attention, 0, space.code, space.before, 0.05)
    near, far = (2, 3), (3, 4)  # pairs that fall with the distance: over a sentence, over a whole prompt
    for number, (flag, pairs, found, slot) in enumerate(
        (
            (NAME, near, space.code[:WIDE], space.person),
            (VERB, near, space.code[:SAID], space.verb),
            (VALUE, near, space.code[:WIDE], space.value),
            (ID, near, space.code[:WIDE], space.item[:WIDE]),
            (HEADING, far, space.flags[MEMORY : MEMORY + 1], space.item[WIDE:]),
        ),
        1,
    ):
        start = _clear(attention, number)
        for place in pairs:
            attention.k_proj.bias[start + place] = 1.5
            attention.q_proj.bias[start + place] = 1.5
        attention.k_proj.bias[start + half - 2] = 6.0  # keeps the length of a key, flagged or not
        attention.k_proj.weight[start + half - 1] = space.flags[flag]
        attention.q_proj.bias[start + half - 1] = 4.0 if pairs is far else 2.0
        _pass_on(attention, number, found, slot, 0.05)


def _look_up(attention: Any, space: _Space) -> None:
    attention.q_norm.weight.fill_(LOOK_UP)
    half = HEAD // 2
    slow = [*range(half // 2, half), *range(half + half // 2, HEAD)]  # turn less than half over a prompt's length
    for number in range(2):  # induction
        start = _compare(attention, number, slow, space.code, space.before)
        attention.q_proj.bias[start] = 14.0  # makes it less sharp
        some = space.known[number * HEAD :][:HEAD]
        _pass_on(attention, number, some, some, 1.0)
    same = torch.cat([space.verb, space.person])
    for number in range(2):  # values
        start = _compare(attention, 2 + number, STILL, same, same)
        attention.q_proj.bias[start + STILL[-1]] = 5.0
        attention.k_proj.weight[start + STILL[-1]] = space.flags[VALUE]
        attention.q_proj.bias[start] = 17.0
        some = space.known[number * HEAD :][:HEAD]
        _pass_on(attention, 2 + number, some, some, 0.3)
    for number, compared, noted, written in (
        (4, same, space.item, space.held),
        (5, torch.cat([space.verb, space.value]), torch.cat([space.person, space.item[:WIDE]]),
         torch.cat([space.whose, space.dated])),
    ):  # fmt: skip
        start = _compare(attention, number, STILL, compared, compared)
        attention.q_proj.bias[start + STILL[-1]] = 4.0
        attention.k_proj.weight[start + STILL[-1]] = 0.8 * space.item[-1]
        attention.q_proj.bias[start + STILL[-2]] = 4.4
        attention.k_proj.weight[start + STILL[-2]] = space.flags[START]
        _pass_on(attention, number, noted, written, 0.2)


def _point(attention: Any, space: _Space) -> None:
    attention.q_norm.weight.fill_(POINT)
    for number, (noted, marks, flag) in enumerate(
        (
            (space.held[:WIDE], space.code[:WIDE], ID),
            (space.held[:WIDE], space.code[:WIDE], ID),
            (space.whose, space.code[:WIDE], NAME),
            (space.whose, space.code[:WIDE], NAME),
            (space.dated, space.item[:WIDE], MONTH),
            (space.dated, space.item[:WIDE], DAY),
        )
    ):
        start = _compare(attention, number, STILL, noted, marks)
        attention.q_proj.bias[start + STILL[-1]] = 1.0
        attention.k_proj.weight[start + STILL[-1]] = space.flags[flag]
        some = space.known[HEAD * (number % 2) :][:HEAD] if number < 4 else space.known[:HEAD]
        _pass_on(attention, number, some, some, 0.3)


def _compare(attention: Any, head: int, places: Sequence[int], asked: Tensor, marks: Tensor) -> int:
    """Let a head look where the parts `marks` are what the parts `asked` are here; return its first dimension."""
    start = _clear(attention, head)
    rows = [start + place for place in places[: len(asked)]]
    attention.q_proj.weight[rows] = asked
    attention.k_proj.weight[rows] = marks
    return start


def _pass_on(attention: Any, head: int, found: Tensor, written: Tensor, scale: float) -> None:
    """Let a head write the parts `found` of what it looks at as the parts `written`."""
    start = head * HEAD
    attention.v_proj.weight[start : start + HEAD] = 0.0
    attention.o_proj.weight[:, start : start + HEAD] = 0.0
    attention.v_proj.weight[start : start + len(found)] = found
    attention.o_proj.weight[:, start : start + len(written)] = scale * written.T


def _clear(attention: Any, head: int) -> int:
    """Zero one head, so that only what is written into it counts; return where its dimensions begin."""
    start = head * HEAD
    for projection in (attention.q_proj, attention.k_proj, attention.v_proj):
        projection.weight[start : start + HEAD] = 0.0
        projection.bias[start : start + HEAD] = 0.0
    attention.o_proj.weight[:, start : start + HEAD] = 0.0
    return start
