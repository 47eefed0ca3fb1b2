"""The settings that decide the numbers: by them a run is known when it is resumed, and an evaluation when it is
repeated.

The invariant: an update of memrl never makes a run another one. A setting that did not exist when a run began counts as
its default; one that is gone counts for nothing where it had the default of its time; a renamed one is known by both
names. Models and data are known by their content where a manifest tells it, so a folder that was moved is the same.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from memrl.config.load import KEYS
from memrl.config.renamed import RENAMED
from memrl.config.schema import Config
from memrl.config.shipped import TINY, TINY_MODEL
from memrl.storage.files import content_hash

CONTENT = "content"
"""The entry of `decisive` that is no setting: the hash of what stands at a path, by the setting that names the path."""
NOT_DECISIVE = (
    "run",  # where things are written
    "ray",  # who plays and learns
    "vllm",
    "rollout.workers",
    "train.processes",
    "train.parallel",
    "rollout.on_failure",  # how failures are met
    "rollout.retries",
    "rollout.step_timeout",
    "rollout.episode_timeout",
    "rollout.max_failure_rate",
    "train.max_idle_steps",
    "reader.endpoint",  # where answers come from; whose they are (its model) counts
    "judge.endpoint",
    "data.overlap",  # what is looked at, and told
    "judge.canary_every",
    "rewards.alarms",
    "rewards.on_alarm",
    "sft",  # made the model, which is known by its content
)
"""Settings, and whole sections, that decide no number of a run."""
TRAINING_ONLY = (
    "data.train",
    "data.curriculum",
    "data.difficulty",
    "rewards",
    "advantage",
    "loss",
    "train",
    "eval.streams",
    "eval.every",
    "eval.target",
)
"""Those that decide what is learned, and nothing of how a finished policy is measured."""
ANY_LENGTH = ("constant", "constant_with_warmup", "inverse_sqrt")
"""The schedules (`train.schedule`) whose learning rates do not depend on how many steps there will be."""
_ABSENT = "not set"


def decisive(config: Config, *, training: bool = True) -> dict[str, Any]:
    """Return all settings that decide the numbers, by dotted key, as plain JSON, and the content of what they name.

    Args:
        training: of a run; else of an evaluation, which training settings do not decide.
    """
    settings = dict(_flat(asdict(config)))
    found = {key: value for key, value in settings.items() if _decides(key, training)}
    for role in ("reader", "judge"):
        if settings[f"{role}.type"] == "endpoint":
            found[f"{role}.endpoint.model"] = settings[f"{role}.endpoint.model"]
    found[CONTENT] = {key: digest for key, value in found.items() if (digest := _content(key, value)) is not None}
    plain: dict[str, Any] = json.loads(json.dumps(found))
    return plain


def set_keys(config: Config) -> list[str]:
    """Return the decisive settings that are not at their defaults: kept with a run, so that a later version, which may
    lack a setting, can tell whether it mattered."""
    default = decisive(Config())
    return sorted(
        key for key, value in decisive(config).items() if key != CONTENT and default.get(key, _ABSENT) != value
    )


def differences(
    then: Mapping[str, Any], config: Config, *, set_then: Collection[str] | None = None, training: bool = True
) -> dict[str, str]:
    """Return `train.lr: 0.001 then, 0.01 now` for every decisive setting that differs, by its key.

    A setting that `then` lacks is new, and counts as its default. One that is gone from the schema is passed over where
    it had its default of that time, as `set_then` tells; where it had not, or that is not known, it is a difference,
    since nothing computes today what it stood for. One that decides nothing today is passed over.

    Args:
        then: what `decisive` returned, or the nested form of it that runs without a format version hold.
        set_then: what `set_keys` returned then; None where that was not kept.
        training: as for `decisive`.
    """
    if set_then is not None:
        set_then = {RENAMED.get(key, key) for key in set_then}
    now = decisive(config, training=training)
    content_now, content_then = now.pop(CONTENT), then.get(CONTENT, {})
    old = {RENAMED.get(key, key): value for key, value in _flat(then) if key.partition(".")[0] != CONTENT}
    default = dict(_flat(asdict(Config())))
    found: dict[str, str] = {}
    for key, value in now.items():
        before = old.get(key, default.get(key, _ABSENT))
        if key in content_now and key in content_then:
            if content_now[key] != content_then[key]:
                found[key] = f"{key}: what stands at {value} is not what stood at {before} then"
        elif before != value:
            found[key] = f"{key}: {_shown(before)} then, {_shown(value)} now"
    for key, before in old.items():
        if key in now or not _decides(key, training):
            continue
        if _setting_of(key) is not None:  # an entry of a list or mapping
            found[key] = f"{key}: {_shown(before)} then, {_ABSENT} now"
        elif set_then is None or key in set_then:
            found[key] = f"{key}: {_shown(before)} then, and this version of memrl has no such setting"
    return dict(sorted(found.items()))


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every dotted key with its value; what lies in lists of mappings is `data.train[0].source`."""
    for name, value in tree.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping):
            yield from _flat(value, f"{key}.")
        elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
            yield from _flat({f"{key}[{index}]": item for index, item in enumerate(value)})
        elif not (isinstance(value, list) and not value and key in KEYS):  # an empty list has no entries
            yield key, value


def _decides(key: str, training: bool) -> bool:
    passed_over = NOT_DECISIVE if training else (*NOT_DECISIVE, *TRAINING_ONLY)
    return not any(key == name or key.startswith((f"{name}.", f"{name}[")) for name in passed_over)


def _setting_of(key: str) -> str | None:
    """Return the setting that a key is, or lies in; None where this version has none."""
    return next((name for name in KEYS if key == name or key.startswith((f"{name}.", f"{name}["))), None)


def _content(key: str, value: Any) -> str | None:
    """Return the hash of the model or data that a setting names by its path."""
    of_retrieval = key.startswith("memory.retrieval_options.") and key.endswith(".model")
    named = key in ("model.path", "data.path") or key.endswith("].path") or of_retrieval
    if not isinstance(value, str) or not named:
        return None
    return content_hash(TINY_MODEL if (key, value) == ("model.path", TINY) else Path(value).expanduser())


def _shown(value: Any) -> str:
    return value if value == _ABSENT else repr(value)
