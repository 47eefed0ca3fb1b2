import json
from pathlib import Path
from typing import Any


def turn(speaker: str, content: str, **more: Any) -> dict[str, Any]:
    return {"speaker": speaker, "content": content, "is_query": False, "query_id": None, **more}


def query(number: int, content: str, category: str) -> dict[str, Any]:
    more = {"is_query": True, "query_id": f"Q-{number:04d}", "topic": "Garden", "session_type": "single_session"}
    return turn("User", content, **{**more, "category_name": category})


def reply(content: str, *sessions: str) -> dict[str, Any]:
    used = [{"session_uuid": session, "content": "..."} for session in sessions]
    return turn("Assistant", content, memory_used=used, memory_session_uuids=list(sessions))


def point(content: str, source: str, session: str) -> dict[str, Any]:
    return {
        "index": "Garden_1-DM-S1_01-01",
        "type": "Dynamic",
        "content": content,
        "source_turn": 1,
        "source_content_snapshot": source,
        "source_role_snapshot": "User",
        "session_uuid": session,
    }


def write(folder: Path) -> Path:
    """Three sessions of one person; the second and third hold queries."""
    dialogues = [
        {
            "session_identifier": "Garden_1:S1_01",
            "session_uuid": "aa11",
            "current_time": "2026-01-05 (Monday)",
            "dialogue_turns": [
                turn("User", "I have planted beans on the balcony."),
                turn("Assistant", "Water them every second day."),
            ],
            "extracted_memory": [
                point("The user grows beans.", "I have planted beans on the balcony.", "aa11"),
                point("Watering: every second day.", "Water them every second day.", "aa11"),
                point("A schedule from nowhere.", "", "aa11"),
            ],
        },
        {
            "session_identifier": "Garden_1:S2_01",
            "session_uuid": "bb22",
            "current_time": "2026-01-09 (Friday)",
            "dialogue_turns": [
                query(1, "The leaves turn yellow. How often did you say?", "Dynamic Incremental"),
                reply("Every second day; yellow means too much.", "aa11"),
                turn("User", "I see. I will use a smaller can."),
            ],
            "extracted_memory": [
                point("The leaves turn yellow.", "The leaves turn yellow. How often did you say?", "bb22"),
                point("Yellow leaves: too much water.", "Every second day; yellow means too much.", "bb22"),
                point("A schedule that the reply may have made.", "", "bb22"),
            ],
        },
        {
            "session_identifier": "Garden_1:S3_01",
            "session_uuid": "cc33",
            "current_time": "2026-02-01 (Sunday)",
            "dialogue_turns": [
                query(2, "What did I want to water with?", "Temporal-reasoning"),
                reply("With a smaller can.", "bb22", "aa11"),
            ],
            "extracted_memory": [],
        },
    ]
    about = {"person_name": "Mia_Berg", "total_sessions": len(dialogues), "total_tokens": 99}
    path = folder / "Mia_Berg_dialogues_256k.json"
    path.write_text(json.dumps({"_metadata": about, "dialogues": dialogues}), encoding="utf-8")
    return path
