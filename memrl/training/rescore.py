"""`memrl rescore`: what saved episodes would have been paid by other rewards, with nothing generated again.

Every part is computed anew from what an episode left behind: answers and their golds, tool results, token counts. With
the settings of the run this gives its own rewards, to the bit. Parts that the run did not have can be added.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

from memrl.config import AdvantageConfig, RewardConfig, load_config
from memrl.credit import group_advantages, wants_rerolls
from memrl.errors import ConfigError, DataError
from memrl.records import AnswerRecord, Episode, Group
from memrl.rewards.compose import RewardWeights, resolve_weights
from memrl.rewards.metrics import METRICS, score
from memrl.storage.rundir import CONFIG_FILE, EpisodeWriter, check_run

ALLOWED = ("rewards.", "advantage.")


def rescored(episode: Episode, weights: RewardWeights, metric: str | None = None) -> Episode:
    """The episode as other rewards would have paid it.

    Args:
        metric: scores every answer, in place of each question's own.

    Raises:
        DataError: an answer cannot be scored by that metric.
        PluginError: somebody's reward part failed.
    """
    try:
        answers = [
            answer.model_copy(
                update={
                    "metric": metric or answer.metric,
                    "score": _score(answer, metric),
                }
            )
            for answer in episode.answers
        ]
    except ValueError as error:
        raise DataError(f"stream {episode.stream_id!r}, episode {episode.index}: {error}") from error
    return episode.model_copy(update={"answers": answers}).paid(weights)


def _score(answer: AnswerRecord, metric: str | None) -> float:
    """Return the score by the metric that is given; else by the judge's verdict, where there is one; else by the
    question's metric."""
    if metric is None and answer.verdict is not None:
        return float(answer.verdict.accepted)
    return score(metric or answer.metric, answer.answer, answer.gold)


def rescore(
    run: Path, overrides: Sequence[str] = (), *, metric: str | None = None
) -> Iterator[tuple[int, list[Episode], list[Episode], dict[str, float]]]:
    """Pay a run's episodes again.

    Args:
        run: the run's folder.
        overrides: `rewards...` and `advantage...` settings in place of the run's.
        metric: scores every answer, in place of each question's own.

    Returns:
        For each step its number, its episodes as they were paid and as they would be, and figures of their advantages.

    Raises:
        ConfigError: it is no run, it has no saved episodes, a setting is none of rewards or advantages, or saved
            episodes do not hold what the credit mode needs.
        FormatError: a newer version wrote it.
        DataError: its episodes are damaged, or cannot be scored by `metric`.
        PluginError: a reward part cannot be made of its settings, or fails.
    """
    if not (run / CONFIG_FILE).is_file():
        raise ConfigError(f"{run} is no run: it has no {CONFIG_FILE}. Give a run's folder.")
    check_run(run)
    for override in overrides:
        if not override.startswith(ALLOWED):
            raise ConfigError(f"{override!r} would change what was generated. Only rewards. and advantage. can be set.")
    if metric is not None and metric not in METRICS:
        raise ConfigError(f"unknown metric {metric!r}; choose from {', '.join(METRICS)}")
    config, played = load_config(run / CONFIG_FILE, overrides, check=False), load_config(run / CONFIG_FILE, check=False)
    paid = played.rewards.content
    if config.rewards.content != paid:
        raise ConfigError(
            f"rewards.content={config.rewards.content} needs the chunks, which saved episodes do not hold; the run had "
            f"{paid}. Weights of the content part can be changed, what it is cannot."
        )
    if wants_rerolls(config.advantage.mode):
        _check_rerolls(config.advantage, played.advantage)
        _check_paid_alike(config.rewards, played.rewards, metric)
    writer = EpisodeWriter(run / "episodes")
    numbers = writer.steps()
    if not numbers:
        raise ConfigError(f"{run} has no saved episodes (run.save_episodes was off, or no step is done).")
    try:
        weights = resolve_weights(config.rewards.preset, config.rewards.weights, config.rewards.parts)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    return _steps(config.advantage, weights, writer, numbers, metric)


def _check_rerolls(wanted: AdvantageConfig, played: AdvantageConfig) -> None:
    """Refuse a mode that compares completions which were never sampled."""
    if not wants_rerolls(played.mode):
        raise ConfigError(
            f"advantage.mode={wanted.mode} compares other completions of the steps, which are sampled and tried while "
            f"an episode is played; this run was played with advantage.mode={played.mode}. Train with "
            f"advantage.mode={wanted.mode}, or rescore to a mode that needs less, as retrieved."
        )


def _check_paid_alike(wanted: RewardConfig, played: RewardConfig, metric: str | None) -> None:
    """Refuse what would pay the episodes otherwise than their re-rolls, of which the values of the parts are saved and
    not what these were computed from."""
    if metric is not None or (wanted.preset, wanted.parts) != (played.preset, played.parts):
        raise ConfigError(
            "re-rolls are saved with the values of their reward parts, not with their answers: weights can be changed, "
            "the metric, rewards.preset and rewards.parts cannot. Give advantage.mode=episode or another mode too."
        )


def _steps(
    advantage: AdvantageConfig,
    weights: RewardWeights,
    writer: EpisodeWriter,
    numbers: Sequence[int],
    metric: str | None,
) -> Iterator[tuple[int, list[Episode], list[Episode], dict[str, float]]]:
    for number in numbers:
        before = writer.read(number)
        after = [rescored(episode, weights, metric) for episode in before]
        by_stream = groupby(after, lambda episode: episode.stream_id)
        groups = [Group(stream_id, list(members), []) for stream_id, members in by_stream]
        report = group_advantages(groups, advantage, weights)
        yield number, before, after, report.metrics()
