"""Resources that clients of the handshake era watch: they are told when these may read otherwise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import anyio
import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.server.session import ServerSession
from mcp.shared.exceptions import MCPError

from zen_mcp.errors import UnknownResource
from zen_mcp.server.resources import RESOURCE_NOT_FOUND, offered
from zen_mcp.tools.registry import ToolRegistry
from zen_mcp.tools.resources import find_resource

Context = ServerRequestContext[Any, Any]
_TELL_SECONDS = 5.0
_MOST_WATCHED = 1000
"""Addresses of one client."""


class WatchedResources:
    """Answers `resources/subscribe` and `resources/unsubscribe`.

    Args:
        registry: gives the tools that whoever asks may use.
    """

    def __init__(self, registry: Callable[[Context], ToolRegistry]) -> None:
        self._registry = registry
        self._watched: dict[str, dict[str, ServerSession]] = {}

    async def subscribe(self, context: Context, params: types.SubscribeRequestParams) -> types.EmptyResult:
        """Watch an address."""
        try:
            find_resource(params.uri, offered(self._registry(context)))
        except UnknownResource as exc:
            raise MCPError(code=RESOURCE_NOT_FOUND, message=str(exc), data={"uri": params.uri}) from exc
        watched = self._watched.setdefault(_client(context), {})
        if len(watched) >= _MOST_WATCHED:
            raise MCPError(code=types.INVALID_PARAMS, message=f"At most {_MOST_WATCHED} resources can be watched.")
        watched[params.uri] = context.session
        return types.EmptyResult()

    async def unsubscribe(self, context: Context, params: types.UnsubscribeRequestParams) -> types.EmptyResult:
        """Watch it no longer."""
        self._watched.get(_client(context), {}).pop(params.uri, None)
        return types.EmptyResult()

    async def tell(self) -> None:
        """Tell every client that what it watches may read otherwise. Who is gone is forgotten."""
        for client, watched in list(self._watched.items()):
            if not await _told(watched):
                self._watched.pop(client, None)


async def _told(watched: Mapping[str, ServerSession]) -> bool:
    try:
        with anyio.fail_after(_TELL_SECONDS):
            for uri, session in list(watched.items()):
                await session.send_resource_updated(uri)
    except (TimeoutError, MCPError, anyio.BrokenResourceError, anyio.ClosedResourceError):
        return False
    return True


def _client(context: Context) -> str:
    """Which client it is, as long as it stays: its session over HTTP, the only one on a pipe."""
    request: Any = context.request
    if request is None:
        return "pipe"
    session: str | None = request.headers.get("mcp-session-id")
    if session is None:
        text = "Watching a resource needs a session, which this server does not keep (http.sessions)."
        raise MCPError(code=types.INVALID_REQUEST, message=text)
    return session
