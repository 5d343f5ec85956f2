"""The HTTP door: what it lets through, what it puts up with, and how it stops."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from tests.support.results import data_of, error_of, text_of
from tests.support.server import Served, ServerFolder, connect, rpc, serve_http, until
from tests.upstream import Behaviour, Upstream

from zen_mcp.config.http_schema import HttpSettings
from zen_mcp.server.http_address import Address

pytestmark = pytest.mark.anyio

MODELS: dict[str, tuple[Behaviour, dict[str, Any]]] = {
    "fine": (Behaviour(text="An answer."), {}),
    "slow": (Behaviour(text="slow but whole", delay_seconds=4), {}),
    "hanging": (Behaviour(how="hang"), {}),
    "long": (Behaviour(text="word " * 40_000), {}),
}
HTTP: dict[str, Any] = {"header_seconds": 2, "body_seconds": 2, "max_connections": 50, "drain_seconds": 20}
SETTINGS: dict[str, Any] = {
    "default_model": "fine",
    "provider": "direct",
    "http": HTTP,
    "max_result_characters": 150_000,
}
CHAT = {"name": "chat", "arguments": {"prompt": "x", "model": "fine"}}


@pytest.fixture(scope="module")
async def served(folder: ServerFolder) -> AsyncGenerator[Served]:
    """One server for the tests of this file that do not end it."""
    async with serve_http(folder) as running:
        yield running


def fresh(folder: ServerFolder, path: Path, **http: Any) -> ServerFolder:
    """A folder of the same models with other settings for HTTP."""
    return ServerFolder(path=path, models=folder.models, settings={**SETTINGS, "http": {**HTTP, **http}})


def raw(served: Served) -> socket.socket:
    """A bare connection."""
    host, _, port = served.base.removeprefix("http://").partition(":")
    return socket.create_connection((host, int(port)), timeout=30)


def read_all(connection: socket.socket) -> bytes:
    """What the server says until it closes; nothing when it cuts the connection."""
    said = b""
    try:
        while piece := connection.recv(65536):
            said += piece
    except ConnectionResetError:
        pass
    return said


@pytest.mark.parametrize("mode", ["legacy", "auto", "2026-07-28"])
async def test_every_era_is_answered_without_a_session(served: Served, mode: str) -> None:
    async with served.connect(mode=mode) as client:
        assert {tool.name for tool in (await client.list_tools()).tools} >= {"chat", "consensus"}
        first = data_of(await client.call_tool("chat", {"prompt": "x"}))
        more = await client.call_tool("chat", {"prompt": "y", "continuation_id": first["continuation_id"]})
        assert data_of(more)["text"] == "An answer."


async def test_older_clients_are_known_by_their_user_agent(served: Served) -> None:
    async with served.connect(mode="legacy", name="codex-mcp-client") as client:
        result = await client.call_tool("chat", {"prompt": "x", "model": "long"})
    assert len(text_of(result)) <= 12_000


async def test_health_and_readiness_tell_each_part(served: Served) -> None:
    async with served.http(headers={"Host": "10.1.2.3"}) as http:
        assert (await http.get("/healthz")).text == "ok"

        async def is_ready() -> bool:
            return (await http.get("/readyz")).status_code == 200

        await until(is_ready)
        answer = (await http.get("/readyz")).json()
    parts = ("warm_up", "database", "provider", "ledger", "jobs", "disk")
    assert answer == {"ready": True, "checks": dict.fromkeys(parts, "ok")}


async def test_a_server_without_a_database_is_alive_and_not_ready(folder: ServerFolder, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file where the folder should be")
    state = {"ZEN_STATE_DIR": str(tmp_path / "file" / "state")}
    broken = ServerFolder(path=tmp_path, models=folder.models, environment=state)
    async with serve_http(broken) as running, running.http() as http:
        answer = await http.get("/readyz")
        assert answer.status_code == 503
        assert answer.json()["checks"]["database"] == "failing"
        assert (await http.get("/healthz")).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example.com"}, 421),
        ({"Host": "evil.example.com:80"}, 421),
        ({"Host": "127.0.0.1.evil.com"}, 421),
        ({"Host": "localhost:1"}, 200),
        ({"Host": "[::1]:99"}, 200),
        ({"Origin": "https://evil.example.com"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://localhost.evil.com"}, 403),
        ({"Origin": "http://localhost:6274"}, 200),
    ],
)
async def test_a_web_page_cannot_reach_a_server_on_this_machine(
    served: Served, headers: dict[str, str], status: int
) -> None:
    async with served.http() as http:
        answer = await http.post("/mcp", **rpc("tools/list", headers=headers))
    assert answer.status_code == status


async def test_only_posts_are_taken(served: Served) -> None:
    async with served.http() as http:
        for method in ("GET", "DELETE", "PUT"):
            answer = await http.request(method, "/mcp")
            assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
        assert (await http.get("/elsewhere")).status_code == 404


@pytest.mark.parametrize("declared", [True, False])
async def test_a_request_of_five_megabytes_is_refused(served: Served, *, declared: bool) -> None:
    piece = b"x" * 65536
    head = f"Content-Length: {5 << 20}" if declared else "Transfer-Encoding: chunked"
    with raw(served) as connection:
        connection.sendall(f"POST /mcp HTTP/1.1\r\nHost: localhost\r\n{head}\r\n\r\n".encode())

        def send() -> bytes:
            try:
                for _ in range(80):
                    connection.sendall(piece if declared else b"10000\r\n" + piece + b"\r\n")
            except OSError:
                pass  # it has heard enough
            return read_all(connection)

        said = await anyio.to_thread.run_sync(send)
    assert not said or b" 413 " in said.partition(b"\r\n")[0]
    async with served.http() as http:
        answer = await http.post("/mcp", content=b"x" * 5_000_000, headers={"Content-Type": "application/json"})
        assert answer.status_code == 413
        assert answer.json()["error"]["problem"] == "A request may have 4,194,304 bytes."


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (b"", b""),
        (b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nX-Slow: ", b""),
        (b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{", b"HTTP/1.1 408 "),
        (b"nonsense\r\n\r\n", b"HTTP/1.1 400 "),
        (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 200_000 + b"\r\n\r\n", b"HTTP/1.1 400 "),
    ],
)
async def test_a_client_that_is_slow_or_talks_nonsense_is_let_go(served: Served, said: bytes, answer: bytes) -> None:
    with raw(served) as connection:
        connection.sendall(said)
        assert (await anyio.to_thread.run_sync(read_all, connection)).startswith(answer)


async def test_many_silent_connections_keep_nobody_out(served: Served) -> None:
    silent = [raw(served) for _ in range(500)]
    try:
        async with served.http() as http:
            assert (await http.post("/mcp", **rpc("tools/call", CHAT))).status_code == 200
        assert await anyio.to_thread.run_sync(read_all, silent[0]) == b"", "the oldest had to go"
    finally:
        for connection in silent:
            connection.close()


async def test_a_slow_reader_is_let_go(folder: ServerFolder, tmp_path: Path) -> None:
    async with serve_http(fresh(folder, tmp_path, write_seconds=1)) as running:
        with raw(running) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            call = rpc("tools/call", {"name": "chat", "arguments": {"prompt": "x", "model": "long"}})
            connection.sendall(http_text(call) * 40)  # in a row, without reading any answer

            async def is_logged() -> bool:
                return "slow_reader_cut_off" in running.log.read_text()

            await until(is_logged)


def http_text(call: dict[str, Any]) -> bytes:
    """The arguments of a POST as they go over the wire."""
    body = json.dumps(call["json"]).encode()
    head = {**call["headers"], "Host": "localhost", "Content-Type": "application/json", "Content-Length": len(body)}
    lines = [f"{name}: {value}" for name, value in head.items()]
    return "\r\n".join(["POST /mcp HTTP/1.1", *lines, "", ""]).encode() + body


async def test_an_answer_that_is_too_long_becomes_an_error(folder: ServerFolder, tmp_path: Path) -> None:
    async with serve_http(fresh(folder, tmp_path, max_response_bytes=20_000)) as running:
        arguments = {"prompt": "x", "model": "long"}
        async with running.http() as http:
            answer = (await http.post("/mcp", **rpc("tools/call", {"name": "chat", "arguments": arguments}))).json()
        assert answer["error"]["message"] == "The answer has more than 20,000 bytes. Ask for less."
        assert answer["id"] == 1
        async with running.connect(mode="legacy") as client:
            with pytest.raises(Exception, match="Ask for less"):
                await client.call_tool("chat", arguments)


@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
async def test_a_client_that_vanishes_takes_the_vendors_request_with_it(
    served: Served, upstream: Upstream, mode: str
) -> None:
    upstream.disconnects.clear()
    before = len(upstream.asked("hanging"))
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(served.connect(mode=mode))
        async with anyio.create_task_group() as group:
            group.start_soon(client.call_tool, "chat", {"prompt": "x", "model": "hanging"})
            assert await anyio.to_thread.run_sync(upstream.wait_for_request, "hanging", before + 1)
            group.cancel_scope.cancel()
    assert await anyio.to_thread.run_sync(upstream.wait_for_disconnect, "hanging")


@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
async def test_a_connection_cut_mid_stream_cancels_the_call(served: Served, upstream: Upstream, mode: str) -> None:
    upstream.disconnects.clear()
    before = len(upstream.asked("hanging"))
    sent = rpc("tools/call", {"name": "chat", "arguments": {"prompt": "x", "model": "hanging"}})
    if mode == "legacy":
        sent["headers"]["MCP-Protocol-Version"] = "2025-06-18"
    with raw(served) as connection:
        connection.sendall(http_text(sent))
        assert await anyio.to_thread.run_sync(upstream.wait_for_request, "hanging", before + 1)
    assert await anyio.to_thread.run_sync(upstream.wait_for_disconnect, "hanging")


@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
@pytest.mark.slow
async def test_a_long_call_is_kept_alive(served: Served, mode: str) -> None:
    sent = rpc("tools/call", {"name": "chat", "arguments": {"prompt": "x", "model": "hanging"}})
    if mode == "legacy":
        sent["headers"]["MCP-Protocol-Version"] = "2025-06-18"
    async with served.http() as http, http.stream("POST", "/mcp", **sent) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        with anyio.fail_after(60):
            async for line in answer.aiter_lines():
                if line.startswith(": ping"):
                    break


async def test_files_of_the_server_are_closed_unless_roots_are_named(
    folder: ServerFolder, served: Served, tmp_path: Path, work: Path
) -> None:
    (work / "notes.txt").write_text("here")
    question = {"prompt": "x", "model": "fine", "files": [str(work / "notes.txt")]}
    async with served.connect() as client:
        error = error_of(await client.call_tool("chat", question))
    assert error["kind"] == "FileRefused"
    assert error["problem"] == "The server's disk is closed."
    opened = ServerFolder(path=tmp_path, models=folder.models, settings={"roots": [str(work)]})
    async with connect(opened, door="http") as client:
        assert data_of(await client.call_tool("chat", question))["text"] == "An answer."


async def test_calls_under_way_end_after_a_signal_and_new_ones_are_sent_elsewhere(
    folder: ServerFolder, tmp_path: Path, upstream: Upstream
) -> None:
    before = len(upstream.asked("slow"))
    results: list[Any] = []
    async with serve_http(fresh(folder, tmp_path)) as running, running.connect() as client:
        await client.list_tools()  # else the client asks for them after the call

        async def ask() -> None:
            results.append(await client.call_tool("chat", {"prompt": "x", "model": "slow"}))

        async with running.http() as http, anyio.create_task_group() as group:
            group.start_soon(ask)
            assert await anyio.to_thread.run_sync(upstream.wait_for_request, "slow", before + 1)
            running.process.send_signal(signal.SIGTERM)

            async def is_refused() -> bool:
                return (await http.post("/mcp", **rpc("tools/list"))).status_code == 503

            await until(is_refused)
            answer = await http.post("/mcp", **rpc("tools/list"))
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
            assert (await http.get("/readyz")).json()["checks"]["server"] == "stopping"
        assert data_of(results[0])["text"] == "slow but whole"
        with anyio.fail_after(20):
            assert await running.process.wait() == 0


@pytest.mark.parametrize("second_signal", [True, False])
async def test_a_call_that_does_not_end_is_cut_off(
    folder: ServerFolder, tmp_path: Path, upstream: Upstream, *, second_signal: bool
) -> None:
    before = len(upstream.asked("hanging"))
    settings = fresh(folder, tmp_path, drain_seconds=600 if second_signal else 0.5)
    hanging = rpc("tools/call", {"name": "chat", "arguments": {"prompt": "x", "model": "hanging"}})

    async def ask(http: httpx2.AsyncClient) -> None:
        with suppress(httpx2.TransportError):
            assert (await http.post("/mcp", **hanging)).status_code == 500

    async with serve_http(settings) as running, running.http() as http, anyio.create_task_group() as group:
        group.start_soon(ask, http)
        assert await anyio.to_thread.run_sync(upstream.wait_for_request, "hanging", before + 1)
        running.process.send_signal(signal.SIGTERM)
        if second_signal:

            async def is_stopping() -> bool:
                return "server" in (await http.get("/readyz")).json()["checks"]

            await until(is_stopping)
            running.process.send_signal(signal.SIGTERM)
        with anyio.fail_after(30):
            assert await running.process.wait() == (130 if second_signal else 0)


async def test_settings_are_taken_in_and_subscribers_hear_of_it(folder: ServerFolder, tmp_path: Path) -> None:
    mine = fresh(folder, tmp_path)
    async with serve_http(mine) as running, running.http() as http:
        listen = rpc("subscriptions/listen", {"notifications": {"toolsListChanged": True}})
        async with http.stream("POST", "/mcp", **listen) as events:
            changed = {"version": "1.0", **mine.settings, "disabled_tools": ["version"]}
            lines = events.aiter_lines()
            with anyio.fail_after(30):
                async for line in lines:
                    if "acknowledged" in line:
                        break
                (tmp_path / "config" / "server.yaml").write_text(json.dumps(changed))
                async for line in lines:
                    if "notifications/tools/list_changed" in line:
                        break
        listed = (await http.post("/mcp", **rpc("tools/list"))).json()["result"]["tools"]
        assert "version" not in {tool["name"] for tool in listed}


@pytest.mark.parametrize(
    ("address", "settings", "said"),
    [
        ("0.0.0.0:0", {}, "'0.0.0.0' can be reached from elsewhere, and anybody who reaches it would be let in."),
        ("0.0.0.0:0", {"auth": {"tokens": True}}, "http.allowed_hosts in server.yaml is empty"),
        ("[::]:0", {}, "can be reached from elsewhere"),
        ("nowhere", {}, "'nowhere' is no address to listen at. Write 127.0.0.1:8765, or unix:/run/zen.sock."),
        ("127.0.0.1:99999", {}, "is no address to listen at"),
        ("192.0.2.1:0", {"auth": {"tokens": True}, "http": {"allowed_hosts": "a"}}, "cannot be listened at"),
        ("unix:/nowhere/at/all.sock", {}, "'unix:/nowhere/at/all.sock' cannot be listened at"),
    ],
)
def test_a_server_that_would_stand_open_does_not_start(
    tmp_path: Path, address: str, settings: dict[str, Any], said: str
) -> None:
    done = ServerFolder(path=tmp_path, settings=settings).run("serve", "--http", address)
    assert done.returncode == 2
    assert said in done.stderr


async def test_a_unix_socket_serves_and_one_left_behind_is_replaced(folder: ServerFolder, tmp_path: Path) -> None:
    path = tmp_path / "zen.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as left_behind:
        left_behind.bind(str(path))
    mine = fresh(folder, tmp_path / "server")
    async with serve_http(mine, address=f"unix:{path}"):
        assert path.stat().st_mode & 0o777 == 0o660
        async with httpx2.AsyncClient(
            transport=httpx2.AsyncHTTPTransport(uds=str(path)), base_url="http://anything", timeout=60
        ) as http:
            assert (await http.post("/mcp", **rpc("tools/call", CHAT))).status_code == 200
        taken = mine.run("serve", "--http", f"unix:{path}")
        assert taken.returncode == 2
        assert "Choose another address" in taken.stderr


def test_no_piece_of_an_answer_waits_for_the_one_before_to_be_acknowledged() -> None:
    with (
        Address.parse("127.0.0.1:0", HttpSettings()).open() as listener,
        socket.create_connection(listener.getsockname()),
        listener.accept()[0] as accepted,
    ):
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
