"""A retrieval other than BM25 in runs: trained with, exported, opened as an agent, and missed when it is gone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from memrl import MemoryAgent
from memrl.agent.memory_file import MemoryFile
from memrl.envs.retrieval.layers import Waiting
from memrl.errors import ConfigError
from memrl.export import export
from memrl.rollout.build import for_other_processes
from memrl.training.trainer import Trainer
from tests.support import quiet, rows, small_config

ONE = {"train.steps": 1, "eval.every": 0, "memory.retrieval": "iterative"}


def test_a_run_trains_exports_and_serves_with_a_dense_memory(
    quick_model: Path, encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(encoder, tmp_path / "encoder"))
    options = f"{{of: dense, of_options: {{model: {folder}}}}}"
    config = small_config(quick_model, tmp_path / "run", {**ONE, "memory.retrieval_options": options})
    Trainer(config, name="dense", resume=False, console=quiet()).run()
    assert rows(tmp_path / "run")[-1]["step"] == 1
    monkeypatch.chdir(tmp_path)
    config.memory.retrieval_options["of_options"]["model"] = "encoder"
    shipped = for_other_processes(config).memory.retrieval_options
    assert shipped == {"of": "dense", "of_options": {"model": str(folder)}}
    export(tmp_path / "run", tmp_path / "exported")
    told = json.loads((tmp_path / "exported" / "memory_agent.json").read_text())["memory"]
    assert (told["retrieval"], told["retrieval_options"]["of"]) == ("iterative", "dense")
    store = tmp_path / "memory.sqlite"
    with MemoryAgent.open(tmp_path / "exported", store=store, user="ann", device="cpu") as agent:
        for said in ("Nora lives in Bern.", "Karl has a dog.", "It rained."):
            agent.add(said, infer=False)
        assert len(agent.search("zzz", limit=9).items) == 3, "dense ranks all, whatever words they share"
        assert isinstance(agent.ask("Where does Nora live?").text, str)
        assert isinstance(agent.for_user("ben")._file.state().held.index.parts[0], Waiting)  # type: ignore[attr-defined]
    with MemoryAgent.open(tmp_path / "exported", store=store, user="ann", device="cpu", retrieval="bm25") as agent:
        assert len(agent.search("Who has a dog?", limit=9).items) == 1
    shutil.rmtree(folder)
    with pytest.raises(ConfigError, match=r"exported: model '.*' is no folder of this machine.*--retrieval-model PATH"):
        MemoryAgent.open(tmp_path / "exported", store=store, user="ann", device="cpu")
    with pytest.raises(ConfigError, match=r"'iterative' has no option 'rouns'; did you mean 'rounds'"):
        MemoryAgent.open(tmp_path / "exported", store=store, retrieval="iterative", retrieval_options={"rouns": 3})


def test_a_memory_file_holds_nothing_of_how_it_is_searched(encoder: Path, tmp_path: Path) -> None:
    path = tmp_path / "memory.sqlite"
    dense = MemoryFile(path, "ann", retrieval="dense", retrieval_options={"model": str(encoder)})
    assert all(result.ok for result in dense.keep(["Nora lives in Bern.", "Karl has a dog."]))
    assert len(dense.best("no such words")) == 2
    words = MemoryFile(path, "ann")
    assert [item.content for item in words.best("dog")] == ["Karl has a dog."] and words.items == dense.items
    assert words.keep(["Zoe sings."])[-1].ok
    assert len(dense.best("no such words")) == 3, "what another process has written is found"
    assert dense.undo() and len(dense.best("no such words")) == 2
    for file in (dense, words):
        file.close()
