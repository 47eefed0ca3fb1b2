import json
from pathlib import Path

DOCUMENTS = (
    {
        "id": "trip",
        "text": "Ada went to Oslo in May. She took the train.\n\nIn June she was in Rome, with her brother Ben.",
        "questions": [
            {"question": "Where was Ada in June?", "answer": "Rome", "evidence": ["In June she was in Rome"]},
            {"question": "How did Ada go to Oslo?", "answers": ["by train", "the train"], "kind": "how"},
        ],
    },
    {
        "id": "chat",
        "messages": [
            {"role": "user", "content": "I am allergic to nuts.", "time": "2025-03-01"},
            {"role": "assistant", "content": "I will keep that in mind."},
        ],
        "questions": [{"question": "What is the user allergic to?", "answer": "nuts", "metric": "substring"}],
    },
    {
        "id": "weeks",
        "sessions": [
            {"time": "2025-03-01", "messages": [{"speaker": "Ben", "text": "I live in Bern."}]},
            {"time": "2025-03-08", "messages": [{"speaker": "Ben", "text": "I moved to Basel."}]},
        ],
        "questions": [{"question": "Where does Ben live?", "answer": "Basel", "evidence": ["moved to Basel"]}],
    },
)


def write(folder: Path) -> Path:
    """A document, a chat, and a chat in sessions."""
    path = folder / "documents.jsonl"
    path.write_text("".join(json.dumps(document) + "\n" for document in DOCUMENTS), encoding="utf-8")
    return path
