"""The database: whole or not at all, one schema for racing processes, clear words for what is broken."""

from __future__ import annotations

import json
import sqlite3
from functools import partial
from pathlib import Path

import anyio
import pytest
from tests.support.postgres import PostgresServer
from tests.support.results import data_of
from tests.support.server import ServerFolder, connect, openai_model
from tests.upstream import Behaviour, Upstream

from zen_mcp.conversations import Answer, Conversations, Question
from zen_mcp.errors import ConfigError, StorageError, UnknownThread
from zen_mcp.storage.base import Database, Transaction
from zen_mcp.storage.postgres import PostgresDatabase
from zen_mcp.storage.schema import migrations
from zen_mcp.storage.sqlite import SQLiteDatabase, driver, has_wal_reset_bug, journal_mode

pytestmark = pytest.mark.anyio


def count(transaction: Transaction) -> int:
    """How many threads are stored."""
    number = transaction.rows("SELECT COUNT(*) AS n FROM threads")[0]["n"]
    assert isinstance(number, int)
    return number


def names(transaction: Transaction) -> set[str]:
    """Which threads are stored."""
    return {str(row["id"]) for row in transaction.rows("SELECT id FROM threads")}


def insert(transaction: Transaction, name: str) -> int:
    """Store a thread."""
    return transaction.execute(
        "INSERT INTO threads (id, user_id, title, created_at, updated_at) VALUES (:id, 'u', 't', 0, 0)", {"id": name}
    )


async def test_a_unit_of_work_that_fails_leaves_nothing(database: Database) -> None:
    def fail(transaction: Transaction) -> None:
        insert(transaction, "one")
        raise ValueError("changed my mind")

    with pytest.raises(ValueError, match="changed my mind"):
        await database.run(fail)
    assert await database.run(count) == 0


async def test_units_of_work_of_many_tasks_do_not_mix(database: Database) -> None:
    async with anyio.create_task_group() as group:
        for number in range(50):
            group.start_soon(database.run, partial(insert, name=f"t{number}"))
    assert await database.run(count) == 50


async def test_every_kind_of_value_comes_back_as_it_was(database: Database) -> None:
    moment = 1_795_555_555.123456
    values = {"name": "it's 100 % ':quoted'", "moment": moment, "bytes": b"\x00\xff"}

    def write(transaction: Transaction) -> list[dict[str, object]]:
        transaction.execute(
            "INSERT INTO threads (id, user_id, title, created_at, updated_at) "
            "VALUES ('a', 'u', :name, :moment, :moment)",
            {"name": values["name"], "moment": moment},
        )
        transaction.execute(
            "INSERT INTO similar_questions (key, scope, question, vector, expires_at) "
            "VALUES ('k', 's', '100 % :not_a_name', :bytes, 0)",
            {"bytes": b"\x00\xff"},
        )
        found = transaction.rows("SELECT title, created_at FROM threads WHERE title LIKE 'it%:quoted%'")
        more = transaction.rows("SELECT question, vector FROM similar_questions")
        sums = transaction.rows("SELECT SUM(n) AS whole, COUNT(*) AS n FROM (SELECT 2 AS n UNION ALL SELECT 3) AS t")
        return [dict(row) for row in (*found, *more, *sums)]

    assert await database.run(write) == [
        {"title": values["name"], "created_at": moment},
        {"question": "100 % :not_a_name", "vector": b"\x00\xff"},
        {"whole": 5, "n": 2},
    ]


async def test_the_version_is_told_without_changing_anything(database: Database) -> None:
    assert await database.version() == 0
    await database.run(count)
    assert await database.version() == len(migrations())


async def test_turns_of_many_callers_are_numbered_without_a_gap(database: Database) -> None:
    conversations = Conversations(database)
    thread = await conversations.open(None, user_id="u")

    async def say(number: int) -> None:
        answer = Answer(text=f"a{number}", model="m", vendor="v")
        await conversations.append(thread, Question(text=f"q{number}", tool="chat"), [answer])

    async with anyio.create_task_group() as group:
        for number in range(20):
            group.start_soon(say, number)
    turns = (await conversations.open(thread.id, user_id="u")).turns
    assert [turn.number for turn in turns] == list(range(1, 41))
    pairs = [(one.text[1:], other.text[1:]) for one, other in zip(turns[::2], turns[1::2], strict=True)]
    assert all(question == answer for question, answer in pairs), "a question and its answer stay together"
    with pytest.raises(UnknownThread):
        await conversations.open(thread.id, user_id="another")


async def test_racing_openers_make_one_schema(tmp_path: Path) -> None:
    databases: list[Database] = [SQLiteDatabase(tmp_path / "zen.db") for _ in range(8)]
    await race(databases)


async def test_racing_replicas_make_one_schema(postgres: PostgresServer) -> None:
    url = postgres.database()
    await race([PostgresDatabase(url) for _ in range(6)])


async def race(databases: list[Database]) -> None:
    """Open them all at once."""
    async with anyio.create_task_group() as group:
        for number, database in enumerate(databases):
            group.start_soon(database.run, partial(insert, name=f"t{number}"))
    assert await databases[0].run(count) == len(databases)
    for database in databases:
        await database.aclose()


async def test_a_caller_who_leaves_does_not_tear_a_unit_of_work(tmp_path: Path) -> None:
    database = SQLiteDatabase(tmp_path / "zen.db")
    await database.run(count)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await database.run(lambda transaction: [insert(transaction, f"t{number}") for number in range(10)])
    assert await database.run(count) in {0, 10}
    await database.aclose()


