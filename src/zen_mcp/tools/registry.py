"""The tools that exist, and the one way to call one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from zen_mcp.errors import InvalidArguments, UnknownTool, did_you_mean
from zen_mcp.middleware.base import Middleware, compose
from zen_mcp.tools.base import BaseTool, ToolProtocol
from zen_mcp.tools.context import ToolContext, ToolServices
from zen_mcp.types import ToolRequest, ToolResponse


class ToolRegistry:
    """Tools by name, behind the tool chain.

    Args:
        tools: in any order; listed sorted by name.
        services: what tools reach the world with; None makes a registry that can list but not call.
        chain: middlewares around every call, outermost first.
        disabled: names that are neither listed nor callable.
    """

    def __init__(
        self,
        tools: Iterable[ToolProtocol],
        *,
        services: ToolServices | None = None,
        chain: Sequence[Middleware[ToolRequest, ToolResponse]] = (),
        disabled: Iterable[str] = (),
    ) -> None:
        left_out = {name.strip().lower() for name in disabled}
        kept = {tool.name: tool for tool in tools if tool.name.lower() not in left_out}
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
        tool = self.find(request.tool)
        if self._services is None:
            raise InvalidArguments(f"'{request.tool}' cannot be called here.", "This registry only lists tools.")
        folder = tool.folder if isinstance(tool, BaseTool) else None
        return await tool.execute(request.arguments, ToolContext(request, self._services, folder=folder))
