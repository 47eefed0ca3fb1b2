"""`memrl doctor`: what it sees is so, and what it says would not run does not."""

from __future__ import annotations

import json
from importlib.metadata import version
from typing import Any

import pytest

import memrl.cli.doctor
import memrl.config.check
from memrl.cli import main as cli
from memrl.cli.doctor import Package, examine


def asked(words: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, Any]:
    code = cli.main(["doctor", *words, "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_the_default_runs_wherever_the_tests_run(capsys: pytest.CaptureFixture[str]) -> None:
    code, found = asked(["tiny"], capsys)
    assert code == 0
    assert [(each["config"], each["runs"], each["missing"]) for each in found["verdicts"]] == [("tiny", True, [])]
    packages = {package["name"]: package for package in found["packages"]}
    assert packages["torch"]["installed"] == version("torch")
    assert packages["ray"]["fits"]
    assert found["memory_gib"] > 1
    assert found["cluster"] is None


@pytest.mark.long
def test_all_shipped_configs_are_judged_and_tables_name_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in ("tiny", "qwen3-4b", "debug-1gpu", "transformers", "CPUs"))


def test_what_is_missing_is_said_with_the_remedy(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, found = asked(["squad-smollm2-cpu", "data.path=/nowhere.json", "rollout.max_batch=1000000"], capsys)
    assert code == 2
    [verdict] = found["verdicts"]
    assert not verdict["runs"]
    assert any("/nowhere.json does not exist" in line for line in verdict["missing"])
    monkeypatch.setattr(memrl.cli.doctor, "_packages", lambda: [Package("peft", ">=0.21", "0.1", False)])
    monkeypatch.setattr(memrl.cli.doctor, "_gpus", lambda: [])
    [verdict] = examine("debug-1gpu").verdicts
    assert verdict.missing[0] == "peft >=0.21 is wanted, 0.1 is installed"
    assert "model.device is cuda, and no GPU is visible here" in verdict.missing


@pytest.mark.long
def test_an_address_where_no_cluster_is_is_said_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor", "tiny", "--address", "127.0.0.1:1"]) == 1
    assert "no Ray cluster can be reached at ray.address='127.0.0.1:1'" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("gib", "changes", "complaint"),
    [
        (24.0, ["rollout.engine=transformers", "vllm.sleep=false"], None),
        (1.0, ["rollout.engine=transformers", "vllm.sleep=false"], "has 1.0: lower rollout.max_batch"),
        (24.0, [], None),
        (8.0, ["vllm.sleep=false"], "beside vLLM 3.2 of the largest GPU are left: set vllm.sleep=true"),
        (1.0, [], "vLLM's share of the largest GPU is 0.6 GiB, the weights alone are 1.1: raise vllm."),
    ],
)
def test_a_gpu_that_is_too_small_is_named(
    monkeypatch: pytest.MonkeyPatch, gib: float, changes: list[str], complaint: str | None
) -> None:
    monkeypatch.setattr(memrl.cli.doctor, "_gpus", lambda: [{"name": "card", "memory_gib": gib, "free_gib": gib}])
    monkeypatch.setattr(memrl.config.check, "find_spec", lambda name: object())
    [verdict] = examine("debug-1gpu", changes).verdicts
    assert verdict.runs == (complaint is None)
    assert complaint is None or complaint in verdict.missing[0]


def test_what_vllm_wants_of_the_same_packages_counts_too(monkeypatch: pytest.MonkeyPatch) -> None:
    requirements = memrl.cli.doctor.requires
    monkeypatch.setattr(memrl.cli.doctor, "vllm_version", lambda: ("vllm", "0.40.0"))
    monkeypatch.setattr(
        memrl.cli.doctor, "requires", lambda name: ["transformers<5"] if name == "vllm" else requirements(name)
    )
    lacking = {package.name: package.wanted for package in examine("tiny").packages if not package.fits}
    assert set(lacking) == {"transformers", "vllm"}
    assert "<5" in lacking["transformers"].split(",")


@pytest.mark.long
def test_learner_processes_are_counted_with_the_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = {"resources": {"CPU": 4.0, "GPU": 2.0}}
    monkeypatch.setattr(memrl.cli.doctor, "_cluster", lambda _: cluster)
    words = ["rollout.workers=2", "train.processes=2", "ray.worker_gpus=1", "ray.learner_gpus=1", "model.device=auto"]
    [verdict] = examine("tiny", words, "auto").verdicts
    assert verdict.missing == [
        "2 workers and 2 learner processes want 4 GPU, the cluster has 2: lower rollout.workers, ray.worker_gpus, "
        "train.processes or ray.learner_gpus"
    ]
    [verdict] = examine("tiny", ["train.processes=5"], "auto").verdicts
    assert "5 learner processes want 5 CPU, the cluster has 4: lower train.processes or" in verdict.missing[0]
    assert examine("tiny", ["train.processes=4"], "auto").verdicts[0].missing == []
