import json
from collections.abc import Sequence
from pathlib import Path


def write(folder: Path, titles: Sequence[str] = ("Oslo", "Lima")) -> Path:
    """Articles of two paragraphs, two questions each."""
    articles = [
        {
            "title": title,
            "paragraphs": [
                {
                    "context": f"{title} has {place} rivers. Its oldest bridge was built in 19{place}0.",
                    "qas": [
                        {
                            "id": f"{title}-{place}-rivers",
                            "question": f"How many rivers has {title}?",
                            "answers": [{"text": str(place), "answer_start": 0}],
                        },
                        {
                            "id": f"{title}-{place}-bridge",
                            "question": f"When was the oldest bridge of {title} built?",
                            "answers": [{"text": f"19{place}0", "answer_start": 0}],
                        },
                    ],
                }
                for place in (3, 4)
            ],
        }
        for title in titles
    ]
    path = folder / "dev-v1.1.json"
    path.write_text(json.dumps({"version": "1.1", "data": articles}), encoding="utf-8")
    return path
