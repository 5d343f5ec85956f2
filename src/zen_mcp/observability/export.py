"""Metrics for a server that nobody can fetch them from: a file that is written, a gateway that is pushed to."""

from __future__ import annotations

import os
import socket
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from tempfile import NamedTemporaryFile

import anyio

from zen_mcp.config.schema import MetricsSettings
from zen_mcp.observability.metrics import Metrics

_PUSH_SECONDS = 5.0
_LAST_SECONDS = 0.3


def metrics_for(
    settings: MetricsSettings, *, fetched: bool, exported: bool, shared: Path | None = None
) -> Metrics | None:
    """The metrics where there is somebody to read them, else None.

    Args:
        settings: of server.yaml.
        fetched: whether there is an address to fetch them from.
        exported: whether this process lives long enough to export them.
        shared: the folder of a server of several processes; None for a process alone.
    """
    somewhere = settings.textfile is not None or settings.push_url is not None
    return Metrics(shared) if settings.enabled and (fetched or (exported and somewhere)) else None


class MetricsExport:
    """Writes the metrics to `textfile` and pushes them to `push_url`, whichever are set.

    Args:
        metrics: what is told.
        settings: where to, and how often.
        tell: takes a sentence for the operator, once when it fails and once when it works again.

    Attributes:
        before: sets what is measured only when it is read.
    """

    def __init__(self, metrics: Metrics, settings: MetricsSettings, *, tell: Callable[[str], None]) -> None:
        self._metrics = metrics
        self._settings = settings
        self._tell = tell
        self._failing: set[str] = set()
        self.before: Callable[[], Awaitable[None]] | None = None

    async def keep(self) -> None:
        """Export at every interval until cancelled, and once more then."""
        if self._settings.textfile is None and self._settings.push_url is None:
            return
        try:
            while True:
                await self.export()
                await anyio.sleep(self._settings.interval_seconds)
        finally:
            with anyio.move_on_after(_LAST_SECONDS, shield=True):
                await self.export()

    async def export(self) -> None:
        """Export now."""
        if self.before is not None:
            await self.before()
        settings = self._settings
        if settings.textfile is not None:
            await self._try(f"'{settings.textfile}'", partial(write_whole, settings.textfile, self._metrics.render))
        if settings.push_url is not None:
            # The processes of one server tell the same, under the name of their parent.
            pid = os.getppid() if self._metrics.is_shared else os.getpid()
            instance = f"{socket.gethostname()}-{pid}"
            push = partial(self._metrics.push, settings.push_url, instance=instance, timeout_seconds=_PUSH_SECONDS)
            await self._try("the push gateway", push)

    async def _try(self, where: str, export: Callable[[], None]) -> None:
        try:
            await anyio.to_thread.run_sync(export, abandon_on_cancel=True)
        except (OSError, ValueError) as exc:
            if where not in self._failing:
                self._tell(f"The metrics cannot be written to {where}: {exc}.")
            self._failing.add(where)
        else:
            if where in self._failing:
                self._tell(f"The metrics are written to {where} again.")
            self._failing.discard(where)


def write_whole(path: Path, content: Callable[[], bytes]) -> None:
    """Write a file so that a reader finds the old or the new content, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        try:
            file.write(content())
            file.flush()
            Path(file.name).chmod(0o644)
            Path(file.name).replace(path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise
