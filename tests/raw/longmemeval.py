import json
from pathlib import Path

SESSIONS = [
    [
        {"role": "user", "content": "I bought a tent for 60 euros.", "has_answer": True},
        {"role": "assistant", "content": "Nice."},
    ],
    [{"role": "user", "content": "How do tides work?"}, {"role": "assistant", "content": "By the moon."}],
]


def record(name: str, **more: object) -> dict[str, object]:
    """One question with two sessions of history."""
    return {
        "question_id": name,
        "question_type": "single-session-user",
        "question": "How much was the tent?",
        "answer": 60,
        "question_date": "2023/05/30 (Tue) 23:40",
        "haystack_dates": ["2023/05/20 (Sat) 02:21", "2023/05/21 (Sun) 10:00"],
        "haystack_session_ids": ["answer_1", "ultrachat_2"],
        "haystack_sessions": SESSIONS,
        "answer_session_ids": ["answer_1"],
        **more,
    }


def write(folder: Path) -> Path:
    """Three questions: with labelled turns, with labelled sessions only, and one that nothing answers."""
    plain = [[{key: turn[key] for key in ("role", "content")} for turn in session] for session in SESSIONS]
    records = [
        record("q1"),
        record("q2", haystack_sessions=plain, answer="60 euros"),
        record("q3_abs", answer="unknown"),
    ]
    path = folder / "longmemeval_oracle.json"
    path.write_text(json.dumps(records), encoding="utf-8")
    return path
