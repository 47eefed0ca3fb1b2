import json
from pathlib import Path

PLACES = ("Oslo", "Lima", "Cairo", "Tunis", "Delhi", "Kyoto")


def write(folder: Path) -> Path:
    """Six questions of six paragraphs: one in two a comparison with the answer yes."""
    records = [
        {
            "_id": f"q{n}",
            "question": f"Who built the bridge of {place}'s largest river?" if n % 2 else f"Are {place} and Rome big?",
            "answer": f"Ada {place}" if n % 2 else "yes",
            "type": "bridge" if n % 2 else "comparison",
            "level": "easy",
            "supporting_facts": [[f"{place} river", 0], [f"{place} bridge", 0], [f"{place} bridge", 1]],
            "context": [
                [f"{place} hills", [f"The hills of {place} are low.", " They are green."]],
                [f"{place} river", [f"The largest river of {place} is the {place} river."]],
                [f"{place} park", [f"{place} has a park."]],
                [f"{place} bridge", [f"The {place} bridge spans it.", f" It was built by Ada {place}, a town girl."]],
                [f"{place} zoo", [f"{place} has a zoo."]],
                [f"{place} mill", [f"{place} has a mill."]],
            ],
        }
        for n, place in enumerate(PLACES)
    ]
    path = folder / "hotpot_train_v1.1.json"
    path.write_text(json.dumps(records), encoding="utf-8")
    return path
