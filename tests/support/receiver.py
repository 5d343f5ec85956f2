"""A webhook on loopback that remembers what it was sent, and behaves as badly as it is told to."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

import anyio


class Receiver:
    """Answers POSTs. `statuses` are given one after the other, the last of them for ever; `hang` gives no answer."""

    def __init__(self, *statuses: int, hang: bool = False) -> None:
        self.received: list[Any] = []
        self.headers: list[dict[str, str]] = []
        self.statuses = list(statuses) or [200]
        self._hang = hang
        self._released = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.headers.append({name.lower(): value for name, value in self.headers.items()})
                receiver.received.append(json.loads(body))
                if receiver._hang:
                    receiver._released.wait(60)
                statuses = receiver.statuses
                self.send_response(statuses.pop(0) if len(statuses) > 1 else statuses[0])
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/alerts"

    def __enter__(self) -> Receiver:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._released.set()
        self._server.shutdown()
        self._server.server_close()

    async def has_received(self, count: int = 1, *, seconds: float = 60) -> list[Any]:
        """What it was sent, once it is so much."""
        with anyio.fail_after(seconds):
            while len(self.received) < count:  # noqa: ASYNC110 - another thread does it
                await anyio.sleep(0.02)
        return list(self.received)
