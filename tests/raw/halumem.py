import json
from pathlib import Path
from typing import Any


def turns(*texts: str, time: str) -> list[dict[str, Any]]:
    roles = ("user", "assistant")
    return [
        {"role": roles[place % 2], "content": text, "timestamp": time, "dialogue_turn": place // 2}
        for place, text in enumerate(texts)
    ]


def point(content: str, *originals: str, source: str = "primary") -> dict[str, Any]:
    return {
        "index": 1,
        "memory_content": content,
        "memory_type": "Persona Memory",
        "memory_source": source,
        "is_update": "True" if originals else "False",
        "original_memories": list(originals),
        "importance": 0.75,
        "timestamp": "Sep 04, 2025, 09:00:00",
    }


def question(text: str, answer: str, kind: str, *evidence: str) -> dict[str, Any]:
    return {
        "question": text,
        "answer": answer,
        "evidence": [{"memory_content": content, "memory_type": "Persona Memory"} for content in evidence],
        "difficulty": "easy",
        "question_type": kind,
    }


def session(day: str, dialogue: list[str], points: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    start = f"{day}, 09:00:00"
    return {
        "start_time": start,
        "end_time": f"{day}, 09:30:00",
        "memory_points_count": len(points),
        "memory_points": points,
        "dialogue_turn_num": len(dialogue) // 2,
        "dialogue": turns(*dialogue, time=start),
        "dialogue_token_length": 30,
        **more,
    }


def user(name: str) -> dict[str, Any]:
    """Four sessions: a job and a dog, talk about nothing, a new job, and one without questions."""
    sessions = [
        session(
            "Sep 04, 2025",
            ["I am a baker and have a dog, Rex.", "Baking bread in Rome must be hard work."],
            [
                point("Ada is a baker."),
                point("Ada has a dog called Rex."),
                point("Ada lives in Rome.", source="interference"),
            ],
            questions=[
                question("What is Ada's job?", "Baker", "Basic Fact Recall", "Ada is a baker."),
                question("What is Ada's dog called?", "Rex", "Basic Fact Recall", "Ada has a dog  called rex."),
                question("What is Ada's blood type?", "Ada has not mentioned it.", "Memory Boundary"),
                question("Has Ada a cat?", "No, she has a dog.", "Memory Boundary"),
            ],
            question_count=4,
        ),
        session(
            "Oct 01, 2025",
            ["Why is the sky blue?", "Air scatters blue light most."],
            [],
            questions=[],
            is_generated_qa_session=True,
        ),
        session(
            "Nov 05, 2025",
            ["I work as a pilot now.", "Congratulations."],
            [point("Ada is a pilot.", "Ada is a baker.")],
            questions=[
                question("What does Ada do now?", "Pilot", "Dynamic Update", "Ada is a pilot.", "Ada is a baker."),
                question("What gift suits Ada?", "A model plane", "Generalization & Application", "Not a point."),
            ],
        ),
        session("Dec 01, 2025", ["Good night.", "Good night."], []),
    ]
    return {"uuid": name, "persona_info": "Name: Ada; Gender: female; ...", "sessions": sessions, "token_cost": {}}


def write(folder: Path) -> Path:
    """Two users."""
    path = folder / "HaluMem-Medium.jsonl"
    lines = (json.dumps(user(name), ensure_ascii=False) for name in ("user-a", "user-b"))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
