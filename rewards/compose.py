"""Weights turn reward parts into totals. Every part is kept beside the total, so any total can be computed again.

Episode parts are paid once an episode, step parts once a step:

    E = sum_k w[k] gate[k] v[k]      over the episode parts k;  gate[k]: the value of the part that gates k, else 1
    S = sum_k w[k] v[k]              over the step parts k of one step
    total = E + mean of S over the steps

A part that is absent pays nothing and costs nothing: content without a judge is no failure of the policy. Values that
have no weight here are records, not pay, and are passed over.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from memrl.envs.errors import PluginError
from memrl.envs.registry import is_import_path
from memrl.envs.suggest import did_you_mean
from memrl.rewards.parts import PARTS, SHIPPED, EpisodeView, RewardPart

RESERVED = {"total", "step", "version", "streams", "failures"}
RESERVED_BEGINNINGS = ("qa_", "reader_", "judge_")
"""What no added part can be called: summaries and metrics have these beside the parts."""


@dataclass(frozen=True)
class Preset:
    """Weights that belong together, with the formulas that they were chosen for."""

    weights: Mapping[str, float]
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Options of the parts' classes, by part."""


_SETTINGS: dict[str, Preset] = {
    # r = r1 + r2 + 0.05 r3 + 0.1 r4 (Mem-alpha, arXiv 2509.25911, section 3)
    "memalpha": Preset(
        {"qa": 1.0, "compression": 0.05, "tool_success": 1.0, "content": 0.1},
        {"tool_success": {"without_calls": 0.0}, "compression": {"clip": False}},
    ),
    # A call that merely succeeds is worth a tenth of an answer: at 1.0 the policy is paid mostly for calling.
    "default": Preset(
        {"qa": 1.0, "compression": 0.05, "tool_success": 0.1, "content": 0.1}, {"compression": {"gate": "qa"}}
    ),
}


@dataclass(frozen=True)
class WeightedPart:
    """One part of a run's reward, under the name by which it is recorded."""

    name: str
    part: RewardPart
    weight: float

    @property
    def gate(self) -> str | None:
        """The part in proportion to which it is paid."""
        return getattr(self.part, "gate", None)


@dataclass(frozen=True)
class RewardWeights:
    """The parts of a run, each with its weight, in the order in which they are summed."""

    parts: tuple[WeightedPart, ...]

    @cached_property
    def episode(self) -> tuple[WeightedPart, ...]:
        """The parts that are paid once an episode."""
        return tuple(one for one in self.parts if one.part.level == "episode")

    @cached_property
    def steps(self) -> tuple[WeightedPart, ...]:
        """The parts that are paid for each step."""
        return tuple(one for one in self.parts if one.part.level == "step")

    def __getitem__(self, name: str) -> float:
        """Return the weight of a part."""
        return next(one.weight for one in self.parts if one.name == name)


def unknown_name(kind: str, name: str, known: Sequence[str]) -> ValueError:
    """Return the error for a misspelt name, with the nearest right one, or else all of them."""
    return ValueError(f"unknown {kind} {name!r}{did_you_mean(name, known)}")


def resolve_weights(
    preset: str, overrides: Mapping[str, float] | None = None, added: Mapping[str, Any] | None = None
) -> RewardWeights:
    """Return the preset's parts and those that are added, with some weights replaced.

    Args:
        overrides: weights by part (`rewards.weights`).
        added: settings of further parts, by name (`rewards.parts`).

    Raises:
        ValueError: unknown preset or part (the nearest right name is given), or a weight that is no finite number.
        PluginError: an added part cannot be made of its settings.
    """
    if preset not in _SETTINGS:
        raise unknown_name("rewards preset", preset, list(_SETTINGS))
    weights, options = _SETTINGS[preset].weights, _SETTINGS[preset].options
    parts = {
        shipped.name: WeightedPart(shipped.name, shipped(**options.get(shipped.name, {})), weights[shipped.name])
        for shipped in SHIPPED
    }
    parts |= {str(name): open_part(str(name), settings) for name, settings in (added or {}).items()}
    for name, weight in (overrides or {}).items():
        if name not in parts:
            raise unknown_name("reward part", str(name), list(parts))
        if not _is_weight(weight):
            raise ValueError(f"the weight of reward part {name!r} must be a finite number, not {weight!r}.")
        parts[name] = replace(parts[name], weight=float(weight))
    found = RewardWeights(tuple(parts.values()))
    _check_gates(found)
    return found


def _is_weight(weight: Any) -> bool:
    return not isinstance(weight, bool) and isinstance(weight, int | float) and math.isfinite(weight)


def _check_gates(weights: RewardWeights) -> None:
    """Refuse gates that are no parts of the episode, or have a gate of their own: slopes would need a chain."""
    open_parts = [one.name for one in weights.episode if one.gate is None]
    for one in weights.episode:
        if one.gate is not None and one.gate not in open_parts:
            raise PluginError(
                f"rewards.parts.{one.name}: its gate is {one.gate!r}; it must be an episode part without a gate: "
                f"{', '.join(open_parts)}."
            )


