"""Running out of memory, told from other failures, and said in words that help."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import torch

Result = TypeVar("Result")


def out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory is used up, a GPU's or the machine's."""
    import torch

    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(
        words in str(error) for words in ("can't allocate memory", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
    )


def within_memory(work: Callable[[], Result], take_less: Callable[[str], None]) -> Result:
    """Return what `work` returns, with less at once each time that memory lacks.

    Args:
        take_less: makes it less, given the failure's first line; raises where it cannot be.
    """
    while True:
        try:
            return work()
        except Exception as error:
            if not out_of_memory(error):
                raise
            failed = first_line(error)
        # Not before here: the error's traceback holds what was computed.
        give_back_memory()
        take_less(failed)


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
