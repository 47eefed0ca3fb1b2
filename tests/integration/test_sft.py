"""`memrl sft` on the quick model: a warm start for any model and any source."""

from __future__ import annotations

import re
from pathlib import Path

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
from memrl.errors import LearnerError
from memrl.rollout.build import open_worker
from memrl.sft.examples import demonstrations
from memrl.sft.run import warm_start
from memrl.sft.teacher import Carelessness
from memrl.storage.files import find_damage
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
