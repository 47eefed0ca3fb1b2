"""An agent of the OpenAI Agents SDK that exists already gets the memory as tools, by MCP.

OPENAI_API_KEY=... python openai_agents_mcp.py exported/tiny memory.sqlite "Where does Mara live?"
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from agents import Agent, Runner
from agents.mcp import MCPServerStdio

INSTRUCTIONS = "Have the memory read what the user tells of themselves, and ask it before you answer about them."


async def run(policy: str, store: str, message: str, model: Any = None) -> str:
    """Return the agent's reply; `model` is any that the SDK takes (None: its default)."""
    start = {"command": "memrl", "args": ["serve", policy, "--store", store, "--mcp", "--user", "me"]}
    async with MCPServerStdio(start, name="memory", client_session_timeout_seconds=120) as memory:
        agent = Agent(name="assistant", instructions=INSTRUCTIONS, mcp_servers=[memory], model=model)
        return str((await Runner.run(agent, message)).final_output)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    print(asyncio.run(run(*sys.argv[1:])))
