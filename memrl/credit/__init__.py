"""Credit: from the rewards of a group's episodes to one advantage for each step. The only place that knows how.

`pooled` (Mem-alpha, arXiv 2509.25911, section 3): one reward per (episode i, step t),

    r[i,t] = episode parts of i + step parts of (i,t),      A = (r - mean) / std,

with one mean and std over all steps of all episodes of the group. Its flaw: a chunk with nothing worth keeping drags
down every completion that read it, because a step is compared with other positions.

`episode` (default): a step is compared only with the same step of the other episodes,

    a[i,t] = (E[i] - mean_i E) + (S[i,t] - mean_i S[.,t]),      A = a / sigma,

where E and S are the weighted sums of the episode parts and of the step parts. There is ONE sigma per group, the
standard deviation of `a` itself. Refused: a std per part or per position, which would blow the smallest noise in a part
that hardly varies up to the size of the answers' signal and so undo the weights; and the std of the episode totals,
which is zero when two episodes make the same mistake at different steps. Without spread in S this is plain GRPO.

`evidence`: what is known of E's causes is paid where it was caused, and each of the T steps gets its share of the rest,

    a[i,t] = sum_q share[q,t] c[i,q]  +  b[i,t]  +  (rest[i] + S[i,t] - mean_i S[.,t]) / T,

    E[i] - mean_i E = sum_q c[i,q] + sum_t b[i,t] + rest[i],
    c[i,q] = dE/dqa * (score[i,q] - mean_i score[.,q]) / questions,
    share[q,t]: 1 - `spill` in equal parts to the steps that read q's evidence, `spill` in equal parts to those after
                the first of them, which could lose it; all to the former where there are no latter; sum_t share = 1,
    b[i,t] = -dE/dcompression * (g[i,t] - mean_i g[.,t]) / chunk tokens   where the memory grew by g tokens in step t,
    rest[i]: what is left (questions without evidence, the product of qa and compression),

with the derivatives at the group's mean. A step is then no longer paid for what other steps did, which is most of the
noise in `episode`. The share b is what makes it safe: with the answers alone nobody would be blamed for using up the
memory, and the policy stores everything. The advantages of an episode's steps sum to what it was paid above the mean of
its group (E plus the mean of S): nothing is paid twice. Refused: shares that grow with the number of evidence chunks or
of later steps, since a question's credit is then paid several times, most of it to steps that did not earn it; and S as
it is, beside answers that are paid once. The longer the stream, the less an answer counts then beside the success of a
call (docs/credit.md has what that costs). With one chunk it is `episode`, exactly.

`counterfactual`: as `evidence`, with no labels needed: what the answers lose without step t,

    v[i,t] = mean_q (score[i,q] - score of q without step t)            found out by memrl.rollout.counterfactual

takes the place of the answers' shares: dE/dqa * (v[i,t] - mean_i v[.,t]) is paid to step t, exactly its loss. What
single steps do not explain (an answer that two steps hold is lost by neither) is shared by all. With one chunk it is
`episode`, exactly.

`retrieved`: as `counterfactual`, from what an episode leaves behind, without labels or further questions: what the
reader was shown says who is paid,

    v[i,t] = sum_q (share[i,q,t] score[i,q] + lost[i,q,t]) / questions,
    share[i,q,t] = (1 - `uniform_share`) written[i,q,t] + `uniform_share` / T,      sum_t share = 1,
    written[i,q,t]: parts of the steps that wrote the words of q's answer into the items shown (memrl.credit.shown),
                    with `spill` of a word to later steps that wrote its item anew and kept it; 1/T where the words tell
                    nothing (nothing was shown, or the answer stands in none of it),
    lost[i,q,t] = (1 - `uniform_share`) mean_j (score[j,q] - score[i,q]) (written[i,j,q,t] - removed[i,j,q,t]),
    j: the episodes with a better answer,      sum_t lost = 0,
    removed[i,j,q,t]: parts of the steps that took away the last text of episode i that held what j's answer was taken
                      from; written: of those that had written it.

So a step that deletes an answer, or writes over it, is charged what its writer would have earned; the writer is not.
With one chunk it is `episode`, exactly. After the attribution of Fine-Mem (arXiv 2601.08435), which divides a
question's score by the number of items retrieved and pays each part to the step that made the item. What differs: items
count by the answer's words, since a view that is filled shows all items with every question, and equal parts would pay
for writing many; the writer is that of the words, not the maker of the item, nor its last writer, who would earn all
that the core paragraph held before; and the score is centred at each step, v[i,t] - mean_i v[.,t]. Refused: to centre
the score first and share that out, which is conserved as well; but an answer that a step failed to make possible would
then be charged to those who wrote what was shown in its place, and who writes nothing is never charged.
`uniform_share` is for what leaves no words: room that was kept free. It is 0.2 as `spill` is:
the writers earn four fifths of an answer, as those who read its evidence do by `evidence`.

`reroll` (same-state re-rollouts, after Memory-R2, arXiv 2605.21768): a step is compared with K other completions of the
same prompt from the very same memory, k = 1..K, after each of which the later calls of its episode were made again
(memrl.rollout.reroll). All K + 1 are samples,

    a[i,t,k] = V[i,t,k] - mean of V[i,t,j] over the others j,      V = E + S[t] / T,      sum_k a[i,t,k] = 0,

where k = 0 is the episode's own. They were drawn alike from one distribution, so what the first has ahead, that later
calls were made for it, is constant and teaches nothing on average, and each has the others as an exact baseline; to
learn from the first alone would throw away what K completions and their questions have cost. Steps that are not
re-rolled (`reroll_steps`) have

    a[i,t] = (E[i] - mean_i E + S[i,t] - mean_i S[.,t]) / T,

their part of an episode that is paid once. So no sum over an episode is conserved here, as no two states share a
baseline; what sums to zero are the completions that are compared with each other: the K + 1 of a state, or the same
step of a group's episodes (all have the same steps re-rolled). Memory-R2 adds a global advantage to every step; here a
re-rolled step has its exact one alone.

`normalize_parts` (GDPO, arXiv 2601.05242; with every mode but `pooled` and `reroll`): a[i,t] is a sum over the parts k.
Each part's share a_k is divided by its own standard deviation in the group before it is weighted, and the sums by one
sigma over all samples of the batch:

    A = z / sigma_batch,      z[i,t] = sum_k w[k] a_k[i,t] / sigma_k,      sigma_k: of a_k in the group.

Then the weights say how much each part counts, however little it varies; without it, a part counts by weight and
spread, so that a weight on something that hardly varies is lost. Off by default: where all but one part are nearly
settled, it turns their noise into half of the signal.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memrl.config import AdvantageConfig
from memrl.config.registries import chosen
from memrl.credit.shown import WordSource, Writers
from memrl.errors import ConfigError
from memrl.records import Episode, Group, Sample, Step, in_turns
from memrl.rewards.compose import (
    RewardWeights,
    episode_shares,
    episode_slopes,
    episode_value,
    step_value,
)
from memrl.rewards.parts import QA, Compression

Array = NDArray[np.float64]
Mode = Callable[[Sequence[Episode], AdvantageConfig, RewardWeights], "list[Array] | None"]
"""One way to give credit. Of the episodes of a group, at least two, none without steps, it returns the advantages of
each episode's steps; None where nothing in the group has a spread of `min_spread`. With `normalize_parts` they are
divided by one sigma of the batch afterwards. A mode with the mark of `needs_worth` finds `Step.worth` in each step; one
with the mark of `needs_rerolls` finds `Step.rerolls`, and returns each step's advantage followed by its re-rolls'."""
Moved = Callable[[Sequence[Episode], AdvantageConfig, "dict[str, float]"], list[Array]]
"""What a mode adds at each step to an equal share of what the answers of its episode were paid."""

_EPSILON = 1e-6  # as in Mem-alpha's code; groups with no spread never get as far as the division


@dataclass
class AdvantageReport:
    """The samples, in logical order (group, episode, step, re-roll, turn), and what became of each group."""

    samples: list[Sample] = field(default_factory=list)
    used: list[str] = field(default_factory=list)
    """Stream ids of the groups that became samples."""
    no_spread: list[str] = field(default_factory=list)
    """Stream ids of the groups whose episodes were all paid the same: they teach nothing (law 6)."""
    too_small: list[str] = field(default_factory=list)
    """Stream ids of the groups that infrastructure failures left with fewer than two episodes: no baseline."""

    @property
    def dropped(self) -> list[str]:
        """Stream ids of the groups that should be refilled."""
        return self.no_spread + self.too_small

    def metrics(self) -> dict[str, float]:
        """The same as figures for metrics.jsonl."""
        sizes = [abs(sample.advantage) for sample in self.samples]
        return {
            "advantage/groups_used": float(len(self.used)),
            "advantage/groups_no_spread": float(len(self.no_spread)),
            "advantage/groups_too_small": float(len(self.too_small)),
            "advantage/samples": float(len(sizes)),
            "advantage/abs_mean": float(np.mean(sizes)) if sizes else 0.0,
            "advantage/abs_max": max(sizes, default=0.0),
        }


def group_advantages(groups: Sequence[Group], config: AdvantageConfig, weights: RewardWeights) -> AdvantageReport:
    """Turn groups into samples with advantages; groups that teach nothing are dropped and counted."""
    mode, rerolled = credit_mode(config.mode), wants_rerolls(config.mode)
    report = AdvantageReport()
    batch: list[tuple[list[Episode], list[Array]]] = []
    for group in groups:
        episodes = [episode for episode in group.episodes if episode.steps]
        if len(episodes) < 2:
            report.too_small.append(group.stream_id)
            continue
        advantages = mode(episodes, config, weights)
        if advantages is None:
            report.no_spread.append(group.stream_id)
            continue
        report.used.append(group.stream_id)
        batch.append((episodes, advantages))
    sigma = _batch_sigma([advantages for _, advantages in batch]) if config.normalize_parts else 1.0
    for episodes, advantages in batch:
        for episode, row in zip(episodes, advantages, strict=True):
            report.samples.extend(_samples(episode, row / sigma, rerolled))
    return report


def credit_mode(name: str) -> Mode:
    """Return the mode `name`: one of those below, a plug-in's, or an import path.

    Raises:
        ConfigError: there is none; the nearest right name is given.
        PluginError: it is somebody else's, and cannot be imported or called.
    """
    mode: Mode = chosen("advantage.mode", name)
    return mode


def needs_worth(mode: Mode) -> Mode:
    """Mark a mode as one that reads `Step.worth`: what the answers lose without each step is then found out in play."""
    setattr(mode, "needs_worth", True)  # noqa: B010 - a function has no such attribute for a type checker
    return mode


def needs_rerolls(mode: Mode) -> Mode:
    """Mark a mode as one that reads `Step.rerolls`: other completions of a step are then sampled and tried in play, and
    are samples too."""
    setattr(mode, "needs_rerolls", True)  # noqa: B010 - as above
    return mode


def wants_rerolls(name: str) -> bool:
    """Return whether the mode `name` needs other completions of the steps."""
    return _marked(name, "needs_rerolls")


def wants_worth(name: str) -> bool:
    """Return whether the mode `name` needs to know what each step is worth."""
    return _marked(name, "needs_worth")


def _marked(name: str, mark: str) -> bool:
    return bool(getattr(credit_mode(name), mark, False))


def pooled(episodes: Sequence[Episode], config: AdvantageConfig, weights: RewardWeights) -> list[Array] | None:
    """Return the advantages of mode `pooled`."""
    whole, steps = _paid(episodes, weights)
    rewards = [value + row for value, row in zip(whole, steps, strict=True)]
    flat = np.concatenate(rewards)
    if np.ptp(flat) < config.min_spread:
        return None
    return _scaled([row - flat.mean() for row in rewards], float(flat.std(ddof=1)), config)


def episode(episodes: Sequence[Episode], config: AdvantageConfig, weights: RewardWeights) -> list[Array] | None:
    """Return the advantages of mode `episode`."""
    return _compared(episodes, config, weights, None)


def evidence(episodes: Sequence[Episode], config: AdvantageConfig, weights: RewardWeights) -> list[Array] | None:
    """Return the advantages of mode `evidence`."""
    return _compared(episodes, config, weights, _by_evidence)


def retrieved(episodes: Sequence[Episode], config: AdvantageConfig, weights: RewardWeights) -> list[Array] | None:
    """Return the advantages of mode `retrieved`."""
    return _compared(episodes, config, weights, _by_shown)


@needs_worth
def counterfactual(episodes: Sequence[Episode], config: AdvantageConfig, weights: RewardWeights) -> list[Array] | None:
    """Return the advantages of mode `counterfactual`."""
    return _compared(episodes, config, weights, _by_worth)


@needs_rerolls
def reroll(episodes: Sequence[Episode], config: AdvantageConfig, weights: RewardWeights) -> list[Array] | None:
    """Return the advantages of mode `reroll`: of each step's own completion, and then of its re-rolls."""
    whole, steps = _paid(episodes, weights)
    rows: list[Array] = []
    for number, (episode, own, against) in enumerate(zip(episodes, steps, _against_position(steps), strict=True)):
        if not episode.rerolls_failed and not any(step.rerolls for step in episode.steps):
            raise ConfigError(
                f"episode {episode.index} of stream {episode.stream_id!r} was played without re-rolling its steps. Use "
                "advantage.mode=reroll when it is played, or another mode."
            )
        shared = (whole[number] - whole.mean() + against) / len(own)
        row: list[float] = []
        for step, mine, part in zip(episode.steps, own, shared, strict=True):
            # V[i,t,k]
            values = np.array([whole[number] + mine / len(own), *_rerolled(step, len(own), weights)])
            others = len(values) - 1
            row.extend((values - values.mean()) * (others + 1) / others if others else [part])
        rows.append(np.array(row))
    flat = np.concatenate(rows)
    if np.abs(flat).max() < config.min_spread:
        return None
    return _scaled(rows, float(np.sqrt(np.square(flat).mean())), config)


