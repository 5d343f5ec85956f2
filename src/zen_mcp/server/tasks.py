"""Jobs as tasks of the protocol, in both of its forms: a part of revision 2025-11-25, an extension since.

A client of 2025-11-25 asks for a task with a call; since 2026-07-28 the server makes one where the call becomes a job
and the client has said, with this request, that it takes tasks. Either way a task is a job, with the job's id.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, cast

import anyio
import mcp_types as types
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.session import ServerSession
from mcp.shared.exceptions import MCPError
from mcp.shared.inbound import MCP_NAME_HEADER, decode_header_value
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import ValidationError

from zen_mcp.errors import StorageError, UnknownJob
from zen_mcp.jobs.background import FLAG
from zen_mcp.jobs.job import ENDED, LEAST_KEPT_SECONDS, Job
from zen_mcp.jobs.store import JobStore
from zen_mcp.server.client_questions import checked_answer
from zen_mcp.server.clients import shows_resource_links
from zen_mcp.server.task_shapes import JSONResult, core_task, detailed_task, task_result
from zen_mcp.server.task_watch import Listener, TaskWatch
from zen_mcp.types import Caller, JSONObject, ToolRequest

Context = ServerRequestContext[Any, Any]

EXTENSION = "io.modelcontextprotocol/tasks"
CORE_REVISION = "2025-11-25"
_RELATED = "io.modelcontextprotocol/related-task"
_IMMEDIATE = "io.modelcontextprotocol/model-immediate-response"
_CAPABILITY: Mapping[str, Any] = {"list": {}, "cancel": {}, "requests": {"tools": {"call": {}}}}
_CORE = frozenset({CORE_REVISION})
_MODERN = frozenset(MODERN_PROTOCOL_VERSIONS)
_REVISIONS: Mapping[str, frozenset[str]] = {
    "tasks/get": _CORE | _MODERN,
    "tasks/cancel": _CORE | _MODERN,
    "tasks/list": _CORE,
    "tasks/result": _CORE,
    "tasks/update": _MODERN,
}
"""Which methods there are in which revisions."""
_PAGE = 50
_MOST_LISTENED = 100
"""Tasks of one subscription."""
_RESULT_SECONDS = 3600.0
"""So long `tasks/result` waits before its client has to ask again."""


class UpdateTaskParams(types.RequestParams):
    """What a client answers to the questions of a task."""

    task_id: str
    input_responses: dict[str, dict[str, Any]]


class TaskDoor:
    """Serves jobs as tasks.

    Args:
        jobs: every user's jobs.
        caller: who asks.
        may_become_one: whether a call of the tool of this name may become a task.
    """

    def __init__(
        self, jobs: JobStore, caller: Callable[[Context], Caller], may_become_one: Callable[[Context, str], bool]
    ) -> None:
        self._jobs = jobs
        self._caller = caller
        self._may_become_one = may_become_one
        self.watch = TaskWatch(jobs)

    def open(self, server: Server[Any]) -> None:
        """Announce tasks, and answer what clients ask of them."""
        server.extensions[EXTENSION] = {}
        server.middleware.append(self._around)
        server.add_request_handler("tasks/get", types.GetTaskRequestParams, self._get)
        server.add_request_handler("tasks/cancel", types.CancelTaskRequestParams, self._cancel)
        server.add_request_handler("tasks/list", types.PaginatedRequestParams, self._list)
        server.add_request_handler("tasks/result", types.GetTaskPayloadRequestParams, self._result)
        server.add_request_handler("tasks/update", UpdateTaskParams, self._update)

    def prepared(self, request: ToolRequest, context: Context, params: types.CallToolRequestParams) -> ToolRequest:
        """The request of a call as one that becomes a task, where its client wants or takes one.

        Raises:
            MCPError: this call cannot be a task, or not for so long.
        """
        if context.protocol_version in _MODERN:
            return replace(request, takes_task=_takes_tasks(context))
        if context.protocol_version != CORE_REVISION or params.task is None:
            return request
        if not self._may_become_one(context, request.tool):
            problem = f"'{request.tool[:80]}' is not called as a task. Call it without 'task'."
            raise MCPError(code=types.METHOD_NOT_FOUND, message=problem)
        if params.task.ttl is not None and params.task.ttl <= 0:
            problem = f"'task.ttl' is a number of milliseconds above 0, not {params.task.ttl}. Leave it out."
            raise MCPError(code=types.INVALID_PARAMS, message=problem)
        keep = max(params.task.ttl / 1000, LEAST_KEPT_SECONDS) if params.task.ttl is not None else None
        return replace(request, arguments={**request.arguments, FLAG: True}, keep_seconds=keep)

    def mark(self, context: Context, params: types.CallToolRequestParams, job_id: str) -> JSONResult | None:
        """The `_meta` of the handle of a job that the client gets as a task; None where it gets the handle.

        The SDK lets through no other result of a call than its own, so that `_around` makes the task of what bears it.
        """
        if context.protocol_version in _MODERN:
            wanted = _takes_tasks(context)
        else:
            wanted = context.protocol_version == CORE_REVISION and params.task is not None
            if wanted:
                self.watch.add(job_id, self._caller(context).user_id, context.session)
        return {_RELATED: {"taskId": job_id}} if wanted else None

    async def _around(self, ctx: Context, call_next: CallNext) -> HandlerResult:
        """What the SDK does not know of tasks: who may ask, what is announced, and a call's other kind of result."""
        if ctx.method in _REVISIONS:
            _admit(ctx)
        is_listening = ctx.method == "subscriptions/listen"
        result = await (self._listen(ctx, call_next) if is_listening else call_next(ctx))
        if not isinstance(result, dict):
            return result
        if ctx.method == "initialize" and result.get("protocolVersion") == CORE_REVISION:
            return {**result, "capabilities": {**result["capabilities"], "tasks": _CAPABILITY}}
        return await self._created(ctx, result) if ctx.method == "tools/call" else result

    async def _listen(self, context: Context, call_next: CallNext) -> HandlerResult:
        """A subscription, to tasks as well where it names some.

        Raises:
            MCPError: the client does not take tasks, or names no tasks.
        """
        wanted = _wanted_tasks(context)
        if not wanted or context.request_id is None:
            return await call_next(context)
        _require(context)
        user = self._caller(context).user_id
        known = [task for task in wanted if await self._is_known(task, user)]
        listener = Listener(context.session, context.request_id, user, known)
        failure: Exception | None = None
        result: HandlerResult = None
        async with anyio.create_task_group() as group:
            group.start_soon(partial(self.watch.listen, listener, links=self._links(context)))
            try:
                result = await call_next(replace(context, session=cast("ServerSession", listener)))
            except Exception as exc:  # noqa: BLE001 - carried past the group, which would wrap it
                failure = exc
            group.cancel_scope.cancel()
        if failure is not None:
            raise failure
        return result

    async def _is_known(self, task_id: str, user_id: str) -> bool:
        try:
            await self._jobs.get(task_id, user_id=user_id)
        except UnknownJob:
            return False
        except StorageError as exc:
            raise _internal(exc) from exc
        return True

    async def _created(self, context: Context, result: JSONResult) -> JSONResult:
        """The task that a call has become, in the place of its handle.

        Raises:
            MCPError: it was to become one, and has not, because its arguments are wrong.
        """
        meta: JSONResult = result.get("_meta") or {}
        related: JSONResult | None = meta.pop(_RELATED, None)
        is_core = context.protocol_version == CORE_REVISION and (context.params or {}).get("task") is not None
        if related is None and not is_core:
            return result
        text = "\n".join(part["text"] for part in result["content"] if part["type"] == "text")
        if related is None:
            error: JSONResult = result.get("structuredContent") or {}
            raise MCPError(code=types.INVALID_PARAMS, message=text, data=error)
        job = await self._found(context, related["taskId"])
        if is_core:
            return {"task": core_task(job), "_meta": {**meta, _IMMEDIATE: text}}
        return {"resultType": "task", **detailed_task(job, only_state=True), "_meta": meta}

    async def _get(self, context: Context, params: types.GetTaskRequestParams) -> JSONResult:
        job = await self._found(context, params.task_id)
        return detailed_task(job, links=self._links(context)) if context.protocol_version in _MODERN else core_task(job)

    async def _cancel(self, context: Context, params: types.CancelTaskRequestParams) -> JSONResult:
        job = await self._found(context, params.task_id)
        is_modern = context.protocol_version in _MODERN
        if job.state in ENDED:
            if is_modern:
                return {}
            problem = (
                f"The task '{job.id}' has ended ({job.state}) and cannot be cancelled. tasks/result gives its end."
            )
            raise MCPError(code=types.INVALID_PARAMS, message=problem)
        job = await self._jobs.cancel(job.id, user_id=job.user_id)
        return {} if is_modern else core_task(job)

    async def _list(self, context: Context, params: types.PaginatedRequestParams) -> JSONResult:
        cursor = params.cursor or "0"
        if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= 12):
            problem = f"The cursor '{cursor[:40]}' is none of ours. Begin without one."
            raise MCPError(code=types.INVALID_PARAMS, message=problem)
        offset, user = int(cursor), self._caller(context).user_id
        try:
            found = await self._jobs.list(user_id=user, limit=_PAGE + 1, offset=offset)
        except StorageError as exc:
            raise _internal(exc) from exc
        page: JSONResult = {"tasks": [core_task(job) for job in found[:_PAGE]]}
        return {**page, "nextCursor": str(offset + _PAGE)} if len(found) > _PAGE else page

    async def _result(self, context: Context, params: types.GetTaskPayloadRequestParams) -> JSONResult:
        """The call's own result, when there is one."""
        job = await self._found(context, params.task_id)
        with anyio.move_on_after(_RESULT_SECONDS):
            while job.state not in ENDED:
                job = await self._found(context, job.id, seconds=_RESULT_SECONDS)
        if job.state not in ENDED:
            raise MCPError(code=types.INTERNAL_ERROR, message=f"The task '{job.id}' still goes on. Ask again.")
        if job.state == "cancelled":
            problem = f"The task '{job.id}' was cancelled, so it has no result."
            raise MCPError(code=types.INVALID_REQUEST, message=problem)
        result = task_result(job, links=self._links(context))
        return {**result, "_meta": {**(result.get("_meta") or {}), _RELATED: {"taskId": job.id}}}

    async def _update(self, context: Context, params: UpdateTaskParams) -> JSONResult:
        job = await self._found(context, params.task_id)
        answers: dict[str, JSONObject] = {}
        for key, answer in params.input_responses.items():
            if key in job.questions:
                answers[key] = _checked(key, str(job.questions[key]["method"]), answer)
        try:
            await self._jobs.answer(job.id, answers, user_id=job.user_id)
        except StorageError as exc:
            raise _internal(exc) from exc
        return {}

    async def _found(self, context: Context, task_id: str, seconds: float = 0.0) -> Job:
        """The caller's job of this id, waited for so long.

        Raises:
            MCPError: there is none, or it is another caller's: nobody learns which.
        """
        try:
            return await self._jobs.wait(task_id, user_id=self._caller(context).user_id, seconds=seconds)
        except UnknownJob as exc:
            problem = f"There is no task '{task_id.strip()[:40]}'. It is another caller's, or it never was."
            raise MCPError(code=types.INVALID_PARAMS, message=problem) from exc
        except StorageError as exc:
            raise _internal(exc) from exc

    def _links(self, context: Context) -> bool:
        return shows_resource_links(self._caller(context).client_name)