def open_part(name: str, settings: Any) -> WeightedPart:
    """Make an added part of its settings: `import_path`, `weight`, and the options of its class.

    Args:
        name: by which it is recorded; without an `import_path`, that of an installed package's entry point.

    Raises:
        PluginError: its name is taken, it is unknown or cannot be imported, it has the wrong shape, its class does not
            take an option, or its weight is missing or no finite number.
    """
    where = f"rewards.parts.{name}"
    settings = {} if settings is None else settings
    if not isinstance(settings, Mapping):
        raise PluginError(f"{where} must be a mapping like {{import_path: package.module:Class, weight: 0.1}}, "
                          f"not {settings!r}.")  # fmt: skip
    options = dict(settings)
    path = options.pop("import_path", None)
    source = _source(name, path, where)
    try:
        make = PARTS.get(source)
    except PluginError as error:
        raise PluginError(f"{where}: {error}") from error
    weight = options.pop("weight", getattr(make, "default_weight", None))
    if weight is None:
        raise PluginError(f"{where} has no weight; say how much it counts beside qa, e.g. {where}.weight=0.1.")
    if not _is_weight(weight):
        raise PluginError(f"{where}.weight must be a finite number, not {weight!r}.")
    what = path or getattr(make, "__qualname__", name)
    parameters = inspect.signature(make).parameters
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        for option in options:
            if option not in parameters:
                raise PluginError(f"{where}: {what} has no option {option!r}{did_you_mean(str(option), parameters)}")
    try:
        part = make(**options)
    except Exception as error:  # somebody else's class may raise anything
        raise PluginError(f"{where}: {what} does not take its options: {type(error).__name__}: {error}") from error
    return WeightedPart(name, part, float(weight))


def _source(name: str, path: Any, where: str) -> str:
    """Return what the registry is to be asked for."""
    if name in {shipped.name for shipped in SHIPPED}:
        raise PluginError(
            f"{where}: {name!r} ships with memrl and is part of every run; its weight is rewards.weights.{name}. Give "
            "a part of your own another name."
        )
    if not name.isidentifier() or name in RESERVED or name.startswith(RESERVED_BEGINNINGS):
        raise PluginError(
            f"{where}: {name!r} is no name for a reward part. It must be a word of letters, digits and underscores, "
            f"none of {', '.join(sorted(RESERVED))}, and not begin with {', '.join(RESERVED_BEGINNINGS)}: metrics "
            "have those already."
        )
    if path is None:
        if name not in PARTS:
            installed = [plugin.name for plugin in PARTS.plugins]
            raise PluginError(
                f"{where}: no installed package brings a reward part {name!r}{did_you_mean(name, installed)}. A part "
                f"of your own has an import_path: {where}={{import_path: package.module:Class, weight: 0.1}}"
            )
        return name
    if not isinstance(path, str) or not is_import_path(path):
        raise PluginError(f"{where}.import_path must be written package.module:Class, not {path!r}.")
    if name in PARTS:
        owner = next(plugin.origin for plugin in PARTS.plugins if plugin.name == name)
        raise PluginError(
            f"{where}: {name!r} is taken by the {owner}. Give yours another name, or leave import_path out to use that "
            "one."
        )
    return path


def episode_shares(parts: Mapping[str, float], weights: RewardWeights) -> dict[str, float]:
    """Return what is paid for each episode part that is present; `episode_value` is their sum."""
    return {
        one.name: one.weight * (1.0 if one.gate is None else parts.get(one.gate, 0.0)) * parts[one.name]
        for one in weights.episode
        if one.name in parts
    }


def episode_value(parts: Mapping[str, float], weights: RewardWeights) -> float:
    """Return the weighted sum of the episode parts that are present."""
    return _sum(episode_shares(parts, weights).values())


def episode_slopes(parts: Mapping[str, float], weights: RewardWeights) -> dict[str, float]:
    """Return what `episode_value` gains for one more unit of each episode part, where the parts are `parts`."""
    slopes = {one.name: one.weight * (1.0 if one.gate is None else parts.get(one.gate, 0.0)) for one in weights.episode}
    for one in weights.episode:
        if one.gate is not None:
            slopes[one.gate] += one.weight * parts.get(one.name, 0.0)
    return slopes


def step_value(parts: Mapping[str, float], weights: RewardWeights) -> float:
    """Return the weighted sum of one step's parts that are present."""
    return _sum(one.weight * parts[one.name] for one in weights.steps if one.name in parts)


def _sum(terms: Iterable[float]) -> float:
    """Return the sum, added one by one: the built-in `sum` rounds otherwise from Python 3.12 on."""
    found = 0.0
    for term in terms:
        found += term
    return found


def total(
    episode_parts: Mapping[str, float], step_parts: Sequence[Mapping[str, float]], weights: RewardWeights
) -> float:
    """Return what an episode was paid: the episode's value plus the mean of its steps' values (0 without steps)."""
    value = episode_value(episode_parts, weights)
    if step_parts:
        value += math.fsum(step_value(parts, weights) for parts in step_parts) / len(step_parts)
    return value


@dataclass(frozen=True)
class Payment:
    """The pay of an episode, part by part and in all."""

    parts: dict[str, float]
    """Of the episode."""
    steps: list[dict[str, float]]
    """Of each step."""
    total: float


def pay(seen: EpisodeView, weights: RewardWeights) -> Payment:
    """Compute every part of one episode, and the total.

    Raises:
        PluginError: a part raised, or its value is no finite number.
    """
    whole = _values(weights.episode, seen, "")
    steps = [_values(weights.steps, step, f" of step {step.chunk}") for step in seen.steps]
    return Payment(whole, steps, total(whole, steps, weights))


def _values(parts: Sequence[WeightedPart], seen: Any, where: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for one in parts:
        try:
            value = one.part.value(seen)
            number = None if value is None else float(value)
        except Exception as error:  # somebody else's part may raise anything; as reward 0 it would be trained on
            raise PluginError(f"reward part {one.name!r}{where}: {type(error).__name__}: {error}") from error
        if number is None:
            continue
        if not math.isfinite(number):
            raise PluginError(f"reward part {one.name!r}{where} is {number}; a part must be a finite number, or None.")
        found[one.name] = number
    return found


PRESETS: dict[str, RewardWeights] = {name: resolve_weights(name) for name in _SETTINGS}
"""The weights of each preset, by its name."""
