"""What a plugin brings: the tools of its module, and the settings that it proposes for them."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import yaml
from pydantic import ValidationError

from zen_mcp.config.tool_schema import OneToolSettings
from zen_mcp.errors import ConfigError
from zen_mcp.tools.base import BaseTool, ToolProtocol
from zen_mcp.tools.foreign.bare import BareTool
from zen_mcp.tools.foreign.check import faults_of
from zen_mcp.tools.foreign.module import load_folder
from zen_mcp.tools.one_tool import UNSET
from zen_mcp.tools.prompts import load_prompts
from zen_mcp.tools.resources import Resource
from zen_mcp.tools.slash import ToolPrompt

CONFIG = "config.yaml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """The sound tools of a plugin, the settings it proposes for them, and what is wrong with the others."""

    tools: tuple[ToolProtocol, ...] = ()
    prompts: tuple[ToolPrompt, ...] = ()
    resources: tuple[Resource, ...] = ()
    settings: OneToolSettings = UNSET
    faults: tuple[str, ...] = ()


NOTHING = Content()


def content_of(content: Content, *, tools: Iterable[ToolProtocol]) -> Content:
    """The same with other tools."""
    return replace(content, tools=tuple(tools))


def read_folder(folder: Path) -> Content:
    """Import the plugin in a folder.

    Raises:
        ConfigError: its config.yaml or prompt.md is wrong.
        Exception: whatever its code raises.
    """
    settings = read_config(folder)
    load_prompts(folder / "prompt.md")
    module = load_folder(folder)
    return _with_views(_checked(tools_of(module), folder, settings), module)


def read_entry_point(point: EntryPoint) -> Content:
    """Import what a package's entry point names: a module, a tool, a class of tools, or a plugin's folder.

    Raises:
        ConfigError: it is none of these.
        Exception: whatever its code raises.
    """
    thing: object = point.load()
    if isinstance(thing, str | Path):
        return read_folder(Path(thing))
    if isinstance(thing, ModuleType):
        folder = Path(thing.__file__).parent if thing.__file__ else None
        found = list(tools_of(thing))
    else:
        made: object = cast("type[Any]", thing)() if isinstance(thing, type) else thing
        folder = Path(inspect.getfile(type(made))).parent
        found = [made] if isinstance(made, ToolProtocol) else []
    if not found:
        raise ConfigError(
            f"The entry point '{point.name} = {point.value}' names no tool.",
            "Let it name a module with tools, a tool, a class of tools, or the path of a plugin's folder.",
        )
    content = _checked(found, folder, read_config(folder) if folder else UNSET)
    return _with_views(content, thing) if isinstance(thing, ModuleType) else content


def tools_of(module: ModuleType) -> Iterator[ToolProtocol]:
    """Each public object of a module that is a tool, and one of each class of tools that the module defines."""
    seen: set[int] = set()
    classes: list[type[Any]] = []
    used: set[type] = set()
    for name, value in vars(module).items():
        if name.startswith("_"):
            continue
        if isinstance(value, type):
            kind = cast("type[Any]", value)
            is_ours = issubclass(value, BaseTool) and kind.__module__ == module.__name__
            if is_ours and hasattr(kind, "name"):
                classes.append(kind)
        elif not isinstance(value, ModuleType) and isinstance(value, ToolProtocol) and id(value) not in seen:
            seen.add(id(value))
            used.add(type(value))
            yield value
    yield from (kind() for kind in classes if kind not in used and not inspect.isabstract(kind))


def read_config(folder: Path) -> OneToolSettings:
    """The settings that a plugin's config.yaml proposes; paths in it are relative to the folder.

    Raises:
        ConfigError: it is no YAML, or holds what may not be set.
    """
    file = folder / CONFIG
    if not file.is_file():
        return UNSET
    try:
        read: object = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
        settings = OneToolSettings.model_validate(read)
    except (ValidationError, yaml.YAMLError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{file}: {_reason(exc)}", "docs/plugins.md lists what may stand there.") from None
    if settings.prompts_dir is None:
        return settings
    return settings.model_copy(update={"prompts_dir": folder / settings.prompts_dir})


def _checked(tools: Iterable[ToolProtocol], folder: Path | None, settings: OneToolSettings) -> Content:
    kept: list[ToolProtocol] = []
    faults: list[str] = []
    for tool in tools:
        found = faults_of(tool)
        faults += found
        if not found:
            kept.append(_safe(tool, folder))
    if not kept and not faults:
        faults.append("it defines no tool: no object with @tool, no class of BaseTool, nothing like ToolProtocol.")
    return Content(tools=tuple(kept), settings=settings, faults=tuple(faults))


def _with_views(content: Content, module: ModuleType) -> Content:
    """The prompts and resources of a module besides; each is a view on a tool."""
    public = [value for name, value in vars(module).items() if not name.startswith("_")]
    prompts = tuple(value for value in public if isinstance(value, ToolPrompt))
    resources = tuple(value for value in public if isinstance(value, Resource))
    return replace(content, prompts=prompts, resources=resources)


def _safe(tool: ToolProtocol, folder: Path | None) -> ToolProtocol:
    return cast("ToolProtocol", tool) if isinstance(tool, BaseTool) else BareTool(tool, folder=folder)


def _reason(exc: Exception) -> str:
    if isinstance(exc, ValidationError):
        issue = exc.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in issue["loc"])
        return f"{place}: {issue['msg']}." if place else f"{issue['msg']}."
    return " ".join(str(exc).split())[:300]
