"""The HTTP door: MCP's streamable HTTP without sessions, so that any replica answers any request."""

from __future__ import annotations

import gc
import hmac
import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import uvicorn
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from zen_mcp.app import App, build
from zen_mcp.config.http_schema import HttpSettings
from zen_mcp.config.schema import Config
from zen_mcp.errors import ZenError
from zen_mcp.ground import lay_ground, load_tuned
from zen_mcp.health import Check
from zen_mcp.observability.logs import EventLog, conceal, configure_logs
from zen_mcp.server.arguments import ServeArguments
from zen_mcp.server.auth import METADATA_PATH, DoorKeeper
from zen_mcp.server.http_address import LOOPBACK_HOSTS, LOOPBACK_ORIGINS, is_loopback, url_of
from zen_mcp.server.http_guard import AnswerLimit, HostGuard, Replay, Traffic, read_body, refusal
from zen_mcp.server.http_protocol import Crowd, protocol_for
from zen_mcp.server.http_turns import Server, TurnTakingServer
from zen_mcp.server.http_workers import INTERRUPTED, Handed
from zen_mcp.server.mcp import CALLER, McpDoor
from zen_mcp.server.reload import Reloader
from zen_mcp.storage.tokens import Tokens
from zen_mcp.types import Caller

_log = EventLog()

_CHECK_SECONDS = 5.0
_CLOSE_SECONDS = 2.0
_READINGS_SECONDS = 1.0
_LAST_WORDS_SECONDS = 1
"""How long connections may still send what is finished, after the calls have ended."""

Identify = Callable[[Scope], Awaitable[Caller | Response]]
"""Who sent a request, or the answer to somebody who may not."""


def run(config: Config, arguments: ServeArguments, listener: socket.socket, *, handed: Handed | None) -> int:
    """Serve on a socket until a signal comes; the exit code.

    Args:
        config: the checked settings.
        arguments: of the command line.
        listener: the socket to accept from.
        handed: what the parent process told; None where this is the only process.

    Raises:
        ConfigError: the settings contradict themselves.
    """
    configure_logs(config.server.log)
    _adopt_logs()
    shared = Path(handed.metrics_folder) if handed else None
    config = load_tuned(config, environ=os.environ)
    ground = lay_ground(config, environ=os.environ, door="http", shared_metrics=shared)
    app = build(config, environ=os.environ, ground=ground)
    conceal(app.ground.secrets)
    server = HttpServer(app, arguments, listener, handed=handed)
    anyio.run(server.serve)
    return INTERRUPTED if server.was_hurried else 0


