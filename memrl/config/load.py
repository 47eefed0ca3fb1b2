"""Loading of YAML and `key=value` overrides into a `Config`, collecting every complaint before raising.

Settings are applied one by one, not merged whole, so that each wrong key or type is named with the place it came from.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from io import StringIO
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from memrl.config.bounds import check_bounds, read_bounded
from memrl.config.check import check_config
from memrl.config.keys import hide
from memrl.config.renamed import present_name
from memrl.config.schema import Config, StageConfig, UntilConfig
from memrl.config.tree import dotted
from memrl.config.usual import usual_key
from memrl.envs.suggest import did_you_mean, nearest_dotted
from memrl.errors import ConfigError
from memrl.storage.files import write_text_atomic

DEFAULT_CONFIG = "tiny"


@dataclass(frozen=True)
class Setting:
    key: str  # dotted
    value: Any
    origin: str  # file or override, for the message
    written: Any = None  # the value with each scalar as it is written: 4e10, not 40000000000.0


SECTIONS = {key for key, _, value in dotted(Config()) if is_dataclass(value)}
KEYS = {key for key, _, value in dotted(Config()) if not is_dataclass(value)}
TEXT_TYPES = {"str", "str | None", "list[str]", "dict[str, str]"}
# Settings that are text, or several: a name that YAML takes for a number, a time or a truth is a name all the same.
LINES = {key for key, field, _ in dotted(Config()) if field.type in {"str", "str | None"}}
TEXTS = {key for key, field, _ in dotted(Config()) if field.type in TEXT_TYPES}
_RESOLVED = re.compile(r"(?<!\\)(?:\\\\)*\$\{[^}]*:")  # an odd number of \ before it makes it text
# What YAML's own constructors raise on values like `!!int abc` or 5,000 digits goes beyond its own errors.
_UNREADABLE = (
    yaml.YAMLError, OmegaConfBaseException, ValueError, AttributeError, TypeError, IndexError, KeyError, OverflowError,
    RecursionError,
)  # fmt: skip
_LONGEST = 256
"""Bits of a whole number that can still be compared and shown, to say that it is too large."""
_SHOWN = 200
"""Characters of an override in a message."""
# Containers: what is below them is the user's.
OPEN_KEYS = {
    "data.train", "data.eval", "data.curriculum", "memory.retrieval_options", "rewards.weights", "rewards.parts",
    "vllm.options",
}  # fmt: skip


def config_folders() -> list[Path]:
    """Return where shipped configs live: `configs/` of the clone, else what an ordinary install put under share/."""
    clone = Path(__file__).resolve().parents[2] / "configs"
    if clone.is_dir():
        return [clone]
    import importlib.metadata

    try:
        installed = importlib.metadata.files("memrl") or []
    except importlib.metadata.PackageNotFoundError:
        return []
    found = {
        Path(str(file.locate())).resolve().parent
        for file in installed
        if file.suffix == ".yaml" and file.parts[-3:-1] == ("memrl", "configs")
    }
    return sorted(found)


def find_config(name: str | Path | None) -> Path:
    """The file meant by a path or by the bare name of a shipped config (None: the default one).

    Raises:
        ConfigError: there is no such file; names the nearest shipped config.
    """
    wanted = Path(name if name is not None else DEFAULT_CONFIG).expanduser()
    if wanted.is_file():
        return wanted
    shipped = {file.stem: file for folder in config_folders() for file in sorted(folder.glob("*.yaml"))}
    bare = not wanted.is_absolute() and str(wanted.parent) in {".", "configs"}
    stem = wanted.stem if wanted.suffix == ".yaml" else wanted.name
    if bare and stem in shipped:
        return shipped[stem]
    if wanted.is_dir():
        raise ConfigError(f"{wanted} is a folder, not a config file.")
    raise ConfigError(f"no config file {str(name)!r}{did_you_mean(stem, shipped)}")


def config_name(path: str | Path | None) -> str:
    """The config's name: its file's stem. Names the default run folder."""
    return find_config(path).stem


def _nearest_keys(word: str) -> str:
    """`; did you mean ...?` over all dotted keys; a bare last part finds its full key."""
    options = SECTIONS | KEYS
    same_end = sorted(key for key in options if key.rsplit(".", 1)[-1] == word)
    if same_end:
        return f"; did you mean {' or '.join(repr(key) for key in same_end)}?"
    if (usual := usual_key(word, KEYS)) is not None:
        return f"; did you mean {usual!r}?"
    best = nearest_dotted(word, options)
    return f"; did you mean {best!r}?" if best is not None else f"; sections are {', '.join(_top_sections())}"


def _top_sections() -> list[str]:
    return [field.name for field in fields(Config) if field.name in SECTIONS]


def _flatten(tree: Mapping[Any, Any], written: Any, origin: str, prefix: str = "") -> Iterator[Setting]:
    for name, value in tree.items():
        key = f"{prefix}{name}"
        as_written = written.get(name) if isinstance(written, Mapping) else None
        if key in SECTIONS and isinstance(value, Mapping):
            yield from _flatten(value, as_written, origin, key + ".")
        elif key in SECTIONS and value is None:
            continue  # a section whose every line is commented out
        else:
            yield Setting(key, value, origin, as_written)


def _read_file(path: Path) -> list[Setting]:
    try:
        text = read_bounded(path)
        loaded = OmegaConf.load(StringIO(text))
        tree = OmegaConf.to_container(loaded, resolve=False)
        written = _as_written(text)
    except (*_UNREADABLE, OSError) as error:
        raise ConfigError(f"{path} is no readable YAML: {' '.join(str(error).split())[:_SHOWN]}") from error
    if not isinstance(tree, dict):
        raise ConfigError(f"{path} must hold `section: {{key: value}}` lines, not a {type(tree).__name__}.")
    return list(_flatten(tree, written, str(path)))


def _as_written(text: str) -> Any:
    """Return what YAML text holds, every scalar as the text that stands there; None where that cannot be told."""
    try:
        return yaml.load(text, yaml.BaseLoader)
    except yaml.YAMLError:
        return None


def _read_override(text: str) -> list[Setting]:
    """Parse `key=value`; the value is YAML, so lists and null work. A section may be given as a mapping."""
    key, equals, raw = text.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"override {text!r}: expected key=value")
    key = re.sub(r"\[(\w+)\]", r".\1", key.strip())
    origin = f"override {text if len(text) <= _SHOWN else text[:_SHOWN] + '...'!r}"
    try:
        value = read_text(raw) if key in LINES else read_value(raw)
    except ConfigError as error:
        raise ConfigError(f"{origin}: {error}") from error
    if key in LINES:
        return [Setting(key, value, origin, value)]
    if key in SECTIONS and isinstance(value, Mapping):
        return list(_flatten(value, _as_written(raw), origin, key + "."))
    return [Setting(key, value, origin, _as_written(raw))]


def read_text(raw: str) -> str | None:
    """Return the value of a setting that is one text: what stands there, whatever YAML would make of it.

    Quotes around all of it are YAML's, as are `null`, `~` and nothing, which are no text.
    """
    plain = raw.strip()
    if plain in {"", "~", "null", "Null", "NULL"}:
        return None
    if plain[0] in "'\"" and plain[-1] == plain[0] and isinstance(quoted := _as_written(plain), str):
        return quoted
    return plain


def read_value(raw: str) -> Any:
    """The value of `key=value`: YAML, with 1e-5 a number, which plain YAML does not take it for.

    Raises:
        ConfigError: it is no readable YAML, or beyond the bounds of one.
    """
    try:
        check_bounds(raw, "the value")
        return OmegaConf.to_container(OmegaConf.from_dotlist([f"value={raw}"]), resolve=False)["value"]  # type: ignore[index,call-overload]
    except _UNREADABLE as error:
        raise ConfigError(f"the value is no readable YAML ({' '.join(str(error).split())[:_SHOWN]})") from error


def _present(settings: Sequence[Setting], complaints: list[str]) -> list[Setting]:
    """Return settings of one place (a file, or the command line) under their names of today.

    A setting that is given there by its old name and by its new one, and differs, is added to the complaints.
    """
    named = [replace(setting, key=present_name(setting.key, setting.origin)) for setting in settings]
    for old, setting in zip(settings, named, strict=True):
        if old.key == setting.key:
            continue
        for other in settings:
            if other.key == setting.key and other.value != setting.value:
                complaints.append(
                    f"{old.origin}: {old.key} is {old.value!r}, and {other.key}, its present name, is {other.value!r}; "
                    f"leave {old.key} out"
                )
    return named


def _apply(config: DictConfig, setting: Setting) -> str | None:
    """Set one value; returns the complaint, if there is one."""
    key, value = setting.key, setting.value
    if key in TEXTS and value is not None and setting.written is not None:
        value = setting.written
    leaves = list(_leaves(value))
    if any(isinstance(leaf, str | bytes) and _RESOLVED.search(str(leaf)) for leaf in leaves):
        return (
            f"{setting.origin}: {key} asks for something outside of the config (${{...:...}}), such as the "
            "environment, and would stand in config.yaml for all to read. Write the value itself, or for a key the "
            "name of its variable (api_key_env)"
        )
    if any(isinstance(leaf, int) and leaf.bit_length() > _LONGEST for leaf in leaves):
        return f"{setting.origin}: {key} is a number of more than {_LONGEST} bits, which nothing here takes"
    below_open = next((name for name in OPEN_KEYS if key.startswith(name + ".")), None)
    if key in SECTIONS:
        return f"{setting.origin}: {key} is a section, not a value; set e.g. {_first_key(key)}=..."
    if key not in KEYS and below_open is None:
        return f"{setting.origin}: unknown key {key!r}{_nearest_keys(key)}"
    if key in {"data.train", "data.eval"} and not _is_source_list(value):
        return f"{setting.origin}: {key} must be a list like [{{source: synthetic}}], not {value!r}"
    if key == "data.curriculum" and (complaint := _not_stages(value)):
        return f"{setting.origin}: {complaint}"
    try:
        if key == "data.curriculum":
            value = [OmegaConf.merge(OmegaConf.structured(StageConfig), stage) for stage in value]
        OmegaConf.update(config, key, value, merge=False)
    except (OmegaConfBaseException, TypeError, ValueError, IndexError, AttributeError) as error:
        return f"{setting.origin}: {key}: {str(error).splitlines()[0]}"
    return None


def _leaves(value: Any) -> Iterator[Any]:
    """Yield every single value in a value, keys included."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield name
            yield from _leaves(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner)
    else:
        yield value


