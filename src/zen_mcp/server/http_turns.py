"""uvicorn as it serves here: no signal handlers of its own, and a fair share of a socket that several accept from."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Generator
from contextlib import contextmanager

import anyio
import uvicorn

from zen_mcp.observability.logs import EventLog

_log = EventLog()

_TURN_SECONDS = 0.001
_FULL_SECONDS = 1.0
"""How long to wait when there are no more files to be had."""


class Server(uvicorn.Server):
    """uvicorn without its own signal handlers, which know nothing of calls under way."""

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Leave the signals to us."""
        yield

    def end_at_once(self) -> None:
        """Stop without waiting for anything."""
        self.force_exit = self.should_exit = True


class TurnTakingServer(Server):
    """One of several processes that accept from one socket.

    An event loop accepts all who wait before it answers anybody. Of 500 who come at once the process that wakes first
    would so take nearly all, and answer them alone while the others idle. This one takes one, then leaves a moment to
    the others.
    """

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start with nothing to accept from; `main_loop` does that."""
        self._sockets = sockets or []
        await super().startup(sockets=[])

    async def main_loop(self) -> None:
        """Accept until it is time to stop."""
        async with anyio.create_task_group() as group:
            for listener in self._sockets:
                listener.setblocking(False)
                group.start_soon(self._accept, listener)
            await super().main_loop()
            group.cancel_scope.cancel()

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(listener)
                await loop.connect_accepted_socket(self._protocol, connection)
            except ConnectionError:
                continue  # gone again
            except OSError as exc:
                _log.error("cannot_accept", problem=exc.strerror)
                await anyio.sleep(_FULL_SECONDS)
            await anyio.sleep(_TURN_SECONDS)

    def _protocol(self) -> asyncio.Protocol:
        make = self.config.http_protocol_class
        return make(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)  # type: ignore[call-arg] - as uvicorn itself calls it
