"""An agent that exists already gets a memory, through MCP: it needs nothing of memrl but the command.

    python examples/agent_with_mcp.py exported/tiny memory.sqlite "Mara lives in Oslo." "Where does Mara live?"

Any MCP client does the same by its configuration (docs/serve.md). This one starts the server, shows which tools its
agent now has, has a text read, and asks.
"""

from __future__ import annotations

import asyncio
import sys

from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client


async def main(policy: str, store: str, text: str, question: str) -> None:
    server = StdioServerParameters(command="memrl", args=["serve", policy, "--store", store, "--mcp", "--user", "me"])
    async with stdio_client(server) as (read, write), ClientSession(read, write) as session:
        await session.initialize()
        print("tools:", ", ".join(tool.name for tool in (await session.list_tools()).tools))
        for name, arguments in (("read", {"text": text}), ("ask", {"question": question})):
            result = await session.call_tool(name, arguments)
            print(f"{name}:", *(part.text for part in result.content if part.type == "text"))


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    asyncio.run(main(*sys.argv[1:]))
