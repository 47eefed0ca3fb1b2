"""The keys of metrics.jsonl, each with its unit, its meaning, and what about it to worry about: docs/metrics.md is made
from this table.

A key in angle brackets stands for several: `eval/qa_<kind>` is one key for each kind of question. Tests compare the
table with every key that the code names, and with the rows of real runs.
"""

from __future__ import annotations

import html
import re
import sys
from collections.abc import Iterable, Mapping
from typing import NamedTuple


class KeyInfo(NamedTuple):
    """The entry of a key."""

    unit: str
    meaning: str
    worry: str
    """What about it should make somebody look."""


METRICS: dict[str, KeyInfo] = {
    "step": KeyInfo(
        "steps",
        "Trainer steps taken when the row was written; 0: before the first.",
        "A step that is missing: a row was lost, or could not be read.",
    ),
    "episodes": KeyInfo(
        "episodes",
        "Training episodes played since the run began.",
        "It grows by less than `train.streams_per_step` times `train.group_size` a step: episodes fail (`fail/*`).",
    ),
    # What the step's training episodes were paid.
    "reward/total": KeyInfo(
        "reward",
        "What an episode was paid: the weighted sum of all parts. Mean over the step's episodes.",
        "It rises while `eval/qa` does not: another part is being farmed. Look at the parts, and at `alarm/*`.",
    ),
    "reward/qa": KeyInfo(
        "score, 0 to 1",
        "Mean score of the questions, answered from the memory alone. Mean over episodes.",
        "It rises and `eval/qa` does not: the training streams are learned by heart, or are easier.",
    ),
    "reward/compression": KeyInfo(
        "share, 0 to 1",
        "How much shorter the memory is than what was read, between 0 and 1. Mean over episodes.",
        "Near 1 while `reward/qa` is low: the policy keeps nothing. Lower its weight.",
    ),
    "reward/tool_success": KeyInfo(
        "share, 0 to 1",
        "Share of a step's tool calls that succeeded. Mean over steps.",
        "Below 0.5 after some steps: the calls are malformed or refused; `tools/*` says why.",
    ),
    "reward/content": KeyInfo(
        "share, 0 to 1",
        "Share of the texts stored in a step that are in order. Mean over the steps that have it; only with "
        "`rewards.content`.",
        "It falls: texts are stored that nothing says, or in the wrong store; see `meters/hallucination`.",
    ),
    "reward/<part>": KeyInfo(
        "value of the part",
        "What another reward part says. Mean over episodes, or over steps where it is paid by the step.",
        "It moves against `reward/qa`: what it pays for is not what answers need.",
    ),
    # What the policy did.
    "memory/tokens": KeyInfo(
        "tokens",
        "Tokens of the final memory. Mean over episodes.",
        "It stays at `memory.budget`: calls are refused (`tools/over_budget`). It goes to 0: nothing is stored.",
    ),
    "tools/calls_per_step": KeyInfo(
        "calls",
        "Tool calls in one step.",
        "0: the policy makes no calls, and nothing can be learned. It stays at `memory.max_calls`: some are cut off.",
    ),
    "tools/turns_per_step": KeyInfo(
        "turns",
        "Completions in one step, where it may have several (`rollout.max_turns` above 1).",
        "It stays at 1: the policy never searches while it reads. It stays at `rollout.max_turns`: steps end because "
        "no turn is left.",
    ),
    "tools/searches_per_step": KeyInfo(
        "calls",
        "Calls of `memory_search` in one step, where it may have several turns. They are among `tools/calls_per_step`.",
        "0: the policy never searches. Far above the turns: one turn asks the same in many words.",
    ),
    "tools/searches_in_vain": KeyInfo(
        "share, 0 to 1",
        "Share of the searches that found nothing in the memory. Such a search has succeeded: that there is nothing "
        "is an answer.",
        "Near 1 once the memory holds something: the policy asks for what is not there.",
    ),
    "tools/<code>": KeyInfo(
        "share, 0 to 1",
        "Share of the tool calls that ended so: `ok`, or why not (the codes are those of "
        "`memrl.envs.tools.ResultCode`). A code that did not occur has no key.",
        "`malformed` or `unknown_tool` do not fall: wrong dialect (`rollout.dialect`), or a warm start is needed. "
        "`over_budget` rises: the memory is full.",
    ),
    "stop/stop": KeyInfo(
        "share, 0 to 1",
        "Share of the completions that the policy ended itself.",
        "Well below 1: completions are cut off; see `stop/length`.",
    ),
    "stop/length": KeyInfo(
        "share, 0 to 1",
        "Share of the completions that ran into `rollout.max_completion_tokens`.",
        "Above 0.1 or rising: the policy rambles, or `rollout.max_completion_tokens` is too small; calls that are "
        "cut off are malformed.",
    ),
    # What it took.
    "tokens/prompt": KeyInfo(
        "tokens",
        "Prompt tokens of the policy in this step.",
        "It grows without end: the memory as shown grows; bound it by `memory.render_budget`.",
    ),
    "tokens/prompt_cached": KeyInfo(
        "tokens",
        "Those of them that the engine had in its prefix cache.",
        "0 with an engine that shares prefixes: its cache is off or too small.",
    ),
    "tokens/completion": KeyInfo(
        "tokens",
        "Tokens that the policy sampled in this step, but for re-rolls, which stand apart.",
        "It rises and `reward/qa` does not: longer completions that earn nothing.",
    ),
    "tokens/reroll_prompt": KeyInfo(
        "tokens",
        "Prompt tokens of the re-rolls (`advantage.mode=reroll`), each step's once for each of its re-rolls; an "
        "engine that shares prefixes reads them once.",
        "Far above `tokens/prompt` with an engine that does not share prefixes: re-rolls cost the most of the step.",
    ),
    "tokens/reroll_completion": KeyInfo(
        "tokens",
        "Tokens that were sampled for re-rolls.",
        "0 with `advantage.mode=reroll`: all re-rolls have failed (`fail/rerolls`).",
    ),
    "tokens/reader": KeyInfo(
        "tokens",
        "Prompt and completion tokens of the reader in this step.",
        "With an endpoint it is what is paid for; far above the estimate of `--dry-run`: retrieved texts are "
        "longer than thought.",
    ),
    "tokens/trained": KeyInfo(
        "tokens",
        "Completion tokens that the learner was given.",
        "0: the step taught nothing (`advantage/*`).",
    ),
    "tokens/learner_padded": KeyInfo(
        "tokens",
        "Tokens that the learner computed, prompts and padding included.",
        "Several times prompts and completions together: lengths are uneven; lower `train.micro_batch_tokens`.",
    ),
    # Reader and judge.
    "reader/calls": KeyInfo(
        "calls",
        "Questions put to the reader, those answered from the cache included.",
        "Less than questions times episodes: some episodes failed.",
    ),
    "reader/cached": KeyInfo(
        "calls",
        "Answers that came from the cache.",
        "0 over many steps with `reader.endpoint.cache`: every memory is new to the reader, and each answer is "
        "paid for.",
    ),
    "reader/retries": KeyInfo(
        "requests",
        "Requests to the reader that had to be repeated.",
        "It grows: the endpoint is overloaded; lower `reader.endpoint.max_concurrency`.",
    ),
    "reader/prompt_tokens": KeyInfo(
        "tokens",
        "Prompt tokens of the reader.",
        "As `tokens/reader`.",
    ),
    "reader/completion_tokens": KeyInfo(
        "tokens",
        "Completion tokens of the reader.",
        "Near `reader.max_tokens` a call: answers are cut off, or the reader thinks aloud.",
    ),
    "reader/asked_again": KeyInfo(
        "calls",
        "Questions asked once more to find out what single steps were worth (`advantage.mode=counterfactual`), or "
        "their re-rolls (`reroll`).",
        "Several times `reader/calls`: credit costs more than reward; see `advantage.mode`.",
    ),
    "judge/<count>": KeyInfo(
        "calls, requests or tokens",
        "As `reader/calls`, `cached`, `retries`, `prompt_tokens`, `completion_tokens`, for the judge; only where "
        "it was asked.",
        "As `reader/*`, for the judge's endpoint.",
    ),
    "judge/agreement": KeyInfo(
        "share, 0 to 1",
        "Share of the answers that judge and metric both find right, or both find wrong.",
        "It falls while `judge/accepted` rises: the policy may have found out how to please the judge.",
    ),
    "judge/accepted": KeyInfo(
        "share, 0 to 1",
        "Share of the answers that the judge accepts.",
        "Near 0 or 1 from the first step: the judge tells nothing apart; try `memrl judge`.",
    ),
    # Reward hacking.
    "meters/bogus_calls": KeyInfo(
        "share, 0 to 1",
        "Share of the calls that no memory could have carried out.",
        "Above its alarm, or rising: calls are made for their own sake.",
    ),
    "meters/copied": KeyInfo(
        "share, 0 to 1",
        "Share of the read words that stand in the memory in runs of eight or more, as they were read.",
        "Near 1: the memory is the text, and the budget is what limits it.",
    ),
    "meters/duplicates": KeyInfo(
        "share, 0 to 1",
        "Share of the memory's items that say what an earlier one says.",
        "Rising: the same is stored again and again instead of updated.",
    ),
    "meters/growth": KeyInfo(
        "ratio",
        "Tokens of the final memory over tokens read.",
        "Above 1: more is written than was read.",
    ),
    "meters/hallucination": KeyInfo(
        "share, 0 to 1",
        "Share of the stored texts that what was read does not say.",
        "Rising: the policy invents; `rewards.content` prices that.",
    ),
    "meters/instructions": KeyInfo(
        "share, 0 to 1",
        "Share of the stored texts that give orders to whoever reads them.",
        "Above 0 and rising: the memory talks to the reader. Read some episodes before going on.",
    ),
    "meters/leakage": KeyInfo(
        "share, 0 to 1",
        "Share of the stored texts that hold an answer before the text that gives it was read.",
        "Above 0: answers are stored before they were read, so they come from elsewhere; look for a leak (`memrl "
        "data check`).",
    ),
    "meters/length": KeyInfo(
        "share, 0 to 1",
        "Mean length of a completion over the longest allowed.",
        "Near 1: as `stop/length`.",
    ),
    "alarm/kind_fell": KeyInfo(
        "0 or 1",
        "1 where a kind of held-out question has fallen below its score before training beyond what chance does, "
        "over all kinds and evaluations of the run; in the rows that have an evaluation.",
        "1: look at that kind's `eval/qa_<kind>`; the mean hides it.",
    ),
    "alarm/<meter>": KeyInfo(
        "0 or 1",
        "1 where the meter of that name is above its alarm (`rewards.alarms`), else 0.",
        "1: read the step's episodes before going on (`memrl show RUN --step N`).",
    ),
    # Which streams were played.
    "curriculum/stage": KeyInfo(
        "number of the stage",
        "Stage that the step was played in, from 1; only with `data.curriculum`.",
        "It does not move: what the stage waits for is not reached (`data.curriculum`).",
    ),
    "difficulty/<pool>": KeyInfo(
        "share, 0 to 1",
        "Share of the step's streams that were drawn from a pool: `new`, `mixed`, `easy` (its last group solved "
        "all) or `hard` (it solved nothing); only with `data.difficulty`.",
        "`hard` near 1: nothing can be learned yet; `easy` near 1: nothing any more.",
    ),
    "difficulty/passed_over": KeyInfo(
        "streams",
        "Streams of the pools `easy` and `hard` that were passed over for the step's.",
        "It grows: few streams are left that teach something.",
    ),
    # Credit.
    "advantage/groups_used": KeyInfo(
        "groups",
        "Groups that became samples.",
        "Below `train.streams_per_step`: the refill rounds did not suffice. 0: the step taught nothing.",
    ),
    "advantage/groups_no_spread": KeyInfo(
        "groups",
        "Groups whose episodes were all paid the same: they teach nothing and are replaced.",
        "More than are used: the streams are too easy or too hard, or the temperature too low.",
    ),
    "advantage/groups_too_small": KeyInfo(
        "groups",
        "Groups that failures left with fewer than two episodes.",
        "Above 0: episodes fail; see `fail/*`.",
    ),
    "advantage/samples": KeyInfo(
        "samples",
        "Samples that credit was given to: one a step of an episode, and one each of its re-rolls.",
        "0: the step taught nothing; after `train.max_idle_steps` such steps the run stops.",
    ),
    "advantage/abs_mean": KeyInfo(
        "advantage",
        "Mean size of their advantages.",
        "Near 0: the episodes of a group hardly differ.",
    ),
    "advantage/abs_max": KeyInfo(
        "advantage",
        "The largest of them.",
        "Above 10: one step outweighs all others; see how `advantage.mode` normalises.",
    ),
    # The learner.
    "loss/total": KeyInfo(
        "loss",
        "The loss, as `loss.type` normalises it. Mean over the step's updates.",
        "It is no measure of progress; a jump by orders of magnitude is a broken update.",
    ),
    "loss/grad_norm": KeyInfo(
        "norm",
        "Norm of the gradient before it is clipped to `train.max_grad_norm`. Mean over the updates.",
        "It jumps, or stays far above `train.max_grad_norm`: lower `train.lr`. 0: nothing is learned.",
    ),
    "loss/entropy": KeyInfo(
        "nats a token",
        "Entropy of the policy's next token, in nats. Mean over completion tokens.",
        "It falls towards 0 in some steps: the policy has stopped exploring, and groups will have no spread.",
    ),
    "loss/clip_fraction": KeyInfo(
        "share, 0 to 1",
        "Share of the tokens whose ratio was clipped.",
        "Above 0.2: updates are too large; lower the rate or `train.updates_per_step`.",
    ),
    "loss/kl": KeyInfo(
        "nats a token",
        "Estimated divergence from the base model, in nats a token; 0 where `loss.kl` is 0.",
        "It grows without end: the policy leaves the base model; set `loss.kl`.",
    ),
    "loss/kl_old": KeyInfo(
        "nats a token",
        "Estimated divergence from the policy at the step's beginning, in nats a token.",
        "Above 0.1: one step changes the policy a lot.",
    ),
    "loss/sampling_gap": KeyInfo(
        "nats a token",
        "Mean difference of the engine's and the learner's log-probs of the sampled tokens, in nats.",
        "Above 0.05 with an engine of its own: engine and learner compute different policies (dtype, adapter).",
    ),
    "loss/sampling_gap_max": KeyInfo(
        "nats",
        "The largest such difference.",
        "Single tokens of some nats are usual in bfloat16; rising with the mean they are not.",
    ),
    "loss/importance_capped": KeyInfo(
        "share, 0 to 1",
        "Share of the tokens whose ratio of learner to engine was cut at `loss.importance_cap`.",
        "Above 0.05: samples are too stale (`rollout.max_staleness`), or the gap is too wide.",
    ),
    "loss/ratio_max": KeyInfo(
        "ratio",
        "The largest ratio of the policy now to the policy at the step's beginning.",
        "Above 10: as `loss/clip_fraction`.",
    ),
    "loss/lr": KeyInfo(
        "learning rate",
        "Learning rate of the next update.",
        "0 before the end: the schedule has run out.",
    ),
    "learner/samples": KeyInfo(
        "samples",
        "Samples that were learned from.",
        "Fewer than `advantage/samples`: stale ones were dropped (`fail/stale`).",
    ),
    "learner/updates": KeyInfo(
        "updates",
        "Optimizer updates in this step.",
        "0: the step had nothing to learn from.",
    ),
    "learner/version": KeyInfo(
        "version",
        "The adapter's version after the step.",
        "It does not grow: nothing was learned.",
    ),
    "learner/staleness": KeyInfo(
        "versions",
        "Mean age, in versions, of the samples that were learned from.",
        "At `rollout.max_staleness` all the time: rollouts are the slower side.",
    ),
    "canary/gap": KeyInfo(
        "nats a token",
        "Difference between an engine's and the learner's log-probs after the swap of adapters, at the worst worker: "
        "the median over completions of the mean over tokens. Past its bound the run stops.",
        "Rising over steps: adapters are swapped wrongly, or numbers drift; past the bound the run stops by itself.",
    ),
    # Held-out evaluation, in the rows that have one.
    "eval/streams": KeyInfo(
        "streams",
        "Held-out streams that were evaluated.",
        "Less than `eval.streams`: the data has no more, or episodes failed. Few streams: wide intervals.",
    ),
    "eval/failures": KeyInfo(
        "episodes",
        "Held-out episodes that failed and are left out.",
        "Above 0: the score is of what is left.",
    ),
    "eval/qa": KeyInfo(
        "score, 0 to 1",
        "Mean score of the held-out questions, decoding greedily.",
        "It falls below where it began, beyond its interval; or it rises while a kind falls (`eval/worst_fall`).",
    ),
    "eval/qa_low": KeyInfo(
        "score, 0 to 1",
        "Lower end of its 95 % interval over streams (Student's t); absent where one of several is left.",
        "Below the score before training at the end: the gain may be chance.",
    ),
    "eval/qa_high": KeyInfo(
        "score, 0 to 1",
        "Upper end of it.",
        "Below the score before training: the policy has become worse.",
    ),
    "eval/qa_<kind>": KeyInfo(
        "score, 0 to 1",
        "The same over the questions of one kind: the mean over streams of each stream's mean.",
        "It falls below where it began, as `latest` does where facts are only ever added.",
    ),
    "eval/worst_fall": KeyInfo(
        "score, -1 to 0",
        "Mean difference to before training of the kind of question that lies furthest below its score then, of "
        "those that do so significantly (one-sided sign-flip test over streams, p at most 0.05), else 0. The best "
        "adapter is that of the highest `eval/qa` with this added.",
        "Below 0: a kind rots; see which by `eval/qa_<kind>`.",
    ),
    "eval/answerable": KeyInfo(
        "score, 0 to 1",
        "As `eval/qa`, over the questions that the text answers; only where there are others too.",
        "It falls while `eval/unanswerable` rises: the policy stores less, and the reader abstains.",
    ),
    "eval/answerable_low": KeyInfo(
        "score, 0 to 1",
        "Lower end of its interval.",
        "As `eval/qa_low`.",
    ),
    "eval/answerable_high": KeyInfo(
        "score, 0 to 1",
        "Upper end of it.",
        "As `eval/qa_high`.",
    ),
    "eval/unanswerable": KeyInfo(
        "score, 0 to 1",
        "As `eval/qa`, over the questions whose right answer is that the text does not say.",
        "It falls: the memory says what the text does not, or the reader guesses.",
    ),
    "eval/unanswerable_low": KeyInfo(
        "score, 0 to 1",
        "Lower end of its interval.",
        "As `eval/qa_low`.",
    ),
    "eval/unanswerable_high": KeyInfo(
        "score, 0 to 1",
        "Upper end of it.",
        "As `eval/qa_high`.",
    ),
    "eval/tool_success": KeyInfo(
        "share, 0 to 1",
        "Share of tool calls that succeeded.",
        "As `reward/tool_success`.",
    ),
    "eval/tool_success_low": KeyInfo(
        "share, 0 to 1",
        "Lower end of its interval.",
        "As `eval/qa_low`.",
    ),
    "eval/tool_success_high": KeyInfo(
        "share, 0 to 1",
        "Upper end of it.",
        "As `eval/qa_high`.",
    ),
    "eval/compression": KeyInfo(
        "share, 0 to 1",
        "How much shorter the memory is than what was read.",
        "As `reward/compression`.",
    ),
    "eval/compression_low": KeyInfo(
        "share, 0 to 1",
        "Lower end of its interval.",
        "As `eval/qa_low`.",
    ),
    "eval/compression_high": KeyInfo(
        "share, 0 to 1",
        "Upper end of it.",
        "As `eval/qa_high`.",
    ),
    "eval/<part>": KeyInfo(
        "value of the part",
        "The value of another reward part, decoding greedily. With `_low` and `_high`, its interval.",
        "As `reward/<part>`.",
    ),
    "eval/reader_<count>": KeyInfo(
        "calls, requests or tokens",
        "As `reader/*`, for the evaluation and, before training, its gates.",
        "Most of what a run costs where `eval.every` is small.",
    ),
    "eval/judge_<count>": KeyInfo(
        "calls, requests or tokens",
        "As `judge/*`, for the evaluation.",
        "As `eval/reader_<count>`.",
    ),
    # Failures.
    "fail/episodes": KeyInfo(
        "episodes",
        "Episodes that an infrastructure failure removed. They are never a reward.",
        "Above 0 in many steps: engine, reader or judge is ill; the log names the failures.",
    ),
    "fail/rate": KeyInfo(
        "share, 0 to 1",
        "Their share of the episodes; past `rollout.max_failure_rate` the run stops.",
        "Rising: the run will stop at `rollout.max_failure_rate`.",
    ),
    "fail/retries": KeyInfo(
        "episodes",
        "Episodes that were played again.",
        "Rising: time is lost, though no data; look for what fails.",
    ),
    "fail/workers": KeyInfo(
        "workers",
        "Rollout workers that were lost and replaced.",
        "Above 0: memory of the nodes, or spot machines that go.",
    ),
    "fail/judge": KeyInfo(
        "episodes",
        "Episodes that failed because the judge did.",
        "Above 0: the judge's endpoint is down or overloaded.",
    ),
    "fail/rerolls": KeyInfo(
        "re-rolls",
        "Re-rolls that an infrastructure failure has ended (`advantage.mode=reroll`); their episodes go without.",
        "A large share of the re-rolls: credit falls back to the episode's.",
    ),
    "fail/stale": KeyInfo(
        "samples",
        "Samples older than `rollout.max_staleness` allows, which were dropped.",
        "Above 0 all the time: samples are played for nothing; raise `rollout.max_staleness`, or play less ahead.",
    ),
    # Wall clock.
    "time/step": KeyInfo(
        "seconds",
        "Seconds of the whole step.",
        "It grows over steps: longer completions (`meters/length`), or a machine that slows down.",
    ),
    "time/<phase>": KeyInfo(
        "seconds",
        "Seconds of a phase since the last row: `build`, `rollout` (what the learner waited for), `learn`, "
        "`eval`, `canary`, `publish`, `save` (that of the step before among it).",
        "`rollout` far above `learn` is usual; the other way round a smaller `train.micro_batch_tokens` may be to "
        "blame.",
    ),
    "time/wall": KeyInfo(
        "seconds",
        "Seconds that the run has taken so far, those before it was resumed included.",
        "Nothing by itself: it is what the run has cost so far.",
    ),
}
"""The keys, in the order of the page of metrics."""


