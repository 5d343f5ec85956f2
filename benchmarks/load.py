"""A load generator that costs little beside what it measures: requests made once, answers read raw, checked later."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """An answer as it came: head, body without the marks of its chunks, and the seconds that it took."""

    head: bytes
    body: bytes
    seconds: float

    @property
    def message(self) -> dict[str, Any]:
        """The JSON-RPC answer, from a body of JSON or from the last event of a stream."""
        text = self.body.decode()
        events = [line.removeprefix("data:") for line in text.splitlines() if line.startswith("data:")]
        return json.loads(events[-1] if events else text)

    @property
    def result(self) -> dict[str, Any]:
        """The result of a tool that did its work.

        Raises:
            AssertionError: it is none.
        """
        assert self.head.startswith(b"HTTP/1.1 200 "), self.head
        result = self.message.get("result", {"isError": True})
        assert not result.get("isError"), self.body
        return result


def prepared(url: str, request: Mapping[str, Any]) -> bytes:
    """A POST as bytes, from the arguments for an HTTP client that `rpc` makes."""
    parts = urlsplit(url)
    body = json.dumps(request["json"]).encode()
    headers = {
        **request["headers"],
        "Host": parts.netloc,
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
    }
    lines = [f"POST {parts.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Connection:
    """One connection that is kept: a request, its answer, the next request."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def to(cls, url: str) -> Connection:
        """Connect."""
        parts = urlsplit(url)
        return cls(*await asyncio.open_connection(parts.hostname, parts.port))

    async def ask(self, request: bytes) -> Answered:
        """Send a request and wait for the whole answer."""
        started = time.perf_counter()
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        body = await self._body(head.lower())
        return Answered(head=head, body=body, seconds=time.perf_counter() - started)

    async def _body(self, head: bytes) -> bytes:
        if b"transfer-encoding: chunked" not in head:
            length = head.partition(b"content-length:")[2].partition(b"\r\n")[0]
            return await self._reader.readexactly(int(length))
        body = b""
        while size := int(await self._reader.readuntil(b"\r\n"), 16):
            body += (await self._reader.readexactly(size + 2))[:-2]
        await self._reader.readexactly(2)
        return body

    def close(self) -> None:
        """Leave."""
        self._writer.close()
