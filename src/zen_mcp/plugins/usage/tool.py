"""What calls took, from the ledger, and how much of the limits is used."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Literal

from pydantic import Field

from zen_mcp.tools import ToolContext, ToolHints, ToolParams, tool
from zen_mcp.tools.context import LimitUse
from zen_mcp.tools.format import usage_words
from zen_mcp.tools.periods import since_when
from zen_mcp.types import JSONObject, ToolResponse

_MOST_LINES = 50


class UsageParams(ToolParams):
    """Tokens and dollars spent."""

    by: Literal["model", "tool", "user", "day", "thread", "limit"] = Field(default="model", description="Line")
    since: str = Field(default="7d", description="7d or date")


@tool(hints=ToolHints(open_world=False, core=False))
async def usage(params: UsageParams, context: ToolContext) -> ToolResponse:
    """Sum what the caller used, or everybody where he may see that."""
    if params.by == "limit":
        return _limits(await context.limit_use())
    report = await context.usage(by=params.by, since=since_when(params.since, now=time.time()))
    shown = report.lines[-_MOST_LINES:] if params.by == "day" else report.lines[:_MOST_LINES]
    lines: list[JSONObject] = [
        {name: value for name, value in asdict(line).items() if name == "name" or value} for line in shown
    ]
    total: JSONObject = {name: value for name, value in asdict(report.total).items() if value and name != "name"}
    text = [f"{line.name or 'none'}: {usage_words(line)}" for line in shown]
    if len(shown) < len(report.lines):
        text.append(f"({len(report.lines) - len(shown):,} more lines are left out)")
    text.append(f"total since {params.since}: {usage_words(report.total)}")
    structured: JSONObject = {"by": params.by, "since": params.since, "lines": list(lines), "total": total}
    return ToolResponse(text="\n".join(text), structured=structured)


def _limits(uses: Sequence[LimitUse]) -> ToolResponse:
    """Each limit and budget: who uses how much of it, and when it is free again."""
    lines = [
        f"{use.limit} ({use.subject}): {use.used:,.6g} of {use.allowed:,.6g} {use.unit}, {100 * use.ratio:.0f} %"
        for use in uses[:_MOST_LINES]
    ]
    entries: list[JSONObject] = [
        {
            "name": use.limit,
            "subject": use.subject,
            "unit": use.unit,
            "used": use.used,
            "allowed": use.allowed,
            "percent": round(100 * use.ratio, 1),
            "resets_in_seconds": use.resets_in_seconds,
        }
        for use in uses[:_MOST_LINES]
    ]
    if len(uses) > _MOST_LINES:
        lines.append(f"({len(uses) - _MOST_LINES:,} more lines are left out)")
    text = "\n".join(lines) or "No limits are set, or nobody has used one yet."
    return ToolResponse(text=text, structured={"by": "limit", "lines": list(entries)})
