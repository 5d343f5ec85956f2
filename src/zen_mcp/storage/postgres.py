"""Postgres, for several replicas: the same SQL as SQLite, in threads, over a few connections that outlive a restart."""

from __future__ import annotations

import queue
import re
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from importlib import import_module
from typing import Any, TypeVar

import anyio

from zen_mcp.errors import ConfigError, StorageError
from zen_mcp.storage.base import Row, SQLValue, Transaction
from zen_mcp.storage.schema import migrations, statements_after

BUSY_SECONDS = 15.0
"""How long a statement, a lock or a free connection is waited for."""
RECONNECT_SECONDS = 5.0
"""How long a server that is being restarted is waited for."""
_CONNECTIONS = 8
_TRIES = 4
_RETRIED = frozenset({"40001", "40P01", "23503", "57P01", "57P02", "57P03"})
"""Serialization, deadlock, a reference that has just gone, and a server that shuts down or starts."""
_MIGRATION_LOCK = 0x7A656E
_TYPES = {"REAL": "DOUBLE PRECISION", "BLOB": "BYTEA", "INTEGER": "BIGINT"}

Result = TypeVar("Result")


class PostgresDatabase:
    """A database of Postgres, connected to when it is first needed; its schema is made or brought up to date then.

    A unit of work whose connection breaks before its commit is run again on a new one. One whose commit itself got no
    answer fails, because it is not known whether it was stored.

    Args:
        url: `postgresql://user:password@host:port/database`, with libpq's options.
        connections: at most so many at the same time.

    Raises:
        ConfigError: the extra is not installed, or the URL is none.
    """

    def __init__(self, url: str, *, connections: int = _CONNECTIONS) -> None:
        try:
            self._psycopg: Any = import_module("psycopg")
        except ImportError:
            text = "'database_url' is set, but the Postgres driver is not installed."
            raise ConfigError(text, "Install the extra: pip install 'zen-mcp-server[postgres]'") from None
        try:
            parts = self._psycopg.conninfo.conninfo_to_dict(url)
        except self._psycopg.ProgrammingError:
            text = "server.yaml: database_url is no address of a Postgres database."
            raise ConfigError(text, "Write postgresql://user:password@host:5432/database.") from None
        self.where = f"postgresql://{parts.get('host', '')}:{parts.get('port', 5432)}/{parts.get('dbname', '')}"
        self.password: str | None = parts.get("password")
        self._url = url
        self._free = threading.BoundedSemaphore(connections)
        self._idle: queue.LifoQueue[Any] = queue.LifoQueue()
        self._schema_lock = threading.Lock()
        self._schema_is_current = False
        self._closed = False

    async def run(self, work: Callable[[Transaction], Result]) -> Result:
        """Run `work` in one transaction; it may be run more than once, and only its last run counts.

        Raises:
            StorageError: the server cannot be reached, a lock is held for longer than 15 s, or the disk is full.
        """
        return await anyio.to_thread.run_sync(self._run, work, abandon_on_cancel=True)

    async def exists(self) -> bool:
        """Whether there is anything to tidy: a server's database always counts as there."""
        return True

    async def version(self) -> int:
        """The schema's version as it is, without bringing it up to date; 0 for an empty database.

        Raises:
            StorageError: as `run`.
        """
        return await anyio.to_thread.run_sync(self._version)

    async def aclose(self) -> None:
        """Close the idle connections; the others close when their work is done."""
        self._closed = True
        with anyio.move_on_after(1, shield=True):
            await anyio.to_thread.run_sync(self._close_idle, abandon_on_cancel=True)

    def _run(self, work: Callable[[Transaction], Result]) -> Result:
        self._bring_up_to_date()
        tries = 0
        while True:
            tries += 1
            with self._connection() as connection:
                try:
                    result = work(PostgresTransaction(connection))
                except self._psycopg.Error as exc:
                    _roll_back(connection)
                    passing = connection.closed or exc.sqlstate in _RETRIED
                    if not passing or tries == _TRIES:
                        raise self._translated(exc) from exc
                    continue
                except BaseException:
                    _roll_back(connection)
                    raise
                self._commit(connection)
                return result

    def _commit(self, connection: Any) -> None:
        try:
            connection.commit()
        except self._psycopg.Error as exc:
            if connection.closed:
                text = f"The connection to '{self.where}' broke while it stored something."
                raise StorageError(text, "It may or may not be there: look before you repeat it.") from exc
            _roll_back(connection)
            raise self._translated(exc) from exc

    @contextmanager
    def _connection(self) -> Generator[Any]:
        """A connection of our own, an idle one where one is well."""
        if not self._free.acquire(timeout=BUSY_SECONDS):
            raise StorageError(f"The database '{self.where}' was busy for {BUSY_SECONDS:.0f} s.", "Try again.")
        connection: Any = None
        try:
            with suppress(queue.Empty):
                while connection is None or connection.closed:
                    connection = self._idle.get_nowait()
            if connection is None or connection.closed:
                connection = self._connect()
            yield connection
        finally:
            if connection is not None and not connection.closed:
                connection.close() if self._closed else self._idle.put(connection)
            self._free.release()

    def _connect(self) -> Any:
        deadline = time.monotonic() + RECONNECT_SECONDS
        while True:
            try:
                return self._opened()
            except self._psycopg.OperationalError as exc:
                away = exc.sqlstate is None or exc.sqlstate in _RETRIED
                if not away or time.monotonic() >= deadline:
                    raise StorageError(
                        f"The database '{self.where}' cannot be reached ({_first_line(exc)}).",
                        "Check database_url, and that the server is up and lets this user in.",
                    ) from None
                threading.Event().wait(0.1)

    def _opened(self) -> Any:
        milliseconds = int(BUSY_SECONDS * 1000)
        connection = self._psycopg.connect(
            self._url,
            connect_timeout=3,
            application_name="zen-mcp-server",
            options=f"-c statement_timeout={milliseconds} -c lock_timeout={milliseconds}",
            keepalives_idle=10,
            keepalives_interval=5,
            keepalives_count=3,
            row_factory=import_module("psycopg.rows").dict_row,
        )
        connection.adapters.register_loader("numeric", _number_loader())
        return connection

    def _bring_up_to_date(self) -> None:
        """Make the schema, or bring it up to date; replicas that start together wait for one another."""
        if self._schema_is_current:
            return
        with self._schema_lock:
            if self._schema_is_current:
                return
            with self._connection() as connection:
                try:
                    self._migrate(connection)
                    connection.commit()
                except self._psycopg.Error as exc:
                    raise self._translated(exc) from exc
                finally:
                    _roll_back(connection)
            self._schema_is_current = True

    def _migrate(self, connection: Any) -> None:
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_MIGRATION_LOCK,))
        connection.execute("CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL)")
        row = connection.execute("SELECT MAX(version) AS version FROM schema_version").fetchone()
        done = int(row["version"] or 0)
        for statement in statements_after(done, where=self.where):
            connection.execute(_with_our_types(statement))
        if done < len(migrations()):
            connection.execute("DELETE FROM schema_version")
            connection.execute("INSERT INTO schema_version (version) VALUES (%s)", (len(migrations()),))

    def _version(self) -> int:
        with self._connection() as connection:
            try:
                there = connection.execute("SELECT to_regclass('schema_version') AS found").fetchone()["found"]
                if there is None:
                    return 0
                return int(connection.execute("SELECT MAX(version) AS v FROM schema_version").fetchone()["v"] or 0)
            except self._psycopg.Error as exc:
                raise self._translated(exc) from exc
            finally:
                _roll_back(connection)

    def _close_idle(self) -> None:
        with suppress(queue.Empty):
            while True:
                self._idle.get_nowait().close()

    def _translated(self, exc: Any) -> StorageError:
        state = str(exc.sqlstate or "")
        if state in {"55P03", "57014"}:
            return StorageError(f"The database '{self.where}' was locked for {BUSY_SECONDS:.0f} s.", "Try again.")
        if state == "53100":
            return StorageError(f"The disk of '{self.where}' is full.", "Free some space, then try again.")
        if state in {"42501", "25006"}:
            fix = "Give the user of database_url the right to write, and not to a read-only replica."
            return StorageError(f"The database '{self.where}' may not be written ({_first_line(exc)}).", fix)
        return StorageError(f"The database '{self.where}' fails: {_first_line(exc)}.", "Check it, then try again.")


