"""The first hundred milliseconds of `zen serve`: answers the handshake before anything heavy is imported.

Importing the MCP SDK takes most of a second, and clients give up or leave tools out when a server is late. So the
handshake and the lists of tools, prompts and resources are answered from a snapshot that the real server recorded on
an earlier run, while the SDK is imported in a thread. Everything else waits in line for the real server, which then
takes over the pipe, with the handshake replayed to it and its reply swallowed.

Standard library only. Answers only what is certain to be answered alike by the real server (tests compare the two for
every protocol revision); whatever looks unusual waits. `--no-prelude` or `ZEN_PRELUDE=0` turns it off.
"""

# JSON is taken apart here without `typing.cast`, which is not worth its import:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

import gc
import json
import os
import queue
import sys
import threading

from zen_mcp.server.snapshot_file import Snapshot, load_snapshot
from zen_mcp.server.wire import PARSE_ERROR, Wire, error_line

TYPE_CHECKING = False  # importing `typing` would cost a tenth of the time this module is to save
if TYPE_CHECKING:
    from typing import Any

MODERN_VERSION = "2026-07-28"
_META = "io.modelcontextprotocol/"
_IDLE_SECONDS = 0.15
_EVENTS = frozenset({"toolsListChanged", "promptsListChanged", "resourcesListChanged"})


def serve(arguments: list[str]) -> int:
    """Run `zen serve` on stdin and stdout; the exit code."""
    wire = Wire()
    try:
        code = _serve(arguments, wire)
    except KeyboardInterrupt:
        code = 130
    # Everything is closed and flushed; tearing down thousands of modules would only take time.
    sys.stderr.flush()
    os._exit(code)


def _serve(arguments: list[str], wire: Wire) -> int:
    lines: queue.SimpleQueue[Any] = queue.SimpleQueue()
    wire.start(lines.put)
    snapshot = None
    if "--no-prelude" not in arguments and os.environ.get("ZEN_PRELUDE", "1") != "0":
        snapshot = load_snapshot(arguments, os.environ)
    if snapshot is None:
        _import_server()
        handover = Handover()
    else:
        prelude = Prelude(snapshot, wire)
        if not prelude.run(lines):
            return 0
        handover = prelude.handover
    from zen_mcp.server.stdio import run  # noqa: PLC0415 - imported by now; this only binds the name

    return run(arguments, wire, lines, handover)


class Handover:
    """What the real server must know of the prelude's answers.

    `replay`: lines for it, in order. `swallow`: ids (as JSON) whose replies were given already. `acknowledged`:
    ids of `subscriptions/listen` requests that were acknowledged already. `snapshot_used`: whether to tell the client
    when the live list differs.
    """

    def __init__(self, snapshot_used: Snapshot | None = None) -> None:
        self.replay: list[bytes] = []
        self.swallow: set[str] = set()
        self.acknowledged: set[str] = set()
        self.snapshot_used = snapshot_used


