"""memrl: train an agent to keep a memory, and see whether it did."""

__version__ = "0.1.0"