def _rerolled(step: Step, steps: int, weights: RewardWeights) -> list[float]:
    """V[i,t,k] of a step's re-rolls."""
    return [
        episode_value(other.episode_parts, weights) + step_value(other.parts, weights) / steps for other in step.rerolls
    ]


def _paid(episodes: Sequence[Episode], weights: RewardWeights) -> tuple[Array, list[Array]]:
    """E of each episode, and S of its steps."""
    whole = np.array([episode_value(episode.parts, weights) for episode in episodes], dtype=np.float64)
    steps = [
        np.array([step_value(step.parts, weights) for step in episode.steps], dtype=np.float64) for episode in episodes
    ]
    return whole, steps


def _compared(
    episodes: Sequence[Episode], config: AdvantageConfig, weights: RewardWeights, answers: Moved | None
) -> list[Array] | None:
    """Advantages of steps that are compared with the same step of the other episodes.

    Args:
        answers: moves the credit for answers to the steps that earned it; None: nothing is moved.
    """
    if config.normalize_parts:
        return _part_by_part(episodes, config, weights, answers)
    whole, steps = _paid(episodes, weights)
    centred = [value + row for value, row in zip(whole - whole.mean(), _against_position(steps), strict=True)]
    if answers is not None:
        centred = [row / len(row) for row in centred]
        for moved in _moved(episodes, config, weights, answers).values():
            centred = [row + gained for row, gained in zip(centred, moved, strict=True)]
    flat = np.concatenate(centred)
    if np.abs(flat).max() < config.min_spread:
        return None
    # The mean of `a` is zero by construction; G - 1 of G degrees of freedom are left at each position.
    freedom = len(flat) * (len(episodes) - 1) / len(episodes)
    return _scaled(centred, float(np.sqrt(np.square(flat).sum() / freedom)), config)


