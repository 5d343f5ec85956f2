"""For tests of plugins: a real server with a plugin's folder, and a model that answers what a test says."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import anyio
from mcp import StdioServerParameters
from mcp.client import Client
from mcp.client.stdio import stdio_client

MODEL = "test-model"
_CALL_SECONDS = 60
_KEPT = ("PATH", "LANG", "SystemRoot")


@dataclass(frozen=True, slots=True, kw_only=True)
class CallResult:
    """What a client got: the text, the same as data, the content blocks as JSON, and whether it is an error."""

    text: str
    structured: Mapping[str, Any]
    content: tuple[Mapping[str, Any], ...]
    is_error: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginServer:
    """A folder of settings with one plugin and one model.

    Attributes:
        asked: what the model was asked, each time all messages as one text.
    """

    folder: Path
    asked: list[str] = field(default_factory=list[str])

    def call(self, tool: str, arguments: Mapping[str, Any]) -> CallResult:
        """Start `zen serve`, call a tool, end it."""
        return anyio.run(self._call, tool, dict(arguments))

    def tools(self) -> dict[str, dict[str, Any]]:
        """What `tools/list` says, by name."""
        return anyio.run(self._tools)

    async def _call(self, tool: str, arguments: dict[str, Any]) -> CallResult:
        with anyio.fail_after(_CALL_SECONDS):
            async with Client(stdio_client(self._parameters())) as client:
                result: Any = await client.call_tool(tool, arguments)
        content = tuple(block.model_dump(by_alias=True, mode="json", exclude_none=True) for block in result.content)
        texts = [block["text"] for block in content if block["type"] == "text"]
        return CallResult(
            text="\n".join(texts),
            structured=result.structured_content or {},
            content=content,
            is_error=bool(result.is_error),
        )

    async def _tools(self) -> dict[str, dict[str, Any]]:
        with anyio.fail_after(_CALL_SECONDS):
            async with Client(stdio_client(self._parameters())) as client:
                listed = await client.list_tools()
        return {tool.name: tool.model_dump(by_alias=True, mode="json", exclude_none=True) for tool in listed.tools}

    def _parameters(self) -> StdioServerParameters:
        environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
        environment |= {name: value for name, value in os.environ.items() if name.startswith("COVERAGE")}
        folders = {f"ZEN_{name.upper()}_DIR": str(self.folder / name) for name in ("config", "state", "cache")}
        return StdioServerParameters(
            command=sys.executable,
            args=["-m", "zen_mcp", "serve"],
            env={**environment, **folders, "HOME": str(self.folder)},
            cwd=str(self.folder),
        )


@contextmanager
def serve_plugin(
    plugin: Path, folder: Path, *, answer: str = "ok", settings: Mapping[str, Any] | None = None
) -> Generator[PluginServer]:
    """A server with this plugin, for the length of a `with` block.

    Args:
        plugin: the folder with `tool.py`.
        folder: an empty folder for settings, threads and cache; pytest's `tmp_path`.
        answer: what the only model, `test-model`, answers.
        settings: more of server.yaml.
    """
    server = PluginServer(folder=folder)
    upstream = ThreadingHTTPServer(("127.0.0.1", 0), _answering(answer, server.asked))
    threading.Thread(target=upstream.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{upstream.server_address[1]}/v1"
    _write(folder / "config" / "models.yaml", {"models": {MODEL: {"provider": "custom", "base_url": url}}})
    own = {"plugin_folders": [str(plugin)], "default_model": MODEL, "tools": ["full"]}
    _write(folder / "config" / "server.yaml", {**own, **(settings or {})})
    try:
        yield server
    finally:
        upstream.shutdown()
        upstream.server_close()


def _write(file: Path, content: Mapping[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"version": "1.0", **content}), encoding="utf-8")  # JSON is YAML


def _answering(answer: str, asked: list[str]) -> type[BaseHTTPRequestHandler]:
    """An OpenAI-compatible server's handler that gives one answer to everything."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["content-length"])))
            asked.append("\n".join(str(message["content"]) for message in request["messages"]))
            choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": answer}}
            usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
            head = {"id": "1", "object": "chat.completion", "created": 1, "model": MODEL}
            body = json.dumps({**head, "choices": [choice], "usage": usage}).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    return Handler
