"""The models that dense retrieval and rerankers ask: from a folder on this machine, loaded once, asked in batches.

What a model has said of a text is kept, so that a text is embedded once in a process, however many memories hold it.
torch and the libraries are imported when a model is loaded.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from memrl.envs.errors import EnvironmentFault, PluginError
from memrl.envs.tools import clean_text

Row = NDArray[np.float32]
Key = TypeVar("Key", bound=Hashable)
Said = TypeVar("Said")
DEVICES = ("cpu", "cuda")
_KEPT = 100_000
"""Things of which it is kept what a model has said."""
_LONGEST = 512
"""Tokens of a text that a model reads at most."""


class AskedOnce(Generic[Key, Said]):
    """The sayings of a model on things, kept. One thread asks it at a time: its tokenizer takes no two.

    Args:
        say: returns what the model says of each of several things.
    """

    def __init__(self, say: Callable[[Sequence[Key]], Iterable[Said]]) -> None:
        self._say = say
        self._said: OrderedDict[Key, Said] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, things: Sequence[Key]) -> list[Said]:
        """Return what the model says of each thing.

        Raises:
            EnvironmentFault: that is no number.
        """
        with self._lock:
            new = [thing for thing in dict.fromkeys(things) if thing not in self._said]
            if new:
                self._said.update(zip(new, self._say(new), strict=True))
            for thing in things:
                self._said.move_to_end(thing)
            found = [self._said[thing] for thing in things]
            while len(self._said) > _KEPT:
                self._said.popitem(last=False)
        return found


Embedder = AskedOnce[str, Row]
"""Gives texts their embeddings, of length 1."""
Judged = AskedOnce[tuple[str, str], float]
"""Gives pairs of a query and a text a score, greater for the better match."""


def check_folder(option: str, folder: str, device: str) -> None:
    """See that there is a model in a folder, without loading it.

    Raises:
        PluginError: there is none, or no such device.
    """
    path = Path(folder).expanduser()
    if not path.is_dir():
        raise PluginError(
            f"{option} {folder!r} is no folder of this machine; give the folder of a model (hf download NAME "
            "--local-dir FOLDER)"
        )
    if not any((path / name).is_file() for name in ("config.json", "modules.json")):
        raise PluginError(f"{option} {folder!r} holds no config.json; give the folder of a transformers model")
    if device not in DEVICES:
        raise PluginError(f"device is {device!r}; choose from {', '.join(DEVICES)}")
    if find_spec("torch") is None:
        raise PluginError(f"{option} needs torch, which is not installed here; install it: pip install 'memrl[train]'")
    if is_sentence_model(path) and find_spec("sentence_transformers") is None:
        raise PluginError(
            f"{option} {folder!r} is a model of sentence-transformers, which is not installed here; install it: pip "
            "install 'memrl[dense]'"
        )


def is_sentence_model(folder: Path) -> bool:
    """Return whether a folder says itself how its embeddings are made; of others the mean over a text's tokens is
    taken."""
    return (folder / "modules.json").is_file()


@lru_cache(maxsize=8)
def load_embedder(folder: str, device: str = "cpu", batch: int = 32) -> Embedder:
    """Return the embedding model in a folder, loaded once.

    Args:
        batch: texts that are embedded together.

    Raises:
        PluginError: it cannot be loaded.
    """
    path = Path(folder).expanduser()
    if is_sentence_model(path):
        return sentence_embedder(str(path), device, batch)
    import torch

    model, tokenizer = _load("AutoModel", path, device)

    def embed(texts: Sequence[str]) -> Row:
        rows = np.zeros((len(texts), model.config.hidden_size), np.float32)
        for places in _batches([len(text) for text in texts], batch):
            told = _tokens(tokenizer, model, [clean_text(texts[place]) for place in places], None)
            with torch.inference_mode():
                states = model(**told).last_hidden_state.float()
            mask = told["attention_mask"].unsqueeze(-1).to(states.dtype)
            mean = (states * mask).sum(1) / mask.sum(1).clamp(min=1)
            rows[places] = torch.nn.functional.normalize(mean, dim=-1).cpu().numpy()
        return _finite(folder, rows)

    return Embedder(embed)


def sentence_embedder(name: str, device: str = "cpu", batch: int = 32, *, download: bool = False) -> Embedder:
    """Return a model of sentence-transformers.

    Args:
        name: its folder, or its name on the hub.
        download: from the hub, where it is not on this machine.

    Raises:
        PluginError: sentence-transformers is not installed, or there is no such model.
    """
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise PluginError(
            f"{name} needs sentence-transformers ({error}). Install it: pip install 'memrl[dense]'"
        ) from error
    try:
        model = SentenceTransformer(name, device=device, local_files_only=not download, trust_remote_code=False)
    except (OSError, ValueError, RuntimeError) as error:
        raise _not_loaded(name, error) from error

    def embed(texts: Sequence[str]) -> Row:
        told = [clean_text(text) for text in texts]
        rows = model.encode(told, batch_size=batch, normalize_embeddings=True, show_progress_bar=False)
        return _finite(name, rows)

    return Embedder(embed)


@lru_cache(maxsize=8)
def load_cross_encoder(folder: str, device: str = "cpu", batch: int = 32) -> Judged:
    """Return the cross-encoder in a folder, loaded once: a classifier of pairs, whose last class is "it fits".

    Raises:
        PluginError: it cannot be loaded.
    """
    import torch

    model, tokenizer = _load("AutoModelForSequenceClassification", Path(folder).expanduser(), device)

    def score(pairs: Sequence[tuple[str, str]]) -> list[float]:
        scores = np.zeros(len(pairs), np.float32)
        for places in _batches([len(query) + len(text) for query, text in pairs], batch):
            queries, texts = zip(*(map(clean_text, pairs[place]) for place in places), strict=True)
            with torch.inference_mode():
                logits = model(**_tokens(tokenizer, model, list(queries), list(texts))).logits.float()
            fits = logits[:, -1] - (logits[:, :-1].logsumexp(-1) if logits.shape[-1] > 1 else 0.0)
            scores[places] = fits.cpu().numpy()
        found: list[float] = _finite(folder, scores).tolist()
        return found

    return Judged(score)


def _finite(name: str, numbers: Row) -> Row:
    if not np.isfinite(numbers).all():
        raise EnvironmentFault(f"the model {name} gives what is no number; use another one")
    return numbers


def _load(kind: str, folder: Path, device: str) -> tuple[Any, Any]:
    import transformers

    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        model = getattr(transformers, kind).from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, use_safetensors=True
        )
        return model.to(device).eval(), tokenizer
    except (OSError, ValueError, RuntimeError, KeyError, AttributeError) as error:
        raise _not_loaded(str(folder), error) from error


def _not_loaded(name: str, error: Exception) -> PluginError:
    return PluginError(f"no model can be loaded from {name!r} ({' '.join(str(error).split())[:200]})")


def _batches(lengths: Sequence[int], size: int) -> list[list[int]]:
    """Return the places of things in batches of like lengths."""
    places = sorted(range(len(lengths)), key=lambda place: -lengths[place])
    return [places[start : start + size] for start in range(0, len(places), size)]


def _tokens(tokenizer: Any, model: Any, texts: list[str], pairs: list[str] | None) -> Any:
    most = min(tokenizer.model_max_length, getattr(model.config, "max_position_embeddings", _LONGEST), _LONGEST)
    told = tokenizer(texts, pairs, padding=True, truncation=True, max_length=most, return_tensors="pt")
    return told.to(model.device)
