"""`memrl sft` on the quick model: a warm start for any model and any source."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel

from memrl.cli import main as cli
from memrl.data.feed import StreamFeed
from memrl.engines.models import end_ids, load_model, load_tokenizer
from memrl.engines.prompting import Prompter
from memrl.engines.transformers_engine import TransformersEngine
from memrl.envs.dialects.hermes import HermesDialect
from memrl.envs.sources.synthetic import synthetic
from memrl.envs.wrappers.consolidate import TIDY
from memrl.errors import ConfigError, LearnerError
from memrl.records import Completion, Episode
from memrl.rollout.build import open_worker
from memrl.sft import train as sft_train
from memrl.sft.episodes import best_steps, chosen
from memrl.sft.examples import demonstrations
from memrl.sft.names import training_folder
from memrl.sft.run import warm_start
from memrl.sft.teacher import Carelessness
from memrl.sft.train import Schedule, WarmLearner
from memrl.storage.files import find_damage
from memrl.storage.rundir import EPISODES, EpisodeWriter
from tests.openai_server import OpenAIServer
from tests.shared import SHARED, needs_shared
from tests.support import CONFIG, ROOT, SYNTHETIC, overrides, quiet, small_config

SQUAD = ("data", "squad_cs224n_dev", "dev-v2.0.json.gz")
FEW = {"sft.steps": 3, "sft.batch_size": 4, "sft.streams": 4, "sft.lr": 1e-3}


def weights(model: torch.nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().float().flatten() for parameter in model.parameters()])


def test_the_warm_started_folder_is_a_model_that_a_run_takes(
    quick_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "warm"
    words = overrides(quick_model, tmp_path / "run", {**FEW, "sft.dir": out})
    assert cli.main(["sft", str(ROOT / CONFIG), *words]) == 0
    said = capsys.readouterr().out.replace("\n", "")
    assert f"Use model.path={out}" in said
    assert re.search(r"final loss \d+\.\d+", said), "three steps are fewer than the ten after which the loss is told"
    assert find_damage(out) is None
    config = small_config(out, tmp_path / "run")
    tokenizer, model = load_tokenizer(config.model), load_model(config.model)
    assert tokenizer.chat_template
    assert not torch.equal(weights(model), weights(load_model(small_config(quick_model, tmp_path / "run").model)))
    worker = open_worker(config, TransformersEngine(model, end_ids(config.model, tokenizer)), tokenizer)
    stream = StreamFeed(config.data.train, None, 0).take(1)[0]
    assert worker.prompter.encode([{"role": "user", "content": stream.chunks[0].text}])
    # A second warm start does not write over the first.
    assert cli.main(["sft", str(ROOT / CONFIG), *words]) == 2
    assert f"{out} exists" in capsys.readouterr().err.replace("\n", "")


def trained(quick_model: Path, out: Path, **more: int) -> torch.nn.Module:
    settings = {**FEW, "sft.dir": out, **{f"sft.{key}": value for key, value in more.items()}}
    assert warm_start(small_config(quick_model, out, settings), quiet()) == out
    return load_model(small_config(out, out).model)


def test_a_seed_repeats_to_the_bit(quick_model: Path, tmp_path: Path) -> None:
    one, two = (trained(quick_model, tmp_path / name) for name in ("one", "two"))
    assert torch.equal(weights(one), weights(two))


def test_the_loss_falls_on_unseen_streams(quick_model: Path, tmp_path: Path) -> None:
    config = small_config(quick_model, tmp_path)
    tokenizer = load_tokenizer(config.model)
    prompter = Prompter(tokenizer, HermesDialect())
    shown = list(demonstrations(synthetic(seed=9, count=4), config, prompter, 9, Carelessness()))

    def loss(model: torch.nn.Module) -> float:
        total = []
        with torch.no_grad():
            for example in shown:
                ids = torch.tensor([[*example.prompt_ids, *example.completion_ids]])
                logprobs = torch.log_softmax(model(ids).logits[0, :-1].float(), -1)
                chosen = logprobs.gather(1, ids[0, 1:, None])[len(example.prompt_ids) - 1 :]
                total.append(-float(chosen.mean()))
        return sum(total) / len(total)

    longer = trained(quick_model, tmp_path / "out", steps=30, batch_size=8, streams=20)
    assert loss(longer) < loss(load_model(config.model)) - 0.3


def test_an_adapter_alone(quick_model: Path, tmp_path: Path) -> None:
    out = tmp_path / "adapter"
    config = small_config(quick_model, tmp_path, {**FEW, "sft.dir": out, "sft.lora": "true"})
    warm_start(config, quiet())
    assert not (out / "model.safetensors").exists()
    model = PeftModel.from_pretrained(load_model(config.model), out)
    assert any(parameter.abs().sum() > 0 for name, parameter in model.named_parameters() if "lora_B" in name)


def test_demonstrations_that_do_not_fit_are_an_error(quick_model: Path, tmp_path: Path) -> None:
    config = small_config(quick_model, tmp_path, {**FEW, "sft.dir": tmp_path / "out", "sft.max_length": 10})
    with pytest.raises(LearnerError, match=r"fits 10 tokens. Raise sft.max_length"):
        warm_start(config, quiet())
    assert not (tmp_path / "out").exists()


@needs_shared(*SQUAD)
def test_any_source_will_do(quick_model: Path, tmp_path: Path) -> None:
    source = "[{source: squad, chunks: 2, questions: 2, chunk_tokens: 100}]"
    changes = {
        **FEW,
        "sft.dir": tmp_path / "out",
        "sft.streams": 2,
        "sft.batch_size": 2,
        "data.path": SHARED.joinpath(*SQUAD),
        "data.train": source,
        "data.eval": SYNTHETIC,
        "rollout.max_prompt_tokens": 1024,
    }
    out = warm_start(small_config(quick_model, tmp_path, changes), quiet())
    load_model(small_config(out, tmp_path).model)


def stopped_after(steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let warm starts be interrupted when so many steps are taken."""
    step = WarmLearner.step

    def interrupted(learner: WarmLearner, examples: Any) -> sft_train.StepFigures:
        if learner.step_number == steps:
            raise KeyboardInterrupt
        return step(learner, examples)

    monkeypatch.setattr(WarmLearner, "step", interrupted)


