"""The task: streams, memory, tools and the environment. Imports no torch, no ray, no network."""
