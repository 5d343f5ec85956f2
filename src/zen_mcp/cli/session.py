"""One tool call from the command line: the same registry, tools and threads as over MCP."""

from __future__ import annotations

import os
import secrets
import signal
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import anyio

from zen_mcp.app import App, build
from zen_mcp.config.load import load_config
from zen_mcp.config.schema import Config
from zen_mcp.errors import ConfigError
from zen_mcp.ground import lay_ground, with_tuned
from zen_mcp.middleware.base import Middleware
from zen_mcp.observability.logs import conceal, configure_logs
from zen_mcp.types import Caller, ModelRequest, ModelResponse, ToolRequest, ToolResponse

UNLIMITED_CHARACTERS = 10_000_000
"""A terminal shows any length; nothing is paged there."""


def open_config(config: str | None) -> Config:
    """The settings; logs go to stderr, errors only.

    Raises:
        ConfigError: the settings are wrong.
    """
    settings = load_config(Path(config) if config else None, environ=os.environ)
    log = settings.server.log
    configure_logs(log if log.file else log.model_copy(update={"level": "ERROR", "format": "console"}))
    return settings


@asynccontextmanager
async def open_app(
    config: str | None,
    *,
    named: Sequence[str] = (),
    watchers: Sequence[Middleware[ModelRequest, ModelResponse]] = (),
) -> AsyncGenerator[App]:
    """The server's parts for one command; logs go to stderr, errors only.

    Args:
        config: a settings folder above all others.
        named: files that the user names on the command line; who types a path may read it, wherever it lies.
        watchers: middlewares around every model request.

    Raises:
        ConfigError: the settings are wrong.
    """
    settings = open_config(config)
    roots = (*(settings.server.roots or (Path.cwd(),)), *(Path(name).parent for name in named))
    settings = replace(settings, server=settings.server.model_copy(update={"roots": roots}))
    ground = lay_ground(settings, environ=os.environ)
    settings = await with_tuned(settings, ground.tuned)
    try:
        app = build(settings, environ=os.environ, model_watchers=watchers, ground=ground)
    except ConfigError:
        await ground.database.aclose()
        raise
    conceal(app.ground.secrets)
    try:
        yield app
    finally:
        with anyio.move_on_after(1, shield=True):
            await app.aclose()


@asynccontextmanager
async def doing_jobs(app: App) -> AsyncGenerator[None]:
    """Do jobs beside what runs inside, until that has ended, or SIGINT or SIGTERM ends both."""

    async def stop(signals: AsyncIterator[signal.Signals]) -> None:
        async for _ in signals:
            group.cancel_scope.cancel()

    async def work() -> None:
        await anyio.to_thread.run_sync(app.warm_up)
        app.ground.worker.at_once = True
        await app.ground.work()

    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with anyio.create_task_group() as group:
            group.start_soon(stop, signals)
            group.start_soon(work)
            yield
            group.cancel_scope.cancel()


async def call_tool(app: App, tool: str, arguments: Mapping[str, object], *, watched: bool = False) -> ToolResponse:
    """Call a tool as the local user; `watched`: somebody sees the answer come.

    Raises:
        ZenError: a foreseen failure.
    """
    return await app.registry.call(
        ToolRequest(
            request_id=f"c-{secrets.token_hex(6)}",
            tool=tool,
            arguments={name: value for name, value in arguments.items() if value not in (None, [], "")},
            caller=Caller(session_id="cli", client_name="zen-cli"),
            max_characters=UNLIMITED_CHARACTERS,
            watched=watched,
        )
    )


def prompt_from(words: Sequence[str]) -> str:
    """The prompt from the command line; `-` or nothing reads standard input."""
    text = " ".join(words)
    return sys.stdin.read() if text in {"", "-"} else text


def absolute(files: Sequence[str]) -> list[str]:
    """Paths as a shell user means them, relative to where they stand; addresses as they are."""
    return [file if "://" in file or file.startswith("data:") else _absolute(file) for file in files]


def _absolute(file: str) -> str:
    return str(Path(file).expanduser().absolute())