def metric_of(key: str) -> KeyInfo | None:
    """Return what a key of metrics.jsonl stands for; None where the table has neither it nor a pattern that it
    fits."""
    if key in METRICS:
        return METRICS[key]
    fitting = [pattern for pattern in METRICS if "<" in pattern and _fits(pattern, key)]
    return METRICS[max(fitting, key=len)] if fitting else None  # `eval/qa_<kind>` before `eval/<part>`


def _fits(pattern: str, key: str) -> bool:
    parts = re.split(r"<[a-z]+>", pattern)
    return re.fullmatch("[^/]+".join(map(re.escape, parts)), key) is not None


def metrics_page(metrics: Mapping[str, KeyInfo] = METRICS) -> str:
    """Return docs/metrics.md: a table for each family of keys. `python -m memrl.report.metric_keys` prints it."""
    lines = [
        "# Metrics",
        "",
        "Every key of `metrics.jsonl`, made from `memrl/report/metric_keys.py`"
        " (`python -m memrl.report.metric_keys > docs/metrics.md`; a test compares them). The row of step 0 is the "
        "evaluation before training. A key in angle brackets stands for several. In one process on a CPU, all but "
        "`time/*` is the same in two runs of one seed. Trackers and the report have the same keys. How answers are "
        "scored: [Metrics of answers](answer-metrics.md).",
    ]
    for family, keys in _families(metrics):
        lines += ["", f"## {family}", "", "| key | unit | meaning | what to worry about |", "|---|---|---|---|"]
        for key in keys:
            one = metrics[key]
            lines.append(f"| `{key}` | {one.unit} | {_words(one.meaning)} | {_words(one.worry)} |")
    return "\n".join(lines) + "\n"


def _families(keys: Iterable[str]) -> list[tuple[str, list[str]]]:
    families: dict[str, list[str]] = {}
    for key in keys:
        families.setdefault(key.partition("/")[0] if "/" in key else "Row", []).append(key)
    return list(families.items())


def _words(text: str) -> str:
    """Return text for a cell: signs of HTML are shown, but in what is code already."""
    pieces = re.split("(`[^`]*`)", text.replace("|", "\\|"))
    return "".join(piece if piece.startswith("`") else html.escape(piece, quote=False) for piece in pieces)


if __name__ == "__main__":
    sys.stdout.write(metrics_page())
