"""Credit: who is paid for what, and which groups teach nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memrl.config import AdvantageConfig
from memrl.credit import group_advantages
from memrl.errors import ConfigError
from memrl.records import AnswerRecord, Completion, Episode, Group, Reroll, Step
from memrl.rewards.compose import RewardWeights, episode_value, resolve_weights, step_value, total

WEIGHTS = resolve_weights("memalpha", {"tool_success": 0.5, "compression": 0.1, "content": 0.0})
DEFAULT, MEMALPHA = resolve_weights("default"), resolve_weights("memalpha")


def make_group(
    qa: list[float], tool_success: list[list[float]], compression: list[float] | None = None, stream_id: str = "s"
) -> Group:
    episodes = []
    for i, row in enumerate(tool_success):
        steps = [
            Step(
                chunk=t,
                prompt_ids=[1, 2, t],
                completion=Completion(ids=[10 + i, t, 99], logprobs=[-0.1, -0.2, -0.3], stop="stop", version=7),
                text="",
                results=[],
                diff=[],
                memory_tokens=0,
                parts={"tool_success": value},
            )
            for t, value in enumerate(row)
        ]
        episodes.append(
            Episode(
                stream_id=stream_id,
                source="test",
                index=i,
                version=7,
                seed=0,
                steps=steps,
                answers=[],
                memory={},
                chunk_tokens=10,
                memory_tokens=5,
                parts={"qa": qa[i], "compression": compression[i] if compression else 0.0},
            )
        )
    return Group(stream_id=stream_id, episodes=episodes, failures=[])


def make_evidence_group(
    scores: list[list[float]], evidence: list[list[int] | None], memory: list[list[int]], chunk_tokens: int = 100
) -> Group:
    """Episodes i with the scores[i][q] of questions with `evidence[q]` and the memory's tokens after each step."""
    group = make_group([sum(row) / len(row) for row in scores], [[1.0] * len(row) for row in memory])
    for i, episode in enumerate(group.episodes):
        answers = [
            AnswerRecord(
                question_id=f"q{q}", kind="fact", question="?", gold=["x"], answer="x", metric="exact_match",
                score=score, evidence=evidence[q], retrieved=[],
            )
            for q, score in enumerate(scores[i])
        ]  # fmt: skip
        steps = [
            step.model_copy(update={"memory_tokens": held}) for step, held in zip(episode.steps, memory[i], strict=True)
        ]
        parts = {"qa": episode.parts["qa"], "compression": 1 - memory[i][-1] / chunk_tokens}
        group.episodes[i] = episode.model_copy(
            update={"answers": answers, "steps": steps, "parts": parts, "chunk_tokens": chunk_tokens}
        )
    return group


def matrix(group: Group, config: AdvantageConfig) -> np.ndarray:
    report = group_advantages([group], config, WEIGHTS)
    return np.array([sample.advantage for sample in report.samples]).reshape(len(group.episodes), -1)


def test_pooled_is_memalphas_formula() -> None:
    tools = [[1.0, 0.0], [0.5, 1.0], [0.0, 0.0]]
    group = make_group([0.2, 0.9, 0.5], tools, [0.3, -0.1, 0.5])
    rewards = np.array([0.2 + 0.03, 0.9 - 0.01, 0.5 + 0.05])[:, None] + 0.5 * np.array(tools)
    expected = (rewards - rewards.mean()) / (rewards.std(ddof=1) + 1e-6)
    np.testing.assert_allclose(matrix(group, AdvantageConfig(mode="pooled")), expected)


def test_episode_without_step_spread_is_plain_grpo() -> None:
    qa = np.array([0.0, 0.5, 1.0, 1.0])
    group = make_group(qa.tolist(), [[1.0, 0.0, 1.0]] * 4)
    expected = (qa - qa.mean()) / (qa.std(ddof=1) + 1e-6)
    np.testing.assert_allclose(matrix(group, AdvantageConfig()), np.repeat(expected[:, None], 3, axis=1))


