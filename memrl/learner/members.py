"""A learner among others: how members add up their gradients, and how they fail together.

With `train.parallel: ddp` each member holds a whole copy of the model. With `fsdp` the frozen decoder layers are spread
over the members by FSDP2, and gathered one at a time while they are used. The adapter and its optimizer, which are
small, are whole on each member in both cases: so there is one way to sum gradients, in float32 whatever the base model
is stored in, and one format of checkpoints.

Refused: accelerate, and FSDP2's own gradients. Both average where a sum is wanted (a sample's loss is divided by totals
of the whole step already), both want the adapter wrapped along with the base, and what is left to do is one all-reduce.
Also refused: spreading embeddings and head. The head is called once per slice of tokens, so that members would call it
a different number of times, and each call would have to wait for all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from transformers import PreTrainedModel

from memrl.errors import ConfigError, LearnerError
from memrl.learner.peers import Peers


class PeerFailed(LearnerError):
    """The work that was to be done together failed on another member."""


class OutOfStep(Exception):
    """The failure after which a member can no longer work with its peers: its process must end, so that theirs need not
    wait for it."""


class Members(Peers):
    """Members with a whole model each.

    Args:
        device: where tensors must be for the process group to see them.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device

    @contextmanager
    def together(self) -> Iterator[None]:
        problem: Exception | None = None
        try:
            yield
        except Exception as error:  # whatever it is: the others must not wait for this member for ever
            problem = self._bearable(error)
        failed = self._sum(torch.tensor([0 if problem is None else 1], device=self.device))
        if problem is not None:
            raise problem
        if failed.item():
            raise PeerFailed("another member failed")

    def sum_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        # What no sample of any member has touched keeps no gradient at all, as it would in one process: the optimizer
        # leaves it alone.
        touched = torch.tensor([float(p.grad is not None) for p in parameters], device=self.device)
        pieces = [(torch.zeros_like(p) if p.grad is None else p.grad).reshape(-1) for p in parameters]
        summed = self._sum(torch.cat([touched, *pieces]))
        touched, *pieces = summed.split([len(parameters), *(p.numel() for p in parameters)])
        for parameter, piece, used in zip(parameters, pieces, touched.tolist(), strict=True):
            parameter.grad = piece.view_as(parameter).to(parameter.dtype) if used else None

    def _bearable(self, error: Exception) -> Exception:
        return error

    def _sum(self, values: torch.Tensor) -> torch.Tensor:
        try:
            dist.all_reduce(values)
        except RuntimeError as error:
            raise OutOfStep(f"{type(error).__name__}: {error}") from error
        return values


class ShardMembers(Members):
    """Members that hold the base model together."""

    in_step = True

    def spread(self, model: PreTrainedModel, kept: Sequence[nn.Parameter]) -> None:
        decoder = cast(Any, model.base_model)
        layers = getattr(decoder, "layers", None)
        if not isinstance(layers, nn.ModuleList):
            raise ConfigError(
                f"train.parallel is fsdp, and {type(decoder).__name__} has no `layers` to spread; use ddp"
            )
        mesh = init_device_mesh(self.device.type, (dist.get_world_size(),))
        for layer in layers:
            fully_shard(layer, mesh=mesh, ignored_params=set(kept))
        spread = {id(parameter) for layer in layers for parameter in layer.parameters()} - {id(p) for p in kept}
        whole = {parameter for parameter in model.parameters() if id(parameter) not in spread}
        for tensor in (*whole, *model.buffers()):
            tensor.data = tensor.data.to(self.device)
        # The decoder holds nothing of its own then; it is what lets a layer be gathered while the one before it works.
        fully_shard(decoder, mesh=mesh, ignored_params=whole)

    def _bearable(self, error: Exception) -> Exception:
        """Return the error as it is where it came between passes; within one the others wait for this member, and
        always will."""
        if isinstance(error, LearnerError | InterruptedError):
            return error
        raise OutOfStep(f"{type(error).__name__}: {error}") from error
