import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

UNREAD = ("test-00000-of-00001.parquet",)
"""Of the split that is not read by default."""
LABEL = "Sentence: {}\nWhat are the labels for the above sentence? Put your final answer in <answer></answer>."
ANSWERS: dict[str, Any] = {
    "squad": "Oslo",
    "hotpotqa": "Oslo",
    "perltqa": "Oslo; Norway",
    "lme_train": "The user would prefer answers that know of Oslo.",
    "pubmed-rct": "2",
    "icl_nlu_8296shot_balance": "17",
    "icl_trec_coarse_6600shot_balance": "3",
    "booksum": "Ada, Oslo, journey",
    "ruler_qa1_197K": ["Oslo", "oslo"],
    "ruler_qa2_421K": ["Oslo"],
    "longmemeval_s*": ["You did not mention this information. You mentioned Oslo but not Bergen."],
    "icl_banking77_5900shot_balance": ["17"],
    "icl_clinic150_7050shot_balance": ["17"],
    "icl_trec_fine_6400shot_balance": ["17"],
    "infbench_sum_eng_shots2": ["Ada", "Oslo", "journey"],
}
"""An answer of the form that each published data source has."""
TRAIN = tuple(ANSWERS)[:8]
BENCH = ("icl_nlu_8296shot_balance", "icl_trec_coarse_6600shot_balance", *tuple(ANSWERS)[8:])


def row(number: int, source: str, answer: Any = None) -> dict[str, Any]:
    """One stream in the columns of the published table."""
    labels = source.startswith(("icl_", "pubmed"))
    question = LABEL.format("Ada lives in Oslo.") if labels else "Where does Ada live?"
    answer = ANSWERS.get(source, "Oslo") if answer is None else answer
    return {
        "instance_id": f"{source}_{number}",
        "prompt": "",
        "chunks": json.dumps([f"[Dialogue {number}] Ada lives in Oslo.", "Ben likes tea."]),
        "questions_and_answers": json.dumps([{"question": question, "answer": answer}]),
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
    train = [row(0, "squad"), row(1, "perltqa"), row(2, "icl_nlu_8296shot_balance")]
    save(folder / "train-00000-of-00001.parquet", train)
    save(folder / "test-00000-of-00001.parquet", [row(3, "hotpotqa")])
    return folder
