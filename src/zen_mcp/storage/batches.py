"""Batches and their items: each result is stored as soon as it comes, so that no answer is paid twice."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast

from zen_mcp.storage.base import Database, Row, SQLValue, Transaction
from zen_mcp.types import JSONObject

ItemState = Literal["waiting", "done", "failed"]

_ROWS_AT_ONCE = 50
_BATCH_COLUMNS = "id, user_id, job, title, model, created_at, deadline_seconds, asker, vendor"
_ITEM_COLUMNS = "line, id, state, key, request, result, error, tokens, dollars, attempts"


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Prompts handed in together.

    Attributes:
        job: the job that makes it now, or made it last; the first one's id is the batch's own.
        deadline_seconds: within which the answers are wanted; None: soon.
        asker: who handed it in and what he may ask, as JSON.
        vendor: how far the vendor's own batch is; None where there is none.
    """

    id: str
    user_id: str
    job: str
    title: str
    model: str
    created_at: float
    deadline_seconds: float | None
    asker: JSONObject
    vendor: JSONObject | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchItem:
    """One prompt of a batch and what came of it.

    Attributes:
        line: of the input, from 1.
        id: the caller's own name for it; its line where it has none.
        key: the same at every attempt, so that an upstream that knows the header does not answer twice.
        request: what is asked.
        result: the answer, for one that is done.
        error: why there is none: kind and problem.
        attempts: how often it was asked.
    """

    line: int
    id: str
    key: str
    request: JSONObject
    state: ItemState = "waiting"
    result: JSONObject | None = None
    error: JSONObject | None = None
    tokens: int | None = None
    dollars: float | None = None
    attempts: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchCounts:
    """How many items are in each state, and what they took; `unpriced` of those done have no known price."""

    waiting: int = 0
    done: int = 0
    failed: int = 0
    tokens: int = 0
    dollars: float = 0.0
    unpriced: int = 0

    @property
    def total(self) -> int:
        """All items."""
        return self.waiting + self.done + self.failed


class BatchTable:
    """All batches of all users.

    Args:
        database: where they are.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, batch: Batch, items: Sequence[BatchItem]) -> None:
        """Store a batch before its job is handed in. Raises StorageError."""

        def work(transaction: Transaction) -> None:
            transaction.execute(
                f"INSERT INTO batches ({_BATCH_COLUMNS}, runner) VALUES (:id, :user_id, :job, :title, :model, "  # noqa: S608 - fixed
                ":created_at, :deadline_seconds, :asker, NULL, '')",
                {
                    "id": batch.id,
                    "user_id": batch.user_id,
                    "job": batch.job,
                    "title": batch.title,
                    "model": batch.model,
                    "created_at": batch.created_at,
                    "deadline_seconds": batch.deadline_seconds,
                    "asker": json.dumps(batch.asker),
                },
            )
            for start in range(0, len(items), _ROWS_AT_ONCE):
                _insert(transaction, batch.id, items[start : start + _ROWS_AT_ONCE])

        await self._database.run(work)

    async def find(self, identity: str, *, user_id: str) -> Batch | None:
        """The user's batch of this id, or with a job of this id. Raises StorageError."""
        rows = await self._rows(
            f"SELECT {_BATCH_COLUMNS} FROM batches WHERE user_id = :user_id AND (id = :id OR job = :id)",  # noqa: S608 - fixed
            {"user_id": user_id, "id": identity},
        )
        return _batch(rows[0]) if rows else None

    async def list(self, *, user_id: str, limit: int = 50) -> Sequence[tuple[Batch, BatchCounts]]:
        """The user's batches, the newest first, with their counts. Raises StorageError."""
        rows = await self._rows(
            f"SELECT {_BATCH_COLUMNS} FROM batches WHERE user_id = :user_id ORDER BY created_at DESC LIMIT :limit",  # noqa: S608 - fixed
            {"user_id": user_id, "limit": limit},
        )
        return [(batch, await self.counts(batch.id)) for batch in map(_batch, rows)]

    async def take(self, batch_id: str, runner: str) -> None:
        """Note who makes the batch from now on; who made it before asks nothing more. Raises StorageError."""
        await self._execute(
            "UPDATE batches SET runner = :runner WHERE id = :batch", {"batch": batch_id, "runner": runner}
        )

    async def claim(self, batch_id: str, line: int, *, runner: str) -> bool:
        """Note that an item is asked now; False where it has its answer, or another makes the batch.

        Raises:
            StorageError: the database fails.
        """
        touched = await self._execute(
            "UPDATE batch_items SET attempts = attempts + 1 "
            "WHERE batch = :batch AND line = :line AND state = 'waiting' "
            "AND EXISTS (SELECT 1 FROM batches WHERE id = :batch AND runner = :runner)",
            {"batch": batch_id, "line": line, "runner": runner},
        )
        return touched > 0

    async def note_vendor(self, batch_id: str, vendor: JSONObject, *, runner: str) -> bool:
        """Note how far the vendor's batch is; False where another makes the batch now. Raises StorageError."""
        touched = await self._execute(
            "UPDATE batches SET vendor = :vendor WHERE id = :batch AND runner = :runner",
            {"batch": batch_id, "vendor": json.dumps(vendor), "runner": runner},
        )
        return touched > 0

    async def keep(self, batch_id: str, items: Sequence[BatchItem]) -> None:
        """Store what came of items; one that has its answer keeps it. Raises StorageError."""

        def work(transaction: Transaction) -> None:
            for item in items:
                transaction.execute(
                    "UPDATE batch_items SET state = :state, result = :result, error = :error, tokens = :tokens, "
                    "dollars = :dollars, attempts = :attempts "
                    "WHERE batch = :batch AND line = :line AND state <> 'done'",
                    {**_values(item), "batch": batch_id},
                )

        await self._database.run(work)

    async def counts(self, batch_id: str) -> BatchCounts:
        """How far it is. Raises StorageError."""
        rows = await self._rows(
            "SELECT state, COUNT(*) AS items, SUM(tokens) AS tokens, SUM(dollars) AS dollars, "
            "SUM(CASE WHEN state = 'done' AND dollars IS NULL THEN 1 ELSE 0 END) AS unpriced "
            "FROM batch_items WHERE batch = :batch GROUP BY state",
            {"batch": batch_id},
        )
        by_state = {str(row["state"]): cast("int", row["items"]) for row in rows}
        return BatchCounts(
            waiting=by_state.get("waiting", 0),
            done=by_state.get("done", 0),
            failed=by_state.get("failed", 0),
            tokens=sum(int(cast("int", row["tokens"] or 0)) for row in rows),
            dollars=sum(cast("float", row["dollars"] or 0.0) for row in rows),
            unpriced=sum(int(cast("int", row["unpriced"] or 0)) for row in rows),
        )

    async def items(
        self, batch_id: str, *, state: ItemState | None = None, after: int = 0, limit: int = 1_000_000
    ) -> Sequence[BatchItem]:
        """Items behind a line, in the order of the input. Raises StorageError."""
        only = "" if state is None else "AND state = :state "
        rows = await self._rows(
            f"SELECT {_ITEM_COLUMNS} FROM batch_items WHERE batch = :batch AND line > :after {only}"  # noqa: S608 - fixed
            "ORDER BY line LIMIT :limit",
            {"batch": batch_id, "after": after, "limit": limit, **({} if state is None else {"state": state})},
        )
        return [_item(row) for row in rows]

    async def again(self, batch_id: str, *, job: str) -> None:
        """Have the failed items asked again, by a job of this id. Raises StorageError."""

        def work(transaction: Transaction) -> None:
            transaction.execute(
                "UPDATE batches SET job = :job, runner = '', vendor = NULL WHERE id = :batch",
                {"batch": batch_id, "job": job},
            )
            transaction.execute(
                "UPDATE batch_items SET state = 'waiting', error = NULL, key = key || '-again' "
                "WHERE batch = :batch AND state = 'failed'",
                {"batch": batch_id},
            )

        await self._database.run(work)

    async def _rows(self, sql: str, parameters: dict[str, SQLValue]) -> Sequence[Row]:
        return await self._database.run(lambda transaction: list(transaction.rows(sql, parameters)))

    async def _execute(self, sql: str, parameters: dict[str, SQLValue]) -> int:
        return await self._database.run(lambda transaction: transaction.execute(sql, parameters))


