import json
from pathlib import Path

UNREAD = ("categories.json",)
"""What the source is known by and does not read."""


def write(folder: Path) -> Path:
    """Three intents, some utterances each."""
    intents = ("card_arrival", "lost_card", "exchange_rate")
    for part, count in (("train", 30), ("test", 4)):
        rows = [f'"{part} customer {n} asks, about {intent}",{intent}' for intent in intents for n in range(count)]
        (folder / f"{part}.csv").write_text("\n".join(["text,category", *rows]) + "\n", encoding="utf-8")
    (folder / "categories.json").write_text(json.dumps(intents), encoding="utf-8")
    return folder
