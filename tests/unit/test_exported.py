"""An exported folder that is damaged, or of another version, is told of in a line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from memrl.errors import ConfigError, FormatError
from memrl.policies.exported import open_exported

TOLD: dict[str, Any] = {
    "format_version": 1,
    "format": "adapter",
    "base_model": "tiny",
    "dtype": "float32",
    "memory": {"design": "stores", "budget": 55, "core_budget": 0, "max_calls": 8},
    "dialect": "hermes",
    "instruction": "${oc.env:HOME}",
    "example": False,
    "max_prompt_tokens": 256,
    "max_completion_tokens": 48,
    "reader": {"max_tokens": 6, "instruction": None},
    "chunk_tokens": 22,
}
LORA = {"r": 16, "lora_alpha": 32}


def write(folder: Path, told: Any = TOLD, lora: Any = LORA) -> Path:
    folder.mkdir(exist_ok=True)
    for name, value in (("memory_agent.json", told), ("adapter_config.json", lora)):
        (folder / name).write_text(value if isinstance(value, str) else json.dumps(value))
    return folder


def test_what_is_whole_is_read_word_for_word(tmp_path: Path) -> None:
    config = open_exported(write(tmp_path)).config
    assert (config.memory.budget, config.model.lora.rank, config.reader.max_tokens) == (55, 16, 6)
    assert config.rollout.instruction == "${oc.env:HOME}"


@pytest.mark.parametrize(
    ("key", "value", "complaint"),
    [
        *((key, None, key) for key in ("dialect", "example", "max_prompt_tokens", "max_completion_tokens", "dtype")),
        ("base_model", None, "path is None"),
        ("memory", None, "MemoryConfig"),
        ("memory", [1], "MemoryConfig"),
        ("memory", {"budget": "x"}, "budget is 'x', where int is due"),
        ("memory", {"budget": -1}, "budget is -1"),
        ("memory", {"budget": float("nan")}, "budget is nan"),
        ("memory", {"of the future": 1}, "of the future is not known here"),
        ("reader", "x", "ReaderConfig"),
        ("dtype", "int3", "dtype is 'int3'"),
        ("dialect", 5, "dialect is 5"),
        ("chunk_tokens", "x", "chunk_tokens is 'x'"),
    ],
)
def test_a_wrong_value_is_named(tmp_path: Path, key: str, value: Any, complaint: str) -> None:
    with pytest.raises(
        ConfigError, match=r"memory_agent\.json is damaged, or of another version.*Export the policy again"
    ) as told:
        open_exported(write(tmp_path, {**TOLD, key: value}))
    assert complaint in str(told.value)


def test_what_lacks_a_key_is_named(tmp_path: Path) -> None:
    for key in TOLD:
        rest = {name: value for name, value in TOLD.items() if name != key}
        if key in ("format_version", "chunk_tokens"):  # older ones have none
            open_exported(write(tmp_path, rest))
            continue
        with pytest.raises(ConfigError, match=str(tmp_path)):
            open_exported(write(tmp_path, rest))


@pytest.mark.parametrize("told", ["[1]", '"x"', "5", "[" * 100_000, "{", "\ud800"])
def test_what_is_no_description_is_named(tmp_path: Path, told: str) -> None:
    write(tmp_path)
    for name in ("memory_agent.json", "adapter_config.json"):
        (tmp_path / name).write_bytes(told.encode("utf-8", "surrogatepass"))
        with pytest.raises(ConfigError, match=name.replace(".", r"\.")):
            open_exported(tmp_path)
        write(tmp_path)


@pytest.mark.parametrize("lora", [{}, {"r": "x", "lora_alpha": 1}, {"r": 0, "lora_alpha": 1}, {"r": 8}])
def test_a_damaged_adapter_is_named(tmp_path: Path, lora: Any) -> None:
    with pytest.raises(ConfigError, match=r"adapter_config\.json is damaged"):
        open_exported(write(tmp_path, lora=lora))


def test_a_newer_one_is_named(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="was written by a newer memrl"):
        open_exported(write(tmp_path, {**TOLD, "format_version": 99}))
