"""Export: what comes out is what was trained, in both formats, or nothing comes out."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

import memrl.export.formats
from memrl.cli import main as cli
from memrl.config import ModelConfig
from memrl.data.feed import StreamFeed
from memrl.engines.models import end_ids, load_model
from memrl.engines.prompting import Prompter
from memrl.envs.dialects.hermes import HermesDialect
from memrl.policies.agent_file import AGENT_FILE
from memrl.rollout.environment import new_env, new_memory
from memrl.rollout.preflight import first_prompt
from memrl.storage.files import find_damage
from memrl.training.trainer import Trainer
from tests.hub import Hub
from tests.support import ROOT, quiet, rows, small_config, untrained_run, with_other_eos


@pytest.fixture(scope="module")
def finished(quick_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished") / "run"
    settings = {"train.lr": 1e-2, "train.schedule": "constant", "train.warmup_steps": 0, "eval.every": 1}
    Trainer(small_config(quick_model, folder, settings), name="small", resume=False, console=quiet()).run()
    return folder


def exported(words: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    code = cli.main(["export", *words])
    shown = capsys.readouterr()
    return code, " ".join((shown.out + shown.err).split())


def read_card_of(folder: Path) -> tuple[dict[str, Any], str]:
    """Front matter and text of a model card."""
    _, front, text = (folder / "README.md").read_text().split("---\n", 2)
    return yaml.safe_load(front), text


def test_both_formats_are_the_trained_policy(
    finished: Path, quick_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = torch.tensor([[1, 30, 40, 50, 60, 70]])
    base = load_model(small_config(quick_model, tmp_path).model)(ids).logits
    trained = PeftModel.from_pretrained(
        load_model(small_config(quick_model, tmp_path).model), str(finished / "adapters" / "v00003")
    )(ids).logits
    assert (base - trained).abs().max() > 1e-3
    for format in ("adapter", "merged"):
        out = tmp_path / format
        code, said = exported([str(finished), "--out", str(out), "--format", format, "--adapter", "last"], capsys)
        assert code == 0, said
        assert "checked" in said
        assert find_damage(out) is None
        described = json.loads((out / AGENT_FILE).read_text())
        assert (described["adapter"], described["dialect"], described["format"]) == (
            "v00003",
            "hermes_content_first",
            format,
        )
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged", dtype=torch.float32)
    assert torch.allclose(merged(ids).logits, trained, atol=1e-4)
    assert AutoTokenizer.from_pretrained(tmp_path / "merged").chat_template
    adapted = PeftModel.from_pretrained(
        load_model(small_config(quick_model, tmp_path).model), str(tmp_path / "adapter")
    )
    assert torch.equal(adapted(ids).logits, trained)


@pytest.mark.parametrize("format", ["adapter", "merged"])
def test_the_folder_says_what_it_is_and_its_examples_run(
    format: str, finished: Path, quick_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    code, said = exported([str(finished), "--out", str(out), "--format", format, "--adapter", "step_00002"], capsys)
    assert (code, "played again, has the same tokens in 2 of 2 steps" in said) == (0, True)
    described = json.loads((out / AGENT_FILE).read_text())
    assert (described["adapter"], list(described["versions"])) == ("v00002", ["memrl", "torch", "transformers", "peft"])
    assert list(described["tools"]) == ["memory_insert", "memory_update", "memory_delete"]

    # Prompts from the file's own words are those of training.
    config = small_config(quick_model, tmp_path)
    [stream] = StreamFeed(config.data.eval, None, config.eval.seed).take(1)
    prompter = Prompter(AutoTokenizer.from_pretrained(out), HermesDialect())
    memory = new_memory(config.memory, prompter)
    page = new_env(config.memory, config.rollout, prompter, stream, memory).observe().messages[-1]
    ids = prompter.tokenizer.apply_chat_template(
        [*described["prompts"]["memorise"], page],
        tools=list(described["tools"].values()),
        add_generation_prompt=True,
        return_dict=False,
    )
    assert ids == first_prompt(config.memory, config.rollout, prompter, stream)

    for file in out.iterdir():
        if file.suffix in (".json", ".md", ".jinja"):
            for place in (quick_model.parent, tmp_path, finished.parent):
                assert str(place) not in file.read_text(), f"{file.name} tells where {place} was"
    front, text = read_card_of(out)
    assert front["library_name"] == {"adapter": "peft", "merged": "transformers"}[format]
    assert (front["pipeline_tag"], front["tags"]) == ("text-generation", ["memrl"])
    assert "base_model" not in front and "license" not in front  # a folder without a card
    scored = {row["step"]: row for row in rows(finished) if "eval/qa" in row}
    for name, step in {"first": 0, "last": 3, "this adapter": 2}.items():
        row = scored[step]
        figures = f"{row['eval/qa']:.3f} [{row['eval/qa_low']:.3f}, {row['eval/qa_high']:.3f}]"
        assert f"| {name} | {step} | {figures} | 2 |" in text
    assert (out / "curve.png").read_bytes().startswith(b"\x89PNG") and "](curve.png)" in text
    assert "`memrl eval` was not run" in text

    examples = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(examples) == 2
    places = {"THIS FOLDER": out, "THE BASE MODEL": quick_model, "memory.sqlite": tmp_path / "memory.sqlite"}
    for example in examples:
        for word, place in places.items():
            example = example.replace(word, str(place))
        exec(compile(example, "README.md", "exec"), {})


def test_a_run_that_has_just_begun_and_what_its_card_knows(
    quick_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, sets = tmp_path / "model", tmp_path / "sets"
    shutil.copytree(quick_model, model)
    (model / "README.md").write_text("---\nlicense: mit\n---\nA model.\n")
    assert cli.main(["data", "build", "synthetic", "--out", str(sets), "count=6", "chunks=2"]) == 0
    [streams] = sets.rglob("*.jsonl")
    held_out = f"[{{source: jsonl, path: {streams}}}]"
    run = untrained_run(model, tmp_path / "run", {"data.eval": held_out, "reader.type": "lexical"})
    code, said = exported([str(run), "--out", str(tmp_path / "young")], capsys)
    assert code == 0, said
    front, text = read_card_of(tmp_path / "young")
    assert front["license"] == "mit"
    assert "0 of 3 steps when it was exported" in text and not (tmp_path / "young" / "curve.png").exists()
    assert f"- held out: source `jsonl`, `{streams.name}`, weight 1\n  - set `synthetic`:" in text
    assert "; 6 streams, 12 chunks, " in text

    shutil.copytree(run / "adapters" / "v00001", run / "adapters" / "v00000")
    assert cli.main(["eval", str(run), "--baselines", "none"]) == 0
    for adapter, whose in (
        ("v00001", "this adapter"),
        ("v00000", "adapter v00001 of the run, NOT of this one (v00000)"),
    ):
        code, said = exported([str(run), "--out", str(tmp_path / adapter), "--adapter", adapter], capsys)
        assert code == 0, said
        table = (run / "eval" / "results.md").read_text().strip()
        assert f"`memrl eval` of {whose}.\n\n{table}\n" in read_card_of(tmp_path / adapter)[1]


PUSH = """
import sys
from memrl.envs.dialects.hermes import HermesDialect
from memrl.cli import main as cli
from memrl.data.feed import StreamFeed
run, out = sys.argv[1:]
for owner in ("ann", "closed", "gone"):
    print(owner, cli.main(["export", run, "--out", f"{out}/{owner}", "--push", f"{owner}/agent"]), flush=True)
