"""Export: what comes out is what was trained, in both formats, or nothing comes out."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

import memrl.export.formats
from memrl import cli
from memrl.export import AGENT_FILE
from memrl.files import find_damage
from memrl.models import load_model
from memrl.trainer import Trainer
from tests.support import ROOT, quiet, rows, small_config


@pytest.fixture(scope="module")
def finished(quick_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished") / "run"
    settings = {"train.lr": 1e-2, "train.schedule": "constant", "train.warmup_steps": 0, "eval.every": 1}
    Trainer(small_config(quick_model, folder, settings), name="small", resume=False, console=quiet()).run()
    return folder


def exported(words: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    code = cli.main(["export", *words])
    shown = capsys.readouterr()
    return code, " ".join((shown.out + shown.err).split())


def test_both_formats_are_the_trained_policy(
    finished: Path, quick_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = torch.tensor([[1, 30, 40, 50, 60, 70]])
    base = load_model(small_config(quick_model, tmp_path))(ids).logits
    trained = PeftModel.from_pretrained(
        load_model(small_config(quick_model, tmp_path)), str(finished / "adapters" / "v00003")
    )(ids).logits
    assert (base - trained).abs().max() > 1e-3
    for format in ("adapter", "merged"):
        out = tmp_path / format
        code, said = exported([str(finished), "--out", str(out), "--format", format, "--adapter", "last"], capsys)
        assert code == 0, said
        assert "checked" in said
        assert find_damage(out) is None
        described = json.loads((out / AGENT_FILE).read_text())
        assert (described["adapter"], described["dialect"], described["format"]) == ("v00003", "hermes", format)
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged", dtype=torch.float32)
    assert torch.allclose(merged(ids).logits, trained, atol=1e-4)
    assert AutoTokenizer.from_pretrained(tmp_path / "merged").chat_template
    adapted = PeftModel.from_pretrained(load_model(small_config(quick_model, tmp_path)), str(tmp_path / "adapter"))
    assert torch.equal(adapted(ids).logits, trained)


def test_the_best_one_is_the_default(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scored = rows(finished)
    best = max(scored, key=lambda row: (row["eval/qa"], -row["step"]))
    assert exported([str(finished), "--out", str(tmp_path / "out")], capsys)[0] == 0
    described = json.loads((tmp_path / "out" / AGENT_FILE).read_text())
    assert described["adapter"] == f"v{int(best.get('learner/version', 0)):05d}"


def test_what_cannot_be_exported_is_said_and_nothing_is_left(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    code, said = exported([str(tmp_path / "nowhere"), "--out", str(out)], capsys)
    assert (code, "is no run folder" in said) == (2, True)
    code, said = exported([str(finished), "--out", str(out), "--adapter", "v00077"], capsys)
    assert (code, "has no adapter v00077; it has v00000" in said) == (2, True)
    broken = tmp_path / "broken"
    shutil.copytree(finished, broken, symlinks=True)
    weights = broken / "adapters" / "v00003" / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    code, said = exported([str(broken), "--out", str(out), "--adapter", "last"], capsys)
    assert (code, "is damaged: adapter_model.safetensors is not what was written" in said) == (1, True)
    load = memrl.export.formats.merge

    def spoilt(*arguments: object) -> torch.nn.Module:
        model: torch.nn.Module = load(*arguments)  # type: ignore[arg-type]
        with torch.no_grad():
            next(model.parameters()).mul_(1.5)
        return model

    monkeypatch.setattr(memrl.export.formats, "merge", spoilt)
    code, said = exported([str(finished), "--out", str(out), "--format", "merged"], capsys)
    assert (code, "is not the trained policy" in said) == (1, True)
    assert not out.exists()
    out.mkdir()
    code, said = exported([str(finished), "--out", str(out)], capsys)
    assert (code, "exists already" in said) == (2, True)


def test_the_launch_script_writes_both(finished: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [ROOT / "launch" / "export.sh", finished, tmp_path / "out", "--adapter", "last"],
        env={"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr
    assert find_damage(tmp_path / "out" / "adapter") is None
    assert find_damage(tmp_path / "out" / "merged") is None
