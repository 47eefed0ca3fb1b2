from pathlib import Path

HEADER = "answerid;scenario;intent;answer_annotation;answer_from_anno;answer_from_user"


def write(folder: Path) -> Path:
    """Three intents, a file each in the training and in the test part."""
    for place, count in (("trainset", 30), ("testset/csv", 4)):
        (folder / place).mkdir(parents=True)
        for scenario, intent in (("alarm", "set"), ("alarm", "query"), ("play", "music")):
            said = [f"please {intent} the {scenario} of room {n} {place[:4]}" for n in range(count)]
            rows = [
                f'{n};{scenario};{intent};"[thing : {text}]";"{text}";"{text.title()}."' for n, text in enumerate(said)
            ]
            text = "\n".join([HEADER, *rows]) + "\n"
            (folder / place / f"{scenario}_{intent}.csv").write_text(text, encoding="utf-8")
    return folder
