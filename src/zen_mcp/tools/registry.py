"""The tools that exist, and the one way to call one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from zen_mcp.errors import ConfigError, InvalidArguments, UnknownTool, did_you_mean
from zen_mcp.middleware.base import Middleware, compose
from zen_mcp.tools.base import BaseTool, ToolProtocol
from zen_mcp.tools.context import ToolContext, ToolServices
from zen_mcp.types import ToolRequest, ToolResponse

PROFILES = ("core", "full")
"""Sets of tools by name. Today both hold every tool; `core` stays short when there are more."""


class ToolRegistry:
    """Tools by name, behind the tool chain.

    Args:
        tools: in any order; listed sorted by name.
        services: what tools reach the world with; None makes a registry that can list but not call.
        chain: middlewares around every call, outermost first.
        offered: profiles (`core`, `full`) or names; what is not among them is neither listed nor callable.
        disabled: names that are left out of it.

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
    ) -> None:
        left_out = {name.strip().lower() for name in disabled}
        kept = {tool.name: tool for tool in _chosen(tuple(tools), offered) if tool.name.lower() not in left_out}
        self._tools = {name: kept[name] for name in sorted(kept)}
        self._services = services
        self._call = compose(chain, self._run)

    @property
    def tools(self) -> tuple[ToolProtocol, ...]:
        """All tools, sorted by name."""
        return tuple(self._tools.values())

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

    async def call(self, request: ToolRequest) -> ToolResponse:
        """Run one call through the tool chain.

        Raises:
            ZenError: a foreseen failure, to be told to the caller.
        """
        return await self._call(request)

    async def _run(self, request: ToolRequest) -> ToolResponse:
        return await self.find(request.tool).execute(request.arguments, self.context(request))

    def context(self, request: ToolRequest) -> ToolContext:
        """What a tool would see of the world in this call.

        Raises:
            UnknownTool: with the nearest name.
            InvalidArguments: this registry only lists.
        """
        tool = self.find(request.tool)
        if self._services is None:
            raise InvalidArguments(f"'{request.tool}' cannot be called here.", "This registry only lists tools.")
        folder = tool.folder if isinstance(tool, BaseTool) else None
        return ToolContext(request, self._services, folder=folder)


def _chosen(tools: Sequence[ToolProtocol], offered: Sequence[str]) -> Sequence[ToolProtocol]:
    """The tools of the named profiles, and those that are named."""
    if any(name in PROFILES for name in offered):
        return tools
    by_name = {tool.name: tool for tool in tools}
    for name in offered:
        if name not in by_name:
            near = did_you_mean(name, [*by_name, *PROFILES])
            raise ConfigError(f"server.yaml: tools: there is no tool or profile '{name}'.", near)
    return [by_name[name] for name in offered]
