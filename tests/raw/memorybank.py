import json
from pathlib import Path


def write(folder: Path) -> Path:
    """Two users of three days each, the days out of order; one name is spelt with blanks."""
    days = ("2023-05-02", "2023-04-27", "2023-05-01")
    users = {
        name: {
            "name": name.strip(),
            "summary": {},
            "history": {
                day: [
                    {"query": f"On {day} I saw {n} {bird}s in the park.", "response": f"What did the {bird}s do?"}
                    for n in (2, 3)
                ]
                for day in days
            },
        }
        for name, bird in (("Nora", "heron"), (" Otto ", "crow"))
    }
    (folder / "memory_bank_en.json").write_text(json.dumps(users), encoding="utf-8")
    probes = [{"Nora": ["What did I see?", "When?"]}, {"Otto": ["Which birds?"]}]
    lines = "\n".join(json.dumps(line) for line in probes)
    (folder / "probing_questions_en.jsonl").write_text(lines + "\n", encoding="utf-8")
    return folder
