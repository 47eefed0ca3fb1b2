"""The console that tables go to."""

from rich.console import Console


def wide_console() -> Console:
    """A console for tables: in a file or pipe, which have no width, wide enough that nothing is cut."""
    console = Console()
    return console if console.is_terminal else Console(width=200)
