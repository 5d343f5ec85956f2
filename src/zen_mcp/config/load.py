"""Find, merge, expand and check the settings."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar, cast

from pydantic import ValidationError

from zen_mcp.config.alert_schema import AlertsFile, channel_problems
from zen_mcp.config.environment import Environment, read_dotenv
from zen_mcp.config.expansion import Expansion, expand
from zen_mcp.config.exposure import files_with_secrets
from zen_mcp.config.folders import (
    ARGUMENT,
    DOTENV_NAME,
    ENVIRONMENT,
    PROJECT,
    cache_folder,
    config_folders,
    state_folder,
)
from zen_mcp.config.limit_schema import LimitsFile
from zen_mcp.config.merge import merge
from zen_mcp.config.model_schema import CLOUD_FIELDS, ModelsFile
from zen_mcp.config.models import configured_models
from zen_mcp.config.problems import KeyPath, Place, Problem, config_error
from zen_mcp.config.provider_schema import ProvidersFile
from zen_mcp.config.schema import FILES, Config, ServerSettings
from zen_mcp.config.source import Source, read_source
from zen_mcp.config.translate import problems_of
from zen_mcp.config.values import Settings

File = TypeVar("File", bound=Settings)

_OVERRIDES = {
    "DISABLED_TOOLS": ("disabled_tools",),
    "DEFAULT_MODEL": ("default_model",),
    "ZEN_LOG_LEVEL": ("log", "level"),
    "ZEN_PLUGIN_FOLDERS": ("plugin_folders",),
    "ZEN_PRELUDE": ("prelude",),
    "ZEN_STATE_DIR": ("state_dir",),
    "ZEN_TOOLS": ("tools",),
}
"""Environment variables above every server.yaml."""
_PATHS = ({("state_dir",), ("log", "file"), ("metrics", "textfile")}, {"roots", "plugin_folders"})
_NOT_FROM_PROJECT: tuple[KeyPath, ...] = (
    ("plugin_folders",),
    ("tool_settings",),
    ("allow_secret_files",),
    ("ledger",),
    ("metrics",),
    ("telemetry",),
    ("roots",),
    ("state_dir",),
    ("redis_url",),
    ("database_url",),
    ("image_hosts",),
    ("middleware", "tools"),
    ("middleware", "models"),
    ("agents",),
    ("http",),
    ("auth",),
    ("log", "file"),
    ("log", "content"),
)
_ALERTS_NOT_FROM_PROJECT: tuple[KeyPath, ...] = (("channels",), ("notify",), ("enabled",))
"""A folder that came with a checkout must not run code here, open files elsewhere or choose where we write."""


@dataclass(slots=True)
class _Loading:
    """What is gathered while loading."""

    environment: Environment
    problems: list[Problem]
    uses: dict[KeyPath, Expansion] = field(default_factory=dict[KeyPath, Expansion])


def load_config(
    directory: Path | None = None,
    *,
    environ: Mapping[str, str],
    working_directory: Path | None = None,
    user_directory: Path | None = None,
) -> Config:
    """Load all layers: packaged, the user's folder, `./.zen`, `ZEN_CONFIG_DIR`, `directory`; later ones win.

    Args:
        directory: a folder above all others (`--config`).
        environ: the process's environment.
        working_directory: where `.zen` is looked for; None for the process's own.
        user_directory: None for the platform's settings folder.

    Raises:
        ConfigError: with every fault found, one per line.
    """
    folders = config_folders(
        directory, environ=environ, working_directory=working_directory, user_directory=user_directory
    )
    problems = [problem for layer, folder in folders for problem in _folder_problems(layer, folder)]
    dotenvs = [
        (layer, str(path), read_dotenv(path, layer, problems))
        for layer, folder in folders
        if (path := Path(folder, DOTENV_NAME)).is_file()
    ]
    loading = _Loading(Environment(environ, dotenvs), problems)
    files: list[Path] = []
    sources = {name: _read_layers(name, folders, problems, files) for name in FILES}
    _override(sources["server"], environ)
    _refuse_from_project(sources["server"], _NOT_FROM_PROJECT, problems)
    _refuse_from_project(sources["alerts"], _ALERTS_NOT_FROM_PROJECT, problems)
    models_file = _check(ModelsFile, sources["models"], loading)
    uses = loading.uses
    models = configured_models(models_file, sources["models"], uses, problems) if models_file else {}
    loading.uses = {}
    providers = _check(ProvidersFile, sources["providers"], loading)
    limits = _check(LimitsFile, sources["limits"], loading)
    alerts = _check(AlertsFile, sources["alerts"], loading)
    problems += channel_problems(alerts, sources["alerts"]) if alerts else []
    server = _check(ServerSettings, sources["server"], loading)
    if problems or providers is None or limits is None or alerts is None or server is None:
        raise config_error(problems)
    return Config(
        server=server,
        providers=providers,
        limits=limits,
        alerts=alerts,
        models=MappingProxyType(models),
        server_places=MappingProxyType(sources["server"].places),
        provider_places=MappingProxyType(sources["providers"].places),
        limit_places=MappingProxyType(sources["limits"].places),
        environment=loading.environment,
        files=tuple(files),
        files_with_secrets=files_with_secrets(sources),
        state_directory=server.state_dir or state_folder(environ),
        folders=tuple((layer, Path(folder)) for layer, folder in folders),
        cache_directory=cache_folder(environ),
    )


def _folder_problems(layer: str, folder: str) -> list[Problem]:
    """A folder that somebody named must be there; the others need not."""
    if layer not in {ENVIRONMENT, ARGUMENT} or Path(folder).is_dir():
        return []
    said = "ZEN_CONFIG_DIR" if layer == ENVIRONMENT else "--config"
    return [Problem(Place(said), (), f"there is no folder '{folder}'.", f"zen config init --dir '{folder}' makes it.")]


def _read_layers(name: str, folders: tuple[tuple[str, str], ...], problems: list[Problem], files: list[Path]) -> Source:
    merged = Source()
    for layer, folder in folders:
        path = Path(folder, f"{name}.yaml")
        if path.exists():
            files.append(path)
            merge(merged, read_source(path, layer, problems))
    return merged


def _override(server: Source, environ: Mapping[str, str]) -> None:
    """Lay the environment's own settings over server.yaml."""
    for variable, key in _OVERRIDES.items():
        if not environ.get(variable):
            continue
        values: object = environ[variable].replace("${", "$${")
        if key == ("plugin_folders",):
            values = [part for part in str(values).split(os.pathsep) if part]
        upper = Source(places={key[:1]: Place(variable), key: Place(variable)})
        for part in reversed(key):
            values = {part: values}
        upper.values = cast("dict[str, object]", values)
        merge(server, upper)


