from pathlib import Path


def write(folder: Path) -> Path:
    """Abstracts of four sentences, one of each role."""
    roles = {"OBJECTIVE": "To see whether", "METHODS": "We counted how often", "RESULTS": "In @ % of the cases"}
    for part, numbers in (("train", range(100, 130)), ("dev", range(200, 205)), ("test", range(300, 305))):
        abstracts = [
            "\n".join(
                [f"###{n}", *(f"{role}\t{text} drug {n} helped ." for role, text in roles.items())],
            )
            for n in numbers
        ]
        (folder / f"{part}.txt").write_text("\n\n".join(abstracts) + "\n\n", encoding="utf-8")
    return folder