def test_episode_compares_a_step_with_the_same_position_only() -> None:
    # Position 1 holds nothing worth keeping: every episode fails there. Pooled blames that step, episode does not.
    group = make_group([0.5, 0.5], [[1.0, 0.0], [0.0, 0.0]])
    episode = matrix(group, AdvantageConfig(mode="episode"))
    assert episode[0, 0] > 0 > episode[1, 0]
    np.testing.assert_allclose(episode[:, 1], 0.0, atol=1e-12)
    assert (matrix(group, AdvantageConfig(mode="pooled"))[:, 1] < 0).all()


def test_episode_has_unit_scale_and_keeps_the_weights() -> None:
    tools = [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]
    group = make_group([0.1, 0.6, 0.8], tools)
    raw = matrix(group, AdvantageConfig(normalize_std=False))
    qa, steps = np.array([0.1, 0.6, 0.8]), 0.5 * np.array(tools)
    np.testing.assert_allclose(raw, (qa - qa.mean())[:, None] + steps - steps.mean(0))
    scaled = matrix(group, AdvantageConfig())
    np.testing.assert_allclose(scaled / raw, (scaled / raw)[0, 0])  # one sigma for the whole group
    assert np.square(scaled).sum() / (scaled.size * 2 / 3) == pytest.approx(1.0, abs=1e-4)


def test_tiny_step_noise_is_not_blown_up() -> None:
    noise = [[1e-4, 0.0], [0.0, 1e-4]]
    advantages = matrix(make_group([0.0, 1.0], noise), AdvantageConfig())
    assert np.abs(advantages[:, 0] - advantages[:, 1]).max() < 1e-3


def test_equal_totals_with_different_steps_still_teach() -> None:
    advantages = matrix(make_group([0.5, 0.5], [[1.0, 0.0], [0.0, 1.0]]), AdvantageConfig())
    np.testing.assert_allclose(np.sign(advantages), [[1, -1], [-1, 1]])
    assert np.abs(advantages).max() < 2.0


@pytest.mark.parametrize("mode", ["episode", "evidence", "pooled", "retrieved"])
def test_groups_without_spread_are_dropped_and_counted(mode: str) -> None:
    flat = make_group([0.5, 0.5], [[1.0, 1.0], [1.0, 1.0]], stream_id="flat")
    alone = make_group([0.5], [[1.0, 1.0]], stream_id="alone")
    good = make_group([0.0, 1.0], [[1.0, 1.0], [1.0, 1.0]], stream_id="good")
    report = group_advantages([flat, good, alone], AdvantageConfig(mode=mode), WEIGHTS)
    assert (report.used, report.no_spread, report.too_small) == (["good"], ["flat"], ["alone"])
    assert report.dropped == ["flat", "alone"]
    assert {sample.stream_id for sample in report.samples} == {"good"}
    assert report.metrics()["advantage/groups_no_spread"] == 1.0


def test_samples_carry_the_sampled_tokens_and_version_untouched() -> None:
    group = make_group([0.0, 1.0], [[1.0, 0.0], [0.0, 1.0]])
    samples = group_advantages([group], AdvantageConfig(), WEIGHTS).samples
    steps = [(episode, step) for episode in group.episodes for step in episode.steps]
    for sample, (episode, step) in zip(samples, steps, strict=True):
        assert sample.prompt_ids == step.prompt_ids
        assert sample.completion_ids == step.completion.ids
        assert sample.logprobs == step.completion.logprobs
        assert (sample.version, sample.episode, sample.chunk) == (7, episode.index, step.chunk)


def test_unknown_mode_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="episode, evidence, counterfactual, retrieved, reroll, pooled"):
        group_advantages([], AdvantageConfig(mode="grpo"), WEIGHTS)


EVIDENCE = AdvantageConfig(mode="evidence", normalize_std=False)
FLAT_MEMORY = [[10, 20, 30]] * 2


def test_evidence_pays_a_question_to_the_step_that_read_it_and_a_little_to_later_ones() -> None:
    group = make_evidence_group([[1.0, 0.5], [0.0, 0.5]], [[1], [0]], FLAT_MEMORY)
    # One question of two, answered half the time; step 2 comes later, step 0 had nothing to do with it.
    slope = WEIGHTS["qa"]
    expected = slope * 0.5 / 2 * np.array([0.0, 1 - EVIDENCE.spill, EVIDENCE.spill])
    np.testing.assert_allclose(matrix(group, EVIDENCE), [expected, -expected], atol=1e-12)


