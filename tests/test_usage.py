"""The ledger through the front door: what was spent, by whom and on what, whatever becomes of the server."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
import time
from collections.abc import AsyncGenerator
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp.client import Client
from tests.support.results import data_of, error_of
from tests.support.server import RawServer, ServerFolder, connect
from tests.support.tokens import o200k_tokens
from tests.upstream import Behaviour, Upstream

from zen_mcp.errors import InvalidArguments, StorageError
from zen_mcp.server.descriptions import describe
from zen_mcp.storage.ledger import MOST_WAITING, Ledger, LedgerRow
from zen_mcp.storage.sqlite import SQLiteDatabase
from zen_mcp.storage.usage import UsageReports
from zen_mcp.tools.foreign.discovery import discover
from zen_mcp.tools.periods import since_when

pytestmark = pytest.mark.anyio

PRICED = {"input_cost_per_token": 3e-6, "output_cost_per_token": 15e-6}
MODELS: dict[str, tuple[Behaviour, dict[str, Any]]] = {
    "fine": (Behaviour(text="Fine.", cached_tokens=2, reasoning_tokens=1), PRICED),
    "free": (Behaviour(text="Free."), {}),
    "broken": (Behaviour(status=400, text="no"), {}),
    "hanging": (Behaviour(how="hang"), {}),
}
SETTINGS = {"default_model": "fine", "provider": "direct"}

LATER = 60.0


def rows_of(folder: ServerFolder, condition: str = "1 = 1") -> list[dict[str, Any]]:
    """The ledger's rows, in the order in which they were written."""
    path = folder.path / "state" / "zen.db"
    if not path.exists():
        return []
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        if not connection.execute("SELECT name FROM sqlite_master WHERE name = 'ledger'").fetchall():
            return []
        rows: list[Any] = connection.execute(f"SELECT * FROM ledger WHERE {condition} ORDER BY rowid").fetchall()  # noqa: S608
    return [dict(row) for row in rows]


async def written(folder: ServerFolder, condition: str, count: int) -> list[dict[str, Any]]:
    """The rows that satisfy a condition, once there are so many."""
    with anyio.fail_after(LATER):
        while len(rows := rows_of(folder, condition)) < count:  # noqa: ASYNC110 - another process writes them
            await anyio.sleep(0.02)
    return rows


async def test_a_chat_leaves_a_row_for_the_call_and_one_for_the_model(client: Client, folder: ServerFolder) -> None:
    before = time.time()
    thread = data_of(await client.call_tool("chat", {"prompt": "hello"}))["continuation_id"]
    model, tool = await written(folder, f"thread_id = '{thread}'", 2)
    assert model["call_id"] == tool["call_id"]
    assert tool["call_id"].startswith("c-")
    told = {
        "kind": "model", "user_id": "local", "client": "test", "tool": "chat", "asked": "fine", "model": "fine",
        "vendor": "custom", "cached_tokens": 2, "reasoning_tokens": 1, "attempts": 1, "cached": 0, "partial": 0,
        "status": "ok", "error": None, "variant": None,
    }  # fmt: skip
    assert {name: model[name] for name in told} == told
    assert model["cost_dollars"] == pytest.approx(
        (model["input_tokens"] * 3 + model["output_tokens"] * 15) / 1e6, rel=0.5
    )
    assert (tool["kind"], tool["model"], tool["status"]) == ("tool", None, "ok")
    assert before - 1 < model["at"] < time.time() + 1
    assert model["quarter"] == int(model["at"] // 900)


async def test_an_unknown_price_is_no_price_and_not_nothing(client: Client, folder: ServerFolder) -> None:
    await client.call_tool("chat", {"prompt": "hello", "model": "free"})
    (row,) = await written(folder, "kind = 'model' AND model = 'free'", 1)
    assert row["cost_dollars"] is None


async def test_failures_and_refusals_are_rows_too(client: Client, folder: ServerFolder) -> None:
    await client.call_tool("chat", {"prompt": "hello", "model": "broken"})
    await client.call_tool("chat", {"prompt": " "})
    model, tool = await written(folder, "error = 'VendorRejected'", 2)
    assert (model["kind"], model["model"], model["vendor"], model["input_tokens"]) == (
        "model",
        "broken",
        "custom",
        None,
    )
    assert (tool["kind"], tool["status"]) == ("tool", "failed")
    (refused,) = await written(folder, "error = 'InvalidArguments'", 1)
    assert (refused["tool"], refused["status"]) == ("chat", "failed")


async def test_a_cancelled_call_is_a_row_that_says_so(folder: ServerFolder, upstream: Upstream) -> None:
    async with RawServer(folder) as server:
        await server.initialize()
        asked = len(upstream.asked("hanging"))
        await server.send(
            {
                "jsonrpc": "2.0",
                "id": 1,
                "method": "tools/call",
                "params": {"name": "chat", "arguments": {"prompt": "hello", "model": "hanging"}},
            }
        )
        with anyio.fail_after(LATER):
            while len(upstream.asked("hanging")) == asked:  # noqa: ASYNC110 - another process asks
                await anyio.sleep(0.02)
        await server.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}})
        rows = await written(folder, "status = 'cancelled'", 2)
    assert {row["kind"] for row in rows} == {"model", "tool"}


