"""Async twins of an agent's methods, made from the methods themselves.

aget = Twin(get)      # a plain method: carried out in a thread of the agent's
aread = Twin(_read)   # a coroutine function: in the agent's own event loop, and ended where nobody awaits it any more
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar, overload

if TYPE_CHECKING:
    from memrl.agent.agent import MemoryAgent

Given = ParamSpec("Given")
Result = TypeVar("Result")


class Twin(Generic[Given, Result]):
    """The awaited form of a method, with the same parameters and the same result.

    Args:
        method: a plain method, or a coroutine function.
        writes: whether a plain method may wait for its turn to write.
    """

    @overload
    def __init__(
        self, method: Callable[Concatenate[Any, Given], Coroutine[Any, Any, Result]], *, writes: bool = False
    ) -> None: ...

    @overload
    def __init__(self, method: Callable[Concatenate[Any, Given], Result], *, writes: bool = False) -> None: ...

    def __init__(self, method: Callable[..., Any], *, writes: bool = False) -> None:
        self._method = method
        self._writes = writes
        self.__doc__ = f"`{method.__name__.removeprefix('_')}`, awaited."

    @overload
    def __get__(self, agent: None, owner: type) -> Twin[Given, Result]: ...

    @overload
    def __get__(self, agent: MemoryAgent, owner: type) -> Callable[Given, Coroutine[Any, Any, Result]]: ...

    def __get__(self, agent: MemoryAgent | None, owner: type) -> Any:
        if agent is None:
            return self
        policy = agent._policy

        async def awaited(*given: Any, **named: Any) -> Any:
            work = partial(self._method, agent, *given, **named)
            if inspect.iscoroutinefunction(self._method):
                return await policy.awaited(work())
            return await policy.elsewhere(work, writes=self._writes)

        awaited.__name__ = f"a{self._method.__name__.removeprefix('_')}"
        awaited.__doc__ = self.__doc__
        awaited.__signature__ = inspect.signature(partial(self._method, agent))  # type: ignore[attr-defined]
        return awaited
