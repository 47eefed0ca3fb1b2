import json
from pathlib import Path
from typing import Any


def point(text: str, source: str = "primary", **more: Any) -> dict[str, Any]:
    return {"index": 1, "memory_content": text, "memory_type": "Persona Memory", "memory_source": source, **more}


def question(text: str, answer: str, *evidence: str, kind: str = "Basic Fact Recall") -> dict[str, Any]:
    shown = [{"memory_content": memory, "memory_type": "Persona Memory"} for memory in evidence]
    return {"question": text, "answer": answer, "evidence": shown, "difficulty": "easy", "question_type": kind}


USER = {
    "uuid": "u1",
    "persona_info": "Ann, a baker.",
    "sessions": [
        {
            "start_time": "Sep 04, 2025, 18:42:19",
            "dialogue": [
                {"role": "user", "content": "I bake, and I live in Oslo."},
                {"role": "assistant", "content": "You also paint."},
            ],
            "memory_points": [point("Ann bakes."), point("Ann lives in Oslo."), point("Ann paints.", "interference")],
            "questions": [
                question("What does Ann do?", "She bakes.", "Ann bakes."),
                question("Where does Ann live?", "In Oslo.", "Ann lives in Oslo."),
                question("Which sport does Ann do?", "Unknown.", kind="Memory Boundary"),
            ],
        },
        {
            "start_time": "Oct 01, 2025, 09:00:00",
            "dialogue": [{"role": "user", "content": "I moved to Rome."}],
            "memory_points": [point("Ann lives in Rome.", is_update="True", original_memories=["Ann lives in Oslo."])],
            "questions": [
                question("Where does Ann live now?", "In Rome.", "Ann lives in Rome.", kind="Dynamic Update")
            ],
        },
    ],
}


def write(folder: Path) -> Path:
    """One user of two sessions, the second of which replaces what the first said."""
    path = folder / "HaluMem-Medium.jsonl"
    path.write_text(json.dumps(USER) + "\n", encoding="utf-8")
    return path
