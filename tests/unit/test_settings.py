"""What is told of settings: by `memrl config`, and to editors by the JSON schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from memrl.cli.main import main
from memrl.config.describe import find, json_schema, settings
from memrl.errors import ConfigError

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
FILES = sorted(CONFIGS.glob("*.yaml"))


def test_a_setting_is_found_by_its_name_its_section_and_its_old_name() -> None:
    [one] = find("train.parallel")
    assert (one.type, one.default, one.choices, one.open) == ("str", "ddp", ("ddp", "fsdp"), False)
    assert "fsdp: they share its layers out" in one.meaning
    assert [one.key for one in find("model.lora")] == [
        "model.lora.rank",
        "model.lora.alpha",
        "model.lora.target_modules",
    ]
    assert [one.key for one in find("rollout.min_group")] == ["rollout.on_failure"]
    [loss] = find("loss.type")
    assert loss.open and "dapo" in loss.choices


@pytest.mark.parametrize(
    ("key", "near"), [("train.stps", "train.steps"), ("groupsize", "train.group_size"), ("reader.typ", "reader.type")]
)
def test_a_wrong_key_names_the_nearest(key: str, near: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError, match=f"no setting '{key}'; did you mean '{near}'"):
        find(key)
    assert main(["config", key]) == 2
    assert near in capsys.readouterr().err


def test_the_command_prints_a_table_or_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "memory.budget"]) == 0
    shown = capsys.readouterr().out
    assert all(word in shown for word in ("memory.budget", "int", "2048", "tokens the whole memory may hold"))
    assert main(["config", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert [one["key"] for one in printed] == [one.key for one in settings()]
    assert printed[0] == {
        "key": "seed", "type": "int", "default": 0, "meaning": settings()[0].meaning, "choices": [], "open": False,
    }  # fmt: skip


def test_the_schema_for_editors_is_that_of_the_code() -> None:
    written = json.loads((CONFIGS / "memrl.schema.json").read_text())
    assert written == json_schema(), "run: memrl config --schema > configs/memrl.schema.json"
    jsonschema.Draft202012Validator.check_schema(written)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_each_shipped_config_names_the_schema_and_fits_it(file: Path) -> None:
    first, _, text = file.read_text().partition("\n")
    assert first == "# yaml-language-server: $schema=memrl.schema.json"
    jsonschema.validate(yaml.safe_load(text), json_schema())


@pytest.mark.parametrize(
    ("written", "wrong"),
    [
        ({"train": {"stps": 3}}, "'stps' was unexpected"),
        ({"train": {"steps": "many"}}, "is not of type 'integer'"),
        ({"model": {"dtype": "float8"}}, "is not one of"),
        ({"data": {"train": [{"weight": 1}]}}, "'source' is a required property"),
        ({"rewards": {"weights": {"qa": "much"}}}, None),  # a float may be written as text (2e-5)
        ({"loss": {"type": "mine.losses:Huber"}}, None),
    ],
)
def test_the_schema_refuses_what_cannot_be(written: dict[str, Any], wrong: str | None) -> None:
    if wrong is None:
        jsonschema.validate(written, json_schema())
        return
    with pytest.raises(jsonschema.ValidationError, match=wrong):
        jsonschema.validate(written, json_schema())
