"""The table of metric keys has every key that the code names, whole and true; real runs show the rest (test_loop,
test_judge)."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from memrl.config.describe import settings
from memrl.envs.tools import ResultCode
from memrl.frozen.costs import COUNTS
from memrl.report.metric_keys import METRICS, metric_of, metrics_page
from memrl.rewards.alarms import ALARMS

ROOT = Path(__file__).parents[2]
FAMILIES = "|".join(dict.fromkeys(key.split("/")[0] for key in METRICS if "/" in key))
COMPUTED = {"tokens/second", "tokens/s"}
"""What the report computes, and its unit: no row has them."""
LOSS_NAMES = ("clip_fraction", "kl", "kl_old", "sampling_gap", "importance_capped", "ratio_max", "sampling_gap_max")
FILLED = {
    "fail/{}": ("retries", "workers", "judge"),
    "meters/{}": tuple(ALARMS),
    "alarm/{}": tuple(ALARMS),
    "loss/{}": LOSS_NAMES,
    "tools/{}": tuple(ResultCode),
    "difficulty/{}": ("new", "mixed", "easy", "hard"),
    "reward/{}": ("qa", "brevity"),
    "eval/{}": ("qa", "brevity", "answerable"),
    "eval/{}_low": ("qa", "brevity"),
    "eval/{}_high": ("qa", "brevity"),
    "eval/qa_{}": ("latest", "who"),
    "time/{}": ("build", "rollout", "learn", "eval", "canary", "publish", "save"),
}
"""What stands in a key that the code puts together, by its form: all names, or some where they are a user's."""
PREFIXES = {"reader/": COUNTS, "judge/": COUNTS, "eval/reader_": COUNTS, "eval/judge_": COUNTS}


@cache
def sources() -> dict[str, ast.AST]:
    files = {path.resolve() for path in (ROOT / "memrl").rglob("*.py")} | {
        path.resolve() for name in ("envs", "rewards") for path in (ROOT / name).rglob("*.py")
    }
    return {
        path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
        for path in sorted(files)
        if path.name != "metric_keys.py"
    }


def named() -> Iterator[tuple[str, str]]:
    """Every text in the code that has the form of a key, `{}` for what is filled in, with its file."""
    form = re.compile(rf"({FAMILIES})/[a-z0-9_{{}}]+")
    for file, tree in sources().items():
        for node in ast.walk(tree):
            text = ""
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                text = node.value
            elif isinstance(node, ast.JoinedStr):
                text = "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
            if form.fullmatch(text):
                yield text, file


def test_every_key_that_the_code_names_has_an_entry() -> None:
    found = dict(named())
    assert len(found) > 60
    prefixes = {*PREFIXES, "eval/qa_"}
    lost = {
        f"{key} ({file})"
        for key, file in found.items()
        if key not in COMPUTED | prefixes
        and not (metric_of(key) if "{}" not in key else all(metric_of(key.format(name)) for name in FILLED[key]))
    }
    assert lost == set(), "each needs its unit, meaning and worry in memrl/report/metric_keys.py"
    assert [prefix + name for prefix, names in PREFIXES.items() for name in names if not metric_of(prefix + name)] == []


def test_every_entry_is_of_a_key_that_the_code_names() -> None:
    found = {key for key, _ in named()}
    whole = {key for key in found if "{}" not in key}
    whole |= {form.format(name) for form in found if "{}" in form for name in FILLED[form]}
    whole |= {prefix + name for prefix, names in PREFIXES.items() for name in names}
    parts = ("compression", "tool_success", "content")  # `reward/{}` and `eval/{}` of parts that ship
    whole |= {f"{family}/{part}" for family in ("reward", "eval") for part in parts}
    whole |= {f"eval/{name}{end}" for name in (*parts, "answerable", "unanswerable") for end in ("_low", "_high")}
    assert [key for key in METRICS if "<" not in key and "/" in key and key not in whole] == []


def test_what_is_filled_in_is_what_the_code_fills_in() -> None:
    calls = [node for tree in sources().values() for node in ast.walk(tree) if isinstance(node, ast.Call)]
    phases = {
        call.args[0].value
        for call in calls
        if isinstance(call.func, ast.Attribute) and call.func.attr == "timed" and isinstance(call.args[0], ast.Constant)
    }
    assert phases == set(FILLED["time/{}"])
    assert phases == set(re.findall("`([a-z]+)`", METRICS["time/<phase>"].meaning))
    figures = (ROOT / "memrl" / "training" / "figures.py").read_text(encoding="utf-8")
    assert f"COUNTED = {FILLED['fail/{}']!r}".replace("'", '"') in figures
    sharing = (ROOT / "memrl" / "learner" / "sharing.py").read_text(encoding="utf-8")
    assert f"names = {LOSS_NAMES!r}".replace("'", '"') in sharing


def test_every_meter_has_a_meaning_of_its_own() -> None:
    assert {key.partition("/")[2] for key in METRICS if key.startswith("meters/")} == set(ALARMS)


@pytest.mark.parametrize("key", [*(f"tools/{code}" for code in ResultCode), "eval/qa_latest", "alarm/growth"])
def test_a_pattern_stands_for_its_keys(key: str) -> None:
    assert metric_of(key)


@pytest.mark.parametrize("key", ["", "meters/new", "eval/", "tools/ok/more", "loss/new", "xtools/ok"])
def test_what_is_in_no_row_has_no_entry(key: str) -> None:
    assert metric_of(key) is None


def test_the_nearest_pattern_counts() -> None:
    assert metric_of("eval/qa_latest") == METRICS["eval/qa_<kind>"]
    assert metric_of("eval/reader_calls") == METRICS["eval/reader_<count>"]
    assert metric_of("eval/brevity_low") == METRICS["eval/<part>"]


def test_every_entry_is_whole() -> None:
    for key, metric in METRICS.items():
        assert metric.unit, key
        for text in (metric.meaning, metric.worry):
            assert text[0].isupper() or text[0].isdigit() or text[0] == "`", key
            assert text.endswith("."), key


def test_settings_and_keys_that_an_entry_names_are_there() -> None:
    keys = {setting.key for setting in settings()}
    sections = {key.split(".")[0] for key in keys if "." in key}
    told = [(key, name) for key, metric in METRICS.items() for name in re.findall("`([^`]+)`", " ".join(metric[1:]))]
    dotted = [(key, name.split("=")[0]) for key, name in told if name.split(".")[0] in sections and "." in name]
    assert dotted
    assert [(key, name) for key, name in dotted if not any((f"{one}.").startswith(f"{name}.") for one in keys)] == []
    other = [(key, name) for key, name in told if re.fullmatch(rf"({FAMILIES})/[\w<>*]+", name)]
    assert [(key, name) for key, name in other if not name.endswith("*") and name not in METRICS
            and metric_of(name) is None] == []  # fmt: skip


def test_the_page_is_that_of_the_table() -> None:
    written = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    assert written == metrics_page(), "run: python -m memrl.report.metric_keys > docs/metrics.md"
