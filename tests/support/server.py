"""A real `zen serve` process with settings of its own, and two ways to talk to it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, cast

import anyio
import httpx2
from anyio.abc import Process
from mcp import StdioServerParameters
from mcp.client import Client
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client

MODERN = "2026-07-28"
PRELUDES = ("prelude", "plain")
ANSWER_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerFolder:
    """Everything a server under test reads and writes, in one folder.

    `models` is what models.yaml holds under `models:`; `settings` is server.yaml, with all tools offered and LiteLLM
    imported when it is needed unless it says otherwise; `providers` is providers.yaml, `limits` is limits.yaml.
    """

    path: Path
    models: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    providers: Mapping[str, Any] = field(default_factory=dict[str, Any])
    limits: Mapping[str, Any] = field(default_factory=dict[str, Any])
    environment: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def work(self) -> Path:
        """The server's working directory, the root of the files it may read."""
        return self.path / "work"

    def write(self) -> None:
        """Write the settings files where they differ: a newer file makes the snapshot stale. JSON is YAML."""
        config = self.path / "config"
        for folder in (config, self.work):
            folder.mkdir(parents=True, exist_ok=True)
        contents = {
            "models": {"models": self.models},
            "server": {"tools": ["full"], "warm_up": False, **self.settings},
            "providers": self.providers,
            "limits": self.limits,
        }
        for name, content in contents.items():
            file = config / f"{name}.yaml"
            text = json.dumps({"version": "1.0", **content})
            if not file.exists() or file.read_text(encoding="utf-8") != text:
                file.write_text(text, encoding="utf-8")

    def environ(self) -> dict[str, str]:
        """The environment of the process: no keys of the machine, folders of its own."""
        kept = {
            name: os.environ[name]
            for name in ("PATH", "LANG", "SystemRoot", "COVERAGE_PROCESS_START")
            if name in os.environ
        }
        coverage = {name: value for name, value in os.environ.items() if name.startswith("COVERAGE")}
        return {
            **kept,
            **coverage,
            "HOME": str(self.path),
            "ZEN_CONFIG_DIR": str(self.path / "config"),
            "ZEN_STATE_DIR": str(self.path / "state"),
            "ZEN_CACHE_DIR": str(self.path / "cache"),
            **self.environment,
        }

    async def snapshot_written(self) -> None:
        """Wait until a server of this folder has stored its snapshot."""
        with anyio.fail_after(60):
            while not list(self.path.glob("cache/snapshots/*.json")):  # noqa: ASYNC110 - another process writes it
                await anyio.sleep(0.05)

    def command(self, *arguments: str) -> list[str]:
        """`zen` with arguments, by this interpreter."""
        return [sys.executable, "-m", "zen_mcp", *arguments]

    def run(self, *arguments: str, timeout_seconds: float = 60, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a `zen` command to its end."""
        self.write()
        return subprocess.run(
            self.command(*arguments),
            env=self.environ(),
            cwd=self.work,
            capture_output=True,
            text=True,
            timeout=timeout_seconds,
            check=False,
            **options,
        )


def openai_model(url: str, **more: Any) -> dict[str, Any]:
    """An entry of models.yaml for a model of the test upstream."""
    return {"provider": "custom", "base_url": url, "api_key": "sk-test-0123456789abcdef", **more}


@asynccontextmanager
async def connect(
    folder: ServerFolder,
    *,
    mode: str = "auto",
    arguments: Sequence[str] = (),
    name: str = "test",
    door: str = "stdio",
    hear: Callable[[Any], Awaitable[None]] | None = None,
    **options: Any,
) -> AsyncGenerator[Client]:
    """An MCP client's session with a server of this folder; `mode`: auto, legacy or a protocol revision.

    `hear` takes each notification of the server; `options` are the SDK's client's.
    """
    from mcp_types import Implementation  # noqa: PLC0415 - only here

    if door == "http":
        # Over HTTP no folder is open but those that the settings name.
        opened = replace(folder, settings={"roots": [str(folder.work)], **folder.settings})
        async with (
            serve_http(opened, arguments=arguments) as served,
            served.connect(mode=mode, name=name, **options) as client,
        ):
            yield client
        return
    folder.write()
    program, *rest = folder.command("serve", *arguments)
    parameters = StdioServerParameters(command=program, args=rest, env=folder.environ(), cwd=str(folder.work))
    with (folder.path / "stderr.log").open("a", encoding="utf-8") as log:
        async with Client(
            stdio_client(parameters, errlog=log),
            mode=mode,
            client_info=Implementation(name=name, version="1"),
            message_handler=cast("Any", hear),
            **options,
        ) as client:
            yield client


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A `zen serve --http` process. `url` ends in /mcp; `log` is what it writes to stderr."""

    url: str
    process: Process
    log: Path

    @property
    def base(self) -> str:
        """The address without the path."""
        return self.url.removesuffix("/mcp")

    @asynccontextmanager
    async def connect(
        self, *, mode: str = "auto", name: str = "test", headers: Mapping[str, str] | None = None, **options: Any
    ) -> AsyncGenerator[Client]:
        """An MCP client's session with it."""
        from mcp_types import Implementation  # noqa: PLC0415 - only here

        async with (
            httpx2.AsyncClient(headers={"User-Agent": f"{name}/1", **(headers or {})}, timeout=120) as http,
            Client(
                streamable_http_client(self.url, http_client=http),
                mode=mode,
                client_info=Implementation(name=name, version="1"),
                **options,
            ) as client,
        ):
            yield client

    @asynccontextmanager
    async def http(self, **options: Any) -> AsyncGenerator[httpx2.AsyncClient]:
        """A bare HTTP client with the server's address as its base."""
        async with httpx2.AsyncClient(base_url=self.base, timeout=60, **options) as client:
            yield client


def rpc(
    method: str, params: Mapping[str, Any] | None = None, headers: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """The arguments of an HTTP client's POST of one request of the newest revision."""
    named = (params or {}).get("name")
    return {
        "json": request(1, method, modern(params)),
        "headers": {
            "Accept": "application/json, text/event-stream",
            "MCP-Protocol-Version": MODERN,
            "Mcp-Method": method,
            **({"Mcp-Name": named} if named else {}),
            **(headers or {}),
        },
    }


@asynccontextmanager
async def serve_http(
    folder: ServerFolder, *, arguments: Sequence[str] = (), address: str = "127.0.0.1:0"
) -> AsyncGenerator[Served]:
    """A server of this folder over HTTP, ready to answer; killed at the end where it still runs."""
    folder.write()
    command = folder.command("serve", "--http", address, *(word for word in arguments if word != "--no-prelude"))
    path = folder.path / "stderr.log"
    with path.open("a", encoding="utf-8") as log:
        begin = log.tell()
        process = await anyio.open_process(command, env=folder.environ(), cwd=folder.work, stderr=log, stdout=None)
        try:
            url = await _announced(process, path, begin)
            yield Served(url=url, process=process, log=path)
        finally:
            with anyio.CancelScope(shield=True):
                await _end(process)


async def until(is_true: Callable[[], Awaitable[bool]], *, seconds: float = 60) -> None:
    """Look again and again, at what another process does, until it is so."""
    with anyio.fail_after(seconds):
        while not await is_true():  # noqa: ASYNC110 - another process does it
            await anyio.sleep(0.05)


async def _announced(process: Process, log: Path, begin: int) -> str:
    """The address that the server says it serves at, once it answers."""

    async def is_said() -> bool:
        said = _since(log, begin)
        assert process.returncode is None, said
        return "zen serve: " in said

    await until(is_said, seconds=ANSWER_SECONDS)
    found = re.search(r"zen serve: ((?:http|unix)\S+)", _since(log, begin))
    assert found is not None, _since(log, begin)
    return found[1]


def _since(log: Path, begin: int) -> str:
    return log.read_text(encoding="utf-8")[begin:]


async def _end(process: Process) -> None:
    """SIGTERM, then SIGKILL."""
    if process.returncode is None:
        process.terminate()
        with anyio.move_on_after(15):
            await process.wait()
    if process.returncode is None:
        process.kill()
    await process.aclose()


class RawServer:
    """A server process and its bare pipes, for what no well-behaved client would send."""

    def __init__(self, folder: ServerFolder, *, arguments: Sequence[str] = ()) -> None:
        self._folder = folder
        self._arguments = arguments
        self._buffer = b""
        self.process: Process

    async def __aenter__(self) -> RawServer:
        self._folder.write()
        self.process = await anyio.open_process(
            self._folder.command("serve", *self._arguments),
            env=self._folder.environ(),
            cwd=self._folder.work,
            stderr=subprocess.PIPE,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with anyio.CancelScope(shield=True):
            if self.process.returncode is None:
                self.process.kill()
            await self.process.aclose()

    async def send(self, message: Mapping[str, Any] | bytes) -> None:
        """Send one line."""
        line = message if isinstance(message, bytes) else json.dumps(message).encode()
        assert self.process.stdin is not None
        await self.process.stdin.send(line + b"\n")

    async def receive(self) -> dict[str, Any]:
        """The next line; anything that is not JSON fails the test."""
        assert self.process.stdout is not None
        with anyio.fail_after(ANSWER_SECONDS):
            while b"\n" not in self._buffer:
                self._buffer += await self.process.stdout.receive()
        line, _, self._buffer = self._buffer.partition(b"\n")
        return json.loads(line)

    async def answer_to(self, identity: int | str | None) -> dict[str, Any]:
        """The response with this id; notifications and other responses on the way are passed over."""
        while True:
            message = await self.receive()
            if "id" in message and message["id"] == identity and "method" not in message:
                return message

    async def request(
        self, identity: int | str, method: str, params: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Send a request and wait for its response."""
        await self.send(request(identity, method, params))
        return await self.answer_to(identity)

    async def initialize(self, version: str = "2025-06-18") -> dict[str, Any]:
        """Shake hands."""
        hello = {"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "raw", "version": "1"}}
        answer = await self.request("hello", "initialize", hello)
        await self.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        return answer

    async def close_input(self) -> None:
        """End the server's standard input."""
        assert self.process.stdin is not None
        await self.process.stdin.aclose()


def request(identity: int | str, method: str, params: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A JSON-RPC request."""
    message: dict[str, Any] = {"jsonrpc": "2.0", "id": identity, "method": method}
    return message if params is None else {**message, "params": dict(params)}


def modern(params: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Params with the envelope of the newest revision."""
    envelope = {
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": {"name": "raw", "version": "1"},
    }
    given = dict(params or {})
    return {**given, "_meta": {**envelope, **given.get("_meta", {})}}


Start = Literal["prelude", "plain"]


def start_arguments(start: str) -> tuple[str, ...]:
    """The arguments of `zen serve` that turn the prelude on or off."""
    return () if start == "prelude" else ("--no-prelude",)