@pytest.mark.parametrize("lora", ["false", "true"])
def test_a_warm_start_that_was_stopped_and_resumed_equals_one_that_was_not(
    lora: str, quick_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = {**FEW, "sft.steps": 5, "sft.save_every": 2, "sft.lora": lora}
    configs = [
        small_config(quick_model, tmp_path, {**changes, "sft.dir": tmp_path / name}) for name in ("whole", "parts")
    ]
    warm_start(configs[0], quiet())
    with monkeypatch.context() as patch:
        stopped_after(3, patch)
        with pytest.raises(KeyboardInterrupt):
            warm_start(configs[1], quiet())
    assert not (tmp_path / "parts").exists()
    with pytest.raises(ConfigError, match=r"holds a warm start that was stopped. Go on with it by --resume"):
        warm_start(configs[1], quiet())
    other = small_config(quick_model, tmp_path, {**changes, "sft.dir": tmp_path / "parts", "sft.lr": 1e-4})
    with pytest.raises(ConfigError, match=r"other settings \(sft.lr: 0.001 then, 0.0001 now\)"):
        warm_start(other, quiet(), resume=True)
    warm_start(configs[1], quiet(), resume=True)
    one, two = ({file.name: file.read_bytes() for file in (tmp_path / name).iterdir()} for name in ("whole", "parts"))
    assert one == two
    assert not training_folder(tmp_path / "parts").exists()
    assert warm_start(configs[1], quiet(), resume=True) == tmp_path / "parts", "what is finished is left as it is"


def test_losses_are_told_from_the_first_step(quick_model: Path, tmp_path: Path) -> None:
    console = quiet()
    warm_start(small_config(quick_model, tmp_path, {**FEW, "sft.dir": tmp_path / "out"}), console)
    told = console.file.getvalue()  # type: ignore[attr-defined]
    assert re.search(r"step +1/3  loss \d\.\d+ .*tokens/s .*min left", told)
    rows = [json.loads(line) for line in (tmp_path / "out" / "sft.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2, 3]
    assert all(row["loss"] > 0 and row["grad_norm"] > 0 for row in rows)


def test_nothing_to_resume_is_said(quick_model: Path, tmp_path: Path) -> None:
    config = small_config(quick_model, tmp_path, {**FEW, "sft.dir": tmp_path / "out"})
    with pytest.raises(ConfigError, match="nothing to resume"):
        warm_start(config, quiet(), resume=True)


def test_updates_too_small_for_bfloat16_are_not_lost(quick_model: Path, tmp_path: Path) -> None:
    config = small_config(quick_model, tmp_path, {"model.dtype": "bfloat16"})
    prompter = Prompter(load_tokenizer(config.model), HermesDialect())
    shown = list(demonstrations(synthetic(seed=9, count=1), config, prompter, 9, Carelessness()))
    learner = WarmLearner(load_model(config.model), steps=100, lr=1e-5, micro_batch_tokens=4096)
    schedule = Schedule(shown, 4, seed=0)
    before = {name: master.detach().clone() for name, master in learner._masters.items()}
    for step in range(3):
        learner.step(schedule.batch(step))
    moved = torch.cat([(learner._masters[name] != was).flatten() for name, was in before.items()])
    seen = torch.cat([(learner._used[name].float() != was).flatten() for name, was in before.items()])
    assert moved.float().mean() > 2 * seen.float().mean(), "the masters keep what bfloat16 rounds away"
    assert next(iter(learner._used.values())).dtype == torch.bfloat16


def test_the_gradient_is_the_same_however_many_passes_it_takes(quick_model: Path, tmp_path: Path) -> None:
    config = small_config(quick_model, tmp_path)
    prompter = Prompter(load_tokenizer(config.model), HermesDialect())
    shown = list(demonstrations(synthetic(seed=9, count=2), config, prompter, 9, Carelessness()))[:8]
    figures = [
        WarmLearner(load_model(config.model), steps=10, lr=1e-4, micro_batch_tokens=tokens).step(shown)
        for tokens in (100_000, 1)
    ]
    assert figures[0].loss == pytest.approx(figures[1].loss, rel=1e-5)
    assert figures[0].grad_norm == pytest.approx(figures[1].grad_norm, rel=1e-4)


def test_an_endpoint_teaches_what_the_memory_takes_and_the_text_says(quick_model: Path, tmp_path: Path) -> None:
    def chat(messages: list[dict[str, str]]) -> str:
        text = messages[-1]["content"].rpartition("\n")[2]
        first = text.partition(". ")[0].rstrip(".") + "."
        calls = [
            {"name": "memory_insert", "arguments": {"memory_type": "semantic", "content": first}},
            {"name": "memory_insert", "arguments": {"memory_type": "semantic", "content": "Zorro rides to Quito."}},
            {"name": "memory_delete", "arguments": {"memory_id": "sem_0999"}},
        ]
        return "\n".join(f"<tool_call>\n{json.dumps(call)}\n</tool_call>" for call in calls)

    console, server = quiet(), OpenAIServer(chat=chat)
    changes = {
        **FEW,
        "sft.dir": tmp_path / "out",
        "sft.teacher": "endpoint",
        "sft.answers": "false",
        "sft.streams": 2,
        "sft.endpoint.url": server.url,
        "sft.endpoint.model": server.model,
        "rollout.max_completion_tokens": 96,
    }
    try:
        warm_start(small_config(quick_model, tmp_path / "run", changes), console)
    finally:
        server.stop()
    told = " ".join(console.file.getvalue().split())  # type: ignore[attr-defined]
    assert "is asked 4 times: at most" in told, "the cost is said before"
    assert "4 demonstrations" in told
    assert "4 calls left out: unknown_id" in told and "4 calls left out: no chunk says it" in told, told


def test_an_endpoint_is_asked_to_tidy_too(quick_model: Path, tmp_path: Path) -> None:
    asked: list[str] = []

    def chat(messages: list[dict[str, str]]) -> str:
        asked.append(messages[-1]["content"])
        return "none"

    server = OpenAIServer(chat=chat)
    changes = {
        **FEW,
        "sft.dir": tmp_path / "out",
        "sft.teacher": "endpoint",
        "sft.answers": "false",
        "sft.streams": 1,
        "sft.endpoint.url": server.url,
        "sft.endpoint.model": server.model,
        "memory.wrappers": "[consolidate]",
    }
    console = quiet()
    try:
        warm_start(small_config(quick_model, tmp_path / "run", changes), console)
    finally:
        server.stop()
    told = " ".join(console.file.getvalue().split())  # type: ignore[attr-defined]
    assert f"is asked {len(asked)} times" in told and sum(TIDY in text for text in asked) == 1


def group_of(totals: list[float], prompter: Prompter, stream: str = "s") -> list[Episode]:
    """Episodes of one group, each of one step, that were paid so much."""
    episodes = []
    for index, total in enumerate(totals):
        ids = [*prompter.tokenizer.encode(f"none {index}", add_special_tokens=False), prompter.end_id]
        step = {
            "chunk": 0,
            "prompt_ids": prompter.encode([{"role": "user", "content": "Ann lives in Rome."}]),
            "completion": Completion(ids=ids, logprobs=[0.0] * len(ids), stop="stop", version=0),
            "text": prompter.decode(ids),
            "results": [],
            "diff": [],
            "memory_tokens": 0,
        }
        record = {"stream_id": stream, "source": "synthetic", "index": index, "version": 0, "seed": 0, "steps": [step]}
        rest = {"answers": [], "memory": {"items": []}, "chunk_tokens": 9, "memory_tokens": 0, "total": total}
        episodes.append(Episode.model_validate({**record, **rest}))
    return episodes


def test_the_best_episodes_of_a_run_are_shown_again(
    quick_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prompter = Prompter(load_tokenizer(small_config(quick_model, tmp_path).model), HermesDialect())
    run = tmp_path / "run"
    group = group_of([0.2, 0.9, 0.5, 0.9], prompter)
    assert [episode.index for episode in chosen(group, 0.25)] == [1]
    assert [episode.index for episode in chosen(group, 1.0)] == [1, 3], "none that was paid below the mean"
    assert chosen(group_of([0.5, 0.5], prompter), 0.5) == [], "who is paid as the others is no example"
    EpisodeWriter(run / EPISODES).write(1, [*group, *group_of([0.1, 0.3], prompter, "t")])
    shown = list(best_steps(run, 0.25, prompter))
    assert [prompter.decode(one.completion_ids).strip() for one in shown] == ["none 1", "none 1"]
    words = overrides(quick_model, tmp_path / "other", {**FEW, "sft.dir": tmp_path / "again"})
    command = ["sft", str(ROOT / CONFIG), "--from", str(run), "--best", "0.25", *words]
    assert cli.main([*command, "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["demonstrations"] == 2
    assert cli.main(command) == 0
    assert "2 demonstrations" in capsys.readouterr().out
    assert cli.main(["sft", str(ROOT / CONFIG), "--best", "0.25", *words]) == 2
    assert "name the run by --from RUN" in capsys.readouterr().err


def test_a_dry_run_shows_what_the_teacher_shows(
    quick_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = overrides(quick_model, tmp_path / "run", {**FEW, "sft.teacher": "words", "sft.dir": tmp_path / "out"})
    assert cli.main(["sft", str(ROOT / CONFIG), *words, "--dry-run"]) == 0
    told = capsys.readouterr().out
    assert "turn ends by" in told and "tokens at most" in told and "memory_insert" in told
    assert not (tmp_path / "out").exists() and not training_folder(tmp_path / "out").exists()
