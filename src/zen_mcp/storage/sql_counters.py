"""Counters that the servers of one user share, in SQL."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import cast

from zen_mcp.storage.base import Database, Row, Transaction
from zen_mcp.storage.counters import Correction, Counter, Draw, Drawn, after, decide

_FOREVER = 1e12
"""An end that no clock reaches, for counters that are never over."""
_TIDY_EVERY = 1000


class SQLCounters:
    """Counters in a table; each draw is one transaction; see `CounterStore`.

    Args:
        database: where they are kept.
        clock: seconds since 1970.
    """

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock
        self._draws = 0

    async def draw(self, draws: Sequence[Draw]) -> Drawn:
        """Take all of it, or nothing.

        Raises:
            StorageError: the database fails.
        """
        tidy = self._draws % _TIDY_EVERY == 0
        self._draws += 1

        def work(transaction: Transaction) -> Drawn:
            now = self._clock()
            for draw in sorted(draws, key=lambda one: one.key):
                _lock(transaction, draw, now)
            known = _load(transaction, [draw.key for draw in draws])
            stored = [known.get(draw.key) for draw in draws]
            drawn = decide(stored, draws, now)
            for draw, counter in after(stored, draws, drawn):
                _store(transaction, draw, counter, now)
            if tidy:
                transaction.execute("DELETE FROM counters WHERE expires_at < :now", {"now": now})
            return drawn

        return await self._database.run(work)

    async def settle(self, corrections: Sequence[Correction]) -> None:
        """Correct what was drawn before.

        Raises:
            StorageError: the database fails.
        """

        def work(transaction: Transaction) -> None:
            for correction in sorted(corrections, key=lambda one: one.key):
                values = {"key": correction.key, "amount": correction.amount, "period": correction.period}
                transaction.execute(
                    "UPDATE counters SET used = CASE WHEN used + :amount < 0 THEN 0 ELSE used + :amount END "
                    "WHERE key = :key AND period <= :period",
                    values,
                )
                transaction.execute(
                    "UPDATE counters SET earlier = CASE WHEN earlier + :amount < 0 THEN 0 ELSE earlier + :amount END "
                    "WHERE key = :key AND period = :period + 1",
                    values,
                )

        await self._database.run(work)

    async def all(self) -> Mapping[str, Counter]:
        """Every counter that is kept.

        Raises:
            StorageError: the database fails.
        """

        def work(transaction: Transaction) -> Mapping[str, Counter]:
            rows = transaction.rows("SELECT key, period, earlier, used FROM counters")
            return {str(row["key"]): _counter(row) for row in rows}

        return await self._database.run(work)


def _load(transaction: Transaction, keys: Sequence[str]) -> Mapping[str, Counter]:
    places = {f"key{number}": key for number, key in enumerate(keys)}
    names = ", ".join(f":{place}" for place in places)
    sql = f"SELECT key, period, earlier, used FROM counters WHERE key IN ({names})"  # noqa: S608 - names of our own
    return {str(row["key"]): _counter(row) for row in transaction.rows(sql, places)}


def _counter(row: Row) -> Counter:
    return Counter(
        period=cast("int", row["period"]), before=cast("float", row["earlier"]), used=cast("float", row["used"])
    )


def _lock(transaction: Transaction, draw: Draw, now: float) -> None:
    """Make sure that the counter is there, and that nobody else draws from it until this is done.

    SQLite has one writer anyway. Elsewhere the row is locked; all lock in the same order, so none waits for another
    in a circle.
    """
    transaction.execute(
        "INSERT INTO counters (key, period, earlier, used, expires_at) VALUES (:key, :period, 0, 0, :end) "
        "ON CONFLICT (key) DO UPDATE SET key = excluded.key",
        {"key": draw.key, "period": draw.number(now), "end": _end(draw, now)},
    )


def _store(transaction: Transaction, draw: Draw, counter: Counter, now: float) -> None:
    transaction.execute(
        "UPDATE counters SET period = :period, earlier = :earlier, used = :used, expires_at = :end WHERE key = :key",
        {
            "key": draw.key,
            "period": counter.period,
            "earlier": counter.before,
            "used": counter.used,
            "end": _end(draw, now),
        },
    )


def _end(draw: Draw, now: float) -> float:
    keep = draw.keep_seconds()
    return _FOREVER if math.isinf(keep) else now + keep
