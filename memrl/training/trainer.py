"""The loop: play groups, give credit, learn, publish, check, evaluate, save. Nothing else knows the trainer.

What a step leaves behind is written in this order, so that a kill at any point loses at most the step in flight:
adapter, episodes, metrics row, checkpoint. A resumed run begins at the last good checkpoint and cuts off what was
written after it; on a CPU it then writes the same rows again, to the bit.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any

import torch
from rich.console import Console

from memrl.config import Config
from memrl.config.stages import stages
from memrl.data.curriculum import Curriculum, check_kinds
from memrl.data.drawing import Drawing
from memrl.data.feed import StreamFeed
from memrl.engines.canary import first_canary
from memrl.engines.models import carries_state, load_tokenizer
from memrl.engines.prompting import Prompter, open_prompter
from memrl.errors import CheckpointError, MemrlError, NothingLearned, RewardHacked
from memrl.evaluation.evaluate import Evaluation, best_scores, faithful_share, summarise, update_id_share
from memrl.evaluation.kinds import BEST_RULE, falls, kind_scores
from memrl.evaluation.statistics import mean
from memrl.frozen.build import open_endpoint_judge
from memrl.frozen.costs import judge_costs, reader_costs, total_costs, verdicts
from memrl.learner.build import open_learner
from memrl.look.held_out import held_out
from memrl.look.report import write_report
from memrl.records import AdapterRef, AnswerRecord, Episode, Group, Sample, adapter_name
from memrl.report.curve import draw_curve
from memrl.report.progress import RunProgress, final_table
from memrl.report.trackers import RunInfo, open_trackers
from memrl.rewards.alarms import ALARMS
from memrl.rewards.compose import resolve_weights
from memrl.rollout.build import check_records, open_pool
from memrl.rollout.preflight import check_judge, check_reader, first_prompt
from memrl.rollout.schedule import RolloutSchedule
from memrl.storage.files import write_json_atomic
from memrl.storage.rundir import SUMMARY_FILE
from memrl.training.canary import AdapterCanary
from memrl.training.clock import Clock
from memrl.training.figures import COUNTED, calls_in_words, credited, idle_steps, step_figures
from memrl.training.state import RunState, environment, find_start, run_folder

log = logging.getLogger(__name__)


class Trainer:
    """One run in one folder.

    Args:
        config: checked configuration with `run.dir` filled in.
        name: the config's name, for titles.
        resume: go on with the run in `run.dir`; one that was stopped before its first checkpoint begins again.
        console: where progress and tables go.

    Raises:
        ConfigError: the model cannot be used, records of the data cannot be (all are named), the reader's endpoint
            refuses, or `resume` finds a run of another configuration.
        ReaderError: nobody answers at the reader's endpoint.
        JudgeError: nobody answers at the judge's, or it fails one of its canaries.
        CheckpointError: `resume` finds no good checkpoint.
    """

    def __init__(self, config: Config, *, name: str, resume: bool, console: Console) -> None:
        self.config = config
        self.name = name
        self.folder = run_folder(config.run)
        self.console = console
        self._clock = Clock()
        self._alarmed: set[str] = set()
        self._alarmed_kinds: set[str] = set()
        self._idle = 0
        self._played: list[Episode] = []
        """The episodes of an evaluation that the trackers have not been told of."""
        self._progress = RunProgress(console)

        found = find_start(config) if resume else None
        with self._clock.timed("build"):
            torch.manual_seed(config.seed)
            self._stages = stages(config.data, config.memory)
            self._curriculum = Curriculum(self._stages)
            self._weights = resolve_weights(config.rewards.preset, config.rewards.weights, config.rewards.parts)
            self._open_streams(open_prompter(load_tokenizer(config.model), config.rollout.dialect))
            check_reader(config.reader)
            check_judge(open_endpoint_judge(config))
            self.learner = open_learner(config, config.train.steps * config.train.updates_per_step)
            try:
                self.pool = open_pool(config)
            except BaseException:
                self.learner.close()
                raise
        try:
            self.rollouts = RolloutSchedule(
                self.pool,
                self.drawing,
                self._curriculum,
                self._weights,
                self._progress.phase,
                rollout=config.rollout,
                train=config.train,
                advantage=config.advantage,
            )
            self._canary = AdapterCanary(
                self.learner,
                self.pool.score,
                config.model.dtype,
                f"rollout.engine={config.rollout.engine} with {config.model.path}",
                carried=carries_state(config.model),
            )
            self.state = RunState(config, self._clock, self.learner, self.rollouts)
            self.state.begin(found, name)
            self._idle = idle_steps(self.state.metrics.rows())
            self.trackers = open_trackers(
                config.run.trackers, RunInfo(name, self.folder, asdict(config), self.state.step)
            )
            if config.judge.type == "policy-base":
                self.pool.check_judge()
        except BaseException:
            self.close()
            raise

    @property
    def step(self) -> int:
        """The number of steps that are taken."""
        return self.state.step

    def _open_streams(self, prompter: Prompter) -> None:
        config = self.config
        check_records(config, prompter, self.console)
        held_out = StreamFeed(config.data.eval, config.data.path, config.eval.seed, cycle=False)
        self.eval_streams = held_out.take(config.eval.streams)
        if len(self.eval_streams) < config.eval.streams:
            log.warning("eval.streams is %d, the data has %d", config.eval.streams, len(self.eval_streams))
        check_kinds(self._stages, self.eval_streams)
        self.drawing = Drawing(self._stages, config.data.path, config.seed, config.data.difficulty)
        first = self.drawing.first()
        self._first_canary = first_canary(first_prompt(config.memory, config.rollout, prompter, first))

    # The loop ---------------------------------------------------------------------------------------------------

    def run(self) -> dict[str, Any]:
        """Train to `train.steps` and return the summary, which also stands in `summary.json`.

        Whatever of these ends it, every finished step is saved by then.

        Raises:
            KeyboardInterrupt: after Ctrl-C.
            LearnerError: the learner cannot go on.
            EngineError: too many episodes failed, or the canary found that engine and learner disagree.
            JudgeError: the judge fails one of its canaries by now.
            RewardHacked: a meter is above its alarm, and `rewards.on_alarm` is stop.
            NothingLearned: no group has taught anything for `train.max_idle_steps` steps.
        """
        with self.trackers:
            try:
                self._train()
            except CheckpointError:
                raise  # the disk is what failed
            except (KeyboardInterrupt, MemrlError):
                self.state.save_unsaved()
                raise
            finally:
                self.close()
            return self._finish()

    def close(self) -> None:
        """End the workers, the learner's processes, and Ray where it was started for them; `run` does it itself."""
        self.pool.close()
        self.learner.close()

    def _train(self) -> None:
        config = self.config
        with self._progress:
            began = time.monotonic()
            with self._clock.timed("canary"):
                self._canary.swap_loud(self._first_canary, self.folder / "canary", self.pool.load_adapter)
            adapter = self._publish()
            with self._clock.timed("canary"):
                gap = self._canary.check(adapter, [self._first_canary])
            if not self.state.evaluations:
                self._first_row(adapter, gap, began)
            while not self._done():
                began = time.monotonic()
                self.pool.take_computed()  # what canaries and evaluations took
                with self._clock.timed("rollout"):  # what the learner waits for
                    self.rollouts.begin(self.step, adapter)
                    groups, report, drawn = self.rollouts.take()
                    computed = self.pool.take_computed()
                self.state.episodes += sum(len(group.episodes) for group in groups)
                samples, staleness = self._fresh(report.samples)
                with self._clock.timed("learn"):
                    self._canary.remember(samples)
                    learned = self._learn(samples)
                self.state.step += 1
                adapter = self._publish()
                with self._clock.timed("canary"):
                    gap = self._canary.check(adapter, samples)
                    if samples and not staleness["learner/staleness"]:
                        self._canary.check_sampled(learned["loss/sampling_gap"], config.rollout.temperature)
                row: dict[str, Any] = {
                    "step": self.step,
                    **step_figures(groups, self._counted(), config.rewards.alarms, config.rollout.max_turns),
                    **report.metrics(),
                    **drawn,
                    **staleness,
                    **learned,
                }
                row["canary/gap"] = gap
                if self.step == config.train.steps or (config.eval.every and self.step % config.eval.every == 0):
                    row |= self._evaluate(adapter)
                self.state.computed.append({"step": self.step, **computed})
                self._record(row, credited(groups, report.samples), time.monotonic() - began)
                self._watch(row)

    def _watch(self, row: dict[str, Any]) -> None:
        """Alarms of the meters, steps that teach nothing, and the judge's canaries on their schedule; after the step is
        saved.

        Raises:
            RewardHacked: a meter is above its alarm, and `rewards.on_alarm` is stop.
            NothingLearned: no group has taught anything for `train.max_idle_steps` steps.
            JudgeError: the judge fails a canary by now.
        """
        self._idle = 0 if row["advantage/samples"] else self._idle + 1
        patience = self.config.train.max_idle_steps
        if patience and self._idle >= patience and not self._done():
            raise NothingLearned(
                f"step {self.step}: in {self._idle} steps in a row every group's episodes were paid the same, so "
                "nothing was learned (train.max_idle_steps). Look at what the policy writes in "
                f"{self.folder / 'episodes'}: a model that makes no calls needs rollout.example=true or a warm start "
                "(memrl sft), one that always does the same a higher rollout.temperature or more episodes "
                "(train.group_size)."
            )
        rewards, every = self.config.rewards, self.config.judge.canary_every
        for name in (name for name in ALARMS if row.get(f"alarm/{name}")):
            alarm = f"{name} is {row[f'meters/{name}']:.2f}, above {rewards.alarms.get(name, ALARMS[name]):g}"
            if rewards.on_alarm == "stop":
                raise RewardHacked(
                    f"step {self.step}: {alarm} (rewards.alarms). Look at its episodes in {self.folder / 'episodes'}; "
                    "then mend the reward, or raise that alarm, and --resume."
                )
            if name not in self._alarmed:  # once a run
                log.warning("step %d: %s (rewards.alarms); look at %s", self.step, alarm, self.folder / "episodes")
                self._alarmed.add(name)
        if self.config.judge.type != "none" and every and self.step % every == 0:
            self.pool.check_judge()

    def _done(self) -> bool:
        """Return whether all steps are taken, or the last evaluation has reached `eval.target`."""
        target, evaluations = self.config.eval.target, self.state.evaluations
        reached = target is not None and bool(evaluations) and evaluations[-1].qa.value >= target
        return reached or self.step >= self.config.train.steps

    def _first_row(self, adapter: AdapterRef, gap: float, began: float) -> None:
        """Evaluate the untrained policy and its gates, so that the curve begins where training begins."""
        row: dict[str, Any] = {"step": 0, "canary/gap": gap, **self._evaluate(adapter, gates=True)}
        self._record(row, [], time.monotonic() - began)

    def _fresh(self, samples: list[Sample]) -> tuple[list[Sample], dict[str, float]]:
        """Return the samples of at most `rollout.max_staleness` versions ago, and figures about all of them."""
        ages = [self.learner.version - sample.version for sample in samples]
        bound = self.config.rollout.max_staleness
        kept = [sample for sample, age in zip(samples, ages, strict=True) if age <= bound]
        return kept, {
            "fail/stale": float(len(samples) - len(kept)),
            "learner/staleness": mean([float(age) for age in ages if age <= bound]) if kept else 0.0,
        }

    def _learn(self, samples: list[Sample]) -> dict[str, float]:
        phase = self._progress.phase(f"step {self.step + 1}/{self.config.train.steps}: learning", None)
        with phase as advance, self._room_to_learn():
            if not self.rollouts.under_way:
                return self.learner.step(samples, advance.to)
            return self.pool.beside(lambda progress: self.learner.step(samples, progress), advance.to)

    @contextmanager
    def _room_to_learn(self) -> Iterator[None]:
        """Let learner and engine, with `vllm.sleep`, take turns on one GPU's memory."""
        if not self.config.vllm.sleep:
            yield
            return
        self.pool.sleep()
        yield
        torch.cuda.empty_cache()  # what torch keeps for later is what vLLM needs now
        self.pool.wake()

    def _publish(self) -> AdapterRef:
        with self._clock.timed("publish"):
            adapter = self.learner.publish(self.folder / "adapters")
            self.pool.load_adapter(adapter)
        return adapter

    def _evaluate(self, adapter: AdapterRef, *, gates: bool = False) -> dict[str, float]:
        """Evaluate, keep the result, and return its metrics."""
        with self._clock.timed("eval"):
            total = len(self.eval_streams)
            with self._progress.phase(f"step {self.step}: evaluation", total) as advance:
                outcomes = self.pool.play_greedy(self.eval_streams, adapter, advance)
            evaluation = self._compared(summarise(outcomes, self.step, adapter.version), outcomes)
            played = [outcome for outcome in outcomes if isinstance(outcome, Episode)]
            if self.config.run.save_episodes:
                self.state.held_out_files.write(self.step, played)
            answers = [answer for episode in played for answer in episode.answers]
            ceiling: list[AnswerRecord] = []
            if gates:
                self._see_calls(played)
                with self._progress.phase("the reader's ceiling", None):
                    ceiling = self.pool.ceiling(self.eval_streams)
                self.state.gates = {
                    "faithful": faithful_share(played, self.eval_streams),
                    "update_id": update_id_share(played, self.eval_streams),
                    **best_scores(ceiling),
                }
                answers += ceiling
        self.state.evaluations.append(evaluation)
        self._played = played
        self._curriculum.take_held_out(
            evaluation.qa.value, {kind: found.value for kind, found in evaluation.by_kind.items()}
        )
        judged = verdicts(played, ceiling)
        return evaluation.metrics() | reader_costs(answers, "eval/reader_") | judge_costs(judged, "eval/judge_")

    def _compared(self, evaluation: Evaluation, outcomes: Sequence[Episode | str]) -> Evaluation:
        """Return an evaluation with the kinds of question that lie below their scores before training; warn of each
        whose fall is beyond chance."""
        state, now = self.state, kind_scores(outcomes)
        if not state.evaluations:
            state.kinds_before = now
        if state.kinds_before is None:
            return evaluation
        look = len(state.evaluations)
        found = falls(state.kinds_before, now, look) if look else {}
        for kind, fall in found.items():
            if fall.alarm and kind not in self._alarmed_kinds:  # once a run
                self._alarmed_kinds.add(kind)
                before = mean(list(state.kinds_before[kind].values()))
                log.warning(
                    "step %d: questions of the kind %r have fallen: %.3f before training, %+.3f now (p %.2g over %d "
                    "held-out streams, below the alarm's level for all kinds and evaluations; docs/evaluation.md). See "
                    "eval/qa_%s in %s. A mean that rises hides it; the fall counts against this evaluation when the "
                    "best adapter is chosen.",
                    self.step, kind, before, fall.value, fall.p, fall.streams, kind, state.metrics.path,
                )  # fmt: skip
        return replace(evaluation, falls=found)

    def _see_calls(self, played: list[Episode]) -> None:
        """Warn of a policy that cannot write to its memory before it is trained: it may never learn to."""
        if played and not any(result.ok for episode in played for step in episode.steps for result in step.results):
            log.warning(
                "no call of the untrained policy succeeded (%s). Unless sampling finds some that do, nothing can be "
                "learned: try rollout.example=true, a warm start (memrl sft), or the dialect that the model was "
                "trained on (rollout.dialect).",
                calls_in_words(played),
            )

    def _counted(self) -> dict[str, int]:
        """Return how often the pool counted each kind of trouble since this was last asked."""
        return {what: self.pool.counts.pop(what, 0) for what in COUNTED}

    def _record(self, row: dict[str, Any], groups: list[Group], seconds: float) -> None:
        """Write what a step leaves behind: its episodes, its row, and its checkpoint where one is due."""
        state = self.state
        with self._clock.timed("save"):
            if self.config.run.save_episodes and groups:
                state.episode_files.write(self.step, [episode for group in groups for episode in group.episodes])
        row["episodes"] = state.episodes
        # time/ alone may differ between two runs of one seed.
        row |= {"time/step": seconds, **{f"time/{phase}": spent for phase, spent in self._clock.lap().items()}}
        row["time/wall"] = self._clock.seconds()
        with self._clock.timed("save"):
            state.keep(row)  # first: an end that comes from now on loses nothing of the step
            state.metrics.append(row)
            self.trackers.row(row)
            self._progress.line(row, self.config.train.steps)
            if self.step % self.config.run.save_every == 0 or self._done():
                state.save()
                state.prune()
            if not self._done():  # the end shows the last
                every = self.config.run.report_every
                if "eval/qa" in row:
                    self._show_evaluation()
                if every and self.step and self.step % every == 0:
                    self._report(live=True)

    def _show_evaluation(self) -> None:
        """Draw the curve, and give the trackers the last evaluation."""
        curve = self.folder / "curve.png"
        draw_curve(self.state.metrics.rows(), curve, f"{self.name}, seed {self.config.seed}")
        played, self._played = self._played, []
        if played and self.trackers:
            self.trackers.evaluation(lambda: held_out(self.folder, self.state.evaluations[-1], played, curve))

    def _report(self, *, live: bool) -> None:
        """Bring the report in the run's folder up to date. A report that fails ends no run."""
        try:
            write_report([self.folder], live=live)
        except Exception as error:  # a design of somebody else may leave what no report can show
            log.warning(
                "step %d: the report was not written (%s: %s); later: memrl report %s",
                self.step, type(error).__name__, error, self.folder,
            )  # fmt: skip

    # The end ----------------------------------------------------------------------------------------------------

    def _finish(self) -> dict[str, Any]:
        state = self.state
        if self._idle and self._idle == state.step:
            log.warning("no group taught anything in any of the %d steps: the policy is what it was.", state.step)
        before, best, after = state.evaluations[0], state.ranked()[0], state.evaluations[-1]
        highest = max(state.evaluations, key=lambda evaluation: evaluation.qa.value)
        if highest.qa.value > best.qa.value:
            log.warning(
                "the best adapter is that of step %d (held-out QA %.3f): step %d had %.3f, but there a kind of "
                "question (%s) had fallen below its score before training, the worst by %.3f.",
                best.step, best.qa.value, highest.step, highest.qa.value, ", ".join(highest.falls or {}),
                -highest.worst_fall,
            )  # fmt: skip
        summary = {
            "name": self.name,
            "seed": self.config.seed,
            "steps": state.step,
            "episodes": state.episodes,
            "eval": {"before": before.summary(), "best": best.summary(), "after": after.summary()},
            "best_rule": BEST_RULE,
            "kinds_fallen": [
                {"step": evaluation.step, "kind": kind, **vars(fall)}
                for evaluation in state.evaluations
                for kind, fall in (evaluation.falls or {}).items()
                if fall.alarm
            ],
            **({"curriculum": self._curriculum.entered()} if len(self._stages) > 1 else {}),
            "gates": state.gates,
            "reader": total_costs(state.metrics.rows()),
            "judge": total_costs(state.metrics.rows(), "judge"),
            "wall_seconds": {
                "total": self._clock.seconds(),
                **{k: self._clock.wall[k] for k in ("build", "rollout", "learn", "eval")},
            },
            "adapter": {
                "best": f"adapters/{adapter_name(best.version)}",
                "after": f"adapters/{adapter_name(after.version)}",
            },
            "versions": environment()["packages"],
        }
        write_json_atomic(self.folder / SUMMARY_FILE, summary)
        self._show_evaluation()
        self.trackers.end(summary)
        self._report(live=False)
        self.console.print(final_table(summary, self.folder, self.console.width))
        return summary
