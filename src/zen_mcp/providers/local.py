"""The local panel: small models on this machine, each in a process of its own, shared by all servers of the user."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import anyio

from zen_mcp.errors import LocalModelError
from zen_mcp.providers.base import Endpoint
from zen_mcp.providers.local_lock import only_one
from zen_mcp.providers.local_server import SETTINGS_VARIABLE
from zen_mcp.providers.local_weights import WeightStore

START_SECONDS = 90.0
_HEALTH_SECONDS = 2.0
_POLL_SECONDS = 0.05
_TRUSTED_SECONDS = 2.0
_LOG_TAIL_CHARACTERS = 300
_PASSED_ON = ("PATH", "HOME", "LANG", "TMPDIR", "TEMP", "TMP", "SystemRoot", "PYTHONPATH", "LD_LIBRARY_PATH")


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A child process as its state file tells."""

    pid: int
    port: int
    key: str
    model: str

    def endpoint(self) -> Endpoint:
        """Where it serves."""
        return Endpoint(base_url=f"http://127.0.0.1:{self.port}/v1", api_key=self.key, model=self.model)


class LocalPanel:
    """Starts, finds and checks the child processes.

    Args:
        cache_directory: weights in `weights/`, state files, locks and logs in `run/`.
        idle_seconds: a child that nobody asks for so long ends.
        context_window: tokens per request.
        threads: CPU threads per child; None: as many as there are cores, at most 8.
    """

    def __init__(
        self,
        *,
        cache_directory: Path,
        idle_seconds: float = 900.0,
        context_window: int = 4096,
        threads: int | None = None,
    ) -> None:
        self.weights = WeightStore(cache_directory)
        self._folder = cache_directory / "run"
        self._idle_seconds = idle_seconds
        self._context_window = context_window
        self._threads = threads or min(os.cpu_count() or 1, 8)
        self._trusted: dict[str, tuple[Running, float]] = {}

    async def endpoint(self, weights: str) -> Endpoint:
        """Where these weights serve, ready to answer; starts their process when there is none.

        Args:
            weights: a packaged name, or the path of a GGUF file.

        Raises:
            LocalModelError: runtime or weights missing, or a process that does not start; says what to do.
        """
        name = _file_name(weights)
        trusted = self._trusted.get(name)
        if trusted and time.monotonic() - trusted[1] < _TRUSTED_SECONDS and self._still_serves(trusted[0], name):
            return trusted[0].endpoint()
        return await anyio.to_thread.run_sync(self._ready, weights, name, abandon_on_cancel=True)

    async def aclose(self) -> None:
        """Leave the children to other servers; each ends by itself when idle."""
        self._trusted.clear()

    def running(self) -> Iterator[Running]:
        """The children that answer now."""
        for state in sorted(self._folder.glob("*.json")):
            found = _read(state)
            if found is not None and _healthy(found):
                yield found

    def stop(self) -> int:
        """End all children of this user; how many."""
        stopped = 0
        for child in self.running():
            with suppress(OSError):
                os.kill(child.pid, signal.SIGTERM)
                stopped += 1
        return stopped

    def _still_serves(self, child: Running, name: str) -> bool:
        """Ask the child to stay (its beat), then see that it has not retired: its state file goes before it does."""
        with suppress(OSError):
            (self._folder / f"{name}.beat").touch()
        return (self._folder / f"{name}.json").exists() and _alive(child.pid)

    def _ready(self, weights: str, name: str) -> Endpoint:
        path = self.weights.path(weights)
        if find_spec("xllamacpp") is None:
            raise LocalModelError(
                "The local runtime is not installed.", "Install the extra: pip install 'zen-mcp-server[local]'"
            )
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self._folder / f"{name}.beat").touch()
        state = self._folder / f"{name}.json"
        found = _read(state)
        if found is None or not _healthy(found):
            busy = LocalModelError(
                f"'{name}' is being started by another process for more than {START_SECONDS:.0f} s.", "Try again."
            )
            with only_one(self._folder / f"{name}.lock", timeout_seconds=START_SECONDS, busy=busy):
                found = _read(state)
                if found is None or not _healthy(found):
                    found = self._start(path, name, state)
        self._trusted[name] = (found, time.monotonic())
        return found.endpoint()

    def _start(self, path: Path, name: str, state: Path) -> Running:
        state.unlink(missing_ok=True)
        settings = {
            "weights": str(path),
            "name": name,
            "state": str(state),
            "beat": str(self._folder / f"{name}.beat"),
            "key": secrets.token_urlsafe(24),
            "context_window": self._context_window,
            "threads": self._threads,
            "idle_seconds": self._idle_seconds,
        }
        log = self._folder / f"{name}.log"
        child = _spawn(settings, log)
        waiting = threading.Event()
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            found = _read(state)
            if found is not None and _healthy(found):
                child.returncode = 0  # it outlives us on purpose: subprocess need not warn of it
                return found
            if child.poll() is not None:
                raise LocalModelError(
                    f"The local model '{name}' did not start: {_tail(log)}",
                    f"See '{log}'; fetch the weights anew if they are damaged (zen local remove, zen local pull).",
                )
            waiting.wait(_POLL_SECONDS)
        child.kill()
        raise LocalModelError(
            f"The local model '{name}' was not ready within {START_SECONDS:.0f} s.", f"See '{log}', then try again."
        )


def _spawn(settings: dict[str, Any], log: Path) -> subprocess.Popen[bytes]:
    """Start a child that outlives us, with nothing of our environment but what a program needs."""
    environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    environment[SETTINGS_VARIABLE] = json.dumps(settings)
    # Spinning threads of several models on few cores cost fifteen times the time of waiting ones.
    environment["OMP_WAIT_POLICY"] = "passive"
    with log.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "zen_mcp.providers.local_server"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def _file_name(weights: str) -> str:
    """A name for files: the packaged name, or the GGUF's stem with a checksum of its path."""
    if "/" not in weights and "\\" not in weights:
        return weights
    digest = hashlib.sha256(str(Path(weights).expanduser().resolve()).encode()).hexdigest()[:8]
    return f"{Path(weights).stem[:40]}-{digest}"


def _read(state: Path) -> Running | None:
    try:
        return Running(**json.loads(state.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _healthy(child: Running) -> bool:
    """Whether the child lives and answers with its own key."""
    if not _alive(child.pid):
        return False
    connection = http.client.HTTPConnection("127.0.0.1", child.port, timeout=_HEALTH_SECONDS)
    try:
        connection.request("GET", "/v1/models", headers={"Authorization": f"Bearer {child.key}"})
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    # A child of ours that has ended stays a zombie until somebody asks for it.
    with suppress(ChildProcessError, OSError, AttributeError):
        return os.waitpid(pid, os.WNOHANG)[0] == 0
    return True


def _tail(log: Path) -> str:
    try:
        text = " ".join(log.read_text(encoding="utf-8", errors="replace").split())
    except OSError:
        return "no log"
    return text[-_LOG_TAIL_CHARACTERS:] or "no output"
