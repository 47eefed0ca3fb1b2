"""Settings with their meanings: all of them are there, and what the schema says beside a field is what is told."""

from __future__ import annotations

from memrl.config.describe import _meanings, settings
from memrl.config.load import KEYS


def test_every_setting_is_described() -> None:
    found = {setting.key: setting for setting in settings()}
    assert set(found) == KEYS
    assert len(found) == len(settings())
    assert [key for key, setting in found.items() if not setting.meaning] == []


def test_a_setting_says_its_type_default_and_meaning() -> None:
    found = {setting.key: setting for setting in settings()}
    target = found["eval.target"]
    assert (target.type, target.default) == ("float | None", None)
    assert target.meaning.startswith("end the run at the first evaluation")
    assert found["model.lora.rank"].default == 16
    assert "spread of 1" in found["advantage.normalize_parts"].meaning  # on a line of its own, within brackets


def test_settings_of_a_section_stand_together() -> None:
    sections = [setting.key.rpartition(".")[0] for setting in settings()]
    changes = [section for before, section in zip([None, *sections], sections, strict=False) if section != before]
    assert len(changes) == len(set(changes))


def test_the_comment_of_a_field_is_its_meaning_and_no_other() -> None:
    source = """
# before
class A:
    first: str = "#no"  # one
    # between
    second: bool = (
        True  # two
    )
    third: int = 3

class B:
    first: int = 1  # another
"""
    assert _meanings(source) == {
        ("A", "first"): "one",
        ("A", "second"): "two",
        ("A", "third"): "",
        ("B", "first"): "another",
    }