def _insert(transaction: Transaction, batch_id: str, items: Sequence[BatchItem]) -> None:
    """Several rows in one statement: a network's round trip for each of 50,000 would take minutes."""
    names = ("line", "id", "state", "key", "request", "attempts")
    rows = ", ".join(f"(:batch, {', '.join(f':{name}{number}' for name in names)})" for number in range(len(items)))
    parameters: dict[str, SQLValue] = {"batch": batch_id}
    for number, item in enumerate(items):
        values = {**_values(item), "request": json.dumps(item.request)}
        parameters |= {f"{name}{number}": values[name] for name in names}
    transaction.execute(f"INSERT INTO batch_items (batch, {', '.join(names)}) VALUES {rows}", parameters)  # noqa: S608 - fixed


def _values(item: BatchItem) -> dict[str, SQLValue]:
    return {
        "line": item.line,
        "id": item.id,
        "state": item.state,
        "key": item.key,
        "result": _text(item.result),
        "error": _text(item.error),
        "tokens": item.tokens,
        "dollars": item.dollars,
        "attempts": item.attempts,
    }


def _text(value: JSONObject | None) -> str | None:
    return None if value is None else json.dumps(value)


def _object(value: SQLValue) -> JSONObject | None:
    return cast("JSONObject", json.loads(value)) if isinstance(value, str) else None


def _batch(row: Row) -> Batch:
    return Batch(
        id=str(row["id"]),
        user_id=str(row["user_id"]),
        job=str(row["job"]),
        title=str(row["title"]),
        model=str(row["model"]),
        created_at=cast("float", row["created_at"]),
        deadline_seconds=cast("float | None", row["deadline_seconds"]),
        asker=_object(row["asker"]) or {},
        vendor=_object(row["vendor"]),
    )


def _item(row: Row) -> BatchItem:
    return BatchItem(
        line=cast("int", row["line"]),
        id=str(row["id"]),
        key=str(row["key"]),
        request=_object(row["request"]) or {},
        state=cast("ItemState", row["state"]),
        result=_object(row["result"]),
        error=_object(row["error"]),
        tokens=cast("int | None", row["tokens"]),
        dollars=cast("float | None", row["dollars"]),
        attempts=cast("int", row["attempts"]),
    )
