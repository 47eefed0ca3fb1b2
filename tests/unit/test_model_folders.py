"""A model folder is somebody else's: its code is not run, its pickles are not read, its endless template is stopped."""

from __future__ import annotations

import errno
import json
import os
import re
import resource
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from memrl.config import ModelConfig, load_config
from memrl.config.shipped import TINY_MODEL
from memrl.config.weights import pickled_weights
from memrl.engines import probe
from memrl.engines.limited import Unended, limited
from memrl.engines.models import context_length, load_model, load_tokenizer
from memrl.engines.prompting import open_prompter
from memrl.errors import ConfigError
from tests.support import ROOT
from tests.templates import CHATML, byte_tokenizer

pytestmark = pytest.mark.long
LOADERS: dict[str, Callable[[ModelConfig], Any]] = {
    "tokenizer": load_tokenizer,
    "context": context_length,
    "model": load_model,
}


def copied(folder: Path) -> Path:
    return Path(shutil.copytree(TINY_MODEL, folder))


def change(file: Path, **settings: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **settings}))


@pytest.mark.parametrize("name", list(LOADERS))
def test_no_code_out_of_a_model_folder_is_run_and_nobody_is_asked(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    folder, ran = copied(tmp_path / "model"), tmp_path / "ran"
    (folder / "own.py").write_text(f"open({str(ran)!r}, 'w').close()\n")
    classes = {"AutoConfig": "own.C", "AutoModelForCausalLM": "own.M", "AutoTokenizer": ["own.T", None]}
    change(folder / "config.json", auto_map=classes, model_type="own", architectures=["Own"])
    change(folder / "tokenizer_config.json", auto_map=classes, tokenizer_class="OwnTokenizer")
    monkeypatch.setattr("builtins.input", lambda *_: "y")  # whoever asks is told yes
    with pytest.raises(ConfigError, match=r"Python code of its own .*never runs code"):
        LOADERS[name](ModelConfig(path=str(folder), device="cpu"))
    assert not ran.exists()
    assert "[y/N]" not in "".join(capfd.readouterr())


def test_every_loader_of_transformers_is_told_to_run_no_code() -> None:
    calls = re.compile(
        r"\b(?:Auto[A-Z]\w+\.from_(?:pretrained|config)|Tokenizer\.from_pretrained|SentenceTransformer)\("
    )
    found = 0
    for file in sorted((ROOT / "memrl").rglob("*.py")):
        text = file.read_text()
        for call in calls.finditer(text) if file.name != "card.py" else ():  # a card shows others how to load it
            found += 1
            assert "trust_remote_code=False" in text[call.end() : call.end() + 160], f"{file}: {call[0]}"
    assert found >= 8


def test_pickled_weights_are_refused_in_words_before_anything_slow(tmp_path: Path) -> None:
    folder = copied(tmp_path / "model")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    told = r"holds pickled weights only \(pytorch_model\.bin\).*safetensors"
    with pytest.raises(ConfigError, match=told):
        load_config("tiny", [f"model.path={folder}"])
    with pytest.raises(ConfigError, match=told):
        load_model(ModelConfig(path=str(folder), device="cpu"))


@pytest.mark.parametrize("name", ["optimizer.pt", "scheduler.pt", "rng_state.pth", "training_args.bin"])
def test_what_else_training_leaves_is_not_called_weights(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    assert pickled_weights(tmp_path) is None
    (tmp_path / "consolidated.00.pth").touch()
    assert pickled_weights(tmp_path) == "consolidated.00.pth"


ENDLESS = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
SLOW_WITH_MUCH_TEXT = (
    "{% for m in messages %}{% for a in m.content %}{% for b in m.content %}{% endfor %}{% endfor %}{% endfor %}"
)
HUGE = "{{ 'a' * 9000000000 }}"


@pytest.mark.parametrize(
    ("before", "told"),
    [
        (ENDLESS, r"does not come to an end within 1 s"),
        (SLOW_WITH_MUCH_TEXT, r"does not come to an end within 1 s"),
        (HUGE, r"wants more than 2048 MiB"),
    ],
    ids=["endless", "slow with much text", "huge"],
)
def test_a_chat_template_that_does_not_end_is_stopped_and_named(
    before: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "SECONDS", 1.0)
    with pytest.raises(ConfigError, match=rf"chat template of .* cannot be used: it {told}.*mend the template"):
        open_prompter(byte_tokenizer(before + CHATML), "hermes")


class Untellable(Exception):
    """An error that pickle writes and cannot read."""

    def __init__(self, what: str, *, where: str) -> None:
        super().__init__(what)


@pytest.fixture
def _children_are_cleared_away() -> Iterator[None]:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGCHLD, before)


@pytest.fixture
def _many_descriptors() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    if before[1] < 1200:
        pytest.skip("needs 1,200 open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(before[0], 1200), before[1]))
    held = [os.dup(0) for _ in range(1100)]
    yield
    for one in held:
        os.close(one)
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.usefixtures("_children_are_cleared_away")
def test_work_is_limited_where_children_are_cleared_away() -> None:
    assert limited(lambda: 6 * 7, seconds=5, room=1 << 30) == 42


@pytest.mark.usefixtures("_many_descriptors")
def test_work_is_limited_beside_many_open_files() -> None:
    assert limited(lambda: 6 * 7, seconds=5, room=1 << 30) == 42


def test_an_error_that_cannot_be_told_whole_is_told_in_words() -> None:
    def fail() -> None:
        raise Untellable("odd", where="here")

    def fail_with_a_function() -> None:
        error = KeyError("odd")
        error.why = lambda: 1  # type: ignore[attr-defined]
        raise error

    for work in (fail, fail_with_a_function):
        with pytest.raises(RuntimeError, match="odd"):
            limited(work, seconds=5, room=1 << 30)


def test_another_end_of_the_process_is_not_called_endless() -> None:
    with pytest.raises(Unended, match=r"was ended by signal 9$"):
        limited(lambda: os.kill(os.getpid(), signal.SIGKILL), seconds=5, room=1 << 30)
    with pytest.raises(Unended, match="ended without a word"):
        limited(lambda: os._exit(3), seconds=5, room=1 << 30)


def test_a_machine_without_another_process_goes_on_without_the_rehearsal(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full() -> int:
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    monkeypatch.setattr(os, "fork", full)
    open_prompter(byte_tokenizer("{# tried nowhere #}" + CHATML), "hermes")
    assert "is used without a try whether it ends: [Errno 12]" in caplog.text


def test_limited_work_gives_its_result_or_its_error() -> None:
    assert limited(lambda: 6 * 7, seconds=5, room=1 << 30) == 42
    with pytest.raises(KeyError, match="gone"):
        limited(lambda: {}["gone"], seconds=5, room=1 << 30)
    with pytest.raises(Unended, match="64 MiB"):
        limited(lambda: len(bytearray(1 << 30)), seconds=5, room=64 << 20)
