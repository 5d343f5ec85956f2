"""Serving a team over HTTP: what a request costs beside an empty server on the same SDK, and 500 calls at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import anyio
import httpx2
from tests.support.server import ServerFolder, rpc

from benchmarks.calls import behave
from benchmarks.figures import Figure
from benchmarks.startup import CHILDREN
from benchmarks.upstream import bench_folder, upstream

REQUESTS = 400
ROUNDS = 5
TOGETHER = 8
CROWD = 500
BATCH = 1_000
UPSTREAM_SECONDS = 10.0
_START_SECONDS = 60.0
VERSION: dict[str, Any] = {"name": "version", "arguments": {}}


def team(folder: Path) -> list[Figure]:
    """Requests that do next to nothing, in turns with the empty server; then many slow calls at once."""
    with upstream() as url:
        zen = bench_folder(folder, url)
        zen.write()
        with (
            serving(zen.command("serve", "--http", "127.0.0.1:0"), zen.environ(), zen.work) as ours,
            serving([sys.executable, str(CHILDREN / "empty_http_server.py")], dict(os.environ), folder) as empty,
        ):
            anyio.run(many, ours, 50)
            anyio.run(many, empty, 50)
            rounds = [(anyio.run(many, ours, REQUESTS), anyio.run(many, empty, REQUESTS)) for _ in range(ROUNDS)]
        behave(url, "slow", {"text": "done", "delay_seconds": UPSTREAM_SECONDS})
        crowd_settings = {**zen.settings, "http": {"workers": 2}}
        crowded = replace(zen, settings=crowd_settings)
        crowded.write()
        with serving(crowded.command("serve", "--http", "127.0.0.1:0"), zen.environ(), zen.work) as server:
            finished, slowest, ping = anyio.run(crowd, server)
            memory = server.resident_megabytes
        rate = batch_rate(zen)
    wall, wall_empty = (median(pair[side][0] for pair in rounds) for side in (0, 1))
    cpu, cpu_empty = (median(pair[side][1] for pair in rounds) for side in (0, 1))
    bar, empty_server = 1 / 0.7, "empty SDK server over HTTP"
    calls = f"{CROWD} calls of {UPSTREAM_SECONDS:g} s at once"
    return [
        Figure(what="tools/call, wall per request", value=wall, unit="ms", against=wall_empty,
               against_what=empty_server, most=bar),
        Figure(what="tools/call, CPU per request", value=cpu, unit="ms", against=cpu_empty,
               against_what=empty_server, most=bar),
        Figure(what=f"{calls}: unfinished", value=CROWD - finished, unit="calls", most=0),
        Figure(what="95th percentile", value=slowest, unit="s", most=13),
        Figure(what="a ping meanwhile, the median", value=ping, unit="ms", most=100),
        Figure(what=f"a batch of {BATCH:,}, each answer stored as it comes", value=rate, unit="per second"),
        Figure(what="resident memory of two workers and their parent", value=memory, unit="MB", most=700),
    ]  # fmt: skip


def batch_rate(folder: ServerFolder) -> float:
    """Items of a batch per second, from handing in to the last stored answer, the start of the worker included."""
    fast = replace(folder, settings={**folder.settings, "batch_parallel": 16})
    fast.write()
    (fast.work / "prompts.jsonl").write_text("\n".join(f'"{number}"' for number in range(BATCH)), encoding="utf-8")
    done = fast.run("batch", "submit", "prompts.jsonl", "--yes", "--json", timeout_seconds=300)
    job = json.loads(done.stdout)["job"]
    assert job["state"] == "done", done.stdout
    return BATCH / (job["ended_at"] - job["created_at"])


class Process:
    """A server under measurement, with its children. Linux only."""

    def __init__(self, url: str, pid: int) -> None:
        self.url = url
        self.pid = pid

    @property
    def cpu_milliseconds(self) -> float:
        """CPU time of all its threads since it was spawned."""
        tasks = Path(f"/proc/{self.pid}/task")
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks.iterdir()) / 1e6

    @property
    def resident_megabytes(self) -> float:
        """Memory that it and its children hold now."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in (self.pid, *children))
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


@contextmanager
def serving(command: Sequence[str], environment: Mapping[str, str], folder: Path) -> Generator[Process]:
    """A server that says its address on stderr, and answers."""
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=dict(environment), cwd=folder)
    try:
        assert process.stderr is not None
        url = process.stderr.readline().rpartition(" ")[2].strip()
        yield Process(url, process.pid)
    finally:
        process.terminate()
        process.wait(30)


async def many(server: Process, number: int) -> tuple[float, float]:
    """Wall and CPU milliseconds per request, some at the same time."""
    call = rpc("tools/call", VERSION)
    async with httpx2.AsyncClient(timeout=_START_SECONDS) as client:
        (await client.post(server.url, **call)).raise_for_status()
        cpu, started = server.cpu_milliseconds, time.perf_counter()

        async def some() -> None:
            for _ in range(number // TOGETHER):
                (await client.post(server.url, **call)).raise_for_status()

        async with anyio.create_task_group() as group:
            for _ in range(TOGETHER):
                group.start_soon(some)
        sent = number // TOGETHER * TOGETHER
        return (time.perf_counter() - started) * 1000 / sent, (server.cpu_milliseconds - cpu) / sent


async def crowd(server: Process) -> tuple[int, float, float]:
    """How many calls ended well, the 95th percentile of their seconds, the median milliseconds of a ping meanwhile."""
    seconds: list[float] = []
    pings: list[float] = []
    call = rpc("tools/call", {"name": "chat", "arguments": {"prompt": "hello", "model": "slow"}})
    limits = httpx2.Limits(max_connections=CROWD + 10)
    async with httpx2.AsyncClient(timeout=120, limits=limits) as client:
        await warm(client, server)

        async def one() -> None:
            started = time.perf_counter()
            answer = await client.post(server.url, **call)
            if answer.status_code == 200 and '"isError":true' not in answer.text:
                seconds.append(time.perf_counter() - started)

        async with anyio.create_task_group() as group:
            for _ in range(CROWD):
                group.start_soon(one)
            await anyio.sleep(UPSTREAM_SECONDS / 2)
            pings += [await ping(client, server) for _ in range(20)]
    seconds.sort()
    return len(seconds), seconds[int(len(seconds) * 0.95) - 1] if seconds else 0.0, median(pings)


async def warm(client: httpx2.AsyncClient, server: Process) -> None:
    """Have every worker import what a call needs."""
    chat: dict[str, Any] = rpc("tools/call", {"name": "chat", "arguments": {"prompt": "hello", "model": "bench"}})
    async with anyio.create_task_group() as group:
        for _ in range(16):
            group.start_soon(lambda: client.post(server.url, **chat))


async def ping(client: httpx2.AsyncClient, server: Process) -> float:
    """Milliseconds of the cheapest request there is."""
    started = time.perf_counter()
    (await client.get(server.url.replace("/mcp", "/healthz"))).raise_for_status()
    return (time.perf_counter() - started) * 1000
