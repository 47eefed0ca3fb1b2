"""The loop: play groups, give credit, learn, publish, check, evaluate, save. Nothing else knows the trainer.

What a step leaves behind is written in this order, so that a kill at any point loses at most the step in flight:
adapter, episodes, metrics row, checkpoint. A resumed run begins at the last good checkpoint and cuts off what was
written after it; on a CPU it then writes the same rows again, to the bit.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import shutil
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from memrl.config import Config, save_config
from memrl.data.feed import StreamFeed
from memrl.engines.canary import BOUND, mean_gap, probe
from memrl.engines.models import context_length, load_tokenizer
from memrl.engines.prompting import Prompter, open_prompter
from memrl.errors import CheckpointError, EngineError, JudgeError, RewardHacked
from memrl.evaluation.evaluate import Evaluation, faithful_share, summarise
from memrl.frozen.costs import agreement, judge_costs, reader_costs, total_costs, verdicts
from memrl.learner.build import open_learner
from memrl.learner.interface import STATE_FILE
from memrl.packages import installed_version, vllm_version
from memrl.records import AdapterRef, AnswerRecord, Episode, Group, Sample, adapter_name
from memrl.report.curve import draw_curve
from memrl.report.progress import RunProgress, final_table
from memrl.rewards.compose import resolve_weights
from memrl.rewards.meters import ALARMS
from memrl.rollout.build import open_pool
from memrl.rollout.preflight import check_judge, check_prompts, check_reader, first_prompt
from memrl.rollout.schedule import RolloutSchedule
from memrl.storage.checkpoints import find_checkpoint, list_checkpoints, save_checkpoint
from memrl.storage.files import find_damage, new_folder, write_bytes_atomic, write_json_atomic, write_text_atomic
from memrl.storage.rundir import EpisodeWriter, MetricsFile
from memrl.training.figures import mean, meter_figures, reward_figures

log = logging.getLogger(__name__)
CHECKED_STREAMS = 16
"""Streams of each side whose prompts are measured before the model is loaded."""


class Trainer:
    """One run in one folder.

    Args:
        config: checked configuration with `run.dir` filled in.
        name: the config's name, for titles.
        resume: go on with the run in `run.dir`; one that was stopped before its first checkpoint begins again.
        console: where progress and tables go.

    Raises:
        ConfigError: the model cannot be used, the prompts do not fit, or the reader's endpoint refuses.
        ReaderError: nobody answers at the reader's endpoint.
        JudgeError: nobody answers at the judge's, or it fails one of its canaries.
        CheckpointError: `resume` finds no good checkpoint, or one of another configuration.
    """

    def __init__(self, config: Config, *, name: str, resume: bool, console: Console) -> None:
        assert config.run.dir is not None
        self.config = config
        self.name = name
        self.folder = Path(config.run.dir)
        self.console = console
        self.step = 0
        self.episodes = 0
        self.evaluations: list[Evaluation] = []
        self.gates: dict[str, float | None] = {}
        self.wall: defaultdict[str, float] = defaultdict(float)
        self._began = time.monotonic()
        self._reported: dict[str, float] = {}
        self._before = 0.0  # seconds spent by the runs that this one resumes
        self._unsaved: tuple[int, dict[str, Any], bytes] | None = None  # a finished step without a checkpoint
        self._alarmed: set[str] = set()
        self._progress = RunProgress(console)

        found = self._find_checkpoint() if resume else None
        with self._timed("build"):
            torch.manual_seed(config.seed)
            self._weights = resolve_weights(config.rewards.preset, config.rewards.weights, config.rewards.parts)
            tokenizer = load_tokenizer(config)
            self._open_streams(open_prompter(config, tokenizer))
            check_reader(config)
            check_judge(config)
            self.learner = open_learner(config, config.train.steps * config.train.updates_per_step)
            try:
                self.pool = open_pool(config)
            except BaseException:
                self.learner.close()
                raise
        try:
            self._begin(found)
        except BaseException:
            self.close()
            raise

    def _begin(self, found: tuple[Path, dict[str, Any]] | None) -> None:
        """Stand where the run begins, or goes on."""
        self.rollouts = RolloutSchedule(self.pool, self.feed, self.config, self._weights, self._progress.phase)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.metrics = MetricsFile(self.folder / "metrics.jsonl")
        self.episode_files = EpisodeWriter(self.folder / "episodes")
        if found is not None:
            self._restore(*found)
        else:
            self._describe()
        self._cut_off()
        if self.config.judge.type == "policy-base":
            self.pool.check_judge()

    def _open_streams(self, prompter: Prompter) -> None:
        config = self.config
        held_out = StreamFeed(config.data.eval, config.data.path, config.eval.seed, cycle=False)
        self.eval_streams = held_out.take(config.eval.streams)
        if len(self.eval_streams) < config.eval.streams:
            log.warning("eval.streams is %d, the data has %d", config.eval.streams, len(self.eval_streams))
        self.feed = StreamFeed(config.data.train, config.data.path, config.seed)
        first = self.feed.take(CHECKED_STREAMS)
        self.feed.seek(0)
        check_prompts(config, prompter, [*self.eval_streams[:CHECKED_STREAMS], *first], context_length(config))
        self._probe = probe(first_prompt(config, prompter, first[0]))

    # The loop ---------------------------------------------------------------------------------------------------

    def run(self) -> dict[str, Any]:
        """Train to `train.steps` and return the summary, which also stands in `summary.json`.

        Raises:
            KeyboardInterrupt: after Ctrl-C; every finished step is saved by then.
            EngineError: too many episodes failed, or the canary found that engine and learner disagree.
            JudgeError: the judge fails one of its canaries by now.
            RewardHacked: a meter is above its alarm, and `rewards.on_alarm` is stop.
        """
        try:
            self._train()
        except (KeyboardInterrupt, JudgeError, RewardHacked):
            self._save_unsaved()
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
            adapter = self._publish()
            gap = self._canary(adapter, [self._probe])
            if not self.evaluations:
                self._first_row(adapter, gap)
            while not self._done():
                began = time.monotonic()
                with self._timed("rollout"):  # what the learner waits for
                    self.rollouts.begin(self.step, adapter)
                    groups, report = self.rollouts.take()
                self.episodes += sum(len(group.episodes) for group in groups)
                samples, staleness = self._fresh(report.samples)
                with self._timed("learn"):
                    learned = self._learn(samples)
                self.step += 1
                adapter = self._publish()
                gap = self._canary(adapter, samples)
                row: dict[str, Any] = {
                    "step": self.step,
                    **self._reward_metrics(groups),
                    **report.metrics(),
                    **staleness,
                    **learned,
                }
                row["canary/gap"] = gap
                if self.step == config.train.steps or (config.eval.every and self.step % config.eval.every == 0):
                    row |= self._evaluate(adapter)
                self._record(row, groups, time.monotonic() - began)
                self._watch(row)

    def _watch(self, row: dict[str, Any]) -> None:
        """Alarms of the meters, and the judge's canaries on their schedule; after the step is saved.

        Raises:
            RewardHacked: a meter is above its alarm, and `rewards.on_alarm` is stop.
            JudgeError: the judge fails a canary by now.
        """
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
        """Whether all steps are taken, or the last evaluation has reached `eval.target`."""
        target = self.config.eval.target
        reached = target is not None and bool(self.evaluations) and self.evaluations[-1].qa.value >= target
        return reached or self.step >= self.config.train.steps

    def _first_row(self, adapter: AdapterRef, gap: float) -> None:
        """Evaluate the untrained policy and its gates, so that the curve begins where training begins."""
        self._record({"step": 0, "canary/gap": gap, **self._evaluate(adapter, gates=True)}, [], 0.0)

    def _fresh(self, samples: list[Sample]) -> tuple[list[Sample], dict[str, float]]:
        """Those that were sampled at most `rollout.max_staleness` versions ago, and figures about all of them."""
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
        """With `vllm.sleep`, learner and engine take turns on one GPU's memory."""
        if not self.config.vllm.sleep:
            yield
            return
        self.pool.sleep()
        yield
        torch.cuda.empty_cache()  # what torch keeps for later is what vLLM needs now
        self.pool.wake()

    def _publish(self) -> AdapterRef:
        adapter = self.learner.publish(self.folder / "adapters")
        self.pool.load_adapter(adapter)
        return adapter

    def _prune(self) -> None:
        """Keep the two newest adapters, the first, the best evaluated one, and those that rollouts under way are played
        with. Only after a checkpoint: a run resumed from an older one may still have another best."""
        newest = self.learner.version
        best = {evaluation.version for evaluation in self._ranked()[:1]}
        keep = {adapter_name(version) for version in {0, newest, newest - 1, *best, *self.rollouts.versions}}
        for folder in (self.folder / "adapters").glob("v*"):
            if folder.name not in keep:
                shutil.rmtree(folder)

    def _canary(self, adapter: AdapterRef, samples: list[Sample]) -> float:
        """Mean gap between an engine's and the learner's log-probs of one completion, at the worst worker (law 2).

        Raises:
            EngineError: they disagree: the engine does not sample from what the learner made.
        """
        if not samples:
            return 0.0
        canary = max(samples, key=lambda sample: (abs(sample.advantage), len(sample.completion_ids)))
        learner = self.learner.logprobs([canary], temperature=1.0)[0]
        scores = self.pool.score(canary.prompt_ids, canary.completion_ids, adapter)
        gap = max(mean_gap(engine, learner) for engine in scores)
        bound = BOUND[self.config.model.dtype]
        if gap > bound:
            why = (
                f"The engine holds another adapter than the learner published; the last checkpoint is from before "
                f"this step. Check {adapter.path} and start again with --resume."
                if adapter.version
                else "No adapter acts yet, so the two do not compute the same model: rollout.engine="
                f"{self.config.rollout.engine} does not support {self.config.model.path} exactly. Use another engine."
            )
            raise EngineError(
                f"canary: after loading {adapter.name} the engine's log-probs are {gap:.2g} nats a token away from the "
                f"learner's (bound {bound:.2g}). {why}"
            )
        return gap

    def _evaluate(self, adapter: AdapterRef, *, gates: bool = False) -> dict[str, float]:
        """Evaluate, keep the result, and return its metrics."""
        with self._timed("eval"):
            total = len(self.eval_streams)
            with self._progress.phase(f"step {self.step}: evaluation", total) as advance:
                outcomes = self.pool.play_greedy(self.eval_streams, adapter, advance)
            evaluation = summarise(outcomes, self.step, adapter.version)
            played = [outcome for outcome in outcomes if isinstance(outcome, Episode)]
            answers = [answer for episode in played for answer in episode.answers]
            ceiling: list[AnswerRecord] = []
            if gates:
                with self._progress.phase("the reader's ceiling", None):
                    ceiling = self.pool.ceiling(self.eval_streams)
                best = mean([answer.score for answer in ceiling]) if ceiling else None
                self.gates = {"faithful": faithful_share(played, self.eval_streams), "reader_ceiling": best}
                answers += ceiling
        self.evaluations.append(evaluation)
        judged = verdicts(played, ceiling)
        return evaluation.metrics() | reader_costs(answers, "eval/reader_") | judge_costs(judged, "eval/judge_")

    def _ranked(self) -> list[Evaluation]:
        """Evaluations, best held-out QA first; of equals, the earlier one."""
        return sorted(self.evaluations, key=lambda evaluation: (-evaluation.qa.value, evaluation.step))

    # What a step leaves behind ----------------------------------------------------------------------------------

    def _reward_metrics(self, groups: list[Group]) -> dict[str, float]:
        played = [episode for group in groups for episode in group.episodes]
        steps = [step for episode in played for step in episode.steps]
        failures = sum(len(group.failures) for group in groups)
        row: dict[str, float] = {
            "fail/episodes": float(failures),
            "fail/rate": failures / max(len(played) + failures, 1),
            **{f"fail/{what}": float(self._counted(what)) for what in ("retries", "workers", "judge")},
        }
        if not played:
            return row
        answers = [answer for episode in played for answer in episode.answers]
        stops = Counter(step.completion.stop for step in steps)
        codes = Counter(result.code.value for step in steps for result in step.results)
        calls = max(codes.total(), 1)
        return row | {
            **reward_figures(played),
            "memory/tokens": mean([float(episode.memory_tokens) for episode in played]),
            "tools/calls_per_step": codes.total() / len(steps),
            **{f"tools/{code}": count / calls for code, count in sorted(codes.items())},
            "stop/stop": stops["stop"] / len(steps),
            "stop/length": stops["length"] / len(steps),
            "tokens/prompt": sum(len(step.prompt_ids) for step in steps),
            "tokens/prompt_cached": sum(step.completion.cached_tokens for step in steps),
            "tokens/completion": sum(len(step.completion.ids) for step in steps),
            "tokens/reader": sum(answer.prompt_tokens + answer.completion_tokens for answer in answers),
            "reader/asked_again": sum(episode.asked_again for episode in played),
            **reader_costs(answers),
            **judge_costs(verdicts(played)),
            **agreement(played),
            **meter_figures(played, self.config.rewards.alarms),
        }

    def _counted(self, what: str) -> int:
        """How often `what` was counted by the pool since this was last asked."""
        return self.pool.counts.pop(what, 0)

    def _record(self, row: dict[str, Any], groups: list[Group], seconds: float) -> None:
        if self.config.run.save_episodes and groups:
            self.episode_files.write(self.step, [episode for group in groups for episode in group.episodes])
        row["episodes"] = self.episodes
        # time/ alone may differ between two runs of one seed.
        row |= {"time/step": seconds, **{f"time/{phase}": spent for phase, spent in self._phase_times().items()}}
        self.metrics.append(row)
        self._progress.line(row, self.config.train.steps)
        if self.step % self.config.run.save_every == 0 or self._done():
            self._save(self.step, self._state(), self.learner.save)
            self._prune()
        else:
            self._unsaved = (self.step, self._state(), self.learner.state())

    def _phase_times(self) -> dict[str, float]:
        """Seconds by phase since the last row."""
        spent = {phase: self.wall[phase] - self._reported.get(phase, 0.0) for phase in self.wall}
        self._reported = dict(self.wall)
        return spent

    def _save(self, step: int, state: dict[str, Any], write_learner: Callable[[Path], None]) -> None:
        def write(folder: Path) -> None:
            write_learner(folder / "learner")
            write_json_atomic(folder / "trainer.json", state)
            for rollout in state["rollouts"]["under_way"]:  # they begin again with the adapters they were begun with
                name = adapter_name(rollout["version"])
                shutil.copytree(self.folder / "adapters" / name, folder / "adapters" / name, dirs_exist_ok=True)

        save_checkpoint(self.folder / "checkpoints", step, write, self.config.run.keep_checkpoints)
        self._unsaved = None

    def _save_unsaved(self) -> None:
        """The last finished step, where `run.save_every` had left it out."""
        if self._unsaved is None:
            return
        step, state, learner = self._unsaved
        self._save(step, state, lambda folder: write_bytes_atomic(folder / STATE_FILE, learner))

    def _state(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "rollouts": self.rollouts.state(),
            "episodes": self.episodes,
            "evaluations": [asdict(evaluation) for evaluation in self.evaluations],
            "gates": self.gates,
            "wall": dict(self.wall),
            "seconds": self._seconds(),
            "config": self._identity(),
        }

    def _find_checkpoint(self) -> tuple[Path, dict[str, Any]] | None:
        """The newest good checkpoint's folder and state; None where the run was stopped before it wrote one."""
        root = self.folder / "checkpoints"
        found = find_checkpoint(root)
        if found is None and not list_checkpoints(root):
            log.info("%s has no checkpoint yet: its run begins again", self.folder)
            return None
        if found is None:
            raise CheckpointError(
                f"{self.folder} has no good checkpoint to resume from. Start again under a new name (run.dir=...)."
            )
        path = found[1]
        state: dict[str, Any] = json.loads((path / "trainer.json").read_text(encoding="utf-8"))
        changed = _differences(state["config"], self._identity())
        if changed:
            raise CheckpointError(
                f"{self.folder} was begun with other settings ({'; '.join(changed)}). Resume with the same ones, or "
                "start a new run with another run.dir."
            )
        return path, state

    def _restore(self, path: Path, state: dict[str, Any]) -> None:
        self.learner.load(path / "learner")
        self.step, self.episodes = state["step"], state["episodes"]
        self.rollouts.restore(state["rollouts"], lambda version: self._recover_adapter(path, version))
        self.evaluations = [Evaluation.restore(raw) for raw in state["evaluations"]]
        self.gates = state["gates"]
        for phase, spent in state["wall"].items():
            self.wall[phase] += spent  # on top of what building has taken this time
        self._reported = dict(state["wall"])
        self._before = state["seconds"]
        log.info("going on after step %d of %d in %s", self.step, self.config.train.steps, self.folder)

    def _recover_adapter(self, checkpoint: Path, version: int) -> AdapterRef:
        name = adapter_name(version)
        target = self.folder / "adapters" / name
        if find_damage(target) is not None:
            with new_folder(target) as partial:
                shutil.copytree(checkpoint / "adapters" / name, partial, dirs_exist_ok=True)
        return AdapterRef(version, name, str(target))

    def _cut_off(self) -> None:
        """Remove what was written after the point where this run begins: all of it will be written again."""
        begun = bool(self.evaluations)
        self.metrics.cut(self.step if begun else -1)
        self.episode_files.cut(self.step)
        for folder in (self.folder / "adapters").glob("v*"):
            if folder.name > adapter_name(self.learner.version):
                shutil.rmtree(folder)

    def _identity(self) -> dict[str, Any]:
        """All settings that decide the numbers: not where things are written, who plays or learns, or how failures are
        met."""
        settings = asdict(self.config)
        for section in ("run", "ray", "vllm"):
            settings.pop(section)
        settings["data"].pop("overlap")
        for key in ("workers", "min_group", "retries", "step_timeout", "episode_timeout", "max_failure_rate"):
            settings["rollout"].pop(key)
        for role in ("reader", "judge"):
            endpoint = settings[role].pop("endpoint")
            if settings[role]["type"] == "endpoint":  # whose answers, not where they come from
                settings[role]["endpoint"] = {"model": endpoint["model"]}
        settings["judge"].pop("canary_every")
        for key in ("alarms", "on_alarm"):
            settings["rewards"].pop(key)
        for key in ("processes", "parallel"):
            settings["train"].pop(key)
        return json.loads(json.dumps(settings))

    def _describe(self) -> None:
        save_config(self.config, self.folder / "config.yaml")
        write_text_atomic(self.folder / "command.txt", " ".join(sys.argv) + "\n")
        write_json_atomic(self.folder / "environment.json", environment())

    # The end ----------------------------------------------------------------------------------------------------

    def _finish(self) -> dict[str, Any]:
        before, best, after = self.evaluations[0], self._ranked()[0], self.evaluations[-1]
        summary = {
            "name": self.name,
            "seed": self.config.seed,
            "steps": self.step,
            "episodes": self.episodes,
            "eval": {"before": before.summary(), "best": best.summary(), "after": after.summary()},
            "gates": self.gates,
            "reader": total_costs(self.metrics.rows()),
            "judge": total_costs(self.metrics.rows(), "judge"),
            "wall_seconds": {
                "total": self._seconds(),
                **{k: self.wall[k] for k in ("build", "rollout", "learn", "eval")},
            },
            "adapter": {
                "best": f"adapters/{adapter_name(best.version)}",
                "after": f"adapters/{adapter_name(after.version)}",
            },
            "versions": environment()["packages"],
        }
        write_json_atomic(self.folder / "summary.json", summary)
        draw_curve(self.metrics.rows(), self.folder / "curve.png", f"{self.name}, seed {self.config.seed}")
        self.console.print(final_table(summary, self.folder))
        return summary

    def _seconds(self) -> float:
        return self._before + time.monotonic() - self._began

    @contextmanager
    def _timed(self, phase: str) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        finally:
            self.wall[phase] += time.monotonic() - began


def environment() -> dict[str, Any]:
    """What the run ran on."""
    names = ("memrl", "torch", "transformers", "peft", "trl", "ray", "datasets", "omegaconf", "openai")
    vllm = vllm_version()
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "packages": {name: installed_version(name) for name in names} | ({vllm[0]: vllm[1]} if vllm else {}),
    }


def _differences(old: Any, new: Any, key: str = "") -> list[str]:
    """`train.lr: 0.001 then, 0.01 now`, for every setting that differs."""
    if not isinstance(old, dict) or not isinstance(new, dict):
        return [] if old == new else [f"{key}: {old!r} then, {new!r} now"]
    return [
        line
        for name in sorted(old.keys() | new.keys())
        for line in _differences(old.get(name), new.get(name), f"{key}.{name}".lstrip("."))
    ]
