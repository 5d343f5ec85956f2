"""build(): the one place that knows every part. No container, no globals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from zen_mcp.catalog import Catalog
from zen_mcp.config.folders import cache_folder, state_folder
from zen_mcp.config.schema import Config
from zen_mcp.conversations import Conversations
from zen_mcp.gateway import Gateway
from zen_mcp.middleware.base import Middleware
from zen_mcp.middleware.log import log_model, log_tool
from zen_mcp.providers.base import Provider
from zen_mcp.providers.direct_provider import DirectProvider
from zen_mcp.providers.emergency import WithEmergencyExit
from zen_mcp.providers.litellm_provider import LiteLLMProvider
from zen_mcp.providers.local import LocalPanel
from zen_mcp.routing.balance import Balance
from zen_mcp.routing.capacity import Capacity
from zen_mcp.routing.health import HealthBoard
from zen_mcp.routing.router import Router
from zen_mcp.storage.sqlite import SQLiteDatabase
from zen_mcp.tools.context import ToolServices, ToolSettings
from zen_mcp.tools.discovery import discover
from zen_mcp.tools.registry import ToolRegistry
from zen_mcp.types import ModelRequest, ModelResponse


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """Every part of a running server, wired."""

    config: Config
    catalog: Catalog
    provider: Provider
    local: LocalPanel
    database: SQLiteDatabase
    conversations: Conversations
    gateway: Gateway
    registry: ToolRegistry

    def warm_up(self) -> None:
        """Import what the first model request needs; slow, so run it in a thread."""
        self.provider.warm_up()

    async def tidy(self) -> None:
        """Remove threads that nobody used for longer than they are kept."""
        if self.database.path.exists():
            await self.conversations.expire()

    async def aclose(self) -> None:
        """Close connections and the database. Local models go on for other servers and end when idle."""
        await self.provider.aclose()
        await self.local.aclose()
        await self.database.aclose()


def build(
    config: Config,
    *,
    environ: Mapping[str, str],
    working_directory: Path | None = None,
    model_watchers: Sequence[Middleware[ModelRequest, ModelResponse]] = (),
) -> App:
    """Wire a server. Nothing is opened, started or imported that the first request does not need.

    Args:
        config: the checked settings.
        environ: where the folders for state and cache are looked up.
        working_directory: the root for files when server.yaml names none; None for the process's own.
        model_watchers: middlewares around every model request, outside ours; the CLI draws its live table with one.

    Raises:
        ConfigError: the catalog contradicts itself.
    """
    settings = config.server
    here = working_directory or Path.cwd()
    catalog = Catalog.from_config(config)
    local = LocalPanel(
        cache_directory=cache_folder(environ),
        idle_seconds=settings.local.idle_seconds,
        context_window=settings.local.context_window,
        threads=settings.local.threads,
    )
    direct = DirectProvider(secrets=catalog.secrets, local=local)
    usual = LiteLLMProvider(secrets=catalog.secrets, local=local)
    provider = direct if settings.provider == "direct" else WithEmergencyExit(usual, direct)
    database = SQLiteDatabase((settings.state_dir or state_folder(environ)) / "zen.db")
    conversations = Conversations(database, retention_days=settings.thread_retention_days)
    routing = config.providers.providers
    router = Router(
        catalog=catalog,
        provider=provider,
        settings=routing,
        health=HealthBoard(allowed_fails=routing.allowed_fails, cooldown_seconds=routing.cooldown_seconds),
        balance=Balance(),
        capacity=Capacity(),
    )
    gateway = Gateway(catalog=catalog, router=router, chain=(*model_watchers, log_model))
    services = ToolServices(
        catalog=catalog,
        gateway=gateway,
        conversations=conversations,
        settings=ToolSettings(
            max_result_characters=settings.max_result_characters,
            max_prompt_characters=settings.max_prompt_characters,
            max_file_bytes=settings.max_file_bytes,
            allow_secret_files=settings.allow_secret_files,
            roots=tuple(settings.roots) or (here,),
            panel_timeout_seconds=settings.panel_timeout_seconds,
        ),
    )
    registry = ToolRegistry(
        discover(settings.plugin_folders),
        services=services,
        chain=(log_tool,),
        offered=settings.tools,
        disabled=settings.disabled_tools,
    )
    return App(
        config=config,
        catalog=catalog,
        provider=provider,
        local=local,
        database=database,
        conversations=conversations,
        gateway=gateway,
        registry=registry,
    )
