"""The trained policy in a program of one's own: `MemoryAgent`, and the file that holds its users' memories."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from memrl.agent.agent import MemoryAgent

__all__ = ["MemoryAgent"]


def __getattr__(name: str) -> Any:
    """Import `MemoryAgent`, and torch with it, when it is asked for: the memory file needs neither."""
    if name == "MemoryAgent":
        from memrl.agent.agent import MemoryAgent

        return MemoryAgent
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
