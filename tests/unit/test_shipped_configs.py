"""The shipped configurations, as they are: with their data, and with models of their true shapes without weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from memrl.cli.main import main
from memrl.config import check_config, load_config
from memrl.config.shipped import TINY
from memrl.data.feed import check_data
from memrl.data.reach import out_of_reach
from memrl.training.cost import KNOWN_SHAPES, model_shape
from memrl.training.footprint import CARDS, footprint, lacking
from tests.raw import banking77, memalpha, squad
from tests.support import ROOT

SHIPPED = sorted(path.stem for path in (ROOT / "configs").glob("*.yaml"))
ON_GPUS = [name for name in SHIPPED if load_config(name, check=False).model.device == "cuda"]
ON_MEMALPHA = [
    name for name in ON_GPUS if any(spec["source"] == "memalpha" for spec in load_config(name, check=False).data.train)
]
BUILT = {
    "squad": ["chunk_tokens=20", "chunks=2", "questions=8", "metric=substring", "eval_share=0.5"],
    "banking77": ["chunk_tokens=60", "chunks=2", "questions=4"],
}
"""The sets that `mix` says how to build."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to run in, where the hub does not answer."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def data_of(name: str, folder: Path) -> list[str]:
    """Make what a config reads; returns the settings that say where it is."""
    config = load_config(name, check=False)
    sources = {spec["source"] for spec in (*config.data.train, *config.data.eval)}
    made = folder / "made"
    made.mkdir()
    if "memalpha" in sources:
        memalpha.write(made)
        return [f"data.path={made}"]
    if "squad" in sources:
        found = squad.write(made, titles=[f"Town{number}" for number in range(12)])
        return [f"data.path={found if found.is_file() else next(found.iterdir())}"]
    if "jsonl" in sources:
        for each, module in (("squad", squad), ("banking77", banking77)):
            (made / each).mkdir()
            module.write(made / each)
            assert main(["data", "build", each, "--from", str(made / each), "--out", "data", *BUILT[each]]) == 0
    return []


@pytest.mark.long
@pytest.mark.parametrize("name", SHIPPED)
def test_it_is_sound_and_its_data_is_read(name: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = data_of(name, folder)
    config = load_config(name, where, check=False)
    assert check_config(config, machine=False) == []
    check_data(config.data, config.seed)
    capsys.readouterr()
    assert main(["train", name, *where, "--dry-run", "run.dir=run"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    found = json.loads((folder / "run" / "estimate.json").read_text())
    assert found["data"]["streams_measured"] > 0
    assert found["model"]["learner_gib"] > 0
    if name in ON_GPUS:
        assert "rollout.engine is vllm, which is not installed here" in shown or config.rollout.workers
        assert f"the tokenizer of {config.model.path} is not on this disk" in shown
        assert {card["card"] for card in found["cards"]} == {card.name for card in CARDS}


@pytest.mark.parametrize("name", ON_MEMALPHA)
def test_without_its_data_the_dry_run_counts_by_published_figures(
    name: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert out_of_reach(load_config(name, check=False).data) == ["YuWangX/Memalpha"]
    assert main(["train", name, "--dry-run", "run.dir=run"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "estimate from the published figures of YuWangX/Memalpha" in shown
    assert "not checked: the data: YuWangX/Memalpha is not on this disk, and the hub does not answer" in shown
    estimate = json.loads((folder / "run" / "estimate.json").read_text())
    assert estimate["data"]["chunks_per_stream"] == 10.7
    assert any("the data: YuWangX/Memalpha" in line for line in estimate["not_checked"])


def test_what_is_on_this_disk_is_in_reach(folder: Path) -> None:
    made = folder / "set"
    made.mkdir()
    memalpha.write(made)
    assert out_of_reach(load_config("qwen3-4b", [f"data.path={made}"], check=False).data) == []
    assert out_of_reach(load_config("tiny", check=False).data) == []
    (folder / "hub" / "hub" / "datasets--YuWangX--Memalpha").mkdir(parents=True)
    assert out_of_reach(load_config("qwen3-4b", check=False).data) == []


@pytest.mark.parametrize(
    ("name", "gib"),
    [("qwen3-4b", 79.0), ("qwen3-4b-8gpu", 79.0), *((name, 22.0) for name in ("qwen3-1.7b-24gb", "qwen3-0.6b"))],
)
def test_it_fits_on_the_card_that_it_is_for(name: str, gib: float) -> None:
    config = load_config(name, check=False)
    shape = model_shape(config.model.path)
    assert shape is not None
    assert lacking(config, footprint(config, shape), gib, "it") == []
    assert lacking(config, footprint(config, shape), gib / 10, "it") != []


def test_each_setting_that_differs_from_the_reference_has_its_reason() -> None:
    """What Mem-α's paper and scripts set, and what stands beside it."""
    text = (ROOT / "configs" / "qwen3-4b.yaml").read_text(encoding="utf-8")
    config = load_config("qwen3-4b", check=False)
    assert (config.train.group_size, config.train.streams_per_step, config.rollout.temperature) == (8, 32, 1.0)
    assert (config.rollout.max_prompt_tokens, config.rollout.max_completion_tokens) == (6144, 2048)
    assert (config.rewards.preset, config.rewards.content, config.advantage.mode) == ("memalpha", "judge", "pooled")
    assert config.train.updates_per_step > 1
    for setting in ("budget:", "type: policy-base", "clip_high:", "kl:", "lr:", "lora:", "updates_per_step:"):
        lines = [line for line in text.splitlines() if line.strip().startswith(setting)]
        assert lines
        assert all("  # " in line for line in lines), setting


@pytest.mark.long
@pytest.mark.parametrize("name", KNOWN_SHAPES)
def test_a_model_of_its_true_shape_takes_the_adapter_and_is_as_large_as_estimated(name: str) -> None:
    from memrl.learner.outline import check_outline, outline

    [config] = [c for each in SHIPPED if (c := load_config(each, check=False)).model.path.lower().endswith(name)][:1]
    shape = model_shape(config.model.path)
    assert shape is not None
    found = footprint(config, shape)
    model = outline(config.model, shape)
    assert model.device.type == "meta"
    assert model.num_parameters() == pytest.approx(found.parameters, rel=1e-4)
    assert check_outline(config.model, shape, config.rollout.engine) == found.lora_parameters


@pytest.mark.long
@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        ("model.lora.target_modules=q_proj,lm_head", "lm_head.*cannot load|shares with its input embeddings"),
        ("model.lora.target_modules=q_prj", "model.lora cannot be applied to Qwen3ForCausalLM"),
    ],
)
def test_a_dry_run_refuses_an_adapter_that_does_not_fit_before_weights_are_there(
    setting: str, complaint: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import re

    assert main(["train", "debug-1gpu", "--dry-run", "rollout.engine=transformers", "vllm.sleep=false", setting]) == 2
    assert re.search(complaint, " ".join(capsys.readouterr().err.split()))


def test_every_model_of_a_shipped_config_is_known_without_its_weights() -> None:
    for name in SHIPPED:
        path = load_config(name, check=False).model.path
        assert path == TINY or model_shape(path) is not None
