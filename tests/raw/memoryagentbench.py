from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

SPLITS = {
    "Accurate_Retrieval": ("ruler_qa1_197K", ["Oslo", "oslo"]),
    "Test_Time_Learning": ("icl_banking77_5900shot_balance", ["17"]),
    "Long_Range_Understanding": ("infbench_sum_eng_shots2", ["A story of a journey."]),
    "Conflict_Resolution": ("factconsolidation_sh_6k", ["Rome"]),
}


def row(source: str, answers: list[str]) -> dict[str, Any]:
    """One context in the columns of the published table."""
    return {
        "context": "Ada lives in Oslo. She likes it.\n\nBen lives in Rome.",
        "questions": ["Where?", "And where else?"],
        "answers": [answers, answers],
        "metadata": {"source": source, "question_ids": ["a", "b"], "keypoints": None},
    }


def write(folder: Path) -> Path:
    """One context of each competency."""
    for split, (source, answers) in SPLITS.items():
        table = pa.Table.from_pylist([row(source, answers)])
        pq.write_table(table, folder / f"{split}-00000-of-00001.parquet")
    return folder
