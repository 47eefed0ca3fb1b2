"""`memrl judge`: the judge of a config against its canaries and all attacks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from memrl.cli.console import SafeConsole
from memrl.config import Config
from memrl.frozen.build import open_endpoint_judge
from memrl.frozen.judge import Judge, Probe


def attack_judge(config: Config) -> list[Probe]:
    """Put each case to the judge, canaries first, and return what it makes of them.

    Raises:
        ConfigError: its key is not in this machine's environment, or the model cannot be used.
    """
    judge = open_endpoint_judge(config)
    if judge is not None:
        return asyncio.run(_probe(judge, judge.close))
    from memrl.rollout.build import build_worker

    worker = build_worker(config)
    assert worker.judge is not None
    return asyncio.run(_probe(worker.judge, worker.close))


async def _probe(judge: Judge, close: Callable[[], Awaitable[None]]) -> list[Probe]:
    try:
        with SafeConsole(stderr=True).status("asking the judge"):
            return [*await judge.canaries(), *await judge.attacked()]
    finally:
        await close()
