"""`zen tools`: which tools there are, which of them are offered, and what listing them costs."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from zen_mcp.cli.table import aligned
from zen_mcp.config.load import load_config
from zen_mcp.server.descriptions import describe
from zen_mcp.tools.base import ToolProtocol
from zen_mcp.tools.foreign.discovery import Plugins, discover, settings_of
from zen_mcp.tools.registry import PROFILES, ToolRegistry
from zen_mcp.tools.tokens import count_tokens
from zen_mcp.types import JSONObject

OTHERS: tuple[tuple[str, int, int], ...] = (
    ("PAL MCP server 11.8.2", 19, 10_329),
    ("PAL MCP server 9.8.2", 19, 12_145),
)
"""Other servers: name, how many tools they list, and the o200k tokens of that, measured in November 2026."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One tool. `tokens` is None where nobody asked."""

    name: str
    profile: str
    offered: bool
    description: str
    tokens: int | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `zen tools` takes."""
    parser.add_argument("--tokens", action="store_true", help="what each costs in a client's context (o200k tokens)")
    parser.add_argument("--config", metavar="DIR", help="a settings folder above all others")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Print the tools."""
    config = load_config(Path(arguments.config) if arguments.config else None, environ=os.environ)
    settings = config.server
    ours = discover()
    plugins = Plugins().find(settings.plugin_folders, taken=[tool.name for tool in ours])
    found = (*ours, *(tool for plugin in plugins for tool in plugin.content.tools))
    offered = ToolRegistry(
        found,
        offered=settings.tools,
        disabled=settings.disabled_tools,
        settings=settings_of(plugins, settings.tool_settings),
    ).tools
    names = {tool.name for tool in offered}
    listed = [_listed(tool, offered=tool.name in names, count=arguments.tokens) for tool in found]
    if arguments.json:
        sys.stdout.write(json.dumps(_data(listed), ensure_ascii=False, indent=2) + "\n")
    else:
        sys.stdout.write(_text(listed, tokens=arguments.tokens) + "\n")
    return 0


def _listed(tool: ToolProtocol, *, offered: bool, count: bool) -> Listed:
    return Listed(
        name=tool.name,
        profile="core" if PROFILES["core"](tool) else "full",
        offered=offered,
        description=tool.description,
        tokens=listing_tokens(tool) if count else None,
    )


def listing_tokens(tool: ToolProtocol) -> int:
    """How many o200k tokens a tool's entry in `tools/list` has; an estimate where LiteLLM is not installed."""
    return count_tokens(json.dumps(describe(tool), ensure_ascii=False, separators=(",", ":")))


def _totals(listed: Sequence[Listed]) -> dict[str, tuple[int, int]]:
    """Of what is offered and of each profile: how many tools, how many tokens."""
    sets = {
        "offered": [tool for tool in listed if tool.offered],
        "core": [tool for tool in listed if tool.profile == "core"],
        "full": list(listed),
    }
    return {name: (len(tools), sum(tool.tokens or 0 for tool in tools)) for name, tools in sets.items()}


def _data(listed: Sequence[Listed]) -> JSONObject:
    entries: list[JSONObject] = [
        {
            "name": tool.name,
            "profile": tool.profile,
            "offered": tool.offered,
            "description": tool.description,
            **({"tokens": tool.tokens} if tool.tokens is not None else {}),
        }
        for tool in listed
    ]
    data: JSONObject = {"tools": list(entries)}
    if any(tool.tokens is not None for tool in listed):
        data["total_tokens"] = {name: tokens for name, (_, tokens) in _totals(listed).items()}
        data["others"] = [{"server": name, "tools": count, "tokens": tokens} for name, count, tokens in OTHERS]
    return data


def _text(listed: Sequence[Listed], *, tokens: bool) -> str:
    if not tokens:
        rows = [(tool.name, tool.profile, "" if tool.offered else "not offered", tool.description) for tool in listed]
        return aligned(rows)
    rows = [("TOOL", "PROFILE", "TOKENS")]
    rows += [(tool.name, tool.profile, f"{tool.tokens or 0:>6,}") for tool in listed]
    rows += [(f"all of {name}", f"{count} tools", f"{total:>6,}") for name, (count, total) in _totals(listed).items()]
    rows += [(name, f"{count} tools", f"{total:>6,}") for name, count, total in OTHERS]
    return aligned(rows)
