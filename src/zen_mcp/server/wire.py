"""The pipe to the client: lines of JSON-RPC on file descriptors of our own. Standard library only.

Descriptors 0 and 1 are duplicated and then pointed elsewhere (0 at nothing, 1 at stderr) before anything else is
imported, so that no library and no child can write into the protocol or eat from it.
"""

from __future__ import annotations

import os
import sys
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

LARGEST_LINE_BYTES = 64 * 1024 * 1024
_READ_BYTES = 256 * 1024

PARSE_ERROR = -32700
INVALID_REQUEST = -32600


def error_line(code: int, message: str, request_id: str = "null") -> bytes:
    """One JSON-RPC error response as a line. `request_id` is already JSON; `message` must need no escaping."""
    return (f'{{"jsonrpc":"2.0","id":{request_id},"error":{{"code":{code},"message":"{message}"}}}}\n').encode()


class Wire:
    """The client's two pipes.

    Lines arrive in a thread and go, in order, to the sink of the moment: at first a list that the prelude reads,
    later the event loop. `None` is the end of the stream; a line too long to keep arrives as an empty one.
    """

    def __init__(self) -> None:
        self._in = os.dup(0)
        self._out = os.dup(1)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        os.dup2(2, 1)
        sys.stdout = sys.stderr
        self._sink: Callable[[bytes | None], object] = _nowhere
        self._lock = threading.Lock()

    @property
    def out_descriptor(self) -> int:
        """The descriptor that carries the protocol to the client."""
        return self._out

    def start(self, sink: Callable[[bytes | None], object]) -> None:
        """Begin to read; `sink(line)` is called in the reading thread."""
        self._sink = sink
        threading.Thread(target=self._read, name="zen-wire", daemon=True).start()

    def divert(self, sink: Callable[[bytes | None], object]) -> None:
        """Send the lines from now on to another sink; returns once no call of the old one is running."""
        with self._lock:
            self._sink = sink

    def write(self, line: bytes) -> None:
        """Write a whole line, waiting for the client to take it.

        Raises:
            OSError: the client is gone.
        """
        view = memoryview(line)
        while view:
            view = view[os.write(self._out, view) :]

    def _read(self) -> None:
        kept = bytearray()
        too_long = False
        while True:
            try:
                piece = os.read(self._in, _READ_BYTES)
            except OSError:
                piece = b""
            if not piece:
                self._hand_on(None)
                return
            *lines, rest = piece.split(b"\n")
            for line in lines:
                self._hand_on(b"" if too_long else bytes(kept) + line)
                kept.clear()
                too_long = False
            kept += rest
            if len(kept) > LARGEST_LINE_BYTES:
                kept.clear()
                too_long = True

    def _hand_on(self, line: bytes | None) -> None:
        if line is None or line != b"\r":
            with self._lock:
                self._sink(line)


def _nowhere(line: bytes | None) -> None:
    """The sink before `start`."""
