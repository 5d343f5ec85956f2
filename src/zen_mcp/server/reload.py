"""Changed settings, taken in while the server runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import anyio

from zen_mcp.app import App, build
from zen_mcp.config.folders import config_files
from zen_mcp.config.load import load_config
from zen_mcp.config.schema import ServerSettings
from zen_mcp.config.tuned import STAMP, TunedModel
from zen_mcp.errors import StorageError, ZenError
from zen_mcp.ground import with_tuned
from zen_mcp.observability.logs import EventLog
from zen_mcp.tools.foreign.discovery import plugin_folders_in, stamp_of

_log = EventLog()

EVERY_SECONDS = 2.0
_ASK_SECONDS = 5.0
"""How long a model that was fine-tuned elsewhere may be unknown here."""
AFTER_A_RESTART = (
    "provider",
    "state_dir",
    "database_url",
    "redis_url",
    "local",
    "log",
    "metrics",
    "telemetry",
    "prelude",
    "heartbeat_seconds",
    "http",
)
"""Settings of server.yaml that a running server does not take in."""

Signature = tuple[tuple[str, int, int], ...]


class Reloader:
    """Looks at the settings files and the plugins every two seconds; a change is checked, and swapped in whole.

    Calls under way end with the settings they began with. A broken change is refused with its error, and the old
    settings stay. Polling, because it works on every file system and costs some 25 calls of `stat`.

    Args:
        app: the server as it was built.
        directory: the folder after `--config`; None for none.
        use: takes the new parts.
    """

    def __init__(self, app: App, directory: Path | None, use: Callable[[App], None]) -> None:
        self._app = app
        self._directory = directory
        self._use = use
        self._asked = float("-inf")

    async def watch(self) -> None:
        """Look until cancelled."""
        seen = self._signature()
        while True:
            await anyio.sleep(EVERY_SECONDS)
            now = await anyio.to_thread.run_sync(self._signature)
            if now != seen or self._app.ground.plugins.arrived() or await self._others_tuned():
                seen = now
                await self.reload()

    async def reload(self) -> None:
        """Take the settings in as they are now; keep the old ones when they are broken."""
        tuned = (await with_tuned(self._app.config, self._app.ground.tuned)).tuned
        try:
            app = await anyio.to_thread.run_sync(partial(_built, self._directory, self._app, tuned))
        except ZenError as exc:
            _log.error("settings_refused", problem=exc.problem, fix=exc.fix)
            return
        late = _late(self._app.config.server, app.config.server)
        _log.warning("settings_changed", **({"after_a_restart": ", ".join(late)} if late else {}))
        self._app = app
        self._use(app)

    async def _others_tuned(self) -> bool:
        """Whether a server elsewhere has put a model into the database that we share."""
        now = anyio.current_time()
        if self._app.ground.folder is not None or now - self._asked < _ASK_SECONDS:
            return False
        self._asked = now
        with suppress(StorageError), anyio.move_on_after(_ASK_SECONDS):
            return await self._app.ground.tuned.all() != self._app.config.tuned
        return False

    def _signature(self) -> Signature:
        found: list[tuple[str, int, int]] = []
        for file in (*config_files(self._directory, environ=os.environ), self._app.config.state_directory / STAMP):
            with suppress(OSError):
                status = file.stat()
                found.append((str(file), status.st_mtime_ns, status.st_size))
        for folder in plugin_folders_in(self._app.config.server.plugin_folders):
            found += stamp_of(folder)
        return tuple(found)


def _built(directory: Path | None, before: App, tuned: tuple[TunedModel, ...]) -> App:
    config = replace(load_config(directory, environ=os.environ), tuned=tuned)
    return build(config, environ=os.environ, ground=before.ground)


def _late(before: ServerSettings, now: ServerSettings) -> Sequence[str]:
    return [name for name in AFTER_A_RESTART if getattr(before, name) != getattr(now, name)]