async def test_an_answer_from_memory_costs_nothing_and_says_what_it_saved(client: Client, folder: ServerFolder) -> None:
    for _ in range(2):
        await client.call_tool("chat", {"prompt": "remember this", "cache": "use"})
    (row,) = await written(folder, "cached = 1", 1)
    assert (row["cost_dollars"], row["attempts"], row["input_tokens"]) == (0.0, 0, None)
    assert row["saved_tokens"] > 0


async def test_a_panel_is_one_call_and_a_request_per_member(client: Client, folder: ServerFolder) -> None:
    result = data_of(await client.call_tool("consensus", {"prompt": "hello", "models": ["fine", "free", "broken"]}))
    rows = await written(folder, f"thread_id = '{result['continuation_id']}'", 4)
    assert sorted((row["kind"], row["model"], row["status"]) for row in rows if row["kind"] == "model") == [
        ("model", "broken", "failed"),
        ("model", "fine", "ok"),
        ("model", "free", "ok"),
    ]
    assert len({row["call_id"] for row in rows}) == 1


async def test_the_tool_sums_by_model_tool_user_day_and_thread(client: Client, folder: ServerFolder) -> None:
    thread = data_of(await client.call_tool("chat", {"prompt": "hello"}))["continuation_id"]
    await written(folder, f"thread_id = '{thread}'", 2)
    for by, name in (("model", "fine"), ("tool", "chat"), ("user", "local"), ("thread", thread)):
        report = data_of(await client.call_tool("usage", {"by": by}))
        (found,) = (line for line in report["lines"] if line["name"] == name)
        assert found["requests"] >= 1
        assert report["total"]["input_tokens"] >= found["input_tokens"]
    today = datetime.now().astimezone().date().isoformat()
    days = data_of(await client.call_tool("usage", {"by": "day", "since": "1h"}))
    assert days["lines"][-1]["name"] in {today, (datetime.now().astimezone() - timedelta(hours=1)).date().isoformat()}


async def test_the_tool_says_what_is_wrong_with_since(client: Client) -> None:
    error = error_of(await client.call_tool("usage", {"since": "yesterday"}))
    assert error["problem"] == "'since' is 'yesterday', neither a span of time nor a date."
    assert "7d" in error["fix"]


async def test_the_tool_lists_in_ninety_tokens() -> None:
    (tool,) = (tool for tool in discover() if tool.name == "usage")
    assert o200k_tokens(json.dumps(describe(tool), separators=(",", ":"))) <= 90


async def test_the_command_prints_a_table_csv_and_json_that_agree(client: Client, folder: ServerFolder) -> None:
    await client.call_tool("chat", {"prompt": "hello"})
    await written(folder, "kind = 'tool' AND status = 'ok'", 1)
    whole = json.loads(folder.run("usage", "--json").stdout)
    fine = next(line for line in whole["lines"] if line["name"] == "fine")
    records = list(csv.DictReader(io.StringIO(folder.run("usage", "--csv").stdout)))
    assert next(int(one["input_tokens"]) for one in records if one["model"] == "fine") == fine["input_tokens"]
    assert sum(int(one["requests"]) for one in records) == whole["total"]["requests"]
    table = folder.run("usage", "--since", "7d").stdout
    assert f"{fine['input_tokens']:,}" in table
    assert table.splitlines()[-1].split()[0] == "total"
    nobody = json.loads(folder.run("usage", "--user", "nobody", "--json").stdout)
    assert nobody["lines"] == []
    assert nobody["total"]["requests"] == 0


async def test_the_command_refuses_what_it_cannot_read(folder: ServerFolder) -> None:
    done = folder.run("usage", "--since", "7 parsecs")
    assert done.returncode == 1
    assert done.stderr.startswith("zen: 'since' is '7 parsecs', neither a span of time nor a date.")


