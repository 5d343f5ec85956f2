"""The ledger: one row per model request and one per tool call, written in batches beside the calls."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import cache
from time import monotonic, time
from typing import Literal

import anyio

from zen_mcp.errors import StorageError
from zen_mcp.storage.base import Database, SQLValue, Transaction

EVERY_SECONDS = 0.1
"""How long rows are collected before they are written: with the writing itself, well within 200 ms."""
MOST_WAITING = 10_000
"""Rows that are kept while the database fails; beyond it the oldest are lost, and counted."""
QUARTER_SECONDS = 900
_BATCH = 1_000
_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 30.0
_CLOSE_SECONDS = 0.3
_PRUNE_SECONDS = 6 * 3600.0
_DAY_SECONDS = 86_400.0
_LONGEST_TEXT = 200
_LARGEST_INTEGER = 2**31 - 1

Kind = Literal["tool", "model"]
Status = Literal["ok", "failed", "cancelled"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerRow:
    """One tool call or one model request.

    Attributes:
        at: when it began, in seconds since 1970.
        call_id: of the tool call; its model requests bear the same.
        thread_id: the thread it belongs to, None where it is not known.
        asked: the model that was asked; None for a tool call.
        model: the model that answered, or failed to.
        input_tokens, output_tokens, cached_tokens, reasoning_tokens: as the vendor counted; None when it did not say.
        saved_tokens: of an answer given again from memory, in place of the four above.
        cost_dollars: None when it is not known.
        attempts: HTTP requests; None when it failed.
        error: the kind of the error.
        variant: of an experiment.
    """

    at: float
    kind: Kind
    call_id: str
    user_id: str
    team: str | None = None
    client: str | None = None
    thread_id: str | None = None
    tool: str = ""
    asked: str | None = None
    model: str | None = None
    vendor: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    saved_tokens: int | None = None
    cost_dollars: float | None = None
    seconds: float = 0.0
    attempts: int | None = None
    cached: bool = False
    partial: bool = False
    status: Status = "ok"
    error: str | None = None
    variant: str | None = None


_COLUMNS = tuple(field.name for field in fields(LedgerRow))
_NAMES = ("quarter", *_COLUMNS)
_ROWS_OF_A_STATEMENT = 8
"""One statement for many rows: for each it would have to wait for the calls' thread, which costs more than the row."""
_NUMBERED = tuple(tuple(f"{name}_{index}" for name in _NAMES) for index in range(_ROWS_OF_A_STATEMENT))
"""The parameters of each row of a statement."""


class Ledger:
    """Takes rows at once and writes them a moment later, in one transaction.

    No call waits for it, and none fails with it: while the database fails, rows are kept in memory and said once to be.

    Args:
        database: where the rows go; opened by the first of them.
        tell: takes a sentence for the operator, when the database fails and when it works again.
        retention_days: older rows are deleted.
    """

    def __init__(self, database: Database, *, tell: Callable[[str], None], retention_days: float = 365) -> None:
        self.retention_days = retention_days
        self.lost = 0
        self.fault: StorageError | None = None
        self._database = database
        self._tell = tell
        self._waiting: deque[LedgerRow] = deque()
        self._filled = anyio.Event()
        self._pruned: float | None = None

    @property
    def waiting(self) -> int:
        """Rows that are not written yet."""
        return len(self._waiting)

    def add(self, row: LedgerRow) -> None:
        """Take a row; it is written within 200 ms, where `keep` runs."""
        self._waiting.append(row)
        if len(self._waiting) > MOST_WAITING:
            self._waiting.popleft()
            self.lost += 1
        self._filled.set()

    async def keep(self) -> None:
        """Write what comes, until cancelled."""
        pause = _FIRST_PAUSE_SECONDS
        while True:
            await self._filled.wait()
            await anyio.sleep(EVERY_SECONDS)
            if await self.flush():
                pause = _FIRST_PAUSE_SECONDS
                await self._prune()
            else:
                await anyio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    async def flush(self) -> bool:
        """Write what waits; whether all of it is written."""
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]
            try:
                # Handed in whole: cancelled here, the batch is still written, only nobody waits for it.
                await self._database.run(lambda transaction, rows=batch: _insert(transaction, rows))
            except StorageError as exc:
                self._waiting.extendleft(reversed(batch))
                self._tell_fault(exc)
                return False
            except Exception as exc:  # noqa: BLE001 - rows that no database takes must not end the server
                self.lost += len(batch)
                self._tell(f"{len(batch)} rows of the ledger are lost: {type(exc).__name__}: {exc}")
        if self.fault is not None:
            self._tell(f"The ledger is written again; {self.lost} rows were lost.")
            self.fault = None
        self._filled = anyio.Event()
        return True

    async def check(self) -> int:
        """Prove that rows can be written; how many there are.

        Raises:
            StorageError: the database cannot be opened or written.
        """
        trial = LedgerRow(at=0.0, kind="tool", call_id="check", user_id="check")

        def write(transaction: Transaction) -> int:
            _insert(transaction, [trial])
            transaction.execute("DELETE FROM ledger WHERE call_id = 'check' AND user_id = 'check'")
            count = transaction.rows("SELECT COUNT(*) AS n FROM ledger")[0]["n"]
            return count if isinstance(count, int) else 0

        return await self._database.run(write)

    async def aclose(self) -> None:
        """Write what waits; a moment at most."""
        with anyio.move_on_after(_CLOSE_SECONDS):
            await self.flush()

    def _tell_fault(self, exc: StorageError) -> None:
        if self.fault is None:
            self._tell(f"The ledger is not written: {exc} Up to {MOST_WAITING:,} rows are kept in memory until then.")
        self.fault = exc

    async def _prune(self) -> None:
        """Delete what is too old, a few times a day."""
        if self._pruned is not None and monotonic() - self._pruned < _PRUNE_SECONDS:
            return
        self._pruned = monotonic()
        oldest = time() - self.retention_days * _DAY_SECONDS
        try:
            await self._database.run(
                lambda transaction: transaction.execute("DELETE FROM ledger WHERE at < :oldest", {"oldest": oldest})
            )
        except StorageError as exc:
            self._tell(f"Old rows of the ledger are not deleted: {exc}")


def _insert(transaction: Transaction, rows: Sequence[LedgerRow]) -> None:
    for first in range(0, len(rows), _ROWS_OF_A_STATEMENT):
        some = rows[first : first + _ROWS_OF_A_STATEMENT]
        values: dict[str, SQLValue] = {}
        for row, names in zip(some, _NUMBERED, strict=False):
            values[names[0]] = int(row.at // QUARTER_SECONDS)
            values.update((names[at], _storable(getattr(row, name))) for at, name in enumerate(_COLUMNS, 1))
        transaction.execute(_insertion(len(some)), values)


@cache
def _insertion(rows: int) -> str:
    marks = (f"({', '.join(f':{name}' for name in names)})" for names in _NUMBERED[:rows])
    return f"INSERT INTO ledger ({', '.join(_NAMES)}) VALUES {', '.join(marks)}"  # noqa: S608 - fixed names


def _storable(value: SQLValue) -> SQLValue:
    """The value as every database takes it: callers write names, and upstreams numbers."""
    if isinstance(value, str):
        if len(value) <= _LONGEST_TEXT and value.isascii() and "\0" not in value:
            return value
        return value[:_LONGEST_TEXT].replace("\0", "").encode("utf-8", "replace").decode()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, int):
        return min(int(value), _LARGEST_INTEGER)
    return value
