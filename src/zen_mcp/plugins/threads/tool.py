"""Stored threads: which there are, and what was said, page by page."""

from __future__ import annotations

from datetime import UTC, datetime

from pydantic import Field

from zen_mcp.errors import InvalidArguments
from zen_mcp.tools import ToolContext, ToolHints, ToolParams, ToolResult, tool
from zen_mcp.tools.paging import head
from zen_mcp.types import JSONObject, ToolResponse


class ThreadsParams(ToolParams):
    """Read stored answers: the rest of a long one, a whole thread, or (without arguments) the list of threads."""

    continuation_id: str | None = Field(default=None, description="Thread to read")
    turn: int | None = Field(default=None, ge=1, description="Only this turn")
    offset: int = Field(default=0, ge=0, description="Characters to skip")


class ThreadsResult(ToolResult):
    """A list of threads, or a piece of one."""

    threads: list[JSONObject] = Field(default=[])
    text: str = ""
    next_offset: int | None = None


@tool(hints=ToolHints(open_world=False))
async def threads(params: ThreadsParams, context: ToolContext) -> ToolResponse:
    """List threads, or read one."""
    if params.continuation_id is None:
        return await _list(context)
    thread = await context.open_thread(params.continuation_id)
    turns = [turn for turn in thread.turns if params.turn in {None, turn.number}]
    if not turns:
        raise InvalidArguments(
            f"'turn' {params.turn} is not in thread '{thread.id}'.", f"It has turns 1 to {len(thread.turns)}."
        )
    if params.turn is None:
        whole = "\n\n".join(f"## {turn.number} · {turn.model or turn.role}\n{turn.text}" for turn in turns)
    else:
        whole = turns[0].text
    if params.offset >= len(whole) > 0:
        raise InvalidArguments(f"'offset' {params.offset} is past the end.", f"The text has {len(whole):,} characters.")
    shown = head(whole, context.max_characters, offset=params.offset)
    result = ThreadsResult(text=shown.text, next_offset=shown.next_offset)
    if shown.next_offset is None:
        return ToolResponse(text=shown.text, structured=result.to_json())
    left = len(whole) - shown.next_offset
    note = f"\n\n[{left:,} more characters: offset={shown.next_offset}]"
    return ToolResponse(text=shown.text + note, structured=result.to_json())


async def _list(context: ToolContext) -> ToolResponse:
    found = await context.list_threads()
    entries: list[JSONObject] = [
        {
            "continuation_id": thread.id,
            "title": thread.title,
            "turns": thread.turn_count,
            "updated": datetime.fromtimestamp(thread.updated_at, tz=UTC).isoformat(timespec="seconds"),
        }
        for thread in found
    ]
    lines = [
        f"{entry['continuation_id']} · {entry['turns']} turns · {entry['updated']} · {entry['title']}"
        for entry in entries
    ]
    return ToolResponse(text="\n".join(lines) or "No threads yet.", structured={"threads": list(entries)})
