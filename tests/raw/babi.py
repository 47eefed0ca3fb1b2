from pathlib import Path

STORIES = (
    "1 Mary moved to the bathroom.\n2 John went to the hallway.\n3 Where is Mary? \tbathroom\t1\n"
    "4 Mary went to the garden.\n5 Where is Mary? \tgarden\t4\n",
    "1 Daniel took the milk.\n2 Daniel went home.\n3 Where is the milk? \thome\t1 2\n4 Daniel slept.\n",
)


def write(folder: Path) -> Path:
    """Two stories."""
    path = folder / "qa2_two-supporting-facts_train.txt"
    path.write_text("".join(STORIES), encoding="utf-8")
    return path
