"""Finding tools: our own plugins, folders that the user names, and installed packages."""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TextIO, TypeAlias

from zen_mcp.config.tool_schema import OneToolSettings
from zen_mcp.observability.logs import EventLog
from zen_mcp.tools.base import ToolProtocol
from zen_mcp.tools.foreign.content import NOTHING, Content, content_of, read_entry_point, read_folder, tools_of
from zen_mcp.tools.foreign.module import Loading

_log = EventLog()

OUR_PACKAGE = "zen_mcp.plugins"
ENTRY_POINTS = "zen_mcp.plugins"
"""The group in which an installed package names its plugins."""
WAIT_SECONDS = 1.0
"""How long a start waits for the plugins of others, all together; one that needs longer comes later."""

Stamp: TypeAlias = tuple[tuple[str, int, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plugin:
    """Somebody else's plugin, and what became of it.

    Attributes:
        name: of its folder or entry point.
        origin: the folder, or the package and its version.
        content: what it brings.
        faults: why it, or one of its tools, is left out; empty when all is well.
        late: whether it is still being imported.
    """

    name: str
    origin: str
    content: Content = NOTHING
    faults: tuple[str, ...] = ()
    late: bool = False


def discover() -> tuple[ToolProtocol, ...]:
    """Every tool of our own plugins, sorted by name. These must load."""
    found: dict[str, ToolProtocol] = {}
    package = importlib.import_module(OUR_PACKAGE)
    for root in package.__path__:
        for file in sorted(Path(root).glob("*/tool.py")):
            module = importlib.import_module(f"{OUR_PACKAGE}.{file.parent.name}.tool")
            found.update((tool.name, tool) for tool in tools_of(module))
    return tuple(found[name] for name in sorted(found))


@dataclass(slots=True, kw_only=True)
class _Import:
    """One plugin's import: of which state of its files, and how far it is."""

    stamp: Stamp
    loading: Loading[Content]
    reported: bool = False


class Plugins:
    """The plugins of others, each imported once for each state of its files. Lives as long as the server.

    An import runs in a thread of its own: one that raises, exits or never ends hurts nobody.

    Args:
        wait_seconds: how long `find` waits for imports that are not done, all together.
        prints_to: takes what they print meanwhile; None for standard error.
    """

    def __init__(self, *, wait_seconds: float = WAIT_SECONDS, prints_to: TextIO | None = None) -> None:
        self._prints_to = prints_to
        self._wait_seconds = wait_seconds
        self._imports: dict[str, _Import] = {}

    def find(self, folders: Sequence[Path], *, taken: Iterable[str] = ()) -> tuple[Plugin, ...]:
        """The plugins in these folders, then those of installed packages; new and changed ones are imported.

        Args:
            folders: each holds plugins, or is one itself.
            taken: names of tools that no plugin may have.
        """
        # What a plugin prints must not stand in a command's output.
        with redirect_stdout(self._prints_to or sys.stderr):
            return self._find(folders, taken)

    def _find(self, folders: Sequence[Path], taken: Iterable[str]) -> tuple[Plugin, ...]:
        begun = [self._begin_folder(folder) for folder in plugin_folders_in(folders)]
        begun += [self._begin_entry_point(point) for point in _entry_points()]
        self._imports = {key: self._imports[key] for _, _, key in begun}
        deadline = time.monotonic() + self._wait_seconds
        names = {name.lower(): "a tool of ours" for name in taken}
        found: list[Plugin] = []
        for name, origin, key in begun:
            self._imports[key].loading.wait(deadline - time.monotonic())
            found.append(self._outcome(name, origin, self._imports[key], names))
        return tuple(found)

    def arrived(self) -> bool:
        """Whether an import that was late has come to its end since."""
        return any(one.loading.is_done and not one.reported for one in self._imports.values())

    def _begin_folder(self, folder: Path) -> tuple[str, str, str]:
        key, stamp = str(folder), stamp_of(folder)
        known = self._imports.get(key)
        if known is None or known.stamp != stamp:
            loading = Loading(lambda: read_folder(folder), name=folder.name)
            self._imports[key] = _Import(stamp=stamp, loading=loading)
        return folder.name, str(folder), key

    def _begin_entry_point(self, point: EntryPoint) -> tuple[str, str, str]:
        package = f"{point.dist.name} {point.dist.version}" if point.dist else point.value
        key = f"{package}: {point.name} = {point.value}"
        if key not in self._imports:
            loading = Loading(lambda: read_entry_point(point), name=point.name)
            self._imports[key] = _Import(stamp=(), loading=loading)
        return point.name, f"package {package}", key

    def _outcome(self, name: str, origin: str, one: _Import, names: dict[str, str]) -> Plugin:
        plugin = Plugin(name=name, origin=origin)
        if not one.loading.is_done:
            text = f"its import is not done after {self._wait_seconds:g} s; its tools come when it is"
            _log.warning("plugin_late", plugin=name, origin=origin)
            return replace(plugin, faults=(f"{text}.",), late=True)
        first, one.reported = not one.reported, True
        if one.loading.fault is not None:
            plugin = replace(plugin, faults=(_sentence(one.loading.fault),))
        else:
            plugin = _without_taken(plugin, one.loading.result or NOTHING, names)
        if plugin.faults and first:
            _log.error("plugin_left_out", plugin=name, origin=origin, faults=plugin.faults, exc_info=one.loading.fault)
        return plugin


def plugin_folders_in(folders: Sequence[Path]) -> Iterator[Path]:
    """The folders with a `tool.py`: each of `folders` that has one, else those right below it."""
    for folder in folders:
        if (folder / "tool.py").is_file():
            yield folder
        else:
            yield from sorted(file.parent for file in folder.glob("*/tool.py"))


def plugin_files(folder: Path) -> Iterator[Path]:
    """The files of a plugin whose change makes it another one."""
    yield from sorted(file for file in folder.rglob("*.py") if "__pycache__" not in file.parts)
    yield from (folder / "prompt.md", folder / "config.yaml")


def stamp_of(folder: Path) -> Stamp:
    """The state of a plugin's files: each one's time (ns) and size."""
    stamps: list[tuple[str, int, int]] = []
    for file in plugin_files(folder):
        try:
            status = file.stat()
        except OSError:
            continue
        stamps.append((str(file), status.st_mtime_ns, status.st_size))
    return tuple(stamps)


def settings_of(plugins: Iterable[Plugin], own: Mapping[str, OneToolSettings]) -> dict[str, OneToolSettings]:
    """Each tool's settings: those of server.yaml over those that its plugin brings."""
    found = {tool.name: plugin.content.settings for plugin in plugins for tool in plugin.content.tools}
    return {**found, **{name: one.over(found.get(name, OneToolSettings())) for name, one in own.items()}}


def _entry_points() -> Iterator[EntryPoint]:
    seen: set[tuple[str, str]] = set()
    for point in sorted(entry_points(group=ENTRY_POINTS), key=lambda point: point.name):
        if (point.name, point.value) not in seen:
            seen.add((point.name, point.value))
            yield point


def _without_taken(plugin: Plugin, content: Content, names: dict[str, str]) -> Plugin:
    """What a plugin brings, without tools whose name another has."""
    kept: list[ToolProtocol] = []
    faults = list(content.faults)
    for tool in content.tools:
        owner = names.setdefault(tool.name.lower(), f"the plugin in {plugin.origin}")
        if owner == f"the plugin in {plugin.origin}":
            kept.append(tool)
        else:
            faults.append(f"the name '{tool.name}' is taken by {owner}.")
    return replace(plugin, content=content_of(content, tools=kept), faults=tuple(faults))


def _sentence(fault: BaseException) -> str:
    """What went wrong on import, on one line."""
    if isinstance(fault, SystemExit):
        return f"its import calls sys.exit({fault.code!r})."
    where = f" (line {fault.lineno})" if isinstance(fault, SyntaxError) else ""
    text = " ".join(str(fault).split())[:300]
    return f"its import fails{where}: {type(fault).__name__}: {text}."
