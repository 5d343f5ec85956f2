"""The ground of a server: what is made once for its life, and outlives a change of the settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import anyio

from zen_mcp.alerts.watch import AlertWatch
from zen_mcp.config.folders import cache_folder, state_folder
from zen_mcp.config.schema import Config, ServerSettings
from zen_mcp.config.tuned import STAMP
from zen_mcp.errors import StorageError
from zen_mcp.jobs.store import JobStore
from zen_mcp.jobs.worker import JobWorker
from zen_mcp.middleware.metrics import AttemptMetrics
from zen_mcp.observability.export import MetricsExport, metrics_for
from zen_mcp.observability.logs import EventLog
from zen_mcp.observability.metrics import Metrics
from zen_mcp.observability.tracing import Tracing, tracing_for
from zen_mcp.providers.base import Provider
from zen_mcp.providers.direct_provider import DirectProvider
from zen_mcp.providers.emergency import WithEmergencyExit
from zen_mcp.providers.litellm_provider import LiteLLMProvider
from zen_mcp.providers.local import LocalPanel
from zen_mcp.providers.vendor_api import VendorAPI
from zen_mcp.routing.balance import Balance
from zen_mcp.routing.health import HealthBoard
from zen_mcp.routing.watch import AttemptWatcher
from zen_mcp.storage.base import Database
from zen_mcp.storage.ledger import Ledger
from zen_mcp.storage.memory_counters import MemoryCounters
from zen_mcp.storage.postgres import PostgresDatabase
from zen_mcp.storage.redis import Redis, RedisRests
from zen_mcp.storage.sqlite import SQLiteDatabase
from zen_mcp.storage.tuned import TunedModels
from zen_mcp.tools.foreign.discovery import Plugins

Door = Literal["cli", "stdio", "http"]

_log = EventLog()

_TUNED_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What outlives a change of the settings: connections, processes, the database, what is known of deployments."""

    provider: Provider
    local: LocalPanel
    vendor_api: VendorAPI
    """Reaches what vendors offer beside answers: files, batches."""
    database: Database
    ledger: Ledger
    redis: Redis | None
    health: HealthBoard
    balance: Balance
    counters: MemoryCounters
    metrics: Metrics | None
    """None where nobody can read them."""
    export: MetricsExport | None
    tracing: Tracing | None
    plugins: Plugins
    worker: JobWorker
    """Does the jobs that outlive a call; it idles until there is one."""
    alerts: AlertWatch
    secrets: set[str]
    """Every key that any settings so far held, to be kept out of messages."""
    tuned: TunedModels
    folder: Path | None = None
    """Where the database is; None where it is not on this machine."""
    disk_closed: bool = False
    """Whether no file of this machine may be read where server.yaml names no roots: callers are elsewhere."""

    def watchers(self) -> Sequence[AttemptWatcher]:
        """Who sees every HTTP request to a vendor."""
        metrics = [AttemptMetrics(self.metrics)] if self.metrics is not None else []
        return (*([self.tracing] if self.tracing is not None else []), *metrics)

    async def work(self) -> None:
        """What goes on beside the calls, until cancelled: rows are written, metrics exported, jobs done."""
        async with anyio.create_task_group() as group:
            group.start_soon(self.ledger.keep)
            group.start_soon(self.worker.run)
            group.start_soon(self.alerts.keep)
            if self.export is not None:
                group.start_soon(self.export.keep)


def lay_ground(
    config: Config, *, environ: Mapping[str, str], door: Door = "cli", shared_metrics: Path | None = None
) -> Ground:
    """What is made once for the life of a server.

    Args:
        config: the checked settings.
        environ: where the folders for state and cache are looked up.
        door: how the world comes in.
        shared_metrics: the folder where the processes of one server keep their metrics; None for a process alone.

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
    metrics = metrics_for(settings.metrics, fetched=door == "http", exported=door != "cli", shared=shared_metrics)
    if metrics is not None:
        metrics.read("ledger_rows_waiting", lambda: ledger.waiting)
        metrics.read("ledger_rows_lost", lambda: ledger.lost)
    folder = settings.state_dir or state_folder(environ)
    jobs = JobStore(database_url=settings.database_url, folder=folder)
    return Ground(
        provider=direct if settings.provider == "direct" else WithEmergencyExit(usual, direct),
        local=local,
        vendor_api=VendorAPI(secrets=lambda: secrets),
        database=database,
        ledger=ledger,
        # Replicas share their jobs, so each works from the start; a server alone waits for its first one.
        worker=JobWorker(
            jobs,
            database,
            concurrency=settings.jobs_at_once,
            at_once=settings.database_url is not None and jobs.installed,
        ),
        redis=redis,
        health=HealthBoard(
            allowed_fails=routing.allowed_fails,
            cooldown_seconds=routing.cooldown_seconds,
            shared=RedisRests(redis) if redis else None,
        ),
        balance=Balance(),
        counters=MemoryCounters(),
        metrics=metrics,
        export=MetricsExport(metrics, settings.metrics, tell=_tell_of_metrics) if metrics else None,
        tracing=tracing_for(settings.telemetry, environ),
        plugins=Plugins(),
        alerts=AlertWatch(database, tell=_tell_of_alerts),
        secrets=secrets,
        tuned=TunedModels(database, folder=folder, everywhere=settings.database_url is not None),
        folder=None if settings.database_url else folder,
        disk_closed=door == "http",
    )


async def with_tuned(config: Config, tuned: TunedModels) -> Config:
    """The settings with the models that were fine-tuned from here; as they are, where these cannot be read in time."""
    try:
        with anyio.fail_after(_TUNED_SECONDS):
            return replace(config, tuned=await tuned.all())
    except (StorageError, TimeoutError) as exc:
        _log.warning("tuned_models_not_read", reason=str(exc) or "no answer in time")
        return config


def load_tuned(config: Config, *, environ: Mapping[str, str]) -> Config:
    """The same before a server has a loop. Where there never was such a model on this machine, it costs nothing.

    Raises:
        ConfigError: `database_url` is wrong, or its client is not installed.
    """
    settings = config.server
    folder, everywhere = config.state_directory, settings.database_url is not None
    if not everywhere and not (folder / STAMP).exists():
        return config
    database = _database(settings, environ, set())

    async def read() -> Config:
        try:
            return await with_tuned(config, TunedModels(database, folder=folder, everywhere=everywhere))
        finally:
            with anyio.move_on_after(1, shield=True):
                await database.aclose()

    return anyio.run(read)


def _database(settings: ServerSettings, environ: Mapping[str, str], secrets: set[str]) -> Database:
    """Postgres where server.yaml names one, else a file of SQLite."""
    if settings.database_url is None:
        return SQLiteDatabase((settings.state_dir or state_folder(environ)) / "zen.db")
    database = PostgresDatabase(settings.database_url)
    if database.password:
        secrets.add(database.password)
    return database


def _tell_of_redis(what: str) -> None:
    _log.warning("redis", what=what)


def _tell_of_ledger(what: str) -> None:
    _log.error("ledger", what=what)


def _tell_of_metrics(what: str) -> None:
    _log.error("metrics", what=what)


def _tell_of_alerts(what: str) -> None:
    _log.error("alerts", what=what)
