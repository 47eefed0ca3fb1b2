"""The trackers that ship, with their real libraries, offline: what they have written is read back.

A library that is not installed skips its tests; `make setup` installs all four.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import struct
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from memrl.config.registries import TRACKER_PACKAGES, TRACKERS
from memrl.report.trackers import HeldOut, RunInfo, Score, Trackers, open_trackers
from memrl.training.trainer import Trainer
from tests.support import ROOT, overrides, quiet, small_config
from tests.support import rows as rows_of

Rows = dict[int, dict[str, list[float]]]
"""Values by step and key: more than one where something was sent twice."""
SETTINGS = {"seed": 7, "train": {"steps": 3, "lr": 0.001}}
SCORES = (Score("all", 0.5, 0.4, 0.6), Score("la|st", 0.25, None, None))
TABLE = [["all", 0.5, 0.4, 0.6], ["la|st", 0.25, None, None]]
TEXT = "chunk 0\n  | <script>alert(1)</script> *bold*\x1b[31m"
ODD = "eval/qa_who \u05d0?"
"""A kind of question that no library has to like."""


def installed(name: str) -> bool:
    return all(find_spec(package) is not None for package in TRACKER_PACKAGES[name])


EACH = [
    pytest.param(
        name, marks=pytest.mark.skipif(not installed(name), reason=f"not installed: pip install 'memrl[{name}]'")
    )
    for name in TRACKER_PACKAGES
]
each = pytest.mark.parametrize("name", EACH)


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No key, no server, and a place of their own for what they keep elsewhere."""
    for variable in list(os.environ):
        if variable.startswith(("WANDB_", "MLFLOW_", "TRACKIO_")):
            monkeypatch.delenv(variable)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))


def row(step: int) -> dict[str, Any]:
    return {"step": step, "eval/qa": 0.5 + step / 8, ODD: 1.0, "episodes": 8 * step}


def follow(name: str, folder: Path, steps: range, begun: int, summary: dict[str, Any] | None) -> None:
    (folder / "curve.png").write_bytes((ROOT / "docs" / "tiny-curve.png").read_bytes())
    with open_trackers([name], RunInfo("test", folder, SETTINGS, begun)) as trackers:
        for step in steps:
            trackers.row(row(step))
            if step % 2:
                shown = HeldOut(step, SCORES, folder / "curve.png", ((f"step {step}, episode 4", TEXT),))
                trackers.evaluation(lambda shown=shown: shown)  # type: ignore[misc]
        trackers.end(summary)


# What each has written --------------------------------------------------------------------------------------------


def read_tensorboard(folder: Path) -> tuple[Rows, str]:
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    found: Rows = defaultdict(lambda: defaultdict(list))
    told: list[str] = []
    for file in sorted((folder / "trackers" / "tensorboard").iterdir()):
        for event in EventFileLoader(str(file)).Load():
            for value in event.summary.value:
                if value.metadata.plugin_data.plugin_name == "scalars":
                    found[event.step][value.tag].append(value.tensor.float_val[0])
                elif value.metadata.plugin_data.plugin_name == "text":
                    told.append(f"{value.tag}@{event.step}: {value.tensor.string_val[0].decode()}")
                else:
                    told.append(f"{value.tag}@{event.step}: {value.metadata.plugin_data.plugin_name}")
    return found, "\n".join(told)


def read_wandb(folder: Path) -> tuple[Rows, str]:
    from wandb.proto.wandb_internal_pb2 import Record

    found: Rows = defaultdict(lambda: defaultdict(list))
    told: list[str] = []
    runs = sorted((folder / "trackers" / "wandb").glob("offline-run-*"))
    assert len({run.name.rsplit("-", 1)[1] for run in runs}) == 1  # parts of one run
    for run in runs:
        (file,) = run.glob("run-*.wandb")
        for data in _records(file.read_bytes()):
            record = Record.FromString(data)
            if record.WhichOneof("record_type") == "history":
                for item in record.history.item:
                    key, value = item.key or item.nested_key[0], json.loads(item.value_json)
                    if key[0] != "_" and len(item.nested_key) < 2 and isinstance(value, int | float):
                        found[record.history.step.num][key].append(value)
                    elif key[0] != "_":
                        told.append(f"{key}@{record.history.step.num}: {item.value_json}")
            elif record.WhichOneof("record_type") == "run":
                told += [f"config {item.key}: {item.value_json}" for item in record.run.config.update]
            elif record.WhichOneof("record_type") == "summary":
                told += [f"{item.key or item.nested_key[0]}: {item.value_json}" for item in record.summary.update]
        for table in sorted(run.glob("files/media/table/**/*.json")):
            held = json.loads(table.read_text(encoding="utf-8"))
            told.append(f"{table.name.split('_')[0]}: {json.dumps(held['data'], ensure_ascii=False)}")
    return found, "\n".join(told)


