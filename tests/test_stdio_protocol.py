"""The stdio door: both eras, odd orders, faults; each with and without the prelude."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS
from tests.support.server import PRELUDES, RawServer, ServerFolder, connect, modern, request, start_arguments

from zen_mcp.tools.foreign.discovery import discover

pytestmark = pytest.mark.anyio

LISTS = ["tools/list", "prompts/list", "resources/list", "resources/templates/list"]
TOOLS = [tool.name for tool in discover()]


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> ServerFolder:
    """A folder whose server has run once, so that its snapshot is there."""
    folder = ServerFolder(path=tmp_path_factory.mktemp("recorded"))

    async def run_once() -> None:
        async with RawServer(folder) as server:
            await server.initialize()
            await server.request(1, "tools/call", {"name": "version", "arguments": {}})
            await folder.snapshot_written()

    anyio.run(run_once)
    return folder


@pytest.fixture(params=PRELUDES)
def arguments(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """The server's arguments, once with the prelude and once without."""
    return start_arguments(request.param)


@pytest.mark.parametrize("version", HANDSHAKE_PROTOCOL_VERSIONS)
async def test_every_handshake_revision_lists_the_tools(
    recorded: ServerFolder, arguments: tuple[str, ...], version: str
) -> None:
    async with RawServer(recorded, arguments=arguments) as server:
        hello = await server.initialize(version)
        listed = await server.request(1, "tools/list")
    assert hello["result"]["protocolVersion"] == version
    assert hello["result"]["serverInfo"]["name"] == "zen"
    assert [tool["name"] for tool in listed["result"]["tools"]] == TOOLS


async def test_an_unknown_revision_is_answered_with_the_newest_handshake(
    recorded: ServerFolder, arguments: tuple[str, ...]
) -> None:
    async with RawServer(recorded, arguments=arguments) as server:
        hello = await server.initialize("1999-01-01")
    assert hello["result"]["protocolVersion"] == HANDSHAKE_PROTOCOL_VERSIONS[-1]


async def test_the_newest_revision_discovers_and_lists(recorded: ServerFolder, arguments: tuple[str, ...]) -> None:
    async with RawServer(recorded, arguments=arguments) as server:
        found = await server.request(1, "server/discover", modern())
        listed = await server.request(2, "tools/list", modern())
        called = await server.request(3, "tools/call", modern({"name": "version", "arguments": {}}))
    assert found["result"]["supportedVersions"] == ["2026-07-28"]
    assert [tool["name"] for tool in listed["result"]["tools"]] == TOOLS
    assert called["result"]["resultType"] == "complete"


async def test_either_opening_in_either_order_on_one_connection(
    recorded: ServerFolder, arguments: tuple[str, ...]
) -> None:
    async with RawServer(recorded, arguments=arguments) as server:
        await server.request(1, "server/discover", modern())
        await server.initialize()
        legacy = await server.request(2, "tools/call", {"name": "version", "arguments": {}})
        newest = await server.request(3, "tools/call", modern({"name": "version", "arguments": {}}))
    async with RawServer(recorded, arguments=arguments) as server:
        await server.initialize()
        found = await server.request(1, "server/discover", modern())
    assert legacy["result"]["structuredContent"] == newest["result"]["structuredContent"]
    assert "supportedVersions" in found["result"]


@pytest.mark.parametrize("mode", ["auto", "legacy", "2026-07-28"])
async def test_the_official_client_connects_lists_and_calls(
    recorded: ServerFolder, arguments: tuple[str, ...], mode: str
) -> None:
    async with connect(recorded, mode=mode, arguments=arguments) as client:
        tools = await client.list_tools()
        result = await client.call_tool("version", {})
    assert [tool.name for tool in tools.tools] == TOOLS
    assert result.is_error is False
    assert result.structured_content is not None
    assert result.structured_content["zen"]


async def test_malformed_lines_are_answered_and_the_server_lives_on(
    recorded: ServerFolder, arguments: tuple[str, ...]
) -> None:
    async with RawServer(recorded, arguments=arguments) as server:
        await server.send(b'{"jsonrpc": "2.0", "id": 1, "method"')
        broken = await server.answer_to(None)
        await server.send(b"\xff\xfe{}")
        not_text = await server.answer_to(None)
        await server.send(b'{"id": 7, "hello": true}')
        not_rpc = await server.answer_to(7)
        await server.send(b"[]")
        batch = await server.answer_to(None)
        await server.initialize()
        pong = await server.request(8, "ping")
    assert [answer["error"]["code"] for answer in (broken, not_text, not_rpc, batch)] == [
        -32700,
        -32700,
        -32600,
        -32600,
    ]
    assert pong["result"] == {}


async def test_a_call_before_the_handshake_is_refused(recorded: ServerFolder, arguments: tuple[str, ...]) -> None:
    async with RawServer(recorded, arguments=arguments) as server:
        early = await server.request(1, "tools/call", {"name": "version", "arguments": {}})
        await server.initialize()
        later = await server.request(2, "tools/call", {"name": "version", "arguments": {}})
    assert early["error"]["code"] == -32602
    assert later["result"]["isError"] is False


async def test_an_unknown_method_and_an_unknown_tool_are_errors(
    recorded: ServerFolder, arguments: tuple[str, ...]
) -> None:
    async with RawServer(recorded, arguments=arguments) as server:
        await server.initialize()
        method = await server.request(1, "tools/burn")
        tool = await server.request(2, "tools/call", {"name": "chatt", "arguments": {}})
    assert method["error"]["code"] == -32601
    assert tool["error"].pop("data")["call_id"].startswith("c-")
    assert tool["error"] == {"code": -32602, "message": "Unknown tool 'chatt'. Did you mean 'chat'?"}


