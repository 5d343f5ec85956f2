"""Models that were fine-tuned from here, in the database: every server on it has them in its catalog."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import anyio

from zen_mcp.config.tuned import STAMP, TunedModel
from zen_mcp.errors import StorageError
from zen_mcp.storage.base import Database, Row, Transaction


class TunedModels:
    """The finished models of a database.

    Args:
        database: where they are kept.
        folder: of the state. A file in it is touched when there is a new model, so that servers on the same machine
            need not ask the database.
        everywhere: whether servers on other machines use the database, too; then it has to be asked.
        clock: seconds since 1970.
    """

    def __init__(
        self, database: Database, *, folder: Path, everywhere: bool, clock: Callable[[], float] = time.time
    ) -> None:
        self._database = database
        self._folder = folder
        self._everywhere = everywhere
        self._clock = clock

    async def all(self) -> tuple[TunedModel, ...]:
        """All of them, the oldest first. Where there never was one, nothing is opened.

        Raises:
            StorageError: the database fails.
        """
        if not (self._everywhere or await anyio.Path(self._folder / STAMP).exists()):
            return ()

        def read(transaction: Transaction) -> Sequence[Row]:
            return transaction.rows(
                "SELECT name, base, litellm_model, deployment FROM tuned_models ORDER BY added_at, name"
            )

        return tuple(_model(row) for row in await self._database.run(read))

    async def add(self, model: TunedModel) -> None:
        """Store one; another of the same name is replaced.

        Raises:
            StorageError: the database fails, or the folder cannot be written.
        """
        values = {**asdict(model), "now": self._clock()}

        def write(transaction: Transaction) -> None:
            transaction.execute(
                "INSERT INTO tuned_models (name, base, litellm_model, deployment, added_at) "
                "VALUES (:name, :base, :litellm_model, :deployment, :now) "
                "ON CONFLICT (name) DO UPDATE SET base = :base, litellm_model = :litellm_model, "
                "deployment = :deployment, added_at = :now",
                values,
            )

        await self._database.run(write)
        try:
            await anyio.to_thread.run_sync(self._touch)
        except OSError as exc:
            problem = f"'{model.name}' is stored, but servers cannot be told ('{self._folder}': {exc.strerror})."
            raise StorageError(problem, "Check the disk, then touch finetuned.stamp in that folder.") from exc

    def _touch(self) -> None:
        if not self._everywhere:
            (self._folder / STAMP).write_text(repr(self._clock()), encoding="utf-8")


def _model(row: Row) -> TunedModel:
    return TunedModel(
        name=str(row["name"]),
        base=str(row["base"]),
        litellm_model=str(row["litellm_model"]),
        deployment=str(row["deployment"]),
    )
