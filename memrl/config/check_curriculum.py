"""Conflicts of `data.curriculum` and `data.difficulty`: stages that cannot be entered, and what a stage may not
change."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from typing import Any

from memrl.config.schema import Config, MemoryConfig, StageConfig, UntilConfig
from memrl.config.stages import FIXED_OPTIONS, SCORE_STEPS, STAGE_MEMORY, merged
from memrl.envs.errors import DataError, PluginError
from memrl.envs.sources import SOURCES, open_source, option_names
from memrl.envs.specs import parse_spec
from memrl.envs.suggest import did_you_mean

SCORES_OF = ("held_out", "training")
LEAST_KEEP = 0.05
"""The least `data.difficulty.keep`: with less, whole passes over a set would be read for a single stream."""
_WHY_NOT = {
    "retrieve_budget": "belongs to the reader, which is the same for the whole run, so that scores mean the same",
    "design": "decides which tools the policy has, which are the same for the whole run",
}


def check_curriculum(config: Config) -> Iterator[str]:
    """Yield what is wrong with the stages and the pools of a config, in words."""
    curriculum = config.data.curriculum
    before = 0  # the step on which the last stage so far ends that ends on one
    for number, stage in enumerate(curriculum):
        where = f"data.curriculum[{number}]"
        last = number == len(curriculum) - 1
        until = stage.until
        if until is not None and until.step is None and until.score is None:
            yield f"{where}.until names neither a step nor a score; give it one, or leave it out in the last stage"
        elif until is None and not last:
            yield (
                f"{where} has no `until`, so the stage after it can never be entered; give it e.g. "
                "until: {score: 0.8} or until: {step: 10}"
            )
        elif until is not None and last:
            yield f"{where} is the last stage, and its `until` leads nowhere; leave it out, or add a stage"
        elif until is not None:
            yield from _until(f"{where}.until", until, before, config)
            before = max(before, until.step or 0)
        yield from _train(f"{where}.train", stage, config)
        yield from _memory(f"{where}.memory", stage.memory, config)
    yield from _difficulty(config)


def _until(where: str, until: UntilConfig, before: int, config: Config) -> Iterator[str]:
    steps = config.train.steps
    if until.step is not None:
        if until.step < 1:
            yield f"{where}.step is {until.step}; it must be at least 1, or the stage is never played"
        elif until.step >= steps:
            yield f"{where}.step is {until.step} and train.steps {steps}: the next stage can never be entered; lower it"
        elif until.step <= before:
            yield (
                f"{where}.step is {until.step}, and an earlier stage ends at step {before}; let the steps rise from "
                "stage to stage"
            )
    if until.of not in SCORES_OF:
        yield f"{where}.of is {until.of!r}{did_you_mean(until.of, SCORES_OF)}"
        return
    if until.score is None:
        if until.kind is not None or until.of != SCORES_OF[0]:
            yield f"{where} says whose score counts, and no score; add one, e.g. score: 0.8"
        return
    if not 0 < until.score <= 1:  # nan too
        yield f"{where}.score is {until.score}; scores lie between 0 and 1, so it must be above 0 and at most 1"
        return
    if until.of == "training":
        if until.kind is not None:
            yield f"{where}.kind is {until.kind!r}, which counts held-out questions only; leave it or of=training out"
        if steps <= SCORE_STEPS:
            yield (
                f"{where} waits for the mean of {SCORE_STEPS} steps and train.steps is {steps}: the next stage can "
                "never be entered; raise train.steps"
            )
        return
    every, target = config.eval.every, config.eval.target
    if every == 0 or every >= steps:
        yield (
            f"{where} waits for a held-out score, and with eval.every={every} only the policy before the first of "
            f"{steps} steps and after the last is evaluated; set eval.every, or use of: training"
        )
    if target is not None and until.kind is None and until.score >= target:
        yield (
            f"{where}.score is {until.score:g} and eval.target {target:g}: the run ends before the next stage is "
            "entered; raise eval.target or lower the score"
        )


def _train(where: str, stage: StageConfig, config: Config) -> Iterator[str]:
    specs = [spec for spec in config.data.train if isinstance(spec, Mapping) and _known(spec)]
    if not specs:
        return  # that is said of data.train
    known = list(dict.fromkeys(option for spec in specs for option in option_names(str(spec["source"]))))
    free = [option for option in known if option not in FIXED_OPTIONS]
    wrong = False
    for option in map(str, stage.train):
        if option in FIXED_OPTIONS:
            yield (
                f"{where} changes {option!r}, which says what data there is or how often it is drawn; a stage may "
                "change how long and how hard streams are. Set it in data.train"
            )
        elif option not in known:
            sources = " and ".join(dict.fromkeys(repr(str(spec["source"])) for spec in specs))
            yield f"{where}: no source of data.train ({sources}) has the option {option!r}{did_you_mean(option, free)}"
        wrong = wrong or option not in free
    for index, spec in enumerate([] if wrong or not stage.train else specs):
        try:
            parsed = parse_spec(merged(spec, stage), config.data.path)
            open_source(parsed.name, parsed.options)
        except DataError as error:
            yield f"{where}, merged over data.train[{index}]: {error}"


def _known(spec: Mapping[str, Any]) -> bool:
    """Return whether a source is there, and can be asked for its options."""
    name = str(spec.get("source"))
    try:
        return SOURCES.knows(name) and bool(option_names(name))
    except PluginError:
        return False


def _memory(where: str, changed: Mapping[str, Any], config: Config) -> Iterator[str]:
    allowed = ", ".join(STAGE_MEMORY)
    settings = [field.name for field in fields(MemoryConfig)]
    wrong = False
    for name, value in changed.items():
        if name in STAGE_MEMORY and not isinstance(value, bool) and isinstance(value, int) and value >= 1:
            continue
        wrong = True
        if name in STAGE_MEMORY:
            yield f"{where}.{name} is {value!r}; it must be a whole number of at least 1"
        elif name in settings:
            yield f"{where} changes {name!r}, which {_WHY_NOT[name]}. A stage may change {allowed}"
        else:
            yield f"{where}: the memory has no setting {name!r}{did_you_mean(str(name), STAGE_MEMORY)}"
    if wrong or not changed:
        return
    memory, limit = replace(config.memory, **changed), config.rollout.max_prompt_tokens
    if memory.core_budget > memory.budget:
        yield f"{where}: the core_budget ({memory.core_budget}) exceeds the budget ({memory.budget}) then; lower it"
    if memory.render_budget >= limit:
        yield (
            f"{where}.render_budget ({memory.render_budget}) leaves no room for the chunk in "
            f"rollout.max_prompt_tokens ({limit}); lower it"
        )


def _difficulty(config: Config) -> Iterator[str]:
    difficulty = config.data.difficulty
    if not math.isfinite(difficulty.keep + difficulty.easy + difficulty.hard):
        return  # that is said of all numbers
    if not LEAST_KEEP <= difficulty.keep <= 1:
        yield f"data.difficulty.keep is {difficulty.keep}; it must lie between {LEAST_KEEP:g} and 1 (1: off)"
        return
    if difficulty.hard >= difficulty.easy:
        yield (
            f"data.difficulty.hard ({difficulty.hard:g}) is not below data.difficulty.easy ({difficulty.easy:g}): a "
            "stream could be both; lower the first"
        )
    if difficulty.keep == 1:
        return
    for index, spec in enumerate(config.data.train):
        if isinstance(spec, Mapping) and _known(spec) and not comes_again(spec):
            yield (
                f"data.difficulty.keep is {difficulty.keep:g}, and data.train[{index}] ({spec['source']}) makes new "
                "streams without end: none comes again, so no pool of it is ever drawn from. Give it a `count` and a "
                "`seed`, which make it a finite set, or leave data.difficulty out"
            )


def comes_again(spec: Mapping[str, Any]) -> bool:
    """Return whether streams of an entry of `data.train` can come a second time: those of one without end do not,
    unless its number and its seed are fixed."""
    endless = SOURCES.get(str(spec["source"])).endless
    return not endless or (spec.get("count") is not None and spec.get("seed") is not None)
