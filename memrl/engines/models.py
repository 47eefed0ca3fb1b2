"""Loading a policy's tokenizer and weights, with messages that say what is missing.

What a dry run asks of the embedded model brings no torch: its tokenizer and the length of its context. Nothing out of a
model folder is ever run: no Python of its own (`auto_map`), no pickled weights.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memrl.config import ModelConfig
from memrl.config.shipped import TINY, TINY_MODEL
from memrl.config.weights import PICKLED, pickled_weights
from memrl.engines.memory import first_line, give_back_memory, out_of_memory, room_on
from memrl.engines.probe import turn_end
from memrl.errors import ConfigError

if TYPE_CHECKING:
    import torch

CODE_OF_ITS_OWN = (
    "it brings Python code of its own (auto_map), and memrl never runs code out of a model folder. Use a model whose "
    "architecture transformers has"
)
"""Said of a model that transformers could load by running what lies in its folder, and by nothing else."""


def model_path(config: ModelConfig) -> str:
    """`model.path`, with "tiny" resolved to the model inside the package.

    Raises:
        ConfigError: a folder that is named is not a model folder.
    """
    path = str(TINY_MODEL) if config.path == TINY else config.path
    if config.path == TINY and not TINY_MODEL.is_dir():
        raise ConfigError(f"the embedded model is missing ({path}). Build it by: memrl tiny build")
    folder = Path(path).expanduser()
    if folder.is_dir() and not (folder / "config.json").is_file():
        raise ConfigError(f"model.path {path!r} is no model folder: it has no config.json.")
    return str(folder) if folder.is_dir() else path


def portable_name(path: str) -> str:
    """Return what a model is called away from this machine: its hub name, `tiny`, or the name of its folder."""
    if not path or path == TINY or not Path(path).expanduser().exists():
        return path if not Path(path).is_absolute() else Path(path).name
    folder = Path(path).expanduser().resolve()
    return TINY if folder == TINY_MODEL.resolve() else folder.name


def device_of(config: ModelConfig) -> torch.device:
    """`model.device`, where "auto" is the GPU if there is one.

    Raises:
        ConfigError: it is a GPU, and torch sees none.
    """
    import torch

    if config.device == "cuda" and not torch.cuda.is_available():
        built = "torch sees no CUDA device here" if torch.version.cuda else "torch is installed here without CUDA"
        raise ConfigError(
            f"model.device is cuda, and {built} ({torch.__version__}). Use model.device=cpu (or auto), or mend the "
            "driver or CUDA_VISIBLE_DEVICES; memrl doctor says what this machine has."
        )
    if config.device != "auto":
        return torch.device(config.device)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def load_tokenizer(config: ModelConfig) -> Any:
    """The policy's tokenizer.

    Raises:
        ConfigError: the folder or hub name holds none.
    """
    path = model_path(config)
    if config.path == TINY:  # its class is known; to find it out by the model's config would bring torch
        from transformers import PreTrainedTokenizerFast as Tokenizer
    else:
        from transformers import AutoTokenizer as Tokenizer
    try:
        return Tokenizer.from_pretrained(path, trust_remote_code=False)
    except Exception as error:  # a damaged tokenizer.json is a bare Exception of the tokenizers library
        raise _cannot("tokenizer", path, error) from error


def _cannot(what: str, path: str, error: Exception) -> ConfigError:
    """Return the error of a folder or hub name out of which something cannot be loaded."""
    why = CODE_OF_ITS_OWN if "trust_remote_code" in str(error) else str(error)
    return ConfigError(f"no {what} can be loaded from model.path {path!r}: {why}")


def context_length(config: ModelConfig) -> int | None:
    """Tokens the model can attend to, by its config.json; None where it does not say.

    Raises:
        ConfigError: the folder or hub name holds no model config.
    """
    path = model_path(config)
    if config.path == TINY:
        return int(json.loads((Path(path) / "config.json").read_text(encoding="utf-8"))["max_position_embeddings"])
    from transformers import AutoConfig

    try:
        described = AutoConfig.from_pretrained(path, trust_remote_code=False).get_text_config()
    except (OSError, ValueError) as error:
        raise _cannot("model", path, error) from error
    length = getattr(described, "max_position_embeddings", None)
    return None if length is None else int(length)


def carries_state(config: ModelConfig) -> bool:
    """Return whether a model's layers carry a state from token to token (Mamba, linear attention), and do not only
    attend.

    Raises:
        ConfigError: the folder or hub name holds no model config.
    """
    if config.path == TINY:
        return False
    from transformers import AutoConfig, DynamicCache

    try:
        described = AutoConfig.from_pretrained(model_path(config), trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise _cannot("model", config.path, error) from error
    return any(hasattr(layer, "recurrent_states") for layer in DynamicCache(config=described).layers)


def load_model(config: ModelConfig, device: torch.device | None = None) -> Any:
    """A fresh copy of the base model, in evaluation mode, on `device` (None: `model.device`).

    Raises:
        ConfigError: the folder or hub name holds no causal language model, or one that memory does not hold.
    """
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM

    path = model_path(config)
    if (pickled := pickled_weights(Path(path))) is not None:
        raise ConfigError(f"model.path {path!r} {PICKLED.format(pickled)}")
    place = device_of(config) if device is None else device
    try:
        model = AutoModelForCausalLM.from_pretrained(
            path, dtype=getattr(torch, config.dtype), trust_remote_code=False, use_safetensors=True
        )
        return model.to(place).eval()
    except (OSError, ValueError, SafetensorError, RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            if isinstance(error, RuntimeError):
                raise
            raise _cannot("model", path, error) from error
        failed = first_line(error)
    give_back_memory()
    raise ConfigError(
        f"the model {path!r} does not fit in {config.dtype} into the memory of {room_on(place)}: {failed}. Use "
        f"{'' if config.dtype == 'bfloat16' else 'model.dtype=bfloat16, '}a smaller model (model.path), or leave it "
        "more room: end other programs there, lower vllm.gpu_memory_utilization, or use model.device=cpu."
    )


def score_completion(model: Any, prompt_ids: Sequence[int], completion_ids: Sequence[int]) -> list[float]:
    """Log-probs (nats) of given completion ids under the unscaled distribution of a causal LM."""
    import torch

    with torch.no_grad():
        ids = torch.tensor([[*prompt_ids, *completion_ids]], device=model.device)
        logits = model(input_ids=ids, logits_to_keep=len(completion_ids) + 1).logits[0, :-1].float()
        wanted = torch.tensor(list(completion_ids), device=ids.device)[:, None]
        scored: list[float] = torch.log_softmax(logits, dim=-1).gather(1, wanted).squeeze(1).tolist()
    return scored


def end_ids(config: ModelConfig, tokenizer: Any) -> list[int]:
    """Every id that ends a turn: the tokenizer's, the chat template's, and those that the model's generation config
    adds."""
    from transformers import AutoConfig, GenerationConfig

    path = model_path(config)
    try:
        more = GenerationConfig.from_pretrained(path).eos_token_id
    except OSError:  # a folder without generation_config.json
        more = AutoConfig.from_pretrained(path, trust_remote_code=False).get_text_config().eos_token_id
    listed = more if isinstance(more, list) else [] if more is None else [more]
    end = turn_end(tokenizer) if tokenizer.chat_template else None
    return sorted({tokenizer.eos_token_id, *listed, *([] if end is None else [end])})
