"""Registries: what ships, what others bring, and whose it is when it cannot be used."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from memrl.envs.errors import PluginError
from memrl.envs.registry import Registry, is_import_path, load_import_path, shape, stray_plugins
from tests.plugins import install

GROUP = "memrl.testthings"


class Thing:
    """What a thing of these tests looks like."""

    name = "own"

    def __init__(self, size: int) -> None:
        self.size = size

    def use(self) -> int:
        return self.size


def things(**how: Any) -> Registry[Any]:
    registry: Registry[Any] = Registry("thing", GROUP, shape(takes=1, members=("use",)), **how)
    registry.add("own", Thing)
    registry.add("late", "fractions:Fraction")
    return registry


def test_what_ships_is_an_object_or_an_import_path() -> None:
    registry = things()
    assert registry.get("own") is Thing
    assert registry["late"].__name__ == "Fraction"
    assert list(registry) == registry.names() == registry.shipped == ["own", "late"]
    assert len(registry) == 2
    with pytest.raises(PluginError, match="there are two of thing 'own'"):
        registry.add("own", Thing)


def test_an_unknown_name_is_told_the_nearest() -> None:
    with pytest.raises(PluginError, match=r"unknown thing 'lat'; did you mean 'late'\?$"):
        things().get("lat")
    assert things().complaint("lat") == "unknown thing 'lat'; did you mean 'late'?"
    assert things().complaint("own") == ""


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("a:b", True),
        ("a.b:C.d", True),
        ("a", False),
        ("a:", False),
        (":b", False),
        ("a b:c", False),
        ("../a:b", False),
        ("a:b:c", False),
        ("C:/x", False),
    ],
)
def test_import_paths_are_told_from_names(name: str, is_one: bool) -> None:
    assert is_import_path(name) is is_one


def test_anything_that_can_be_imported_can_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_things.py").write_text(
        "class Outer:\n    class Mine:\n        def __init__(s, size): pass\n        use = 1"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert things().knows("my_things:Outer.Mine")
    assert things().get("my_things:Outer.Mine").__name__ == "Mine"
    closed: Registry[Any] = Registry("closed")
    closed.add("own", Thing)
    assert not closed.knows("my_things:Outer.Mine")
    with pytest.raises(PluginError, match=r"unknown closed 'my_things:Outer\.Mine'; choose from own\.$"):
        closed.get("my_things:Outer.Mine")


def test_an_installed_package_brings_things(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = things()
    assert "theirs" not in registry
    source = "class Theirs:\n    def __init__(self, size): pass\n    def use(self): pass\n"
    monkeypatch.syspath_prepend(
        install(
            tmp_path, "their-package", {GROUP: {"theirs": "brought_by_them:Theirs [extra]"}}, brought_by_them=source
        )
    )
    assert "theirs" in registry
    assert registry.get("theirs").__name__ == "Theirs"
    assert registry.names() == ["own", "late", "theirs"]
    [plugin] = registry.plugins
    assert (plugin.kind, plugin.path) == ("thing", "brought_by_them:Theirs")
    assert plugin.origin == "entry point 'theirs' of their-package 1.2"
    assert dict(registry.items())["theirs"] is registry.load(plugin)


FITS = "class T:\n    def __init__(self, size): pass\n    def use(self): pass\n"
BROKEN = {
    "missing module": ("not_there_at_all:T", "", "ModuleNotFoundError: No module named 'not_there_at_all'. Install"),
    "missing name": ("{module}:U", FITS, "AttributeError: module '{module}' has no attribute 'U'"),
    "raises on import": ("{module}:T", "1 / 0", "ZeroDivisionError: division by zero"),
    "exits on import": ("{module}:T", "raise SystemExit('no licence')", "SystemExit: no licence"),
    "bad syntax": ("{module}:T", "class T(", "SyntaxError"),
    "no class": ("{module}:T", "T = 3", "is an object of the type int; it must be a class or a function"),
    "wrong arguments": (
        "{module}:T",
        "class T:\n    use = 1",
        "cannot be called with 1 arguments, as it will be: too many",
    ),
    "lacks a method": ("{module}:T", "class T:\n    def __init__(self, size): pass", "is the class T without use"),
    "no import path": ("{module}", FITS, "is no import path; it must be written package.module:Name"),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_plug_in_is_named_with_its_distribution(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path, source, complaint = BROKEN[how]
    module = f"broken_{how.replace(' ', '_')}"
    points = {GROUP: {"theirs": path.format(module=module)}}
    monkeypatch.syspath_prepend(install(tmp_path, "their-package", points, **{module: source}))
    registry = things()
    with pytest.raises(PluginError) as caught:
        registry.get("theirs")
    message = str(caught.value)
    assert message.startswith("thing ")
    assert "(entry point 'theirs' of their-package 1.2)" in message
    assert complaint.format(module=module) in message
    assert registry.complaint("theirs") == message
    assert registry.get("own") is Thing  # nobody else is disturbed
    with caplog.at_level(logging.WARNING):
        assert [name for name, _ in registry.items()] == ["own", "late"]
    assert "their-package 1.2" in caplog.text


def test_a_taken_name_is_refused_to_whoever_asks_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    points = {GROUP: {"own": "their_things:T", "both": "their_things:T"}}
    monkeypatch.syspath_prepend(install(tmp_path / "a", "their-package", points, their_things=FITS))
    monkeypatch.syspath_prepend(install(tmp_path / "b", "another", {GROUP: {"both": "their_things:T"}}))
    registry = things()
    with pytest.raises(PluginError, match=r"thing 'own' of their-package 1.2 has a name that is taken by memrl itself"):
        registry.get("own")
    with pytest.raises(PluginError, match=r"thing 'both' of another 1.2 .* taken by their-package 1.2. Rename"):
        registry.get("both")
    assert registry.names() == ["own", "late", "both"]
    assert registry.complaint("late") == ""
    for plugin in registry.plugins:
        with pytest.raises(PluginError, match="taken"):
            registry.load(plugin)


def test_things_with_names_are_called_by_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = FITS + "    name = 'x'\nclass V(T):\n    name = 'own'\n"
    points = {GROUP: {"x": "named_things:T", "y": "named_things:T"}}
    monkeypatch.syspath_prepend(install(tmp_path, "their-package", points, named_things=source))
    registry = things(named=True)
    assert registry.get("x").name == "x"
    assert registry.get("named_things:T") is registry.get("x")
    with pytest.raises(PluginError, match="calls itself 'x', and its entry point 'y'"):
        registry.get("y")
    with pytest.raises(PluginError, match="named_things:V calls itself 'own', which is the name of another"):
        registry.get("named_things:V")
    assert things().get("named_things:V").name == "own"


def test_entry_points_that_nobody_reads_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    points = {"memrl.thingz": {"t": "somewhere:T"}, "other.things": {"u": "somewhere:T"}}
    monkeypatch.syspath_prepend(install(tmp_path, "their-package", points))
    found = [plugin for plugin in stray_plugins([GROUP]) if plugin.distribution == "their-package 1.2"]
    assert [(plugin.kind, plugin.name) for plugin in found] == [("memrl.thingz", "t")]


def one(size: int) -> None: ...


@pytest.mark.parametrize(
    ("thing", "wrong"),
    [
        (Thing, ""),
        (one, ""),  # what a function gives is not known
        (lambda: None, "cannot be called with 1 arguments"),
        (dict, ""),  # built in: it does not tell what it takes, or may have anything
        ("Thing", "is an object of the type str; it must be a class or a function"),
    ],
)
def test_shapes_of_what_is_called(thing: Any, wrong: str) -> None:
    check: Callable[[Any], str] = shape(takes=1, members=("use",) if thing is Thing else ())
    assert check(thing).startswith(wrong) if wrong else check(thing) == ""


def test_shapes_of_what_is_not_called() -> None:
    check = shape(members=("use", "lose"))
    assert check(Thing(1)) == "is an object of the type Thing without lose"
    assert check(Thing) == "is the class Thing without lose"


def test_the_origin_of_a_path_is_told() -> None:
    with pytest.raises(PluginError, match=r"part nowhere_at_all:X \(rewards.parts.x\) cannot be imported"):
        load_import_path("nowhere_at_all:X", "part", "rewards.parts.x")
