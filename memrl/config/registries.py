"""The names that a setting may have: registries of what is implemented on the floors above.

They stand here, not beside the implementations, because the config's check reads them and imports go downwards only.
Each name stands once, with the import path of what it names, which is imported when somebody asks for it; a test
resolves every path. Registries of what the task rooms implement (sources, designs, dialects) stand there.
"""

from __future__ import annotations

from typing import Any

from memrl.envs.designs import DESIGNS
from memrl.envs.dialects import AUTO, DIALECTS
from memrl.envs.registry import Registry, shape
from memrl.envs.retrieval import RETRIEVALS
from memrl.errors import ConfigError

CREDIT: Registry[Any] = Registry("credit mode", "memrl.credit", shape(takes=3))
"""Called with the episodes of a group, the section `advantage` and the reward weights: `memrl.credit.Mode`."""
for _name in ("episode", "evidence", "counterfactual", "retrieved", "reroll", "pooled"):
    CREDIT.add(_name, f"memrl.credit:{_name}")

LOSSES: Registry[Any] = Registry("loss", "memrl.losses", shape(members=("per_token", "total")))
"""Objects like `memrl.learner.loss.Loss`."""
for _name in ("grpo", "dapo", "dr_grpo", "gspo", "cispo"):
    LOSSES.add(_name, f"memrl.learner.loss:{_name.upper()}")

ENGINES: Registry[Any] = Registry("engine", "memrl.engines", shape(takes=3))
"""Called with the config, the ids that end a turn and how many adapter versions to keep, they open an `Engine`: build
functions, which see the whole config."""
ENGINES.add("transformers", "memrl.engines.build:open_transformers")
ENGINES.add("vllm", "memrl.engines.build:open_vllm")

READERS: Registry[Any] = Registry("reader", "memrl.readers", shape(takes=1, members=("answer", "close")))
"""Called with a `memrl.frozen.reader.ReaderSetting`, they open a `Reader`."""
READERS.add("policy-base", "memrl.frozen.build:policy_base_reader")
READERS.add("lexical", "memrl.frozen.build:lexical_reader")
READERS.add("endpoint", "memrl.frozen.build:endpoint_reader")

JUDGES: Registry[Any] = Registry("judge")
"""Called with the config, and the worker's engine and prompter, they open a `Judge`, or give None."""
JUDGES.add("none", "memrl.frozen.build:no_judge")
JUDGES.add("policy-base", "memrl.frozen.build:policy_base_judge")
JUDGES.add("endpoint", "memrl.frozen.build:endpoint_judge")

TRACKERS: Registry[Any] = Registry("tracker", "memrl.trackers", shape(takes=1, members=("row", "end")))
"""Called with a `memrl.report.trackers.RunInfo`, they open a `Tracker`."""
TRACKER_PACKAGES = {
    "tensorboard": ("tensorboard",),
    "wandb": ("wandb",),
    "trackio": ("trackio",),
    "mlflow": ("mlflow", "sqlalchemy", "alembic"),
}
"""Those that ship, each an extra of this package, with the packages that they import."""
for _name in TRACKER_PACKAGES:
    TRACKERS.add(_name, f"memrl.report.tracking:{_name}")

BY_KEY: dict[str, Registry[Any]] = {
    "memory.design": DESIGNS,
    "memory.retrieval": RETRIEVALS,
    "rollout.engine": ENGINES,
    "rollout.dialect": DIALECTS,
    "reader.type": READERS,
    "judge.type": JUDGES,
    "advantage.mode": CREDIT,
    "loss.type": LOSSES,
}
"""The registry from which the value of a setting is taken."""
BESIDE: dict[str, tuple[str, ...]] = {"rollout.dialect": (AUTO,)}
"""Values of such a setting that are no names of its registry."""


def chosen(key: str, name: str) -> Any:
    """Return the thing that a setting names.

    Args:
        key: the setting, in BY_KEY.

    Raises:
        ConfigError: there is none of that name; the nearest right name is given.
        PluginError: it is somebody else's, and cannot be imported or has the wrong shape.
    """
    registry = BY_KEY[key]
    if not registry.knows(name):
        raise ConfigError(f"{key}: {registry.unknown(name)}")
    return registry.get(name)
