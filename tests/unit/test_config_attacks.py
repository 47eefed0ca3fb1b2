"""Configs that attack: too deep, too large, reaching for the environment, texts that YAML takes for something else."""

from __future__ import annotations

from pathlib import Path

import pytest

from memrl.config import load_config
from memrl.config.bounds import DEEPEST, LARGEST, MOST, check_bounds
from memrl.config.load import read_value
from memrl.errors import ConfigError

LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join(['*' + before] * 10)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[" * 100_000, f"nests more than {DEEPEST}"),
        ("data: {train: " + "[" * 3000 + "]" * 3000 + "}", f"nests more than {DEEPEST}"),
        ("\n".join(" " * depth + "a:" for depth in range(900)), f"nests more than {DEEPEST}"),
        ("# " + "x" * (30 << 20), "larger than a config may be"),
        (LAUGHS, f"more than {MOST:,} values"),
        ("seed: [1", "no readable YAML"),
    ],
    ids=["open brackets", "nested", "nested by indents", "30 MB", "aliases of aliases", "broken"],
)
def test_a_config_beyond_all_bounds_is_refused_in_a_line(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=told) as caught:
        load_config(file)
    assert str(file) in str(caught.value)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("key", ["data.train", "run", "seed"])
def test_a_setting_beyond_all_bounds_is_refused_in_a_line(key: str) -> None:
    for raw in ("[" * 100_000, "[" * 3000 + "]" * 3000, "{a: " * 3000, "x" * (LARGEST + 1)):
        with pytest.raises(ConfigError) as caught:
            load_config("tiny", [f"{key}={raw}"])
        assert len(str(caught.value)) < 1000
    with pytest.raises(ConfigError, match="nests more than"):
        read_value("[" * 3000)  # as options of data sources are read


ODD = {
    "5,000 digits": "1" * 5000,
    "200,000 hexadecimal digits": "0x" + "F" * 200_000,
    "base 60": "1:" * 20_000 + "1",
    "no number": "!!int abc",
    "no float": "!!float x",
    "no time": "!!timestamp foo",
    "no day": "2026-13-45",
    "no bytes": "!!binary x",
    "itself": "&a [*a]",
}


@pytest.mark.parametrize("raw", list(ODD.values()), ids=list(ODD))
def test_a_value_that_yaml_itself_trips_over_is_refused_in_a_line(tmp_path: Path, raw: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(f"seed: {raw}\n")
    for load in (lambda: load_config(file), lambda: load_config("tiny", [f"seed={raw}"])):
        with pytest.raises(ConfigError) as caught:
            load()
        assert len(str(caught.value)) < 1000
        assert "seed" in str(caught.value) or str(file) in str(caught.value)


def test_what_is_escaped_is_text() -> None:
    config = load_config("tiny", [r"reader.instruction=Keep \${x:y} as it is."])
    assert config.reader.instruction == "Keep ${x:y} as it is."
    with pytest.raises(ConfigError, match="asks for something outside of the config"):
        load_config("tiny", [r"reader.instruction=Keep \\${oc.env:HOME} as it is."])


def test_what_is_within_the_bounds_is_read(tmp_path: Path) -> None:
    check_bounds("a: &a [1, 2]\nb: [*a, *a]\n", "here")
    check_bounds("[" * DEEPEST + "]" * DEEPEST, "here")
    file = tmp_path / "mine.yaml"
    file.write_text("base: &b {source: synthetic}\n")
    with pytest.raises(ConfigError, match="unknown key 'base'"):
        load_config(file)


@pytest.mark.parametrize("form", ["{}", "http://{}/v1", "${{{}}}"])
def test_the_environment_is_never_read_into_a_config(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    monkeypatch.setenv("MEMRL_TEST_SECRET", "very-secret")
    value = form.format("${oc.env:MEMRL_TEST_SECRET}")
    file = tmp_path / "mine.yaml"
    for key in ("run.dir", "reader.endpoint.url", "data.train"):
        section, name = key.rsplit(".", 1)
        inner = f"[{{source: synthetic, path: '{value}'}}]" if key == "data.train" else f"'{value}'"
        nested = f"reader: {{endpoint: {{url: {inner}}}}}" if name == "url" else f"{section}: {{{name}: {inner}}}"
        file.write_text(nested + "\n")
        for load in (lambda: load_config(file), lambda: load_config("tiny", [f"{key}={inner}"])):  # noqa: B023
            with pytest.raises(ConfigError, match="asks for something outside of the config") as caught:
                load()
            assert "very-secret" not in str(caught.value)


def test_a_setting_may_still_be_another_one() -> None:
    assert load_config("tiny", ["run.dir=runs/${model.path}"]).run.dir == "runs/tiny"


@pytest.mark.parametrize(
    "text",
    [
        "12:30",
        "on",
        "No",
        "695e0514",
        "1_000",
        "0x1F",
        "2026-11-27",
        "1e5",
        "~x",
        "a #b",
        "a: b",
        "[a]",
        "*x",
        "@now",
        "!x",
    ],
)
def test_text_stays_text_on_the_command_line(text: str) -> None:
    config = load_config("tiny", [f"run.dir={text}", f"reader.instruction={text}"])
    assert (config.run.dir, config.reader.instruction) == (text, text)


@pytest.mark.parametrize("text", ["12:30", "on", "695e0514", "1_000", "2026-11-27"])
def test_text_stays_text_in_a_file(tmp_path: Path, text: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(f"run: {{dir: {text}}}\ndata: {{train: [{{source: synthetic}}], eval: [{{source: synthetic}}]}}\n")
    assert load_config(file, check=False).run.dir == text


def test_no_text_is_null_and_quotes_are_yamls() -> None:
    for nothing in ("", "null", "~"):
        assert load_config("tiny", [f"reader.instruction={nothing}"]).reader.instruction is None
    config = load_config("tiny", ['reader.instruction="null"', "run.dir='a b'"])
    assert (config.reader.instruction, config.run.dir) == ("null", "a b")


@pytest.mark.parametrize("key", ["seed", "eval.seed", "train.steps", "run.save_every"])
def test_a_number_that_nothing_holds_is_refused(key: str) -> None:
    with pytest.raises(ConfigError, match=rf"{key} is 99999999999999999999, which no .* at most 9223372036854775807"):
        load_config("tiny", [f"{key}=99999999999999999999"])
