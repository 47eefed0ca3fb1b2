"""The trackers that ship: TensorBoard, Weights & Biases, trackio and MLflow, each an extra of its name.

Invariant: their libraries are never imported into the trainer's process. Each runs in a process of its own
(`memrl.report.tracking.process`): whatever it does to signals, to the end of its process or to the interpreter's lock,
it does there, and one that hangs can be ended. A run that goes on goes on in the same run of the tracker, and no row
is sent twice (`memrl.report.tracking.kept`).
"""

from __future__ import annotations

from functools import partial

from memrl.report.tracking.process import InProcess

tensorboard = partial(InProcess, "tensorboard")
wandb = partial(InProcess, "wandb")
trackio = partial(InProcess, "trackio")
mlflow = partial(InProcess, "mlflow")
