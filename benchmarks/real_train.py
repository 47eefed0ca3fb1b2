"""Train a real model on real text, on two CPU cores: a warm start, then GRPO. One command, which goes on where it was.

    .venv/bin/python -m benchmarks.real_train --model models/smollm2-135m-instruct --data dev-v2.0.json.gz

Everything is set by configs/smollm2-memory.yaml, which also counts what it costs. First both dtypes are tried on a few
hundred tokens, and the faster one is kept for the whole run: processors differ in it by a factor of eight, either way.
Words of the form key=value change settings. `--smoke` goes the whole way with a few streams: two minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from memrl.storage.files import write_json_atomic

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ROOT / "configs" / "smollm2-memory.yaml"
PIPELINE = "pipeline.json"
"""What a folder was begun with."""
DTYPES = ("bfloat16", "float32")
TRIED = 256
"""Tokens of the pass by which dtypes are compared."""
SMOKE = {
    "sft": ["sft.streams=4", "sft.steps=3", "sft.batch_size=4", "sft.save_every=2"],
    "train": [
        "train.steps=1", "train.group_size=3", "train.streams_per_step=1", "rollout.refill_rounds=0", "eval.streams=2",
        "rollout.max_completion_tokens=48", "sft.streams=4",
    ],
}  # fmt: skip
"""Settings of `--smoke`, by stage."""


def seconds_of(model: str, dtype: str) -> float:
    """Return what a forward and a backward pass through a model take in a dtype, the second of two."""
    import torch

    from memrl.config import LoraConfig, ModelConfig
    from memrl.engines.models import load_model
    from memrl.learner.lora import wrap_lora

    loaded = load_model(ModelConfig(path=model, dtype=dtype, device="cpu"))
    wrapped = wrap_lora(loaded, LoraConfig(), seed=0)
    ids = torch.arange(TRIED)[None] + 100
    spent = 0.0
    for _ in range(2):
        began = time.monotonic()
        wrapped.get_base_model().base_model(input_ids=ids).last_hidden_state.float().sum().backward()
        spent = time.monotonic() - began
    return spent


def begun_with(model: str, out: Path) -> dict[str, Any]:
    """Return the model and the dtype that a folder was begun with; where it is new, with this model, and the dtype that
    is faster here.

    Raises:
        SystemExit: it was begun with another model.
    """
    file = out / PIPELINE
    if file.is_file():
        told: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        if told["model"] != model:
            raise SystemExit(f"{out} was begun with --model {told['model']}. Use that, or another --out.")
        return told
    found = {dtype: round(seconds_of(model, dtype), 3) for dtype in DTYPES}
    told = {"model": model, "dtype": min(found, key=lambda name: found[name]), "seconds": found}
    write_json_atomic(file, told)
    return told


def commands(out: Path, words: Sequence[str], *, smoke: bool) -> dict[str, list[str]]:
    """Return the two stages' commands, by the stage."""
    sft, train = (SMOKE[stage] if smoke else [] for stage in ("sft", "train"))
    name = [str(CONFIG), "--resume", "auto"]
    return {
        "sft": ["sft", *name, *sft, *words, f"sft.dir={out / 'sft'}", f"run.dir={out / 'grpo'}"],
        "train": ["train", *name, *train, *words, f"model.path={out / 'sft'}", f"run.dir={out / 'grpo'}"],
    }


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="models/smollm2-135m-instruct", help="its folder (default: %(default)s)")
    parser.add_argument("--data", default="data/squad/dev-v2.0.json.gz", help="a SQuAD file (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("runs/real"), help="default: %(default)s")
    parser.add_argument("--smoke", action="store_true", help="the whole way, in two minutes")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings in place of the config's")
    asked = parser.parse_args(words)
    for path, option in ((Path(asked.model) / "config.json", "--model"), (Path(asked.data), "--data")):
        if not path.exists():
            parser.error(f"{option}: {path} does not exist; name the folder of SmolLM2-135M-Instruct and a SQuAD file")
    out: Path = asked.out.resolve()
    told = begun_with(str(Path(asked.model).resolve()), out)
    settings = [
        f"model.path={told['model']}",
        f"data.path={Path(asked.data).resolve()}",
        f"model.dtype={told['dtype']}",
        *asked.overrides,
    ]
    for stage, command in commands(out, settings, smoke=asked.smoke).items():
        print(f"{stage}: memrl {' '.join(command)}", flush=True)
        done = subprocess.run(
            [sys.executable, "-m", "memrl.cli", *command],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))},
        )
        if done.returncode:
            raise SystemExit(done.returncode)


if __name__ == "__main__":
    main()
