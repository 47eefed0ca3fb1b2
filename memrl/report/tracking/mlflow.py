"""MLflow: a run of the experiment `memrl`, or of MLFLOW_EXPERIMENT_NAME, at MLFLOW_TRACKING_URI; without one, in a
database in `trackers/mlflow.db` of our run.

By MLflow's client alone: there is no active run that an exit would wait for. A server that does not answer is given up
in seconds, unless MLflow's own variables say otherwise. MLflow's telemetry is off.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from typing import Any

QUIET = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
for _name, _value in QUIET.items():  # read when it is imported
    os.environ.setdefault(_name, _value)

from mlflow import MlflowClient  # noqa: E402
from mlflow.entities import Metric, Param  # noqa: E402
from mlflow.exceptions import MlflowException  # noqa: E402

from memrl.report.trackers import HeldOut, RunInfo  # noqa: E402
from memrl.report.tracking.kept import TrackerRecord  # noqa: E402
from memrl.report.tracking.shared import COLUMNS, PROJECT, flat, numbers, table  # noqa: E402

PARAMS_AT_ONCE, METRICS_AT_ONCE, LONGEST_VALUE = 100, 1_000, 6_000
"""What MLflow takes in a request, and in a setting."""


class Mlflow:
    """Writes a run by MLflow's client."""

    note = ""

    def __init__(self, run: RunInfo, kept: TrackerRecord) -> None:
        store = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{kept.folder.resolve()}/mlflow.db"
        self._client = MlflowClient(tracking_uri=store)
        if kept.again:
            self._id = kept.id
            self._client.update_run(self._id, status="RUNNING")
            return
        artifacts = None if os.environ.get("MLFLOW_TRACKING_URI") else (kept.folder / "mlflow").resolve().as_uri()
        name = run.folder.resolve().name
        experiment = self._experiment(os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT), artifacts)
        self._id = kept.id = self._client.create_run(experiment, run_name=name).info.run_id
        params = [Param(_name_of(key), str(value)[:LONGEST_VALUE]) for key, value in flat(run.settings)]
        for begin in range(0, len(params), PARAMS_AT_ONCE):
            self._client.log_batch(self._id, params=params[begin : begin + PARAMS_AT_ONCE])
        self._client.log_dict(self._id, dict(run.settings), "config.json")

    def row(self, step: int, values: Mapping[str, float]) -> None:
        """Write the figures of a step."""
        now = int(time.time() * 1000)
        metrics = [Metric(_name_of(key), value, now, step) for key, value in values.items()]
        for begin in range(0, len(metrics), METRICS_AT_ONCE):
            self._client.log_batch(self._id, metrics=metrics[begin : begin + METRICS_AT_ONCE])

    def evaluation(self, held_out: HeldOut) -> None:
        """Write the table, the curve and the episodes as files of the step."""
        place = f"held-out/step_{held_out.step:05d}"
        laid_out = {"columns": list(COLUMNS), "data": table(held_out)}  # as MLflow writes tables
        self._client.log_dict(self._id, laid_out, f"{place}/scores.json")
        if held_out.curve.is_file():
            self._client.log_artifact(self._id, str(held_out.curve), place)
        for number, (title, text) in enumerate(held_out.episodes):
            self._client.log_text(self._id, f"{title}\n\n{text}", f"{place}/episode_{number}.txt")

    def end(self, summary: Mapping[str, Any] | None) -> None:
        """Write the summary and its figures, and how the run ended."""
        if summary is not None:
            self._client.log_dict(self._id, dict(summary), "summary.json")
            told = {f"summary/{key}": float(value) for key, value in numbers(summary).items()}
            self.row(int(summary.get("steps", 0)), told)
        self._client.set_terminated(self._id, "FINISHED" if summary is not None else "KILLED")

    def _experiment(self, name: str, artifacts: str | None) -> str:
        found = self._client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        try:
            return str(self._client.create_experiment(name, artifact_location=artifacts))
        except MlflowException:  # another run has just made it
            found = self._client.get_experiment_by_name(name)
            if found is None:
                raise
            return str(found.experiment_id)


def _name_of(key: str) -> str:
    """Return a key in the signs that MLflow allows; a kind of question may have any."""
    return re.sub(r"[^\w\-. /]", "_", key, flags=re.ASCII)


def open_writer(run: RunInfo, kept: TrackerRecord) -> Mlflow:
    """Open the run, or go on with it."""
    return Mlflow(run, kept)
