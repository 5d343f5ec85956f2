"""Finding tools: our own plugins, and folders that the user names."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

from zen_mcp.tools.base import ToolProtocol

log = logging.getLogger(__name__)

OUR_PACKAGE = "zen_mcp.plugins"


def discover(plugin_folders: Sequence[Path] = ()) -> tuple[ToolProtocol, ...]:
    """Every tool of our plugins, then of each user folder, sorted by name.

    A plugin is a folder with a `tool.py`; each object in it that satisfies `ToolProtocol` is a tool. Ours must load.
    A foreign one that fails is logged and left out: it hurts nobody. A taken name is left out too.
    """
    found: dict[str, ToolProtocol] = {}
    for module in _our_modules():
        found.update((tool.name, tool) for tool in _tools_of(module))
    for folder in plugin_folders:
        for tool in _foreign_tools(folder):
            if tool.name in found:
                log.warning("plugin tool %r is left out: the name is taken", tool.name)
            else:
                found[tool.name] = tool
    return tuple(found[name] for name in sorted(found))


def _our_modules() -> Iterator[ModuleType]:
    package = importlib.import_module(OUR_PACKAGE)
    for root in package.__path__:
        for file in sorted(Path(root).glob("*/tool.py")):
            yield importlib.import_module(f"{OUR_PACKAGE}.{file.parent.name}.tool")


def _foreign_tools(folder: Path) -> Iterator[ToolProtocol]:
    for file in sorted(folder.glob("*/tool.py")):
        try:
            yield from _tools_of(_load(file))
        except Exception:
            log.exception("plugin %s cannot be loaded and is left out", file.parent)


def _load(file: Path) -> ModuleType:
    name = f"zen_mcp_plugin_{file.parent.name}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(str(file))
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _tools_of(module: ModuleType) -> Iterator[ToolProtocol]:
    for name, value in vars(module).items():
        if not name.startswith("_") and not isinstance(value, type) and isinstance(value, ToolProtocol):
            yield value
