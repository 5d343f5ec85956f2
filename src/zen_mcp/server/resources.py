"""Resources over MCP: listed from the kit's table, read through the tool chain."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import mcp_types as types
from mcp.server.caching import CacheHint
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types.methods import CacheableMethod
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from zen_mcp.errors import CallerError, Refused, UnknownResource, UnknownThread
from zen_mcp.server.content import resource_contents
from zen_mcp.server.failures import only_foreseen, tell_crash
from zen_mcp.tools.registry import ToolRegistry
from zen_mcp.tools.resources import PAGE_CHARACTERS, Resource, find_resource, resource_text
from zen_mcp.types import JSONObject, ToolRequest

Context = ServerRequestContext[Any, Any]
MakeRequest = Callable[[Context, str, Mapping[str, object]], ToolRequest]
"""Makes the request of a tool for whoever asks on this connection."""

RESOURCE_NOT_FOUND = -32002
"""Until revision 2025-11-25; from 2026-07-28 on it is INVALID_PARAMS (specification, server/resources)."""

LISTS_FRESH_MS = 60_000
CACHE_HINTS: Mapping[CacheableMethod, CacheHint] = {
    "server/discover": CacheHint(ttl_ms=LISTS_FRESH_MS),
    "tools/list": CacheHint(ttl_ms=LISTS_FRESH_MS),
    "prompts/list": CacheHint(ttl_ms=LISTS_FRESH_MS),
    "resources/list": CacheHint(ttl_ms=LISTS_FRESH_MS),
    "resources/templates/list": CacheHint(ttl_ms=LISTS_FRESH_MS),
}
"""Lists change with the settings only, and a client that listens is told. Private: callers may see different ones."""


def offered(registry: ToolRegistry) -> list[Resource]:
    """The resources whose tools are offered."""
    return list(registry.resources)


def describe_resource(resource: Resource) -> JSONObject:
    """One entry of `resources/list` or `resources/templates/list`."""
    address = {"uriTemplate" if resource.is_template else "uri": resource.uri}
    return {
        **address,
        "name": resource.name,
        "description": resource.description,
        "mimeType": resource.mime_type,
    }


class ResourceDoor:
    """Answers `resources/…`.

    Args:
        registry: gives the tools that whoever asks may use.
        make_request: makes the request of a tool.
    """

    def __init__(self, registry: Callable[[Context], ToolRegistry], make_request: MakeRequest) -> None:
        self._registry = registry
        self._make_request = make_request

    async def list(self, context: Context, params: types.PaginatedRequestParams | None) -> types.ListResourcesResult:
        """The resources with one address."""
        found = [resource for resource in offered(self._registry(context)) if not resource.is_template]
        return types.ListResourcesResult(
            resources=[types.Resource.model_validate(describe_resource(one)) for one in found]
        )

    async def list_templates(
        self, context: Context, params: types.PaginatedRequestParams | None
    ) -> types.ListResourceTemplatesResult:
        """The resources with many."""
        found = [resource for resource in offered(self._registry(context)) if resource.is_template]
        return types.ListResourceTemplatesResult(
            resource_templates=[types.ResourceTemplate.model_validate(describe_resource(one)) for one in found]
        )

    async def read(self, context: Context, params: types.ReadResourceRequestParams) -> types.ReadResourceResult:
        """The text of a resource, or a page of it."""
        registry = self._registry(context)
        try:
            resource, arguments = find_resource(params.uri, offered(registry))
            request = self._make_request(context, resource.tool, arguments)
            request = replace(request, max_characters=request.max_characters or PAGE_CHARACTERS)
            response = await registry.call(request)
        except Exception as exc:
            raise _refusal(exc, params.uri, context.protocol_version) from exc
        return types.ReadResourceResult(
            contents=resource_contents(
                response, uri=params.uri, mime_type=resource.mime_type, text=resource_text(response, params.uri)
            ),
            ttl_ms=resource.fresh_seconds * 1000,
            cache_scope="private",
        )


def _refusal(exc: Exception, uri: str, version: str | None) -> MCPError:
    """A failure as the protocol error that the client's revision expects."""
    foreseen = only_foreseen(exc)
    data: dict[str, Any] = {"uri": uri}
    if foreseen is None:
        return MCPError(code=types.INTERNAL_ERROR, message=tell_crash(exc, f"resource {uri[:120]}"), data=data)
    data["kind"] = foreseen.kind
    if foreseen.retry_after_seconds is not None:
        data["retry_after_seconds"] = round(foreseen.retry_after_seconds, 1)
    code = types.INVALID_PARAMS if isinstance(foreseen, CallerError | Refused) else types.INTERNAL_ERROR
    if isinstance(foreseen, UnknownResource | UnknownThread) and version not in MODERN_PROTOCOL_VERSIONS:
        code = RESOURCE_NOT_FOUND
    return MCPError(code=code, message=str(foreseen), data=data)
