"""The seam between what is remembered and where."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeVar

SQLValue = str | int | float | bytes | None
Row = Mapping[str, SQLValue]
Result = TypeVar("Result")


class Transaction(Protocol):
    """One open transaction; plain SQL with `:name` parameters that every backend understands."""

    def execute(self, sql: str, parameters: Mapping[str, SQLValue] | None = None) -> int:
        """Run a statement; returns how many rows it touched."""
        ...

    def rows(self, sql: str, parameters: Mapping[str, SQLValue] | None = None) -> Sequence[Row]:
        """Run a query; all its rows, each a mapping from column name to value."""
        ...


class Database(Protocol):
    """Runs units of work, each in one transaction, off the event loop."""

    async def run(self, work: Callable[[Transaction], Result]) -> Result:
        """Run `work` in a thread, in one write transaction; commits when it returns, rolls back when it raises.

        Raises:
            StorageError: the database cannot be opened, is locked for longer than 15 s, or is full.
        """
        ...

    async def aclose(self) -> None:
        """Close the connection."""
        ...
