"""What the ledger costs: CPU per call, the time until a row is on disk, reports over a million rows."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from statistics import median

import anyio

from benchmarks.calls import chat
from benchmarks.figures import Figure
from benchmarks.process import Measured
from benchmarks.upstream import bench_folder, upstream
from zen_mcp.middleware.ledger import ModelLedger, ToolLedger
from zen_mcp.storage.ledger import Ledger, LedgerRow
from zen_mcp.storage.sqlite import SQLiteDatabase
from zen_mcp.storage.usage import GROUPINGS, UsageReports
from zen_mcp.types import ModelRequest, ModelResponse, ToolRequest, ToolResponse, Usage

ROWS = 1_000_000
CALLS = 5_000
KILLS = 30
MONTH_SECONDS = 30 * 86_400.0
_START = 1_790_000_000.0


def ledger(folder: Path) -> list[Figure]:
    """CPU, delay, reports."""
    path, writing = anyio.run(cpu_per_call, folder / "cpu.db")
    on_disk = delay(folder / "delay")
    figures = [
        Figure(what="ledger on the path of a chat (two rows), CPU", value=path, unit="ms", most=0.05),
        Figure(what="ledger with writing them beside it, CPU", value=writing, unit="ms", most=0.2),
        Figure(what="from an answer to its row on disk, longest of 30", value=on_disk, unit="ms", most=200),
    ]
    for by, seconds in anyio.run(reports, folder / "million.db").items():
        figures.append(
            Figure(what=f"a month's report by {by} over {ROWS:,} rows", value=seconds * 1000, unit="ms", most=1000)
        )
    return figures


async def cpu_per_call(path: Path) -> tuple[float, float]:
    """Milliseconds of CPU per chat: what the call itself waits for, and with what is done beside it."""
    database = SQLiteDatabase(path)
    book = Ledger(database, tell=lambda _: None)
    await book.check()
    tool, model = ToolLedger(book), ModelLedger(book, vendor_of=lambda _: "openai")
    asked = ToolRequest(request_id="c-0123456789ab", tool="chat", arguments={"prompt": "hello"})
    question = ModelRequest(request_id=asked.request_id, model="bench", messages=(), tool="chat", thread_id="t")
    answer = ModelResponse(
        text="ok", model="bench", vendor="openai", answered_by="bench", usage=Usage(input_tokens=9), cost_dollars=0.01
    )
    told = ToolResponse(text="ok", structured={"continuation_id": "t"})

    async def request(_: ModelRequest) -> ModelResponse:
        return answer

    async def call(_: ToolRequest) -> ToolResponse:
        await model(question, request)
        return told

    path_ms = whole_ms = 0.0
    for _ in range(CALLS // 500):
        began = time.process_time()
        for _ in range(500):
            await tool(asked, call)
        path_ms += time.process_time() - began
        await book.flush()
        whole_ms += time.process_time() - began
    await database.aclose()
    return path_ms / CALLS * 1000, whole_ms / CALLS * 1000


def delay(folder: Path) -> float:
    """Milliseconds between an answer and its row in the file, as another process sees it: what kill -9 may lose."""
    longest = 0.0
    with upstream() as url:
        zen = bench_folder(folder, url)
        zen.write()
        with Measured(zen.command("serve"), environment=zen.environ(), folder=zen.work) as server:
            server.shake_hands()
            chat(server, 0)
            file = zen.path / "state" / "zen.db"
            while not file.exists():
                time.sleep(0.01)  # noqa: TID251 - no event loop here
            with closing(sqlite3.connect(file)) as connection:
                for number in range(1, KILLS + 1):
                    chat(server, number)
                    answered = time.perf_counter()
                    while rows(connection) < 2 * (number + 1):
                        time.sleep(0.001)  # noqa: TID251
                    longest = max(longest, time.perf_counter() - answered)
    return longest * 1000


def rows(connection: sqlite3.Connection) -> int:
    """How many rows the ledger has."""
    return connection.execute("SELECT COUNT(*) FROM ledger").fetchone()[0]


async def reports(path: Path) -> dict[str, float]:
    """Seconds of each report over a month of a million rows; medians of three."""
    database = SQLiteDatabase(path)
    book = Ledger(database, tell=lambda _: None)
    for number, row in enumerate(a_month(), start=1):
        book.add(row)
        if number % 5_000 == 0:
            await book.flush()
    took: dict[str, list[float]] = {}
    for _ in range(3):
        for by in GROUPINGS:
            began = time.perf_counter()
            report = await UsageReports(database).report(by=by, since=_START)
            took.setdefault(by, []).append(time.perf_counter() - began)
            assert report.total.requests == ROWS // 2
    await database.aclose()
    return {by: median(seconds) for by, seconds in took.items()}


def a_month() -> Iterator[LedgerRow]:
    """A million rows of forty users, twelve models, three tools and 160,000 threads."""
    for number in range(ROWS):
        kind = "model" if number % 2 else "tool"
        yield LedgerRow(
            at=_START + number * MONTH_SECONDS / ROWS,
            kind=kind,
            call_id=f"c-{number // 2:012x}",
            user_id=f"user{number // 7 % 40}",
            client="claude-code",
            thread_id=f"t-{number // 6:020x}",
            tool=("chat", "consensus", "codereview")[number // 2 % 3],
            asked=f"model{number // 2 % 12}" if kind == "model" else None,
            model=f"model{number // 2 % 12}" if kind == "model" else None,
            vendor=f"vendor{number // 2 % 5}" if kind == "model" else None,
            input_tokens=number % 5_000 if kind == "model" else None,
            output_tokens=number % 900 if kind == "model" else None,
            cached_tokens=0 if kind == "model" else None,
            reasoning_tokens=0 if kind == "model" else None,
            cost_dollars=0.001 if kind == "model" else None,
            seconds=1.5,
            attempts=1,
        )
