"""Jobs as tasks of the protocol: a part of 2025-11-25 and an extension of 2026-07-28, by the SDK's client."""

from __future__ import annotations

import json
import signal
import sqlite3
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Literal

import anyio
import mcp_types as types
import pytest
from mcp import MCPError
from mcp.client import Client, ClientExtension, ResultClaim
from mcp.client.extension import ClaimContext, NotificationBinding
from tests.support.postgres import PostgresServer
from tests.support.results import data_of, text_of
from tests.support.server import RawServer, ServerFolder, connect, modern, openai_model, rpc, serve_http, until
from tests.upstream import Behaviour, Upstream

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

MODELS: dict[str, tuple[Behaviour, dict[str, Any]]] = {
    "fine": (Behaviour(text="Heard: {echo}"), {}),
    "slow": (Behaviour(text="at last", delay_seconds=5), {}),
    "broken": (Behaviour(status=400, text="no"), {}),
    "hung": (Behaviour(how="hang"), {"timeout_seconds": 300}),
}
PLUGIN = '''
"""Tools that a vendor is not needed for."""

import anyio

from zen_mcp.tools.client import ask_client, elicit
from zen_mcp.types import Image, ToolResponse

NAME = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}


class Bare:
    """A bare tool."""

    def __init__(self, name, run):
        self.name, self.description, self._run = name, "A tool for tests.", run

    def get_schema(self):
        return {"type": "object", "properties": {}}

    async def execute(self, params, context):
        return await self._run(context)


async def ask_two(context):
    if not {"first", "last"} <= context.request.answers.keys():
        return ask_client({"first": elicit("First name?", NAME), "last": elicit("Last name?", NAME)}, state="kept")
    names = [context.request.answers[part]["content"]["name"] for part in ("first", "last")]
    return ToolResponse(text=" ".join(names), structured={"state": context.request.state})


async def paint(context):
    return ToolResponse(text="a dot", structured={}, blocks=(Image(mime_type="image/png", data_base64="aGk="),))


async def crash(context):
    raise RuntimeError("a bug")


asks, paints, crashes = Bare("ask_two", ask_two), Bare("paint", paint), Bare("crash", crash)
'''
HIDE_DBOS = """
import importlib.util

find_spec = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name == "dbos" else find_spec(name, package)
"""
SETTINGS = {"default_model": "fine", "provider": "direct"}
CORE = "2025-11-25"
EXTENSION = "io.modelcontextprotocol/tasks"
DECLARED: dict[str, Any] = {"_meta": {"io.modelcontextprotocol/clientCapabilities": {"extensions": {EXTENSION: {}}}}}
RELATED = "io.modelcontextprotocol/related-task"
ENDED = frozenset({"completed", "failed", "cancelled"})
Doors = pytest.mark.parametrize("way", ["stdio", "http"])


class TaskHandle(types.Result):
    """What a call answers that has become a task."""

    result_type: Literal["task"] = "task"
    task_id: str
    status: str
    created_at: str
    last_updated_at: str
    ttl_ms: int | None
    poll_interval_ms: int


class GetTask(types.Request[types.GetTaskRequestParams, Literal["tasks/get"]]):
    """The extension's `tasks/get`, with the header that it wants."""

    method: Literal["tasks/get"] = "tasks/get"
    name_param = "taskId"


class CancelTask(types.Request[types.CancelTaskRequestParams, Literal["tasks/cancel"]]):
    """Likewise."""

    method: Literal["tasks/cancel"] = "tasks/cancel"
    name_param = "taskId"


class UpdateTask(types.Request[dict[str, Any], Literal["tasks/update"]]):
    """Likewise."""

    method: Literal["tasks/update"] = "tasks/update"
    name_param = "taskId"


class AnyResult(types.Result, extra="allow"):
    """A result as it came."""


class TasksExtension(ClientExtension):
    """A client that takes tasks, and waits for them; `heard` is what it was told without asking."""

    identifier = EXTENSION

    def __init__(self) -> None:
        self.heard: list[dict[str, Any]] = []
        self.hears = anyio.Event()

    def notifications(self) -> Sequence[NotificationBinding[Any]]:
        """What it is told."""
        return [NotificationBinding(method="notifications/tasks", params_type=AnyResult, handler=self._hear)]

    async def _hear(self, note: AnyResult) -> None:
        self.heard.append(note.model_dump(by_alias=True, mode="json", exclude_unset=True))
        self.hears.set()
        self.hears = anyio.Event()

    def claims(self) -> Sequence[ResultClaim[Any]]:
        """What calls may answer as well."""
        return [ResultClaim(result_type="task", model=TaskHandle, resolve=self._resolve)]

    async def _resolve(self, handle: TaskHandle, context: ClaimContext) -> types.CallToolResult:
        task = await ended(context.session, handle.task_id)
        return types.CallToolResult.model_validate(task["result"])


