"""memrl: train an agent to keep a memory, and see whether it did."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from memrl.agent import MemoryAgent

__version__ = "0.1.0"
__all__ = ["MemoryAgent", "__version__"]


def __getattr__(name: str) -> Any:
    """`memrl.MemoryAgent` brings torch with it, and the rest of the package does without."""
    if name == "MemoryAgent":
        from memrl.agent import MemoryAgent

        return MemoryAgent
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
