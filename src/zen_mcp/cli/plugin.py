"""`zen plugin`: write a plugin, list those that are there, check one."""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from zen_mcp.cli.plugin_check import MARK, CheckedPlugin
from zen_mcp.cli.session import open_config
from zen_mcp.cli.table import aligned
from zen_mcp.errors import InvalidArguments
from zen_mcp.tools.foreign.discovery import Plugin, Plugins, discover, plugin_folders_in, settings_of

_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_TEMPLATE = Path(__file__).parent / "plugin_template"
_CHECK_SECONDS = 30.0
"""How long an import may take in the check; one that blocks is told then."""
_LIST_WAIT_SECONDS = 5.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `zen plugin` takes."""
    actions = parser.add_subparsers(metavar="ACTION", dest="action", required=True)
    new = actions.add_parser("new", help="write a working plugin with a test")
    new.add_argument("name", help="the tool's name: small letters, digits, underscores")
    new.add_argument("--dir", default=".", help="the folder to write its folder into (default: here)")
    listed = actions.add_parser("list", help="every tool: whose it is, and whether it is offered")
    check = actions.add_parser("check", help="import plugins in a process of their own and say what is wrong")
    check.add_argument("path", nargs="?", help="a plugin's folder or a folder of plugins (default: the settings' own)")
    check.add_argument("--timeout", type=float, default=_CHECK_SECONDS, help="seconds that an import may take")
    for action in (listed, check):
        action.add_argument("--config", metavar="DIR", help="a settings folder above all others")
        action.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Do what was asked for; 1 when a check found a fault."""
    actions = {"new": _new, "list": _list, "check": _check}
    return actions[arguments.action](arguments)


def _new(arguments: argparse.Namespace) -> int:
    name: str = arguments.name
    if not _NAME.fullmatch(name):
        fix = "Use small letters, digits and underscores, a letter first, at most 64."
        raise InvalidArguments(f"'{name[:80]}' is no name for a tool.", fix)
    if name in {tool.name for tool in discover()}:
        raise InvalidArguments(f"The name '{name}' is taken by a tool of ours.", "Choose another.")
    folder = Path(arguments.dir) / name
    if folder.exists():
        raise InvalidArguments(f"'{folder}' is there already.", "Choose another name, or another folder with --dir.")
    folder.mkdir(parents=True)
    class_name = "".join(word.capitalize() for word in name.split("_"))
    for template in sorted(_TEMPLATE.glob("*.txt")):
        text = template.read_text(encoding="utf-8").replace("CLASS", class_name).replace("NAME", name)
        (folder / template.stem).write_text(text, encoding="utf-8")
    use = f"ZEN_PLUGIN_FOLDERS={folder.resolve()} zen serve"
    sys.stdout.write(f"Written: {folder}\nTest it:  python -m pytest {folder}\nUse it:   {use}\n")
    return 0


def _list(arguments: argparse.Namespace) -> int:
    config = open_config(arguments.config)
    ours = discover()
    found = Plugins(wait_seconds=_LIST_WAIT_SECONDS).find(
        config.server.plugin_folders, taken=[tool.name for tool in ours]
    )
    settings = settings_of(found, config.server.tool_settings)
    off = {name.lower() for name in config.server.disabled_tools}
    off |= {name.lower() for name, one in settings.items() if not one.enabled}
    rows = [(tool.name, "ours") for tool in ours]
    rows += [(tool.name, plugin.origin) for plugin in found for tool in plugin.content.tools]
    entries = [{"tool": name, "from": origin, "enabled": name.lower() not in off} for name, origin in sorted(rows)]
    broken = [plugin for plugin in found if plugin.faults]
    if arguments.json:
        faults = [{"plugin": one.name, "from": one.origin, "faults": one.faults} for one in broken]
        sys.stdout.write(json.dumps({"tools": entries, "broken": faults}, ensure_ascii=False, indent=2) + "\n")
        return 0
    table = [(str(one["tool"]), "yes" if one["enabled"] else "no", str(one["from"])) for one in entries]
    sys.stdout.write(aligned([("TOOL", "ENABLED", "FROM"), *table]) + "\n")
    for one in broken:
        sys.stdout.write("".join(f"\n{one.name} ({one.origin}): {fault}" for fault in one.faults) + "\n")
    return 0


def _check(arguments: argparse.Namespace) -> int:
    folders, packages = _asked_for(arguments)
    if not folders and not packages:
        fix = "Name a folder with a tool.py, or set plugin_folders in server.yaml."
        raise InvalidArguments("There is no plugin to check.", fix)
    checked = [_in_a_child(folder, arguments.timeout) for folder in folders] + packages
    if arguments.json:
        sys.stdout.write(json.dumps([asdict(one) for one in checked], ensure_ascii=False, indent=2) + "\n")
    else:
        _tell(checked)
    return 1 if any(one.faults for one in checked) else 0


def _asked_for(arguments: argparse.Namespace) -> tuple[list[Path], list[CheckedPlugin]]:
    """The folders to check, and the plugins of installed packages, which only their own import can tell."""
    if arguments.path is not None:
        return list(plugin_folders_in([Path(arguments.path).resolve()])), []
    config = open_config(arguments.config)
    folders = list(plugin_folders_in(config.server.plugin_folders))
    found = Plugins(wait_seconds=arguments.timeout).find((), taken=[tool.name for tool in discover()])
    return folders, [_packaged(plugin) for plugin in found]


def _packaged(plugin: Plugin) -> CheckedPlugin:
    return CheckedPlugin(
        name=plugin.name,
        origin=plugin.origin,
        tools=tuple(tool.name for tool in plugin.content.tools),
        faults=plugin.faults,
    )


def _in_a_child(folder: Path, seconds: float) -> CheckedPlugin:
    """Check one folder in a process that its code may end, block or litter as it likes."""
    command = [sys.executable, "-m", "zen_mcp.cli.plugin_check", str(folder)]
    plain = CheckedPlugin(name=folder.name, origin=str(folder))
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        text = f"its import is not done after {seconds:g} s: something in it waits."
        return CheckedPlugin(name=plain.name, origin=plain.origin, faults=(text,))
    reported = [line for line in done.stdout.splitlines() if line.startswith(MARK)]
    if not reported:
        text = f"its import ends the process (exit code {done.returncode})."
        return CheckedPlugin(name=plain.name, origin=plain.origin, faults=(text,))
    return CheckedPlugin.from_json(reported[-1].removeprefix(MARK))


def _tell(checked: list[CheckedPlugin]) -> None:
    console = Console()
    for one in checked:
        mark = "[red]✗[/]" if one.faults else "[green]✓[/]"
        tools = ", ".join(one.tools) or "no tool"
        console.print(f"{mark} {one.name} ({one.origin}): {tools}", highlight=False, soft_wrap=True)
        for fault in one.faults:
            console.print(f"    [red]fault:[/] {fault}", highlight=False, soft_wrap=True, markup=True)
        for note in one.notes:
            console.print(f"    [yellow]note:[/] {note}", highlight=False, soft_wrap=True)