def _is_source_list(value: Any) -> bool:
    if isinstance(value, str) and value.startswith("${"):  # an interpolation: data.eval: ${data.train}
        return True
    return isinstance(value, list) and all(isinstance(item, Mapping) for item in value)


def _not_stages(value: Any) -> str:
    """Return what is wrong with the form of `data.curriculum`; empty where nothing is."""
    if not isinstance(value, list) or not all(isinstance(stage, Mapping) for stage in value):
        return (
            f"data.curriculum must be a list like [{{until: {{step: 10}}, train: {{chunks: 6}}}}, ...], not {value!r}"
        )
    for number, stage in enumerate(value):
        for name, part, schema in (("", stage, StageConfig), (".until", stage.get("until"), UntilConfig)):
            if part is None:
                continue
            if not isinstance(part, Mapping):
                return f"data.curriculum[{number}]{name} must be a mapping like {{step: 10}}, not {part!r}"
            known = [field.name for field in fields(schema)]
            for key in part:
                if key not in known:
                    return f"data.curriculum[{number}]{name} has no {key!r}{did_you_mean(str(key), known)}"
    return ""


def _first_key(section: str) -> str:
    return min(key for key in KEYS if key.startswith(section + "."))


def load_config(
    path: str | Path | None = None, overrides: Sequence[str] = (), *, check: bool = True, machine: bool = True
) -> Config:
    """Read a config file (path, or bare name of a shipped one; None: the default) and apply `key=value` overrides.

    `run.dir` comes back filled in. With `check`, conflicts (`check_config`) are refused too, those with what this
    machine has only with `machine`.

    Raises:
        ConfigError: lists every unknown key, wrong type and conflict at once.
    """
    file = find_config(path)
    return _with(OmegaConf.structured(Config), _read_file(file), overrides, file.stem, check, machine)


