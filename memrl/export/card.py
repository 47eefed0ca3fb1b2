"""The model card of an exported folder: `README.md` with the front matter that the Hugging Face Hub reads.

It says what the run folder says, and nothing else: figures come from metrics.jsonl and eval/results.md, data from the
cards of the built sets.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import ModelCard, ModelCardData

from memrl.config import Config, ModelConfig
from memrl.data.card import CARD_FILE, read_card
from memrl.engines.models import model_path, portable_name
from memrl.envs.specs import parse_spec
from memrl.export.check import Check
from memrl.export.gguf import FILE
from memrl.policies.agent_file import AGENT_FILE, EXAMPLE
from memrl.report.curve import draw_curve
from memrl.report.tables import shown
from memrl.storage.files import MANIFEST, write_text_atomic
from memrl.storage.rundir import EVALUATION_FILE, METRICS_FILE, MetricsFile, best_row

CARD = "README.md"
CURVE = "curve.png"
_HUB_NAME = re.compile(r"\w[\w.-]*/[\w.-]+")
_SECTIONS = ("model", "train", "loss", "advantage", "rewards", "memory")
_WHAT = {
    "adapter": "a LoRA adapter for {base}",
    "merged": "{base} with a LoRA adapter merged into its weights",
    "gguf": "{base} with a LoRA adapter merged into its weights, as a GGUF file",
}


def write_card(folder: Path, run: Path, config: Config, told: Mapping[str, Any], page: str, check: Check) -> None:
    """Write README.md, and the run's learning curve beside it.

    Args:
        told: the content of memory_agent.json.
        page: a message as the policy reads it, for the example.

    Raises:
        DataError: the card of a data set is damaged.
    """
    name = run.resolve().name
    metrics = MetricsFile(run / METRICS_FILE).rows()
    if metrics:
        draw_curve(metrics, folder / CURVE, f"{name}, seed {config.seed}")
    base = f"`{portable_name(config.model.path)}`" if config.model.path != "tiny" else "memrl's embedded tiny model"
    what = _WHAT[told["format"]].format(base=base)
    about = (
        f"Adapter {told['adapter']} of the run `{name}`, exported by memrl {told['memrl']}: {what}. It reads a text "
        f"piece by piece and writes a memory of the design `{told['memory']['design']}` by the tools "
        f"{', '.join(told['tools'])} ({told['dialect']} dialect); a reader answers questions from that memory alone. "
        f"`{AGENT_FILE}` says how it was trained to be asked, `{MANIFEST}` has the SHA-256 of every file."
    )
    sections = {
        "Use": _use(told, page),
        "Check": f"Loaded again after it was written, and compared with base + adapter: {check}.",
        "Training": _training(metrics, told["adapter"], config),
        "Evaluation": _evaluation(run / "eval", told["adapter"]),
        "Data": "\n".join(
            [
                *_data("training", config.data.train, config.data.path),
                *_data("held out", config.data.eval, config.data.path),
            ]
        ),
        "Limits": "\n".join(f"- {line}" for line in _limits(config, told["format"])),
    }
    front = f"---\n{_front_matter(config.model, told['format'])}\n---"
    parts = [front, f"# {name}: a memory agent", about, *(f"## {title}\n\n{text}" for title, text in sections.items())]
    write_text_atomic(folder / CARD, "\n\n".join(parts) + "\n")


def _front_matter(config: ModelConfig, format: str) -> str:
    data = ModelCardData(
        # the hub refuses a card whose base model is no name of the hub's
        base_model=config.path if _on_hub(config.path) else None,
        library_name="peft" if format == "adapter" else "transformers",
        pipeline_tag="text-generation",
        license=_licence(config),
        tags=["memrl", *(["gguf"] if format == "gguf" else [])],
    )
    return str(data.to_yaml())


def _on_hub(path: str) -> bool:
    return _HUB_NAME.fullmatch(path) is not None and not Path(path).exists()


def _licence(config: ModelConfig) -> str | None:
    """The base model's, where its folder has a card that says it; the embedded model has this package's."""
    if config.path == "tiny":
        return "apache-2.0"
    card = Path(model_path(config)) / CARD
    if not card.is_file():
        return None
    licence: str | None = ModelCard.load(card, ignore_metadata_errors=True).data.get("license")
    return licence


def _use(told: Mapping[str, Any], page: str) -> str:
    found = told["format"] != "adapter" or told["base_model"] == "tiny" or _on_hub(told["base_model"])
    opened = "" if found else ', base_model="THE BASE MODEL"'
    agent = f"""\
```python
from memrl import MemoryAgent

with MemoryAgent.open("THIS FOLDER"{opened}, store="memory.sqlite", user="ann") as agent:
    agent.read({EXAMPLE.chunks[0].text!r}, time={EXAMPLE.chunks[0].time!r})
    print(agent.ask({EXAMPLE.questions[0].text!r}).text)
```

Or without memrl, one step of its reading:

"""
    load = {
        "adapter": """\
base = "{base}"
model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base, dtype="{dtype}"), folder)
tokenizer = AutoTokenizer.from_pretrained(folder)""",
        "merged": """\
model = AutoModelForCausalLM.from_pretrained(folder, dtype="{dtype}")
tokenizer = AutoTokenizer.from_pretrained(folder)""",
        "gguf": """\
