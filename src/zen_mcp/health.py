"""What must be in order for calls to be answered; `/readyz` and `zen doctor` look at the same."""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import anyio

from zen_mcp.catalog import Catalog
from zen_mcp.errors import StorageError
from zen_mcp.ground import Ground
from zen_mcp.middleware.limits import Limits

LEAST_FREE_BYTES = 100 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A part that a server has. `run` raises a ZenError where it is at fault.

    Attributes:
        vital: without it no call is answered; else calls go on while it fails.
    """

    name: str
    run: Callable[[], Awaitable[None]]
    vital: bool = True


def checks(ground: Ground, catalog: Catalog, limits: Limits, *, folder: Path | None) -> Sequence[Check]:
    """Every part of a server, those first that others build on.

    Args:
        ground: the connections.
        catalog: of the models.
        limits: of the callers.
        folder: where the database is; None where it is not on this machine.
    """

    async def database() -> None:
        await ground.database.run(lambda transaction: transaction.rows("SELECT 1 AS one"))

    async def provider() -> None:
        catalog.require(catalog.default_model().name)

    async def ledger() -> None:
        if ground.ledger.fault is not None:
            raise StorageError(f"The ledger is not written: {ground.ledger.fault.problem}", ground.ledger.fault.fix)

    async def counters() -> None:
        await limits.usage()

    async def jobs() -> None:
        if ground.worker.fault:
            raise StorageError(f"Jobs are not done: {ground.worker.fault}.", "The server's log says more.")

    async def disk() -> None:
        if folder is not None:
            await anyio.to_thread.run_sync(check_disk, folder)

    return (
        Check(name="database", run=database),
        *((Check(name="redis", run=ground.redis.ping),) if ground.redis is not None else ()),
        Check(name="provider", run=provider),
        Check(name="ledger", run=ledger, vital=False),
        *((Check(name="limits", run=counters, vital=False),) if limits.rules else ()),
        Check(name="jobs", run=jobs, vital=False),
        Check(name="disk", run=disk, vital=False),
    )


def check_disk(folder: Path, *, least_bytes: int = LEAST_FREE_BYTES) -> None:
    """See that there is room where the database is; a folder that is not there yet will be made.

    Raises:
        StorageError: there is hardly any, or the folder cannot be looked at.
    """
    there = next((path for path in (folder, *folder.parents) if path.exists()), folder)
    try:
        free = shutil.disk_usage(there).free
    except OSError as exc:
        raise StorageError(f"The folder '{folder}' cannot be looked at ({exc.strerror}).", "Check its disk.") from exc
    if free < least_bytes:
        text = f"The disk of '{folder}' has {free / 1e6:,.0f} MB left."
        raise StorageError(text, f"Free some space: below {least_bytes / 1e6:,.0f} MB the database may fail soon.")
