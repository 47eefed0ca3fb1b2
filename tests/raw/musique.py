import json
from pathlib import Path

PLACES = ("Oslo", "Lima", "Cairo", "Tunis")


def record(place: str, answerable: bool = True) -> dict[str, object]:
    """A question of four paragraphs; without an answer, the one that has it lacks."""
    texts = [
        ("hills", f"The hills of {place} are low."),
        ("river", f"The largest river of {place} is the {place} river."),
        ("bridge", f"The {place} river is spanned by a bridge of Ada {place}."),
        ("zoo", f"{place} has a zoo."),
    ]
    if not answerable:
        texts[2] = ("mill", f"{place} has a mill.")
    return {
        "id": f"2hop__{len(place)}_{place}",
        "question": f"Who built a bridge over {place}'s largest river?",
        "question_decomposition": [
            {"id": 1, "question": f"largest river of {place}?", "answer": "x", "paragraph_support_idx": 1},
            {"id": 2, "question": "who built a bridge over #1?", "answer": "x", "paragraph_support_idx": 2},
        ],
        "answer": f"Ada {place}",
        "answer_aliases": [f"A. {place}"],
        "answerable": answerable,
        "paragraphs": [
            {
                "idx": n,
                "title": f"{place} {name}",
                "paragraph_text": text,
                "is_supporting": name in ("river", "bridge"),
            }
            for n, (name, text) in enumerate(texts)
        ],
    }


def write(folder: Path) -> Path:
    """Four questions, and the twin of one that cannot be answered, as in MuSiQue-Full."""
    records = [*map(record, PLACES), record("Oslo", answerable=False)]
    path = folder / "musique_full_v1.0_train.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in records), encoding="utf-8")
    return path