model = AutoModelForCausalLM.from_pretrained(folder, gguf_file="{file}", dtype="{dtype}")
tokenizer = AutoTokenizer.from_pretrained(folder)""",
    }[told["format"]].format(
        dtype=told["dtype"], file=FILE, base=told["base_model"] if _on_hub(told["base_model"]) else "THE BASE MODEL"
    )
    peft = "from peft import PeftModel\n" if told["format"] == "adapter" else ""
    plain = f"""\
```python
import json
from pathlib import Path

{peft}from transformers import AutoModelForCausalLM, AutoTokenizer

folder = "THIS FOLDER"
told = json.loads(Path(folder, "{AGENT_FILE}").read_text())
{load}
messages = [
    *told["prompts"]["memorise"],
    {{"role": "user", "content": {json.dumps(page)}}},
]
prompt = tokenizer.apply_chat_template(
    messages,
    tools=list(told["tools"].values()),
    add_generation_prompt=True,
    enable_thinking=False,
    return_tensors="pt",
    return_dict=True,
)
written = model.generate(**prompt, max_new_tokens=told["max_completion_tokens"], do_sample=False)
print(tokenizer.decode(written[0, prompt["input_ids"].shape[1] :], skip_special_tokens=True))
```"""
    return ("" if told["format"] == "gguf" else agent) + plain


def _training(metrics: list[dict[str, Any]], adapter: str, config: Config) -> str:
    scored = [row for row in metrics if "eval/qa" in row]
    lines = [f"{max((row['step'] for row in metrics), default=0)} of {config.train.steps} steps when it was exported."]
    if scored:
        best = best_row(scored) or scored[0]
        version = int(adapter.removeprefix("v"))
        mine = [row for row in scored if row.get("learner/version", 0) == version]
        rows = {"first": scored[0], "best": best, "last": scored[-1], **({"this adapter": mine[0]} if mine else {})}
        lines += ["", "| held-out QA | step | score, 95 % interval | streams |", "|---|---|---|---|"]
        lines += [
            f"| {name} | {row['step']} | {shown(_interval(row))} | {row['eval/streams']:.0f} |"
            for name, row in rows.items()
        ]
        if not mine:
            lines += ["", f"{adapter} itself was not evaluated in the run."]
    if metrics:
        lines += ["", f"![the learning curve]({CURVE})"]
    settings: dict[str, Any] = {
        "seed": config.seed,
        **{name: asdict(getattr(config, name)) for name in _SECTIONS},
        "reader": config.reader.type,
    }
    settings["model"]["path"] = portable_name(config.model.path)
    return "\n".join([*lines, "", "```yaml", yaml.safe_dump(settings, sort_keys=False).rstrip(), "```"])


def _interval(row: dict[str, Any]) -> dict[str, Any]:
    return {"value": row["eval/qa"], "low": row.get("eval/qa_low"), "high": row.get("eval/qa_high")}


def _evaluation(folder: Path, adapter: str) -> str:
    """The table of `memrl eval`, and whose it is."""
    try:
        table = (folder / "results.md").read_text(encoding="utf-8").strip()
        measured = Path(json.loads((folder / EVALUATION_FILE).read_text(encoding="utf-8"))["policy"]).name
    except FileNotFoundError:
        return "`memrl eval` was not run on it: there are no figures beside baselines."
    whose = "this adapter" if measured == adapter else f"adapter {measured} of the run, NOT of this one ({adapter})"
    return f"`memrl eval` of {whose}.\n\n{table}"


def _data(part: str, specs: list[dict[str, Any]], path: str | None) -> Iterator[str]:
    """Each source of `part`, and the card of the built set that it reads."""
    for spec in (parse_spec(raw, path) for raw in specs):
        file = Path(spec.options["path"]) if "path" in spec.options else None
        rest = ", ".join(f"{key}={value}" for key, value in spec.options.items() if key != "path")
        of = f", `{file.name}`" if file else ""
        yield f"- {part}: source `{spec.name}`{of}{f' ({rest})' if rest else ''}, weight {spec.weight:g}"
        if file is not None and (file.parent / CARD_FILE).is_file():
            card = read_card(file.parent)
            origin = {"from": card.home, "version": card.version, "licence": card.licence or "not known"}
            known = "".join(f"; {name} {value}" for name, value in origin.items() if value)
            yield (
                f"  - set `{card.name}`: {card.about}{known}; {card.streams:,} streams, {card.chunks:,} chunks, "
                f"{card.questions:,} questions, {card.tokens:,} tokens; built {card.date}"
            )


def _limits(config: Config, format: str) -> Iterator[str]:
    memory = config.memory
    yield (
        f"It was trained with a memory of {memory.budget:,} tokens, of which it sees {memory.render_budget:,} as it "
        f"reads, and with prompts of up to {config.rollout.max_prompt_tokens:,}; longer texts have to be cut in pieces."
    )
    yield (
        f"Held-out figures are those of the run's own held-out streams with the reader `{config.reader.type}`; another "
        "reader answers otherwise, and other texts were measured only where an evaluation above says so."
    )
    yield "What it stores is what it made of the text: it may leave things out or store what the text does not say."
    if format != "adapter" and config.model.dtype != "float32":
        yield f"The merged weights are rounded to {config.model.dtype}: changes smaller than that are lost."
    if format == "gguf":
        yield "The file was read back by transformers, not by llama.cpp. MemoryAgent does not open it."
