"""Where an exported adapter finds its base model, also when one of them has been moved."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from memrl.config import load_config
from memrl.engines.models import load_tokenizer
from memrl.engines.prompting import open_prompter
from memrl.errors import ConfigError
from memrl.export import _seen_from
from memrl.policies.agent_file import AGENT_FILE, describe
from memrl.policies.exported import open_exported
from memrl.storage.files import write_json_atomic

pytestmark = pytest.mark.long


def told_by(out: Path, model: Path) -> str:
    """What an adapter's export, here without its weights, tells of where its base model is."""
    config = load_config("tiny", check=False)
    prompter = open_prompter(load_tokenizer(config.model), config.rollout.dialect)
    model.mkdir(parents=True, exist_ok=True)
    out.mkdir(parents=True)
    base = _seen_from(out, str(model))
    told = {**describe(config, "v00001", "adapter", prompter, 100), "base_model": base}
    write_json_atomic(out / AGENT_FILE, told)
    write_json_atomic(out / "adapter_config.json", {"r": 2, "lora_alpha": 4})
    return base


def test_a_base_model_nearby_is_found_where_both_are_moved_to(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    assert told_by(here / "exported" / "agent", here / "models" / "base") == "../../models/base"
    here.rename(there)
    assert open_exported(there / "exported" / "agent").config.model.path == str(there / "models" / "base")


def test_a_base_model_that_is_not_there_is_named_and_no_other_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "here" / "exported" / "agent"
    told_by(out, tmp_path / "here" / "models" / "base")
    moved = Path(shutil.move(out, tmp_path / "agent"))
    other = tmp_path / "work" / "down" / "here"
    other.mkdir(parents=True)
    (tmp_path / "work" / "models" / "base").mkdir(parents=True)  # seen from there, it has the same name
    monkeypatch.chdir(other)
    with pytest.raises(ConfigError, match=r"agent is an adapter, and its base model 'base' is not at .*--base-model"):
        open_exported(moved)
    mine = "../../models/base"
    assert open_exported(moved, base_model=mine).config.model.path == mine


def test_of_a_base_model_elsewhere_only_the_name_is_told(tmp_path: Path) -> None:
    out = tmp_path / "of" / "somebody" / "exported" / "agent"
    assert told_by(out, tmp_path / "secret" / "base") == "./base"
    assert "secret" not in (out / AGENT_FILE).read_text()
    assert _seen_from(Path("/exported/agent"), str(tmp_path / "secret" / "base")) == "./base"
    with pytest.raises(ConfigError, match=r"base model 'base' is not at .*/agent/base\. Say where"):
        open_exported(out)
    (out / "base").mkdir()
    assert open_exported(out).config.model.path == str(out / "base")
