"""The shelf of adapters that an engine holds. A version and a name belong to one adapter for good (law 2)."""

from __future__ import annotations

from pathlib import Path

from memrl.config import RolloutConfig
from memrl.errors import EngineError
from memrl.records import AdapterRef
from memrl.storage.files import MANIFEST, find_damage


def versions_held(rollout: RolloutConfig) -> int:
    """Return how many versions are held at once: the one being sampled from, those that rollouts ahead of the learner
    may still use, and the next one."""
    return rollout.max_staleness + 2


class AdapterShelf:
    """The adapters of an engine, at most `keep` at once; the one that was loaded first makes room."""

    def __init__(self, keep: int) -> None:
        self._keep = keep
        self._held: dict[int, AdapterRef] = {}  # in the order of loading
        self._names: dict[int, str] = {}  # of every version ever held: none is given twice

    def __len__(self) -> int:
        return len(self._held)

    def lacks(self, ref: AdapterRef) -> bool:
        """Return whether `ref` must be loaded before it can be used.

        Raises:
            EngineError: its version or its name is taken by another adapter, or its files are damaged.
        """
        if self._held.get(ref.version) == ref:
            return False
        for version, name in self._names.items():
            if (version == ref.version) != (name == ref.name):
                raise EngineError(
                    f"version {ref.version} cannot be loaded as {ref.name!r}: version {version} was loaded as "
                    f"{name!r}, and a version and a name belong to one adapter for good"
                )
        if ref.version in self._held:
            held = self._held[ref.version]
            raise EngineError(
                f"version {ref.version} is loaded from {held.path}; {ref.path} needs a version of its own"
            )
        _check_files(ref)
        return True

    def add(self, ref: AdapterRef) -> list[AdapterRef]:
        """Note that `ref` was loaded; returns those that must now be unloaded."""
        self._held[ref.version] = ref
        self._names[ref.version] = ref.name
        return [self._held.pop(next(iter(self._held))) for _ in range(len(self._held) - self._keep)]

    def require(self, ref: AdapterRef) -> None:
        """Raise EngineError where `ref` is not held."""
        if self._held.get(ref.version) != ref:
            loaded = ", ".join(held.name for held in self._held.values()) or "none"
            raise EngineError(f"adapter {ref.name!r} is not loaded (loaded: {loaded})")


def cannot_be_loaded(ref: AdapterRef, error: Exception) -> EngineError:
    """Return the error of an engine that does not take an adapter."""
    return EngineError(f"adapter {ref.name!r} at {ref.path} cannot be loaded: {error}")


def _check_files(ref: AdapterRef) -> None:
    """Read an adapter once before an engine touches it: engines make room first and find out then."""
    from peft import PeftConfig
    from peft.utils import load_peft_weights

    folder = Path(ref.path)
    damage = find_damage(folder) if (folder / MANIFEST).is_file() else None
    if damage is not None:
        raise EngineError(f"adapter {ref.name!r} at {ref.path} is damaged: {damage}")
    try:
        PeftConfig.from_pretrained(ref.path)
        load_peft_weights(ref.path, device="cpu")
    except Exception as error:  # peft and safetensors raise many kinds; all mean that the folder cannot be used
        raise cannot_be_loaded(ref, error) from error
