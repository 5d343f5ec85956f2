"""Protocol to requests and back. The only place that catches everything."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, cast

import anyio
import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import NotificationOptions, Server
from mcp.server.models import InitializationOptions
from mcp.server.subscriptions import (
    InMemorySubscriptionBus,
    ListenHandler,
    PromptsListChanged,
    ResourcesListChanged,
    ToolsListChanged,
)
from mcp.shared.exceptions import MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from zen_mcp import __version__
from zen_mcp.errors import UnknownTool
from zen_mcp.jobs.store import JobStore
from zen_mcp.server.client_questions import answered, with_answers
from zen_mcp.server.clients import call_seconds, result_characters, shows_resource_links
from zen_mcp.server.completions import CompletionDoor
from zen_mcp.server.content import call_result, error_result
from zen_mcp.server.descriptions import INSTRUCTIONS, describe
from zen_mcp.server.failures import only_foreseen, tell_crash
from zen_mcp.server.prompts import PromptDoor, commands, describe_prompt
from zen_mcp.server.question_seal import QuestionSeal
from zen_mcp.server.resources import CACHE_HINTS, ResourceDoor, describe_resource, offered
from zen_mcp.server.tasks import TaskDoor
from zen_mcp.server.watched import WatchedResources
from zen_mcp.tools.base import ToolProtocol
from zen_mcp.tools.registry import ToolRegistry
from zen_mcp.types import Caller, JSONObject, ToolRequest

_TRACE_CONTEXT = ("traceparent", "tracestate")
_CLIENT_INFO = "io.modelcontextprotocol/clientInfo"
CALLER = "zen.caller"
"""Where the HTTP door puts the Caller into a request's scope."""

Context = ServerRequestContext[Any, Any]

LISTS = ("tools", "prompts", "resources")
"""What can change while a client is connected, and be announced to it."""
_CHANGED = {"tools": ToolsListChanged, "prompts": PromptsListChanged, "resources": ResourcesListChanged}


