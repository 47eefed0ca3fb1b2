"""The policies that can be measured and used: a run's adapter, an exported policy, or a config's model as it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from memrl.config import Config, find_config, load_config
from memrl.config.load import with_settings
from memrl.config.shipped import TINY, TINY_MODEL
from memrl.engines.endpoint_engine import Served
from memrl.errors import ConfigError
from memrl.policies.agent_file import AGENT_FILE
from memrl.policies.exported import open_exported
from memrl.records import AdapterRef
from memrl.storage.files import content_hash
from memrl.storage.rundir import CONFIG_FILE, check_run, find_adapter

POLICY, UNTRAINED = "policy", "untrained"


@dataclass(frozen=True)
class Policy:
    """A policy, and the settings under which it is measured."""

    name: str
    """What distinguishes it from another one: its adapter's folder, or its model."""
    adapters: dict[str, AdapterRef | None]
    """By method: `policy`, and `untrained` where it can be told apart. None: the model without an adapter."""
    configured: Callable[[Sequence[str]], Config]
    """Its config with `key=value` settings."""
    out: Path
    """Where results go by default."""
    manifest: str | None = None
    """The hash of its files' hashes, where it is a folder, or its model is: another policy may come to stand in the
    same place."""
    served: Served | None = None
    """Where somebody else generates for it."""


def open_policy(
    words: str, *, adapter: str = "best", base_model: str | None = None, served: Served | None = None
) -> Policy:
    """The policy that `words` name.

    Args:
        words: a run folder, a folder that `memrl export` wrote, or a config (a file or a shipped one's name), whose
            model is then measured without an adapter.
        adapter: of a run: `best`, `last` or a version's name.
        base_model: where the base model of a run or an exported adapter is, if no longer where it was.
        served: an OpenAI-compatible server that has an exported policy.

    Raises:
        ConfigError: there is no such policy or adapter, or a server was named for what is not exported.
        CheckpointError: the adapter is damaged.
        FormatError: a newer version wrote the folder.
    """
    folder = Path(words)
    moved = [f"model.path={base_model}"] if base_model else []
    if (folder / AGENT_FILE).is_file():
        exported = open_exported(folder, base_model=base_model)
        with_policy = {POLICY: exported.adapter}
        adapters = with_policy if exported.adapter is None else {**with_policy, UNTRAINED: None}

        def from_exported(settings: Sequence[str]) -> Config:
            return with_settings(exported.config, settings, "exported")

        out = folder.with_name(folder.name + "-eval")
        return Policy(str(folder.resolve()), adapters, from_exported, out, content_hash(folder), served)
    if served is not None:
        raise ConfigError(f"{words} is no exported policy: a server can only generate for one (memrl export).")
    if folder.is_dir():
        if not (folder / CONFIG_FILE).is_file():
            raise ConfigError(f"{folder} is no run folder ({CONFIG_FILE}) and no exported policy ({AGENT_FILE}).")
        check_run(folder)
        found = find_adapter(folder, adapter)
        refs: dict[str, AdapterRef | None] = {POLICY: _ref(found), UNTRAINED: _ref(find_adapter(folder, "v00000"))}

        def from_run(settings: Sequence[str]) -> Config:
            return load_config(folder / CONFIG_FILE, [*moved, *settings])

        return Policy(str(found.resolve()), refs, from_run, folder / "eval", content_hash(found))
    file = find_config(words)

    def from_config(settings: Sequence[str]) -> Config:
        return load_config(file, [*moved, *settings])

    model = load_config(file, moved, check=False).model.path
    known_by = content_hash(TINY_MODEL if model == TINY else Path(model).expanduser())
    return Policy(f"{file.stem} ({model})", {POLICY: None}, from_config, Path(f"eval-{file.stem}"), known_by)


def _ref(folder: Path) -> AdapterRef:
    return AdapterRef(int(folder.name.removeprefix("v")), folder.name, str(folder))
