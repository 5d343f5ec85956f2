"""The real nginx before several replicas, with a configuration of ours in which only addresses and paths are put in."""

from __future__ import annotations

import os
import subprocess
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import anyio
import httpx2
from anyio.abc import Process
from tests.support.debian import free_port, programs_of
from tests.support.server import Served, until

_MAIN = """
{user}
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log info;
events {{ worker_connections 1024; }}
http {{
    log_format tries "$request_method $status $upstream_addr $upstream_status";
    access_log {folder}/access.log tries;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/site.conf;
}}
"""


@dataclass(frozen=True, slots=True)
class Tries:
    """One request as nginx noted it: its status, and each replica that was tried (a port) with what it said."""

    status: int
    replicas: tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Nginx:
    """A running nginx. `served`: as a server to connect to."""

    served: Served
    access_log: Path

    def tries(self) -> list[Tries]:
        """What it has passed on so far."""
        return [_tries(line) for line in self.access_log.read_text(encoding="utf-8").splitlines()]


def replaced(text: str, changes: Mapping[str, str]) -> str:
    """A text with parts of it replaced, each of which stands in it once."""
    for old, new in changes.items():
        assert text.count(old) == 1, f"'{old}' stands {text.count(old)} times in the configuration"
        text = text.replace(old, new)
    return text


@asynccontextmanager
async def nginx(folder: Path, site: str) -> AsyncGenerator[Nginx]:
    """A running nginx with a site in which `PORT` stands for a free port.

    Raises:
        RuntimeError: there is no nginx, and it cannot be fetched.
    """
    program = programs_of("nginx", packages=("nginx", "nginx-common"), programs={"nginx": "usr/sbin"})["nginx"]
    port = free_port()
    _write(folder, site.replace("PORT", str(port)))
    command = [str(program), "-p", str(folder), "-c", str(folder / "nginx.conf")]
    checked = await anyio.run_process([*command, "-t"], check=False, stderr=subprocess.STDOUT)
    assert checked.returncode == 0, checked.stdout.decode()
    process = await anyio.open_process(command, stdout=None, stderr=None)
    try:
        url = f"http://127.0.0.1:{port}/mcp"
        made = Nginx(
            served=Served(url=url, process=process, log=folder / "error.log"), access_log=folder / "access.log"
        )
        async with httpx2.AsyncClient(timeout=30) as http:
            await until(partial(_listens, http, made.served.base, process))
        yield made
    finally:
        with anyio.CancelScope(shield=True):
            if process.returncode is None:
                process.terminate()  # at once, unlike SIGQUIT
            await process.aclose()


def _write(folder: Path, site: str) -> None:
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "site.conf").write_text(site, encoding="utf-8")
    (folder / "nginx.conf").write_text(_MAIN.format(folder=folder, user=user), encoding="utf-8")


def upstreams(ports: Sequence[int], parameters: str) -> str:
    """The lines of these replicas."""
    return "\n    ".join(f"server 127.0.0.1:{port}{parameters};" for port in ports)


def _tries(line: str) -> Tries:
    _, status, rest = line.split(" ", 2)
    parts = rest.replace(" : ", ", ").split(" ")
    half = len(parts) // 2
    addresses, said = ([part.rstrip(",") for part in some] for some in (parts[:half], parts[half:]))
    ports = [int(address.rpartition(":")[2]) if ":" in address else 0 for address in addresses]
    return Tries(int(status), tuple(zip(ports, said, strict=True)))


async def _listens(http: httpx2.AsyncClient, base: str, process: Process) -> bool:
    assert process.returncode is None, "nginx has ended"
    try:
        return (await http.get(f"{base}/healthz")).status_code == 200
    except httpx2.TransportError:
        return False