def test_evidence_pays_its_pieces_in_equal_parts_and_spills_between_them() -> None:
    group = make_evidence_group([[1.0], [0.0]], [[0, 2]], FLAT_MEMORY)
    np.testing.assert_allclose(matrix(group, EVIDENCE)[0], 0.5 * np.array([0.4, 0.2, 0.4]), atol=1e-12)


def test_evidence_in_every_chunk_or_in_the_last_leaves_nothing_to_spill() -> None:
    everywhere = make_evidence_group([[1.0], [0.0]], [[0, 1, 2]], FLAT_MEMORY)
    np.testing.assert_allclose(matrix(everywhere, EVIDENCE)[0], [0.5 / 3] * 3, atol=1e-12)
    last = make_evidence_group([[1.0], [0.0]], [[2]], FLAT_MEMORY)
    np.testing.assert_allclose(matrix(last, EVIDENCE)[0], [0.0, 0.0, 0.5], atol=1e-12)


def test_a_long_stream_leaves_the_credit_where_it_was_earned() -> None:
    memory = [[10] * 100] * 2
    paid = matrix(make_evidence_group([[1.0], [0.0]], [[0]], memory), EVIDENCE)[0]
    assert paid[0] == pytest.approx(0.8 * 0.5) and paid[1:].sum() == pytest.approx(0.2 * 0.5)


def test_evidence_that_no_step_read_is_shared_by_all() -> None:
    group = make_evidence_group([[1.0], [0.0]], [[7]], FLAT_MEMORY)
    np.testing.assert_allclose(matrix(group, EVIDENCE)[0], [0.5 / 3] * 3, atol=1e-12)


def test_evidence_falls_back_to_episode_for_questions_without() -> None:
    group = make_evidence_group([[1.0, 1.0], [0.0, 1.0]], [None, None], FLAT_MEMORY)
    episode = matrix(group, AdvantageConfig(normalize_std=False))
    np.testing.assert_allclose(matrix(group, EVIDENCE), episode / 3, atol=1e-12)
    np.testing.assert_allclose(
        matrix(group, replace(EVIDENCE, normalize_std=True)), matrix(group, AdvantageConfig()), atol=1e-4
    )


def test_evidence_charges_memory_to_the_step_that_wrote_it() -> None:
    group = make_evidence_group([[1.0], [1.0]], [[0]], [[10, 10, 10], [10, 30, 30]])
    expected = 0.1 * 10 / 100 * np.array([0.0, 1.0, 0.0])
    np.testing.assert_allclose(matrix(group, EVIDENCE), [expected, -expected], atol=1e-12)


@pytest.mark.parametrize("weights", [WEIGHTS, DEFAULT, MEMALPHA])
def test_with_one_chunk_evidence_is_episode(weights: RewardWeights) -> None:
    group = make_evidence_group([[1.0, 0.5], [0.0, 1.0], [0.0, 0.0]], [[0], [0]], [[10], [35], [5]])
    for standard in (True, False):
        config = AdvantageConfig(mode="episode", normalize_std=standard)
        plain = group_advantages([group], config, weights).samples
        credited = group_advantages([group], replace(config, mode="evidence"), weights).samples
        np.testing.assert_allclose([s.advantage for s in credited], [s.advantage for s in plain], atol=1e-9)


@pytest.mark.parametrize("weights", [WEIGHTS, DEFAULT])
def test_evidence_is_centred_at_each_step_and_scaled_as_a_whole(weights: RewardWeights) -> None:
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 2, (6, 5)).astype(float).tolist()
    memory = rng.integers(0, 10, (6, 4)).cumsum(axis=1).tolist()
    group = make_evidence_group(scores, [[0], [3], None, [1, 2], []], memory)
    found = group_advantages([group], AdvantageConfig(mode="evidence"), weights).samples
    advantages = np.array([sample.advantage for sample in found]).reshape(6, 4)
    np.testing.assert_allclose(advantages.mean(axis=0), 0.0, atol=1e-12)
    assert np.square(advantages).sum() / (advantages.size * 5 / 6) == pytest.approx(1.0, abs=1e-3)


