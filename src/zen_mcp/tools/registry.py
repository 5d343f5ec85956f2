"""The tools that exist, and the one way to call one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import cast

import anyio

from zen_mcp.config.tool_schema import OneToolSettings
from zen_mcp.errors import ConfigError, InvalidArguments, ToolTimeout, UnknownTool, did_you_mean
from zen_mcp.middleware.base import Middleware, compose
from zen_mcp.middleware.permission import may_use, permission
from zen_mcp.observability.logs import enter_call
from zen_mcp.tools.base import BaseTool, ToolProtocol
from zen_mcp.tools.context import ToolContext, ToolServices
from zen_mcp.tools.one_tool import UNSET, limited, services_for
from zen_mcp.tools.resources import RESOURCES, Resource
from zen_mcp.tools.slash import ToolPrompt
from zen_mcp.types import Caller, ToolRequest, ToolResponse

PROFILES: Mapping[str, Callable[[ToolProtocol], bool]] = {
    "core": lambda tool: not isinstance(tool, BaseTool) or tool.hints.core,
    "full": lambda tool: True,
}
"""Sets of tools by name, each with what belongs to it. A tool that a user added is in `core` unless it says no."""


class ToolRegistry:
    """Tools by name, behind the tool chain.

    Args:
        tools: in any order; listed sorted by name.
        services: what tools reach the world with; None makes a registry that can list but not call.
        chain: middlewares around every call, outermost first.
        offered: profiles (`core`, `full`) or names; what is not among them is neither listed nor callable.
        disabled: names that are left out of it.
        settings: what is set for single tools, by name.
        prompts, resources: of plugins; those whose tool is not offered are left out.

    Raises:
        ConfigError: `offered` names a tool that does not exist.
    """

    def __init__(
        self,
        tools: Iterable[ToolProtocol],
        *,
        services: ToolServices | None = None,
        chain: Sequence[Middleware[ToolRequest, ToolResponse]] = (),
        offered: Sequence[str] = ("full",),
        disabled: Iterable[str] = (),
        settings: Mapping[str, OneToolSettings] | None = None,
        prompts: Iterable[ToolPrompt] = (),
        resources: Iterable[Resource] = (),
    ) -> None:
        self._settings = settings or {}
        left_out = {name.strip().lower() for name in disabled}
        left_out |= {name.lower() for name, one in self._settings.items() if not one.enabled}
        kept = {tool.name: tool for tool in _chosen(tuple(tools), offered) if tool.name.lower() not in left_out}
        self._tools = {name: kept[name] for name in sorted(kept)}
        self._prompts = tuple(prompts)
        self._resources = (*RESOURCES, *resources)
        self._services = services
        self._call = compose((permission, *chain), self._run)
        self._views: dict[tuple[str, ...], ToolRegistry] = {}

    @property
    def tools(self) -> tuple[ToolProtocol, ...]:
        """All tools, sorted by name."""
        return tuple(self._tools.values())

    @property
    def prompts(self) -> tuple[ToolPrompt, ...]:
        """The prompts that plugins bring besides one for each tool."""
        return tuple(one for one in self._prompts if one.tool in self._tools)

    @property
    def resources(self) -> tuple[Resource, ...]:
        """The resources, ours and those of plugins."""
        return tuple(one for one in self._resources if one.tool in self._tools)

    def seen_by(self, caller: Caller) -> ToolRegistry:
        """This registry with only the tools that a caller may use."""
        patterns = caller.tools
        if patterns is None:
            return self
        if patterns not in self._views:
            view = copy(self)
            view._tools = {name: tool for name, tool in self._tools.items() if may_use(patterns, name)}  # noqa: SLF001
            self._views[patterns] = view
        return self._views[patterns]

    def find(self, name: str) -> ToolProtocol:
        """The tool of this name.

        Raises:
            UnknownTool: with the nearest name.
        """
        tool = self._tools.get(name)
        if tool is None:
            known = ", ".join(self._tools)
            raise UnknownTool(f"Unknown tool '{name[:80]}'.", did_you_mean(name, self._tools) or f"There are: {known}.")
        return tool

    def check(self, request: ToolRequest) -> None:
        """Say what is wrong with a call, as far as that can be said without making it.

        Raises:
            UnknownTool: there is no such tool.
            InvalidArguments: as the tool itself would.
        """
        tool = self.find(request.tool)
        if isinstance(tool, BaseTool):
            tool.check(request.arguments)

    def asks_vendors(self, name: str) -> bool:
        """Whether the tool of this name talks to vendors; so does one that does not say, and False for none."""
        tool = self._tools.get(name)
        return tool is not None and (not isinstance(tool, BaseTool) or tool.hints.open_world)

    async def call(self, request: ToolRequest) -> ToolResponse:
        """Run one call through the tool chain.

        Raises:
            ZenError: a foreseen failure, to be told to the caller.
        """
        enter_call(request.request_id, request.arguments)
        return await self._call(request)

    async def _run(self, request: ToolRequest) -> ToolResponse:
        tool, context = self.find(request.tool), self.context(request)
        seconds = self._settings.get(tool.name, UNSET).timeout_seconds
        if seconds is None:
            return await _executed(tool, context)
        with anyio.move_on_after(seconds):
            return await _executed(tool, context)
        raise ToolTimeout(
            f"'{tool.name}' did not end within its {seconds:g} seconds.",
            "Ask for less at once, or raise timeout_seconds for it in tool_settings.",
        )

    def context(self, request: ToolRequest) -> ToolContext:
        """What a tool would see of the world in this call.

        Raises:
            UnknownTool: with the nearest name.
            InvalidArguments: this registry only lists.
        """
        tool = self.find(request.tool)
        if self._services is None:
            raise InvalidArguments(f"'{request.tool}' cannot be called here.", "This registry only lists tools.")
        settings = self._settings.get(tool.name, UNSET)
        folder: Path | None = getattr(tool, "folder", None)
        services = services_for(self._services, tool.name, settings)
        return ToolContext(limited(request, settings), services, folder=folder)


async def _executed(tool: ToolProtocol, context: ToolContext) -> ToolResponse:
    """What the tool answers; whatever else comes of foreign code is a bug of it, and no more than that."""
    try:
        response = cast("object", await tool.execute(context.request.arguments, context))
    except SystemExit as exc:
        raise RuntimeError(f"the tool '{tool.name}' called sys.exit") from exc
    if not isinstance(response, ToolResponse):
        raise TypeError(f"the tool '{tool.name}' returned a {type(response).__name__}, no ToolResponse")
    json.dumps(response.structured)  # what is no JSON would fail where nobody could name the tool
    return response


def _chosen(tools: Sequence[ToolProtocol], offered: Sequence[str]) -> Sequence[ToolProtocol]:
    """The tools of the named profiles, and those that are named."""
    by_name = {tool.name: tool for tool in tools}
    chosen: list[ToolProtocol] = []
    for name in offered:
        if name in PROFILES:
            chosen += [tool for tool in tools if PROFILES[name](tool)]
        elif name in by_name:
            chosen.append(by_name[name])
        else:
            near = did_you_mean(name, [*by_name, *PROFILES])
            raise ConfigError(f"server.yaml: tools: there is no tool or profile '{name}'.", near)
    return chosen
