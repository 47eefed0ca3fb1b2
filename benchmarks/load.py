"""A server under load that is killed again and again: what it had acknowledged is there, and reads go on.

    .venv/bin/python benchmarks/load.py exported/tiny --clients 200 --minutes 10

Starts `memrl serve` on a store of its own. Each client is a user who in turn writes an item, has a text read, asks, and
looks at memory and history, with pauses. Every `--kill-every` seconds the server is killed (SIGKILL) and started again;
every `--hold-every` seconds another process holds the store's write lock for `--hold` seconds. Prints one JSON line:
acknowledged changes that the history does not have at the end, latencies of looking (also of those requests that met
the held lock), and the server's memory and descriptors in each of its lives.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx2
import numpy as np
import psutil

from memrl.storage.files import write_manifest

HOLDER = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("PRAGMA busy_timeout = 60000")
for line in sys.stdin:
    database.execute(line)
    print("done", flush=True)
"""
LOOKS = ("memory", "history", "search")
PEOPLE = ("Nora", "Karl", "Mara", "Vito")
MB = 1e6


@dataclass
class Seen:
    """Everything that the clients have seen."""

    told: dict[str, set[tuple[str, str | None]]] = field(default_factory=dict)
    """By user: (item, text that it then had; None: gone) of each acknowledged change."""
    spent: list[tuple[str, float, float]] = field(default_factory=list)
    """(kind, beginning, seconds) of each request that was answered well."""
    statuses: Counter[str] = field(default_factory=Counter)
    cut: int = 0
    """Requests that a kill has ended without an answer."""


@dataclass
class Life:
    """The server from a start to its end."""

    seconds_to_start: float
    rss_mb: list[int] = field(default_factory=list)
    descriptors: list[int] = field(default_factory=list)


class Server:
    """The process under load."""

    def __init__(self, policy: Path, store: Path, log: Path) -> None:
        with closing(socket.create_server(("127.0.0.1", 0))) as free:
            self.port = free.getsockname()[1]
        words = ["serve", str(policy), "--store", str(store), "--device", "cpu", "--port", str(self.port)]
        limits = ["--rate", "100000000", "--history-keep", "1000000"]
        self._words = [sys.executable, "-m", "memrl.cli", *words, *limits]
        self._log = log
        self.lives: list[Life] = []
        self.process: subprocess.Popen[bytes] | None = None
        self.up = asyncio.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        began = time.monotonic()
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(self._words, stdout=log, stderr=log)
        async with httpx2.AsyncClient() as client:
            while True:
                if self.process.poll() is not None:
                    raise SystemExit(f"the server has ended:\n{self._log.read_text()[-2000:]}")
                with suppress(httpx2.HTTPError):
                    if (await client.get(f"{self.url}/health", timeout=5)).status_code == 200:
                        break
                await asyncio.sleep(0.2)
        self.lives.append(Life(round(time.monotonic() - began, 1)))
        self.up.set()

    def kill(self) -> None:
        """End it as a machine does that loses its power, but for what the disk has."""
        assert self.process is not None
        self.up.clear()
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def look(self) -> None:
        assert self.process is not None
        with suppress(psutil.Error):
            process = psutil.Process(self.process.pid)
            self.lives[-1].rss_mb.append(round(process.memory_info().rss / MB))
            self.lives[-1].descriptors.append(process.num_fds())


async def one_client(number: int, server: Server, seen: Seen, until: float, pause: float) -> None:
    """A user who goes on until the end."""
    draw = random.Random(number)
    user = f"user{number}"
    told = seen.told.setdefault(user, set())
    count = 0
    await asyncio.sleep(draw.uniform(0, pause))
    async with httpx2.AsyncClient(base_url=f"{server.url}/v1/users/{user}", timeout=60) as client:
        while time.monotonic() < until:
            await server.up.wait()
            count += 1
            kind = draw.choice(["write", "write", "read", "ask", *LOOKS])
            began = time.monotonic()
            try:
                reply = await request(client, kind, f"{user} fact {count}", draw)
            except httpx2.HTTPError:
                seen.cut += 1
                await asyncio.sleep(0.5)
                continue
            seen.statuses[f"{kind} {reply.status_code}"] += 1
            if reply.status_code == 200:
                seen.spent.append((kind, began, time.monotonic() - began))
                if kind in ("write", "read"):
                    told |= {(one["item_id"], one["content"]) for one in reply.json()["results"] if one["code"] == "ok"}
            await asyncio.sleep(draw.expovariate(1 / pause))


async def request(client: httpx2.AsyncClient, kind: str, fact: str, draw: random.Random) -> httpx2.Response:
    """Send one request of a kind."""
    name = draw.choice(PEOPLE)
    if kind == "write":
        arguments = {"memory_type": "semantic", "content": fact}
        operations = [{"name": "memory_insert", "arguments": arguments}]
        return await client.post("/memory/operations", json={"operations": operations, "why": f"{name} said: {fact}"})
    if kind == "read":
        return await client.post("/read", json={"text": f"{name} lives in Bern. It rained.", "time": "May 2"})
    if kind == "ask":
        return await client.post("/ask", json={"question": f"Where does {name} live?"})
    if kind == "search":
        return await client.post("/memory/search", json={"query": f"Where does {name} live?"})
    return await client.get(f"/{kind}")


async def keep_killing(server: Server, every: float) -> None:
    while True:
        await asyncio.sleep(every)
        server.kill()
        await server.start()


