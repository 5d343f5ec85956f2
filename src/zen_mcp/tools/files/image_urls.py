"""Pictures from the web, from hosts that server.yaml allows."""

from __future__ import annotations

import fnmatch
import ipaddress
import socket
import urllib.request
from collections.abc import Sequence
from http.client import HTTPMessage
from typing import IO
from urllib.parse import urlsplit

from zen_mcp.errors import FileRefused

FETCH_SECONDS = 20.0
_EVERYWHERE = "*"


def fetch_image(url: str, *, hosts: Sequence[str], max_bytes: int) -> bytes:
    """The content of a web address. Blocks; for a thread.

    Args:
        url: http or https.
        hosts: patterns of the hosts that may be asked, redirects included; empty for none. A host that is meant only by
            `*` must have a public address, so that nobody can look around in the server's own network.
        max_bytes: a larger picture is refused.

    Raises:
        FileRefused: not allowed, not there, too large.
    """
    _check(url, hosts)
    opener = urllib.request.build_opener(_Redirects(hosts))
    try:
        with opener.open(url, timeout=FETCH_SECONDS) as answer:
            raw: bytes = answer.read(max_bytes + 1)
    except FileRefused:
        raise
    except (OSError, ValueError) as exc:
        reason = getattr(exc, "reason", None) or getattr(exc, "code", None) or type(exc).__name__
        raise FileRefused(
            f"'{url[:200]}' cannot be fetched ({reason}).", "Check it, or send the picture itself."
        ) from None
    if len(raw) > max_bytes:
        raise FileRefused(f"'{url[:200]}' has more than {max_bytes:,} bytes.", "Send a smaller one.")
    return raw


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows a redirect only to a host that is allowed, too."""

    def __init__(self, hosts: Sequence[str]) -> None:
        self._hosts = hosts

    def redirect_request(  # noqa: PLR0917 - the library's signature
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        """The next request."""
        _check(newurl, self._hosts)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _check(url: str, hosts: Sequence[str]) -> None:
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    if parts.scheme not in {"http", "https"} or not host:
        raise FileRefused(f"'{url[:200]}' is no web address.", "Write https://….")
    named = [pattern for pattern in hosts if fnmatch.fnmatchcase(host, pattern.lower())]
    if not named:
        fix = "Give an absolute path or a data: URL, or add the host to image_hosts in server.yaml."
        raise FileRefused(f"'{url[:200]}' is a web address, and '{host}' is not allowed.", fix)
    if any(pattern != _EVERYWHERE for pattern in named):
        return
    try:
        found = {ipaddress.ip_address(str(entry[4][0])) for entry in socket.getaddrinfo(host, None)}
    except (OSError, ValueError):
        raise FileRefused(f"'{url[:200]}' cannot be fetched: there is no host '{host}'.", "Check it.") from None
    if not all(address.is_global for address in found):
        fix = "Name the host in image_hosts in server.yaml if that is meant."
        raise FileRefused(f"'{url[:200]}' is an address inside of this network.", fix)
