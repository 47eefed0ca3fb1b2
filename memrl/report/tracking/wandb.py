"""Weights & Biases: a run of the project `memrl`, or of WANDB_PROJECT; its files are in `trackers/wandb` of our run.

Without a key, or where its host does not answer at once, the run is kept offline, and the user is told how to send it
later. Neither code nor the state of a git repository is sent.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from netrc import NetrcParseError, netrc
from typing import Any
from urllib.parse import urlsplit

import wandb

from memrl.report.trackers import HeldOut, RunInfo
from memrl.report.tracking.kept import TrackerRecord
from memrl.report.tracking.shared import COLUMNS, PROJECT, numbers, table

HOST = "https://api.wandb.ai"
ANSWER_SECONDS = 3.0
"""How long the host may take to answer before the run is kept offline."""
INIT_SECONDS = 20.0
FINISH_SECONDS = 25.0


class Wandb:
    """Writes a run; a step's figures are sent once the next step's come."""

    def __init__(self, run: RunInfo, kept: TrackerRecord) -> None:
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        why = None if os.environ.get("WANDB_MODE") else offline_because()
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            id=kept.id,
            name=os.environ.get("WANDB_NAME") or run.folder.resolve().name,
            dir=str(kept.folder),
            config=dict(run.settings),
            resume="allow",
            mode="offline" if why else None,
            settings=wandb.Settings(
                init_timeout=INIT_SECONDS,
                finish_timeout=FINISH_SECONDS,
                console="off",
                disable_git=True,
                disable_code=True,
                save_code=False,
            ),
        )
        self._episodes = wandb.Table(columns=["step", "episode", "text"], log_mode="MUTABLE")
        self.note = ""
        if why:
            self.note = (
                f"{why}, so the run is kept offline; send it later: wandb sync {kept.folder}/wandb/offline-run-*"
            )

    def row(self, step: int, values: Mapping[str, float]) -> None:
        """Write the figures of a step."""
        self._run.log(dict(values), step=step)

    def evaluation(self, held_out: HeldOut) -> None:
        """Write a table, the curve, and the episodes as a table of all so far."""
        told: dict[str, Any] = {"held-out/scores": wandb.Table(columns=list(COLUMNS), data=table(held_out))}
        if held_out.curve.is_file():
            told["held-out/curve"] = wandb.Image(str(held_out.curve))
        for title, text in held_out.episodes:
            self._episodes.add_data(held_out.step, title, text)
        self._run.log({**told, "held-out/episodes": self._episodes}, step=held_out.step)

    def end(self, summary: Mapping[str, Any] | None) -> None:
        """Write the summary's figures. A run that was stopped ends as a failed one, and may be gone on with."""
        for key, value in numbers(summary or {}).items():
            self._run.summary[f"summary/{key}"] = value
        self._run.finish(exit_code=0 if summary is not None else 1)


def offline_because() -> str | None:
    """Return why nothing can be sent, in words; None where it may be."""
    address = urlsplit(os.environ.get("WANDB_BASE_URL") or HOST)
    host = address.hostname or ""
    if not _has_key(host):
        return "there is no key for Weights & Biases (WANDB_API_KEY, or wandb login)"
    if any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")):
        return None  # whether the proxy gets through, it alone knows
    try:
        socket.create_connection(
            (host, address.port or (80 if address.scheme == "http" else 443)), ANSWER_SECONDS
        ).close()
    except OSError as error:
        return f"{host} does not answer ({error.strerror or error})"
    return None


def _has_key(host: str) -> bool:
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    with suppress(OSError, NetrcParseError):
        return netrc(os.environ.get("NETRC")).authenticators(host) is not None
    return False


def open_writer(run: RunInfo, kept: TrackerRecord) -> Wandb:
    """Open the run, or go on with it."""
    return Wandb(run, kept)