class Prelude:
    """Answers from a snapshot until the real server is imported."""

    def __init__(self, snapshot: Snapshot, wire: Wire) -> None:
        self._snapshot = snapshot
        self._wire = wire
        self._version: str | None = None
        self.handover = Handover(snapshot)

    def run(self, lines: queue.SimpleQueue[Any]) -> bool:
        """Serve until the import is done. False when the client left with nothing waiting."""
        imported = object()
        importing = False
        while True:
            try:
                line = lines.get(timeout=None if importing else _IDLE_SECONDS)
            except queue.Empty:
                line = b"\r"
            if line is imported:
                return True
            if line is None:
                if not self.handover.replay:
                    return False
                lines.put(None)
                if importing:
                    _wait_for(lines, imported)
                else:
                    _import_server()
                return True
            listed = self._take(line) if line != b"\r" else True
            if listed and not importing:
                importing = True
                threading.Thread(target=_import_then, args=(lines, imported), name="zen-import", daemon=True).start()

    def _take(self, line: bytes) -> bool:
        """Answer a line or keep it for the real server; whether the import should begin now."""
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            self._wire.write(error_line(PARSE_ERROR, "Parse error: the line is not valid JSON in UTF-8"))
            return False
        answer = self._answer(message) if isinstance(message, dict) else None
        if answer is None:
            self.handover.replay.append(line)
            self._tell_waiting(message)
            return True
        if answer:
            self._wire.write(answer)
        return message.get("method") == "tools/list"

    def _answer(self, message: dict[str, Any]) -> bytes | None:
        """The reply's line; empty where none is due; None where the real server must answer."""
        if message.get("jsonrpc") != "2.0":
            return None
        method, params = message.get("method"), message.get("params")
        if "id" not in message:
            if method == "notifications/initialized" and self._version is not None:
                self.handover.replay.append(json.dumps(message).encode())
                return b""
            return None
        if isinstance(message["id"], bool) or not isinstance(message["id"], int | str):
            return None
        result = self._result(method, params, message)
        if result is None:
            return None
        return f'{{"jsonrpc":"2.0","id":{json.dumps(message["id"])},"result":{result}}}\n'.encode()

    def _result(self, method: Any, params: Any, message: dict[str, Any]) -> str | None:
        """The result as JSON text, None when the real server must answer."""
        if method == "initialize":
            return self._initialize(params, message)
        if _is_modern(params):
            if set(params) == {"_meta"}:
                return self._snapshot.modern.get(method)
            if method == "subscriptions/listen":
                self._listen(params, message)
            return None
        if self._version is None or (params is not None and (not isinstance(params, dict) or set(params) - {"_meta"})):
            return None
        if method == "ping":
            return "{}"
        return self._snapshot.lists.get(self._version, {}).get(method)

    def _initialize(self, params: Any, message: dict[str, Any]) -> str | None:
        if self._version is not None or not _is_client(params):
            return None
        known = self._snapshot.initialize
        version = params["protocolVersion"] if params["protocolVersion"] in known else self._snapshot.latest
        self._version = version
        self.handover.replay.append(json.dumps(message).encode())
        self.handover.swallow.add(json.dumps(message["id"]))
        return known[version]

    def _listen(self, params: dict[str, Any], message: dict[str, Any]) -> None:
        """Acknowledge a subscription at once: some clients wait for it before they ask for the tools."""
        wanted = params.get("notifications")
        if set(params) != {"_meta", "notifications"} or not isinstance(wanted, dict):
            return
        if any(key not in _EVENTS or not isinstance(value, bool) for key, value in wanted.items()):
            return
        honoured = {key: True for key, value in wanted.items() if value}
        note = {
            "jsonrpc": "2.0",
            "method": "notifications/subscriptions/acknowledged",
            "params": {"notifications": honoured, "_meta": {_META + "subscriptionId": message["id"]}},
        }
        self._wire.write(json.dumps(note, separators=(",", ":")).encode() + b"\n")
        self.handover.acknowledged.add(json.dumps(message["id"]))

    def _tell_waiting(self, message: Any) -> None:
        """A sign of life for a call that waits for the import."""
        params = message.get("params") if isinstance(message, dict) else None
        meta = params.get("_meta") if isinstance(params, dict) else None
        token = meta.get("progressToken") if isinstance(meta, dict) else None
        if isinstance(token, int | str) and not isinstance(token, bool):
            params = {"progressToken": token, "progress": 0, "message": "starting"}
            note = {"jsonrpc": "2.0", "method": "notifications/progress", "params": params}
            self._wire.write(json.dumps(note, separators=(",", ":")).encode() + b"\n")


def _is_modern(params: Any) -> bool:
    """Whether the request carries a complete 2026-07-28 envelope and nothing odd in it."""
    meta = params.get("_meta") if isinstance(params, dict) else None
    if not isinstance(meta, dict) or meta.get(_META + "protocolVersion") != MODERN_VERSION:
        return False
    return isinstance(meta.get(_META + "clientCapabilities"), dict) and _is_identity(meta.get(_META + "clientInfo"))


def _is_client(params: Any) -> bool:
    """Whether `initialize` has its three parts in the right shape."""
    if not isinstance(params, dict) or not isinstance(params.get("protocolVersion"), str):
        return False
    capabilities = params.get("capabilities")
    if not isinstance(capabilities, dict) or not all(isinstance(value, dict) for value in capabilities.values()):
        return False
    return params.get("clientInfo") is not None and _is_identity(params["clientInfo"])


def _is_identity(info: Any) -> bool:
    """Whether a client's name and version are two texts; absent is fine."""
    if info is None:
        return True
    return isinstance(info, dict) and isinstance(info.get("name"), str) and isinstance(info.get("version"), str)


def _import_then(lines: queue.SimpleQueue[Any], imported: object) -> None:
    try:
        _import_server()
    finally:
        # A failed import is raised again, in the main thread, by the import that binds `run`.
        lines.put(imported)


def _wait_for(lines: queue.SimpleQueue[Any], imported: object) -> None:
    while True:
        item = lines.get()
        if item is imported:
            lines.put(None)
            return


def _import_server() -> None:
    """Import the real server, with the collector off: it would only walk what is there to stay."""
    gc.disable()
    try:
        import zen_mcp.server.stdio  # noqa: F401, PLC0415 # pyright: ignore[reportUnusedImport] - the heavy import this module exists for
    finally:
        gc.freeze()
        gc.enable()
