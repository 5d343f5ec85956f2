"""The database: whole or not at all, one schema for racing processes, clear words for what is broken."""

from __future__ import annotations

import sqlite3
from functools import partial
from pathlib import Path

import anyio
import pytest

from zen_mcp.errors import StorageError
from zen_mcp.storage.base import Transaction
from zen_mcp.storage.sqlite import SQLiteDatabase, driver, has_wal_reset_bug, journal_mode

pytestmark = pytest.mark.anyio


def count(transaction: Transaction) -> int:
    """How many threads are stored."""
    number = transaction.rows("SELECT COUNT(*) AS n FROM threads")[0]["n"]
    assert isinstance(number, int)
    return number


def insert(transaction: Transaction, name: str) -> int:
    """Store a thread."""
    return transaction.execute(
        "INSERT INTO threads (id, user_id, title, created_at, updated_at) VALUES (:id, 'u', 't', 0, 0)", {"id": name}
    )


async def test_a_unit_of_work_that_fails_leaves_nothing(tmp_path: Path) -> None:
    database = SQLiteDatabase(tmp_path / "zen.db")

    def fail(transaction: Transaction) -> None:
        insert(transaction, "one")
        raise ValueError("changed my mind")

    with pytest.raises(ValueError, match="changed my mind"):
        await database.run(fail)
    assert await database.run(count) == 0
    await database.aclose()


async def test_units_of_work_of_many_tasks_do_not_mix(tmp_path: Path) -> None:
    database = SQLiteDatabase(tmp_path / "zen.db")
    async with anyio.create_task_group() as group:
        for number in range(50):
            group.start_soon(database.run, partial(insert, name=f"t{number}"))
    assert await database.run(count) == 50
    await database.aclose()


async def test_racing_openers_make_one_schema(tmp_path: Path) -> None:
    databases = [SQLiteDatabase(tmp_path / "zen.db") for _ in range(8)]
    async with anyio.create_task_group() as group:
        for number, database in enumerate(databases):
            group.start_soon(database.run, partial(insert, name=f"t{number}"))
    assert await databases[0].run(count) == 8
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


def test_wal_is_used_where_several_processes_are_safe_with_it() -> None:
    assert has_wal_reset_bug((3, 46, 1))
    assert has_wal_reset_bug((3, 51, 2))
    assert not has_wal_reset_bug((3, 51, 3))
    assert not has_wal_reset_bug((3, 50, 7))
    assert not has_wal_reset_bug((3, 44, 6))
    assert journal_mode() == ("PERSIST" if has_wal_reset_bug(driver().sqlite_version_info) else "WAL")