async def keep_looking(server: Server) -> None:
    while True:
        await asyncio.sleep(1)
        if server.up.is_set():
            server.look()


async def keep_holding(store: Path, every: float, seconds: float, held: list[tuple[float, float]]) -> None:
    """Hold the store's write lock again and again, in another process."""
    words = [sys.executable, "-c", HOLDER, str(store)]
    pipe = asyncio.subprocess.PIPE
    holder = await asyncio.create_subprocess_exec(*words, stdin=pipe, stdout=pipe)
    assert holder.stdin is not None and holder.stdout is not None
    try:
        while True:
            await asyncio.sleep(every)
            holder.stdin.write(b"BEGIN IMMEDIATE\n")
            await holder.stdout.readline()
            began = time.monotonic()
            await asyncio.sleep(seconds)
            held.append((began, time.monotonic()))
            holder.stdin.write(b"ROLLBACK\n")
            await holder.stdout.readline()
    finally:
        holder.kill()


async def lost(server: Server, seen: Seen) -> int:
    """Acknowledged changes that the history does not have."""
    missing = 0
    async with httpx2.AsyncClient(base_url=server.url, timeout=120) as client:
        for user, told in seen.told.items():
            kept: set[tuple[str, str | None]] = set()
            after: int | None = 0
            while after is not None:
                page = (await client.get(f"/v1/users/{user}/history", params={"after": after})).json()
                kept |= {(one["item_id"], one["after"] and one["after"]["content"]) for one in page["changes"]}
                after = page["next"]
            missing += len(told - kept)
    return missing


def with_room(policy: Path, folder: Path, budget: int) -> Path:
    """A copy of an exported policy whose memory holds more."""
    copy = Path(shutil.copytree(policy, folder / "policy"))
    file = copy / "memory_agent.json"
    told = json.loads(file.read_text())
    told["memory"]["budget"] = budget
    file.write_text(json.dumps(told))
    write_manifest(copy)
    return copy


def spread(spent: list[float]) -> dict[str, float]:
    if not spent:
        return {"count": 0}
    p50, p99 = np.percentile(spent, [50, 99])
    return {"count": len(spent), "p50_s": round(p50, 3), "p99_s": round(p99, 3), "max_s": round(max(spent), 3)}


async def run(asked: argparse.Namespace) -> dict[str, Any]:
    seen = Seen()
    held: list[tuple[float, float]] = []
    with TemporaryDirectory() as name:
        folder = Path(name)
        store = folder / "store" / "memory.sqlite"
        server = Server(with_room(asked.policy, folder, asked.budget), store, folder / "server.log")
        await server.start()
        until = time.monotonic() + asked.minutes * 60
        others = [
            asyncio.create_task(keep_killing(server, asked.kill_every)),
            asyncio.create_task(keep_looking(server)),
            asyncio.create_task(keep_holding(store, asked.hold_every, asked.hold, held)),
        ]
        try:
            clients = (one_client(number, server, seen, until, asked.pause) for number in range(asked.clients))
            await asyncio.gather(*clients)
            for other in others:
                other.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            server.kill()
            await server.start()
            missing = await lost(server, seen)
        finally:
            server.kill()
        with closing(sqlite3.connect(store)) as database:
            (sound,) = database.execute("PRAGMA integrity_check").fetchone()
        size = sum(path.stat().st_size for path in store.parent.iterdir())
        if asked.log:
            shutil.copy(folder / "server.log", asked.log)
    looks = [(began, seconds) for kind, began, seconds in seen.spent if kind in LOOKS]
    met = [seconds for began, seconds in looks if any(began < end and begin < began + seconds for begin, end in held)]
    return {
        "clients": asked.clients,
        "minutes": asked.minutes,
        "pause_s": asked.pause,
        "kills": len(server.lives) - 1,
        "acknowledged": sum(map(len, seen.told.values())),
        "acknowledged_lost": missing,
        "integrity_check": sound,
        "cut_by_kills": seen.cut,
        "answers": dict(sorted(seen.statuses.items())),
        "looking": spread([seconds for _, seconds in looks]),
        "looking_under_a_lock": spread(met),
        "asking": spread([seconds for kind, _, seconds in seen.spent if kind == "ask"]),
        "writing": spread([seconds for kind, _, seconds in seen.spent if kind == "write"]),
        "store_mb": round(size / MB, 1),
        "lives": [
            {
                "seconds_to_start": life.seconds_to_start,
                "rss_mb": life.rss_mb[:: max(1, len(life.rss_mb) // 6)],
                "descriptors": life.descriptors[:: max(1, len(life.descriptors) // 6)],
            }
            for life in server.lives
        ],
        "machine": f"{os.cpu_count()} cores, {platform.processor() or platform.machine()}",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("policy", type=Path, help="a folder that memrl export wrote")
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--pause", type=float, default=5, help="mean seconds between a client's requests (default: 5)")
    parser.add_argument("--kill-every", type=float, default=30, metavar="SECONDS", help="of being up (default: 30)")
    parser.add_argument("--hold-every", type=float, default=6, metavar="SECONDS", help="default: 6")
    parser.add_argument("--hold", type=float, default=3, metavar="SECONDS", help="default: 3")
    parser.add_argument("--budget", type=int, default=4096, help="tokens that a user's memory may hold (default: 4096)")
    parser.add_argument("--log", type=Path, metavar="FILE", help="where the server's log goes at the end")
    print(json.dumps(asyncio.run(run(parser.parse_args()))))


if __name__ == "__main__":
    main()
