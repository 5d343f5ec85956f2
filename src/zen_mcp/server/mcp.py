"""Protocol to requests and back. The only place that catches everything."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, cast

import anyio
import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import NotificationOptions, Server
from mcp.server.models import InitializationOptions
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler
from mcp.shared.exceptions import MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from zen_mcp import __version__
from zen_mcp.errors import UnknownTool, ZenError
from zen_mcp.observability.logs import EventLog
from zen_mcp.server.clients import call_seconds, result_characters
from zen_mcp.server.descriptions import INSTRUCTIONS, describe
from zen_mcp.tools.base import ToolProtocol
from zen_mcp.tools.registry import ToolRegistry
from zen_mcp.types import Caller, JSONObject, ToolRequest, ToolResponse

_log = EventLog()
_CLIENT_INFO = "io.modelcontextprotocol/clientInfo"

Context = ServerRequestContext[Any, Any]


class McpDoor:
    """The tools of a registry, served by the MCP SDK's low-level server.

    Args:
        registry: what is listed and called.
        heartbeat_seconds: the longest silence of a call that the client watches.
        session_id: names this connection in logs; None for none.
    """

    def __init__(
        self, registry: ToolRegistry, *, heartbeat_seconds: float = 15.0, session_id: str | None = None
    ) -> None:
        self._registry = registry
        self._heartbeat_seconds = heartbeat_seconds
        self._session_id = session_id
        self.events = InMemorySubscriptionBus()
        self.server: Server[Any] = Server(
            "zen",
            version=__version__,
            title="Zen",
            instructions=INSTRUCTIONS,
            get_tool_input_schema=self._input_schema,
            on_list_tools=self._list_tools,
            on_call_tool=self._call_tool,
            on_subscriptions_listen=ListenHandler(self.events),
        )
        # The SDK's own tracing step costs time on every message and is of no use without an exporter.
        self.server.middleware.clear()

    @property
    def options(self) -> InitializationOptions:
        """What the handshake says of this server."""
        return self.server.create_initialization_options(NotificationOptions(tools_changed=True))

    def use(self, registry: ToolRegistry) -> bool:
        """List and call these tools from now on; whether the list is another. Calls under way end as they began."""
        before = [describe(tool) for tool in self._registry.tools]
        self._registry = registry
        return before != [describe(tool) for tool in registry.tools]

    def _input_schema(self, name: str) -> JSONObject | None:
        try:
            return self._registry.find(name).get_schema()
        except UnknownTool:
            return None

    async def _list_tools(self, context: Context, params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[_listed(tool) for tool in self._registry.tools])

    async def _call_tool(self, context: Context, params: types.CallToolRequestParams) -> types.CallToolResult:
        call_id = f"c-{secrets.token_hex(6)}"
        name = client_name(context)
        try:
            async with self._watched(context) as progress:
                response = await self._registry.call(
                    ToolRequest(
                        request_id=call_id,
                        tool=params.name,
                        arguments=params.arguments or {},
                        caller=Caller(session_id=self._session_id, client_name=name),
                        progress=progress.report,
                        watched=progress.watched,
                        max_characters=result_characters(name),
                        max_seconds=call_seconds(name),
                    )
                )
        except Exception as exc:  # noqa: BLE001 - the one place that catches everything
            return _failed(exc, call_id, params.name)
        return _succeeded(response)

    @asynccontextmanager
    async def _watched(self, context: Context) -> AsyncGenerator[Progress]:
        """Progress for the call, with a heartbeat while it is silent. Nothing runs when nobody watches."""
        meta = context.meta or {}
        progress = Progress(context, watched=bool(meta.get("progress_token") or meta.get("progressToken")))
        if not progress.watched:
            yield progress
            return
        failure: Exception | None = None
        async with anyio.create_task_group() as group:
            group.start_soon(progress.beat, self._heartbeat_seconds)
            try:
                yield progress
            except Exception as exc:  # noqa: BLE001 - carried past the group, which would wrap it
                failure = exc
            group.cancel_scope.cancel()
        if failure is not None:
            raise failure


class Progress:
    """Progress notifications of one call: never going back, never silent for long."""

    def __init__(self, context: Context, *, watched: bool) -> None:
        self.watched = watched
        self._context = context
        self._value = 0.0
        self._total: float | None = None
        self._message = "working"
        self._started = anyio.current_time()
        self._reported = self._started

    async def report(self, done: float, total: float | None, message: str) -> None:
        """Send one notification; the value is raised a little where it would not have grown."""
        self._message, self._total = message, total or self._total
        await self._send(done, message)

    async def beat(self, seconds: float) -> None:
        """Say "still" whenever nothing was said for `seconds`."""
        while True:
            silent = anyio.current_time() - self._reported
            if silent >= seconds:
                waited = anyio.current_time() - self._started
                await self._send(self._value, f"{self._message} ({waited:.0f} s)")
            else:
                await anyio.sleep(seconds - silent)

    async def _send(self, done: float, message: str) -> None:
        # The protocol wants every value larger than the one before.
        self._value = done if done > self._value else self._value + 0.001
        self._reported = anyio.current_time()
        await self._context.session.report_progress(self._value, self._total, message)


def client_name(context: Context) -> str | None:
    """What the client calls itself, from the handshake or from the request's envelope."""
    if context.protocol_version in MODERN_PROTOCOL_VERSIONS:
        info = cast("dict[str, Any]", context.meta or {}).get(_CLIENT_INFO)
        return cast("dict[str, Any]", info).get("name") if isinstance(info, dict) else None
    params = context.session.client_params
    return params.client_info.name if params else None


def _listed(tool: ToolProtocol) -> types.Tool:
    return types.Tool.model_validate(describe(tool))


def _succeeded(response: ToolResponse) -> types.CallToolResult:
    return types.CallToolResult(
        content=[types.TextContent(type="text", text=response.text)],
        structured_content=cast("dict[str, Any]", response.structured),
    )


def _failed(exc: Exception, call_id: str, tool: str) -> types.CallToolResult:
    """A failure as a tool result; the text says ERROR because some clients drop the flag."""
    if isinstance(exc, UnknownTool):
        raise MCPError(code=types.INVALID_PARAMS, message=str(exc)) from exc
    foreseen = _only_foreseen(exc)
    if foreseen is None:
        _log.error("tool_crashed", call=call_id, tool=tool, exc_info=exc)
        text, error = (
            f"ERROR: internal error {call_id}. The server's log has the details.",
            {"kind": "InternalError"},
        )
    else:
        error: dict[str, Any] = {"kind": foreseen.kind, "problem": foreseen.problem, "fix": foreseen.fix}
        if foreseen.retry_after_seconds is not None:
            error["retry_after_seconds"] = round(foreseen.retry_after_seconds, 1)
        text = f"ERROR: {foreseen} [{call_id}]"
    return types.CallToolResult(
        content=[types.TextContent(type="text", text=text)],
        structured_content={"error": {**error, "call_id": call_id}},
        is_error=True,
    )


def _only_foreseen(exc: BaseException) -> ZenError | None:
    """The foreseen failure that `exc` is, or that is all a group of a tool's tasks holds; None for a bug."""
    if isinstance(exc, ZenError):
        return exc
    if isinstance(exc, BaseExceptionGroup):
        inner = [_only_foreseen(part) for part in cast("BaseExceptionGroup[BaseException]", exc).exceptions]
        return inner[0] if all(part is not None for part in inner) else None
    return None
