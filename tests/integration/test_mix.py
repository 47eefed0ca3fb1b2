"""Training on a mix of three sets, two of them built from raw files, from the shipped YAML alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from memrl.cli.main import main
from memrl.storage.rundir import EpisodeWriter
from tests.raw import banking77, squad
from tests.support import ROOT, rows

BUILD = {
    "squad": ["chunk_tokens=20", "chunks=2", "questions=8", "metric=substring", "eval_share=0.5"],
    "banking77": ["chunk_tokens=60", "chunks=2", "questions=4"],
}


def test_a_run_on_three_sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, module in (("squad", squad), ("banking77", banking77)):
        folder = tmp_path / "raw" / name
        folder.mkdir(parents=True)
        module.write(folder)
        assert main(["data", "build", name, "--from", str(folder), "--out", "data", *BUILD[name]]) == 0
    assert main(["train", str(ROOT / "configs" / "mix.yaml"), "train.streams_per_step=6"]) == 0
    run = tmp_path / "runs" / "mix"
    assert [row["step"] for row in rows(run)] == [0, 1, 2]
    writer = EpisodeWriter(run / "episodes")
    played = [episode for step in writer.steps() for episode in writer.read(step)]
    assert {episode.source for episode in played} == {"squad", "banking77", "synthetic"}
    summary = json.loads((run / "summary.json").read_text())
    assert summary["episodes"] == len(played)