async def test_nothing_is_opened_to_list_tools(tmp_path: Path) -> None:
    folder = ServerFolder(path=tmp_path)
    async with connect(folder) as client:
        await client.list_tools()
        await folder.snapshot_written()
    assert not (tmp_path / "state" / "zen.db").exists()


@pytest.mark.slow
async def test_kill_9_loses_the_last_moment_and_tears_nothing(
    tmp_path: Path, models: dict[str, dict[str, Any]]
) -> None:
    folder = ServerFolder(path=tmp_path, models=models, settings=SETTINGS)
    answered = 0
    async with RawServer(folder) as server:
        await server.initialize()
        with anyio.fail_after(LATER):
            # The first row on disk proves that rows are written while the calls go on, not at the end.
            while len(rows_of(folder, "tool = 'version'")) < 1:
                answered += 1
                await server.request(answered, "tools/call", {"name": "version", "arguments": {}})
        seen = len(rows_of(folder, "tool = 'version'"))
        for _ in range(200):
            answered += 1
            await server.request(answered, "tools/call", {"name": "version", "arguments": {}})
        server.process.kill()
        await server.process.wait()
    rows = rows_of(folder, "tool = 'version'")
    assert seen <= len(rows) <= answered
    assert len({row["call_id"] for row in rows}) == len(rows), "nothing is written twice"
    assert all(row["status"] == "ok" for row in rows)
    async with connect(folder) as client:
        assert data_of(await client.call_tool("usage", {"by": "tool"}))["total"]["calls"] >= len(rows)


async def test_an_orderly_end_loses_nothing(tmp_path: Path, models: dict[str, dict[str, Any]]) -> None:
    folder = ServerFolder(path=tmp_path, models=models, settings=SETTINGS)
    async with connect(folder) as client:
        for _ in range(20):
            await client.call_tool("version", {})
    assert len(rows_of(folder, "tool = 'version'")) == 20


async def test_a_command_line_call_is_in_the_ledger(tmp_path: Path, models: dict[str, dict[str, Any]]) -> None:
    folder = ServerFolder(path=tmp_path, models=models, settings=SETTINGS)
    assert folder.run("ask", "hello").returncode == 0
    model, tool = rows_of(folder)
    assert (model["kind"], tool["kind"], tool["client"]) == ("model", "tool", "zen-cli")


async def test_a_broken_database_under_the_ledger_is_said_once_and_stops_no_call(
    tmp_path: Path, models: dict[str, dict[str, Any]]
) -> None:
    folder = ServerFolder(path=tmp_path, models=models, settings=SETTINGS)
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "zen.db").write_bytes(b"This is not a database. " * 200)
    async with RawServer(folder) as server:
        await server.initialize()
        for number in range(5):
            answer = await server.request(number, "tools/call", {"name": "chat", "arguments": {"prompt": "hello"}})
            assert answer["result"]["structuredContent"]["text"] == "Fine."
        assert server.process.stderr is not None
        log = b""
        with anyio.fail_after(LATER):
            while b"The ledger is not written" not in log:
                log += await server.process.stderr.receive()
        await server.close_input()
        with anyio.fail_after(LATER):
            async for piece in server.process.stderr:
                log += piece
    assert log.count(b"The ledger is not written") == 1
    told = folder.run("doctor", "--no-ask")
    assert told.returncode == 1
    assert "the ledger cannot be written" in " ".join(told.stdout.split())


def row(number: int, **more: Any) -> LedgerRow:
    """A row of its own."""
    return LedgerRow(at=1_000.0 + number, kind="tool", call_id=f"c-{number}", user_id="u", tool="chat", **more)


async def test_rows_wait_for_a_database_that_fails_and_come_in_order_when_it_works(tmp_path: Path) -> None:
    said: list[str] = []
    (tmp_path / "state").write_text("a file where the folder should be", encoding="utf-8")
    database = SQLiteDatabase(tmp_path / "state" / "zen.db")
    ledger = Ledger(database, tell=said.append)
    for number in range(MOST_WAITING + 5):
        ledger.add(row(number))
    assert not await ledger.flush()
    assert not await ledger.flush()
    assert (ledger.waiting, ledger.lost, len(said)) == (MOST_WAITING, 5, 1)
    assert isinstance(ledger.fault, StorageError)
    (tmp_path / "state").unlink()
    assert await ledger.flush()
    assert said[1:] == ["The ledger is written again; 5 rows were lost."]
    order = await database.run(
        lambda one: [entry["call_id"] for entry in one.rows("SELECT call_id FROM ledger ORDER BY at")]
    )
    assert order == [f"c-{number}" for number in range(5, MOST_WAITING + 5)]
    await database.aclose()


