import json
from pathlib import Path

MEMORIES = {
    "Ann Lee": {
        "profile": {"Occupation": "baker", "Hobbies": "chess"},
        "profile_description": "Ann is a baker who plays chess.",
        "social_relationship": "{'7_0': {'Relationship': 'brother', 'Supporting Characters': 'Ben'}}",
        "events": {
            "7_0_0": {"content": "Ann won a chess match in Oslo.", "summary": "", "Creation Time": "May 2, 2023"},
            "7_0_1": {"content": "Ann sold her shop.", "summary": "", "Creation Time": "June 2023"},
        },
        "dialogues": {
            "7_0_0#0": {"events": "7_0_0", "contents": {"2023-05-02 10:00": ["Ann: I won!", "Ben: Well done."]}},
            "7_0_1#1": {"events": "7_0_1", "contents": {"2023-06-09 10:00": ["Ann: The shop is sold."]}},
        },
    }
}
QUESTIONS = [
    {
        "Ann Lee": {
            "profile": [{"Question": "What is Ann?", "Answer": "A baker.", "Reference Memory": "Occupation"}],
            "social_relationship": [
                {"7_0": [{"Question": "Who is Ben?", "Answer": "Her brother.", "Reference Memory": "['7_0']"}]}
            ],
            "events": [
                {"7_0_0": [{"Question": "What did Ann win?", "Answer": "A match.", "Reference Memory": "['7_0_0']"}]}
            ],
            "dialogues": [
                {"7_0_0#0": [{"Question": "Who praised Ann?", "Answer": "Ben.", "Reference Memory": "['7_0_0#0']"}]}
            ],
        }
    }
]  # fmt: skip


def write(folder: Path) -> Path:
    """One person with a question on each section."""
    (folder / "perltmem_en_v2.json").write_text(json.dumps(MEMORIES), encoding="utf-8")
    (folder / "perltqa_en_v2.json").write_text(json.dumps(QUESTIONS), encoding="utf-8")
    return folder
