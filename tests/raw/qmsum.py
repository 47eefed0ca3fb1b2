import json
from pathlib import Path


def write(folder: Path) -> Path:
    """Two meetings of 40 turns, a general and a specific query each."""
    meetings = []
    for thing in ("remote control", "lamp"):
        turns = [{"speaker": "Ann", "content": f"{{vocalsound}} Turn {n} is on the {thing} ."} for n in range(40)]
        turns[3]["content"] = "{gap}"
        meetings.append(
            {
                "topic_list": [{"topic": thing, "relevant_text_span": [["0", "39"]]}],
                "general_query_list": [{"query": "Summarize the meeting.", "answer": f"They spoke of the {thing}."}],
                "specific_query_list": [
                    {
                        "query": f"What was said last on the {thing}?",
                        "answer": "Something in turn 35.",
                        "relevant_text_span": [["34", "36"], ["38", "41"]],
                    }
                ],
                "meeting_transcripts": turns,
            }
        )
    path = folder / "val.jsonl"
    path.write_text("".join(json.dumps(meeting) + "\n" for meeting in meetings), encoding="utf-8")
    return path
