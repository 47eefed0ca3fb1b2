"""A chat loop with a memory: what you say is remembered, what you ask is answered from the memory alone.

    python examples/chat.py exported/tiny memory.sqlite

Say "Mara lives in Oslo." and ask "Where does Mara live?"; start it again, and it still knows. `/memory` lists what is
remembered, `/undo` takes back the last thing that was read, Ctrl-D ends.
"""

from __future__ import annotations

import sys
from datetime import date

from memrl import MemoryAgent


def main(policy: str, store: str) -> None:
    with MemoryAgent.open(policy, store=store, user="me") as agent:
        for line in sys.stdin:
            said = line.strip()
            if said == "/memory":
                print(*(item.line() for item in agent.memory), sep="\n")
            elif said == "/undo":
                print(f"{len(agent.undo())} changes taken back")
            elif said.endswith("?"):
                print(agent.ask(said).text)
            elif said:
                today = f"{date.today():%B} {date.today().day}"
                kept = [result.content for result in agent.read(said, time=today) if result.ok]
                print("noted:", "; ".join(filter(None, kept)) or "nothing")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