async def test_what_callers_and_upstreams_make_up_is_stored_in_bounds(tmp_path: Path) -> None:
    database = SQLiteDatabase(tmp_path / "zen.db")
    ledger = Ledger(database, tell=lambda _: None)
    wild = {"error": "x" * 5_000, "thread_id": "a\ud800\0b", "input_tokens": 2**70, "cost_dollars": float("inf")}
    ledger.add(row(1, **wild))
    assert await ledger.flush()
    (stored,) = await database.run(lambda transaction: list(transaction.rows("SELECT * FROM ledger")))
    assert (len(str(stored["error"])), stored["thread_id"]) == (200, "a?b")
    assert (stored["input_tokens"], stored["cost_dollars"]) == (2**31 - 1, None)
    await database.aclose()


@pytest.fixture
async def filled(tmp_path: Path) -> AsyncGenerator[SQLiteDatabase]:
    """A ledger of two users, three days and many threads."""
    database = SQLiteDatabase(tmp_path / "zen.db")
    ledger = Ledger(database, tell=lambda _: None, retention_days=1)
    start = datetime(2026, 11, 1, 12, 0, tzinfo=UTC).timestamp()
    for number in range(60):
        user = "alice" if number % 3 else "bob"
        ledger.add(
            LedgerRow(
                at=start + number * 3_600,
                kind="model",
                call_id=f"c-{number}",
                user_id=user,
                thread_id=f"t-{number}",
                asked="m",
                model="m",
                input_tokens=10,
                output_tokens=number,
                cost_dollars=0.01 if number % 2 else None,
                seconds=1.0,
            )
        )
    await ledger.flush()
    yield database
    await database.aclose()


async def test_a_user_sees_his_own_and_the_total_is_of_all_lines(filled: SQLiteDatabase) -> None:
    reports = UsageReports(filled)
    whole = await reports.report(by="thread", since=0.0, most=7)
    assert len(whole.lines) == 7
    assert (whole.total.requests, whole.total.unpriced, whole.total.input_tokens) == (60, 30, 600)
    assert whole.lines[0].name == "t-59", "the dearest first, then the most tokens"
    mine = await reports.report(by="user", since=0.0, user_id="bob")
    assert [(line.name, line.requests) for line in mine.lines] == [("bob", 20)]
    late = await reports.report(by="model", since=datetime(2026, 11, 3, tzinfo=UTC).timestamp())
    assert late.total.requests == 24


@pytest.mark.parametrize(
    ("hours", "expected"),
    [
        (0, [("2026-11-01", 12), ("2026-11-02", 24), ("2026-11-03", 24)]),
        (5.75, [("2026-11-01", 7), ("2026-11-02", 24), ("2026-11-03", 24), ("2026-11-04", 5)]),
    ],
)
async def test_days_begin_where_the_reader_is(
    filled: SQLiteDatabase, hours: float, expected: list[tuple[str, int]]
) -> None:
    zone = timezone(timedelta(hours=hours))
    days = await UsageReports(filled, zone=zone).report(by="day", since=0.0)
    assert [(line.name, line.requests) for line in days.lines] == expected


async def test_rows_past_their_time_are_deleted(filled: SQLiteDatabase) -> None:
    ledger = Ledger(filled, tell=lambda _: None, retention_days=1)
    ledger.add(LedgerRow(at=time.time(), kind="tool", call_id="c-new", user_id="alice"))
    async with anyio.create_task_group() as group:
        group.start_soon(ledger.keep)
        with anyio.fail_after(LATER):
            while (await UsageReports(filled).report(by="user", since=0.0)).total.requests:  # noqa: ASYNC110
                await anyio.sleep(0.02)
        group.cancel_scope.cancel()
    assert (await UsageReports(filled).report(by="user", since=0.0)).total.calls == 1


def test_since_is_a_span_or_a_date() -> None:
    now = datetime(2026, 11, 24, 12, 0, tzinfo=UTC).timestamp()
    assert since_when("24h", now=now) == now - 86_400
    assert since_when(" 2W ", now=now) == now - 14 * 86_400
    assert since_when("999999w", now=now) == 0.0
    assert since_when("2026-11-01T00:00:00+00:00", now=now) == datetime(2026, 11, 1, tzinfo=UTC).timestamp()
    for wrong in ("", "7", "-7d", "7y", "2026-13-01", "0001-01-01T00:00", "NaN"):
        with pytest.raises(InvalidArguments, match="neither a span"):
            since_when(wrong, now=now)
    with pytest.raises(InvalidArguments, match="yet to come"):
        since_when("2027-01-01", now=now)
