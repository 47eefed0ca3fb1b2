from pathlib import Path


def write(folder: Path) -> Path:
    """Four fine classes of three coarse ones, in Latin-1."""
    kinds = {
        "DESC:manner": "How did town {} get its café ?",
        "HUM:ind": "Who was the first mayor of town {} ?",
        "NUM:date": "When was town {} founded ?",
        "NUM:count": "How many people live in town {} ?",
    }
    for name, towns in (("train_5500.label", range(30)), ("TREC_10.label", range(30, 34))):
        lines = [f"{label} {text.format(town)}" for label, text in kinds.items() for town in towns]
        (folder / name).write_text("\n".join(lines) + "\n", encoding="latin-1")
    return folder
