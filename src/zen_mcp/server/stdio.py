"""`zen serve` on standard input and output, from the moment the heavy imports are done."""

from __future__ import annotations

import asyncio
import os
import queue
import signal
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial

import anyio
from anyio.abc import TaskGroup
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from zen_mcp.app import App, build
from zen_mcp.config.load import load_config
from zen_mcp.errors import ZenError
from zen_mcp.ground import load_tuned
from zen_mcp.observability.logs import EventLog, conceal, configure_logs
from zen_mcp.server.arguments import ServeArguments
from zen_mcp.server.mcp import LISTS, McpDoor
from zen_mcp.server.prelude import Handover
from zen_mcp.server.reload import Reloader
from zen_mcp.server.snapshot import record_snapshot, snapshot_sources
from zen_mcp.server.snapshot_file import Snapshot, forget_snapshot, store_snapshot
from zen_mcp.server.transport import Connection, EraSession
from zen_mcp.server.wire import Wire

_log = EventLog()

_GRACE_SECONDS = 0.5
"""How long open requests may still take after the client has closed its side."""
_CLOSE_SECONDS = 0.4
_HANDSHAKE_SECONDS = 1.0
"""How long the import of LiteLLM waits for a client's first real request, which it would slow down."""

Lines = queue.SimpleQueue[bytes | None]


def run(arguments: list[str], wire: Wire, lines: Lines, handover: Handover) -> int:
    """Serve until the client leaves or a signal comes; the exit code."""
    try:
        parsed = ServeArguments.parse(arguments)
        config = load_config(parsed.config, environ=os.environ)
        configure_logs(config.server.log)
        app = build(load_tuned(config, environ=os.environ), environ=os.environ, door="stdio")
        conceal(app.ground.secrets)
    except ZenError as exc:
        sys.stderr.write(f"zen serve: {exc}\n")
        return 2
    anyio.run(partial(_serve, app, arguments, wire, lines, handover))
    return 0


async def _serve(app: App, arguments: list[str], wire: Wire, lines: Lines, handover: Handover) -> None:
    settings = app.config.server
    door = McpDoor(
        app.registry,
        heartbeat_seconds=settings.heartbeat_seconds,
        client_seconds=settings.client_seconds,
        session_id="stdio",
        jobs=app.tasks,
    )
    async with anyio.create_task_group() as group:
        connection = Connection(wire, handover, partial(_open_session, group, door))
        group.start_soon(_stop_on_signal, group.cancel_scope)
        group.start_soon(app.ground.work)
        if door.tasks is not None:
            group.start_soon(door.tasks.watch.run)
        group.start_soon(_warm_up, app, door, connection, arguments, handover.snapshot_used)

        def take_in(changed: App) -> None:
            if lists := door.use(changed.registry):
                group.start_soon(_tell_changed, door, connection, lists)
                group.start_soon(_keep_snapshot, changed, door, arguments)

        group.start_soon(Reloader(app, ServeArguments.parse(arguments).config, take_in).watch)
        async with _incoming(wire, lines) as incoming:
            for line in handover.replay:
                await connection.receive(line)
            async for line in incoming:
                await connection.receive(line)
        with anyio.move_on_after(_GRACE_SECONDS):
            await connection.wait_idle()
        connection.end()
        group.cancel_scope.cancel()
    with anyio.move_on_after(_CLOSE_SECONDS, shield=True):
        await app.aclose()


def _open_session(group: TaskGroup, door: McpDoor, session: EraSession) -> None:
    group.start_soon(partial(door.server.run, session.incoming, session, door.options))


@asynccontextmanager
async def _incoming(wire: Wire, lines: Lines) -> AsyncGenerator[MemoryObjectReceiveStream[bytes]]:
    """The client's lines on the event loop, those that waited first; ends when the client closes its side."""
    send: MemoryObjectSendStream[bytes]
    send, receive = anyio.create_memory_object_stream[bytes](float("inf"))
    loop = asyncio.get_running_loop()

    def take(line: bytes | None) -> None:
        if line is None:
            send.close()
            return
        with suppress(anyio.BrokenResourceError):
            send.send_nowait(line)

    def from_thread(line: bytes | None) -> None:
        # The loop is closed when the server is stopping; the line has no reader then.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(take, line)

    wire.divert(from_thread)
    while not lines.empty():
        take(lines.get_nowait())
    async with receive:
        yield receive


async def _stop_on_signal(scope: anyio.CancelScope) -> None:
    """End the server on SIGTERM or SIGINT. Windows has no such signals for a child; its pipe is closed instead."""
    if sys.platform == "win32":
        return
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            scope.cancel()
            return


async def _warm_up(
    app: App, door: McpDoor, connection: Connection, arguments: list[str], used: Snapshot | None
) -> None:
    """What is done behind the first answers: import litellm, and keep the snapshot true."""
    if used is None:
        with anyio.move_on_after(_HANDSHAKE_SECONDS):
            await connection.past_handshake.wait()
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(partial(anyio.to_thread.run_sync, app.warm_up, abandon_on_cancel=True))
            await _refresh_snapshot(app, door, connection, arguments, used)
        await app.tidy()
    except Exception as exc:  # noqa: BLE001
        # Nothing here is needed for an answer: the first call imports what is missing and reports what is broken.
        _log.error("warm_up_failed", exc_info=exc)


async def _refresh_snapshot(
    app: App, door: McpDoor, connection: Connection, arguments: list[str], used: Snapshot | None
) -> None:
    if "--no-prelude" in arguments:
        return
    if not app.config.server.prelude:
        forget_snapshot(arguments, os.environ)
        return
    live = await _keep_snapshot(app, door, arguments)
    if used is not None and (lists := [name for name in LISTS if used.of(name) != live.of(name)]):
        await _tell_changed(door, connection, lists)


async def _keep_snapshot(app: App, door: McpDoor, arguments: list[str]) -> Snapshot:
    """Write down what the server answers now, where it does that at all."""
    live = await record_snapshot(door)
    if "--no-prelude" in arguments or not app.config.server.prelude:
        return live
    try:
        store_snapshot(live, arguments, os.environ, snapshot_sources(app.config))
    except OSError as exc:
        _log.warning("snapshot_not_written", reason=str(exc))
    return live


async def _tell_changed(door: McpDoor, connection: Connection, lists: Sequence[str]) -> None:
    await door.announce(lists)
    await connection.tell_changed(lists)
