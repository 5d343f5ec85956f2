"""What stands between the network and the tools: Host and Origin, sizes, time, the end of the server."""

from __future__ import annotations

import json
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any, cast

import anyio
from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from zen_mcp.config.http_schema import HttpSettings

OPEN_PATHS = ("/healthz", "/readyz", "/metrics")
"""Asked by machines that know this server by its number, not by its name; they tell nothing of anybody."""
_RETRY_SECONDS = 1
_TOO_LONG = -32603


def refusal(status: int, problem: str, fix: str = "", **headers: str) -> Response:
    """An answer outside the protocol: `{"error": {"problem", "fix"}}`."""
    error = {"problem": problem, **({"fix": fix} if fix else {})}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return JSONResponse({"error": error}, status_code=status, headers=named)


class HostGuard:
    """Refuses requests that were sent to another name, or by a web page that may not (DNS rebinding).

    Args:
        app: what is behind it.
        hosts, origins: what is allowed; patterns. A host without a port is allowed at every port.
        check_hosts: False on a Unix socket, which no web page reaches.
    """

    def __init__(self, app: ASGIApp, *, hosts: Sequence[str], origins: Sequence[str], check_hosts: bool = True) -> None:
        self._app = app
        self._hosts = tuple(host.lower() for host in hosts)
        self._origins = tuple(origin.lower().rstrip("/") for origin in origins)
        self._check_hosts = check_hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it."""
        if scope["type"] == "http" and scope["path"] not in OPEN_PATHS:
            refused = self._refused(Headers(scope=scope))
            if refused is not None:
                await refused(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _refused(self, headers: Headers) -> Response | None:
        host, origin = headers.get("host", "").lower(), headers.get("origin", "").lower()
        if self._check_hosts and not any(_is_host(host, allowed) for allowed in self._hosts):
            return refusal(
                421, f"The host '{host[:100]}' is not served here.", "See http.allowed_hosts in server.yaml."
            )
        if origin and not any(_is_origin(origin, allowed) for allowed in self._origins):
            fix = "See http.allowed_origins in server.yaml."
            return refusal(403, f"Pages of '{origin[:100]}' may not call this server.", fix)
        return None


def _is_host(host: str, allowed: str) -> bool:
    name, _, port = host.rpartition(":")
    names = (host, name) if port.isdigit() else (host,)
    return any(one == allowed or ("*" in allowed and fnmatchcase(one, allowed)) for one in names)


def _is_origin(origin: str, allowed: str) -> bool:
    if allowed.endswith(":*"):
        return origin == allowed[:-2] or origin.startswith(allowed[:-1])
    return origin == allowed


class Traffic:
    """The calls under way, and whether new ones are taken."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.count = 0
        self.draining = False
        self._idle = anyio.Event()

    def refused(self) -> Response | None:
        """The answer to a new call that is not taken; None when it is."""
        retry = {"Retry_After": str(_RETRY_SECONDS)}
        if self.draining:
            return refusal(503, "The server is stopping.", "Try again; another one is starting.", **retry)
        if self.count >= self._most:
            return refusal(503, f"{self._most} requests are under way.", "Try again in a moment.", **retry)
        return None

    def entered(self) -> None:
        """One more."""
        self.count += 1

    def left(self) -> None:
        """One less."""
        self.count -= 1
        if not self.count:
            self._idle.set()

    async def drained(self) -> None:
        """Take no more calls, and wait until those under way have ended."""
        self.draining = True
        while self.count:
            self._idle = anyio.Event()
            await self._idle.wait()


async def read_body(headers: Headers, receive: Receive, settings: HttpSettings) -> bytes | Response | None:
    """The whole body; the answer to one that is too long or too slow; None when the client has left."""
    declared = headers.get("content-length", "")
    if declared.isdigit() and int(declared) > settings.max_body_bytes:
        return _too_long(settings)
    body = bytearray()
    with anyio.move_on_after(settings.body_seconds):
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return None
            body += message.get("body", b"")
            if len(body) > settings.max_body_bytes:
                return _too_long(settings)
            if not message.get("more_body"):
                return bytes(body)
    text = f"The request did not arrive within {settings.body_seconds:g} s."
    return refusal(408, text, "Send it faster.", Connection="close")


def _too_long(settings: HttpSettings) -> Response:
    # The connection stays: closed now, the client would lose the answer while it still sends.
    return refusal(
        413,
        f"A request may have {settings.max_body_bytes:,} bytes.",
        "Send less, or raise http.max_body_bytes in server.yaml.",
    )


class Replay:
    """A body that was read already, then whatever the client does next."""

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._message: Message | None = {"type": "http.request", "body": body, "more_body": False}
        self._receive = receive

    async def __call__(self) -> Message:
        """The next message of the client."""
        message, self._message = self._message, None
        return message if message is not None else await self._receive()


class AnswerLimit:
    """Sends an answer, unless a piece of it is too long: then an error in its place."""

    def __init__(self, body: bytes, send: Send, most_bytes: int) -> None:
        self._body = body
        self._send = send
        self._most_bytes = most_bytes
        self._start: Message | None = None

    async def __call__(self, message: Message) -> None:
        """Send one message on."""
        if message["type"] == "http.response.start" and "content-length" in Headers(raw=message["headers"]):
            self._start = message  # held back until the piece is seen whose length it tells
            return
        if len(message.get("body", b"")) > self._most_bytes:
            message = self._replaced(message)
        if self._start is not None:
            await self._send(self._start)
            self._start = None
        await self._send(message)

    def _replaced(self, message: Message) -> Message:
        error = self._error()
        if self._start is not None:
            kept = [pair for pair in self._start["headers"] if pair[0].lower() != b"content-length"]
            self._start = {**self._start, "headers": [*kept, (b"content-length", str(len(error)).encode())]}
            return {**message, "body": error}
        return {**message, "body": b"event: message\r\ndata: " + error + b"\r\n\r\n"}

    def _error(self) -> bytes:
        decoded: Any = json.loads(self._body)
        identity = cast("dict[str, Any]", decoded).get("id") if isinstance(decoded, dict) else None
        text = f"The answer has more than {self._most_bytes:,} bytes. Ask for less."
        return json.dumps({"jsonrpc": "2.0", "id": identity, "error": {"code": _TOO_LONG, "message": text}}).encode()
