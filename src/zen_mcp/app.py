"""build(): the one place that knows every part. No container, no globals."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

import anyio

from zen_mcp.catalog import Catalog
from zen_mcp.catalog.model import fingerprint
from zen_mcp.config.folders import cache_folder, state_folder
from zen_mcp.config.problems import KeyPath, Place
from zen_mcp.config.schema import CacheSettings, Config, ServerSettings
from zen_mcp.conversations import Conversations
from zen_mcp.gateway import Gateway
from zen_mcp.middleware.base import Middleware
from zen_mcp.middleware.cache import ResponseCache, key_of
from zen_mcp.middleware.json_answer import json_answer
from zen_mcp.middleware.ledger import ModelLedger, ToolLedger
from zen_mcp.middleware.log import log_model, log_tool
from zen_mcp.middleware.metrics import AttemptMetrics, ModelMetrics, ToolMetrics
from zen_mcp.middleware.named import chain_of
from zen_mcp.middleware.similar import SimilarQuestions
from zen_mcp.middleware.trace import ModelTrace, ToolTrace
from zen_mcp.observability.export import MetricsExport, metrics_for
from zen_mcp.observability.logs import EventLog
from zen_mcp.observability.metrics import Metrics
from zen_mcp.observability.tracing import Tracing, tracing_for
from zen_mcp.providers.base import Provider
from zen_mcp.providers.direct_provider import DirectProvider
from zen_mcp.providers.embedding import LocalEmbedding
from zen_mcp.providers.emergency import WithEmergencyExit
from zen_mcp.providers.litellm_provider import LiteLLMProvider
from zen_mcp.providers.local import LocalPanel
from zen_mcp.routing.balance import Balance
from zen_mcp.routing.capacity import Capacity
from zen_mcp.routing.health import HealthBoard
from zen_mcp.routing.router import Router
from zen_mcp.routing.watch import AttemptWatcher
from zen_mcp.storage.base import Database
from zen_mcp.storage.ledger import Ledger
from zen_mcp.storage.postgres import PostgresDatabase
from zen_mcp.storage.redis import Redis, RedisResponses, RedisRests
from zen_mcp.storage.responses import SQLResponses
from zen_mcp.storage.similar import RedisSimilar, SQLSimilar
from zen_mcp.storage.sqlite import SQLiteDatabase
from zen_mcp.storage.usage import UsageReports
from zen_mcp.tools.context import ToolServices, ToolSettings
from zen_mcp.tools.discovery import Plugin, Plugins, discover, settings_of
from zen_mcp.tools.registry import ToolRegistry
from zen_mcp.types import ModelRequest, ModelResponse, ToolRequest, ToolResponse

Door = Literal["cli", "stdio", "http"]

Request = TypeVar("Request")
Response = TypeVar("Response")

_log = EventLog()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What outlives a change of the settings: connections, processes, the database, what is known of deployments."""

    provider: Provider
    local: LocalPanel
    database: Database
    ledger: Ledger
    redis: Redis | None
    health: HealthBoard
    balance: Balance
    metrics: Metrics | None
    """None where nobody can read them."""
    export: MetricsExport | None
    tracing: Tracing | None
    plugins: Plugins
    secrets: set[str]
    """Every key that any settings so far held, to be kept out of messages."""
    disk_closed: bool = False
    """Whether no file of this machine may be read where server.yaml names no roots: callers are elsewhere."""

    def watchers(self) -> Sequence[AttemptWatcher]:
        """Who sees every HTTP request to a vendor."""
        metrics = [AttemptMetrics(self.metrics)] if self.metrics is not None else []
        return (*([self.tracing] if self.tracing is not None else []), *metrics)

    async def work(self) -> None:
        """What goes on beside the calls, until cancelled: the ledger is written, the metrics are exported."""
        async with anyio.create_task_group() as group:
            group.start_soon(self.ledger.keep)
            if self.export is not None:
                group.start_soon(self.export.keep)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the steps of the chains are made of."""

    config: Config
    catalog: Catalog
    ground: Ground

    def vendor(self, model: str) -> str:
        """The vendor of a model that is known."""
        return self.catalog.resolve(model).vendor


ToolStep = Middleware[ToolRequest, ToolResponse]
ModelStep = Middleware[ModelRequest, ModelResponse]

TOOL_STEPS: Mapping[str, Callable[[Parts], ToolStep | None]] = {
    "trace": lambda parts: ToolTrace(parts.ground.tracing) if parts.ground.tracing else None,
    "log": lambda _: log_tool,
    "metrics": lambda parts: ToolMetrics(parts.ground.metrics) if parts.ground.metrics else None,
    "ledger": lambda parts: ToolLedger(parts.ground.ledger),
}
"""The steps around every tool call by name, outermost first; docs/middleware.md says why in this order."""

MODEL_STEPS: Mapping[str, Callable[[Parts], ModelStep | None]] = {
    "trace": lambda parts: ModelTrace(parts.ground.tracing, vendor_of=parts.vendor) if parts.ground.tracing else None,
    "log": lambda _: log_model,
    "metrics": lambda parts: (
        ModelMetrics(parts.ground.metrics, vendor_of=parts.vendor) if parts.ground.metrics else None
    ),
    "ledger": lambda parts: ModelLedger(parts.ground.ledger, vendor_of=parts.vendor),
    "cache": lambda parts: _cache(parts),  # noqa: PLW0108 - defined below
    "json": lambda _: json_answer,
}
"""The steps around every model request, likewise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """Something a server needs. `run` raises a ZenError where it is at fault."""

    name: str
    run: Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """Every part of a running server, wired."""

    config: Config
    catalog: Catalog
    ground: Ground
    conversations: Conversations
    gateway: Gateway
    usage: UsageReports
    registry: ToolRegistry
    plugins: tuple[Plugin, ...]

    def warm_up(self) -> None:
        """Import what the first model request needs; slow, so run it in a thread."""
        self.ground.provider.warm_up()
        if self.ground.metrics is not None:
            self.ground.metrics.load()
        if self.ground.tracing is not None:
            self.ground.tracing.load()

    def checks(self) -> tuple[Check, ...]:
        """What must be in order for calls to be answered; `/readyz` and `zen doctor` run them."""
        redis = (Check(name="redis", run=self.ground.redis.ping),) if self.ground.redis is not None else ()
        return (
            Check(name="database", run=self._check_database),
            *redis,
            Check(name="provider", run=self._check_provider),
        )

    async def _check_database(self) -> None:
        await self.ground.database.run(lambda transaction: transaction.rows("SELECT 1 AS one"))

    async def _check_provider(self) -> None:
        self.catalog.require(self.catalog.default_model().name)

    async def tidy(self) -> None:
        """Remove threads that nobody used for longer than they are kept."""
        if await self.ground.database.exists():
            await self.conversations.expire()

    async def aclose(self) -> None:
        """Close connections and the database. Local models go on for other servers and end when idle."""
        await self.ground.provider.aclose()
        await self.ground.local.aclose()
        await self.ground.ledger.aclose()
        await self.ground.database.aclose()
        if self.ground.redis is not None:
            await self.ground.redis.aclose()
        if self.ground.tracing is not None:
            await self.ground.tracing.aclose()


