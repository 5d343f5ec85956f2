"""What stored answers took, summed by thread or over a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from zen_mcp.storage.base import Database, Row, SQLValue

_SUMS = (
    "SUM(COALESCE(n.input_tokens, 0) + COALESCE(n.output_tokens, 0)) AS tokens, SUM(n.cost_dollars) AS dollars, "
    "SUM(CASE WHEN n.role = 'assistant' AND n.cost_dollars IS NULL THEN 1 ELSE 0 END) AS unpriced"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """Tokens in and out, dollars as far as prices are known, and how many answers have no known price."""

    tokens: int = 0
    cost_dollars: float = 0.0
    unpriced: int = 0


class Spending:
    """Sums over the stored turns.

    Args:
        database: where the threads are.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def by_thread(self, *, user_id: str) -> Mapping[str, Spent]:
        """What each of the user's threads took, by its id."""
        rows = await self._rows(
            f"SELECT t.id AS id, {_SUMS} FROM turns n JOIN threads t ON t.id = n.thread_id "  # noqa: S608 - fixed
            "WHERE t.user_id = :user_id GROUP BY t.id",
            {"user_id": user_id},
        )
        return {str(row["id"]): _spent(row) for row in rows}

    async def since(self, moment: float, *, user_id: str) -> Spent:
        """What the user's answers took since then (seconds since 1970)."""
        rows = await self._rows(
            f"SELECT {_SUMS} FROM turns n JOIN threads t ON t.id = n.thread_id "  # noqa: S608 - fixed
            "WHERE t.user_id = :user_id AND n.created_at >= :moment",
            {"user_id": user_id, "moment": moment},
        )
        return _spent(rows[0])

    async def _rows(self, sql: str, parameters: Mapping[str, SQLValue]) -> list[Row]:
        return await self._database.run(lambda transaction: list(transaction.rows(sql, parameters)))


def _spent(row: Row) -> Spent:
    return Spent(
        tokens=cast("int", row["tokens"] or 0),
        cost_dollars=cast("float", row["dollars"] or 0.0),
        unpriced=cast("int", row["unpriced"] or 0),
    )
