"""SQLite, one thread per database: units of work go in whole, come out committed or not at all."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import closing, suppress
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar, cast

import anyio

from zen_mcp.errors import StorageError
from zen_mcp.storage.base import Row, SQLValue, Transaction
from zen_mcp.storage.schema import migrations, statements_after

BUSY_SECONDS = 15.0

Result = TypeVar("Result")


class SQLiteDatabase:
    """A database file, opened when it is first needed.

    Everything runs in one thread, so one call costs one hop. A cancelled caller does not stop its unit of work: it is
    committed or rolled back whole, only nobody waits for it.

    Args:
        path: the file; its folder is made, readable to the user alone.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._connection: Any = None

    async def run(self, work: Callable[[Transaction], Result]) -> Result:
        """Run `work` in one write transaction.

        Raises:
            StorageError: the file cannot be opened, is locked for longer than 15 s, is damaged, or the disk is full.
        """
        return await self._submit(lambda: self._in_transaction(work))

    @property
    def where(self) -> str:
        """The file."""
        return str(self.path)

    async def exists(self) -> bool:
        """Whether anything was ever stored."""
        return self.path.exists()

    async def version(self) -> int:
        """The schema's version as it is, without bringing it up to date; 0 for none.

        Raises:
            StorageError: the file cannot be read, or is no database.
        """
        return await anyio.to_thread.run_sync(self._version) if self.path.exists() else 0

    async def aclose(self) -> None:
        """Finish what was handed in, then close; waits a second at most."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._work.put(None)
        with anyio.move_on_after(1):
            await anyio.to_thread.run_sync(thread.join, 1, abandon_on_cancel=True)

    async def _submit(self, work: Callable[[], Result]) -> Result:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run_thread, name="zen-database", daemon=True)
            self._thread.start()
        future: Future[Result] = Future()

        def job() -> None:
            try:
                future.set_result(work())
            except BaseException as exc:  # noqa: BLE001 - carried to the waiting caller
                future.set_exception(exc)

        self._work.put(job)
        return await _wait(future)

    def _version(self) -> int:
        sqlite = driver()
        try:
            with closing(sqlite.connect(f"file:{self.path}?mode=ro", uri=True, timeout=BUSY_SECONDS)) as connection:
                return _version_of(connection)
        except sqlite.Error as exc:
            raise _translated(exc, self.path) from exc

    def _run_thread(self) -> None:
        while (job := self._work.get()) is not None:
            job()
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _in_transaction(self, work: Callable[[Transaction], Result]) -> Result:
        sqlite = driver()
        try:
            if self._connection is None:
                self._connection = _open(self.path)
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                result = work(SQLiteTransaction(self._connection))
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
        except sqlite.Error as exc:
            raise _translated(exc, self.path) from exc
        return result


class SQLiteTransaction:
    """One open transaction."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def execute(self, sql: str, parameters: Mapping[str, SQLValue] | None = None) -> int:
        """Run a statement; how many rows it touched."""
        return self._connection.execute(sql, parameters or {}).rowcount

    def rows(self, sql: str, parameters: Mapping[str, SQLValue] | None = None) -> Sequence[Row]:
        """All rows of a query."""
        return self._connection.execute(sql, parameters or {}).fetchall()


def driver() -> ModuleType:
    """`pysqlite3` where it is installed, because it carries a newer SQLite; else the standard library's."""
    try:
        return import_module("pysqlite3.dbapi2")
    except ImportError:
        return import_module("sqlite3")


def has_wal_reset_bug(version: tuple[int, ...]) -> bool:
    """Whether this SQLite can damage a WAL file when two connections checkpoint at the same moment.

    3.7.0 to 3.51.2, but for the repaired 3.44.6 and 3.50.7 (https://sqlite.org/wal.html, "WAL-reset bug").
    """
    repaired = version[:2] in {(3, 44), (3, 50)} and version[2] >= (6 if version[1] == 44 else 7)
    return (3, 7, 0) <= version < (3, 51, 3) and not repaired


def journal_mode() -> str:
    """WAL; PERSIST where WAL is not safe with several processes."""
    return "PERSIST" if has_wal_reset_bug(driver().sqlite_version_info) else "WAL"


def _open(path: Path) -> Any:
    sqlite = driver()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600, exist_ok=True)
    except OSError as exc:
        raise StorageError(
            f"The database folder '{path.parent}' cannot be written ({exc.strerror}).",
            "Set ZEN_STATE_DIR to a folder that can.",
        ) from exc
    connection = sqlite.connect(str(path), timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite.Row
    mode = journal_mode()
    connection.execute(f"PRAGMA journal_mode={mode}")
    # WAL with NORMAL survives kill -9 whole; FULL costs a disk flush per turn and guards against power loss only.
    connection.execute(f"PRAGMA synchronous={'NORMAL' if mode == 'WAL' else 'FULL'}")
    connection.execute("PRAGMA foreign_keys=ON")
    _migrate(connection, path)
    return connection


def _migrate(connection: Any, path: Path) -> None:
    """Bring the schema up to date; BEGIN IMMEDIATE makes racing processes wait for one another."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statement in statements_after(_version_of(connection), where=str(path)):
            connection.execute(statement)
    except StorageError:
        connection.execute("ROLLBACK")
        raise
    connection.execute(f"PRAGMA user_version={len(migrations())}")
    connection.execute("COMMIT")


def _version_of(connection: Any) -> int:
    return cast("int", connection.execute("PRAGMA user_version").fetchone()[0])


def _translated(exc: Exception, path: Path) -> StorageError:
    text = str(exc)
    if "malformed" in text or "not a database" in text:
        return StorageError(
            f"The database '{path}' is damaged ({text}).",
            "Move it away; a new one is made at the next start.",
        )
    if "locked" in text or "busy" in text:
        return StorageError(f"The database '{path}' was locked for {BUSY_SECONDS:.0f} s.", "Try again.")
    if "full" in text:
        return StorageError(f"The disk with '{path}' is full.", "Free some space, then try again.")
    return StorageError(f"The database '{path}' fails: {text}.", "Check the file and its folder, then try again.")


async def _wait(future: Future[Result]) -> Result:
    """Await a future of another thread; abandoned, not stopped, when the caller is cancelled."""
    done = anyio.Event()
    loop = asyncio.get_running_loop()

    def wake(_: Future[Result]) -> None:
        # The loop is closed when the server has stopped meanwhile; nobody waits then.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(done.set)

    future.add_done_callback(wake)
    await done.wait()
    return future.result()
