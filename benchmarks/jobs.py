"""Jobs: calls in the background, handed in over HTTP, done, and each result fetched."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from typing import Any

import anyio
from tests.support.postgres import PostgresServer
from tests.support.server import ServerFolder, rpc

from benchmarks.figures import Figure
from benchmarks.load import Connection, prepared
from benchmarks.process import Process, serving

JOBS = 200
TOGETHER = 8
_LIMIT_SECONDS = 300.0


def job_rates(folder: ServerFolder) -> list[Figure]:
    """Jobs per second on SQLite and on Postgres."""
    figures = [_figure(folder, "SQLite")]
    with PostgresServer() as postgres:
        shared = replace(folder, settings={**folder.settings, "database_url": postgres.database()})
        return [*figures, _figure(shared, "Postgres")]


def _figure(folder: ServerFolder, database: str) -> Figure:
    folder.write()
    with serving(folder.command("serve", "--http", "127.0.0.1:0"), folder.environ(), folder.work) as server:
        rate = anyio.run(partial(_rate, server))
    return Figure(what=f"{JOBS} jobs handed in, done and fetched, on {database}", value=rate, unit="per second")


async def _rate(server: Process) -> float:
    """From the first call in the background to the last result in hand."""
    connections = [await Connection.to(server.url) for _ in range(TOGETHER)]
    with anyio.fail_after(_LIMIT_SECONDS):
        await _some(server, connections[0], 1)  # which imports what jobs need
        started = time.perf_counter()
        async with anyio.create_task_group() as group:
            for connection in connections:
                group.start_soon(_some, server, connection, JOBS // TOGETHER)
    seconds = time.perf_counter() - started
    for connection in connections:
        connection.close()
    return JOBS / seconds


async def _some(server: Process, connection: Connection, number: int) -> None:
    """Hand some jobs in, then wait for each and look at its result."""
    handed_in = [
        await _call(server, connection, "chat", {"prompt": f"job {one}", "model": "bench", "background": True})
        for one in range(number)
    ]
    for handle in handed_in:
        told = await _call(server, connection, "jobs", {"job": handle["job"], "action": "wait"})
        assert told["job"]["state"] == "done", told
        assert told["result"]["text"], told


async def _call(server: Process, connection: Connection, tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
    request = prepared(server.url, rpc("tools/call", {"name": tool, "arguments": arguments}))
    return (await connection.ask(request)).result["structuredContent"]
