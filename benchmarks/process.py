"""A server process under measurement: its pipes or address, its CPU time, its memory. Linux only (`/proc`)."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

INITIALIZE = {
    "protocolVersion": "2025-06-18",
    "capabilities": {},
    "clientInfo": {"name": "benchmark", "version": "1"},
}


class Measured:
    """A process that speaks MCP on its pipes."""

    def __init__(self, command: Sequence[str], *, environment: Mapping[str, str], folder: Path) -> None:
        self.started = time.perf_counter()
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=dict(environment),
            cwd=folder,
        )

    def __enter__(self) -> Measured:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    @property
    def cpu_milliseconds(self) -> float:
        """CPU time of all its threads since it was spawned."""
        tasks = Path(f"/proc/{self._process.pid}/task")
        nanoseconds = sum(int((task / "schedstat").read_text().split()[0]) for task in tasks.iterdir())
        return nanoseconds / 1e6

    @property
    def resident_megabytes(self) -> float:
        """Memory it holds now."""
        pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    def send(self, message: Mapping[str, Any]) -> None:
        """Send one message."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
        self._process.stdin.flush()

    def receive(self) -> dict[str, Any]:
        """The next response; notifications are passed over."""
        assert self._process.stdout is not None
        while True:
            line = self._process.stdout.readline()
            if not line:
                raise RuntimeError("the server has left")
            message = json.loads(line)
            if "id" in message:
                return message

    def request(self, method: str, params: Mapping[str, Any] | None = None, *, identity: int = 1) -> dict[str, Any]:
        """Send a request and wait for its response."""
        self.send({"id": identity, "method": method, **({"params": params} if params is not None else {})})
        return self.receive()

    def shake_hands(self) -> None:
        """Initialize, then list the tools."""
        self.request("initialize", INITIALIZE)
        self.send({"method": "notifications/initialized"})
        self.request("tools/list")


class Process:
    """A server under measurement, with its children. Linux only."""

    def __init__(self, url: str, pid: int) -> None:
        self.url = url
        self.pid = pid

    @property
    def cpu_milliseconds(self) -> float:
        """CPU time of all its threads since it was spawned."""
        tasks = Path(f"/proc/{self.pid}/task")
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks.iterdir()) / 1e6

    @property
    def resident_megabytes(self) -> float:
        """Memory that it and its children hold now."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in (self.pid, *children))
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


@contextmanager
def serving(command: Sequence[str], environment: Mapping[str, str], folder: Path) -> Generator[Process]:
    """A server that says its address on stderr, and answers."""
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=dict(environment), cwd=folder)
    try:
        assert process.stderr is not None
        url = process.stderr.readline().rpartition(" ")[2].strip()
        yield Process(url, process.pid)
    finally:
        process.terminate()
        process.wait(30)
