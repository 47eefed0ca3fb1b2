"""A run at a glance: its figures as lines over steps, and what in them should be looked at."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from statistics import fmean
from typing import Any

from memrl.evaluation.statistics import stream_interval
from memrl.look.records import AlarmRecord, BandRecord, SeriesRecord
from memrl.look.runs import Run
from memrl.report.curve import KIND, kinds_of
from memrl.report.metric_keys import METRICS, metric_of
from memrl.rewards.alarms import ALARMS

ENDS = ("_low", "_high")
_GROUPS: tuple[tuple[str, str], ...] = (
    (KIND, "kinds"),
    ("eval/qa", "held-out"),
    ("eval/answerable", "held-out"),
    ("eval/unanswerable", "held-out"),
    ("eval/worst_fall", ""),
    ("eval/streams", ""),
    ("eval/failures", "failures"),
    ("eval/reader_", "cost"),
    ("eval/judge_", "cost"),
    ("eval/", "held-out"),
    ("reward/", "reward"),
    ("memory/tokens", "lengths"),
    ("meters/length", "lengths"),
    ("stop/", "lengths"),
    ("tools/calls_per_step", "tools"),
    ("tools/", "tools"),
    ("fail/rate", "failures"),
    ("fail/", "failures"),
    ("learner/staleness", "staleness"),
    ("loss/entropy", "entropy"),
    ("loss/clip_fraction", "clipping"),
    ("loss/kl", "clipping"),
    ("loss/grad_norm", "clipping"),
    ("time/wall", ""),
    ("time/", "time"),
    ("tokens/", "tokens"),
    ("reader/", "cost"),
    ("judge/agreement", "reward"),
    ("judge/accepted", "reward"),
    ("judge/", "cost"),
    ("meters/", "meters"),
)
"""Beginnings of keys with the group that they are drawn in, the first that fits; an empty group: not
drawn."""
SPENT = ("reader/prompt_tokens", "reader/completion_tokens", "judge/prompt_tokens", "judge/completion_tokens")
SAMPLED = ("tokens/prompt", "tokens/completion", "tokens/reroll_prompt", "tokens/reroll_completion")


def series_of(run: Run) -> list[SeriesRecord]:
    """Return the figures of a run as lines over steps, with tokens a second and the tokens so far."""
    keys = dict.fromkeys(key for row in run.rows for key in row)
    lines = [line for key in keys if (line := _line(run.rows, key)) is not None]
    return [*lines, *_computed(run.rows)]


def _line(rows: Sequence[dict[str, Any]], key: str) -> SeriesRecord | None:
    if key.endswith(ENDS) and any(key.removesuffix(end) in row for end in ENDS for row in rows):
        return None
    group = next((group for begin, group in _GROUPS if key.startswith(begin)), "")
    if not group:
        return None
    found = [row for row in rows if key in row]
    ends = any(f"{key}_low" in row for row in found)
    told = metric_of(key)  # none: an older or a newer version's key
    return {
        "key": key,
        "group": group,
        "label": key.removeprefix(KIND if group == "kinds" else key.split("/")[0] + "/").replace("_", " "),
        "unit": told.unit if told else "",
        "meaning": f"{told.meaning} To worry about: {told.worry}" if told else "",
        "steps": [row["step"] for row in found],
        "values": [row[key] for row in found],
        "low": [row.get(f"{key}_low") for row in found] if ends else None,
        "high": [row.get(f"{key}_high") for row in found] if ends else None,
    }


def _computed(rows: Sequence[dict[str, Any]]) -> Iterator[SeriesRecord]:
    """Figures that metrics.jsonl has no key for."""
    taken = [row for row in rows if row["step"] and row.get("time/step", 0) > 0 and "tokens/completion" in row]
    yield _plain(
        "tokens/second", "tokens", "tokens a second", "tokens/s",
        "Tokens that the policy read and wrote in the step, over the seconds of the whole step.",
        [(row["step"], sum(row.get(key, 0) for key in SAMPLED) / row["time/step"]) for row in taken],
    )  # fmt: skip
    for key, label, keys in (
        ("cost/policy_tokens", "policy tokens so far", SAMPLED),
        (
            "cost/frozen_tokens",
            "reader and judge tokens so far",
            (*SPENT, *(f"eval/{key.replace('/', '_')}" for key in SPENT)),
        ),
    ):
        so_far, points = 0.0, []
        for row in rows:
            so_far += sum(row.get(name, 0) for name in keys)
            points.append((row["step"], so_far))
        yield _plain(key, "cost", label, "tokens", "Sum over the rows up to this step.", points)
    walls = [(row["step"], row["time/wall"]) for row in rows if "time/wall" in row]
    yield _plain("cost/seconds", "cost", "seconds so far", "seconds", METRICS["time/wall"].meaning, walls)


def _plain(
    key: str, group: str, label: str, unit: str, meaning: str, points: Sequence[tuple[int, float]]
) -> SeriesRecord:
    return {
        "key": key,
        "group": group,
        "label": label,
        "unit": unit,
        "meaning": meaning,
        "steps": [step for step, _ in points],
        "values": [value for _, value in points],
        "low": None,
        "high": None,
    }


def alarms_of(run: Run) -> list[AlarmRecord]:
    """Return what should be looked at: kinds of question below where they began, meters above their alarm, files that
    cannot be read."""
    found: list[AlarmRecord] = []
    rows = run.evaluations()
    certain = {one["kind"] for one in (run.summary or {}).get("kinds_fallen", []) if isinstance(one, dict)}
    for kind in kinds_of(run.rows):
        values = [(row["step"], row[KIND + kind]) for row in rows if KIND + kind in row]
        if len(values) > 1 and values[-1][1] < values[0][1]:
            step, before = next(one for one in reversed(values) if one[1] >= values[0][1])
            sure = " (beyond chance)" if kind in certain else ""
            text = f"{kind} fell from {before:.2f} to {values[-1][1]:.2f} since step {step}{sure}"
            found.append({"key": f"kind:{kind}", "text": text, "step": values[-1][0]})
    for meter in ALARMS:
        raised = [row for row in run.rows if row.get(f"alarm/{meter}")]
        if raised:
            last = raised[-1]
            text = (
                f"{meter} was above its alarm in {len(raised)} steps, last {last.get(f'meters/{meter}', math.nan):.2f}"
            )
            found.append({"key": f"meter:{meter}", "text": f"{text} at step {last['step']}", "step": last["step"]})
    if run.damage:
        text = f"{len(run.damage)} files or lines cannot be read: {run.damage[0]}"
        found.append({"key": "damage", "text": text, "step": None})
    return found


def band_of(runs: Sequence[tuple[str, Run]]) -> BandRecord | None:
    """Return the held-out accuracy of several runs as one line; None of one, or where no step is common to all."""
    if len(runs) < 2:
        return None
    by_step = [{row["step"]: row["eval/qa"] for row in run.evaluations()} for _, run in runs]
    steps = sorted(set.intersection(*map(set, by_step))) if all(by_step) else []
    if not steps:
        return None
    values = [[found[step] for found in by_step] for step in steps]
    intervals = [stream_interval([[value] for value in row], planned=len(row)) for row in values]
    return {
        "runs": [key for key, _ in runs],
        "steps": steps,
        "mean": [fmean(row) for row in values],
        "low": [one.low for one in intervals],
        "high": [one.high for one in intervals],
        "least": [min(row) for row in values],
        "most": [max(row) for row in values],
    }
