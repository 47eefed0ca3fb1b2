import json
from pathlib import Path

OPTIONS = {"count": 4, "keys": 3, "updates": 4}
"""What a build needs to end, and a small file to suffice."""


def write(folder: Path) -> Path:
    """Four categories of forty words."""
    kinds = ("river", "tree", "star", "soup")
    path = folder / "dict_category_double-word_4-40_v1-1.json"
    path.write_text(json.dumps({kind: [f"{kind}{n} old" for n in range(40)] for kind in kinds}), encoding="utf-8")
    return path
