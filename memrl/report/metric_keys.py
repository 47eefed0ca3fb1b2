"""The keys of metrics.jsonl, each with its meaning: the page of metrics is made from this table.

A key in angle brackets stands for several: `eval/qa_<kind>` is one key for each kind of question. Tests compare the
table with the rows of real runs.
"""

from __future__ import annotations

import re

METRICS: dict[str, str] = {
    "step": "Trainer steps taken when the row was written; 0: before the first.",
    "episodes": "Training episodes played since the run began.",
    # What the step's training episodes were paid.
    "reward/total": "What an episode was paid: the weighted sum of all parts. Mean over the step's episodes.",
    "reward/qa": "Mean score of the questions, answered from the memory alone. Mean over episodes.",
    "reward/compression": "How much shorter the memory is than what was read, between 0 and 1. Mean over episodes.",
    "reward/tool_success": "Share of a step's tool calls that succeeded. Mean over steps.",
    "reward/content": "Share of the texts stored in a step that are in order. Mean over the steps that have it; "
    "only with `rewards.content`.",
    "reward/<part>": "What another reward part says. Mean over episodes, or over steps where it is paid by the step.",
    # What the policy did.
    "memory/tokens": "Tokens of the final memory. Mean over episodes.",
    "tools/calls_per_step": "Tool calls in one step.",
    "tools/<code>": "Share of the tool calls that ended so: `ok`, or why not (the codes are those of "
    "`memrl.envs.tools.ResultCode`). A code that did not occur has no key.",
    "stop/stop": "Share of the completions that the policy ended itself.",
    "stop/length": "Share of the completions that ran into `rollout.max_completion_tokens`.",
    # What it took.
    "tokens/prompt": "Prompt tokens of the policy in this step.",
    "tokens/prompt_cached": "Those of them that the engine had in its prefix cache.",
    "tokens/completion": "Tokens that the policy sampled in this step, but for re-rolls, which stand apart.",
    "tokens/reroll_prompt": "Prompt tokens of the re-rolls (`advantage.mode=reroll`), each step's once for each of its "
    "re-rolls; an engine that shares prefixes reads them once.",
    "tokens/reroll_completion": "Tokens that were sampled for re-rolls.",
    "tokens/reader": "Prompt and completion tokens of the reader in this step.",
    "tokens/trained": "Completion tokens that the learner was given.",
    "tokens/learner_padded": "Tokens that the learner computed, prompts and padding included.",
    # Reader and judge.
    "reader/calls": "Questions put to the reader, those answered from the cache included.",
    "reader/cached": "Answers that came from the cache.",
    "reader/retries": "Requests to the reader that had to be repeated.",
    "reader/prompt_tokens": "Prompt tokens of the reader.",
    "reader/completion_tokens": "Completion tokens of the reader.",
    "reader/asked_again": "Questions asked once more to find out what single steps were worth "
    "(`advantage.mode=counterfactual`), or their re-rolls (`reroll`).",
    "judge/<count>": "As `reader/calls`, `cached`, `retries`, `prompt_tokens`, `completion_tokens`, for the judge; "
    "only where it was asked.",
    "judge/agreement": "Share of the answers that judge and metric both find right, or both find wrong.",
    "judge/accepted": "Share of the answers that the judge accepts.",
    # Reward hacking.
    "meters/bogus_calls": "Share of the calls that no memory could have carried out.",
    "meters/copied": "Share of the read words that stand in the memory in runs of eight or more, as they were read.",
    "meters/duplicates": "Share of the memory's items that say what an earlier one says.",
    "meters/growth": "Tokens of the final memory over tokens read.",
    "meters/hallucination": "Share of the stored texts that what was read does not say.",
    "meters/instructions": "Share of the stored texts that give orders to whoever reads them.",
    "meters/leakage": "Share of the stored texts that hold an answer before the text that gives it was read.",
    "meters/length": "Mean length of a completion over the longest allowed.",
    "alarm/kind_fell": "1 where a kind of held-out question has fallen below its score before training beyond what "
    "chance does, over all kinds and evaluations of the run; in the rows that have an evaluation.",
    "alarm/<meter>": "1 where the meter of that name is above its alarm (`rewards.alarms`), else 0.",
    # Which streams were played.
    "curriculum/stage": "Stage that the step was played in, from 1; only with `data.curriculum`.",
    "difficulty/<pool>": "Share of the step's streams that were drawn from a pool: `new`, `mixed`, `easy` (its last "
    "group solved all) or `hard` (it solved nothing); only with `data.difficulty`.",
    "difficulty/passed_over": "Streams of the pools `easy` and `hard` that were passed over for the step's.",
    # Credit.
    "advantage/groups_used": "Groups that became samples.",
    "advantage/groups_no_spread": "Groups whose episodes were all paid the same: they teach nothing and are replaced.",
    "advantage/groups_too_small": "Groups that failures left with fewer than two episodes.",
    "advantage/samples": "Samples that credit was given to: one a step of an episode, and one each of its re-rolls.",
    "advantage/abs_mean": "Mean size of their advantages.",
    "advantage/abs_max": "The largest of them.",
    # The learner.
    "loss/total": "The loss, as `loss.type` normalises it. Mean over the step's updates.",
    "loss/grad_norm": "Norm of the gradient before it is clipped to `train.max_grad_norm`. Mean over the updates.",
    "loss/entropy": "Entropy of the policy's next token, in nats. Mean over completion tokens.",
    "loss/clip_fraction": "Share of the tokens whose ratio was clipped.",
    "loss/kl": "Estimated divergence from the base model, in nats a token; 0 where `loss.kl` is 0.",
    "loss/kl_old": "Estimated divergence from the policy at the step's beginning, in nats a token.",
    "loss/sampling_gap": "Mean difference of the engine's and the learner's log-probs of the sampled tokens, in nats.",
    "loss/sampling_gap_max": "The largest such difference.",
    "loss/importance_capped": "Share of the tokens whose ratio of learner to engine was cut at `loss.importance_cap`.",
    "loss/ratio_max": "The largest ratio of the policy now to the policy at the step's beginning.",
    "loss/lr": "Learning rate of the next update.",
    "learner/samples": "Samples that were learned from.",
    "learner/updates": "Optimizer updates in this step.",
    "learner/version": "The adapter's version after the step.",
    "learner/staleness": "Mean age, in versions, of the samples that were learned from.",
    "canary/gap": "Mean difference between an engine's and the learner's log-probs of completions after the swap of "
    "adapters, at the worst worker, in nats a token. Past its bound the run stops.",
    # Held-out evaluation, in the rows that have one.
    "eval/streams": "Held-out streams that were evaluated.",
    "eval/failures": "Held-out episodes that failed and are left out.",
    "eval/qa": "Mean score of the held-out questions, decoding greedily.",
    "eval/qa_low": "Lower end of its 95 % interval over streams (Student's t); absent where one of several is left.",
    "eval/qa_high": "Upper end of it.",
    "eval/qa_<kind>": "The same over the questions of one kind: the mean over streams of each stream's mean.",
    "eval/worst_fall": "Mean difference to before training of the kind of question that lies furthest below its score "
    "then, of those that do so significantly (one-sided sign-flip test over streams, p at most 0.05), else 0. The best "
    "adapter is that of the highest `eval/qa` with this added.",
    "eval/answerable": "As `eval/qa`, over the questions that the text answers; only where there are others too.",
    "eval/answerable_low": "Lower end of its interval.",
    "eval/answerable_high": "Upper end of it.",
    "eval/unanswerable": "As `eval/qa`, over the questions whose right answer is that the text does not say.",
    "eval/unanswerable_low": "Lower end of its interval.",
    "eval/unanswerable_high": "Upper end of it.",
    "eval/tool_success": "Share of tool calls that succeeded.",
    "eval/tool_success_low": "Lower end of its interval.",
    "eval/tool_success_high": "Upper end of it.",
    "eval/compression": "How much shorter the memory is than what was read.",
    "eval/compression_low": "Lower end of its interval.",
    "eval/compression_high": "Upper end of it.",
    "eval/<part>": "The value of another reward part, decoding greedily. With `_low` and `_high`, its interval.",
    "eval/reader_<count>": "As `reader/*`, for the evaluation and, before training, its gates.",
    "eval/judge_<count>": "As `judge/*`, for the evaluation.",
    # Failures.
    "fail/episodes": "Episodes that an infrastructure failure removed. They are never a reward.",
    "fail/rate": "Their share of the episodes; past `rollout.max_failure_rate` the run stops.",
    "fail/retries": "Episodes that were played again.",
    "fail/workers": "Rollout workers that were lost and replaced.",
    "fail/judge": "Episodes that failed because the judge did.",
    "fail/rerolls": "Re-rolls that an infrastructure failure has ended (`advantage.mode=reroll`); their "
    "episodes go without.",
    "fail/stale": "Samples older than `rollout.max_staleness` allows, which were dropped.",
    # Wall clock.
    "time/step": "Seconds of the whole step.",
    "time/<phase>": "Seconds of a phase since the last row: `build`, `rollout` (what the learner waited for), `learn`, "
    "`eval`, `canary`, `publish`, `save` (that of the step before among it).",
    "time/wall": "Seconds that the run has taken so far, those before it was resumed included.",
}
"""Meaning by key, in the order of the page of metrics."""


def metric_meaning(key: str) -> str | None:
    """Return what a key of metrics.jsonl means; None where the table has neither it nor a pattern that it fits."""
    if key in METRICS:
        return METRICS[key]
    fitting = [pattern for pattern in METRICS if "<" in pattern and _fits(pattern, key)]
    return METRICS[max(fitting, key=len)] if fitting else None  # `eval/qa_<kind>` before `eval/<part>`


def _fits(pattern: str, key: str) -> bool:
    parts = re.split(r"<[a-z]+>", pattern)
    return re.fullmatch("[^/]+".join(map(re.escape, parts)), key) is not None