async def test_a_file_that_is_no_database_is_told_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "zen.db"
    path.write_bytes(b"This is not a database, but something dear to somebody. " * 40)
    database = SQLiteDatabase(path)
    with pytest.raises(StorageError, match=r"is damaged .*Move it away"):
        await database.run(count)
    assert path.read_bytes().startswith(b"This is not a database")
    await database.aclose()


async def test_a_database_of_a_newer_version_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "zen.db"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    database = SQLiteDatabase(path)
    with pytest.raises(StorageError, match=r"newer version \(schema 99"):
        await database.run(count)
    await database.aclose()


async def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file", encoding="utf-8")
    database = SQLiteDatabase(tmp_path / "state" / "zen.db")
    with pytest.raises(StorageError, match="Set ZEN_STATE_DIR"):
        await database.run(count)
    await database.aclose()


# --- Postgres alone


async def test_a_restart_of_postgres_in_the_middle_loses_nothing_that_was_promised() -> None:
    with PostgresServer() as server:
        database = PostgresDatabase(server.database())
        await database.run(count)
        stored: list[str] = []
        refused = 0

        async def write(worker: int) -> None:
            nonlocal refused
            for number in range(60):
                name = f"{worker}-{number}"
                try:
                    await database.run(partial(insert, name=name))
                except StorageError:
                    refused += 1  # told, not promised
                else:
                    stored.append(name)

        async with anyio.create_task_group() as group:
            for worker in range(4):
                group.start_soon(write, worker)
            await anyio.to_thread.run_sync(server.stop)
            await anyio.to_thread.run_sync(server.start)
        there = await database.run(names)
        assert set(stored) <= there
        assert len(stored) + refused == 240
        assert len(stored) > 120, "a restart of a second or two is waited for"
        await database.aclose()


async def test_what_is_wrong_with_postgres_is_said_without_the_password(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zen_mcp.storage.postgres.RECONNECT_SECONDS", 0.1)
    url = postgres.database()
    nobody = PostgresDatabase("postgresql://zen:secretword@127.0.0.1:9/none")
    with pytest.raises(StorageError, match=r"'postgresql://127.0.0.1:9/none' cannot be reached") as caught:
        await nobody.run(count)
    assert "secretword" not in str(caught.value)
    wrong = PostgresDatabase(url.replace(url.split(":")[2].partition("@")[0], "secretword"))
    with pytest.raises(StorageError, match="password authentication failed") as caught:
        await wrong.run(count)
    assert "secretword" not in str(caught.value)
    with pytest.raises(ConfigError, match="Write postgresql://"):
        PostgresDatabase("mysql:/what is this")


async def test_a_newer_schema_is_not_touched(postgres: PostgresServer) -> None:
    url = postgres.database()
    first = PostgresDatabase(url)
    await first.run(count)
    await first.run(lambda transaction: transaction.execute("UPDATE schema_version SET version = 99"))
    second = PostgresDatabase(url)
    with pytest.raises(StorageError, match=r"newer version \(schema 99"):
        await second.run(count)
    await first.aclose()
    await second.aclose()


async def test_a_server_on_postgres_goes_on_in_a_thread_of_another_server(
    postgres: PostgresServer, tmp_path: Path, upstream: Upstream
) -> None:
    models = {"fine": openai_model(upstream.url)}
    upstream.behave("fine", Behaviour(text="Heard: {echo}"))
    url = postgres.database()
    settings = {"default_model": "fine", "database_url": url, "cache": {"enabled": True}}
    replicas = [ServerFolder(path=tmp_path / name, models=models, settings=settings) for name in ("one", "two")]
    async with connect(replicas[0]) as one, connect(replicas[1]) as two:
        thread = data_of(await one.call_tool("chat", {"prompt": "first"}))["continuation_id"]
        await two.call_tool("chat", {"prompt": "second", "continuation_id": thread})
        await one.call_tool("chat", {"prompt": "third", "continuation_id": thread})
        said = [message["content"] for message in upstream.asked("fine")[-1].messages if message["role"] == "user"]
        assert said == ["first", "second", "third"]
        again = data_of(await two.call_tool("chat", {"prompt": "first"}))
        assert again["cached"] is True, "what one replica remembers the other gives again"
    assert not (replicas[0].path / "state" / "zen.db").exists(), "nothing is kept beside Postgres"
    checked = replicas[0].run("db", "check", "--json")
    assert json.loads(checked.stdout)["threads"] == 2
    assert url.split(":")[2].partition("@")[0] not in checked.stdout


def test_the_database_is_checked_and_upgraded_from_the_shell(tmp_path: Path) -> None:
    folder = ServerFolder(path=tmp_path)
    before = folder.run("db", "check")
    assert before.returncode == 1
    assert "zen db upgrade" in before.stdout
    after = folder.run("db", "upgrade")
    assert after.returncode == 0, after.stderr
    assert f"up to date (schema {len(migrations())}), 0 threads" in after.stdout
    assert folder.run("db").returncode == 0


def test_wal_is_used_where_several_processes_are_safe_with_it() -> None:
    assert has_wal_reset_bug((3, 46, 1))
    assert has_wal_reset_bug((3, 51, 2))
    assert not has_wal_reset_bug((3, 51, 3))
    assert not has_wal_reset_bug((3, 50, 7))
    assert not has_wal_reset_bug((3, 44, 6))
    assert journal_mode() == ("PERSIST" if has_wal_reset_bug(driver().sqlite_version_info) else "WAL")