class PostgresTransaction:
    """One open transaction."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def execute(self, sql: str, parameters: Mapping[str, SQLValue] | None = None) -> int:
        """Run a statement; how many rows it touched."""
        return self._connection.execute(_with_our_marks(sql), parameters or {}).rowcount

    def rows(self, sql: str, parameters: Mapping[str, SQLValue] | None = None) -> Sequence[Row]:
        """All rows of a query."""
        return self._connection.execute(_with_our_marks(sql), parameters or {}).fetchall()


@cache
def _with_our_marks(sql: str) -> str:
    """`:name` as psycopg writes it; text in quotes stays as it is."""
    parts = re.split(r"('(?:[^']|'')*')", sql.replace("%", "%%"))
    marked = [re.sub(r"(?<![:\w]):(\w+)", r"%(\1)s", part) if at % 2 == 0 else part for at, part in enumerate(parts)]
    return "".join(marked)


def _with_our_types(statement: str) -> str:
    for theirs, ours in _TYPES.items():
        statement = re.sub(rf"\b{theirs}\b", ours, statement)
    return statement


def _roll_back(connection: Any) -> None:
    """Leave nothing open; a connection that breaks over it is closed."""
    try:
        connection.rollback()
    except Exception:  # noqa: BLE001 - whatever keeps it from that, it is of no use any more
        connection.close()


def _first_line(exc: Exception) -> str:
    return str(exc).strip().partition("\n")[0].rstrip(".")


@cache
def _number_loader() -> type[Any]:
    """Reads NUMERIC, which sums of integers are, as int or float."""
    base: Any = import_module("psycopg.adapt").Loader

    class NumberLoader(base):
        def load(self, data: Any) -> int | float:
            text = bytes(data).decode()
            return float(text) if "." in text or "N" in text else int(text)

    return NumberLoader
