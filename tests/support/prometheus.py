"""The real Prometheus and Alertmanager: Debian's packages, unpacked into a cache and never installed."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import anyio
import httpx2
from anyio.abc import Process
from tests.support.debian import cache_of, programs_of
from tests.support.server import until

_PROGRAMS: dict[str, str] = dict.fromkeys(("prometheus", "promtool", "prometheus-alertmanager", "amtool"), "usr/bin")
_TEMPLATES = Path("/usr/share/prometheus/alertmanager/default.tmpl")


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
    return Programs(programs_of("prometheus", packages=("prometheus", "prometheus-alertmanager"), programs=_PROGRAMS))


def _with_templates(command: list[str]) -> list[str]:
    """Debian's Alertmanager reads its templates at one fixed place: what was unpacked is put there, for it alone.

    It runs in a mount namespace of its own, so that nothing on this machine changes.
    """
    cache = cache_of("prometheus")
    unpacked = cache / "usr" / "share"
    if not command[0].startswith(str(cache)) or _TEMPLATES.exists():
        return command
    mount = 'mount --bind "$0" /usr/share && exec "$@"'
    return ["unshare", "--map-root-user", "--mount", "sh", "-c", mount, str(unpacked), *command]


async def _is_ready(client: httpx2.AsyncClient, process: Process, log: Path) -> bool:
    assert process.returncode is None, f"it has ended: see {log}"
    try:
        return (await client.get("/-/ready")).status_code == 200
    except httpx2.TransportError:
        return False
