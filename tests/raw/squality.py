import json
from pathlib import Path


def write(folder: Path) -> Path:
    """Two stories, hard-wrapped as the published ones are, two questions with two references each."""
    stories = []
    for number, hero in (("101", "Ada"), ("102", "Ben")):
        questions = [
            {
                "question_text": text,
                "question_number": n,
                "responses": [
                    {"worker_id": str(w), "uid": f"{n}{w}", "response_text": f"{hero} finds a lamp, says {w}.\n"}
                    for w in range(2)
                ],
            }
            for n, text in ((1, "What is the plot of the story?"), (2, f"What does {hero} find?"))
        ]
        document = (
            f"\n\n\n\nTHE LAMP\n \n  It was dark when {hero}\n   \n  came home.\n \n\n"
            f"{hero} fell over\na lamp and kept it. "
        )
        metadata = {"passage_id": number, "uid": f"u{number}", "license": "free"}
        stories.append({"metadata": metadata, "document": document, "questions": questions})
    path = folder / "train.jsonl"
    path.write_text("".join(json.dumps(story) + "\n" for story in stories), encoding="utf-8")
    return path
