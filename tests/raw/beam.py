import json
from pathlib import Path
from typing import Any


def turn(number: int, content: str, time: str | None = None) -> dict[str, Any]:
    if number % 2:
        return {"role": "assistant", "id": number, "content": content}
    more = {"time_anchor": time} if time else {}
    return {"role": "user", "id": number, **more, "index": "1,1", "question_type": "main_question", "content": content}


def groups() -> list[list[list[dict[str, Any]]]]:
    """Two sessions, the first of two groups of turns."""
    return [
        [
            [turn(0, "My sprint ends on March 29. ->-> 1,N/A", "March-15-2024"), turn(1, "Good.")],
            [turn(2, "Always give version numbers. ->-> 1,2"), turn(3, "I will.")],
        ],
        [[turn(4, "It ends on April 2 now.\nI use Flask. ->-> 2,1", "April-01-2024"), turn(5, "Noted.")]],
    ]


def batches() -> list[dict[str, Any]]:
    return [{"batch_number": number, "turns": turns} for number, turns in enumerate(groups(), start=1)]


def probe(question: str, sources: Any, *rubric: str, **more: Any) -> dict[str, Any]:
    entry = {"question": question, "difficulty": "easy", "rubric": list(rubric), **more}
    return entry if sources is None else {**entry, "source_chat_ids": sources}


def probes() -> dict[str, list[dict[str, Any]]]:
    return {
        "abstention": [probe("Where do I live?", None, "there is no information", ideal_response="There is no ...")],
        "knowledge_update": [
            probe(
                "When does my sprint end?",
                {"original_info": [0], "updated_info": [4]},
                "LLM response should state: April 2",
                answer="It ends on April 3.",
            )
        ],
        "event_ordering": [probe("In which order?", [[0], [2, 0], "--"], "Sprint", "Versions", answer="1) Sprint ...")],
        "instruction_following": [
            probe(
                "Which libraries do I use?",
                [2],
                "LLM response should contain: version numbers",
                "LLM response should contain: Flask",
                expected_compliance="Response should have them.",
            )
        ],
        "information_extraction": [probe("What do I use?", [], answer="Flask")],
        "summarization": [
            probe("Sum up.", [0, 4], "LLM response should contain: a sprint", ideal_summary="A sprint moved to April.")
        ],
    }


def put(folder: Path, chat: Any, questions: Any) -> None:
    (folder / "probing_questions").mkdir(parents=True)
    (folder / "chat.json").write_text(json.dumps(chat, indent=2), encoding="utf-8")
    path = folder / "probing_questions" / "probing_questions.json"
    path.write_text(json.dumps(questions, indent=4), encoding="utf-8")


def write(folder: Path) -> Path:
    """Two chats, as the repository has them."""
    for name in ("1", "2"):
        put(folder / name, batches(), probes())
    return folder
