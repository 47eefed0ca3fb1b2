"""Tool schemas and the check of a call's arguments."""

from __future__ import annotations

from typing import Any

import pytest

from memrl.envs.designs.stores import DELETE, INSERT, UPDATE
from memrl.envs.tools import ResultCode, ToolResult, check_arguments, clean_text


def test_a_schema_has_the_form_that_chat_templates_take() -> None:
    function = INSERT.json_schema()["function"]
    assert function["name"] == "memory_insert"
    assert function["parameters"]["type"] == "object"
    assert function["parameters"]["required"] == ["memory_type", "content"]
    assert set(function["parameters"]["properties"]) == {"memory_type", "content", "time"}


@pytest.mark.parametrize("schema", [INSERT, UPDATE, DELETE])
def test_required_parameters_exist(schema: Any) -> None:
    assert set(schema.required) <= set(schema.parameters)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({}, "argument 'memory_type' is missing"),
        ({"memory_type": "semantic"}, "argument 'content' is missing"),
        ({"memory_type": "semantic", "content": "x", "colour": "red"}, "argument 'colour' is not known"),
        ({"memory_type": "core", "content": "x"}, "must be one of semantic, episodic, got 'core'"),
        ({"memory_type": "", "content": "x"}, "must be one of semantic, episodic, got ''"),
        ({"memory_type": "semantic", "content": 3}, "argument 'content' must be a string, got int"),
        ({"memory_type": "semantic", "content": None}, "must be a string, got NoneType"),
        ({"memory_type": "semantic", "content": ["x"]}, "must be a string, got list"),
        ({"memory_type": "semantic", "content": {"text": "x"}}, "must be a string, got dict"),
        ({"memory_type": True, "content": "x"}, "argument 'memory_type' must be a string, got bool"),
        ({"memory_type": "semantic", "content": float("nan")}, "must be a string, got float"),
    ],
)
def test_what_is_wrong_with_arguments_is_said(arguments: dict[str, Any], problem: str) -> None:
    assert problem in (check_arguments(INSERT, arguments) or "")


@pytest.mark.parametrize(
    "arguments",
    [{"memory_type": "semantic", "content": "x"}, {"memory_type": " episodic ", "content": "x", "time": "May 3"}],
)
def test_right_arguments_pass(arguments: dict[str, Any]) -> None:
    assert check_arguments(INSERT, arguments) is None


def test_a_message_about_huge_arguments_stays_short() -> None:
    huge = "x" * 100_000
    assert len(check_arguments(INSERT, {"memory_type": huge, "content": ""}) or "") < 200
    assert len(check_arguments(DELETE, {"memory_id": "a", huge: ""}) or "") < 200


@pytest.mark.parametrize("code", list(ResultCode))
def test_only_ok_is_ok(code: ResultCode) -> None:
    assert ToolResult(name="t", code=code).ok is (code == "ok")


def test_clean_text_changes_lone_surrogates_only() -> None:
    assert clean_text("a\ud800b") == "a?b"
    assert clean_text("é 猫 🐈 \0") == "é 猫 🐈 \0"
