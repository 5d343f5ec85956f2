"""Remembered answers in SQL."""

from __future__ import annotations

import time
from collections.abc import Callable

from zen_mcp.storage.base import Database, Transaction

MOST_RESPONSES = 10_000
"""Kept at most; the ones that end soonest go first."""


class SQLResponses:
    """Answers by key, each with an end.

    Args:
        database: where they are kept.
        clock: seconds since 1970.
    """

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    async def load(self, key: str) -> str | None:
        """What was stored under the key and has not ended.

        Raises:
            StorageError: the database fails.
        """
        now = self._clock()

        def read(transaction: Transaction) -> str | None:
            found = transaction.rows(
                "SELECT value FROM responses WHERE key = :key AND expires_at > :now", {"key": key, "now": now}
            )
            return str(found[0]["value"]) if found else None

        return await self._database.run(read)

    async def store(self, key: str, value: str, *, seconds: float) -> None:
        """Keep a value for so long.

        Raises:
            StorageError: the database fails.
        """
        now = self._clock()

        def write(transaction: Transaction) -> None:
            transaction.execute(
                "INSERT INTO responses (key, value, expires_at) VALUES (:key, :value, :end) "
                "ON CONFLICT (key) DO UPDATE SET value = :value, expires_at = :end",
                {"key": key, "value": value, "end": now + seconds},
            )
            transaction.execute("DELETE FROM responses WHERE expires_at <= :now", {"now": now})
            transaction.execute(
                "DELETE FROM responses WHERE expires_at < "
                "(SELECT MIN(newest.expires_at) FROM "
                "(SELECT expires_at FROM responses ORDER BY expires_at DESC LIMIT :most) AS newest)",
                {"most": MOST_RESPONSES},
            )

        await self._database.run(write)
