import json
from pathlib import Path

CHAT = [
    {
        "batch_number": 1,
        "time_anchor": "March-15-2024",
        "turns": [
            [
                {"id": 0, "role": "user", "content": "My code word is cobalt."},
                {"id": 1, "role": "assistant", "content": "Noted."},
            ]
        ],
    },
    {
        "batch_number": 2,
        "time_anchor": "April-01-2024",
        "turns": [[{"id": 2, "role": "user", "content": "It is now indigo."}]],
    },
]
QUESTIONS = {
    "abstention": [{"question": "Who chose it?", "ideal_response": "It is not said.", "rubric": ["abstains"]}],
    "information_extraction": [
        {"question": "What was my code word?", "answer": "cobalt", "rubric": [], "source_chat_ids": [0]}
    ],
    "knowledge_update": [
        {"question": "What is it?", "ideal_answer": "indigo", "source_chat_ids": {"old": [0], "new": [2]}}
    ],
    "summarization": [{"question": "Sum it up.", "ideal_summary": "A code word and its change."}],
}


def write(folder: Path) -> Path:
    """One chat of two batches."""
    (folder / "probing_questions").mkdir()
    (folder / "chat.json").write_text(json.dumps(CHAT), encoding="utf-8")
    (folder / "probing_questions" / "probing_questions.json").write_text(json.dumps(QUESTIONS), encoding="utf-8")
    return folder
