"""Plug-ins in a config and in `memrl plugins`: used by name or path, and refused, with whose they are, at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from memrl.cli.main import main
from memrl.cli.plugins import DOORS
from memrl.config import check_config, load_config
from memrl.config.registries import BY_KEY, JUDGES
from memrl.credit import wants_rerolls, wants_worth
from memrl.envs.designs import DESIGNS
from memrl.envs.designs.stores import StoreMemory
from memrl.envs.registry import Registry
from memrl.envs.sources import open_source
from memrl.errors import ConfigError
from tests.plugins import install

SOURCE = """
from memrl.envs.building.source import Source
from memrl.envs.stream import Chunk, Question, Stream
def read(seed: int = 0, size: int = 1):
    question = Question(id="q", text="Who?", answers=("Ada",))
    yield Stream(id="s", source="theirs", chunks=(Chunk(text="Ada."),), questions=(question,))
def unseeded(size: int = 1):
    yield from read(0, size)
THEIRS = Source("theirs", read, "a test's", kind="synthetic", tried="generated", endless=True, splits=())
UNSEEDED = Source("unseeded", unseeded, "a test's", splits=())
"""
OTHERS = """
from types import SimpleNamespace
from memrl.envs.designs.stores import StoreMemory
from memrl.envs.dialects.hermes import HermesDialect
class Memory(StoreMemory):
    pass
class Dialect(HermesDialect):
    name = "theirs"
def mode(episodes, config, weights): ...
def engine(config, ends, keep): ...
def reader(setting): ...
class Tracker:
    def __init__(self, run): ...
    def row(self, row): ...
    def end(self, summary): ...
loss = SimpleNamespace(per_token=None, total=None)
def too_few(one): ...
"""
GOOD = {
    "memory.design": "Memory",
    "rollout.dialect": "Dialect",
    "advantage.mode": "mode",
    "rollout.engine": "engine",
    "reader.type": "reader",
    "loss.type": "loss",
}
GROUPS = {key: str(BY_KEY[key].group) for key in GOOD} | {"run.trackers": "memrl.trackers"}


@pytest.fixture
def theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that brings one of each, all of the name `theirs`."""
    points = {GROUPS[key]: {"theirs": f"their_others:{name}"} for key, name in GOOD.items()}
    points["memrl.sources"] = {"theirs": "their_source:THEIRS", "unseeded": "their_source:UNSEEDED"}
    points["memrl.trackers"] = {"theirs": "their_others:Tracker"}
    install(tmp_path, "their-package", points, their_source=SOURCE, their_others=OTHERS)
    monkeypatch.syspath_prepend(tmp_path)


def wrong(*words: str) -> str:
    """What is complained of."""
    with pytest.raises(ConfigError) as caught:
        load_config("tiny", list(words))
    return str(caught.value)


def shipped() -> list[tuple[Registry[object], str]]:
    return [(registry, name) for registry in (*DOORS, JUDGES) for name in registry.shipped]


@pytest.mark.parametrize(("registry", "name"), shipped(), ids=lambda value: getattr(value, "kind", value))
def test_every_shipped_name_leads_to_something_of_the_shape_that_others_must_have(
    registry: Registry[object], name: str
) -> None:
    thing = registry.get(name)
    assert registry._check is None or registry._check(thing) == ""


def test_every_door_has_a_group_of_its_own() -> None:
    groups = [registry.group for registry in DOORS]
    assert len(set(groups)) == len(groups)
    kinds = "sources log_formats designs retrievals rewards credit losses dialects readers engines trackers wrappers"
    assert {f"memrl.{kind}" for kind in kinds.split()} == {*groups}
    assert set(BY_KEY.values()) - set(DOORS) == {JUDGES}


@pytest.mark.long
@pytest.mark.usefixtures("theirs")
@pytest.mark.parametrize("key", GOOD)
def test_a_setting_takes_a_plug_in_by_name_or_path(key: str) -> None:
    for value in ("theirs", f"their_others:{GOOD[key]}"):
        assert check_config(load_config("tiny", [f"{key}={value}"])) == []
    assert f"{key} is 'thiers'; did you mean 'theirs'?" in wrong(f"{key}=thiers")
    assert "their_others:not_there cannot be imported: AttributeError" in wrong(f"{key}=their_others:not_there")
    assert "no_such_module:X cannot be imported: ModuleNotFoundError" in wrong(f"{key}=no_such_module:X")
    bad = wrong(f"{key}=their_others:too_few") if key != "reader.type" else wrong(f"{key}=their_others:mode")
    assert f"{key} is 'their_others:" in bad and ("cannot be called with" in bad or "without per_token" in bad)


@pytest.mark.usefixtures("theirs")
def test_trackers_are_checked_one_by_one() -> None:
    load_config("tiny", ["run.trackers=[theirs, 'their_others:Tracker']"])
    complaint = wrong("run.trackers=[theirs, thiers, 'their_others:Memory']")
    assert "run.trackers names 'thiers'; did you mean 'theirs'?" in complaint
    assert "run.trackers names 'their_others:Memory': tracker their_others:Memory cannot be called with 1" in complaint


