"""A step's groups in figures: what they were paid and how they came by it, what failed, what they cost.

Each function returns a part of the step's row in `metrics.jsonl`, and looks at nothing but records.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import takewhile
from typing import Any

from memrl.envs.searching import NOTHING, SEARCH
from memrl.evaluation.statistics import mean
from memrl.frozen.costs import agreement, judge_costs, reader_costs, verdicts
from memrl.records import Episode, Group, Sample, Step, in_turns, part_values
from memrl.rewards.alarms import ALARMS
from memrl.rewards.meters import raised

COUNTED = ("retries", "workers", "judge")
"""What a pool counts beside failed episodes: tasks tried again, workers lost, cases that the judge was down for."""


def step_figures(
    groups: Sequence[Group], counts: Mapping[str, int], overrides: Mapping[str, float], max_turns: int = 1
) -> dict[str, float]:
    """Return all figures of a step's groups: `fail/*` always, the others where an episode was played.

    Args:
        counts: how often each of `COUNTED` happened meanwhile.
        overrides: alarms in place of those of `memrl.rewards.meters`.
        max_turns: that a step may have; with more than one, turns and searches are counted.
    """
    played = [episode for group in groups for episode in group.episodes]
    steps = [step for episode in played for step in episode.steps]
    failures = sum(len(group.failures) for group in groups)
    row: dict[str, float] = {
        "fail/episodes": float(failures),
        "fail/rate": failures / max(len(played) + failures, 1),
        **{f"fail/{what}": float(counts[what]) for what in COUNTED},
    }
    if not played:
        return row
    answers = [answer for episode in played for answer in episode.answers]
    turns = [turn for step in steps for turn in step.in_turns()]
    stops = Counter(completion.stop for _, completion in turns)
    codes = Counter(result.code.value for step in steps for result in step.results)
    calls = max(codes.total(), 1)
    return row | {
        **reward_figures(played),
        "memory/tokens": mean([float(episode.memory_tokens) for episode in played]),
        "tools/calls_per_step": codes.total() / len(steps),
        **{f"tools/{code}": count / calls for code, count in sorted(codes.items())},
        **(turn_figures(steps) if max_turns > 1 else {}),
        "stop/stop": stops["stop"] / len(turns),
        "stop/length": stops["length"] / len(turns),
        "tokens/prompt": sum(len(prompt_ids) for prompt_ids, _ in turns),
        "tokens/prompt_cached": sum(completion.cached_tokens for _, completion in turns),
        "tokens/completion": sum(len(completion.ids) for _, completion in turns),
        **reroll_figures(played),
        "tokens/reader": sum(answer.prompt_tokens + answer.completion_tokens for answer in answers),
        "reader/asked_again": sum(episode.asked_again for episode in played),
        **reader_costs(answers),
        **judge_costs(verdicts(played)),
        **agreement(played),
        **meter_figures(played, overrides),
    }


def turn_figures(steps: Sequence[Step]) -> dict[str, float]:
    """Return how many turns and searches the steps had, and how many of the searches found nothing."""
    searches = [result for step in steps for result in step.results if result.name == SEARCH]
    return {
        "tools/turns_per_step": sum(len(step.completions) for step in steps) / len(steps),
        "tools/searches_per_step": len(searches) / len(steps),
        "tools/searches_in_vain": sum(result.message == NOTHING for result in searches) / max(len(searches), 1),
    }


def credited(groups: Sequence[Group], samples: Sequence[Sample]) -> list[Group]:
    """Return groups with the advantage of each step, as its sample has it; None where the step became no sample."""
    # A sample holds the very list of the completion that it was made of; ids of streams may come twice.
    found = {id(sample.completion_ids): sample.advantage for sample in samples if not sample.reroll}

    def paid(episode: Episode) -> Episode:
        steps = [step.model_copy(update={"advantage": found.get(id(step.completion.ids))}) for step in episode.steps]
        return episode.model_copy(update={"steps": steps})

    return [replace(group, episodes=[paid(episode) for episode in group.episodes]) for group in groups]


def reroll_figures(episodes: Sequence[Episode]) -> dict[str, float]:
    """Return what re-rolls of these episodes' steps took, and how many failed; none where none was re-rolled. The
    prompt of each counts, though it is the step's own."""
    failed = sum(episode.rerolls_failed for episode in episodes)
    steps = [step for episode in episodes for step in episode.steps]
    if not failed and not any(step.rerolls for step in steps):
        return {}
    rerolled = [
        turn
        for step in steps
        for other in step.rerolls
        for turn in in_turns(step.prompt_ids, other.completion, other.turns)
    ]
    return {
        "fail/rerolls": float(failed),
        "tokens/reroll_prompt": sum(len(prompt_ids) for prompt_ids, _ in rerolled),
        "tokens/reroll_completion": sum(len(completion.ids) for _, completion in rerolled),
    }


def idle_steps(rows: Sequence[Mapping[str, Any]]) -> int:
    """Return how many steps in a row, up to the last, no group has taught anything. `rows` are those of metrics.jsonl,
    in order; the row before the first step is none."""
    taught = (row["advantage/samples"] > 0 for row in reversed(rows) if "advantage/samples" in row)
    return len(list(takewhile(lambda some: not some, taught)))


def calls_in_words(episodes: Sequence[Episode]) -> str:
    """Return what became of the calls of episodes: `no call in 120 steps`, or `12 calls in 120 steps: 9 malformed, 3
    unknown_tool`."""
    steps = [step for episode in episodes for step in episode.steps]
    codes = Counter(result.code.value for step in steps for result in step.results)
    if not codes:
        return f"no call in {len(steps)} steps"
    counted = ", ".join(f"{count} {code}" for code, count in codes.most_common())
    return f"{codes.total()} calls in {len(steps)} steps: {counted}"


def reward_figures(episodes: Sequence[Episode]) -> dict[str, float]:
    """Return the means of all reward parts, over episodes or over steps; none where there are no episodes."""
    if not episodes:
        return {}
    values = {name: [value for row in rows for value in row] for name, rows in part_values(episodes).items()}
    return {
        "reward/total": mean([episode.total for episode in episodes]),
        **{f"reward/{name}": mean(found) for name, found in values.items()},
    }


def meter_figures(episodes: Sequence[Episode], overrides: Mapping[str, float]) -> dict[str, float]:
    """Means of the meters of reward hacking, with 1 or 0 for each alarm.

    Args:
        overrides: alarms in place of those of `memrl.rewards.meters`.
    """
    if not episodes:
        return {}
    meters = {name: mean([episode.meters[name] for episode in episodes]) for name in ALARMS}
    above = raised(meters, {**ALARMS, **overrides})
    return {
        **{f"meters/{name}": value for name, value in meters.items()},
        **{f"alarm/{name}": float(name in above) for name in ALARMS},
    }
