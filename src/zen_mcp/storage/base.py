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

    @property
    def where(self) -> str:
        """Which database this is, without any password."""
        ...

    async def exists(self) -> bool:
        """Whether anything was ever stored; costs no connection."""
        ...

    async def version(self) -> int:
        """The version of its schema, which it does not change; 0 for an empty one. Raises StorageError."""
        ...

    async def run(self, work: Callable[[Transaction], Result]) -> Result:
        """Run `work` in a thread, in one write transaction; commits when it returns, rolls back when it raises.

        Work may be run again after a failure of the database, so it must have no effect outside of the transaction.

        Raises:
            StorageError: the database cannot be opened, is locked for longer than 15 s, or is full.
        """
        ...

    async def aclose(self) -> None:
        """Close the connection."""
        ...
