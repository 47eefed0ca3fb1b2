import json
from pathlib import Path
from typing import Any


def session(text: str, topics: dict[str, tuple[str, Any]], **more: Any) -> dict[str, Any]:
    return {
        "type": ["filler-add", *["instruction-add"] * len(topics)],
        "topic": ["social events", *topics],
        "text": text,
        "session_regex": list(topics.values()),
        "session_eval_query": [],
        "history_regex": [],
        "history_eval_query": [],
        "session_length": "short",
        **more,
    }


def dialogue() -> dict[str, Any]:
    """Three sessions: two rules, nothing, and a new version of one rule."""
    first = {
        "always end function names with '_x'": ("function", ".*_x$"),
        "always add comments in your code": ("comment", True),
    }
    last = {"always start function names with 'b_'": ("function", "^b_.*")}
    return {
        "context": {"mentor": "Ann", "mentee": "Bob", "company": "ACME", "mentor_persona": "", "mentee_persona": ""},
        "instructions": [[[6, 0], [24, 0]], [-1], [[6, 1]]],
        "fillers": [1, 2, 3],
        "sessions": [
            session("Ann: End function names with '_x'.\n\nBob: I will.\n\nAnn: And add comments.", first),
            session("[They meet at lunch.]\n\nBob: Nice soup.\n\nWith bread.", {}),
            session(
                "Ann: Start function names with 'b_' from now on.",
                last,
                history_regex=[("function", "^b_.*"), ("comment", True)],
                history_eval_query=["function that implements merge sort", "Heap class with an insert method"],
            ),
        ],
    }


def write(folder: Path) -> Path:
    """Two dialogues."""
    for number in (1, 2):
        (folder / f"dialogue_{number}.json").write_text(json.dumps(dialogue()), encoding="utf-8")
    return folder
