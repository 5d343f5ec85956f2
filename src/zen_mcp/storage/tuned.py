"""Models that were fine-tuned from here, in the database: every server on it has them in its catalog."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import anyio

from zen_mcp.config.tuned import EARLIER_FILE, STAMP, TunedModel
from zen_mcp.errors import StorageError
from zen_mcp.storage.base import Database, Row, Transaction


class TunedModels:
    """The finished models of a database.

    Until there was a table for them they were noted in a file of the state folder; its content is taken over once.

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
        earlier = await anyio.to_thread.run_sync(_earlier_models, self._folder)
        if earlier is not None:
            await self._add(earlier, overwrite=False)
            await anyio.to_thread.run_sync(self._taken_over)
        elif not (self._everywhere or await anyio.Path(self._folder / STAMP).exists()):
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
        await self._add([model], overwrite=True)
        try:
            await anyio.to_thread.run_sync(self._touch)
        except OSError as exc:
            problem = f"'{model.name}' is stored, but servers cannot be told ('{self._folder}': {exc.strerror})."
            raise StorageError(problem, "Check the disk, then touch finetuned.stamp in that folder.") from exc

    async def _add(self, models: Sequence[TunedModel], *, overwrite: bool) -> None:
        now = self._clock()
        conflict = (
            "DO UPDATE SET base = excluded.base, litellm_model = excluded.litellm_model, "
            "deployment = excluded.deployment, added_at = excluded.added_at"
        )

        def write(transaction: Transaction) -> None:
            for model in models:
                transaction.execute(
                    "INSERT INTO tuned_models (name, base, litellm_model, deployment, added_at) "  # noqa: S608 - ours
                    "VALUES (:name, :base, :litellm_model, :deployment, :now) "
                    f"ON CONFLICT (name) {conflict if overwrite else 'DO NOTHING'}",
                    {**asdict(model), "now": now},
                )

        await self._database.run(write)

    def _taken_over(self) -> None:
        file = self._folder / EARLIER_FILE
        # Another server may have done the same at the same time.
        with suppress(OSError):
            self._touch()
            file.replace(file.with_suffix(".taken-over"))

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


def _earlier_models(folder: Path) -> list[TunedModel] | None:
    """What stands in the file of before; None where there is none of ours."""
    try:
        entries = cast("list[dict[str, Any]]", json.loads((folder / EARLIER_FILE).read_text(encoding="utf-8")))
        return [TunedModel(**entry) for entry in entries]
    except (OSError, ValueError, TypeError):
        return None
