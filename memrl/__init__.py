"""memrl: train an agent to keep a memory, and see whether it did."""

import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from memrl.agent.agent import MemoryAgent
    from memrl.engines.endpoint_engine import Served

if "torch" not in sys.modules and not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
    # Before torch reads it: its threads spin while they wait for each other, and where another program has the core of
    # one of them, all others burn theirs for a whole time slice at every operation (docs/performance.md).
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
__version__ = "0.1.0"
__all__ = ["MemoryAgent", "Served", "__version__"]


def __getattr__(name: str) -> Any:
    """Import `MemoryAgent` or `Served` when it is asked for; the rest of the package does without what they bring."""
    if name == "MemoryAgent":
        from memrl.agent.agent import MemoryAgent

        return MemoryAgent
    if name == "Served":
        from memrl.engines.endpoint_engine import Served

        return Served
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
