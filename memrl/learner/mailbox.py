"""Orders to the members of a learner and their reports, by way of a small actor: Ray Train hands out no handles."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

OrderName = Literal["start", "step", "undo", "logprobs", "state", "adapter", "restore", "stop"]


@dataclass(frozen=True)
class Order:
    """Something that all members do at the same time."""

    name: OrderName
    argument: Any = None


@dataclass(frozen=True)
class Notice:
    """The report of a member on the present order; the last one is `done` or `failed`."""

    rank: int
    kind: Literal["progress", "done", "failed"]
    content: Any = None


class Mailbox:
    """Keeps what was sent until it is asked for. The driver sends a new order when the last one was answered."""

    def __init__(self, members: int) -> None:
        self._orders = [asyncio.Queue[Order]() for _ in range(members)]
        self._reports: list[Notice] = []
        self._changed = asyncio.Event()
        self._given_up = False

    async def send(self, orders: list[Order]) -> None:
        """The driver: one order for each member."""
        self._reports, self._given_up = [], False
        for queue, order in zip(self._orders, orders, strict=True):
            queue.put_nowait(order)

    async def give_up(self) -> None:
        """The driver: the present order is not wanted any more."""
        self._given_up = True

    async def reports(self, seen: int, seconds: float) -> list[Notice]:
        """The driver: what was reported about the present order after the first `seen`; waits so long for any."""
        if len(self._reports) <= seen:
            self._changed.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), seconds)
        return self._reports[seen:]

    async def next(self, rank: int) -> Order:
        """A member: its next order."""
        return await self._orders[rank].get()

    async def report(self, report: Notice) -> bool:
        """A member: returns whether the present order was given up."""
        self._reports.append(report)
        self._changed.set()
        return self._given_up
