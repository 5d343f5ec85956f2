"""What calls took, from the ledger."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Literal

from pydantic import Field

from zen_mcp.tools import ToolContext, ToolHints, ToolParams, tool
from zen_mcp.tools.format import usage_words
from zen_mcp.tools.periods import since_when
from zen_mcp.types import JSONObject, ToolResponse

_MOST_LINES = 50


class UsageParams(ToolParams):
    """Tokens and dollars spent."""

    by: Literal["model", "tool", "user", "day", "thread"] = Field(default="model", description="Line")
    since: str = Field(default="7d", description="7d or date")


@tool(hints=ToolHints(open_world=False, core=False))
async def usage(params: UsageParams, context: ToolContext) -> ToolResponse:
    """Sum what the caller used, or everybody where he may see that."""
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
