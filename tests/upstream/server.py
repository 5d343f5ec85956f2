"""The server itself, in a thread of the test's process or a process of its own."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from types import TracebackType
from typing import Any

from tests.upstream.behaviour import Behaviour, Received
from tests.upstream.dialects import Completions, Dialect, dialect_of
from tests.upstream.files import Answer, Shelf

_FOREVER_SECONDS = 3600.0


class Upstream:
    """A running upstream; a context manager.

    `behave` says how a model answers: one behaviour for ever, or several in turn of which the last stays.
    """

    def __init__(self, port: int = 0) -> None:
        self._port = port
        self._behaviours: dict[str, list[Behaviour]] = {}
        self._changed = threading.Condition()
        self._loop = asyncio.new_event_loop()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, name="upstream", daemon=True)
        self._tasks: set[asyncio.Task[Any]] = set()
        self.requests: list[Received] = []
        self.answered: list[Received] = []
        self.shelf = Shelf(self._batched)
        self.disconnects: list[str] = []
        self.connections = 0
        self.open_requests = 0
        self.peak_requests = 0

    @property
    def url(self) -> str:
        """The base address, as `base_url` wants it."""
        return f"http://127.0.0.1:{self._port}/v1"

    def behave(self, model: str, behaviour: Behaviour | Sequence[Behaviour]) -> None:
        """Answer this model's requests so from now on."""
        self._behaviours[model] = [behaviour] if isinstance(behaviour, Behaviour) else list(behaviour)

    def asked(self, model: str) -> list[Received]:
        """The requests for one model so far."""
        return [request for request in self.requests if request.model == model]

    def wait_for_request(self, model: str, number: int = 1, *, seconds: float = 15.0) -> bool:
        """Block until this model was asked so many times; False when it was not within the time."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self.asked(model)) >= number, seconds)

    def wait_for_disconnect(self, model: str, *, seconds: float = 15.0) -> bool:
        """Block until a client left before this model's answer; False when none did within the time."""
        with self._changed:
            return self._changed.wait_for(lambda: model in self.disconnects, seconds)

    def __enter__(self) -> Upstream:
        self._thread.start()
        self._started.wait(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    def wait(self) -> None:
        """Block until the process is killed."""
        self._thread.join()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", self._port))
        self._port = server.sockets[0].getsockname()[1]
        self._started.set()
        self._loop.run_forever()
        server.close()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection: requests one after the other, kept alive."""
        self.connections += 1
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                first, *lines = head.decode("latin-1").split("\r\n")
                headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                if not await self._answer(first, headers, body, reader, writer):
                    break
        writer.close()

    async def _answer(
        self,
        first: str,
        headers: Mapping[str, str],
        body: bytes,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> bool:
        """Answer one request; whether the connection is to be kept."""
        method, path, *_ = first.split()
        if path == "/behaviours":
            wanted = json.loads(body)
            self.behave(wanted["model"], [Behaviour(**entry) for entry in wanted["behaviours"]])
            await _send(writer, 200, {})
            return True
        kept = self.shelf.answer(method, path, body)
        if kept is not None:
            status, said = kept
            if isinstance(said, bytes):
                await _send_bytes(writer, status, said, {"content-type": "application/octet-stream"})
            else:
                await _send(writer, status, said)
            return True
        dialect = dialect_of(path.partition("?")[0])
        if dialect is None:
            await _send(writer, 404, {"error": {"message": f"no such path {path}"}})
            return True
        received = dialect.received(path, json.loads(body), headers)
        with self._changed:
            self.requests.append(received)
            self.open_requests += 1
            self.peak_requests = max(self.peak_requests, self.open_requests)
            self._changed.notify_all()
        try:
            return await self._behave(dialect, received, self._next(received.model), reader, writer)
        finally:
            self.open_requests -= 1

    def _next(self, model: str) -> Behaviour:
        line = self._behaviours.get(model, [Behaviour()])
        return line.pop(0) if len(line) > 1 else line[0]

    async def _behave(
        self,
        dialect: Dialect,
        received: Received,
        behaviour: Behaviour,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> bool:
        wait = _FOREVER_SECONDS if behaviour.how == "hang" else behaviour.delay_seconds
        if wait and await self._left(received.model, reader, wait):
            return False
        behaviour = replace(behaviour, text=_filled(behaviour.text, received))
        if behaviour.how == "html":
            await _send_bytes(
                writer, 200, b"<!DOCTYPE html><html><body>Welcome</body></html>", {"content-type": "text/html"}
            )
            return True
        if behaviour.status != 200:
            await _send(writer, behaviour.status, dialect.error(behaviour), behaviour.headers)
            return True
        if received.stream:
            return await self._stream(dialect, received, behaviour, reader, writer)
        if behaviour.how in {"cut", "torn", "stall"}:
            writer.write(b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{"id":')
            await writer.drain()
            if behaviour.how == "stall":
                await self._left(received.model, reader, _FOREVER_SECONDS)
            return False
        await _send(writer, 200, dialect.whole(received, behaviour), behaviour.headers)
        self.answered.append(received)
        return True

    def _batched(self, body: dict[str, Any]) -> Answer:
        """The answer to one request of a batch."""
        dialect = Completions()
        received = dialect.received("", body, {})
        self.requests.append(received)
        behaviour = self._next(received.model)
        behaviour = replace(behaviour, text=_filled(behaviour.text, received))
        if behaviour.status != 200:
            return behaviour.status, dialect.error(behaviour)
        self.answered.append(received)
        return 200, dialect.whole(received, behaviour)

    async def _stream(
        self,
        dialect: Dialect,
        received: Received,
        behaviour: Behaviour,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> bool:
        torn = behaviour.how == "torn"
        length = b"content-length: 1000000\r\n" if torn else b""
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n" + length + b"connection: close\r\n\r\n")
        words = [] if behaviour.how == "empty" else behaviour.text.split(" ")
        if behaviour.how in {"cut", "torn", "stall"}:
            words = words[: max(len(words) // 2, 1)]
        spaced = [word if index == 0 else f" {word}" for index, word in enumerate(words)]
        for piece in dialect.pieces(received, behaviour, spaced):
            if behaviour.pause_seconds and await self._left(received.model, reader, behaviour.pause_seconds):
                return False
            writer.write(piece)
            await writer.drain()
        if behaviour.how == "stall":
            await self._left(received.model, reader, _FOREVER_SECONDS)
            return False
        if behaviour.how not in {"cut", "torn"}:
            writer.write(dialect.end(received, behaviour))
        await writer.drain()
        return False

    async def _left(self, model: str, reader: asyncio.StreamReader, seconds: float) -> bool:
        """Wait; whether the client went away meanwhile."""
        try:
            gone = await asyncio.wait_for(reader.read(1), seconds) == b""
        except TimeoutError:
            return False
        except ConnectionError:
            gone = True
        if gone:
            with self._changed:
                self.disconnects.append(model)
                self._changed.notify_all()
        return gone


def _filled(text: str, received: Received) -> str:
    if "{" not in text:
        return text
    last = next((m["content"] for m in reversed(received.messages) if m["role"] == "user"), "")
    said = last if isinstance(last, str) else json.dumps(last)
    return text.replace("{echo}", said).replace("{key}", received.headers.get("authorization", ""))


async def _send(
    writer: asyncio.StreamWriter, status: int, body: Mapping[str, Any], headers: Mapping[str, str] | None = None
) -> None:
    await _send_bytes(
        writer, status, json.dumps(body).encode(), {"content-type": "application/json", **(headers or {})}
    )


async def _send_bytes(writer: asyncio.StreamWriter, status: int, body: bytes, headers: Mapping[str, str]) -> None:
    lines = [f"HTTP/1.1 {status} Status", *(f"{name}: {value}" for name, value in headers.items())]
    writer.write(("\r\n".join([*lines, f"content-length: {len(body)}"]) + "\r\n\r\n").encode() + body)
    await writer.drain()