def _takes_tasks(context: Context) -> bool:
    """Whether the client has said, with this request, that it takes tasks."""
    capabilities = context.session.client_capabilities
    return capabilities is not None and EXTENSION in (capabilities.extensions or {})


def _admit(context: Context) -> None:
    """Refuse what this revision does not have, what is addressed to another task, and who does not take tasks."""
    if context.protocol_version not in _REVISIONS[context.method]:
        raise MCPError(code=types.METHOD_NOT_FOUND, message="Method not found", data=context.method)
    if context.protocol_version not in _MODERN:
        return
    request: Any = context.request
    wanted = (context.params or {}).get("taskId")
    if request is not None and isinstance(wanted, str):
        said = decode_header_value(request.headers.get(MCP_NAME_HEADER))
        if said != wanted:
            problem = f"The header {MCP_NAME_HEADER} does not match the request's 'taskId'. Send the same in both."
            raise MCPError(code=types.HEADER_MISMATCH, message=problem)
    _require(context)


def _wanted_tasks(context: Context) -> list[str]:
    """The tasks that a subscription names."""
    wanted: Any = (context.params or {}).get("notifications")
    named: Any = cast("dict[str, Any]", wanted).get("taskIds", []) if isinstance(wanted, dict) else []
    if not isinstance(named, list) or not all(isinstance(one, str) for one in cast("list[Any]", named)):
        raise MCPError(code=types.INVALID_PARAMS, message="'taskIds' is a list of ids, which are texts.")
    tasks = cast("list[str]", named)
    if len(tasks) > _MOST_LISTENED:
        problem = f"'taskIds' names {len(tasks)} tasks. Take up to {_MOST_LISTENED} for one subscription."
        raise MCPError(code=types.INVALID_PARAMS, message=problem)
    return [*dict.fromkeys(tasks)]


def _require(context: Context) -> None:
    if not _takes_tasks(context):
        problem = f"'{context.method}' is for clients that declare the extension '{EXTENSION}' with the request."
        data = {"requiredCapabilities": {"extensions": {EXTENSION: dict[str, Any]()}}}
        raise MCPError(code=types.MISSING_REQUIRED_CLIENT_CAPABILITY, message=problem, data=data)


def _checked(key: str, method: str, answer: Mapping[str, Any]) -> JSONObject:
    try:
        return checked_answer(method, answer)
    except ValidationError as exc:
        problem = f"The answer '{key[:80]}' is not what the protocol says of '{method}'."
        raise MCPError(code=types.INVALID_PARAMS, message=problem) from exc


def _internal(exc: StorageError) -> MCPError:
    return MCPError(code=types.INTERNAL_ERROR, message=str(exc))