def _scaled(centred: list[Array], sigma: float, config: AdvantageConfig) -> list[Array]:
    return [row / (sigma + _EPSILON) for row in centred] if config.normalize_std else centred


def _against_position(rows: Sequence[Array]) -> list[Array]:
    """Each row minus, at every position, the mean of the rows. Episodes of one stream have the same length; should one
    ever differ, a position's mean is over those that have it."""
    baseline = np.array(
        [np.mean([row[t] for row in rows if t < len(row)]) for t in range(max(len(row) for row in rows))]
    )
    return [row - baseline[: len(row)] for row in rows]


def _part_by_part(
    episodes: Sequence[Episode], config: AdvantageConfig, weights: RewardWeights, answers: Moved | None
) -> list[Array] | None:
    """z of `normalize_parts`, or None where no part has a spread."""
    shares = [episode_shares(episode.parts, weights) for episode in episodes]
    rows: dict[str, list[Array]] = {}
    for one in weights.episode:
        values = np.array([share.get(one.name, 0.0) for share in shares], dtype=np.float64)
        rows[one.name] = [
            np.full(len(episode.steps), value) for episode, value in zip(episodes, values - values.mean(), strict=True)
        ]
    if answers is not None:
        moved = _moved(episodes, config, weights, answers)
        for part, found in rows.items():
            rows[part] = [row / len(row) for row in found]
        for part, gained in moved.items():
            rows[part] = [row + more for row, more in zip(rows[part], gained, strict=True)]
    for one in weights.steps:
        paid = [
            np.array([one.weight * step.parts.get(one.name, 0.0) for step in episode.steps]) for episode in episodes
        ]
        rows[one.name] = _against_position(paid)
    total: list[Array] | None = None
    for part, found in rows.items():
        flat = np.concatenate(found)
        if np.abs(flat).max() < config.min_spread:
            continue
        scale = abs(weights[part]) / float(np.sqrt(np.square(flat).mean()))
        scaled = [row * scale for row in found]
        total = scaled if total is None else [one + other for one, other in zip(total, scaled, strict=True)]
    return total


