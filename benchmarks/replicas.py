"""What a turn of a thread costs on Postgres and Redis: by one replica or three, among 10 threads or 10,000."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import anyio
import httpx2
import psycopg
from tests.support.postgres import PostgresServer
from tests.support.redis import RedisServer
from tests.support.server import rpc
from tests.support.team import team_of

from benchmarks.figures import Figure
from benchmarks.process import Process
from benchmarks.upstream import bench_folder, upstream

TOGETHER = 12
TURNS, ROUNDS = 10, 3
FEW, MANY = 10, 10_000
_FILL = """
INSERT INTO threads (id, user_id, title, created_at, updated_at)
    SELECT 't-' || n, 'local', 'thread ' || n, {now}, {now} FROM generate_series(1, {number}) AS n;
INSERT INTO turns (thread_id, number, role, tool, text, created_at)
    SELECT 't-' || n, turn, CASE turn % 2 WHEN 1 THEN 'user' ELSE 'assistant' END, 'chat', repeat('word ', 50), {now}
    FROM generate_series(1, {number}) AS n, generate_series(1, 4) AS turn;
ANALYZE;
"""
Cost = tuple[float, float]


def replicas(folder: Path) -> list[Figure]:
    """Turns of threads, in turns by one replica and by three, before and after the database is filled."""
    with upstream() as url, PostgresServer() as postgres, RedisServer(folder) as redis:
        bench = bench_folder(folder, url)
        database = postgres.database()
        settings = {**bench.settings, "database_url": database, "redis_url": redis.url}
        return anyio.run(_measure, folder, bench.models, settings, database)


async def _measure(
    folder: Path, models: Mapping[str, Mapping[str, Any]], settings: Mapping[str, Any], database: str
) -> list[Figure]:
    async with team_of(folder, models=models, settings=settings) as team:
        await team.ready()
        processes = [Process(one.url, one.process.pid) for one in team.served]
        await _turns(processes)
        by_one, by_three = list[Cost](), list[Cost]()
        for _ in range(ROUNDS):
            by_one.append(await _turns(processes[:1]))
            by_three.append(await _turns(processes))
        await anyio.to_thread.run_sync(_fill, database, FEW)
        few = [await _turns(processes) for _ in range(ROUNDS)]
        listing_few = await _listing(processes[0])
        await anyio.to_thread.run_sync(_fill, database, MANY)
        many = [await _turns(processes) for _ in range(ROUNDS)]
        listing_many = await _listing(processes[0])
        memory = median(process.resident_megabytes for process in processes)
    cores = os.cpu_count() or 1
    return [
        Figure(what=f"turns per second, three replicas on {cores} cores", value=_wall(by_three), unit="/s",
               against=_wall(by_one), against_what="one replica"),
        Figure(what="CPU per turn, three replicas", value=_cpu(by_three), unit="ms", against=_cpu(by_one),
               against_what="one replica", most=1.5),
        Figure(what=f"CPU per turn among {MANY:,} threads", value=_cpu(many), unit="ms", against=_cpu(few),
               against_what=f"among {FEW}", most=1.3),
        Figure(what=f"the first page of {MANY:,} threads", value=listing_many, unit="ms", against=listing_few,
               against_what=f"of {FEW}"),
        Figure(what="resident memory of a replica", value=memory, unit="MB", most=400),
    ]  # fmt: skip


def _wall(costs: Sequence[Cost]) -> float:
    return median(per_second for per_second, _ in costs)


def _cpu(costs: Sequence[Cost]) -> float:
    return median(milliseconds for _, milliseconds in costs)


async def _turns(processes: Sequence[Process]) -> Cost:
    """Some clients at once, each with a thread that goes from replica to replica: turns per second, and CPU of each."""
    before = sum(process.cpu_milliseconds for process in processes)
    started = time.perf_counter()
    async with httpx2.AsyncClient(timeout=60, limits=httpx2.Limits(max_connections=64)) as http:

        async def converse(number: int) -> None:
            thread = ""
            for turn in range(TURNS):
                more = {"continuation_id": thread} if thread else {}
                arguments = {"prompt": f"turn {turn}", "model": "bench", **more}
                answer = await _call(http, processes[(number + turn) % len(processes)], "chat", arguments)
                thread = answer["structuredContent"]["continuation_id"]

        async with anyio.create_task_group() as group:
            for number in range(TOGETHER):
                group.start_soon(converse, number)
    seconds = time.perf_counter() - started
    calls = TOGETHER * TURNS
    return calls / seconds, (sum(process.cpu_milliseconds for process in processes) - before) / calls


async def _listing(process: Process) -> float:
    """The median milliseconds of a call that lists threads."""
    took = list[float]()
    async with httpx2.AsyncClient(timeout=60) as http:
        for _ in range(15):
            started = time.perf_counter()
            await _call(http, process, "threads", {})
            took.append((time.perf_counter() - started) * 1000)
    return median(took)


async def _call(http: httpx2.AsyncClient, process: Process, tool: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    answer = await http.post(process.url, **rpc("tools/call", {"name": tool, "arguments": dict(arguments)}))
    answer.raise_for_status()
    result: dict[str, Any] = answer.json()["result"]
    assert not result.get("isError"), result
    return result


def _fill(database: str, number: int) -> None:
    """Have the database hold so many threads of four turns, besides those of the measurements."""
    with psycopg.connect(database) as connection:
        connection.execute("DELETE FROM threads WHERE title LIKE 'thread %'")
        connection.execute(_FILL.format(number=number, now=time.time()).encode())
