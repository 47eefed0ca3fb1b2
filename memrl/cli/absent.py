"""The things that a look at a config cannot check on this machine, since they are not there: each is said."""

from __future__ import annotations

from collections.abc import Sequence

from memrl.config import Config, check_config
from memrl.config.check import ALL_LINEAR
from memrl.config.shipped import TINY

IN_A_FOLDER = "Download it, and give its folder: data.path=FOLDER"
"""The way around a hub that does not answer."""


def not_checked(config: Config, absent: Sequence[str]) -> list[str]:
    """Return what of a config cannot be checked on this machine, in words.

    Args:
        absent: published sets that are out of reach.

    Raises:
        ConfigError: the model is known, and cannot do what the config asks of it.
    """
    from memrl.training.cost import model_folder, model_shape
    from memrl.training.footprint import experts, no_estimate

    told = check_config(config)
    lines = [line for line in told if line not in check_config(config, machine=False)]
    if config.rollout.engine == "vllm" and not any("not installed" in line for line in lines):
        lines.append("what vLLM makes of the model: it was not started")
    if absent:
        lines.append(f"the data: {', '.join(absent)} is not on this disk, and the hub does not answer. {IN_A_FOLDER}")
    path = config.model.path
    shape = model_shape(path)
    here = model_folder(path) is not None
    if not here:
        lines.append(f"prompts and their lengths: the tokenizer of {path} is not on this disk")
        lines.append(f"what {path} computes: its weights are not on this disk")
    if shape is not None and (key := experts(shape)) is not None:
        lines.append(no_estimate(path, key))
    if shape is None:
        lines.append(f"whether model.lora fits: the architecture of {path} is not known here")
    elif path != TINY and "model_type" in shape and (here or config.model.lora.target_modules != ALL_LINEAR):
        # Of known models all linear layers are known to do: a test tries them, and this brings torch.
        from memrl.learner.outline import check_outline

        check_outline(config.model, shape, config.rollout.engine)
    return lines