def _batch_sigma(batch: Sequence[Sequence[Array]]) -> float:
    """Return the sigma of all samples together; 1 where there are none. Their mean is 0 by construction."""
    rows = [row for advantages in batch for row in advantages]
    return float(np.sqrt(np.square(np.concatenate(rows)).mean())) + _EPSILON if rows else 1.0


def _moved(
    episodes: Sequence[Episode], config: AdvantageConfig, weights: RewardWeights, answers: Moved
) -> dict[str, list[Array]]:
    """Return what `evidence` and `counterfactual` add at each step to an equal share of what its episode was paid, by
    part: credit taken from all steps and paid to those that earned it. Parts of whose causes nothing is known are not
    among them: all steps share those."""
    parts = {
        one.name: float(np.mean([episode.parts.get(one.name, 0.0) for episode in episodes])) for one in weights.episode
    }
    slopes = episode_slopes(parts, weights)
    growth = [np.diff([0.0, *(float(step.memory_tokens) for step in episode.steps)]) for episode in episodes]
    grown = [
        -slopes[Compression.name] * row / episode.chunk_tokens
        for episode, row in zip(episodes, _against_position(growth), strict=True)
    ]
    return {
        QA.name: answers(episodes, config, slopes),
        Compression.name: [paid - paid.sum() / len(paid) for paid in grown],
    }


