"""The check of one plugin's folder, run by `zen plugin check` as a process of its own; the report is its last line."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import asdict, dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from zen_mcp.server.descriptions import describe
from zen_mcp.tools.base import ToolProtocol
from zen_mcp.tools.foreign.discovery import Plugin, Plugins, discover
from zen_mcp.tools.foreign.portable_schema import misfits
from zen_mcp.tools.prompts import load_prompts

MARK = "zen-plugin-check: "
"""Begins the line with the report, among whatever the plugin's code prints."""
_FOR_EVER_SECONDS = 3600.0
_MOST_TOKENS = 200
_CHARACTERS_PER_TOKEN = 4
_PROMPT_PART = re.compile(r"\.prompts\[[\"'](?P<part>[^\"']+)[\"']\]")


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedPlugin:
    """What a check found. `faults` keep a tool from being offered or called; `notes` are worth a look."""

    name: str
    origin: str
    tools: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, text: str) -> CheckedPlugin:
        """Read what `to_json` wrote."""
        fields: dict[str, Any] = json.loads(text)
        lists = {name: tuple(fields[name]) for name in ("tools", "faults", "notes")}
        return cls(name=fields["name"], origin=fields["origin"], **lists)

    def to_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self), ensure_ascii=True)


def check_here(folder: Path) -> CheckedPlugin:
    """Import the plugin in this process and look at what it brings."""
    printed = StringIO()
    plugins = Plugins(wait_seconds=_FOR_EVER_SECONDS, prints_to=printed)
    found = plugins.find([folder], taken=[tool.name for tool in discover()])
    plugin = next(one for one in found if one.origin == str(folder))
    faults = list(plugin.faults)
    notes: list[str] = []
    if printed.getvalue():
        notes.append("it prints to standard output while it is imported; use logging.")
    for tool in plugin.content.tools:
        faults += misfits(tool.name, tool.description, tool.get_schema())
        notes += _notes(tool)
    faults += _missing_prompts(folder)
    return CheckedPlugin(
        name=plugin.name,
        origin=plugin.origin,
        tools=tuple(tool.name for tool in plugin.content.tools),
        faults=tuple(faults),
        notes=(*_configured(plugin), *notes),
    )


def _notes(tool: ToolProtocol) -> list[str]:
    notes: list[str] = []
    tokens = len(json.dumps(describe(tool), ensure_ascii=False, separators=(",", ":"))) // _CHARACTERS_PER_TOKEN
    if tokens > _MOST_TOKENS:
        notes.append(f"{tool.name}: its listing has about {tokens} tokens, which every session of every client pays.")
    properties: Any = tool.get_schema().get("properties", {})
    bare = [name for name, schema in properties.items() if not schema.get("description")]
    if bare:
        notes.append(f"{tool.name}: no description says what {', '.join(bare)} is for.")
    return notes


def _configured(plugin: Plugin) -> list[str]:
    folder = plugin.content.settings.prompts_dir
    return [f"config.yaml: prompts_dir: there is no folder '{folder}'."] if folder and not folder.is_dir() else []


def _missing_prompts(folder: Path) -> list[str]:
    """The parts of prompt.md that the code names and that are not there."""
    parts = load_prompts(folder / "prompt.md")
    named = {
        match["part"]
        for file in sorted(folder.glob("*.py"))
        if not file.name.startswith("test_")
        for match in _PROMPT_PART.finditer(file.read_text(encoding="utf-8", errors="replace"))
    }
    return [f"prompt.md has no part '## {part}', which the code names." for part in sorted(named - set(parts))]


if __name__ == "__main__":
    sys.stdout.write(f"\n{MARK}{check_here(Path(sys.argv[1])).to_json()}\n")
    sys.stdout.flush()
