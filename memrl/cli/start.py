"""`memrl start`: four questions, and the config that answers them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from memrl.cli.console import SafeConsole, next_commands, waiting
from memrl.config.shipped import TINY
from memrl.config.starting import CPU, HARDWARE, PURPOSES, SMALL, TRY, Wish, written
from memrl.envs.suggest import did_you_mean
from memrl.errors import ConfigError, DataError

SYNTHETIC, MEMALPHA = "synthetic", "memalpha"
DATA: Mapping[str, str] = {
    SYNTHETIC: "made on the spot: people and what becomes of them",
    MEMALPHA: "Mem-alpha's published set, from the hub",
    "PATH": "a built set, or logs and documents of your own: a set is then built of them in data/",
}
MODELS: Mapping[str, str] = {
    TINY: "the embedded one, for a CPU",
    "Qwen/Qwen3-0.6B": "small, and quick",
    "Qwen/Qwen3-1.7B": "for 24 GB",
    "Qwen/Qwen3-4B": "for 80 GB",
    "PATH": "the folder of another model, or its name on the hub",
}
BEST: Mapping[str, str] = {CPU: TINY, SMALL: "Qwen/Qwen3-1.7B"}
"""The model that is proposed; on larger hardware Qwen3-4B."""
EMBEDDED_CHUNKS = {"chunk_tokens": 60, "longest": 60}
"""Options of a set of one's own that the embedded model, which reads 512 tokens, can take."""
CARD_OF: Mapping[str, str] = {"24gb": "RTX 4090 24 GB", "80gb": "H100 80 GB", "8x80gb": "H100 80 GB"}
EMBEDDED_TOKENS_A_MINUTE = 2_000_000
"""The shipped config's 16 million tokens take some eight minutes on two cores (docs/tutorials/first-run.md)."""