def _by_worth(episodes: Sequence[Episode], config: AdvantageConfig, slopes: dict[str, float]) -> list[Array]:
    """The answers' credit by v[i,t] of `counterfactual`."""
    return _by_value([_worths(episode) for episode in episodes], slopes)


def _by_shown(episodes: Sequence[Episode], config: AdvantageConfig, slopes: dict[str, float]) -> list[Array]:
    """The answers' credit by v[i,t] of `retrieved`."""
    return _by_value(_shown_values(episodes, config), slopes)


def _by_value(values: Sequence[Array], slopes: dict[str, float]) -> list[Array]:
    """The answers' credit by what each step was worth to them, v[i,t]."""
    return [slopes[QA.name] * (gained - gained.sum() / len(gained)) for gained in _against_position(values)]


def _shown_values(episodes: Sequence[Episode], config: AdvantageConfig) -> list[Array]:
    """v[i,t] of `retrieved`."""
    told = [Writers(episode) for episode in episodes]
    better: dict[str, list[tuple[float, list[WordSource]]]] = defaultdict(list)
    for episode, writers in zip(episodes, told, strict=True):
        for answer in episode.answers:
            better[answer.question_id].append((answer.score, writers.sources(answer) if answer.score else []))
    values: list[Array] = []
    for episode, writers in zip(episodes, told, strict=True):
        uniform = np.full(len(episode.steps), 1.0 / len(episode.steps))
        value = np.zeros(len(episode.steps))
        for answer in episode.answers:
            found = writers.share(answer, config.spill) if answer.score else None
            share = uniform if found is None else (1.0 - config.uniform_share) * found + config.uniform_share * uniform
            value += answer.score * share / len(episode.answers)
            ahead = [(score - answer.score, by) for score, by in better[answer.question_id] if score > answer.score]
            for more, sources in ahead:
                lost = (1.0 - config.uniform_share) * more * writers.moved(sources, config.spill)
                value += lost / (len(ahead) * len(episode.answers))
        values.append(value)
    return values