def _records(data: bytes) -> Iterator[bytes]:
    """The records of a file that is written as LevelDB writes its log: pieces of them in blocks of 32 KiB."""
    at, record = 7, b""
    assert data[:4] == b":W&B"
    while at < len(data):
        left = 32_768 - at % 32_768
        if left < 7:
            at += left
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + 7])
        record += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last piece
            yield record
            record = b""


def read_trackio(folder: Path) -> tuple[Rows, str]:
    found: Rows = defaultdict(lambda: defaultdict(list))
    told: list[str] = []
    database = sqlite3.connect(Path(os.environ["TRACKIO_DIR"]) / "memrl.db")
    assert len(database.execute("SELECT DISTINCT run_id FROM metrics").fetchall()) == 1
    for step, metrics in database.execute("SELECT step, metrics FROM metrics ORDER BY id"):
        for key, value in json.loads(metrics).items():
            if isinstance(value, int | float):
                found[step][key].append(value)
            else:
                told.append(f"{key}@{step}: {json.dumps(value, ensure_ascii=False)}")
    told += [f"config {config}" for (config,) in database.execute("SELECT config FROM configs")]
    return found, "\n".join(told).replace("\\n", "\n")


def read_mlflow(folder: Path) -> tuple[Rows, str]:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{folder.resolve()}/trackers/mlflow.db")
    experiment = client.get_experiment_by_name("memrl")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    found: Rows = defaultdict(lambda: defaultdict(list))
    for key in run.data.metrics:
        for metric in client.get_metric_history(run.info.run_id, key):
            found[metric.step][key].append(metric.value)
    told = [f"config {run.data.params}", f"status {run.info.status}"]
    kept = folder / "trackers" / "mlflow"
    for file in sorted(path for path in kept.rglob("*") if path.is_file()):
        told.append(f"{file.relative_to(kept)}: {file.read_bytes().decode(errors='replace')}")
    return found, "\n".join(told)


READ: dict[str, Callable[[Path], tuple[Rows, str]]] = {
    "tensorboard": read_tensorboard,
    "wandb": read_wandb,
    "trackio": read_trackio,
    "mlflow": read_mlflow,
}


def plain(key: str) -> str:
    """A key as MLflow may have it."""
    return "".join(sign if sign.isascii() and (sign.isalnum() or sign in "_-. /") else "_" for sign in key)


def test_all_that_ship_are_tested() -> None:
    assert set(READ) == set(TRACKER_PACKAGES) == set(TRACKERS.shipped)


@each
def test_what_it_was_given_is_there_and_a_run_that_goes_on_sends_nothing_twice(name: str, tmp_path: Path) -> None:
    before = set(sys.modules)
    follow(name, tmp_path, range(3), 0, None)  # stopped after step 2, and its last checkpoint is of step 1
    assert not {module.partition(".")[0] for module in set(sys.modules) - before} & set(TRACKER_PACKAGES[name])
    assert _processes(tmp_path) == []  # its library was in a process of its own
    follow(name, tmp_path, range(2, 4), 1, {"steps": 3, "eval": {"after": {"qa": {"value": 0.875}}}, "name": "x"})
    found, told = READ[name](tmp_path)
    keep = plain if name == "mlflow" else str
    for step in range(4):
        wanted = {keep(key): [value] for key, value in row(step).items() if key != "step"}
        assert {key: values for key, values in found[step].items() if not key.startswith("summary/")} == wanted
    assert "0.001" in told  # the config
    for step in (1, 3):
        assert f"step {step}, episode 4" in told
    assert "<script>alert(1)</script> *bold*" in told.replace("\\u003c", "<").replace("\\u003e", ">")
    assert "0.25" in told and ("la|st" in told or "la\\|st" in told)  # the table
    assert "curve" in told
    summary = {key: value for values in found.values() for key, value in values.items() if "eval.after.qa" in key}
    assert summary == {"summary/eval.after.qa.value": [0.875]} or "summary/eval.after.qa.value: 0.875" in told
    if name == "mlflow":
        assert "status FINISHED" in told


