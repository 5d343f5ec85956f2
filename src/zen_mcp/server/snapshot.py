"""Recording what the real server answers, so that the next start can answer at once."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import anyio
import mcp_types
from mcp.shared.message import SessionMessage
from mcp_types import JSONRPCNotification, JSONRPCRequest, JSONRPCResponse
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS, LATEST_HANDSHAKE_VERSION, LATEST_MODERN_VERSION

import zen_mcp
from zen_mcp.config.schema import Config
from zen_mcp.server.mcp import McpDoor
from zen_mcp.server.snapshot_file import Snapshot
from zen_mcp.tools.foreign.discovery import plugin_files, plugin_folders_in

_RECORD_SECONDS = 10
_LISTS = ("tools/list", "prompts/list", "resources/list", "resources/templates/list")
"""What clients ask for before anything else; none of it needs the database."""
_CLIENT = {"name": "snapshot", "version": "1"}
_ENVELOPE = {
    "_meta": {
        "io.modelcontextprotocol/protocolVersion": LATEST_MODERN_VERSION,
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": _CLIENT,
    }
}


async def record_snapshot(door: McpDoor) -> Snapshot:
    """Ask the server, through the SDK's own loop, for each revision it speaks."""
    initialize: dict[str, str] = {}
    lists: dict[str, dict[str, str]] = {}
    for version in HANDSHAKE_PROTOCOL_VERSIONS:
        hello = {"protocolVersion": version, "capabilities": {}, "clientInfo": _CLIENT}
        answers = await _ask(door, [("initialize", hello), *((method, None) for method in _LISTS)])
        initialize[version] = answers[0]
        lists[version] = dict(zip(_LISTS, answers[1:], strict=True))
    methods = ("server/discover", *_LISTS)
    answers = await _ask(door, [(method, _ENVELOPE) for method in methods])
    return Snapshot(initialize, lists, dict(zip(methods, answers, strict=True)), LATEST_HANDSHAKE_VERSION)


def snapshot_sources(config: Config) -> Iterator[Path]:
    """The files whose change makes a snapshot stale, besides the settings files."""
    package = Path(zen_mcp.__file__).parent
    yield package / "__init__.py"
    for part in ("plugins", "tools", "server"):
        yield from sorted((package / part).rglob("*.py"))
    yield Path(mcp_types.__file__)
    # A package that brings a plugin changes its folder when it comes or goes.
    yield Path(mcp_types.__file__).parent.parent
    for folder in config.server.plugin_folders:
        yield folder
        yield from sorted(path for path in folder.glob("*") if path.is_dir())
    for folder in plugin_folders_in(config.server.plugin_folders):
        yield from plugin_files(folder)
    files = importlib.metadata.distribution("mcp").files or []
    yield from (Path(str(file.locate())) for file in files if file.name == "METADATA")


async def _ask(door: McpDoor, requests: list[tuple[str, Mapping[str, Any] | None]]) -> list[str]:
    """The results of some requests on one connection, each as JSON text."""
    to_server, server_reads = anyio.create_memory_object_stream[SessionMessage | Exception](16)
    server_writes, from_server = anyio.create_memory_object_stream[SessionMessage](16)
    results: list[str] = []
    with anyio.fail_after(_RECORD_SECONDS):
        async with anyio.create_task_group() as group, to_server, from_server:
            group.start_soon(door.server.run, server_reads, server_writes, door.options)
            for number, (method, params) in enumerate(requests):
                request = JSONRPCRequest(
                    jsonrpc="2.0",
                    id=number,
                    method=method,
                    params=dict(params) if params is not None else None,
                )
                await to_server.send(SessionMessage(request))
                answer = (await from_server.receive()).message
                if not isinstance(answer, JSONRPCResponse):
                    raise TypeError(f"the server does not answer {method}: {answer}")
                results.append(json.dumps(answer.result, ensure_ascii=False, separators=(",", ":")))
                if method == "initialize":
                    done = JSONRPCNotification(jsonrpc="2.0", method="notifications/initialized")
                    await to_server.send(SessionMessage(done))
            group.cancel_scope.cancel()
    return results
