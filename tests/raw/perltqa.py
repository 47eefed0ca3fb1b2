import json
from pathlib import Path

MEMORIES = {
    "Ann Lee": {
        "profile": {"Occupation": "baker", "Hobbies": "chess"},
        "profile_description": "Ann is a baker who plays chess.",
        "social_relationship": "{'0_0_0': {'Relationship': 'brother', 'Supporting Characters': 'Ben'}}",
        "events": {"7_1_0": {"content": "In May Ann won a chess match in Oslo."}},
        "dialogues": {"7_1_0_0": {"contents": {"2023-05-02": ["Ann: I won!", "Ben: Well done."]}}},
    }
}
QUESTIONS = [
    {
        "Ann Lee": {
            "profile": [{"Question": "What is Ann?", "Answer": "A baker.", "Reference Memory": "Occupation"}],
            "social_relationship": [
                {"0_0_0": [{"Question": "Who is Ben?", "Answer": "Her brother.", "Reference Memory": "0_0_0"}]}
            ],
            "events": [{"1_0": [{"Question": "What did Ann win?", "Answer": "A match.", "Reference Memory": "0_1_0"}]}],
            "dialogues": [{"x": [{"Question": "Who praised Ann?", "Answer": "Ben.", "Reference Memory": "7_1_0_0#1"}]}],
        }
    }
]  # fmt: skip


def write(folder: Path) -> Path:
    """One person with a question on each section."""
    (folder / "perltmem_en_v2.json").write_text(json.dumps(MEMORIES), encoding="utf-8")
    (folder / "perltqa_en_v2.json").write_text(json.dumps(QUESTIONS), encoding="utf-8")
    return folder
