"""Prompts over MCP: one per tool, of the same name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError

from zen_mcp.errors import did_you_mean
from zen_mcp.tools.registry import ToolRegistry
from zen_mcp.tools.slash import SlashCommand, slash_command
from zen_mcp.types import JSONObject

Context = ServerRequestContext[Any, Any]


def commands(registry: ToolRegistry) -> Mapping[str, SlashCommand]:
    """The prompts of the offered tools by name, in the tools' order."""
    made = [slash_command(tool) for tool in registry.tools]
    return {command.name: command for command in made}


def describe_prompt(command: SlashCommand) -> JSONObject:
    """One entry of `prompts/list`."""
    return {
        "name": command.name,
        "description": command.description,
        "arguments": [
            {"name": name, **({"description": description} if description else {})}
            for name, description in command.arguments.items()
        ],
    }


def find_command(registry: ToolRegistry, name: str) -> SlashCommand:
    """The prompt of that name.

    Raises:
        MCPError: there is none; names the nearest.
    """
    known = commands(registry)
    if name not in known:
        near = did_you_mean(name, known) or f"There are: {', '.join(known)}."
        raise MCPError(code=types.INVALID_PARAMS, message=f"Unknown prompt '{name[:80]}'. {near}")
    return known[name]


class PromptDoor:
    """Answers `prompts/…`.

    Args:
        registry: gives the tools that whoever asks may use.
    """

    def __init__(self, registry: Callable[[Context], ToolRegistry]) -> None:
        self._registry = registry

    async def list(self, context: Context, params: types.PaginatedRequestParams | None) -> types.ListPromptsResult:
        """All prompts."""
        found = commands(self._registry(context)).values()
        return types.ListPromptsResult(prompts=[types.Prompt.model_validate(describe_prompt(one)) for one in found])

    async def get(self, context: Context, params: types.GetPromptRequestParams) -> types.GetPromptResult:
        """The text of one. Arguments are taken as they come: some clients send placeholders."""
        command = find_command(self._registry(context), params.name)
        text = types.TextContent(type="text", text=command.text(params.arguments or {}))
        return types.GetPromptResult(
            description=command.description, messages=[types.PromptMessage(role="user", content=text)]
        )