def _refuse_from_project(source: Source, keys: tuple[KeyPath, ...], problems: list[Problem]) -> None:
    for key in keys:
        places = (place for at, place in source.places.items() if at[: len(key)] == key)
        place = next((place for place in places if place.layer == PROJECT), None)
        if place is not None:
            text = "cannot be set by the working directory's own '.zen' folder."
            problems.append(Problem(place, key, text, "Set it in your own folder or name this one with --config."))


def _check(schema: type[File], source: Source, loading: _Loading) -> File | None:
    """The file as data; None when it has faults, which are then among the problems."""
    values = _expanded(source.values, (), source, loading)
    try:
        return schema.model_validate(values)
    except ValidationError as exc:
        loading.problems += problems_of(exc, schema, source, loading.uses)
        return None


def _expanded(value: object, key: KeyPath, source: Source, loading: _Loading) -> object:
    """The value with its variables filled in and its paths absolute. What stays unset is left out."""
    if isinstance(value, dict):
        below = cast("dict[str, object]", value)
        pairs = {name: _expanded(item, (*key, name), source, loading) for name, item in below.items()}
        return {name: item for name, item in pairs.items() if item is not _UNSET}
    if isinstance(value, list):
        items = [_expanded(item, (*key, at), source, loading) for at, item in enumerate(cast("list[object]", value))]
        return [item for item in items if item is not _UNSET]
    if not isinstance(value, str):
        return value
    text = _filled(value, key, source, loading) if "${" in value else value
    return _absolute(text, key, source) if isinstance(text, str) and text else text


_UNSET = object()


def _filled(text: str, key: KeyPath, source: Source, loading: _Loading) -> object:
    expansion = loading.uses[key] = expand(text, loading.environment, trusted=source.place(key).layer != PROJECT)
    if expansion.fault:
        loading.problems.append(Problem(source.place(key), key, f"{expansion.fault}."))
        return _UNSET
    if may_stay_unset(key):
        return _UNSET if expansion.unset or not expansion.text else expansion.text
    if expansion.unset:
        name = expansion.unset[0]
        fix = f"Set it, or write '${{{name}:-a default}}'."
        loading.problems.append(Problem(source.place(key), key, f"the variable '{name}' is not set.", fix))
        return _UNSET
    return expansion.text


def may_stay_unset(key: KeyPath) -> bool:
    """Whether a variable missing here only makes one model unavailable."""
    if len(key) >= 5 and key[2] == "deployments":
        key = (key[0], key[1], *key[4:])
    return len(key) >= 3 and key[0] == "models" and key[2] in {"api_key", "extra", *CLOUD_FIELDS}


def _absolute(text: str, key: KeyPath, source: Source) -> str:
    """A path as its file means it: relative to the folder of that file."""
    single, lists = _PATHS
    is_prompts = len(key) == 3 and key[0] == "tool_settings" and key[2] == "prompts_dir"
    if not (is_prompts or _may_be_path(key, text) or key in single or (key and key[0] in lists)):
        return text
    file = Path(source.place(key).file)
    base = file.parent if file.is_absolute() else Path.cwd()
    return str(Path(base, Path(text).expanduser()))


def _may_be_path(key: KeyPath, text: str) -> bool:
    """Whether a value that may be a name, a text or a path is a path: a model's weights, an agent's program or role."""
    if len(key) == 3 and key[2] == "weights":
        return text.endswith(".gguf") or "/" in text
    if key[:1] != ("agents",):
        return False
    return (key[2:] == ("command",) and "/" in text) or (key[2:3] == ("roles",) and text.endswith(".md"))