class McpDoor:
    """The tools of a registry, their prompts and resources, served by the MCP SDK's low-level server.

    Args:
        registry: what is listed and called.
        heartbeat_seconds: the longest silence of a call that the client watches.
        client_seconds: how long clients wait for a call; None for what is known of each.
        session_id: names this connection in logs; None for none.
        state_keys: seal what a tool wants kept while the client is asked; none: a key of this process.
        jobs: every user's jobs, to be served as tasks; None for no tasks.
    """

    def __init__(
        self,
        registry: ToolRegistry,
        *,
        heartbeat_seconds: float = 15.0,
        client_seconds: float | None = None,
        session_id: str | None = None,
        state_keys: Sequence[str] = (),
        jobs: JobStore | None = None,
    ) -> None:
        self._registry = registry
        self._schemas: dict[str, JSONObject] = {}
        self._client_seconds = client_seconds
        self._heartbeat_seconds = heartbeat_seconds
        self._session_id = session_id
        self.events = InMemorySubscriptionBus()
        resources = ResourceDoor(self._current, self._request)
        prompts = PromptDoor(self._current, self._request)
        self._watched_resources = WatchedResources(self._current)
        self._listening = ListenHandler(self.events)
        self.server: Server[Any] = Server(
            "zen",
            version=__version__,
            title="Zen",
            instructions=INSTRUCTIONS,
            get_tool_input_schema=self._input_schema,
            on_list_tools=self._list_tools,
            on_call_tool=self._call_tool,
            on_list_resources=resources.list,
            on_list_resource_templates=resources.list_templates,
            on_read_resource=resources.read,
            on_subscribe_resource=self._watched_resources.subscribe,
            on_unsubscribe_resource=self._watched_resources.unsubscribe,
            on_list_prompts=prompts.list,
            on_get_prompt=prompts.get,
            on_completion=CompletionDoor(self._current, self._request).complete,
            cache_hints=CACHE_HINTS,
            on_subscriptions_listen=self._listening,
        )
        # The SDK's own tracing step costs time on every message and is of no use without an exporter.
        self.server.middleware.clear()
        self.server.middleware.append(QuestionSeal(state_keys, lambda context: self._caller(context).user_id))
        self.server.add_request_handler("logging/setLevel", types.SetLevelRequestParams, _take_log_level)
        self.tasks = TaskDoor(jobs, self._caller, self._may_be_task) if jobs is not None and jobs.installed else None
        """None where work in the background is not installed."""
        if self.tasks is not None:
            self.tasks.open(self.server)

    @property
    def options(self) -> InitializationOptions:
        """What the handshake says of this server."""
        return self.server.create_initialization_options(
            NotificationOptions(tools_changed=True, prompts_changed=True, resources_changed=True)
        )

    def use(self, registry: ToolRegistry) -> Sequence[str]:
        """Serve these tools from now on; which lists are others now. Calls under way end as they began."""
        before, self._registry = _lists(self._registry), registry
        self._schemas = {}
        now = _lists(registry)
        return [name for name in LISTS if before[name] != now[name]]

    async def announce(self, changed: Sequence[str]) -> None:
        """Tell those who subscribed that lists have changed."""
        for name in changed:
            await self.events.publish(_CHANGED[name]())
        await self._watched_resources.tell()

    def _current(self, context: Context) -> ToolRegistry:
        """The tools that whoever asks may use."""
        return self._registry.seen_by(self._caller(context))

    def _caller(self, context: Context) -> Caller:
        """Who asks: whom the HTTP door let in, else the local user."""
        request: Any = context.request
        caller: Caller | None = request.scope.get(CALLER) if request is not None else None
        return replace(caller or Caller(session_id=self._session_id), client_name=client_name(context))

    def _request(self, context: Context, tool: str, arguments: Mapping[str, object]) -> ToolRequest:
        """A tool's request as whoever is on this connection would make it."""
        name = client_name(context)
        return ToolRequest(
            request_id=f"c-{secrets.token_hex(6)}",
            tool=tool,
            arguments=arguments,
            caller=self._caller(context),
            max_characters=result_characters(name),
            trace=_trace_of(context),
            max_seconds=self._client_seconds or call_seconds(name),
        )

    def end_subscriptions(self) -> None:
        """End what clients listen to, so that nothing keeps a server that is stopping."""
        self._listening.close()

    def _input_schema(self, name: str) -> JSONObject | None:
        """What the SDK reads before every call over HTTP; pydantic takes a millisecond to make one."""
        if name not in self._schemas:
            try:
                self._schemas[name] = self._registry.find(name).get_schema()
            except UnknownTool:
                return None
        return self._schemas[name]

    async def _list_tools(self, context: Context, params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        listed = [_listed(tool) for tool in self._current(context).tools]
        for tool in listed:
            if self.tasks is not None and self._may_be_task(context, tool.name):
                tool.execution = types.ToolExecution(task_support="optional")
        return types.ListToolsResult(tools=listed)

    def _may_be_task(self, context: Context, name: str) -> bool:
        """Whether a call may be a task: what asks no vendor is quick, and what is not there says so itself."""
        tools = self._current(context)
        return tools.asks_vendors(name) or name not in {tool.name for tool in tools.tools}

    async def _call_tool(
        self, context: Context, params: types.CallToolRequestParams
    ) -> types.CallToolResult | types.InputRequiredResult:
        request = with_answers(self._request(context, params.name, params.arguments or {}), context, params)
        if self.tasks is not None:
            request = self.tasks.prepared(request, context, params)
        try:
            async with self._watched(context) as progress:
                request = replace(request, progress=progress.report, watched=progress.watched)
                response = await answered(request, context, self._registry.call)
            if isinstance(response, types.InputRequiredResult):
                return response
            result = call_result(response, links=shows_resource_links(request.caller.client_name))
            if response.job is not None and self.tasks is not None:
                result.meta = self.tasks.mark(context, params, response.job)
        except Exception as exc:  # noqa: BLE001 - the one place that catches everything
            return _failed(exc, request.request_id, params.name)
        return result

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


async def _take_log_level(context: Context, params: types.SetLevelRequestParams) -> types.EmptyResult:
    """Old clients set a level; what tools log for them is little, and clients filter it themselves."""
    return types.EmptyResult()


def client_name(context: Context) -> str | None:
    """What the client calls itself, from the handshake or the request's envelope, else from its User-Agent."""
    if context.protocol_version in MODERN_PROTOCOL_VERSIONS:
        info = cast("dict[str, Any]", context.meta or {}).get(_CLIENT_INFO)
        return cast("dict[str, Any]", info).get("name") if isinstance(info, dict) else None
    params = context.session.client_params
    if params is not None:
        return params.client_info.name
    request: Any = context.request
    agent: str = request.headers.get("user-agent", "") if request is not None else ""
    return agent.partition("/")[0].strip()[:80] or None


def _trace_of(context: Context) -> dict[str, str]:
    """The caller's span, as W3C Trace Context writes it, from the request's `_meta`."""
    meta = cast("dict[str, Any]", context.meta or {})
    return {name: value for name in _TRACE_CONTEXT if isinstance(value := meta.get(name), str)}


def _listed(tool: ToolProtocol) -> types.Tool:
    return types.Tool.model_validate(describe(tool))


def _lists(registry: ToolRegistry) -> Mapping[str, object]:
    """What each list says of these tools."""
    return {
        "tools": [describe(tool) for tool in registry.tools],
        "prompts": [describe_prompt(command) for command in commands(registry).values()],
        "resources": [describe_resource(resource) for resource in offered(registry)],
    }


def _failed(exc: Exception, call_id: str, tool: str) -> types.CallToolResult:
    """A failure as a tool result; the text says ERROR because some clients drop the flag."""
    if isinstance(exc, MCPError):
        raise exc
    if isinstance(exc, UnknownTool):
        raise MCPError(code=types.INVALID_PARAMS, message=str(exc), data={"call_id": call_id}) from exc
    foreseen = only_foreseen(exc)
    if foreseen is None:
        text, error = f"ERROR: {tell_crash(exc, tool, call_id)}", {"kind": "InternalError"}
    else:
        error: dict[str, Any] = {"kind": foreseen.kind, "problem": foreseen.problem, "fix": foreseen.fix}
        if foreseen.retry_after_seconds is not None:
            error["retry_after_seconds"] = round(foreseen.retry_after_seconds, 1)
        text = f"ERROR: {foreseen} [{call_id}]"
    return error_result(text, {**error, "call_id": call_id})
