"""HTTP/1.1 on a connection, by uvicorn, with patience that ends: slow headers, slow readers, silent crowds."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from zen_mcp.config.http_schema import HttpSettings
from zen_mcp.observability.logs import EventLog

_log = EventLog()


class Crowd:
    """The connections of a server that have nothing under way, the longest silent first."""

    def __init__(self, settings: HttpSettings) -> None:
        self.settings = settings
        self.count = 0
        self._silent: dict[PatientProtocol, None] = {}

    def joined(self, connection: PatientProtocol) -> None:
        """One more; where they are too many, the one that was silent for longest has to go."""
        self.count += 1
        self.fell_silent(connection)
        if self.count > self.settings.max_connections:
            next(iter(self._silent)).give_up()

    def left(self, connection: PatientProtocol) -> None:
        """One less."""
        self.count -= 1
        self._silent.pop(connection, None)

    def fell_silent(self, connection: PatientProtocol) -> None:
        """Nothing is under way on it."""
        self._silent[connection] = None

    def spoke(self, connection: PatientProtocol) -> None:
        """A request is under way on it."""
        self._silent.pop(connection, None)


def protocol_for(crowd: Crowd) -> type[PatientProtocol]:
    """The class that uvicorn makes a connection of."""

    class Protocol(PatientProtocol):
        shared = crowd

    return Protocol


class PatientProtocol(H11Protocol):
    """uvicorn's protocol with the limits it lacks.

    uvicorn waits for ever for the first headers of a connection, and for a client that does not read its answer.
    """

    shared: Crowd

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._header_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] - as uvicorn has it
        """A client is here, and has `header_seconds` to say what it wants."""
        super().connection_made(transport)
        self.shared.joined(self)
        self._await_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        self.shared.left(self)
        self._stop(self._header_timer)
        self._stop(self._write_timer)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Something came; it is the headers of a request, or a part of them."""
        super().data_received(data)
        if self._under_way:
            self._stop(self._header_timer)
            self._header_timer = None
            self.shared.spoke(self)
        else:
            self._await_headers()

    def on_response_complete(self) -> None:
        """An answer is out; uvicorn's keep-alive timer runs until the next request begins."""
        super().on_response_complete()
        if not self._under_way and not self.transport.is_closing():
            self.shared.fell_silent(self)

    def pause_writing(self) -> None:
        """The client does not take what is written."""
        super().pause_writing()
        self._write_timer = self.loop.call_later(self.shared.settings.write_seconds, self._give_up_reader)

    def resume_writing(self) -> None:
        """It does again."""
        super().resume_writing()
        self._stop(self._write_timer)
        self._write_timer = None

    def timeout_keep_alive_handler(self) -> None:
        """The connection was silent for long enough; what was not read by now never will be."""
        if self.transport.get_write_buffer_size():
            self.give_up()
        else:
            super().timeout_keep_alive_handler()

    def give_up(self) -> None:
        """End the connection at once."""
        self.transport.abort()

    def _give_up_reader(self) -> None:
        _log.warning("slow_reader_cut_off", seconds=self.shared.settings.write_seconds)
        self.give_up()

    @property
    def _under_way(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete  # pyright: ignore[reportUnnecessaryComparison] - None before the first request

    def _await_headers(self) -> None:
        if self._header_timer is None:
            self._header_timer = self.loop.call_later(self.shared.settings.header_seconds, self.give_up)

    @staticmethod
    def _stop(timer: asyncio.TimerHandle | None) -> None:
        if timer is not None:
            timer.cancel()
