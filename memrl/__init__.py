"""memrl: train an agent to keep a memory, and see whether it did."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from memrl.agent.agent import MemoryAgent
    from memrl.engines.endpoint_engine import Served

__version__ = "0.1.0"
__all__ = ["MemoryAgent", "Served", "__version__"]


def __getattr__(name: str) -> Any:
    """`MemoryAgent` and `Served`, which bring torch and a client with them; the rest of the package does without."""
    if name == "MemoryAgent":
        from memrl.agent.agent import MemoryAgent

        return MemoryAgent
    if name == "Served":
        from memrl.engines.endpoint_engine import Served

        return Served
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