def test_evidence_teaches_where_episodes_earn_the_same_in_different_ways() -> None:
    group = make_evidence_group([[1.0, 0.0], [0.0, 1.0]], [[0], [1]], [[10, 20], [10, 20]])
    assert len({episode_value(episode.parts, WEIGHTS) for episode in group.episodes}) == 1
    assert group_advantages([group], AdvantageConfig(), WEIGHTS).no_spread == ["s"]
    assert matrix(group, EVIDENCE)[0, 0] > 0 > matrix(group, EVIDENCE)[1, 0]


COUNTERFACTUAL = AdvantageConfig(mode="counterfactual", normalize_std=False)


def make_worth_group(worths: list[list[list[float]]], base: list[float]) -> Group:
    """Steps t of episodes i are worth worths[i][t][q] to questions q, which score base[q] without any of them."""
    scores = [(np.array(base) + np.array(steps).sum(axis=0)).tolist() for steps in worths]
    group = make_evidence_group(scores, [None] * len(base), [[10] * len(worths[0])] * len(worths))
    for i, episode in enumerate(group.episodes):
        steps = [
            step.model_copy(update={"worth": {f"q{q}": value for q, value in enumerate(worth) if value}})
            for step, worth in zip(episode.steps, worths[i], strict=True)
        ]
        group.episodes[i] = episode.model_copy(update={"steps": steps})
    return group


