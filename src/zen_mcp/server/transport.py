"""Between the pipe and the MCP SDK: one pipe, a session for each protocol era that the client speaks.

The SDK's own loop lets the first request decide the era of the whole connection. Some clients open with
`server/discover`, and send `initialize` on the same pipe when the answer is late; some do it the other way round. So
each request goes to the session of its own era, and both answer on the same pipe.
"""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, Self, cast

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared.message import SessionMessage
from mcp_types import JSONRPCMessage, JSONRPCNotification, JSONRPCRequest, JSONRPCResponse, jsonrpc_message_adapter
from pydantic import ValidationError

from zen_mcp.server.prelude import Handover
from zen_mcp.server.wire import INVALID_REQUEST, PARSE_ERROR, Wire, error_line

Era = Literal["legacy", "modern"]
_HANDSHAKE = frozenset({"initialize", "server/discover", "ping"})
_VERSION_KEY = "io.modelcontextprotocol/protocolVersion"
_SUBSCRIPTION_KEY = "io.modelcontextprotocol/subscriptionId"
_ACKNOWLEDGED = "notifications/subscriptions/acknowledged"


class LineWriter:
    """Writes lines to the client without ever blocking the event loop.

    The pipe is our own end, so it can be made non-blocking; a terminal or a file is shared and stays as it is.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = anyio.Lock()
        mode = os.fstat(descriptor).st_mode
        self._waits = sys.platform != "win32" and (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode))
        if self._waits:
            os.set_blocking(descriptor, False)
        self.gone = anyio.Event()

    async def write(self, line: bytes) -> None:
        """Write one line whole, in the order of the calls. A client that is gone is noted, not raised."""
        async with self._lock:
            view = memoryview(line)
            while view and not self.gone.is_set():
                try:
                    view = view[os.write(self._descriptor, view) :]
                except BlockingIOError:
                    await anyio.wait_writable(self._descriptor)
                except OSError:
                    self.gone.set()


class EraSession:
    """One era's streams: the SDK reads from `incoming` and writes to this object."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._send: MemoryObjectSendStream[SessionMessage | Exception]
        self.incoming: MemoryObjectReceiveStream[SessionMessage | Exception]
        self._send, self.incoming = anyio.create_memory_object_stream[SessionMessage | Exception](float("inf"))
        self.open_ids: set[str] = set()

    def deliver(self, message: JSONRPCMessage) -> None:
        """Hand a message to the SDK."""
        if isinstance(message, JSONRPCRequest):
            self.open_ids.add(json.dumps(message.id))
        self._send.send_nowait(SessionMessage(message))

    def end(self) -> None:
        """No more messages will come."""
        self._send.close()

    async def send(self, item: SessionMessage, /) -> None:
        """The SDK's write side."""
        await self._connection.send(self, item.message)

    async def aclose(self) -> None:
        """The SDK closes its write side; the pipe belongs to both sessions and stays open."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        await self.aclose()


class Connection:
    """One client: lines in, lines out, a session per era made when its first message comes.

    Args:
        wire: the pipe.
        handover: what the prelude has answered already.
        open_session: starts the SDK on a new session.
    """

    def __init__(self, wire: Wire, handover: Handover, open_session: Callable[[EraSession], None]) -> None:
        self.writer = LineWriter(wire.out_descriptor)
        self._handover = handover
        self._open_session = open_session
        self._sessions: dict[Era, EraSession] = {}
        self._idle = anyio.Event()
        self.past_handshake = anyio.Event()

    @property
    def busy(self) -> bool:
        """Whether any request waits for its answer."""
        return any(session.open_ids for session in self._sessions.values())

    async def receive(self, line: bytes) -> None:
        """Take one line from the client."""
        try:
            message = jsonrpc_message_adapter.validate_json(line, by_name=False)
        except ValidationError:
            await self.writer.write(_refusal(line))
            return
        if isinstance(message, JSONRPCRequest) and message.method == "ping" and "legacy" in self._sessions:
            # Answered in front of whatever waits for its turn, so that a burst of calls looks busy, not dead.
            await self.writer.write(_line(JSONRPCResponse(jsonrpc="2.0", id=message.id, result={})))
            return
        session = self._session_of(message)
        if session is not None:
            session.deliver(message)

    async def send(self, session: EraSession, message: JSONRPCMessage) -> None:
        """Give one of a session's messages to the client, unless the prelude has said it already."""
        if isinstance(message, JSONRPCNotification):
            if not self._was_acknowledged(message):
                await self.writer.write(_line(message))
            return
        identity = json.dumps(getattr(message, "id", None))
        session.open_ids.discard(identity)
        if identity in self._handover.swallow:
            self._handover.swallow.discard(identity)
        else:
            await self.writer.write(_line(message))
        if not self.busy:
            self._idle.set()

    async def wait_idle(self) -> None:
        """Wait until no request is open."""
        while self.busy:
            self._idle = anyio.Event()
            await self._idle.wait()

    async def tell_changed(self, lists: Sequence[str]) -> None:
        """Tell a client of the handshake era that lists have changed; the others subscribe to it."""
        if "legacy" in self._sessions:
            for name in lists:
                note = JSONRPCNotification(jsonrpc="2.0", method=f"notifications/{name}/list_changed")
                await self.writer.write(_line(note))

    def end(self) -> None:
        """The client will send no more."""
        for session in self._sessions.values():
            session.end()

    def _session_of(self, message: JSONRPCMessage) -> EraSession | None:
        if isinstance(message, JSONRPCRequest):
            if message.method not in _HANDSHAKE:
                self.past_handshake.set()
            modern = message.method != "initialize" and _has_envelope(message.params)
            return self._get("modern" if modern else "legacy")
        if isinstance(message, JSONRPCNotification) and message.method == "notifications/cancelled":
            # Some clients cancel every call after it has ended: what is not open is nobody's business.
            identity = json.dumps((message.params or {}).get("requestId"))
            return next((s for s in self._sessions.values() if identity in s.open_ids), None)
        return self._sessions.get("legacy") or self._sessions.get("modern")

    def _get(self, era: Era) -> EraSession:
        if era not in self._sessions:
            self._sessions[era] = EraSession(self)
            self._open_session(self._sessions[era])
        return self._sessions[era]

    def _was_acknowledged(self, message: JSONRPCNotification) -> bool:
        if message.method != _ACKNOWLEDGED or not self._handover.acknowledged:
            return False
        meta = cast("Mapping[str, Any]", (message.params or {}).get("_meta") or {})
        identity = json.dumps(meta.get(_SUBSCRIPTION_KEY))
        if identity not in self._handover.acknowledged:
            return False
        self._handover.acknowledged.discard(identity)
        return True


def _has_envelope(params: Mapping[str, Any] | None) -> bool:
    meta = (params or {}).get("_meta")
    return isinstance(meta, Mapping) and _VERSION_KEY in meta


def _line(message: JSONRPCMessage) -> bytes:
    return message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n"


def _refusal(line: bytes) -> bytes:
    """The error for a line that is no JSON-RPC message, with its id where it has one."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return error_line(PARSE_ERROR, "Parse error: the line is not valid JSON in UTF-8")
    identity = cast("dict[str, Any]", value).get("id") if isinstance(value, dict) else None
    known = json.dumps(identity) if isinstance(identity, int | str) and not isinstance(identity, bool) else "null"
    return error_line(INVALID_REQUEST, "Invalid request: not a JSON-RPC 2.0 message (batches are not taken)", known)