"""


def test_a_finished_folder_is_uploaded_and_stays_where_that_fails(finished: Path, tmp_path: Path) -> None:
    with Hub() as hub:
        environment = {"HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0", "HF_TOKEN": "hf_test", "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, "-c", PUSH, str(finished), str(tmp_path)],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=120,
        )
    said = " ".join((done.stdout + done.stderr).split())
    assert re.findall(r"(ann|closed|gone) (\d)", said) == [("ann", "0"), ("closed", "1"), ("gone", "1")], said
    assert hub.tokens == {"Bearer hf_test"}
    assert [(made["organization"], made["visibility"]) for made in hub.made] == [("ann", "private")]
    written = {path.name: path.read_bytes() for path in (tmp_path / "ann").iterdir()}
    assert hub.files == {"ann/agent": written}
    assert "You may not write here" in said and "cannot be reached" in said
    for owner in ("closed", "gone"):
        assert find_damage(tmp_path / owner) is None
        assert f"hf upload {owner}/agent {tmp_path / owner} ." in said


def test_a_name_that_no_repository_can_have_is_refused_at_once(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said = exported([str(finished), "--out", str(tmp_path / "out"), "--push", "a/b/c"], capsys)
    assert (code, "'a/b/c' is no repository's name" in said) == (2, True)
    assert not (tmp_path / "out").exists()


def test_the_best_one_is_the_default(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scored = rows(finished)
    best = max(scored, key=lambda row: (row["eval/qa"], -row["step"]))
    assert exported([str(finished), "--out", str(tmp_path / "out")], capsys)[0] == 0
    described = json.loads((tmp_path / "out" / AGENT_FILE).read_text())
    assert described["adapter"] == f"v{int(best.get('learner/version', 0)):05d}"


def test_what_cannot_be_exported_is_said_and_nothing_is_left(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    code, said = exported([str(tmp_path / "nowhere"), "--out", str(out)], capsys)
    assert (code, "is no run folder" in said) == (2, True)
    code, said = exported([str(finished), "--out", str(out), "--adapter", "v00077"], capsys)
    assert (code, "has no adapter v00077; it has v00000" in said) == (2, True)
    broken = tmp_path / "broken"
    shutil.copytree(finished, broken, symlinks=True)
    weights = broken / "adapters" / "v00003" / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    code, said = exported([str(broken), "--out", str(out), "--adapter", "last"], capsys)
    assert (code, "is damaged: adapter_model.safetensors is not what was written" in said) == (1, True)
    load = memrl.export.formats.merge

    def spoilt(*arguments: object) -> torch.nn.Module:
        model: torch.nn.Module = load(*arguments)  # type: ignore[arg-type]
        with torch.no_grad():
            next(model.parameters()).mul_(1.5)
        return model

    monkeypatch.setattr(memrl.export.formats, "merge", spoilt)
    code, said = exported([str(finished), "--out", str(out), "--format", "merged"], capsys)
    assert (code, "is not the trained policy" in said) == (1, True)
    assert not out.exists()
    out.mkdir()
    code, said = exported([str(finished), "--out", str(out)], capsys)
    assert (code, "exists already" in said) == (2, True)


@pytest.mark.slow
def test_the_launch_script_writes_both(finished: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [ROOT / "launch" / "export.sh", finished, tmp_path / "out", "--adapter", "last"],
        env={
            "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
            "PYTHONPATH": str(ROOT),
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",
        },
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr
    assert find_damage(tmp_path / "out" / "adapter") is None
    assert find_damage(tmp_path / "out" / "merged") is None


def test_a_merged_export_names_every_token_that_ends_a_turn(quick_model: Path, tmp_path: Path) -> None:
    model = with_other_eos(quick_model, tmp_path / "model")
    tokenizer = AutoTokenizer.from_pretrained(model)
    ends = sorted(tokenizer.convert_tokens_to_ids(["<|endoftext|>", "<|im_end|>"]))
    assert tokenizer.eos_token == "<|endoftext|>"
    run = untrained_run(model, tmp_path / "run")
    memrl.export.export(run, tmp_path / "out", format="merged")
    assert json.loads((tmp_path / "out" / "generation_config.json").read_text())["eos_token_id"] == ends
    assert end_ids(ModelConfig(path=str(tmp_path / "out")), tokenizer) == ends
