"""Fixtures of all tests. Heavy imports wait until a fixture is asked for: most unit tests need none of them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from memrl.engines.vllm_thread import VllmThread
    from tests.support import Outcomes

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# The models are small and the processes many: threads that wait for each other's cores cost minutes.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Where tests run two at a time the width of a terminal is set, which messages would be broken to.
os.environ.pop("COLUMNS", None)


@pytest.fixture(scope="session")
def quick_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real model folder from a few steps of the tiny model's recipe. It has learned nothing."""
    from memrl.tiny.recipe import build_model
    from tests.support import quiet

    return build_model(tmp_path_factory.mktemp("quick") / "model", quick=True, console=quiet())


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small embedding model of random weights."""
    from tests.encoders import save_encoder

    return save_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="session")
def cross_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small cross-encoder of random weights."""
    from tests.encoders import save_encoder

    return save_encoder(tmp_path_factory.mktemp("cross-encoder"), classes=1, seed=1)


@pytest.fixture(scope="session")
def exported_policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `adapter` and `merged`: the embedded model after one step of training, exported."""
    from memrl.config import load_config
    from memrl.export import export
    from memrl.training.trainer import Trainer
    from tests.support import quiet

    folder = tmp_path_factory.mktemp("agent")
    words = {
        "run.dir": folder / "run", "model.device": "cpu", "train.steps": 1, "train.group_size": 4,
        "train.streams_per_step": 2, "eval.streams": 2, "eval.every": 0, "reader.type": "lexical",
    }  # fmt: skip
    config = load_config("tiny", [f"{key}={value}" for key, value in words.items()])
    Trainer(config, name="agent", resume=False, console=quiet()).run()
    export(folder / "run", folder / "adapter")
    export(folder / "run", folder / "merged", format="merged")
    return folder


@pytest.fixture(scope="module")
def outcomes(request: pytest.FixtureRequest) -> Iterator[Outcomes]:
    """The rows of docs/reliability.md that the module's tests stand for; a test adds its own when it has passed."""
    from tests.support import reliability_table

    with reliability_table(request.path) as found:
        yield found


@pytest.fixture(scope="session")
def plain_model(quick_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The quick model without biases in its attention, as published Qwen3 models are: vLLM leaves some of them out."""
    from transformers import AutoConfig, AutoModelForCausalLM

    folder = tmp_path_factory.mktemp("plain") / "model"
    shutil.copytree(quick_model, folder)
    config = AutoConfig.from_pretrained(quick_model)
    config.attention_bias = False
    model = AutoModelForCausalLM.from_config(config)
    biased = AutoModelForCausalLM.from_pretrained(quick_model)
    model.load_state_dict({name: tensor for name, tensor in biased.state_dict().items() if "bias" not in name})
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def plain_vllm(plain_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VllmThread]:
    """One vLLM on the plain model for all tests: it takes half a minute to start."""
    from memrl.engines.vllm_thread import start_vllm
    from tests.support import small_config

    limits = {
        "rollout.engine": "vllm",
        "rollout.max_prompt_tokens": 2000,
        "rollout.max_completion_tokens": 48,
        "vllm.enforce_eager": True,
    }
    config = small_config(plain_model, tmp_path_factory.mktemp("vllm"), limits)
    vllm = start_vllm(
        model=config.model, rollout=config.rollout, reader=config.reader, vllm=config.vllm, keep_versions=2
    )
    yield vllm
    vllm.close()