def _processes(folder: Path) -> list[str]:
    """Processes that write for a tracker of the run in `folder`: known by the log that is their stderr."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                if os.readlink(process / "fd" / "2").startswith(str(folder)):
                    found.append(process.name)
            except OSError:
                continue
    return found


# Nobody answers ---------------------------------------------------------------------------------------------------


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@each
def test_one_that_is_offline_costs_seconds_and_is_told(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("WANDB_API_KEY", "0123456789" * 4)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    caplog.set_level("INFO")
    began = time.monotonic()
    follow(name, tmp_path, range(3), 0, {"steps": 2})
    assert time.monotonic() - began < 25
    said = " ".join(record.getMessage() for record in caplog.records)
    if name == "mlflow":
        assert said.startswith("tracker mlflow failed and gets nothing more: TrackerFailed: MlflowException")
        assert "mlflow.log" in said
    elif name == "wandb":
        assert "127.0.0.1 does not answer" in said and "wandb sync" in said
    else:
        assert said == ""  # they need nobody
    if name != "mlflow":
        found, _ = READ[name](tmp_path)
        assert set(found) >= {0, 1, 2}


@pytest.mark.parametrize("name", [one for one in EACH if one.values[0] in ("mlflow", "wandb")])
def test_one_whose_server_hangs_is_ended_at_the_end(
    name: str, tmp_path: Path, silent: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", silent)
    monkeypatch.setenv("WANDB_API_KEY", "0123456789" * 4)
    monkeypatch.setenv("WANDB_BASE_URL", silent)
    trackers = Trackers({name: TRACKERS.get(name)}, RunInfo("test", tmp_path, SETTINGS, 0))
    began = time.monotonic()
    trackers.row(row(0))
    assert time.monotonic() - began < 0.5
    time.sleep(3)
    assert _processes(tmp_path)
    began = time.monotonic()
    trackers.end({"steps": 0}, seconds=0.5)
    assert time.monotonic() - began < 2
    assert f"tracker {name} has not ended within 0.5 s" in caplog.text
    time.sleep(0.5)
    assert _processes(tmp_path) == []


@each
def test_one_whose_process_is_killed_is_told_once(name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    trackers = Trackers({name: TRACKERS.get(name)}, RunInfo("test", tmp_path, SETTINGS, 0))
    trackers.row(row(0))
    while (
        not (tmp_path / "trackers" / f"{name}.json").is_file()
        or '"row": 0' not in (tmp_path / "trackers" / f"{name}.json").read_text()
    ):
        time.sleep(0.1)
    follower = trackers._followers[0]
    os.killpg(follower._tracker._process.pid, signal.SIGKILL)  # type: ignore[union-attr]
    trackers.row(row(1))
    trackers.row(row(2))
    trackers.end({"steps": 2})
    told = [record.getMessage() for record in caplog.records if "failed" in record.getMessage()]
    assert len(told) == 1 and "its process has ended (exit code -9); see" in told[0]


# A whole run ------------------------------------------------------------------------------------------------------


def test_a_run_is_followed_and_gone_on_with_by_all_of_them(quick_model: Path, tmp_path: Path) -> None:
    names = [name for name in TRACKER_PACKAGES if installed(name)]
    if not names:
        pytest.skip("no tracker is installed: pip install 'memrl[tensorboard,wandb,trackio,mlflow]'")
    settings = {"run.trackers": f"[{', '.join(names)}]", "train.schedule": "constant", "eval.every": 1}
    for steps, resume in ((1, False), (2, True)):
        config = small_config(quick_model, tmp_path / "run", {**settings, "train.steps": steps})
        Trainer(config, name="followed", resume=resume, console=quiet()).run()
    written = rows_of(tmp_path / "run")
    assert [one["step"] for one in written] == [0, 1, 2]
    for name in names:
        found, told = READ[name](tmp_path / "run")
        for one in written:
            for key, value in one.items():
                if key != "step":
                    key = plain(key) if name == "mlflow" else key
                    assert found[one["step"]][key] == [pytest.approx(value, rel=1e-6)], (name, key)
        for step in (0, 1, 2):
            assert f"step {step}, episode 0" in told and "gold:" in told, name


@pytest.mark.slow
@pytest.mark.skipif(not installed("mlflow"), reason="not installed: pip install 'memrl[mlflow]'")
@pytest.mark.parametrize("ended_by", [signal.SIGINT, signal.SIGTERM])
def test_a_run_whose_tracker_hangs_is_stopped_in_seconds(
    quick_model: Path, tmp_path: Path, silent: str, ended_by: signal.Signals
) -> None:
    words = overrides(quick_model, tmp_path / "run", {"run.trackers": "[mlflow]", "train.steps": 500})
    environment = {
        **os.environ, "PYTHONPATH": str(ROOT), "MLFLOW_TRACKING_URI": silent, "MLFLOW_HTTP_REQUEST_TIMEOUT": "600",
    }  # fmt: skip
    began = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    program = f"{began}from memrl.cli.main import main; sys.exit(main(['train', *sys.argv[1:]]))"
    run = subprocess.Popen([sys.executable, "-c", program, *words], env=environment, stderr=subprocess.PIPE, text=True)
    metrics = tmp_path / "run" / "metrics.jsonl"
    until = time.monotonic() + 120
    while not (metrics.is_file() and metrics.read_text().count("\n") > 1) and time.monotonic() < until:
        time.sleep(0.2)
    run.send_signal(ended_by)
    began_to_end = time.monotonic()
    _, said = run.communicate(timeout=60)
    assert time.monotonic() - began_to_end < 20
    assert run.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143}[ended_by]
    assert "tracker mlflow has not ended within 5 s" in " ".join(said.split())
    assert _processes(tmp_path) == []