def _by_evidence(episodes: Sequence[Episode], config: AdvantageConfig, slopes: dict[str, float]) -> list[Array]:
    """The answers' credit by share[q,t] c[i,q]."""
    scores: dict[str, list[float]] = defaultdict(list)
    for episode in episodes:
        for answer in episode.answers:
            scores[answer.question_id].append(answer.score)
    means = {question: float(np.mean(found)) for question, found in scores.items()}
    rows = [np.zeros(len(episode.steps)) for episode in episodes]
    for episode, row in zip(episodes, rows, strict=True):
        # A step that tidies has read no evidence, and comes after its chunk.
        chunks = np.array([step.chunk + 0.5 if step.tidies else step.chunk for step in episode.steps])
        for answer in episode.answers:
            share = _evidence_share(chunks, answer.evidence or (), config.spill)
            if share is None:
                continue
            credit = slopes[QA.name] * (answer.score - means[answer.question_id]) / len(episode.answers)
            row += credit * (share - 1.0 / len(row))
    return rows


def _evidence_share(chunks: NDArray[Any], evidence: Sequence[int], spill: float) -> Array | None:
    """Return share[q,t], which sums to 1; None where no step read evidence of the question."""
    read = np.isin(chunks, evidence)
    if not read.any():
        return None
    later = ~read & (chunks > chunks[read].min())
    spilt = spill if later.any() else 0.0
    return np.where(read, (1.0 - spilt) / read.sum(), np.where(later, spilt / max(later.sum(), 1), 0.0))


def _worths(episode: Episode) -> Array:
    """Return what the mean score of the answers loses without each step.

    Raises:
        ConfigError: it was not found out when the episode was played.
    """
    found = [step.worth for step in episode.steps if step.worth is not None]
    if len(found) < len(episode.steps):
        raise ConfigError(
            f"episode {episode.index} of stream {episode.stream_id!r} was played without finding out what its steps "
            "are worth. Use advantage.mode=counterfactual when it is played, or another mode."
        )
    return np.array([sum(worth.values()) / max(len(episode.answers), 1) for worth in found], dtype=np.float64)


def _samples(episode: Episode, advantages: Array, rerolled: bool) -> list[Sample]:
    """One sample for each turn of a step, and of its re-rolls where they are credited: exactly the ids and log-probs
    that the engine returned (law 1). The turns of a step are one act in parts: each has the step's advantage."""
    assert episode.version is not None, "only an adapter learns"
    attempts = [
        (step, number, tried)
        for step in episode.steps
        for number, tried in enumerate([step, *(step.rerolls if rerolled else ())])
    ]
    return [
        Sample(
            prompt_ids=prompt_ids,
            completion_ids=completion.ids,
            logprobs=completion.logprobs,
            advantage=float(advantage),
            version=episode.version if completion.version is None else completion.version,
            stream_id=episode.stream_id,
            episode=episode.index,
            chunk=step.chunk,
            reroll=number,
            turn=turn,
        )
        for (step, number, tried), advantage in zip(attempts, advantages, strict=True)
        for turn, (prompt_ids, completion) in enumerate(in_turns(step.prompt_ids, tried.completion, tried.turns))
    ]
