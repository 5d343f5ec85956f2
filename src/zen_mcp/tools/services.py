"""What all calls of tools share, and the settings that they obey."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from zen_mcp.catalog import Catalog
from zen_mcp.config.agent_schema import AgentSettings
from zen_mcp.conversations import Conversations
from zen_mcp.gateway import Gateway
from zen_mcp.jobs.batch import Batches
from zen_mcp.jobs.store import JobStore
from zen_mcp.middleware.limits import Limits
from zen_mcp.storage.usage import UsageReports
from zen_mcp.types import JSONValue


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolSettings:
    """The settings that tools obey; server.yaml documents each."""

    max_result_characters: int = 7_500
    max_prompt_characters: int = 2_000_000
    max_file_bytes: int = 1_048_576
    allow_secret_files: bool = False
    roots: tuple[Path, ...] = ()
    """The folders that callers may read; none: the server's disk is closed, and files are sent as texts."""
    panel_timeout_seconds: float | None = None
    image_hosts: tuple[str, ...] = ()
    usage_viewers: tuple[str, ...] = ("local",)
    agents: Mapping[str, AgentSettings] = field(default_factory=dict[str, AgentSettings])
    only_models: tuple[str, ...] = ()
    """Patterns of the models that this tool may ask; empty for all."""
    prompts_dir: Path | None = None
    """Where `NAME.md` replaces parts of this tool's prompt."""
    options: Mapping[str, JSONValue] = field(default_factory=dict[str, JSONValue])
    """What only this tool reads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolServices:
    """What every call shares: catalog, gateway, threads, reports, jobs, limits, batches, settings."""

    catalog: Catalog
    gateway: Gateway
    conversations: Conversations
    usage: UsageReports
    jobs: JobStore
    limits: Limits
    batches: Batches
    settings: ToolSettings
