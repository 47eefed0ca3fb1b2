"""The consoles that commands write to.

Names of files, texts and models are other people's: what in them would steer a terminal, or turn round what stands
beside it, is shown as an escape (`\\x1b`) and never sent.
"""

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from memrl.look.texts import visible


class SafeConsole(Console):
    """A console that sends no control character but its own."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(visible(segment.text), segment.style)


def wide_console() -> Console:
    """A console for tables: in a file or pipe, which have no width, wide enough that nothing is cut."""
    console = SafeConsole()
    return console if console.is_terminal else SafeConsole(width=200)
