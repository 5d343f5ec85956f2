"""A caller uses only the tools that its identity allows. Not configurable: it stands around every chain."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from zen_mcp.errors import NotAllowed
from zen_mcp.middleware.base import CallNext
from zen_mcp.observability.logs import EventLog
from zen_mcp.types import ToolRequest, ToolResponse

_log = EventLog()


def may_use(patterns: Sequence[str] | None, name: str) -> bool:
    """Whether a tool's name is among the caller's; None allows all."""
    return patterns is None or any(fnmatchcase(name.lower(), pattern.lower()) for pattern in patterns)


async def permission(request: ToolRequest, call_next: CallNext[ToolRequest, ToolResponse]) -> ToolResponse:
    """Refuse a tool that the caller may not use.

    Raises:
        NotAllowed: it is not among the caller's tools.
    """
    if not may_use(request.caller.tools, request.tool):
        _log.warning("tool_not_allowed", call=request.request_id, tool=request.tool, user=request.caller.user_id)
        raise NotAllowed(
            f"You may not use the tool '{request.tool[:80]}'.", "Use another, or ask whoever runs this server."
        )
    return await call_next(request)
