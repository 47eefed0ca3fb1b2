import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

UNREAD = ("test-00000-of-00001.parquet",)
"""Of the split that is not read by default."""


def row(number: int, source: str, answer: Any = "Oslo") -> dict[str, Any]:
    """One stream in the columns of the published table."""
    return {
        "instance_id": f"{source}_{number}",
        "prompt": "",
        "chunks": json.dumps([f"[Dialogue {number}] Ada lives in Oslo.", "Ben likes tea."]),
        "questions_and_answers": json.dumps([{"question": "Where does Ada live?", "answer": answer}]),
        "data_source": source,
        "num_chunks": 2,
        "num_questions": 1,
        "metadata": "{}",
    }


def save(path: Path, rows: list[dict[str, Any]]) -> Path:
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def write(folder: Path) -> Path:
    """Three streams to train on and one to test."""
    save(
        folder / "train-00000-of-00001.parquet", [row(0, "squad"), row(1, "perltqa", "Oslo; Norway"), row(2, "nlu", 7)]
    )
    save(folder / "test-00000-of-00001.parquet", [row(3, "hotpotqa")])
    return folder
