"""build(): the one place that knows every part. No container, no globals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import anyio

from zen_mcp.catalog import Catalog
from zen_mcp.chains import MODEL_STEPS, TOOL_STEPS, ModelStep, Parts, chain
from zen_mcp.config.schema import Config, ServerSettings
from zen_mcp.conversations import Conversations
from zen_mcp.errors import StorageError
from zen_mcp.gateway import Gateway
from zen_mcp.ground import Door, Ground, lay_ground
from zen_mcp.health import Check, checks
from zen_mcp.jobs.background import KIND as CALL
from zen_mcp.jobs.background import BackgroundCalls
from zen_mcp.jobs.batch import KIND as BATCH
from zen_mcp.jobs.batch import Batches
from zen_mcp.jobs.store import JobStore
from zen_mcp.jobs.tuning import KIND as FINETUNE
from zen_mcp.jobs.tuning import Tunings
from zen_mcp.middleware.limit_setup import limits_of
from zen_mcp.middleware.limit_use import most_used
from zen_mcp.middleware.limits import Limits
from zen_mcp.providers.batches import VendorBatches
from zen_mcp.providers.fine_tuning import VendorTunings
from zen_mcp.routing.capacity_setup import room_of
from zen_mcp.routing.router import Router
from zen_mcp.storage.usage import UsageReports
from zen_mcp.tools.context import ToolServices, ToolSettings
from zen_mcp.tools.foreign.discovery import Plugin, discover, settings_of
from zen_mcp.tools.registry import ToolRegistry
from zen_mcp.types import ModelResponse, ToolResponse

_MEASURE_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """Every part of a running server, wired."""

    config: Config
    catalog: Catalog
    ground: Ground
    conversations: Conversations
    gateway: Gateway
    usage: UsageReports
    batches: Batches
    tunings: Tunings
    registry: ToolRegistry
    plugins: tuple[Plugin, ...]
    limits: Limits

    @property
    def tasks(self) -> JobStore | None:
        """The jobs that clients may see as tasks; None where no call becomes a job, for want of the step."""
        steps = self.config.server.middleware.tools
        return self.ground.worker.store if steps is None or {"default", "background"} & {*steps} else None

    def warm_up(self) -> None:
        """Import what calls will need; slow, so run it in a thread."""
        if self.config.server.warm_up:
            self.ground.provider.warm_up()
        if self.ground.metrics is not None:
            self.ground.metrics.load()
        if self.ground.tracing is not None:
            self.ground.tracing.load()

    def checks(self) -> Sequence[Check]:
        """What must be in order for calls to be answered; `/readyz` and `zen doctor` run them."""
        return checks(self.ground, self.catalog, self.limits, folder=self.ground.folder)

    async def measure(self) -> None:
        """Set the gauges that are not set by calls, before the metrics are read."""
        metrics = self.ground.metrics
        if metrics is None or not self.limits.rules:
            return
        # Counters that are away leave the last figures, and are told by the step that counts.
        with suppress(StorageError), anyio.move_on_after(_MEASURE_SECONDS):
            for limit, ratio in (await most_used(self.limits)).items():
                metrics.set("limit_use_ratio", ratio, limit=limit)

    async def tidy(self) -> None:
        """Remove threads that nobody used for longer than they are kept."""
        if await self.ground.database.exists():
            await self.conversations.expire()

    async def aclose(self) -> None:
        """Close connections and the database. Local models go on for other servers and end when idle."""
        await self.ground.provider.aclose()
        await self.ground.local.aclose()
        await self.ground.ledger.aclose()
        await self.ground.worker.store.aclose()
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
    ours = discover()
    plugins = ground.plugins.find(settings.plugin_folders, taken=[tool.name for tool in ours])
    tools = (*ours, *(tool for plugin in plugins for tool in plugin.content.tools))
    limits = _limits(config, catalog, ground, [tool.name for tool in tools])
    background = BackgroundCalls(ground.worker)
    parts = Parts(config=config, catalog=catalog, ground=ground, background=background, limits=limits)
    _take_in(config, catalog, ground, limits)
    conversations = Conversations(ground.database, retention_days=settings.thread_retention_days)
    gateway = _gateway(parts, model_watchers)
    batches = _batches(parts, gateway)
    services = ToolServices(
        catalog=catalog,
        gateway=gateway,
        conversations=conversations,
        usage=UsageReports(ground.database),
        jobs=ground.worker.store,
        limits=limits,
        batches=batches,
        settings=_tool_settings(settings, ground, working_directory),
    )
    registry = ToolRegistry(
        tools,
        services=services,
        chain=chain("tools", settings.middleware.tools, TOOL_STEPS, parts, ToolResponse),
        offered=settings.tools,
        disabled=settings.disabled_tools,
        settings=settings_of(plugins, settings.tool_settings),
        prompts=[prompt for plugin in plugins for prompt in plugin.content.prompts],
        resources=[resource for plugin in plugins for resource in plugin.content.resources],
    )
    if ground.metrics is not None:
        ground.metrics.allow("tool", [tool.name for tool in registry.tools])
    background.tools = registry
    tunings = _tunings(parts)
    ground.worker.handlers = {CALL: background.run, BATCH: batches.run, FINETUNE: tunings.run}
    app = App(
        config=config,
        catalog=catalog,
        ground=ground,
        conversations=conversations,
        gateway=gateway,
        usage=services.usage,
        batches=batches,
        tunings=tunings,
        registry=registry,
        plugins=plugins,
        limits=limits,
    )
    if ground.export is not None:
        ground.export.before = app.measure
    return app


def _tool_settings(settings: ServerSettings, ground: Ground, working_directory: Path | None) -> ToolSettings:
    return ToolSettings(
        max_result_characters=settings.max_result_characters,
        max_prompt_characters=settings.max_prompt_characters,
        max_file_bytes=settings.max_file_bytes,
        allow_secret_files=settings.allow_secret_files,
        roots=tuple(settings.roots) or (() if ground.disk_closed else (working_directory or Path.cwd(),)),
        panel_timeout_seconds=settings.panel_timeout_seconds,
        image_hosts=settings.image_hosts,
        usage_viewers=settings.ledger.viewers,
        agents=settings.agents,
    )


def _tunings(parts: Parts) -> Tunings:
    return Tunings(
        jobs=parts.ground.worker.store,
        catalog=parts.catalog,
        vendors=VendorTunings(parts.ground.vendor_api),
        models=parts.ground.tuned,
    )


def _batches(parts: Parts, gateway: Gateway) -> Batches:
    ground = parts.ground
    return Batches(
        database=ground.database,
        jobs=ground.worker.store,
        catalog=parts.catalog,
        ask=gateway.ask,
        parallel=parts.config.server.batch_parallel,
        vendors=VendorBatches(ground.vendor_api),
        at_vendors=not parts.limits.has_budgets,
        ledger=ground.ledger,
    )


def _limits(config: Config, catalog: Catalog, ground: Ground, tools: Sequence[str]) -> Limits:
    return limits_of(config, catalog, tools, database=ground.database, redis=ground.redis, memory=ground.counters)


def _gateway(parts: Parts, watchers: Sequence[ModelStep]) -> Gateway:
    config, ground = parts.config, parts.ground
    router = Router(
        catalog=parts.catalog,
        provider=ground.provider,
        settings=config.providers.providers,
        health=ground.health,
        balance=ground.balance,
        capacity=room_of(config, database=ground.database, redis=ground.redis),
        watchers=ground.watchers(),
        check=parts.limits.check_model,
    )
    steps = chain("models", config.server.middleware.models, MODEL_STEPS, parts, ModelResponse)
    return Gateway(catalog=parts.catalog, router=router, chain=(*watchers, *steps))


def _take_in(config: Config, catalog: Catalog, ground: Ground, limits: Limits) -> None:
    """Tell the parts that outlive a change of the settings what has changed for them."""
    ground.secrets.update(catalog.secrets())
    ground.secrets.update(config.server.telemetry.headers.values())
    ground.secrets.update(config.server.http.state_key)
    ground.ledger.retention_days = config.server.ledger.retention_days
    ground.alerts.use(config.alerts, partial(most_used, limits))
    for channel in config.alerts.channels.values():
        ground.secrets.update((*channel.headers.values(), *([channel.url] if channel.url else [])))
