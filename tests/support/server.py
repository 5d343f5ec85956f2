"""A real `zen serve` process with settings of its own, and two ways to talk to it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import anyio
from anyio.abc import Process
from mcp import StdioServerParameters
from mcp.client import Client
from mcp.client.stdio import stdio_client

MODERN = "2026-07-28"
PRELUDES = ("prelude", "plain")
ANSWER_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerFolder:
    """Everything a server under test reads and writes, in one folder.

    `models` is what models.yaml holds under `models:`; `settings` is server.yaml,
    `providers` is providers.yaml.
    """

    path: Path
    models: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    providers: Mapping[str, Any] = field(default_factory=dict[str, Any])
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
        contents = {"models": {"models": self.models}, "server": self.settings, "providers": self.providers}
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
    folder: ServerFolder, *, mode: str = "auto", arguments: Sequence[str] = (), name: str = "test"
) -> AsyncGenerator[Client]:
    """An MCP client's session with a server of this folder; `mode`: auto, legacy or a protocol revision."""
    from mcp_types import Implementation  # noqa: PLC0415 - only here

    folder.write()
    program, *rest = folder.command("serve", *arguments)
    parameters = StdioServerParameters(command=program, args=rest, env=folder.environ(), cwd=str(folder.work))
    with (folder.path / "stderr.log").open("a", encoding="utf-8") as log:
        async with Client(
            stdio_client(parameters, errlog=log), mode=mode, client_info=Implementation(name=name, version="1")
        ) as client:
            yield client


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