async def test_a_late_cancel_of_a_finished_call_is_ignored(recorded: ServerFolder, arguments: tuple[str, ...]) -> None:
    async with RawServer(recorded, arguments=arguments) as server:
        await server.initialize()
        await server.request(1, "tools/call", {"name": "version", "arguments": {}})
        await server.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}})
        pong = await server.request(2, "ping")
    assert pong["result"] == {}


async def test_a_subscription_is_acknowledged_before_the_tools_are_asked_for(
    recorded: ServerFolder, arguments: tuple[str, ...]
) -> None:
    async with RawServer(recorded, arguments=arguments) as server:
        await server.request(1, "server/discover", modern())
        await server.send(request(2, "subscriptions/listen", modern({"notifications": {"toolsListChanged": True}})))
        acknowledged = await server.receive()
        listed = await server.request(3, "tools/list", modern())
        called = await server.request(4, "tools/call", modern({"name": "version", "arguments": {}}))
        await server.send(request(5, "tools/call", modern({"name": "version", "arguments": {}})))
        after = await server.receive()
    assert acknowledged["method"] == "notifications/subscriptions/acknowledged"
    assert acknowledged["params"]["notifications"] == {"toolsListChanged": True}
    assert "tools" in listed["result"]
    assert "result" in called
    assert after["id"] == 5, "the acknowledgement is sent once"


async def test_the_server_leaves_when_its_input_ends(recorded: ServerFolder, arguments: tuple[str, ...]) -> None:
    async with RawServer(recorded, arguments=arguments) as server:
        await server.initialize()
        await server.request(1, "tools/call", {"name": "version", "arguments": {}})
        await server.close_input()
        with anyio.fail_after(5):
            code = await server.process.wait()
    assert code == 0


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM for a child")
async def test_the_server_leaves_on_sigterm(recorded: ServerFolder, arguments: tuple[str, ...]) -> None:
    async with RawServer(recorded, arguments=arguments) as server:
        await server.initialize()
        await server.request(1, "tools/call", {"name": "version", "arguments": {}})
        server.process.send_signal(signal.SIGTERM)
        with anyio.fail_after(5):
            code = await server.process.wait()
    assert code == 0


@pytest.mark.slow
async def test_the_snapshot_answers_exactly_as_the_server_does(recorded: ServerFolder) -> None:
    answers: dict[str, list[dict[str, Any]]] = {}
    for start in PRELUDES:
        answers[start] = []
        for version in (*HANDSHAKE_PROTOCOL_VERSIONS, "1999-01-01"):
            async with RawServer(recorded, arguments=start_arguments(start)) as server:
                answers[start] += [await server.initialize(version), await server.request(2, "ping")]
                answers[start] += [await server.request(method, method) for method in LISTS]
        async with RawServer(recorded, arguments=start_arguments(start)) as server:
            answers[start] += [await server.request(1, "server/discover", modern())]
            answers[start] += [await server.request(method, method, modern()) for method in LISTS]
    assert answers["prelude"] == answers["plain"]


@pytest.mark.slow
async def test_a_changed_tool_list_makes_a_new_snapshot_and_is_announced(tmp_path: Path) -> None:
    folder = ServerFolder(path=tmp_path, settings={"disabled_tools": ["threads"]})

    async def start_and_list() -> list[str]:
        async with RawServer(folder) as server:
            await server.initialize()
            listed = await server.request(1, "tools/list")
            await folder.snapshot_written()
        return [tool["name"] for tool in listed["result"]["tools"]]

    assert "threads" not in await start_and_list()
    folder = ServerFolder(path=tmp_path, settings={"disabled_tools": []})
    assert "threads" in await start_and_list(), "changed settings make the snapshot stale"


@pytest.mark.slow
async def test_a_snapshot_that_is_no_longer_true_is_corrected_and_announced(tmp_path: Path) -> None:
    folder = ServerFolder(path=tmp_path)
    async with RawServer(folder) as server:
        await server.initialize()
        await folder.snapshot_written()
    (snapshot,) = folder.path.glob("cache/snapshots/*.json")
    truth = snapshot.read_text(encoding="utf-8")
    snapshot.write_text(truth.replace("Ask another AI model", "Ask an older AI model"), encoding="utf-8")
    async with RawServer(folder) as server:
        await server.initialize()
        before = await server.request(1, "tools/list")
        told = [await server.receive(), await server.receive()]
        after = await server.request(2, "tools/list")
    assert "Ask an older AI model" in str(before), "the snapshot answers, and at once"
    assert told == [
        {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"},
        {"jsonrpc": "2.0", "method": "notifications/prompts/list_changed"},
    ]
    assert "Ask another AI model" in str(after)
    assert snapshot.read_text(encoding="utf-8") == truth


async def test_nothing_but_protocol_is_on_standard_output(recorded: ServerFolder, arguments: tuple[str, ...]) -> None:
    noisy = ServerFolder(path=recorded.path, environment={"ZEN_LOG_LEVEL": "DEBUG"})
    async with RawServer(noisy, arguments=arguments) as server:
        await server.initialize()
        await server.request(1, "tools/call", {"name": "chat", "arguments": {"prompt": "x", "model": "nobody"}})
        pong = await server.request(2, "ping")
    assert pong["result"] == {}
