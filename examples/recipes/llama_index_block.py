"""A LlamaIndex memory block: what falls out of the chat's short-term memory is read by the policy, and what it has kept
is shown before the next message.

    agent = MemoryAgent.open("exported/tiny", store="memory.sqlite", user="ann")
    memory = Memory.from_defaults(token_limit=2000, memory_blocks=[AgentBlock(name="long_term", agent=agent)])
    reply = await llama_agent.run("Where do I live?", memory=memory)
"""

from __future__ import annotations

from typing import Any

from llama_index.core.llms import ChatMessage
from llama_index.core.memory import BaseMemoryBlock

from memrl import MemoryAgent


class AgentBlock(BaseMemoryBlock[str]):
    """The memory of an agent's user, as a block of LlamaIndex's `Memory`."""

    agent: MemoryAgent
    infer: bool = True
    """Whether the policy decides what to keep; False: every message, word for word."""

    async def _aget(self, messages: list[ChatMessage] | None = None, **given: Any) -> str:
        asked = next((each.content for each in reversed(messages or []) if each.role == "user" and each.content), "")
        return (await self.agent.asearch(asked)).text()

    async def _aput(self, messages: list[ChatMessage]) -> None:
        said = [{"role": each.role.value, "content": each.content or ""} for each in messages]
        await self.agent.aadd(said, infer=self.infer)

    async def atruncate(self, content: str, tokens_to_truncate: int) -> str | None:
        """Return what is left of the block: whole items, those written last. A token is counted as three characters."""
        lines, over = content.splitlines(), 3 * tokens_to_truncate
        while lines and over > 0:
            over -= len(lines.pop(0))
        return "\n".join(lines) or None
