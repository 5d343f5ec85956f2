"""Several processes that accept from one socket, and the parent that keeps their number."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import IO, cast

from zen_mcp.errors import ConfigError
from zen_mcp.observability.shared_metrics import forget_process

_FASTEST_RESTART_SECONDS = 1.0
_WATCH_SECONDS = 0.2
WRONG_SETTINGS, INTERRUPTED = 2, 130
"""Exit codes."""

Worker = subprocess.Popen[bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Handed:
    """What the parent tells each worker, in one line of its standard input: neither arguments nor environment show it.

    Attributes:
        state_key: seals what tools want kept while a client is asked, where server.yaml has no key for it.
        metrics_folder: where all of them keep the values of the metrics.
    """

    state_key: str
    metrics_folder: str

    @classmethod
    def take(cls) -> Handed:
        """What this worker was told.

        Raises:
            ConfigError: nobody told anything: this is no worker, or its parent died first.
        """
        try:
            return cls(**json.loads(sys.stdin.readline()))
        except (ValueError, TypeError) as exc:
            fix = "Write HOST:PORT or unix:PATH after --http."
            raise ConfigError("An inherited socket is for the worker processes of a server.", fix) from exc

    def give(self, worker: Worker) -> None:
        """Tell a worker that has been started; one that died at once is noticed by who watches."""
        with suppress(OSError):
            cast("IO[bytes]", worker.stdin).write(json.dumps(asdict(self)).encode() + b"\n")
            cast("IO[bytes]", worker.stdin).flush()


def supervise(listener: socket.socket, *, workers: int, config: Path | None) -> int:
    """Keep `workers` processes serving until a signal comes; the exit code.

    A worker notices by its standard input that the parent is gone, and stops.

    Raises:
        ConfigError: this system cannot hand sockets on, or has no folder for what the processes share.
    """
    if sys.platform == "win32":
        raise ConfigError("'workers' above 1 does not work on Windows.", "Set http.workers to 1 in server.yaml.")
    signals: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        signals.append(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, note)
    listener.set_inheritable(True)
    command = [sys.executable, "-m", "zen_mcp", "serve", "--http", f"fd:{listener.fileno()}"]
    command += ["--config", str(config)] if config else []
    with _folder() as folder:
        handed = Handed(state_key=secrets.token_hex(32), metrics_folder=folder)

        def start() -> Worker:
            return _start(command, listener.fileno(), handed)

        def forget(worker: Worker) -> None:
            forget_process(Path(folder), worker.pid)

        return _keep(start, forget, workers, signals)


@contextmanager
def _folder() -> Generator[str]:
    """A folder of this server's processes, gone when it ends."""
    try:
        folder = TemporaryDirectory(prefix="zen-workers-", ignore_cleanup_errors=True)
    except OSError as exc:
        text = f"There is no folder for what the processes share ({exc.strerror})."
        raise ConfigError(text, "Name one that can be written in TMPDIR, or set http.workers to 1.") from exc
    with folder as name:
        yield name


def _keep(start: Callable[[], Worker], forget: Callable[[Worker], None], number: int, signals: list[int]) -> int:
    pause = threading.Event()
    running = [start() for _ in range(number)]
    started = time.monotonic()
    passed_on, wrong = 0, False
    while running or not signals:
        for signalled in signals[passed_on:]:
            passed_on += 1
            for worker in running:
                worker.send_signal(signalled)
        if any(worker.poll() == WRONG_SETTINGS for worker in running):
            signals.append(signal.SIGTERM)  # it has said why; another would say the same
            wrong = True
        for worker in [worker for worker in running if worker.poll() is not None]:
            running.remove(worker)
            forget(worker)
        if not signals and len(running) < number and time.monotonic() - started >= _FASTEST_RESTART_SECONDS:
            started = time.monotonic()
            running.append(start())
        pause.wait(_WATCH_SECONDS)
    if wrong:
        return WRONG_SETTINGS
    return 0 if len(signals) < 2 else INTERRUPTED


def _start(command: Sequence[str], descriptor: int, handed: Handed) -> Worker:
    # A group of its own: Ctrl+C reaches the parent alone, which passes it on.
    worker = subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=[descriptor], process_group=0, env=os.environ)
    handed.give(worker)
    return worker
