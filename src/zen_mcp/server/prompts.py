"""Prompts over MCP: one per tool, of the same name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError

from zen_mcp.errors import did_you_mean
from zen_mcp.server.client_questions import answered, with_answers
from zen_mcp.server.content import prompt_result
from zen_mcp.server.failures import only_foreseen, tell_crash
from zen_mcp.tools.registry import ToolRegistry
from zen_mcp.tools.slash import SlashCommand, ToolPrompt, slash_command
from zen_mcp.types import JSONObject, ToolRequest

Context = ServerRequestContext[Any, Any]
MakeRequest = Callable[[Context, str, Mapping[str, object]], ToolRequest]
"""Makes the request of a tool for whoever asks on this connection."""


def commands(registry: ToolRegistry) -> Mapping[str, SlashCommand]:
    """The prompts of the offered tools by name, in the tools' order."""
    made = [slash_command(tool) for tool in registry.tools]
    return {command.name: command for command in (*made, *registry.prompts)}


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
        make_request: makes the request of a tool.
    """

    def __init__(self, registry: Callable[[Context], ToolRegistry], make_request: MakeRequest) -> None:
        self._registry = registry
        self._make_request = make_request

    async def list(self, context: Context, params: types.PaginatedRequestParams | None) -> types.ListPromptsResult:
        """All prompts."""
        found = commands(self._registry(context)).values()
        return types.ListPromptsResult(prompts=[types.Prompt.model_validate(describe_prompt(one)) for one in found])

    async def get(
        self, context: Context, params: types.GetPromptRequestParams
    ) -> types.GetPromptResult | types.InputRequiredResult:
        """The text of one. Arguments are taken as they come: some clients send placeholders."""
        registry = self._registry(context)
        command = find_command(registry, params.name)
        if isinstance(command, ToolPrompt):
            return await self._made(registry, command, context, params)
        text = types.TextContent(type="text", text=command.text(params.arguments or {}))
        return types.GetPromptResult(
            description=command.description, messages=[types.PromptMessage(role="user", content=text)]
        )

    async def _made(
        self, registry: ToolRegistry, prompt: ToolPrompt, context: Context, params: types.GetPromptRequestParams
    ) -> types.GetPromptResult | types.InputRequiredResult:
        """The messages that a plugin's tool makes."""
        request = self._make_request(context, prompt.tool, params.arguments or {})
        try:
            response = await answered(with_answers(request, context, params), context, registry.call)
        except MCPError:
            raise
        except Exception as exc:
            foreseen = only_foreseen(exc)
            if foreseen is None:
                text = tell_crash(exc, f"prompt {prompt.name}", request.request_id)
                raise MCPError(code=types.INTERNAL_ERROR, message=text) from exc
            raise MCPError(code=types.INVALID_PARAMS, message=str(foreseen)) from exc
        if isinstance(response, types.InputRequiredResult):
            return response
        return prompt_result(prompt.description, response)