def build(
    config: Config,
    *,
    environ: Mapping[str, str],
    working_directory: Path | None = None,
    model_watchers: Sequence[ModelStep] = (),
    ground: Ground | None = None,
    door: Door = "cli",
) -> App:
    """Wire a server. Nothing is opened, started or imported that the first request does not need.

    Args:
        config: the checked settings.
        environ: where the folders for state and cache are looked up.
        working_directory: the root for files when server.yaml names none; None for the process's own.
        model_watchers: middlewares around every model request, outside ours; the CLI draws its live table with one.
        ground: of the server whose settings have changed; None for a new one.
        door: how the world comes in. Metrics are kept where there is somebody to read them.

    Raises:
        ConfigError: the catalog contradicts itself, or a chain names a step that does not exist.
    """
    settings = config.server
    catalog = Catalog.from_config(config)
    ground = ground or lay_ground(config, environ=environ, door=door)
    parts = Parts(config=config, catalog=catalog, ground=ground)
    ground.secrets.update(catalog.secrets())
    ground.secrets.update(settings.telemetry.headers.values())
    ground.ledger.retention_days = settings.ledger.retention_days
    conversations = Conversations(ground.database, retention_days=settings.thread_retention_days)
    gateway = _gateway(parts, model_watchers)
    services = ToolServices(
        catalog=catalog,
        gateway=gateway,
        conversations=conversations,
        usage=UsageReports(ground.database),
        settings=ToolSettings(
            max_result_characters=settings.max_result_characters,
            max_prompt_characters=settings.max_prompt_characters,
            max_file_bytes=settings.max_file_bytes,
            allow_secret_files=settings.allow_secret_files,
            roots=tuple(settings.roots) or (() if ground.disk_closed else (working_directory or Path.cwd(),)),
            panel_timeout_seconds=settings.panel_timeout_seconds,
            image_hosts=settings.image_hosts,
            usage_viewers=settings.ledger.viewers,
            agents=settings.agents,
        ),
    )
    ours = discover()
    plugins = ground.plugins.find(settings.plugin_folders, taken=[tool.name for tool in ours])
    registry = ToolRegistry(
        (*ours, *(tool for plugin in plugins for tool in plugin.content.tools)),
        services=services,
        chain=_chain("tools", settings.middleware.tools, TOOL_STEPS, parts, ToolResponse),
        offered=settings.tools,
        disabled=settings.disabled_tools,
        settings=settings_of(plugins, settings.tool_settings),
    )
    if ground.metrics is not None:
        ground.metrics.allow("tool", [tool.name for tool in registry.tools])
    return App(
        config=config,
        catalog=catalog,
        ground=ground,
        conversations=conversations,
        gateway=gateway,
        usage=services.usage,
        registry=registry,
        plugins=plugins,
    )


