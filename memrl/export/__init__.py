"""The export of a run as something that can be used without it: an adapter folder, or a model with the adapter merged
in, as safetensors or as a GGUF file, each with its model card.

What is exported is loaded again and compared with base + adapter (`memrl.export.check`) before it gets its name.
"""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from memrl.config import load_config
from memrl.data.feed import StreamFeed
from memrl.engines.models import load_tokenizer, portable_name
from memrl.errors import CheckpointError, ConfigError
from memrl.export.card import write_card
from memrl.export.check import PROMPTS, Check, compare, hear
from memrl.export.formats import FORMATS, open_trained, open_written, write_model
from memrl.export.gguf import refuse_uncovered
from memrl.policies.agent_file import AGENT_FILE, describe, example_page, longest_chunk
from memrl.storage.files import new_folder, write_json_atomic
from memrl.storage.rundir import CONFIG_FILE, check_run, find_adapter

__all__ = ["AGENT_FILE", "FORMATS", "Check", "export"]
log = logging.getLogger(__name__)
_NEAR = 2
"""Folders up from an export, within which its base model's place is told."""


def export(run: Path, out: Path, *, format: str = "adapter", adapter: str = "best", model: str | None = None) -> Check:
    """Write `out`, whole or not at all; works on a run that still goes on.

    Args:
        format: one of FORMATS: `adapter` (peft's folder), `merged` (safetensors that need no peft), or `gguf`.
        adapter: `best` (as `best_row` of `memrl.storage.rundir`), `last`, a version's name like v00012, or a
            checkpoint's like step_00012.
        model: where the base model is, if no longer where the run found it.

    Returns:
        How near what was exported is to base + adapter.

    Raises:
        ConfigError: `run` is no run, it has no such adapter, `out` exists, the base model cannot be loaded, or the
            format does not cover it.
        DataError: the held-out data is no longer there, or a newer version wrote the run's folder (FormatError).
        CheckpointError: the adapter is damaged, or what was exported is not the same policy.
    """
    if not (run / CONFIG_FILE).is_file():
        raise ConfigError(f"{run} is no run folder: it has no {CONFIG_FILE}.")
    check_run(run)
    if out.exists():
        raise ConfigError(f"{out} exists already; give another --out.")
    if format not in FORMATS:
        raise ConfigError(f"there is no format {format!r}; choose from {', '.join(FORMATS)}.")
    config = load_config(run / CONFIG_FILE, [f"model.path={model}"] if model else [], check=False)
    found = find_adapter(run, adapter)
    tokenizer = load_tokenizer(config.model)
    if format == "gguf":
        refuse_uncovered(config.model, tokenizer)
    streams = StreamFeed(config.data.eval, config.data.path, config.eval.seed, cycle=False).take(PROMPTS)
    with TemporaryDirectory() as held, new_folder(out) as folder:
        # a run that goes on removes the adapters that it no longer needs
        source = Path(shutil.copytree(found, Path(held) / found.name))
        log.info("%s: base + adapter reads %d held-out streams", found.name, len(streams))
        expected = hear(open_trained(config, source), config, streams)
        log.info("%s: writing %s", found.name, format)
        write_model(format, config.model, source, tokenizer, folder)
        log.info("%s: the exported policy reads the same", found.name)
        policy = open_written(format, config, folder)
        try:
            exact = config.model.dtype == "float32" and format != "gguf"
            check = compare(policy, config, streams, expected, exact=exact)
        except CheckpointError as error:
            raise CheckpointError(
                f"the {format} model of {found} was read again and refused: {error}. Nothing was exported. Export the "
                "adapter instead."
            ) from error
        if format == "gguf":  # not before the check: transformers would read it in place of the file's own
            tokenizer.save_pretrained(folder)
        told = describe(
            config, found.name, format, policy.prompter, longest_chunk(config.data, config.seed, policy.prompter)
        )
        told["base_model"] = _seen_from(out, config.model.path)
        write_json_atomic(folder / AGENT_FILE, told)
        page = example_page(config.memory, config.rollout, policy.prompter)
        write_card(folder, run, config, told, page, check)
    return check


def _seen_from(out: Path, path: str) -> str:
    """Return `model.path` for the folder `out`.

    Of a model that lies near it is told where, seen from there, so that both may be moved together; of one elsewhere
    only the name, as `./NAME`, since its place is this machine's affair.
    """
    folder = Path(path).expanduser()
    if not folder.is_dir():
        return path
    model, here = folder.resolve(), out.resolve()
    shared = Path(os.path.commonpath([model, here]))
    if shared != Path(shared.anchor) and len(here.relative_to(shared).parts) <= _NEAR:
        return os.path.relpath(model, here)
    return f"./{portable_name(path)}"
