"""The teacher of saved episodes: rejection sampling. What a policy did when it was paid best is shown to it again.

Token ids go from the engine to the loss, as in training: nothing is decoded and encoded again.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from memrl.engines.prompting import Prompter
from memrl.errors import ConfigError
from memrl.records import Episode
from memrl.sft.examples import Example
from memrl.storage.rundir import EPISODES, EpisodeWriter


def best_steps(run: Path, best: float, prompter: Prompter) -> Iterator[Example]:
    """Yield the steps of a run's best training episodes.

    Of each group the share `best` of its episodes that were paid most, as far as they were paid above its mean; of
    these the steps that ended by themselves and whose calls all succeeded.

    Raises:
        ConfigError: the run has no saved episodes, or another tokenizer wrote them.
        DataError: a file of them is damaged.
    """
    writer = EpisodeWriter(run / EPISODES)
    steps = sorted(int(path.name.split("_")[1].split(".")[0]) for path in writer.folder.glob("step_*.jsonl.zst"))
    if not steps:
        raise ConfigError(f"{run} has no saved episodes ({EPISODES}/). Name a run that was trained (--from RUN).")
    for number in steps:
        for _, group in itertools.groupby(writer.read(number), key=lambda episode: (episode.source, episode.stream_id)):
            for episode in chosen(list(group), best):
                for step in episode.steps:
                    if prompter.decode(step.completion.ids) != step.text:
                        raise ConfigError(
                            f"the episodes of {run} were written by another tokenizer than that of model.path, so they "
                            "say something else to it. Use the model that the run was trained with."
                        )
                    if step.completion.stop == "stop" and step.completion.ids and all(one.ok for one in step.results):
                        yield Example(step.prompt_ids, step.completion.ids)


def chosen(group: Sequence[Episode], best: float) -> list[Episode]:
    """Return the best episodes of a group, of those that were paid above its mean."""
    mean = sum(episode.total for episode in group) / len(group)
    ranked = sorted(group, key=lambda episode: (-episode.total, episode.index))
    return [episode for episode in ranked[: math.ceil(best * len(group))] if episode.total > mean + 1e-9]