def add_start_command(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add `start` to the parser of `memrl`."""
    start = commands.add_parser(
        "start",
        parents=[common],
        help="a first config, from four questions",
        description=(
            "Ask four things (data, hardware, model, what for), or take them as options, and write a config that "
            "train, eval and export take, with its hours and memory. Nothing is overwritten."
        ),
        epilog="example: memrl start --data mylogs --hardware cpu --model tiny --purpose try --out mine.yaml",
        allow_abbrev=False,
    )
    start.add_argument("--data", metavar="DATA", help=f"{SYNTHETIC}, {MEMALPHA}, a built set, or logs of your own")
    start.add_argument("--hardware", metavar="NAME", help=", ".join(HARDWARE))
    start.add_argument("--model", metavar="NAME", help="tiny, a folder, or a name on the hub")
    start.add_argument("--purpose", metavar="NAME", help=", ".join(PURPOSES))
    start.add_argument("--out", type=Path, default=Path("start.yaml"), metavar="FILE", help="default: start.yaml")
    start.set_defaults(command=_start)


def _start(arguments: argparse.Namespace) -> None:
    out: Path = arguments.out
    if out.exists():
        raise ConfigError(f"{out} is there already, and nothing is overwritten. Name another file: --out FILE")
    if out.suffix not in (".yaml", ".yml"):
        raise ConfigError(f"--out {out} must end in .yaml, so that memrl train takes it as a config.")
    hardware = _chosen("hardware", arguments.hardware, "What will it run on?", HARDWARE, CPU)
    default = BEST.get(hardware, "Qwen/Qwen3-4B")
    model = _answer("model", arguments.model, "Which model?", MODELS, default)
    data = _answer("data", arguments.data, "What shall it learn from?", DATA, SYNTHETIC)
    purpose = _chosen("purpose", arguments.purpose, "What for?", PURPOSES, TRY)
    if model == TINY and hardware != CPU:
        raise ConfigError(f"the embedded model is for a CPU: give --hardware {CPU}, or --model {default}.")
    if hardware == CPU and data == MEMALPHA:
        raise ConfigError(
            f"{MEMALPHA} is for a GPU: its chunks have up to 1,910 tokens. Give other --data or --hardware."
        )
    train, evaluation, own = _sources(data, model)
    wish = Wish(train, evaluation, model, hardware, purpose, own, evidence=data != MEMALPHA)
    text = written(wish)
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("x", encoding="utf-8") as file:
        file.write(text)
    console = SafeConsole(highlight=False)
    console.print(f"written: {out}", markup=False)
    _tell_cost(out, hardware, console)
    run = Path("runs") / out.stem
    next_commands(
        ("check", ["memrl", "train", out, "--dry-run"]),
        ("train", ["memrl", "train", out]),
        ("measure", ["memrl", "eval", run]),
        ("take it out", ["memrl", "export", run, "--out", f"exported/{out.stem}"]),
    )


def _chosen(name: str, given: str | None, question: str, choices: Mapping[str, str], default: str) -> str:
    """Return one of `choices`.

    Raises:
        ConfigError: it is none of them, or nobody is there to be asked.
    """
    answer = _answer(name, given, question, choices, default)
    if answer not in choices:
        near = did_you_mean(answer, list(choices))
        raise ConfigError(f"--{name} is {answer!r}; choose from {', '.join(choices)}{near}")
    return answer


def _answer(name: str, given: str | None, question: str, choices: Mapping[str, str], default: str) -> str:
    """Return what the option says, else what the user answers; a number means the choice of that place."""
    if given is not None:
        return given
    console = SafeConsole(stderr=True, highlight=False)
    console.print(f"\n{question}", markup=False)
    for number, (choice, meaning) in enumerate(choices.items(), 1):
        console.print(f"  {number}  {choice}: {meaning}", markup=False)
    console.print(f"[{default}] ", markup=False, end="")
    try:
        answer = input().strip()
    except EOFError:
        if sys.stdin.isatty():
            raise KeyboardInterrupt from None
        raise ConfigError(f"nobody answers here: give --{name} ({', '.join(choices)})") from None
    if answer.isdigit() and 1 <= int(answer) <= len(choices):
        answer = list(choices)[int(answer) - 1]
    if answer == "PATH":
        console.print("where? ", end="")
        answer = input().strip()
    return answer or default


def _sources(data: str, model: str) -> tuple[dict[str, Any], dict[str, Any], bool]:
    """Return the sources of training and evaluation, and whether they are the user's own.

    Raises:
        DataError: nothing lies there, or no training can be had of it.
    """
    if data == SYNTHETIC:
        size = {"sentences": 3, "people": 16} if model == TINY else {"chunks": 4, "sentences": 8}
        asked = {"questions": 16} if model == TINY else {}
        return {"source": SYNTHETIC, **size, **asked}, {"source": SYNTHETIC, **size}, False
    if data == MEMALPHA:
        return {"source": MEMALPHA, "split": "train"}, {"source": MEMALPHA, "split": "test"}, False
    from memrl.data.card import CARD_FILE

    folder = Path(data).expanduser()
    if not folder.exists():
        near = did_you_mean(data, [SYNTHETIC, MEMALPHA])
        raise DataError(f"--data {data}: nothing is there, and no data is called so{near}.")
    if not (folder / CARD_FILE).is_file():
        folder = _built(folder, model)
    files = [folder / name for name in ("train.jsonl", "eval.jsonl")]
    if gone := [file.name for file in files if not file.is_file()]:
        raise DataError(
            f"{folder} has no {' and no '.join(gone)}: a config needs streams to learn from, and others to be measured "
            "on. Build it with eval_share=0.2, or of more text."
        )
    train, evaluation = ({"source": "jsonl", "path": str(file.resolve())} for file in files)
    return train, evaluation, True


def _built(origin: Path, model: str) -> Path:
    """Build a set of one's own logs or documents in data/, and return its folder."""
    from memrl.data.build import Job, build_sets, set_name

    name = set_name(str(origin)) + ("-tiny" if model == TINY else "")
    job = Job("logs", origin, name, EMBEDDED_CHUNKS if model == TINY else {})
    wrong: list[DataError] = []
    with waiting("builds a set"):
        build_sets(
            [job], Path("data"), done=lambda _, came: wrong.append(came) if isinstance(came, DataError) else None
        )
    if wrong:
        raise wrong[0]
    SafeConsole().print(f"built: data/{name}", markup=False)
    return Path("data") / name


def _tell_cost(config_file: Path, hardware: str, console: SafeConsole) -> None:
    """Say how much memory the run takes and how long it takes at most, as far as that is known."""
    from memrl.config import load_config
    from memrl.data.feed import StreamFeed
    from memrl.data.reach import out_of_reach
    from memrl.training.cost import PUBLISHED, estimate, measure

    config = load_config(config_file, machine=False)
    absent = out_of_reach(config.data)
    if absent:
        stats = PUBLISHED.get(absent[0])
        console.print(f"{absent[0]} is not on this disk: the figures are those that were published of it", markup=False)
        if stats is None:
            return
    else:
        streams = StreamFeed(config.data.train, config.data.path, config.seed, cycle=False).take(8)
        stats = measure(streams, config.model.path)
    found = estimate(config, stats)
    model = found["model"]
    if model is None:
        console.print(f"memory: not known, for {config.model.path} is not on this disk", markup=False)
    else:
        engine = f"{model['engine_gib']:.2g} GiB"
        if config.rollout.engine == "vllm":
            engine = f"{model['engine_weights_gib']:.2g} GiB and what its share of the card leaves for its cache"
        console.print(f"memory: learner {model['learner_gib']:.2g} GiB, engine {engine}")
    card = next((card for card in found["cards"] if card["card"] == CARD_OF.get(hardware)), None)
    if card is not None:
        console.print(f"hours: {card['hours_short_completions']:g} to {card['hours_at_most']:g} on one {card['card']}")
        for lacks in card["lacking"]:
            console.print(f"does not fit: {lacks}", markup=False)
    elif hardware == CPU:
        run = found["run"]
        tokens = run["prompt_tokens"] + run["completion_tokens"] + run["reader_tokens"] + run["learner_tokens"]
        said = "its first step tells how long one takes" if config.model.path != TINY else _embedded_minutes(tokens)
        console.print(f"time: {said}", markup=False)


def _embedded_minutes(tokens: int) -> str:
    """Return what the embedded model's run takes, by its default run."""
    minutes = tokens / EMBEDDED_TOKENS_A_MINUTE
    return f"about {minutes:.0f} minutes on two cores" if minutes >= 2 else "a minute or two on two cores"
