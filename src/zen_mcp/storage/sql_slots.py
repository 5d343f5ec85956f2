"""Places at deployments that the processes on one database share."""

from __future__ import annotations

import time
from collections.abc import Callable

from zen_mcp.storage.base import Database, Transaction


class SQLSlots:
    """Places by deployment, as rows with an end; see `routing.shared_capacity.Slots`. All raise StorageError.

    Args:
        database: where they are kept.
        clock: seconds since 1970; those of all processes must agree within a second or two.
    """

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    async def take(self, deployment: str, ticket: str, *, most: int, hold_seconds: float, wait_seconds: float) -> bool:
        """Whether the ticket has a place now; else it stands in the queue."""

        def work(transaction: Transaction) -> bool:
            now = self._clock()
            _lock(transaction, deployment)
            _forget(transaction, deployment, now)
            transaction.execute(
                "INSERT INTO slots (ticket, deployment, held, came_at, expires_at) "
                "VALUES (:ticket, :deployment, 0, :now, :end) ON CONFLICT (ticket) DO UPDATE SET expires_at = :end",
                {"ticket": ticket, "deployment": deployment, "now": now, "end": now + wait_seconds},
            )
            before = transaction.rows(
                "SELECT COUNT(*) AS number FROM slots AS one, slots AS mine WHERE mine.ticket = :ticket "
                "AND one.deployment = :deployment AND one.ticket <> mine.ticket AND (one.held = 1 "
                "OR one.came_at < mine.came_at OR (one.came_at = mine.came_at AND one.ticket < mine.ticket))",
                {"ticket": ticket, "deployment": deployment},
            )
            if int(str(before[0]["number"])) >= most:
                return False
            _hold(transaction, deployment, ticket, now, hold_seconds)
            return True

        return await self._database.run(work)

    async def keep(self, deployment: str, ticket: str, *, hold_seconds: float) -> None:
        """Put the end of a place off; one that was lost is taken again."""
        await self._database.run(lambda one: _hold(one, deployment, ticket, self._clock(), hold_seconds))

    async def give_back(self, deployment: str, ticket: str) -> None:
        """Free the place, or leave the queue."""

        def work(transaction: Transaction) -> None:
            transaction.execute("DELETE FROM slots WHERE ticket = :ticket", {"ticket": ticket})

        await self._database.run(work)

    async def count(self, deployment: str) -> int:
        """How many hold a place or wait for one."""

        def work(transaction: Transaction) -> int:
            rows = transaction.rows(
                "SELECT COUNT(*) AS number FROM slots WHERE deployment = :deployment AND expires_at > :now",
                {"deployment": deployment, "now": self._clock()},
            )
            return int(str(rows[0]["number"]))

        return await self._database.run(work)


def _lock(transaction: Transaction, deployment: str) -> None:
    """Let nobody else count this deployment's places until this is done. SQLite has one writer anyway."""
    transaction.execute(
        "INSERT INTO slot_locks (deployment) VALUES (:deployment) "
        "ON CONFLICT (deployment) DO UPDATE SET deployment = excluded.deployment",
        {"deployment": deployment},
    )


def _forget(transaction: Transaction, deployment: str, now: float) -> None:
    """Whoever has not been heard of for too long is dead."""
    transaction.execute(
        "DELETE FROM slots WHERE deployment = :deployment AND expires_at <= :now",
        {"deployment": deployment, "now": now},
    )


def _hold(transaction: Transaction, deployment: str, ticket: str, now: float, seconds: float) -> None:
    transaction.execute(
        "INSERT INTO slots (ticket, deployment, held, came_at, expires_at) "
        "VALUES (:ticket, :deployment, 1, :now, :end) ON CONFLICT (ticket) DO UPDATE SET held = 1, expires_at = :end",
        {"ticket": ticket, "deployment": deployment, "now": now, "end": now + seconds},
    )