def test_counterfactual_pays_the_step_that_the_answer_hangs_on() -> None:
    group = make_worth_group([[[1.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]], base=[0.0, 1.0])
    np.testing.assert_allclose(matrix(group, COUNTERFACTUAL), [[0.25, 0.0], [-0.25, 0.0]], atol=1e-12)


def test_a_step_that_cost_an_answer_is_blamed_for_it() -> None:
    group = make_worth_group([[[1.0], [-1.0]], [[1.0], [0.0]]], base=[0.0])
    np.testing.assert_allclose(matrix(group, COUNTERFACTUAL), [[0.0, -0.5], [0.0, 0.5]], atol=1e-12)


@pytest.mark.parametrize("weights", [WEIGHTS, DEFAULT, MEMALPHA])
def test_with_one_chunk_all_modes_agree(weights: RewardWeights) -> None:
    group = make_worth_group([[[1.0, 0.5]], [[0.0, 1.0]], [[0.0, 0.0]]], base=[0.0, 0.0])
    for i, episode in enumerate(group.episodes):
        steps = [
            step.model_copy(update={"parts": {"tool_success": i / 2, "content": 1 - i / 3}}) for step in episode.steps
        ]
        answers = [answer.model_copy(update={"evidence": [0]}) for answer in episode.answers]
        group.episodes[i] = episode.model_copy(update={"steps": steps, "answers": answers})
    found = [
        [sample.advantage for sample in group_advantages([group], AdvantageConfig(mode=mode), weights).samples]
        for mode in ("pooled", "episode", "evidence", "counterfactual", "retrieved")
    ]
    for other in found[1:]:
        np.testing.assert_allclose(other, found[0], atol=1e-9)


def test_a_step_that_no_question_depends_on_gets_no_credit_for_answers() -> None:
    group = make_evidence_group([[1.0, 0.0], [0.0, 0.0], [1.0, 1.0]], [[2], [2]], [[5, 5, 5]] * 3)
    found = matrix(group, replace(EVIDENCE, spill=0.0))
    np.testing.assert_allclose(found[:, :2], 0.0, atol=1e-12)
    assert np.abs(found[:, 2]).min() > 0


def test_what_single_steps_do_not_explain_is_shared_by_all() -> None:
    group = make_worth_group([[[0.0], [0.0]], [[0.0], [0.0]]], base=[1.0])
    other = group.episodes[1]
    lost = [other.answers[0].model_copy(update={"score": 0.0})]
    group.episodes[1] = other.model_copy(update={"answers": lost, "parts": {**other.parts, "qa": 0.0}})
    np.testing.assert_allclose(matrix(group, COUNTERFACTUAL), [[0.25, 0.25], [-0.25, -0.25]], atol=1e-12)


@pytest.mark.long
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_whatever_the_mode_an_episode_is_paid_what_it_earned_above_its_group(data: st.DataObject) -> None:
    steps, questions, size = (data.draw(st.integers(1, most)) for most in (12, 4, 5))
    size += 1
    weights = data.draw(st.sampled_from([WEIGHTS, DEFAULT, MEMALPHA]))
    places = st.lists(st.integers(0, steps - 1), unique=True) | st.none()
    evidence = [data.draw(places) for _ in range(questions)]
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    group = make_worth_group(
        rng.integers(-1, 2, (size, steps, questions)).astype(float).tolist(), base=rng.random(questions).tolist()
    )
    for i, episode in enumerate(group.episodes):
        answers = [answer.model_copy(update={"evidence": evidence[q]}) for q, answer in enumerate(episode.answers)]
        changed = [
            step.model_copy(
                update={"parts": {"tool_success": float(rng.random())}, "memory_tokens": int(rng.integers(0, 20))}
            )
            for step in episode.steps
        ]
        parts = {**episode.parts, "compression": 1 - changed[-1].memory_tokens / episode.chunk_tokens}
        group.episodes[i] = episode.model_copy(update={"answers": answers, "steps": changed, "parts": parts})
    totals = np.array([total(e.parts, [step.parts for step in e.steps], weights) for e in group.episodes])
    spill = data.draw(st.floats(0.0, 1.0))
    for mode in ("pooled", "episode", "evidence", "counterfactual", "retrieved"):
        config = AdvantageConfig(mode=mode, spill=spill, normalize_std=False)
        found = group_advantages([group], config, weights).samples
        paid = np.array([sample.advantage for sample in found]).reshape(-1, steps)
        # The first two pay an episode at each of its steps, the others once.
        whole = paid.mean(axis=1) if mode in ("pooled", "episode") else paid.sum(axis=1)
        np.testing.assert_allclose(whole, totals - totals.mean(), atol=1e-9)


@pytest.mark.parametrize("weights", [WEIGHTS, DEFAULT])
def test_with_one_chunk_counterfactual_is_episode(weights: RewardWeights) -> None:
    group = make_worth_group([[[1.0, 0.5]], [[0.0, 1.0]], [[0.0, 0.0]]], base=[0.0, 0.0])
    for standard in (True, False):
        config = AdvantageConfig(mode="episode", normalize_std=standard)
        plain = group_advantages([group], config, weights).samples
        credited = group_advantages([group], replace(config, mode="counterfactual"), weights).samples
        np.testing.assert_allclose([s.advantage for s in credited], [s.advantage for s in plain], atol=1e-9)


def test_counterfactual_is_centred_at_each_step() -> None:
    rng = np.random.default_rng(0)
    group = make_worth_group(rng.integers(-1, 2, (5, 4, 3)).astype(float).tolist(), base=[0.0, 1.0, 0.5])
    np.testing.assert_allclose(matrix(group, COUNTERFACTUAL).mean(axis=0), 0.0, atol=1e-12)


def test_counterfactual_says_when_the_worth_is_not_known() -> None:
    group = make_evidence_group([[1.0], [0.0]], [[0]], FLAT_MEMORY)
    with pytest.raises(ConfigError, match="without finding out what its steps are worth"):
        group_advantages([group], COUNTERFACTUAL, WEIGHTS)


REROLL = AdvantageConfig(mode="reroll", normalize_std=False)


def make_rerolled_group(
    qa: list[float], tool_success: list[list[float]], rerolls: dict[tuple[int, int], list[tuple[float, float]]]
) -> Group:
    """Episodes whose steps (i, t) are re-rolled: each re-roll gives (qa, its step's tool success)."""
    group = make_group(qa, tool_success)
    for i, episode in enumerate(group.episodes):
        steps = [
            step.model_copy(
                update={
                    "rerolls": [
                        Reroll(
                            completion=Completion(ids=[70 + k, i, t], logprobs=[-0.4 - k] * 3, stop="stop", version=7),
                            text="",
                            results=[],
                            parts={"tool_success": success},
                            episode_parts={"qa": value, "compression": 0.0},
                        )
                        for k, (value, success) in enumerate(rerolls.get((i, t), []))
                    ]
                }
            )
            for t, step in enumerate(episode.steps)
        ]
        group.episodes[i] = episode.model_copy(update={"steps": steps})
    return group


def test_a_rerolled_completion_is_compared_with_the_others_from_the_same_state() -> None:
    group = make_rerolled_group(
        [1.0, 0.0],
        [[1.0, 1.0], [1.0, 0.0]],
        {(0, 0): [(0.5, 1.0), (0.0, 1.0)], (1, 0): [(0.0, 1.0), (0.0, 0.0)]},
    )
    report = group_advantages([group], REROLL, WEIGHTS)
    found = [(sample.episode, sample.chunk, sample.reroll, sample.advantage) for sample in report.samples]
    assert [one[:3] for one in found] == [
        (0, 0, 0), (0, 0, 1), (0, 0, 2), (0, 1, 0), (1, 0, 0), (1, 0, 1), (1, 0, 2), (1, 1, 0)
    ]  # fmt: skip
    tool = WEIGHTS["tool_success"] / 2
    wanted = [
        # V: 1, 0.5, 0 and what the call itself is paid; each against the mean of the two others
        0.75, 0.0, -0.75,
        # not re-rolled: half of what the episode was paid above the group, with the same step's tool success
        0.5 * (0.5 + WEIGHTS["tool_success"] * 0.5),
        # V: alike, but for the failed call of the last
        0.5 * tool, 0.5 * tool, -tool,
        -0.5 * (0.5 + WEIGHTS["tool_success"] * 0.5),
    ]  # fmt: skip
    np.testing.assert_allclose([one[3] for one in found], wanted, atol=1e-12)


def test_rerolls_are_samples_with_their_own_tokens_and_log_probs() -> None:
    group = make_rerolled_group([1.0, 0.0], [[1.0], [1.0]], {(0, 0): [(0.0, 1.0)], (1, 0): [(1.0, 1.0)]})
    samples = group_advantages([group], REROLL, WEIGHTS).samples
    assert [sample.completion_ids for sample in samples] == [[10, 0, 99], [70, 0, 0], [11, 0, 99], [70, 1, 0]]
    assert [sample.logprobs for sample in samples[:2]] == [[-0.1, -0.2, -0.3], [-0.4] * 3]
    assert {tuple(sample.prompt_ids) for sample in samples} == {(1, 2, 0)} and {s.version for s in samples} == {7}
    other_modes = group_advantages([group], AdvantageConfig(mode="episode"), WEIGHTS).samples
    assert [sample.completion_ids for sample in other_modes] == [[10, 0, 99], [11, 0, 99]]


def test_a_group_whose_episodes_are_paid_alike_may_teach_by_its_rerolls() -> None:
    group = make_rerolled_group([0.5, 0.5], [[1.0], [1.0]], {(0, 0): [(0.0, 1.0)], (1, 0): [(0.5, 1.0)]})
    assert group_advantages([group], AdvantageConfig(), WEIGHTS).no_spread == ["s"]
    np.testing.assert_allclose(
        [sample.advantage for sample in group_advantages([group], REROLL, WEIGHTS).samples], [0.5, -0.5, 0.0, 0.0]
    )
    flat = make_rerolled_group([0.5, 0.5], [[1.0], [1.0]], {(0, 0): [(0.5, 1.0)], (1, 0): [(0.5, 1.0)]})
    assert group_advantages([flat], REROLL, WEIGHTS).no_spread == ["s"]


def test_reroll_says_when_nothing_was_rerolled() -> None:
    with pytest.raises(ConfigError, match="was played without re-rolling its steps"):
        group_advantages([make_group([0.0, 1.0], [[1.0], [1.0]])], REROLL, WEIGHTS)


def test_a_step_whose_rerolls_have_all_failed_is_paid_its_part_of_the_episode() -> None:
    group = make_rerolled_group([1.0, 0.0], [[1.0], [1.0]], {(0, 0): [(0.5, 1.0)]})
    group.episodes[1] = group.episodes[1].model_copy(update={"rerolls_failed": 1})
    found = [sample.advantage for sample in group_advantages([group], REROLL, WEIGHTS).samples]
    np.testing.assert_allclose(found, [0.5, -0.5, -0.5], atol=1e-12)


@pytest.mark.long
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_completions_that_are_compared_sum_to_zero_by_rerolls(data: st.DataObject) -> None:
    steps, size, others = (data.draw(st.integers(1, most)) for most in (5, 4, 3))
    size += 1
    rerolled = data.draw(st.lists(st.integers(0, steps - 1), min_size=1, unique=True))
    weights = data.draw(st.sampled_from([WEIGHTS, DEFAULT, MEMALPHA]))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    group = make_rerolled_group(
        rng.random(size).tolist(),
        rng.random((size, steps)).tolist(),
        {(i, t): rng.random((others, 2)).tolist() for i in range(size) for t in rerolled},
    )
    samples = group_advantages([group], REROLL, weights).samples
    assert len(samples) == size * (steps + others * len(rerolled))
    for t in range(steps):
        for i in range(size):
            mine = [sample.advantage for sample in samples if (sample.episode, sample.chunk) == (i, t)]
            if t in rerolled:
                assert len(mine) == others + 1 and sum(mine) == pytest.approx(0.0, abs=1e-9)
                # what it is, against the mean of the others
                episode = group.episodes[i]
                paid = episode_value(episode.parts, weights) + step_value(episode.steps[t].parts, weights) / steps
                rest = [
                    episode_value(other.episode_parts, weights) + step_value(other.parts, weights) / steps
                    for other in episode.steps[t].rerolls
                ]
                assert mine[0] == pytest.approx(paid - np.mean(rest), abs=1e-9)
        if t not in rerolled:
            assert sum(s.advantage for s in samples if s.chunk == t) == pytest.approx(0.0, abs=1e-9)
    scaled = group_advantages([group], replace(REROLL, normalize_std=True), weights).samples
    assert np.mean([sample.advantage**2 for sample in scaled]) == pytest.approx(1.0, abs=1e-3)


def parts_apart(mode: str = "episode", **changes: float) -> AdvantageConfig:
    return AdvantageConfig(mode=mode, normalize_parts=True, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", ["episode", "evidence"])
def test_parts_apart_sum_to_zero_at_each_step_and_have_unit_spread_together(mode: str) -> None:
    group = make_evidence_group(
        [[1.0, 0.0], [0.0, 0.0], [1.0, 1.0], [0.0, 1.0]], [[0], [1]], [[5, 9], [5, 5], [7, 20], [0, 3]]
    )
    report = group_advantages([group, replace(group, stream_id="t")], parts_apart(mode), WEIGHTS)
    table = np.array([sample.advantage for sample in report.samples]).reshape(2, 4, 2)
    assert table.sum(axis=1) == pytest.approx(0.0, abs=1e-9)
    assert np.square(table).mean() == pytest.approx(1.0, rel=1e-4)


def test_parts_apart_count_by_weight_and_not_by_spread() -> None:
    qa = [0.50, 0.51, 0.50, 0.51]  # hardly varies
    success = [[0.0], [0.0], [1.0], [1.0]]
    group = make_group(qa, success)
    weights = resolve_weights("memalpha", {"tool_success": 0.1, "compression": 0.0, "content": 0.0})
    together = [s.advantage for s in group_advantages([group], AdvantageConfig(mode="episode"), weights).samples]
    apart = [s.advantage for s in group_advantages([group], parts_apart(), weights).samples]
    assert together[2] > together[1], "a tenth of a large spread is more than a hundredth"
    assert apart[1] > apart[2], "answers weigh ten times as much as calls"


def test_parts_apart_with_one_part_is_the_usual_group() -> None:
    group = make_group([0.0, 1.0, 1.0, 0.5], [[1.0, 1.0]] * 4)
    usual = [s.advantage for s in group_advantages([group], AdvantageConfig(mode="episode"), WEIGHTS).samples]
    apart = [s.advantage for s in group_advantages([group], parts_apart(), WEIGHTS).samples]
    assert np.corrcoef(usual, apart)[0, 1] == pytest.approx(1.0)


def test_parts_apart_drop_a_group_without_spread() -> None:
    report = group_advantages([make_group([0.5, 0.5], [[1.0], [1.0]])], parts_apart(), WEIGHTS)
    assert report.no_spread == ["s"] and not report.samples
