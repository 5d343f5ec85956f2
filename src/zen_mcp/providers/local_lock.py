"""One process at a time: a lock file around fetching weights and starting a local model."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from zen_mcp.errors import LocalModelError


@contextmanager
def only_one(path: Path, *, timeout_seconds: float, busy: LocalModelError) -> Generator[None]:
    """Hold the lock file `path`; raises `busy` when another process holds it for longer than the time."""
    from filelock import FileLock, Timeout  # noqa: PLC0415 - 16 ms of a start that seldom needs it

    lock = FileLock(path, timeout=timeout_seconds)
    try:
        lock.acquire()
    except Timeout:
        raise busy from None
    try:
        yield
    finally:
        lock.release()
