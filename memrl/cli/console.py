"""The consoles that commands write to.

Names of files, texts and models are other people's: what in them would steer a terminal, or turn round what stands
beside it, is shown as an escape (`\\x1b`) and never sent.
"""

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

_STEERING = [*range(0x09), 0x0B, 0x0C, *range(0x0E, 0x20), *range(0x7F, 0xA0), 0x2028, 0x2029]
_TURNING = [*range(0x202A, 0x202F), *range(0x2066, 0x206A)]
_SHOWN = {
    **{code: f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" for code in (*_STEERING, *_TURNING)},
    0x0D: "\\r",
}


def visible(text: str) -> str:
    """Return a text with its control characters (C0 but tabs and line ends, C1) and turns of direction as escapes."""
    return text.translate(_SHOWN)


class SafeConsole(Console):
    """A console that sends no control character but its own."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(visible(segment.text), segment.style)


def wide_console() -> Console:
    """A console for tables: in a file or pipe, which have no width, wide enough that nothing is cut."""
    console = SafeConsole()
    return console if console.is_terminal else SafeConsole(width=200)