def lay_ground(config: Config, *, environ: Mapping[str, str], door: Door = "cli") -> Ground:
    """What is made once for the life of a server.

    Raises:
        ConfigError: `redis_url` or `database_url` is wrong, or its client is not installed.
    """
    settings, routing = config.server, config.providers.providers
    secrets: set[str] = set()
    local = LocalPanel(
        cache_directory=cache_folder(environ),
        idle_seconds=settings.local.idle_seconds,
        context_window=settings.local.context_window,
        threads=settings.local.threads,
    )
    direct = DirectProvider(secrets=lambda: secrets, local=local)
    usual = LiteLLMProvider(secrets=lambda: secrets, local=local)
    redis = Redis(settings.redis_url, tell=_tell_of_redis) if settings.redis_url else None
    database = _database(settings, environ, secrets)
    ledger = Ledger(database, tell=_tell_of_ledger)
    metrics = metrics_for(settings.metrics, fetched=door == "http", exported=door != "cli")
    if metrics is not None:
        metrics.read("ledger_rows_waiting", lambda: ledger.waiting)
        metrics.read("ledger_rows_lost", lambda: ledger.lost)
    return Ground(
        provider=direct if settings.provider == "direct" else WithEmergencyExit(usual, direct),
        local=local,
        database=database,
        ledger=ledger,
        redis=redis,
        health=HealthBoard(
            allowed_fails=routing.allowed_fails,
            cooldown_seconds=routing.cooldown_seconds,
            shared=RedisRests(redis) if redis else None,
        ),
        balance=Balance(),
        metrics=metrics,
        export=MetricsExport(metrics, settings.metrics, tell=_tell_of_metrics) if metrics else None,
        tracing=tracing_for(settings.telemetry, environ),
        plugins=Plugins(),
        secrets=secrets,
        disk_closed=door == "http",
    )


def _database(settings: ServerSettings, environ: Mapping[str, str], secrets: set[str]) -> Database:
    """Postgres where server.yaml names one, else a file of SQLite."""
    if settings.database_url is None:
        return SQLiteDatabase((settings.state_dir or state_folder(environ)) / "zen.db")
    database = PostgresDatabase(settings.database_url)
    if database.password:
        secrets.add(database.password)
    return database


def _chain(
    which: str,
    names: Sequence[str] | None,
    table: Mapping[str, Callable[[Parts], Middleware[Request, Response] | None]],
    parts: Parts,
    response: type[Response],
) -> tuple[Middleware[Request, Response], ...]:
    def place(key: KeyPath) -> Place:
        places = parts.config.server_places
        return places.get(key) or places.get(key[:-1]) or Place("server.yaml")

    makers = {name: partial(make, parts) for name, make in table.items()}
    return chain_of(("middleware", which), names, makers, response=response, place=place)


def _gateway(parts: Parts, watchers: Sequence[ModelStep]) -> Gateway:
    config, ground = parts.config, parts.ground
    router = Router(
        catalog=parts.catalog,
        provider=ground.provider,
        settings=config.providers.providers,
        health=ground.health,
        balance=ground.balance,
        capacity=Capacity(),
        watchers=ground.watchers(),
    )
    chain = _chain("models", config.server.middleware.models, MODEL_STEPS, parts, ModelResponse)
    return Gateway(catalog=parts.catalog, router=router, chain=(*watchers, *chain))


def _cache(parts: Parts) -> ResponseCache:
    settings, catalog, ground = parts.config.server.cache, parts.catalog, parts.ground
    return ResponseCache(
        RedisResponses(ground.redis) if ground.redis else SQLResponses(ground.database),
        default="use" if settings.enabled else "off",
        seconds=settings.ttl_seconds,
        fingerprint=lambda name: fingerprint(catalog.resolve(name)),
        similar=_similar(settings, catalog, ground) if settings.semantic.enabled else None,
    )


def _similar(settings: CacheSettings, catalog: Catalog, ground: Ground) -> SimilarQuestions:
    """The semantic cache.

    Raises:
        ConfigError: its extra is not installed.
    """
    return SimilarQuestions(
        RedisSimilar(ground.redis) if ground.redis else SQLSimilar(ground.database),
        embed=LocalEmbedding().embed,
        threshold=settings.semantic.threshold,
        seconds=settings.ttl_seconds,
        key_of=lambda request: key_of(request, fingerprint(catalog.resolve(request.model))),
    )


def _tell_of_redis(what: str) -> None:
    _log.warning("redis", what=what)


def _tell_of_ledger(what: str) -> None:
    _log.error("ledger", what=what)


def _tell_of_metrics(what: str) -> None:
    _log.error("metrics", what=what)
