"""The base of all wrappers: what they note beside the items is snapshot, journalled and restored with them.

A memory says when a step begins (`begin_step`): that is the only time that passes in it. So what a wrapper does depends
on what was read and called, and on no clock.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar, NamedTuple

from memrl.envs.designs.base import HeldDesign
from memrl.envs.designs.design import TokenCounter, count_words
from memrl.envs.designs.held import ItemJournal
from memrl.envs.tools import ToolCall

TIMES = frozenset(("time", "since", "until"))
"""Arguments that tell when."""


class WrapperSetting(NamedTuple):
    """A setting of a wrapper: a number."""

    default: float
    least: float
    most: float
    meaning: str

    def complaint(self, value: Any) -> str:
        """Return what is wrong with a value, as the end of a sentence; empty where nothing is."""
        whole = isinstance(self.default, int)
        right = isinstance(value, int) if whole else isinstance(value, int | float)
        if isinstance(value, bool) or not right or not self.least <= value <= self.most:
            kind = "a whole number" if whole else "a number"
            return f"it must be {kind} from {self.least:g} to {self.most:g}"
        return ""


class WrapperNotes:
    """The values that wrappers keep beside the items, by section and key; JSON data, never changed in place."""

    def __init__(self, sections: tuple[str, ...], state: Mapping[str, Any] | None = None) -> None:
        self._held: dict[str, dict[str, Any]] = {name: dict((state or {}).get(name, {})) for name in sections}
        self._log: list[tuple[str, str, Any]] = []
        """What keys had before they were changed, while a journal is open; None: nothing."""
        self._journals = 0

    def get(self, section: str, key: str, otherwise: Any = None) -> Any:
        """Return the value of a key; `otherwise` where there is none."""
        return self._held[section].get(key, otherwise)

    def keys(self, section: str) -> list[str]:
        """Return the keys of a section in order."""
        return sorted(self._held[section])

    def set(self, section: str, key: str, value: Any) -> None:
        """Write a value; None removes the key."""
        held = self._held[section]
        if self._journals:
            self._log.append((section, key, held.get(key)))
        if value is None:
            held.pop(key, None)
        else:
            held[key] = value

    def snapshot(self) -> dict[str, dict[str, Any]]:
        """Return all of it, keys in order."""
        return {section: {key: held[key] for key in sorted(held)} for section, held in self._held.items()}

    @contextmanager
    def open_journal(self) -> Iterator[int]:
        """Return the place in the log to which `undo` goes back, until the context is left."""
        self._journals += 1
        try:
            yield len(self._log)
        finally:
            self._journals -= 1
            if not self._journals:
                self._log.clear()

    def undo(self, begin: int) -> None:
        """Take back what was written since the log had `begin` entries."""
        while len(self._log) > begin:
            section, key, before = self._log.pop()
            if before is None:
                self._held[section].pop(key, None)
            else:
                self._held[section][key] = before


class NotedJournal(ItemJournal):
    """The changes of held items and of notes since the journal was opened."""

    def __init__(self, items: ItemJournal, notes: WrapperNotes, begin: int) -> None:
        vars(self).update(vars(items))
        self._notes = notes
        self._noted = begin

    def undo(self) -> None:
        """Make the items and the notes what they were."""
        super().undo()
        self._notes.undo(self._noted)


class Wrapper(HeldDesign):
    """A part of a memory's class that stands before its design's."""

    wrapper: ClassVar[str] = ""
    """The name of the wrapper, and of its section in notes and snapshots."""
    settings: ClassVar[Mapping[str, WrapperSetting]] = {}
    """The wrapper's settings; each is the class attribute `<wrapper>_<setting>`."""
    wrapped: ClassVar[tuple[str, ...]] = ()
    """The names of all wrappers of a memory."""

    def __init__(self, budget: int, core_budget: int, count_tokens: TokenCounter = count_words, **options: Any) -> None:
        super().__init__(budget, core_budget, count_tokens, **options)
        self.notes = WrapperNotes(self.wrapped)

    def begin_step(self, text: str | None) -> None:
        """Note that a step begins, before its calls.

        Args:
            text: of the chunk that is read; None: nothing is read, the memory is tidied.
        """

    def written_by(self, call: ToolCall) -> list[str]:
        """Return the arguments of a call that would be written: those that name no item, store or time."""
        schema = next((tool for tool in self.tools if tool.name == call.name), None)
        known = schema.parameters if schema else {}
        return [
            value
            for name, value in call.arguments.items()
            if isinstance(value, str) and not (name.endswith("_id") or name in TIMES or known.get(name, {}).get("enum"))
        ]

    def counts(self) -> dict[str, Any]:
        """Return what `snapshot` holds beside the items: the design's, and a section for each wrapper."""
        return {**super().counts(), **self.notes.snapshot()}

    def restore(self, state: dict[str, Any]) -> None:
        """Become what `snapshot` described.

        Raises:
            DataError: it is a snapshot of another design, of other wrappers, or of another version.
            EnvironmentFault: a journal is open.
        """
        super().restore(state)
        self.notes = WrapperNotes(self.wrapped, state)

    @contextmanager
    def open_journal(self) -> Iterator[ItemJournal]:
        """Return a journal that is kept until the context is left. Journals may be opened one in another."""
        with super().open_journal() as items, self.notes.open_journal() as begin:
            yield NotedJournal(items, self.notes, begin)
