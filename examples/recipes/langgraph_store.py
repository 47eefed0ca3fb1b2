"""A LangGraph store (`BaseStore`) whose memory is an agent's: put and search from any node of a graph.

    graph = builder.compile(store=AgentStore(MemoryAgent.open("exported/tiny", store="memory.sqlite")))

A namespace is a user of the memory. What is put is stored word for word under its key; `read` has the policy decide
what to keep of a text, and what it keeps is found by `search` like all else. A memory says each thing once, and has a
budget: `put` raises ValueError where it refuses.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import islice

from langgraph.store.base import BaseStore, GetOp, Op, PutOp, Result, SearchItem, SearchOp

from memrl import MemoryAgent
from memrl.agent.stored import StoredItem


class AgentStore(BaseStore):
    """The memories of an agent, by namespace and key. Policy, reader and search see `value["text"]` of a value."""

    def __init__(self, agent: MemoryAgent) -> None:
        self.agent = agent

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        return [self._do(op) for op in ops]

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        return await asyncio.to_thread(self.batch, list(ops))

    def read(self, namespace: tuple[str, ...], text: str, *, time: str | None = None) -> None:
        """Have the policy read a text and keep what is worth it."""
        self.agent.add(text, user=_user(namespace), time=time)

    def _do(self, op: Op) -> Result:
        match op:
            case GetOp():
                found = self._found(op.namespace, op.key)
                return None if found is None else _item(op.namespace, found)
            case PutOp(value=None):
                if (found := self._found(op.namespace, op.key)) is not None:
                    self.agent.delete(found.id, user=_user(op.namespace))
                return None
            case PutOp():
                return self._put(op)
            case SearchOp():
                return self._search(op)
        raise NotImplementedError("a memory file does not list its users")

    def _found(self, namespace: tuple[str, ...], key: str) -> StoredItem | None:
        user = _user(namespace)
        found = self.agent.get_all(filters={"key": key}, limit=1, user=user)
        return found[0] if found else self.agent.get(key, user=user)

    def _put(self, op: PutOp) -> None:
        user, value = _user(op.namespace), dict(op.value or {})
        text, borne = str(value.get("text") or value), {"key": op.key, "value": value}
        before = self._found(op.namespace, op.key)
        if before is None:
            results = self.agent.add(text, metadata=borne, infer=False, user=user)
        else:
            results = [self.agent.update(before.id, text, metadata=borne, user=user)]
        for failed in (each for each in results if not each.ok):
            raise ValueError(f"the memory refuses {op.key!r}: {failed.code}: {failed.message}")

    def _search(self, op: SearchOp) -> list[SearchItem]:
        user = _user(op.namespace_prefix)
        found = self.agent.search(op.query, limit=1000, user=user).items if op.query else self.agent.get_all(user=user)
        items = (_item(op.namespace_prefix, item) for item in found)
        fit = (item for item in items if (op.filter or {}).items() <= item.value.items())
        return list(islice(fit, op.offset, op.offset + op.limit))


def _user(namespace: tuple[str, ...]) -> str:
    return "/".join(namespace)


def _item(namespace: tuple[str, ...], item: StoredItem) -> SearchItem:
    """Return an item as LangGraph has them. What the policy wrote has its id for a key."""
    value = dict(item.metadata.get("value", {"text": item.content}))
    if "text" in value:
        value["text"] = item.content  # the policy may have written over it
    came, changed = (datetime.fromtimestamp(at or 0, UTC) for at in (item.added, item.changed))
    return SearchItem(namespace, item.metadata.get("key", item.id), value, came, changed)
