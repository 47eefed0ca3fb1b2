import json
from pathlib import Path

TOPICS = ("travel_trains", "shop_lamps", "pet_food")


def item(topic: str, number: int) -> dict[str, object]:
    return {
        "preference": f"I want nothing in colour {number} for {topic}.",
        "question": f"What do you recommend for {topic}, number {number}?",
        "explanation": "The usual answer has that colour.",
    }


def options(topic: str, number: int) -> list[str]:
    return [f"A plain one for {topic} {number}.", *(f"A {shade} one in colour {number}." for shade in ("dark", "pale"))]


def write(folder: Path, items: int = 6) -> Path:
    """Three topics, some items each, in the two files of each topic that are read."""
    choices, talks = folder / "mcq_options", folder / "implicit_preference" / "choice-based"
    for place in (choices, talks):
        place.mkdir(parents=True)
    for topic in TOPICS:
        chosen = [
            {**item(topic, n), "violation_probability": 1.0, "classification_task_options": options(topic, n)}
            for n in range(items)
        ]
        shown = [
            {
                **item(topic, n),
                "implicit_query": "...",
                "options": [],
                "aligned_op": "plain",
                "conversation": {
                    "query": f"Which {topic} is good, case {n}?",
                    "assistant_options": f"1. plain {topic} {n} 2. dark {topic} {n}",
                    "user_selection": f"The plain {topic} {n}.",
                    "assistant_acknowledgment": "Good.",
                },
            }
            for n in range(items)
        ]
        (choices / f"{topic}.json").write_text(json.dumps(chosen), encoding="utf-8")
        (talks / f"{topic}.json").write_text(json.dumps(shown), encoding="utf-8")
    return folder
