"""A run's time and tokens: where they went, read from what it left behind. Nothing is run again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from memrl.errors import DataError
from memrl.storage.rundir import COMPUTED_FILE, CONFIG_FILE, METRICS_FILE, MetricsFile, check_run, holds_run

_NO_PHASE = ("step", "wall")
"""Of the keys `time/...`: sums, not phases."""
_TOKENS = {
    "prompt": "tokens/prompt",
    "prompt_cached": "tokens/prompt_cached",
    "completion": "tokens/completion",
    "reader": "tokens/reader",
    "reroll_prompt": "tokens/reroll_prompt",
    "reroll_completion": "tokens/reroll_completion",
    "trained": "tokens/trained",
    "learner_positions": "tokens/learner_padded",
}


def profile(run: Path) -> dict[str, Any]:
    """Return where a run's time and tokens went: `{"steps", "seconds", "tokens", "engine", "by_step"}`.

    `seconds` are of the run's wall time by phase, with `other`, what no phase accounts for, and their sum `wall`.
    `tokens` are those asked for, and what the learner was given and computed; `dropped`: completion tokens that nothing
    was learned from. `engine` is what the engines computed for the steps (`Pool.take_computed`), with `shared`, prompt
    tokens that stood in a row already, and `decoded`, positions of decoding and padding; empty where they do not count.

    Raises:
        CheckpointError: the run is of a format that this version cannot read.
        DataError: the folder holds no run, or one that has not finished a step.
    """
    if not holds_run(run):
        raise DataError(f"{run} holds no run: it has no {CONFIG_FILE}. Name the folder that a run was written to.")
    check_run(run)
    rows = [row for row in MetricsFile(run / METRICS_FILE).rows() if "time/step" in row]
    if not any(row["step"] for row in rows):
        raise DataError(f"{run / METRICS_FILE} has no finished step yet: there is nothing to look at.")
    computed = {row["step"]: row for row in MetricsFile(run / COMPUTED_FILE).rows()}
    by_step = [
        {
            "step": row["step"],
            "seconds": _phases([row]),
            "tokens": _tokens([row]),
            "engine": _engine([computed[row["step"]]] if row["step"] in computed else []),
        }
        for row in rows
    ]
    seconds = _phases(rows)
    wall = rows[-1].get("time/wall", sum(seconds.values()))
    seconds["other"] = wall - sum(seconds.values())
    return {
        "steps": rows[-1]["step"],
        "seconds": {**seconds, "wall": wall},
        "tokens": _tokens(rows),
        "engine": _engine(list(computed.values())),
        "by_step": by_step,
    }


def _phases(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    found: dict[str, float] = {}
    for row in rows:
        for key, value in row.items():
            phase = key.removeprefix("time/")
            if phase != key and phase not in _NO_PHASE:
                found[phase] = found.get(phase, 0.0) + value
    return found


def _tokens(rows: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    found = {name: int(sum(row.get(key, 0) for row in rows)) for name, key in _TOKENS.items()}
    sampled = found["completion"] + found["reroll_completion"]
    return {**found, "dropped": max(0, sampled - found["trained"])}


def _engine(rows: Sequence[Mapping[str, int]]) -> dict[str, int]:
    names = dict.fromkeys(key for row in rows for key in row if key != "step")
    found = {name: sum(row.get(name, 0) for row in rows) for name in names}
    if "read" in found:
        found |= {"shared": found["prompt"] - found["read"], "decoded": found["positions"] - found["read"]}
    return found
