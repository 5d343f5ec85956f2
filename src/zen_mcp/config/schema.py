"""The settings as data: what may stand in server.yaml, and the whole of what was loaded.

The field descriptions are product text: `zen config schema` and docs/configuration.md show them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from zen_mcp.config.agent_schema import AgentSettings
from zen_mcp.config.alert_schema import AlertsFile
from zen_mcp.config.environment import Environment
from zen_mcp.config.http_schema import AuthSettings, HttpSettings
from zen_mcp.config.limit_schema import LimitsFile
from zen_mcp.config.model_schema import ModelSettings, ModelsFile
from zen_mcp.config.problems import KeyPath, Place
from zen_mcp.config.provider_schema import ProvidersFile
from zen_mcp.config.tool_schema import OneToolSettings
from zen_mcp.config.tuned import TunedModel
from zen_mcp.config.values import Count, Days, Entries, Flag, Names, Seconds, Settings, Version

LogLevel = Annotated[
    Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"],
    BeforeValidator(lambda value: value.upper() if isinstance(value, str) else value),  # pyright: ignore[reportUnknownLambdaType, reportUnknownMemberType]
]

AUTO_MODELS = (
    "opus",
    "gpt",
    "gemini",
    "grok",
    "deepseek",
    "mistral",
    "kimi",
    "glm",
    "groq",
    "openrouter",
    "vertex",
    "azure",
    "bedrock",
)
"""One flagship per vendor, in the order in which `auto` looks for one that can be asked."""


class LogSettings(Settings):
    """What is logged, and where."""

    level: LogLevel = Field(default="INFO", description="The least important level that is written.")
    format: Literal["json", "console"] = Field(default="json", description="One JSON object per line, or text.")
    file: Path | None = Field(default=None, description="A file that rotates; without it, stderr.")
    content: Flag = Field(default=False, description="Whether prompts and arguments may stand in the log.")


class SemanticSettings(Settings):
    """Answers to questions that mean the same."""

    enabled: Flag = Field(
        default=False,
        description="Whether a remembered question in other words counts; needs the extra `semantic`.",
    )
    threshold: Annotated[float, Field(ge=0.9, le=1)] = Field(
        default=0.95, description="How alike two questions must be; below 0.95 wrong answers are frequent."
    )


class CacheSettings(Settings):
    """Answers that are remembered."""

    enabled: Flag = Field(
        default=False,
        description="Whether an identical request is answered from memory; a call may decide otherwise.",
    )
    ttl_seconds: Seconds = Field(default=86_400.0, description="How long an answer is remembered.")
    semantic: SemanticSettings = Field(
        default_factory=SemanticSettings, description="Answers to questions that mean the same."
    )


class LedgerSettings(Settings):
    """The ledger: a row for every tool call and every model request."""

    retention_days: Count = Field(default=365, description="Older rows are deleted.")
    viewers: Names = Field(
        default=("local",),
        description="Callers who see everybody's usage (`ops-*`); all others see their own.",
    )


class MetricsSettings(Settings):
    """Metrics, for Prometheus."""

    enabled: Flag = Field(
        default=True,
        description="Whether calls are counted; where there is nowhere to read the metrics, they are not.",
    )
    textfile: Path | None = Field(
        default=None, description="A file for the node exporter's textfile collector; one per server."
    )
    push_url: str | None = Field(default=None, min_length=1, description="A push gateway (`http://host:9091`).")
    interval_seconds: Seconds = Field(default=15.0, description="How often the file is written, the gateway pushed to.")


class TelemetrySettings(Settings):
    """Traces and metrics for OpenTelemetry."""

    otlp_endpoint: str | None = Field(
        default=None,
        pattern=r"^https?://",
        description="Where they are sent (`http://host:4318`); without it, where OTEL_EXPORTER_OTLP_ENDPOINT says.",
    )
    headers: Entries[str] = Field(
        default={}, validate_default=True, description="Sent along, for receivers that want a key."
    )
    content: Flag = Field(default=False, description="Whether prompts and answers are recorded in traces.")
    interval_seconds: Seconds = Field(default=60.0, description="How often metrics are sent.")


class LocalSettings(Settings):
    """The models that run on this machine."""

    idle_seconds: Seconds = Field(default=900.0, description="A model unused for this long is stopped.")
    threads: Count | None = Field(default=None, description="CPU threads per model; without it, chosen by cores.")
    context_window: Count = Field(default=4096, description="Tokens of context that a model is started with.")


class MiddlewareSettings(Settings):
    """The steps around calls, by name, outermost first; see docs/middleware.md."""

    tools: Names | None = Field(
        default=None,
        description="Steps around every tool call: ours by name, `default` for all of them, `package.module:Name`.",
    )
    models: Names | None = Field(default=None, description="Steps around every model request.")


class ServerSettings(Settings):
    """server.yaml: how the server behaves."""

    version: Version = Field(default="1.0", description="The version of this file's format.")
    default_model: str = Field(
        default="auto", min_length=1, description="The model that answers when none is named; `auto` chooses."
    )
    default_panel: Names = Field(default=(), description="The models a consensus asks; empty: chosen.")
    auto_models: Names = Field(
        default=AUTO_MODELS, description="Where `auto` looks, in this order, for a model that can be asked."
    )
    provider: Literal["litellm", "direct"] = Field(
        default="litellm",
        description="What reaches the models; `direct` knows OpenAI's API only, and steps in when LiteLLM is broken.",
    )
    warm_up: Flag = Field(
        default=True,
        description="Import what asks models as soon as the server runs; else at the first question, which waits 2 s.",
    )
    default_timeout_seconds: Seconds = Field(
        default=180.0, description="The deadline of one model request, retries and fallbacks included."
    )
    panel_timeout_seconds: Seconds | None = Field(
        default=None, description="The deadline of a whole consensus; without it, the models' own deadlines."
    )
    client_seconds: Seconds | None = Field(
        default=None,
        description="How long your clients wait for a call; without it, what is known of each. A longer call becomes a "
        "job.",
    )
    heartbeat_seconds: Seconds = Field(default=15.0, description="Seconds between progress messages of a call.")
    max_result_characters: Annotated[int, Field(ge=500)] = Field(
        default=7500, description="A longer answer is given in pages."
    )
    roots: tuple[Path, ...] = Field(
        default=(), description="Folders whose files may be read; empty: the working directory."
    )
    allow_secret_files: Flag = Field(
        default=False, description="Whether secrets in files, `.env` and key files may be sent to models."
    )
    image_hosts: Names = Field(
        default=(), description="Hosts from which images may be fetched by address (`*.example.com`, `*`); empty: none."
    )
    max_file_bytes: Count = Field(default=1_048_576, description="A larger file is refused.")
    max_prompt_characters: Count = Field(default=2_000_000, description="A longer prompt is refused.")
    state_dir: Path | None = Field(
        default=None, description="The folder of the database; without it, the user's state folder."
    )
    thread_retention_days: Days = Field(
        default=30, description="Threads untouched for this long are deleted, unless pinned; 0 or null: none is."
    )
    log: LogSettings = Field(default_factory=LogSettings, description="Logs.")
    disabled_tools: Names = Field(default=(), description="Tools that are not offered.")
    tools: Names = Field(default=("core",), description="Profiles (`core`, `full`), names of tools, or both.")
    plugin_folders: tuple[Path, ...] = Field(
        default=(), description="Folders of your own tools; their code runs with the server's rights."
    )
    tool_settings: Entries[OneToolSettings] = Field(
        default={}, description="Settings of single tools, by name: models, limits, prompts, whether it is offered."
    )
    allow_models: Names = Field(default=(), description="Only models that match one of these patterns; empty: all.")
    deny_models: Names = Field(default=(), description="No model that matches one of these patterns.")
    cache: CacheSettings = Field(default_factory=CacheSettings, description="Remembered answers.")
    ledger: LedgerSettings = Field(default_factory=LedgerSettings, description="What is kept of calls.")
    telemetry: TelemetrySettings = Field(default_factory=TelemetrySettings, description="Traces and metrics over OTLP.")
    metrics: MetricsSettings = Field(default_factory=MetricsSettings, description="What is counted, for Prometheus.")
    database_url: str | None = Field(
        default=None,
        min_length=1,
        description="A Postgres database for what replicas share (`postgresql://…`); without it, a file of SQLite.",
    )
    jobs_at_once: Count = Field(default=8, description="Jobs that this server does at the same time.")
    batch_parallel: Count = Field(default=8, description="Prompts of one batch that are asked at the same time.")
    redis_url: str | None = Field(
        default=None,
        min_length=1,
        description="A Redis for what replicas share: remembered answers, the health of deployments.",
    )
    middleware: MiddlewareSettings = Field(
        default_factory=MiddlewareSettings, description="The steps around calls, and their order."
    )
    prelude: Flag = Field(default=True, description="Answer the handshake from a stored snapshot.")
    local: LocalSettings = Field(default_factory=LocalSettings, description="The local models.")
    agents: Entries[AgentSettings] = Field(
        default={}, validate_default=True, description="Other agents' command lines by name, for `clink`."
    )
    http: HttpSettings = Field(default_factory=HttpSettings, description="`zen serve --http`.")
    auth: AuthSettings = Field(default_factory=AuthSettings, description="Who may come in over HTTP.")


FILES: Mapping[str, type[Settings]] = {
    "models": ModelsFile,
    "providers": ProvidersFile,
    "limits": LimitsFile,
    "alerts": AlertsFile,
    "server": ServerSettings,
}
"""The settings files by name without `.yaml`, and what each may hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfiguredModel:
    """One entry of models.yaml after all layers, with what the catalog must know besides.

    Attributes:
        place: where the entry was first written; its layer says by whom.
        user_place: where somebody other than us wrote it or changed it; None for ours untouched.
        missing: fields that are empty because a variable is not set, and the variables to choose from.
        key_variables: the variables that `api_key` names.
        deployments: the several ways to reach it, each with the model's own settings where it has none; empty for one.
        project_fields: the fields that the working directory's own `.zen` folder wrote.
    """

    settings: ModelSettings
    place: Place
    user_place: Place | None = None
    missing: Mapping[str, tuple[str, ...]]
    key_variables: tuple[str, ...] = ()
    deployments: tuple[ConfiguredModel, ...] = ()
    project_fields: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """All settings of all layers, checked; nothing changes it.

    Attributes:
        server_places, provider_places, limit_places: where each setting of these files was written; defaults of the
            program are not in them.
        environment: the variables that `${…}` may name, and where each came from.
        files: the files that were read, lowest layer first.
        files_with_secrets: those of them in which a key or password stands as it is.
        folders: every settings folder looked at as (layer, path), lowest first.
        state_directory: where the database is, when it is a file.
        cache_directory: where what can be made again is kept.
        tuned: models that were fine-tuned from here; whoever can ask the database puts them there.
    """

    server: ServerSettings
    providers: ProvidersFile
    limits: LimitsFile
    alerts: AlertsFile
    models: Mapping[str, ConfiguredModel]
    server_places: Mapping[KeyPath, Place]
    provider_places: Mapping[KeyPath, Place]
    limit_places: Mapping[KeyPath, Place]
    environment: Environment
    files: tuple[Path, ...]
    files_with_secrets: tuple[Path, ...]
    folders: tuple[tuple[str, Path], ...]
    state_directory: Path
    cache_directory: Path
    tuned: tuple[TunedModel, ...] = ()
