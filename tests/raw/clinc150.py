import json
from pathlib import Path


def write(folder: Path) -> Path:
    """Three intents in each part, and questions of none."""
    wishes = {"translate": "say a word in Danish", "weather": "tell me the weather", "timer": "set a timer"}
    parts = {
        part: [
            [f"{part} user {n} would like to {wish}", intent] for intent, wish in wishes.items() for n in range(most)
        ]
        for part, most in (("val", 3), ("train", 30), ("test", 4))
    }
    for part in ("oos_val", "oos_test", "oos_train"):
        parts[part] = [[f"{part} user {n} asks what nobody can tell", "oos"] for n in range(6)]
    (folder / "data_full.json").write_text(json.dumps(parts, indent=4), encoding="utf-8")
    return folder
