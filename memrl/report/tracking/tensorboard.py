"""TensorBoard: event files in `trackers/tensorboard` of the run; `tensorboard --logdir runs` finds those of all runs.

Written by TensorBoard's own writer, without torch or TensorFlow. A run that goes on adds a file.
"""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Mapping
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.compat.proto.types_pb2 import DT_STRING
from tensorboard.plugins.text.metadata import create_summary_metadata
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from memrl.report.trackers import HeldOut, RunInfo
from memrl.report.tracking.kept import TrackerRecord
from memrl.report.tracking.shared import markdown, numbers, verbatim


class TensorBoard:
    """Writes event files, flushed after each call."""

    note = ""

    def __init__(self, run: RunInfo, kept: TrackerRecord) -> None:
        self._writer = EventFileWriter(str(kept.folder / "tensorboard"))
        if not kept.again:
            self._write(0, _text("config", verbatim(json.dumps(run.settings, indent=2, default=str))))

    def row(self, step: int, values: Mapping[str, float]) -> None:
        """Write each figure as a scalar."""
        self._write(step, *(Summary.Value(tag=key, simple_value=value) for key, value in values.items()))

    def evaluation(self, held_out: HeldOut) -> None:
        """Write the table and the episodes as text, and the curve as a picture."""
        found = [_text("held-out/scores", markdown(held_out))]
        found += [
            _text(f"held-out/episode_{number}", f"{verbatim(title)}\n\n{verbatim(text)}")
            for number, (title, text) in enumerate(held_out.episodes)
        ]
        if held_out.curve.is_file():
            found.append(_picture("held-out/curve", held_out.curve.read_bytes()))
        self._write(held_out.step, *found)

    def end(self, summary: Mapping[str, Any] | None) -> None:
        """Write the summary as text and its figures as scalars."""
        if summary is not None:
            step = int(summary.get("steps", 0))
            told = [Summary.Value(tag=f"summary/{key}", simple_value=value) for key, value in numbers(summary).items()]
            self._write(step, _text("summary", verbatim(json.dumps(summary, indent=2, default=str))), *told)
        self._writer.close()

    def _write(self, step: int, *values: Summary.Value) -> None:
        self._writer.add_event(Event(wall_time=time.time(), step=step, summary=Summary(value=values)))
        self._writer.flush()


def _text(tag: str, text: str) -> Summary.Value:
    told = create_summary_metadata(display_name="", description="")
    metadata = SummaryMetadata.FromString(told.SerializeToString())
    shape = TensorShapeProto(dim=[])
    tensor = TensorProto(dtype=DT_STRING, string_val=[text.encode()], tensor_shape=shape)
    return Summary.Value(tag=tag, metadata=metadata, tensor=tensor)


def _picture(tag: str, png: bytes) -> Summary.Value:
    width, height = struct.unpack(">II", png[16:24])
    image = Summary.Image(width=width, height=height, colorspace=4, encoded_image_string=png)
    return Summary.Value(tag=tag, image=image)


def open_writer(run: RunInfo, kept: TrackerRecord) -> TensorBoard:
    """Open the writer."""
    return TensorBoard(run, kept)
