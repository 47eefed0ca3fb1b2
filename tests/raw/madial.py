import json
from pathlib import Path


def event(time: str, text: str) -> dict[str, str]:
    return {"time": time, "scene": "Activity", "emotion": "Happy", "event": text}


def write(folder: Path) -> Path:
    """Five events of two children and three talks."""
    events = {
        "1": event("2023-05-02", "Tom flew a red kite and was happy."),
        "2": event("2022-01-07", "Tom lost his left glove and was sad."),
        "4": event("2023-05-20", "Tom baked a cake with his aunt."),
        "7": event("2023-03-01", "Ida won a chess game."),
        "9": event("2023-04-01", "The neighbour's dog ran away."),
    }
    dialogues = [
        {
            "dialogue": [
                "<BOD>\n",
                '<Tom>: "It is so windy!"\n',
                '"A fine day to be outside."\n',
                '<Tom>: "What could I do?"\n',
                '<Assistant>: "Do you remember the red kite?"\n',
                '<Tom>: "Oh yes!"\n',
                "<EOD>\n",
            ],
            "test-turn": [4],
            "relevant-id": [1],
            "user-id": 1,
        },
        {
            "dialogue": [
                "<BOD>\n",
                '<Ida>: "I am bored."\n',
                '<Assistant>: "Play chess, as you did so well."\n',
                "<EOD>\n",
            ],
            "test-turn": [2],
            "relevant-id": [7, 9],
            "user-id": 2,
        },
        {
            "dialogue": [
                "<BOD>\n",
                '<Tom>: "It is cold."\n',
                "<Take care of your hands!>\n",
                '<Tom>: "Why?"\n',
                '<Assistant>: "You once lost a glove."\n',
                '<Tom>: "Yes."\n',
                '<Assistant>: "Let us bake something then."\n',
                "<EOD>\n",
            ],
            "test-turn": [4, 6],
            "relevant-id": [2, 4],
            "user-id": 1,
        },
    ]
    memory = "\n".join(json.dumps({name: one}) for name, one in events.items())
    (folder / "MADial-Bench-en-memory.json").write_text(memory + "\n", encoding="utf-8")
    talks = "\n".join(json.dumps(one) for one in dialogues)
    (folder / "MADial-Bench-en-dialogue.json").write_text(talks + "\n", encoding="utf-8")
    return folder
