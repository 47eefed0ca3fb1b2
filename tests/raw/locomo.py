import json
from pathlib import Path


def write(folder: Path) -> Path:
    """One conversation of two sessions, a question of each category."""
    record = {
        "sample_id": "conv-1",
        "conversation": {
            "speaker_a": "Ann",
            "speaker_b": "Bob",
            "session_1_date_time": "1:56 pm on 8 May, 2023",
            "session_1": [
                {"speaker": "Ann", "dia_id": "D1:1", "text": "I adopted a cat yesterday."},
                {"speaker": "Bob", "dia_id": "D1:2", "text": "Lovely!", "blip_caption": "a grey cat", "img_url": []},
            ],
            "session_2_date_time": "2:00 pm on 9 June, 2023",
            "session_2": [{"speaker": "Ann", "dia_id": "D2:1", "text": "The cat is called Mia."}],
        },
        "qa": [
            {"question": "What is Ann's cat called?", "answer": "Mia", "evidence": ["D1:1; D2:1"], "category": 1},
            {"question": "When did Ann adopt a cat?", "answer": "7 May 2023", "evidence": ["D1:1"], "category": 2},
            {
                "question": "What might Ann buy?",
                "answer": "cat food; since she has a cat",
                "evidence": [],
                "category": 3,
            },
            {"question": "How many cats has Ann?", "answer": 1, "evidence": ["D:1:01"], "category": 4},
            {
                "question": "What is Bob's cat called?",
                "adversarial_answer": "Mia",
                "evidence": ["D2:1"],
                "category": 5,
            },
        ],
        "event_summary": {},
    }
    path = folder / "locomo10.json"
    path.write_text(json.dumps([record]), encoding="utf-8")
    return path
