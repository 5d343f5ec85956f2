"""The real Prometheus and Alertmanager: Debian's packages, unpacked into a cache and never installed."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import anyio
import httpx2
from anyio.abc import Process
from filelock import FileLock
from tests.support.server import until

_CACHE = Path(sys.prefix) / ".cache" / "prometheus"
_PACKAGES = ("prometheus", "prometheus-alertmanager")
_PROGRAMS = ("prometheus", "promtool", "prometheus-alertmanager", "amtool")
_TEMPLATES = Path("/usr/share/prometheus/alertmanager/default.tmpl")
_FETCH_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Programs:
    """Where each program is."""

    paths: Mapping[str, Path]

    def run(self, name: str, *arguments: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
        """Run one to its end; its words are in `stdout`."""
        command = [str(self.paths[name]), *map(str, arguments)]
        return subprocess.run(
            command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, check=False
        )

    @asynccontextmanager
    async def serving(self, name: str, *arguments: str, port: int, folder: Path) -> AsyncGenerator[httpx2.AsyncClient]:
        """One that serves on a port of loopback, once it is ready; a client of it."""
        command = _with_templates([str(self.paths[name]), *arguments, f"--web.listen-address=127.0.0.1:{port}"])
        with (folder / f"{name}.log").open("wb") as log:
            process = await anyio.open_process(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT)
            try:
                async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
                    await until(partial(_is_ready, client, process, folder / f"{name}.log"))
                    yield client
            finally:
                with anyio.CancelScope(shield=True):
                    if process.returncode is None:
                        process.kill()
                    await process.aclose()


def programs() -> Programs:
    """Those that are installed, else those of Debian's packages.

    Raises:
        RuntimeError: there are none, and they cannot be fetched.
    """
    installed = {name: Path(path) for name in _PROGRAMS if (path := shutil.which(name))}
    if len(installed) == len(_PROGRAMS):
        return Programs(installed)
    _CACHE.mkdir(parents=True, exist_ok=True)
    unpacked = {name: _CACHE / "usr" / "bin" / name for name in _PROGRAMS}
    with FileLock(_CACHE / "lock", timeout=_FETCH_SECONDS):
        if not all(path.exists() for path in unpacked.values()):
            _fetch()
    return Programs(unpacked)


def _with_templates(command: list[str]) -> list[str]:
    """Debian's Alertmanager reads its templates at one fixed place: what was unpacked is put there, for it alone.

    It runs in a mount namespace of its own, so that nothing on this machine changes.
    """
    unpacked = _CACHE / "usr" / "share"
    if not command[0].startswith(str(_CACHE)) or _TEMPLATES.exists():
        return command
    mount = 'mount --bind "$0" /usr/share && exec "$@"'
    return ["unshare", "--map-root-user", "--mount", "sh", "-c", mount, str(unpacked), *command]


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def _fetch() -> None:
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        raise RuntimeError("Prometheus and Alertmanager are not installed, and this is no Debian to fetch them from.")
    done = _run(["apt-get", "download", *_PACKAGES])
    if done.returncode and os.geteuid() == 0:
        _run(["apt-get", "update"])
        done = _run(["apt-get", "download", *_PACKAGES])
    if done.returncode:
        raise RuntimeError(f"Prometheus and Alertmanager cannot be fetched from Debian:\n{done.stdout}")
    for package in _CACHE.glob("*.deb"):
        done = _run(["dpkg-deb", "-x", str(package), "."])
        package.unlink()
        if done.returncode:
            raise RuntimeError(f"'{package.name}' cannot be unpacked:\n{done.stdout}")


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=_CACHE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_FETCH_SECONDS,
        check=False,
    )


async def _is_ready(client: httpx2.AsyncClient, process: Process, log: Path) -> bool:
    assert process.returncode is None, f"it has ended: see {log}"
    try:
        return (await client.get("/-/ready")).status_code == 200
    except httpx2.TransportError:
        return False
