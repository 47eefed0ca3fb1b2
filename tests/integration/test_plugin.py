"""Other people's parts in a run: the example package from outside the repository, and the doors it leaves shut."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from memrl.training.trainer import Trainer
from tests.support import ROOT, quiet, rows, small_config

THEIRS = """
from memrl.engines.build import open_transformers
from memrl.envs.designs import MemoryItem, MemoryView
from memrl.envs.dialects.hermes import HermesDialect
from memrl.envs.tools import ResultCode, ToolCall, ToolResult, ToolSchema
from memrl.frozen.reader import Answer

NOTE = ToolSchema("note", "Keep a line.", {"text": {"type": "string"}}, ("text",))
used = []

class Notes:
    tools = (NOTE,)
    example = ("Ada lives in Rome.", (ToolCall(name="note", arguments={"text": "Ada lives in Rome."}),))
    def __init__(self, budget, core_budget, count):
        self.budget, self.count, self.lines = budget, count, []
        used.append("design")
    def execute(self, call, *, time=None):
        if call.error or call.name != "note" or not isinstance(call.arguments.get("text"), str):
            return ToolResult(name=call.name, code=call.error or ResultCode.UNKNOWN_TOOL)
        self.lines.append(call.arguments["text"])
        return ToolResult(name="note", code=ResultCode.OK, item_id=str(len(self.lines)), store="notes",
                          content=self.lines[-1])
    @property
    def items(self):
        return tuple(MemoryItem(str(n), "notes", line, None, n) for n, line in enumerate(self.lines, start=1))
    def get(self, item_id):
        return next((item for item in self.items if item.id == item_id), None)
    def relevant(self, text, budget=None):
        return iter(self.items)
    def keep(self, sentence, *, event=False, instead_of=None):
        return [ToolCall(name="note", arguments={"text": sentence})]
    def drop(self, item):
        return []
    def render(self, chunk, budget):
        return MemoryView((), len(self.lines))
    def retrieve(self, question, budget):
        items = self.items[:1]
        return MemoryView(items, len(self.lines) - len(items), items[0] if items else None)
    def snapshot(self):
        return {"design": "notes", "version": 1, "items": [dict(vars(item)) for item in self.items]}
    def restore(self, state):
        self.lines = [item["content"] for item in state["items"]]
    def token_count(self):
        return sum(map(self.count, self.lines))

class Dialect(HermesDialect):
    def parse(self, text, *, truncated=False):
        used.append("dialect")
        calls = super().parse(text, truncated=truncated)
        return [ToolCall(name="note", arguments={"text": text[:20] or "-"})] if len(text) % 2 else calls

def engine(config, ends, keep):
    used.append("engine")
    return open_transformers(config, ends, keep)

class Reader:
    def __init__(self, setting):
        self.budget = setting.retrieve_budget
    async def answer(self, question, memory, *, place):
        view = memory.retrieve(question.text, self.budget)
        return Answer(question.answers[0] if view.items else "unknown", tuple(item.id for item in view.items))
    async def close(self):
        used.append("closed")

class Tracker:
    def __init__(self, run):
        used.append(("run", run.name, run.step, run.settings["seed"]))
    def row(self, row):
        used.append(("row", row["step"]))
    def end(self, summary):
        used.append(("end", summary["steps"]))
"""


def test_a_run_by_somebody_elses_design_dialect_engine_reader_and_tracker(
    quick_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "their_doors.py").write_text(THEIRS)
    monkeypatch.syspath_prepend(tmp_path)
    doors = {
        "memory.design": "their_doors:Notes",
        "rollout.dialect": "their_doors:Dialect",
        "rollout.engine": "their_doors:engine",
        "reader.type": "their_doors:Reader",
        "run.trackers": "['their_doors:Tracker']",
        "rollout.max_prompt_tokens": 320,
    }
    config = small_config(quick_model, tmp_path / "run", {**doors, "train.steps": 1, "eval.every": 0})
    Trainer(config, name="theirs", resume=False, console=quiet()).run()
    _, row = rows(tmp_path / "run")
    assert 0.0 < row["tools/ok"] <= 1.0
    assert row["reward/qa"] > 0.0 and row["learner/updates"] == 2
    from their_doors import used  # type: ignore[import-not-found]

    told = [entry for entry in used if isinstance(entry, tuple)]
    assert told == [("run", "theirs", 0, 0), ("row", 0), ("row", 1), ("end", 1)]
    assert {entry for entry in used if isinstance(entry, str)} == {"design", "dialect", "engine", "closed"}


SERVED = """
import sys
from starlette.testclient import TestClient
from memrl import MemoryAgent
from memrl.serve.app import create_app
from memrl.serve.limits import Limits
with MemoryAgent.open(sys.argv[1], store=sys.argv[2], device="cpu") as agent:
    limits = Limits(per_minute=10**9)
    with TestClient(create_app(agent, limits=limits), base_url="http://127.0.0.1") as client:
        written = {"operations": [{"name": "memory_write", "arguments": {"content": "Ann sang."}}], "time": "May 2"}
        assert client.post("/v1/users/ann/memory/operations", json=written).status_code == 200
        [item] = client.get("/v1/users/ann/memory").json()["items"]
    print(f"{item['id']} ({item['time']}): {item['content']}")
"""


@pytest.mark.slow
def test_a_package_brings_its_own_source_design_part_credit_loss_and_tracker(tmp_path: Path) -> None:
    source, installed, elsewhere = tmp_path / "source", tmp_path / "installed", tmp_path / "elsewhere"
    shutil.copytree(ROOT / "examples" / "plugin", source)  # building leaves a folder there
    elsewhere.mkdir()
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--target"]
    subprocess.run([*pip, installed, source], check=True, timeout=300)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(installed)]),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
    }

    def memrl(*words: str) -> str:
        command = [sys.executable, "-m", "memrl.cli", *words]
        done = subprocess.run(command, cwd=elsewhere, env=environment, text=True, capture_output=True, timeout=300)
        assert done.returncode == 0, done.stderr
        return done.stdout

    found = [row for row in json.loads(memrl("plugins", "--json")) if row["distribution"] == "memrl-moves 0.1.0"]
    assert {row["kind"]: row["name"] for row in found} == {
        "source": "moves",
        "memory design": "diary",
        "reward part": "brevity",
        "credit mode": "leave_one_out",
        "loss": "reinforce",
        "tracker": "csv",
    }
    assert all(row["ok"] for row in found)

    memrl("train", str(source / "moves.yaml"))
    run = elsewhere / "runs" / "moves"
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [0, 1, 2]
    assert all(0.0 < row["reward/brevity"] < 1.0 for row in rows[1:])
    assert any(row["loss/grad_norm"] > 0.0 for row in rows[1:])
    assert all(row["loss/clip_fraction"] == 0.0 for row in rows[1:])
    with (run / "metrics.csv").open() as file:
        tracked = list(csv.DictReader(file))
    assert [float(row["reward/qa"] or -1) for row in tracked] == [row.get("reward/qa", -1) for row in rows]
    memrl("rescore", str(run), "rewards.weights.brevity=1.0")

    memrl("export", str(run), "--out", str(elsewhere / "exported"))
    told = json.loads((elsewhere / "exported" / "memory_agent.json").read_text())
    assert told["memory"]["design"] == "diary" and "memory_write" in told["tools"]
    served = [sys.executable, "-c", SERVED, str(elsewhere / "exported"), str(elsewhere / "memory.sqlite")]
    done = subprocess.run(served, cwd=elsewhere, env=environment, text=True, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "day_0001 (May 2): Ann sang."
