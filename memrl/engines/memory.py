"""Running out of memory, told from other failures, and said in words that help."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory is used up, a GPU's or the machine's."""
    import torch

    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(
        words in str(error) for words in ("can't allocate memory", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
    )


def give_back_memory() -> None:
    """Return to a GPU what torch keeps for later."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def room_on(device: torch.device) -> str:
    """Return what a device has free, in words; only its name where nobody says."""
    import torch

    if device.type != "cuda":
        return str(device)
    free, total = torch.cuda.mem_get_info(device)
    return f"{device} ({free / 2**30:.1f} of {total / 2**30:.1f} GiB free)"


def first_line(error: BaseException) -> str:
    """Return the first line of an error, which is all that helps in those that come with a dump."""
    return (str(error).splitlines() or [type(error).__name__])[0]