class HttpServer:
    """One process that serves.

    Args:
        app: the parts as they were built.
        arguments: of the command line.
        listener: the socket to accept from.
        handed: what the parent process told, which watches over standard input; None where this is the only process.
    """

    def __init__(self, app: App, arguments: ServeArguments, listener: socket.socket, *, handed: Handed | None) -> None:
        self._app = app
        self._arguments = arguments
        self._listener = listener
        self._handed = handed
        settings = app.config.server.http
        self._settings = settings
        self._traffic = Traffic(settings.max_requests)
        self._warm = False
        self.was_hurried = False
        behaviour = app.config.server
        self._door = McpDoor(
            app.registry,
            heartbeat_seconds=behaviour.heartbeat_seconds,
            client_seconds=behaviour.client_seconds,
            state_keys=settings.state_key or ((handed.state_key,) if handed else ()),
            jobs=app.tasks,
        )
        self._url = settings.public_url or url_of(listener)
        self._keeper = self._make_keeper(app)
        kind = TurnTakingServer if handed is not None else Server
        self._uvicorn = kind(_uvicorn_config(self._asgi(), settings))

    async def serve(self) -> None:
        """Serve until a signal comes, and the calls under way have ended."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._stop_on_signal)
            group.start_soon(self._app.ground.work)
            group.start_soon(self._warm_up)
            if self._handed:
                group.start_soon(self._keep_readings)
                group.start_soon(self._stop_with_parent)

            def take_in(changed: App) -> None:
                if changed.config.server.auth != self._app.config.server.auth:
                    self._keeper = self._make_keeper(changed)
                self._app = changed
                if lists := self._door.use(changed.registry):
                    group.start_soon(self._door.announce, lists)

            group.start_soon(Reloader(self._app, self._arguments.config, take_in).watch)
            await self._uvicorn.serve(sockets=[self._listener])
            group.cancel_scope.cancel()
        with anyio.move_on_after(_CLOSE_SECONDS, shield=True):
            await self._app.aclose()

    def _asgi(self) -> ASGIApp:
        sessions = StreamableHTTPSessionManager(
            self._door.server,
            stateless=not self._settings.sessions,
            json_response=False,
            max_request_body_size=self._settings.max_body_bytes,
        )
        endpoint = McpEndpoint(sessions.handle_request, self._settings, self._traffic, self._identify)

        @asynccontextmanager
        async def lifespan(_: Starlette) -> AsyncGenerator[None]:
            async with sessions.run():
                yield

        routes = [
            Route("/mcp", endpoint=endpoint),
            Route("/healthz", endpoint=_healthy),
            Route("/readyz", endpoint=self._ready),
            Route("/metrics", endpoint=self._metrics),
            Route(METADATA_PATH, endpoint=self._metadata),
            Route(METADATA_PATH + "/{path:path}", endpoint=self._metadata),
        ]
        return self._guarded(Starlette(routes=routes, lifespan=lifespan))

    def _guarded(self, app: ASGIApp) -> ASGIApp:
        settings = self._settings
        on_unix = self._listener.family == getattr(socket, "AF_UNIX", None)
        private = on_unix or is_loopback(str(self._listener.getsockname()[0]))
        return HostGuard(
            app,
            hosts=(*settings.allowed_hosts, *(LOOPBACK_HOSTS if private else ())),
            origins=(*settings.allowed_origins, *(LOOPBACK_ORIGINS if private else ())),
            check_hosts=not on_unix or bool(settings.allowed_hosts),
        )

    def _make_keeper(self, app: App) -> DoorKeeper:
        auth, tokens = app.config.server.auth, Tokens(app.ground.database)
        return DoorKeeper(auth, http=self._settings, url=self._url, tokens=tokens)

    async def _identify(self, scope: Scope) -> Caller | Response:
        return await self._keeper.identify(scope)

    async def _metadata(self, request: Request) -> Response:
        return self._keeper.metadata()

    async def _metrics(self, request: Request) -> Response:
        """The metrics for Prometheus, for who has the token; without one, for this machine."""
        wanted = self._settings.metrics_token
        if wanted is not None:
            said = request.headers.get("authorization", "")
            allowed = hmac.compare_digest(said.encode(), f"Bearer {wanted}".encode())
        else:
            allowed = request.client is None or is_loopback(request.client.host)
        if not allowed:
            return refusal(401, "The metrics are not for everybody.", "See http.metrics_token in server.yaml.")
        metrics = self._app.ground.metrics
        if metrics is None:
            return refusal(404, "No metrics are kept.", "See metrics in server.yaml.")
        await self._app.measure()
        text = await anyio.to_thread.run_sync(metrics.render)
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    async def _keep_readings(self) -> None:
        """Let the other processes know what is read only when this one is asked."""
        metrics = self._app.ground.metrics
        while metrics is not None:
            await anyio.to_thread.run_sync(metrics.take_readings)
            await anyio.sleep(_READINGS_SECONDS)

    async def _ready(self, request: Request) -> Response:
        """Whether calls can be answered, part by part; why not stands in the log, not in the answer."""
        found = {"warm_up": "ok" if self._warm else "under way"}
        needed = {"warm_up", "server"}
        for check in self._app.checks():
            found[check.name] = await _state_of(check)
            needed |= {check.name} if check.vital else set()
        if self._traffic.draining:
            found["server"] = "stopping"
        ready = all(state == "ok" for part, state in found.items() if part in needed)
        return JSONResponse({"ready": ready, "checks": found}, status_code=200 if ready else 503)

    async def _warm_up(self) -> None:
        """Import LiteLLM behind the first requests."""
        try:
            await anyio.to_thread.run_sync(self._app.warm_up, abandon_on_cancel=True)
            await self._app.tidy()
        except Exception as exc:  # noqa: BLE001
            # Nothing here is needed for an answer: the first call imports what is missing and reports what is broken.
            _log.error("warm_up_failed", exc_info=exc)
        # What is loaded by now stays, and would be walked again and again: a tenth of the CPU of a call.
        gc.freeze()
        self._warm = True

    async def _stop_on_signal(self) -> None:
        """Finish what is under way on the first signal; end at once on the second."""
        async with anyio.create_task_group() as group:
            with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
                async for _ in signals:
                    if self._traffic.draining:
                        self.was_hurried = True
                        self._uvicorn.end_at_once()
                        return
                    group.start_soon(self._drain)

    async def _stop_with_parent(self) -> None:
        await anyio.wait_readable(sys.stdin)
        await self._drain()

    async def _drain(self) -> None:
        _log.info("stopping", calls=self._traffic.count, seconds=self._settings.drain_seconds)
        self._door.end_subscriptions()
        with anyio.move_on_after(self._settings.drain_seconds) as scope:
            await self._traffic.drained()
        if scope.cancelled_caught:
            _log.warning("calls_cut_off", calls=self._traffic.count)
        self._uvicorn.should_exit = True


class McpEndpoint:
    """`/mcp`: one POST, one answer. No streams to GET, because they would bind a client to one replica.

    Args:
        answer: the SDK.
        settings: the limits.
        traffic: counts what is under way.
        identify: says who asks.
    """

    def __init__(self, answer: ASGIApp, settings: HttpSettings, traffic: Traffic, identify: Identify) -> None:
        self._answer = answer
        self._settings = settings
        self._traffic = traffic
        self._identify = identify

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        refused = self._refused(scope)
        if refused is None:
            caller = await self._identify(scope)
            if isinstance(caller, Response):
                refused = caller
            else:
                scope[CALLER] = caller
                if self._settings.sessions:
                    scope["user"] = _owner(caller)
        if refused is not None:
            await refused(scope, receive, send)
            return
        self._traffic.entered()
        try:
            await self._take(scope, receive, send)
        finally:
            self._traffic.left()

    def _refused(self, scope: Scope) -> Response | None:
        if scope["method"] != "POST":
            return refusal(405, f"'{scope['method'][:20]}' is not served here.", "Send a POST.", Allow="POST")
        return self._traffic.refused()

    async def _take(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_body(Headers(scope=scope), receive, self._settings)
        if isinstance(body, Response):
            await body(scope, receive, send)
        elif body is not None:
            limited = AnswerLimit(body, send, self._settings.max_response_bytes)
            await self._answer(scope, Replay(body, receive), limited)


def _owner(caller: Caller) -> AuthenticatedUser:
    """The caller as the SDK knows whose a session is; to anybody else it says that there is no such session."""
    return AuthenticatedUser(AccessToken(token="", client_id=caller.user_id, scopes=[]))


async def _healthy(request: Request) -> Response:
    return PlainTextResponse("ok")


async def _state_of(check: Check) -> str:
    try:
        with anyio.fail_after(_CHECK_SECONDS):
            await check.run()
    except (ZenError, TimeoutError) as exc:
        _log.warning(
            "not_ready" if check.vital else "part_failing", part=check.name, problem=str(exc) or "no answer in time"
        )
        return "failing"
    return "ok"


def _uvicorn_config(app: ASGIApp, settings: HttpSettings) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=protocol_for(Crowd(settings)),
        ws="none",
        loop="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=int(settings.keep_alive_seconds),
        timeout_graceful_shutdown=_LAST_WORDS_SECONDS,
    )


def _adopt_logs() -> None:
    """Have the libraries' warnings written where ours are, in the same shape."""
    ours = logging.getLogger("zen_mcp")
    for name in ("uvicorn", "mcp", "sse_starlette"):
        logger = logging.getLogger(name)
        logger.handlers[:] = ours.handlers
        logger.setLevel(logging.WARNING)
        logger.propagate = False
