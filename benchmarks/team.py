"""Serving a team over HTTP: what a request costs beside an empty server on the same SDK, and 500 calls at once."""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import anyio
from tests.support.server import ServerFolder, rpc, until

from benchmarks.calls import behave
from benchmarks.figures import Figure
from benchmarks.jobs import job_rates
from benchmarks.load import Answered, Connection, prepared
from benchmarks.process import Process, serving
from benchmarks.startup import CHILDREN
from benchmarks.upstream import bench_folder, upstream

REQUESTS = 400
ROUNDS = 5
TOGETHER = 8
CROWD = 500
BATCH = 1_000
UPSTREAM_SECONDS = 10.0
_CROWD_SECONDS = 120.0
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
            anyio.run(warmed_up, ours)
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
        jobs = job_rates(zen)
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
        *jobs,
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


async def many(server: Process, number: int) -> tuple[float, float]:
    """Wall and CPU milliseconds per request, some at the same time."""
    call = prepared(server.url, rpc("tools/call", VERSION))
    connections = [await Connection.to(server.url) for _ in range(TOGETHER)]
    answers = [await connection.ask(call) for connection in connections]
    cpu, started = server.cpu_milliseconds, time.perf_counter()

    async def some(connection: Connection) -> None:
        answers.extend([await connection.ask(call) for _ in range(number // TOGETHER)])

    async with anyio.create_task_group() as group:
        for connection in connections:
            group.start_soon(some, connection)
    sent = number // TOGETHER * TOGETHER
    wall, used = (time.perf_counter() - started) * 1000 / sent, (server.cpu_milliseconds - cpu) / sent
    for connection in connections:
        connection.close()
    assert all(answer.result for answer in answers)
    return wall, used


async def crowd(server: Process) -> tuple[int, float, float]:
    """How many calls ended well, the 95th percentile of their seconds, the median milliseconds of a ping meanwhile."""
    answers: list[Answered] = []
    pings: list[float] = []
    await warm(server)
    await warmed_up(server)
    call = chat(server, "slow")

    async def one() -> None:
        started = time.perf_counter()
        connection = await Connection.to(server.url)
        answer = await connection.ask(call)
        connection.close()
        answers.append(replace(answer, seconds=time.perf_counter() - started))

    with anyio.fail_after(_CROWD_SECONDS):
        async with anyio.create_task_group() as group:
            for _ in range(CROWD):
                group.start_soon(one)
            await anyio.sleep(UPSTREAM_SECONDS / 2)
            pings += [await ping(server) for _ in range(20)]
    assert all(answer.result["content"][0]["text"].startswith("done") for answer in answers)
    seconds = sorted(answer.seconds for answer in answers)
    return len(seconds), seconds[int(len(seconds) * 0.95) - 1] if seconds else 0.0, median(pings)


def chat(server: Process, model: str) -> bytes:
    """A question to a model."""
    return prepared(server.url, rpc("tools/call", {"name": "chat", "arguments": {"prompt": "hello", "model": model}}))


async def warm(server: Process) -> None:
    """Have every worker import what a call needs."""
    call = chat(server, "bench")

    async def one() -> None:
        connection = await Connection.to(server.url)
        assert (await connection.ask(call)).result
        connection.close()

    async with anyio.create_task_group() as group:
        for _ in range(16):
            group.start_soon(one)


async def warmed_up(server: Process) -> None:
    """Wait until every worker has imported what it will need, which would count as the CPU of calls otherwise."""

    async def one_is() -> bool:
        connection = await Connection.to(server.url)
        answer = await connection.ask(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        connection.close()
        return json.loads(answer.body)["checks"]["warm_up"] == "ok"

    async def all_are() -> bool:
        return all([await one_is() for _ in range(8)])

    await until(all_are)


async def ping(server: Process) -> float:
    """Milliseconds of the cheapest request there is, on a connection of its own."""
    started = time.perf_counter()
    connection = await Connection.to(server.url)
    answer = await connection.ask(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    connection.close()
    assert answer.body == b"ok", answer
    return (time.perf_counter() - started) * 1000
