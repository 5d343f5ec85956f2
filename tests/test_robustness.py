"""What must never happen, tried: crashes that leak, keys in logs, prints in the protocol, a server that dies."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from tests.conftest import KEY
from tests.support.results import data_of, error_of, text_of
from tests.support.server import RawServer, ServerFolder, connect, modern, request, until
from tests.upstream import Behaviour, Upstream

from zen_mcp.tools.foreign.discovery import discover

pytestmark = pytest.mark.anyio

MODELS: dict[str, tuple[Behaviour, dict[str, Any]]] = {
    "fine": (Behaviour(text="fine"), {}),
    "slow": (Behaviour(text="slow", delay_seconds=0.3), {}),
    "locked": (Behaviour(status=401, text="Incorrect API key provided: {key}"), {}),
    "hanging": (Behaviour(how="hang"), {}),
}
SETTINGS = {"default_model": "fine"}

PLUGIN = '''
"""A tool of somebody else."""

from pydantic import Field

from zen_mcp.tools import ToolContext, ToolParams, tool
from zen_mcp.types import ToolResponse

print("loaded")


class ShoutParams(ToolParams):
    """Shout it."""

    text: str = Field(description="What")


@tool()
async def shout(params: ShoutParams, context: ToolContext) -> ToolResponse:
    """Shout."""
    print("shouting", params.text)
    if params.text == "crash":
        raise RuntimeError("a secret in a crash")
    return ToolResponse(text=params.text.upper(), structured={"text": params.text.upper()})
'''


@pytest.fixture
def plugged(folder: ServerFolder) -> ServerFolder:
    """A server with a folder of plugins: one works, one does not load, one takes a name of ours."""
    plugins = folder.path / "plugins"
    sources = {"shout": PLUGIN, "broken": "import nothing_of_this_name", "chat": PLUGIN.replace("shout", "chat")}
    for name, source in sources.items():
        (plugins / name).mkdir(parents=True, exist_ok=True)
        (plugins / name / "tool.py").write_text(source, encoding="utf-8")
    return ServerFolder(path=folder.path, models=folder.models, settings={"plugin_folders": [str(plugins)], **SETTINGS})


@pytest.mark.slow
async def test_a_plugin_folder_brings_tools_and_a_broken_one_hurts_nobody(plugged: ServerFolder) -> None:
    async with connect(plugged) as client:
        names = [tool.name for tool in (await client.list_tools()).tools]
        loud = await client.call_tool("shout", {"text": "hello"})
        ours = data_of(await client.call_tool("chat", {"prompt": "x"}))
    assert names == sorted([*(tool.name for tool in discover()), "shout"])
    assert text_of(loud) == "HELLO"
    assert ours["text"] == "fine", "a name of ours cannot be taken"


async def test_a_crash_is_an_id_to_the_caller_and_a_traceback_in_the_log(plugged: ServerFolder) -> None:
    async with connect(plugged) as client:
        result = await client.call_tool("shout", {"text": "crash"})
        assert data_of(await client.call_tool("version", {}))["zen"]
    assert result.is_error
    assert result.structured_content is not None
    error = result.structured_content["error"]
    log = (plugged.path / "stderr.log").read_text(encoding="utf-8")
    assert error["kind"] == "InternalError"
    assert "a secret in a crash" not in text_of(result)
    assert error["call_id"] in text_of(result)
    assert error["call_id"] in log
    assert "a secret in a crash" in log


@pytest.mark.slow
async def test_no_key_stands_in_any_log_line_even_at_debug(folder: ServerFolder) -> None:
    noisy = ServerFolder(path=folder.path, models=folder.models, environment={"ZEN_LOG_LEVEL": "DEBUG"})
    async with connect(noisy) as client:
        data_of(await client.call_tool("chat", {"prompt": "x", "model": "fine"}))
        error_of(await client.call_tool("chat", {"prompt": "x", "model": "locked"}))
    log = (noisy.path / "stderr.log").read_text(encoding="utf-8")
    assert "model_answered" in log
    assert "model_failed" in log
    assert KEY not in log
    for line in log.splitlines():
        if line.startswith("{"):
            assert {"event", "level", "timestamp"} <= set(json.loads(line))


@pytest.mark.parametrize(
    "line",
    [
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"chat","arguments":{"prompt":"\\ud800"}}}',
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"chat","arguments":'
        + b'{"a":' * 2_000
        + b"1"
        + b"}" * 2_000
        + b"}}",
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":7}}',
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"chat","arguments":[]}}',
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call"}',
        b'{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":7}}',
    ],
    ids=["surrogate", "nested", "name", "arguments", "params", "initialize"],
)
async def test_an_odd_message_is_answered_with_an_error_and_the_server_lives_on(
    folder: ServerFolder, line: bytes
) -> None:
    async with RawServer(folder) as server:
        await server.initialize()
        await server.send(line)
        answer = await server.receive()
        pong = await server.request(2, "ping")
    assert answer.get("error", {}).get("code") in {-32700, -32600, -32602} or answer["result"]["isError"] is True
    assert "Traceback" not in str(answer)
    assert pong["result"] == {}


@pytest.mark.slow
async def test_a_call_that_comes_before_the_imports_is_told_so_and_answered(
    models: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    folder = ServerFolder(path=tmp_path, models=models, settings=SETTINGS)
    async with RawServer(folder) as server:
        await server.initialize()
        await folder.snapshot_written()
    async with RawServer(folder) as server:
        await server.initialize()
        call = {"name": "chat", "arguments": {"prompt": "x"}, "_meta": {"progressToken": "p"}}
        await server.send(request(1, "tools/call", call))
        first = await server.receive()
        answer = await server.answer_to(1)
    assert first["method"] == "notifications/progress"
    assert first["params"] == {"progressToken": "p", "progress": 0, "message": "starting"}
    assert answer["result"]["structuredContent"]["text"] == "fine"


@pytest.mark.slow
@pytest.mark.parametrize("era", ["legacy", "modern"])
async def test_a_cancelled_call_is_cancelled_at_the_vendor_in_either_era(
    folder: ServerFolder, upstream: Upstream, era: str
) -> None:
    number = len(upstream.asked("hanging")) + 1
    upstream.disconnects.clear()
    call = {"name": "chat", "arguments": {"prompt": "x", "model": "hanging"}}
    async with RawServer(folder) as server:
        await server.initialize()
        await server.send(request(1, "tools/call", modern(call) if era == "modern" else call))
        assert await anyio.to_thread.run_sync(upstream.wait_for_request, "hanging", number)
        await server.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}})
        assert await anyio.to_thread.run_sync(upstream.wait_for_disconnect, "hanging")
        pong = await server.request(2, "ping")
    assert pong["result"] == {}


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="what a process has loaded is read from /proc")
async def test_litellm_is_imported_behind_the_first_answers_or_where_the_settings_say_so_at_the_first_question(
    folder: ServerFolder,
) -> None:
    async with RawServer(replace(folder, settings={**SETTINGS, "warm_up": True})) as server:
        await server.initialize()
        await until(partial(has_litellm, server))
    async with RawServer(folder) as server:
        await server.initialize()
        listed = await server.request("one", "tools/call", {"name": "listmodels"})
        assert not listed["result"].get("isError")
        assert not await has_litellm(server)
        answer = await server.request("two", "tools/call", {"name": "chat", "arguments": {"prompt": "x"}})
        assert "fine" in answer["result"]["content"][0]["text"]
        assert await has_litellm(server)


async def has_litellm(server: RawServer) -> bool:
    """Whether the process has loaded a library that LiteLLM alone wants."""
    return "fastuuid" in await anyio.Path(f"/proc/{server.process.pid}/maps").read_text()


async def test_a_burst_of_twenty_chats_is_parallel_and_a_ping_is_answered_before_them(folder: ServerFolder) -> None:
    async with RawServer(folder) as server:
        await server.initialize()
        await server.request("warm", "tools/call", {"name": "chat", "arguments": {"prompt": "x"}})
        started = time.monotonic()
        for number in range(20):
            call = {"name": "chat", "arguments": {"prompt": "x", "model": "slow"}}
            await server.send(request(number, "tools/call", call))
        await server.send(request("ping", "ping"))
        answers = [await server.receive() for _ in range(21)]
        seconds = time.monotonic() - started
    assert answers[0]["id"] == "ping"
    assert {answer["id"] for answer in answers[1:]} == set(range(20))
    assert seconds < 20 * 0.3, "less than one after the other"


async def test_a_reader_that_does_not_read_does_not_stop_the_server(folder: ServerFolder) -> None:
    async with RawServer(folder) as server:
        await server.initialize()
        # More answers than a pipe holds, before the first is read.
        for number in range(400):
            await server.send(request(number, "tools/list"))
        answers = [await server.receive() for _ in range(400)]
    assert [answer["id"] for answer in answers] == list(range(400))