async def asked(session: Any, request: Any) -> dict[str, Any]:
    """The result of a request as it came over the wire."""
    with anyio.fail_after(60):
        result = await session.send_request(request, AnyResult)
    return result.model_dump(by_alias=True, mode="json", exclude_unset=True)


async def get(session: Any, task: str) -> dict[str, Any]:
    """`tasks/get`."""
    return await asked(session, GetTask(params=types.GetTaskRequestParams(task_id=task)))


async def cancel(session: Any, task: str) -> dict[str, Any]:
    """`tasks/cancel`."""
    return await asked(session, CancelTask(params=types.CancelTaskRequestParams(task_id=task)))


async def ended(session: Any, task: str) -> dict[str, Any]:
    """The task when it has ended, polled as its server wants it."""
    with anyio.fail_after(90):
        while True:
            found = await get(session, task)
            if found["status"] in ENDED:
                return found
            await anyio.sleep(0.2)


async def call(client: Client, tool: str = "chat", **arguments: Any) -> TaskHandle:
    """A call that becomes a task, of a client with the extension."""
    handle = await client.session.call_tool(tool, arguments, allow_claimed=True)
    assert isinstance(handle, TaskHandle), handle
    return handle


async def create(client: Client, tool: str = "chat", task: Any = None, **arguments: Any) -> dict[str, Any]:
    """A call of revision 2025-11-25 with `task`; the task.

    The SDK's client knows one result of a call at this revision, so that this goes below its types.
    """
    session: Any = client.session
    params = {"name": tool, "arguments": arguments, "task": {} if task is None else task}
    data: dict[str, Any] = {"method": "tools/call", "params": params}
    options: dict[str, Any] = {}
    session._stamp(data, options)
    with anyio.fail_after(60):
        return await session._dispatcher.send_raw_request("tools/call", data["params"], options)


async def result_of(client: Client, task: str) -> types.CallToolResult:
    """`tasks/result`: the call's own result, once there is one."""
    request = types.GetTaskPayloadRequest(params=types.GetTaskPayloadRequestParams(task_id=task))
    with anyio.fail_after(90):
        return await client.session.send_request(request, types.CallToolResult)


@pytest.fixture
def mine(tmp_path: Path, models: dict[str, Any]) -> ServerFolder:
    """A server's folder with tools of its own."""
    plugin = tmp_path / "plugins" / "bare"
    plugin.mkdir(parents=True)
    (plugin / "tool.py").write_text(PLUGIN, encoding="utf-8")
    settings = {**SETTINGS, "plugin_folders": [str(tmp_path / "plugins")]}
    return ServerFolder(path=tmp_path, models=models, settings=settings)


@asynccontextmanager
async def modern_client(folder: ServerFolder, way: str = "stdio", **options: Any) -> AsyncGenerator[Client]:
    """A client of 2026-07-28 that takes tasks."""
    async with connect(folder, door=way, extensions=[TasksExtension()], **options) as client:
        yield client


@asynccontextmanager
async def core_client(folder: ServerFolder, way: str = "stdio", **options: Any) -> AsyncGenerator[Client]:
    """A client of 2025-11-25."""
    async with connect(folder, door=way, mode="legacy", **options) as client:
        yield client


# --- revision 2026-07-28


@Doors
async def test_a_call_in_the_background_comes_back_as_a_task_and_its_result_with_it(
    mine: ServerFolder, way: str
) -> None:
    async with modern_client(mine, way) as client:
        assert client.session.discover_result is not None
        assert EXTENSION in (client.session.discover_result.capabilities.extensions or {})
        handle = await call(client, prompt="think", background=True)
        assert (handle.status, handle.ttl_ms, handle.poll_interval_ms > 0) == ("working", None, True)
        found = await ended(client.session, handle.task_id)
        assert found["status"] == "completed"
        assert found["createdAt"] <= found["lastUpdatedAt"]
        assert found["result"]["structuredContent"]["text"] == "Heard: think"
        assert RELATED not in found["result"].get("_meta", {})
        resolved = await client.call_tool("chat", {"prompt": "by itself", "background": True})
        assert data_of(resolved)["text"] == "Heard: by itself"
        # The same thing by its other name.
        told = data_of(await client.call_tool("jobs", {"job": handle.task_id}))
        assert told["result"]["text"] == "Heard: think"


async def test_a_call_that_outlasts_its_client_becomes_a_task_and_is_asked_once(
    mine: ServerFolder, upstream: Upstream
) -> None:
    folder = ServerFolder(path=mine.path, models=mine.models, settings={**mine.settings, "client_seconds": 8})
    async with modern_client(folder) as client:
        before = len(upstream.asked("slow"))
        handle = await call(client, prompt="take your time", model="slow")
        found = await ended(client.session, handle.task_id)
        assert found["result"]["structuredContent"]["text"] == "at last"
        assert len(upstream.asked("slow")) == before + 1
        quick = await client.session.call_tool("chat", {"prompt": "quick"}, allow_claimed=True)
        assert isinstance(quick, types.CallToolResult)


async def test_who_does_not_take_tasks_gets_the_handle_and_may_not_ask_for_tasks(mine: ServerFolder) -> None:
    async with connect(mine, mode="2026-07-28") as client:
        job = data_of(await client.call_tool("chat", {"prompt": "?", "background": True}))["job"]
        requests = (
            GetTask(params=types.GetTaskRequestParams(task_id=job)),
            CancelTask(params=types.CancelTaskRequestParams(task_id=job)),
            UpdateTask(params={"taskId": job, "inputResponses": {}}),
        )
        for request in requests:
            with pytest.raises(MCPError) as caught:
                await asked(client.session, request)
            assert caught.value.error.code == types.MISSING_REQUIRED_CLIENT_CAPABILITY
            assert caught.value.error.data == {"requiredCapabilities": {"extensions": {EXTENSION: {}}}}
        # What another client asked with this request, not with the connection, is what counts.
        with pytest.raises(MCPError, match="extension"):
            await asked(client.session, listening(taskIds=[job]))


async def test_a_failed_tool_has_completed_its_task_and_a_bug_has_failed_it(mine: ServerFolder) -> None:
    async with modern_client(mine) as client:
        handle = await call(client, prompt="?", model="broken", background=True)
        found = await ended(client.session, handle.task_id)
        assert found["status"] == "completed"
        assert found["result"]["isError"] is True
        assert found["result"]["structuredContent"]["error"]["kind"] == "VendorRejected"
        handle = await call(client, "crash", background=True)
        found = await ended(client.session, handle.task_id)
        assert (found["status"], found["error"]["code"]) == ("failed", types.INTERNAL_ERROR)
        assert "result" not in found
        assert "a bug" not in json.dumps(found)
        wrong = await client.session.call_tool("chat", {"promt": "?", "background": True}, allow_claimed=True)
        assert isinstance(wrong, types.CallToolResult)
        assert "Did you mean 'prompt'?" in text_of(wrong)


@Doors
async def test_a_cancelled_task_stops_at_the_vendor_and_cancelling_it_again_is_no_error(
    mine: ServerFolder, upstream: Upstream, way: str
) -> None:
    async with modern_client(mine, way) as client:
        before = len(upstream.asked("hung"))
        handle = await call(client, prompt="never", model="hung", background=True)
        assert await anyio.to_thread.run_sync(upstream.wait_for_request, "hung", before + 1)
        acknowledged = await cancel(client.session, handle.task_id)
        assert set(acknowledged) <= {"resultType", "_meta"}
        assert acknowledged["resultType"] == "complete"
        assert (await ended(client.session, handle.task_id))["status"] == "cancelled"
        assert await anyio.to_thread.run_sync(upstream.wait_for_disconnect, "hung")
        assert (await cancel(client.session, handle.task_id))["resultType"] == "complete"


@Doors
async def test_a_task_asks_its_client_one_answer_after_the_other(mine: ServerFolder, way: str) -> None:
    async with modern_client(mine, way, elicitation_callback=cannot_now) as client:
        handle = await call(client, "ask_two", background=True)

        async def is_asking() -> bool:
            return (await get(client.session, handle.task_id))["status"] == "input_required"

        await until(is_asking)
        found = await get(client.session, handle.task_id)
        first, last = sorted(found["inputRequests"])
        assert found["inputRequests"][first]["method"] == "elicitation/create"

        async def update(**answers: Any) -> dict[str, Any]:
            params = {"taskId": handle.task_id, "inputResponses": answers}
            return await asked(client.session, UpdateTask(params=params))

        with pytest.raises(MCPError, match=f"The answer '{last}' is not what the protocol says"):
            await update(**{last: {"action": "perhaps"}})
        assert (await update(**{first: accepted("Ada"), "nonsense": {"x": 1}}))["resultType"] == "complete"
        found = await get(client.session, handle.task_id)
        assert (found["status"], [*found["inputRequests"]]) == ("input_required", [last])
        await update(**{first: accepted("Eve"), last: accepted("Lovelace")})
        found = await ended(client.session, handle.task_id)
        assert found["result"]["content"][0]["text"] == "Ada Lovelace"
        assert found["result"]["structuredContent"] == {"state": "kept"}


def listening(**notifications: Any) -> types.SubscriptionsListenRequest:
    """A request for a subscription."""
    params = types.SubscriptionsListenRequestParams.model_validate({"notifications": notifications})
    return types.SubscriptionsListenRequest(params=params)


async def cannot_now(context: Any, params: types.ElicitRequestParams) -> types.ElicitResult:
    """What a client declares that it can be asked by, and is not, because its task asks."""
    return types.ElicitResult(action="decline")


def accepted(name: str) -> dict[str, Any]:
    """A form that was filled in."""
    return {"action": "accept", "content": {"name": name}}


@Doors
async def test_a_subscription_tells_how_its_tasks_stand(mine: ServerFolder, way: str) -> None:
    extension = TasksExtension()
    async with connect(mine, door=way, extensions=[extension]) as client:
        slow = (await call(client, prompt="?", model="slow", background=True)).task_id

        async def listen(**notifications: Any) -> None:
            await asked(client.session, listening(**notifications))

        async with anyio.create_task_group() as group:
            group.start_soon(partial(listen, taskIds=[slow, "j-none", slow]))
            with anyio.fail_after(60):
                while not extension.heard or extension.heard[-1]["status"] not in ENDED:
                    await extension.hears.wait()
            group.cancel_scope.cancel()
        assert [note["status"] for note in extension.heard] == ["working", "completed"]
        assert extension.heard[-1]["result"]["structuredContent"]["text"] == "at last"
        found = await get(client.session, slow)
        told = {name: extension.heard[-1][name] for name in extension.heard[-1] if name != "_meta"}
        assert told == {name: found[name] for name in told}
        for wrong in ("j-none", [1], ["j"] * 101):
            with pytest.raises(MCPError, match="'taskIds'") as caught:
                await listen(taskIds=wrong)
            assert caught.value.error.code == types.INVALID_PARAMS


async def test_a_subscription_is_acknowledged_with_the_tasks_that_there_are(mine: ServerFolder) -> None:
    async with RawServer(mine) as server:
        chat = {"name": "chat", "arguments": {"prompt": "?", "background": True}, **DECLARED}
        task = (await server.request(1, "tools/call", modern(chat)))["result"]["taskId"]
        wanted = {"notifications": {"toolsListChanged": True, "taskIds": [task, "j-none"]}, **DECLARED}
        await server.send({"jsonrpc": "2.0", "id": 2, "method": "subscriptions/listen", "params": modern(wanted)})
        while (first := await server.receive()).get("method", "notifications/progress") == "notifications/progress":
            continue
        assert first["method"] == "notifications/subscriptions/acknowledged"
        assert first["params"]["notifications"] == {"toolsListChanged": True, "taskIds": [task]}
        told = await server.receive()
        assert (told["method"], told["params"]["taskId"]) == ("notifications/tasks", task)
        assert told["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"] == 2


async def test_who_cannot_be_asked_is_told_so_in_the_end(mine: ServerFolder) -> None:
    async with modern_client(mine) as client:
        handle = await call(client, "ask_two", background=True)
        found = await ended(client.session, handle.task_id)
        assert found["result"]["structuredContent"]["error"]["kind"] == "ClientCannotAnswer"
    async with core_client(mine) as client:
        task = (await create(client, "ask_two"))["task"]["taskId"]
        assert "cannot be asked in the background" in text_of(await result_of(client, task))


async def test_what_is_not_text_is_in_the_result_of_a_task_as_well(mine: ServerFolder) -> None:
    async with modern_client(mine) as client:
        handle = await call(client, "paint", background=True)
        content = (await ended(client.session, handle.task_id))["result"]["content"]
        assert [(part["type"], part.get("data")) for part in content] == [("text", None), ("image", "aGk=")]


async def test_what_the_extension_does_not_have_is_not_found_and_the_old_wish_is_passed_over(
    mine: ServerFolder,
) -> None:
    async with serve_http(mine) as served, served.http() as http:
        for method in ("tasks/list", "tasks/result"):
            answer = (await http.post("/mcp", **rpc(method, {"taskId": "j-none", **DECLARED}))).json()
            assert answer["error"]["code"] == types.METHOD_NOT_FOUND
        chat: dict[str, Any] = {"name": "chat", "arguments": {"prompt": "now"}, "task": {"ttl": 60000}, **DECLARED}
        answer = await http.post("/mcp", **rpc("tools/call", chat))
        assert '"resultType":"complete"' in answer.text
        assert "Heard: now" in answer.text
        named: dict[str, Any] = {"taskId": "j-none", **DECLARED}
        for headers in ({}, {"Mcp-Name": "j-other"}):
            refused = await http.post("/mcp", **rpc("tasks/get", named, headers))
            assert (refused.status_code, refused.json()["error"]["code"]) == (400, types.HEADER_MISMATCH)
        unknown = await http.post("/mcp", **rpc("tasks/get", named, {"Mcp-Name": "j-none"}))
        assert (unknown.status_code, unknown.json()["error"]["code"]) == (400, types.INVALID_PARAMS)


# --- revision 2025-11-25


@Doors
async def test_a_call_with_a_task_answers_at_once_and_its_result_is_waited_for(
    mine: ServerFolder, upstream: Upstream, way: str
) -> None:
    async with core_client(mine, way) as client:
        assert client.session.initialize_result is not None
        announced = client.session.initialize_result.capabilities.tasks
        assert announced is not None
        assert announced.requests is not None
        assert announced.requests.tools is not None
        assert None not in (announced.list, announced.cancel, announced.requests.tools.call)
        listed = {tool.name: tool.execution for tool in (await client.list_tools()).tools}
        assert listed["chat"] == types.ToolExecution(task_support="optional")
        assert listed["listmodels"] is None
        before = len(upstream.asked("slow"))
        created = await create(client, task={"ttl": 3_600_000}, prompt="?", model="slow")
        task = types.Task.model_validate(created["task"])
        assert (task.status, task.ttl, bool(task.poll_interval)) == ("working", 3_600_000, True)
        assert task.task_id in created["_meta"]["io.modelcontextprotocol/model-immediate-response"]
        assert len(upstream.asked("slow")) <= before + 1, "the model has not answered yet"
        assert (await get(client.session, task.task_id))["status"] == "working"
        result = await result_of(client, task.task_id)
        assert data_of(result)["text"] == "at last"
        assert (result.meta or {})[RELATED] == {"taskId": task.task_id}
        found = await get(client.session, task.task_id)
        assert (found["status"], found["ttl"]) == ("completed", 3_600_000)


async def test_a_client_on_a_pipe_hears_of_each_new_state(mine: ServerFolder) -> None:
    heard, done = list[dict[str, Any]](), anyio.Event()
    async with RawServer(mine) as server:
        await server.initialize(CORE)
        params = {"name": "chat", "arguments": {"prompt": "tell me"}, "task": {}}
        await server.send({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})
        task = (await server.answer_to(1))["result"]["task"]["taskId"]
        with anyio.fail_after(60):
            while not done.is_set():
                message = await server.receive()
                if message.get("method") == "notifications/tasks/status":
                    heard.append(message["params"])
                    done.set()
    assert types.TaskStatusNotificationParams.model_validate(heard[0]).status == "completed"
    assert heard[0]["taskId"] == task


def an_hour_later(folder: ServerFolder) -> None:
    """Let all jobs of a folder have been handed in and done an hour earlier."""
    with closing(sqlite3.connect(folder.path / "state" / "jobs.db", timeout=30)) as database, database:
        database.execute(
            "UPDATE workflow_status SET created_at = created_at - 3600000, updated_at = updated_at - 3600000,"
            " completed_at = completed_at - 3600000"
        )


def stored_jobs(folder: ServerFolder) -> list[str]:
    """The ids of all jobs in a folder's database."""
    with closing(sqlite3.connect(folder.path / "state" / "jobs.db", timeout=30)) as database:
        return [row[0] for row in database.execute("SELECT workflow_uuid FROM workflow_status")]


async def test_a_task_is_kept_as_long_as_it_is_wanted(mine: ServerFolder) -> None:
    async with core_client(mine) as client:
        made = {ttl: (await create(client, task={"ttl": ttl}, prompt="?"))["task"] for ttl in (1, 7_200_000)}
        assert [task["ttl"] for task in made.values()] == [60_000, 7_200_000], "a minute at least"
        brief, longer = (task["taskId"] for task in made.values())
        forever = (await create(client, prompt="?"))["task"]["taskId"]
        for task in (brief, longer, forever):
            assert data_of(await result_of(client, task))["text"] == "Heard: ?"
        an_hour_later(mine)
        with pytest.raises(MCPError, match="There is no task"):
            await get(client.session, brief)
        listed = await client.session.send_request(types.ListTasksRequest(), types.ListTasksResult)
        assert {task.task_id for task in listed.tasks} == {longer, forever}
    async with core_client(mine) as client:
        await create(client, prompt="a new one, so that there is a worker")

        async def is_gone() -> bool:
            return brief not in stored_jobs(mine)

        await until(is_gone, seconds=90)
        assert {longer, forever} <= set(stored_jobs(mine))


async def test_the_result_of_a_failed_tool_is_its_error(mine: ServerFolder) -> None:
    async with core_client(mine) as client:
        task = (await create(client, prompt="?", model="broken"))["task"]["taskId"]
        result = await result_of(client, task)
        assert result.is_error is True
        assert (result.structured_content or {})["error"]["kind"] == "VendorRejected"
        assert (await get(client.session, task))["status"] == "failed"


@Doors
async def test_cancelling_is_for_what_goes_on(mine: ServerFolder, upstream: Upstream, way: str) -> None:
    async with core_client(mine, way) as client:
        before = len(upstream.asked("hung"))
        task = (await create(client, prompt="never", model="hung"))["task"]["taskId"]
        assert await anyio.to_thread.run_sync(upstream.wait_for_request, "hung", before + 1)
        assert (await cancel(client.session, task))["status"] == "cancelled"
        assert await anyio.to_thread.run_sync(upstream.wait_for_disconnect, "hung")
        with pytest.raises(MCPError, match="has ended") as caught:
            await cancel(client.session, task)
        assert caught.value.error.code == types.INVALID_PARAMS
        with pytest.raises(MCPError, match="was cancelled"):
            await result_of(client, task)


async def test_tasks_are_listed_by_pages_the_newest_first(mine: ServerFolder) -> None:
    async with core_client(mine) as client:
        made = [(await create(client, prompt=f"n{number}"))["task"]["taskId"] for number in range(53)]
        first = await client.session.send_request(types.ListTasksRequest(), types.ListTasksResult)
        params = types.PaginatedRequestParams(cursor=first.next_cursor)
        second = await client.session.send_request(types.ListTasksRequest(params=params), types.ListTasksResult)
        assert second.next_cursor is None
        assert [task.task_id for task in (*first.tasks, *second.tasks)] == made[::-1]
        params = types.PaginatedRequestParams(cursor="next, please")
        with pytest.raises(MCPError, match="The cursor 'next, please' is none of ours"):
            await client.session.send_request(types.ListTasksRequest(params=params), types.ListTasksResult)


async def test_what_cannot_be_a_task_is_refused(mine: ServerFolder) -> None:
    async with core_client(mine) as client:
        for task, code in (({"ttl": -5}, types.INVALID_PARAMS), ({"ttl": "long"}, types.INVALID_PARAMS)):
            with pytest.raises(MCPError) as caught:
                await create(client, task=task, prompt="?")
            assert caught.value.error.code == code
        with pytest.raises(MCPError, match="Did you mean 'prompt'"):
            await create(client, promt="?")
        with pytest.raises(MCPError, match="'listmodels' is not called as a task") as caught:
            await create(client, "listmodels")
        assert caught.value.error.code == types.METHOD_NOT_FOUND
        with pytest.raises(MCPError, match="Unknown tool 'no_such_tool'") as caught:
            await create(client, "no_such_tool")
        assert caught.value.error.code == types.INVALID_PARAMS
        for ask in (get(client.session, "j-none"), cancel(client.session, "j-none"), result_of(client, "j-none")):
            with pytest.raises(MCPError, match="There is no task 'j-none'") as caught:
                await ask
            assert caught.value.error.code == types.INVALID_PARAMS
        with pytest.raises(MCPError) as caught:
            await asked(client.session, UpdateTask(params={"taskId": "j-none", "inputResponses": {}}))
        assert caught.value.error.code == types.METHOD_NOT_FOUND


async def test_older_revisions_know_nothing_of_tasks(mine: ServerFolder) -> None:
    async with core_client(mine):
        await mine.snapshot_written()
    async with RawServer(mine) as server:  # answered from the snapshot
        assert "tasks" in (await server.initialize(CORE))["result"]["capabilities"]
    async with RawServer(mine) as server:
        hello = await server.initialize("2025-06-18")
        assert "tasks" not in hello["result"]["capabilities"]
        refused = await server.request(1, "tasks/list")
        assert refused["error"]["code"] == types.METHOD_NOT_FOUND
        params = {"name": "chat", "arguments": {"prompt": "now"}, "task": {}}
        answer = await server.request(2, "tools/call", params)
        assert answer["result"]["structuredContent"]["text"] == "Heard: now"


# --- both


async def test_a_task_outlives_kill_9_of_its_server_and_is_fetched_in_the_other_revision(
    mine: ServerFolder, upstream: Upstream
) -> None:
    before = len(upstream.asked("slow"))
    async with RawServer(mine) as first:
        await first.initialize(CORE)
        params = {"name": "chat", "arguments": {"prompt": "survive", "model": "slow"}, "task": {}}
        task = (await first.request(1, "tools/call", params))["result"]["task"]["taskId"]
        assert await anyio.to_thread.run_sync(upstream.wait_for_request, "slow", before + 1)
        first.process.send_signal(signal.SIGKILL)
        await first.process.wait()
    async with modern_client(mine) as client:
        found = await ended(client.session, task)
        assert found["result"]["structuredContent"]["text"] == "at last"


async def test_a_task_whose_server_was_killed_while_it_asked_asks_again_under_other_names(mine: ServerFolder) -> None:
    capabilities: dict[str, Any] = {"extensions": {EXTENSION: {}}, "elicitation": {}}
    declared: dict[str, Any] = {"_meta": {"io.modelcontextprotocol/clientCapabilities": capabilities}}

    async def stands(server: RawServer, task: str, status: str, passed_over: Any = None) -> dict[str, Any]:
        with anyio.fail_after(90):
            for number in count(2):
                answer = await server.request(number, "tasks/get", modern({"taskId": task, **declared}))
                found: dict[str, Any] = answer["result"]
                if found["status"] == status and found.get("inputRequests", {}).keys() != passed_over:
                    return found
                await anyio.sleep(0.2)
        raise AssertionError

    async with RawServer(mine) as first:
        call_it = {"name": "ask_two", "arguments": {"background": True}, **declared}
        task = (await first.request(1, "tools/call", modern(call_it)))["result"]["taskId"]
        before = (await stands(first, task, "input_required"))["inputRequests"].keys()
        first.process.send_signal(signal.SIGKILL)
        await first.process.wait()
    async with RawServer(mine) as second:
        after = (await stands(second, task, "input_required", before))["inputRequests"].keys()
        assert not before & after
        answers = {key: accepted("Ada" if key.endswith("first") else "Lovelace") for key in before | after}
        params = {"taskId": task, "inputResponses": answers, **declared}
        assert (await second.request("u", "tasks/update", modern(params)))["result"]["resultType"] == "complete"
        assert (await stands(second, task, "completed"))["result"]["content"][0]["text"] == "Ada Lovelace"


async def test_a_task_is_fetched_from_another_replica(mine: ServerFolder, postgres: PostgresServer) -> None:
    settings = {**mine.settings, "database_url": postgres.database()}
    folders = [ServerFolder(path=mine.path / name, models=mine.models, settings=settings) for name in ("one", "two")]
    async with modern_client(folders[0], "http") as one, core_client(folders[1], "http") as two:
        handle = await call(one, prompt="far away", background=True)
        assert data_of(await result_of(two, handle.task_id))["text"] == "Heard: far away"
        task = (await create(two, prompt="hung", model="hung"))["task"]["taskId"]
        assert (await cancel(one.session, task))["resultType"] == "complete"
        assert (await ended(one.session, task))["status"] == "cancelled"
        brief = (await create(two, task={"ttl": 3_600_000}, prompt="for an hour"))["task"]["taskId"]
        assert (await ended(one.session, brief))["ttlMs"] == 3_600_000


async def test_a_task_is_answered_through_two_replicas(mine: ServerFolder, postgres: PostgresServer) -> None:
    settings = {**mine.settings, "database_url": postgres.database()}
    folders = [ServerFolder(path=mine.path / name, models=mine.models, settings=settings) for name in ("one", "two")]
    options: dict[str, Any] = {"elicitation_callback": cannot_now}
    async with modern_client(folders[0], "http", **options) as one, modern_client(folders[1], **options) as two:
        handle = await call(one, "ask_two", background=True)

        async def is_asking() -> bool:
            return (await get(two.session, handle.task_id))["status"] == "input_required"

        await until(is_asking)
        first, last = sorted((await get(two.session, handle.task_id))["inputRequests"])

        async def update(client: Client, key: str, name: str) -> None:
            params = {"taskId": handle.task_id, "inputResponses": {key: accepted(name)}}
            await asked(client.session, UpdateTask(params=params))

        async with anyio.create_task_group() as group:
            group.start_soon(update, one, last, "Lovelace")
            group.start_soon(update, two, first, "Ada")
        found = await ended(two.session, handle.task_id)
        assert found["result"]["content"][0]["text"] == "Ada Lovelace"


async def test_a_foreign_task_answers_as_one_that_never_was(mine: ServerFolder) -> None:
    settings = {**mine.settings, "auth": {"tokens": True}}
    folder = ServerFolder(path=mine.path, models=mine.models, settings=settings)
    keys = {name: folder.run("token", "create", name).stdout.strip() for name in ("ada", "eve")}

    def bearer(name: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {keys[name]}"}

    options: dict[str, Any] = {"mode": "2026-07-28", "extensions": [TasksExtension()]}
    async with (
        serve_http(folder) as served,
        served.connect(headers=bearer("ada"), **options) as ada,
        served.connect(headers=bearer("eve"), **options) as eve,
        served.connect(headers=bearer("eve"), mode="legacy") as old_eve,
    ):
        task = (await call(ada, prompt="mine", background=True)).task_id
        assert (await ended(ada.session, task))["status"] == "completed"

        async def refusal(ask: Any) -> tuple[int, str]:
            with pytest.raises(MCPError) as caught:
                await ask
            return caught.value.error.code, caught.value.error.message.replace(task, "ID").replace("j-none", "ID")

        for session in (eve.session, old_eve.session):
            assert await refusal(get(session, task)) == await refusal(get(session, "j-none"))
            assert await refusal(cancel(session, task)) == await refusal(cancel(session, "j-none"))
        assert await refusal(result_of(old_eve, task)) == await refusal(result_of(old_eve, "j-none"))
        update = [UpdateTask(params={"taskId": one, "inputResponses": {}}) for one in (task, "j-none")]
        assert await refusal(asked(eve.session, update[0])) == await refusal(asked(eve.session, update[1]))
        listed = await old_eve.session.send_request(types.ListTasksRequest(), types.ListTasksResult)
        assert listed.tasks == []


async def test_without_the_library_no_tasks_are_announced(tmp_path: Path, upstream: Upstream) -> None:
    # A module that every process imports first: `dbos` cannot be found, as if the extra were not installed.
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "sitecustomize.py").write_text(HIDE_DBOS, encoding="utf-8")
    folder = ServerFolder(
        path=tmp_path,
        models={"fine": openai_model(upstream.url)},
        settings=SETTINGS,
        environment={"PYTHONPATH": str(hidden)},
    )
    await no_tasks_are_announced(folder)


async def test_without_the_step_that_makes_them_no_tasks_are_announced(mine: ServerFolder) -> None:
    await no_tasks_are_announced(replace(mine, settings={**mine.settings, "middleware": {"tools": ["log"]}}))


async def no_tasks_are_announced(folder: ServerFolder) -> None:
    async with RawServer(folder) as server:
        hello = await server.initialize(CORE)
        assert "tasks" not in hello["result"]["capabilities"]
        assert (await server.request(1, "tasks/list"))["error"]["code"] == types.METHOD_NOT_FOUND
        listed = await server.request(2, "tools/list")
        assert all("execution" not in tool for tool in listed["result"]["tools"])
        found = await server.request(3, "server/discover", modern())
        assert EXTENSION not in found["result"]["capabilities"].get("extensions", {})
