"""Where `zen serve --http` listens."""

from __future__ import annotations

import os
import socket
import stat
import sys
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from zen_mcp.config.http_schema import AuthSettings, HttpSettings
from zen_mcp.errors import ConfigError, InvalidArguments

LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "[::1]")
LOOPBACK_ORIGINS = tuple(f"{scheme}://{host}:*" for host in LOOPBACK_HOSTS for scheme in ("http", "https"))
_BACKLOG = 2048
_INHERITED = "fd:"
"""Before the number of a socket that the parent process has opened; `http_workers` writes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A host and port, the path of a Unix socket, or a socket that is open already."""

    host: str = ""
    port: int = 0
    path: Path | None = None
    descriptor: int | None = None

    @classmethod
    def parse(cls, text: str, settings: HttpSettings) -> Address:
        """Read `HOST:PORT`, `PORT`, `[IPv6]:PORT` or `unix:PATH`; an empty text means as server.yaml says.

        Raises:
            InvalidArguments: it is none of these.
        """
        if not text:
            return cls(host=settings.host, port=settings.port)
        if text.startswith(_INHERITED) and text.removeprefix(_INHERITED).isdigit():
            return cls(host=settings.host, port=settings.port, descriptor=int(text.removeprefix(_INHERITED)))
        if text.startswith("unix:") and text != "unix:":
            return cls(path=Path(text.removeprefix("unix:")))
        host, _, port = text.rpartition(":")
        if not port.isdigit() or int(port) > 65535:
            fix = "Write 127.0.0.1:8765, or unix:/run/zen.sock."
            raise InvalidArguments(f"'{text}' is no address to listen at.", fix)
        return cls(host=host or settings.host, port=int(port))

    @property
    def is_private(self) -> bool:
        """Whether only this machine can reach it."""
        return self.path is not None or is_loopback(self.host)

    def check_exposure(self, settings: HttpSettings, auth: AuthSettings) -> None:
        """Refuse to stand in a network with the doors open.

        Raises:
            ConfigError: others can reach the address, and nobody would have to say who he is.
        """
        if self.is_private or self.descriptor is not None:
            return
        if not auth.required:
            raise ConfigError(
                f"'{self.host}' can be reached from elsewhere, and anybody who reaches it would be let in.",
                "Turn on auth.tokens, auth.jwt or auth.identity_header in server.yaml, or listen at 127.0.0.1.",
            )
        if not settings.allowed_hosts:
            raise ConfigError(
                f"'{self.host}' can be reached from elsewhere, and http.allowed_hosts in server.yaml is empty.",
                "Name the hosts that clients use, for example: allowed_hosts: [zen.example.com].",
            )
        if auth.jwt is not None and not settings.public_url:
            raise ConfigError(
                "'auth.jwt' needs to know for which address tokens are issued.",
                "Set http.public_url in server.yaml, for example to https://zen.example.com/mcp.",
            )

    def open(self) -> socket.socket:
        """Listen.

        Raises:
            ConfigError: the address is taken, not ours, or none.
        """
        try:
            if self.descriptor is not None:
                return socket.socket(fileno=self.descriptor)
            return self._open_unix(self.path) if self.path is not None else self._open_tcp()
        except OSError as exc:
            where = f"unix:{self.path}" if self.path else f"{self.host}:{self.port}"
            raise ConfigError(
                f"'{where}' cannot be listened at: {exc.strerror}.", "Choose another address, or stop who uses it."
            ) from exc

    def _open_tcp(self) -> socket.socket:
        host = self.host.strip("[]")
        family = socket.getaddrinfo(host, self.port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server((host, self.port), family=family, backlog=_BACKLOG)
        # For what is accepted, too. Else the second piece of an answer waits 40 ms until the client has acknowledged
        # the first: asyncio sees to that only where a socket was made with its protocol's number, as this one is not.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listener

    @staticmethod
    def _open_unix(path: Path) -> socket.socket:
        with suppress(OSError):
            if stat.S_ISSOCK(path.stat().st_mode) and not _answers(path):
                path.unlink()  # left behind by a server that was killed
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        before = os.umask(0o117)
        try:
            listener.bind(str(path))
        finally:
            os.umask(before)
        listener.listen(_BACKLOG)
        return listener


def url_of(listener: socket.socket) -> str:
    """The address that a socket answers at."""
    name = listener.getsockname()
    if isinstance(name, str):
        return f"unix:{name}"
    host = f"[{name[0]}]" if ":" in name[0] else name[0]
    return f"http://{host}:{name[1]}/mcp"


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a host."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def raise_file_limit(connections: int) -> None:
    """Allow this process as many files as it may hold connections, where the system lets it."""
    if sys.platform == "win32":
        return
    import resource  # noqa: PLC0415 - not on Windows

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + 512
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True
