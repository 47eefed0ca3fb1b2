import json
from pathlib import Path

ROLES = ("background", "objective", "method", "result")


def write(folder: Path) -> Path:
    """Abstracts of four sentences, one of each role; all have the same id, as published."""
    for part, count in (("train", 30), ("dev", 5), ("test", 5)):
        lines = [
            json.dumps(
                {
                    "abstract_id": 0,
                    "sentences": [f"Sentence on the {role} of {part} study {n}." for role in ROLES],
                    "labels": list(ROLES),
                    "confs": [1.0] * len(ROLES),
                }
            )
            for n in range(count)
        ]
        (folder / f"{part}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder
