"""The demonstrations of a warm start, by the teacher that is configured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from memrl.config import Config
from memrl.data.feed import StreamFeed
from memrl.engines.prompting import Prompter, open_prompter
from memrl.envs.stream import Stream
from memrl.envs.tools import ToolCall
from memrl.errors import ConfigError, LearnerError
from memrl.report.progress import RunProgress
from memrl.rollout.environment import new_memory
from memrl.sft.endpoint import ask, cost, steps_of
from memrl.sft.episodes import best_steps
from memrl.sft.examples import Example, Teacher, demonstrations
from memrl.sft.teacher import Carelessness
from memrl.sft.words import Words


def open_teacher_prompter(config: Config, tokenizer: Any) -> Prompter:
    """Return the prompter of a warm start; its probe is that of training.

    Raises:
        ConfigError: the model's template cannot be used, or the memory's design gives a teacher nothing to show.
    """
    prompter = open_prompter(tokenizer, config.rollout.dialect)
    by_keep = config.sft.teacher in ("careless", "words")
    if by_keep and not new_memory(config.memory, prompter).keep("Ann lives in Rome."):
        raise ConfigError(
            f"memory.design is {config.memory.design!r}, whose `keep` says no calls that keep a sentence: there is "
            "nothing that a teacher could show. Train without a warm start, or write `keep` (docs/designs.md)."
        )
    return prompter


def streams_of(config: Config, most: int | None = None) -> list[Stream]:
    """Return the streams that the teacher demonstrates, or the first of them."""
    feed = StreamFeed(config.data.train, config.data.path, config.seed, cycle=False)
    return feed.take(config.sft.streams if most is None else min(most, config.sft.streams))


def teacher_of(config: Config, prompter: Prompter) -> Teacher:
    """Return the teacher that knows its calls without being asked over a network."""
    if config.sft.teacher != "words":
        return Carelessness()

    def fits(calls: Sequence[ToolCall]) -> bool:
        if len(calls) > config.memory.max_calls:
            return False
        text = prompter.dialect.format(calls)
        return len(prompter.tokenizer.encode(text, add_special_tokens=False)) < config.rollout.max_completion_tokens

    return Words(fits)


def demonstrated(config: Config, prompter: Prompter, progress: RunProgress) -> list[Example]:
    """Return all demonstrations, of any length.

    Raises:
        LearnerError: the run whose episodes are to be shown has no good ones.
        EngineError: the teacher's endpoint does not answer.
    """
    sft = config.sft
    if sft.teacher == "episodes":
        with progress.phase("good episodes are read", None):
            found = list(best_steps(Path(str(sft.episodes)), sft.best, prompter))
        if not found:
            raise LearnerError(f"no group of {sft.episodes} has an episode that was paid above its mean.")
        return found
    if sft.teacher == "endpoint":
        streams = streams_of(config)
        progress.console.print(cost(config, streams, prompter), markup=False)
        with progress.phase("the teacher writes", steps_of(config, streams, prompter)) as advance:
            asked = ask(config, streams, prompter, advance)
        progress.console.print(f"the teacher: {asked.told()}", markup=False)
        answers = demonstrations(streams, config, prompter, config.seed, None) if sft.answers else ()
        return [*asked.examples, *answers]
    with progress.phase("the teacher demonstrates", None):
        teach = teacher_of(config, prompter)
        return list(demonstrations(streams_of(config), config, prompter, config.seed, teach))