def test_of_a_tracker_that_is_not_there_the_others_are_named() -> None:
    assert "run.trackers names 'csv'; choose" in wrong("run.trackers=[csv]")


@pytest.mark.long
@pytest.mark.usefixtures("theirs")
def test_a_source_of_somebody_else_is_a_source() -> None:
    for name in ("theirs", "their_source:THEIRS"):
        specs = f"data.train=[{{source: '{name}', size: 3}}]"
        load_config(
            "tiny",
            [specs, f"data.eval=[{{source: '{name}'}}]", "judge.type=policy-base", "judge.answers={theirs: default}"],
        )
        [stream] = open_source(name, {"size": 2})
        assert stream.source == "theirs"
        assert "has no option 'sise'; did you mean 'size'?" in wrong(f"data.train=[{{source: '{name}', sise: 3}}]")
    assert "it must be a memrl.envs.building.source.Source" in wrong("data.train=[{source: 'their_source:read'}]")
    complaint = wrong("data.train=[{source: unseeded}]")
    assert "(entry point 'unseeded' of their-package 1.2) has no option `seed`" in complaint


@pytest.mark.long
def test_everything_that_is_broken_is_listed_at_once_with_whose_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = {
        "memrl.losses": {"raises": "their_bad:loss", "dapo": "their_others:loss"},
        "memrl.credit": {"missing": "their_missing:mode"},
        "memrl.sources": {"misnamed": "their_source:THEIRS"},
        "memrl.rewards": {"part": "their_others:mode"},
        "memrl.loses": {"typo": "their_others:loss"},
    }
    install(tmp_path, "bad-package", points, their_bad="1 / 0", their_source=SOURCE, their_others=OTHERS)
    monkeypatch.syspath_prepend(tmp_path)
    complaint = wrong(
        "loss.type=raises",
        "advantage.mode=missing",
        "data.train=[{source: misnamed}]",
        "rewards.parts={part: {weight: 1}}",
    )
    assert complaint.count("bad-package 1.2") == 4
    for part in ("ZeroDivisionError", "No module named 'their_missing'", "calls itself 'theirs'", "is no class"):
        assert part in complaint
    assert "loss 'dapo' of bad-package 1.2 has a name that is taken by memrl itself" in wrong("loss.type=dapo")
    assert check_config(load_config("tiny", ["loss.type=grpo"])) == []


@pytest.mark.usefixtures("theirs")
def test_memrl_plugins_lists_what_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plugins", "--json"]) == 1
    out = capsys.readouterr()
    found = {
        (row["kind"], row["name"]): row for row in json.loads(out.out) if row["distribution"] == "their-package 1.2"
    }
    assert len(found) == 9
    assert [key for key, row in found.items() if not row["ok"]] == [("source", "unseeded")]
    assert found["loss", "theirs"]["path"] == "their_others:loss"
    assert "unseeded of their-package 1.2" in out.err
    assert main(["plugins"]) == 1
    shown = capsys.readouterr().out
    assert "their_others:Tracker" in shown and "no option `seed`" in shown


def test_memrl_plugins_says_what_no_door_is_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    install(tmp_path, "bad-package", {"memrl.loses": {"typo": "somewhere:loss"}})
    monkeypatch.syspath_prepend(tmp_path)
    assert main(["plugins", "--json"]) == 1
    [row] = [row for row in json.loads(capsys.readouterr().out) if row["distribution"] == "bad-package 1.2"]
    assert row["wrong"] == "there are no entry points of the group 'memrl.loses'; did you mean 'memrl.losses'?"


@pytest.mark.usefixtures("theirs")
def test_a_design_is_made_of_the_budgets() -> None:
    memory = DESIGNS.get("theirs")(50, 10, len)
    assert isinstance(memory, StoreMemory) and type(memory).__name__ == "Memory"
    assert (memory.budget, memory.core_budget) == (50, 10)


def test_modes_say_whether_steps_must_be_weighed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "their_modes.py").write_text(
        "from memrl.credit import needs_rerolls, needs_worth\n"
        "@needs_worth\ndef weighs(episodes, config, weights): ...\ndef plain(episodes, config, weights): ...\n"
        "@needs_rerolls\ndef rerolls(episodes, config, weights): ..."
    )
    monkeypatch.syspath_prepend(tmp_path)
    wanted = ("counterfactual", "their_modes:weighs")
    rerolled = ("reroll", "their_modes:rerolls")
    names = ("episode", "evidence", "pooled", "retrieved", *wanted, *rerolled, "their_modes:plain")
    assert [name for name in names if wants_worth(name)] == list(wanted)
    assert [name for name in names if wants_rerolls(name)] == list(rerolled)