def with_settings(config: Config, overrides: Sequence[str], name: str) -> Config:
    """A copy of a config with `key=value` overrides. Conflicts are not looked for: it may lack what only a run needs.

    Args:
        name: the config's, for messages and `run.dir`.

    Raises:
        ConfigError: as `load_config`.
    """
    return _with(OmegaConf.structured(config), [], overrides, name, check=False, machine=False)


def _with(
    tree: DictConfig, settings: list[Setting], overrides: Sequence[str], name: str, check: bool, machine: bool
) -> Config:
    complaints: list[str] = []
    given: list[Setting] = []
    for text in overrides:
        try:
            given += _read_override(text)
        except ConfigError as error:
            complaints.append(str(error))
    settings = [*_present(settings, complaints), *_present(given, complaints)]  # an override may differ from the file
    complaints += [complaint for setting in settings if (complaint := _apply(tree, setting)) is not None]
    try:
        config = OmegaConf.to_object(tree)
    except OmegaConfBaseException as error:
        complaints.append(str(error).splitlines()[0])
        raise _refusal(name, complaints) from error
    assert isinstance(config, Config)
    if config.run.dir is None:
        config.run.dir = f"runs/{name}"
    if check:
        complaints += check_config(config, machine=machine)
    if complaints:
        raise _refusal(name, complaints)
    return config


def _refusal(name: str, complaints: list[str]) -> ConfigError:
    if len(complaints) == 1:
        return ConfigError(f"config {name}: {hide(complaints[0])}")
    lines = "".join(f"\n  - {hide(complaint)}" for complaint in complaints)
    return ConfigError(f"config {name}: {len(complaints)} things are wrong{lines}")


def save_config(config: Config, path: Path) -> None:
    """Write the resolved config as YAML; the file appears whole or not at all."""
    write_text_atomic(path, OmegaConf.to_yaml(OmegaConf.structured(config)))
