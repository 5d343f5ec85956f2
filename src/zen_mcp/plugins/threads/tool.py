"""Stored threads: list, read page by page, search, branch, rename, export, delete."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from zen_mcp.errors import InvalidArguments
from zen_mcp.tools import ToolContext, ToolHints, ToolParams, ToolResult, tool
from zen_mcp.tools.context import Thread
from zen_mcp.tools.paging import head
from zen_mcp.tools.thread_text import (
    as_json,
    found_entry,
    found_lines,
    markdown,
    summary_entry,
    summary_line_of,
    transcript,
)
from zen_mcp.types import JSONObject, ToolResponse

Action = Literal["list", "read", "search", "branch", "rename", "export", "delete"]


class ThreadsParams(ToolParams):
    """Stored threads, and the rest of long answers."""

    action: Action | None = Field(default=None)
    continuation_id: str | None = Field(default=None)
    turn: int | None = Field(default=None, ge=1)
    offset: int = Field(default=0, ge=0)
    text: str = Field(default="", description="Words or new title")
    format: SkipJsonSchema[Literal["markdown", "json"]] = Field(default="markdown", description="Of an export")
    limit: SkipJsonSchema[int] = Field(default=50, ge=1, le=500, description="Threads to list or find")


class ThreadsResult(ToolResult):
    """A list of threads, a piece of one, or what became of one."""

    threads: list[JSONObject] = Field(default=[])
    text: str = ""
    next_offset: int | None = None
    more: int = 0
    continuation_id: str = ""
    title: str = ""
    branched_from: str = ""
    turn: int | None = None
    deleted: str = ""


@tool(hints=ToolHints(open_world=False))
async def threads(params: ThreadsParams, context: ToolContext) -> ToolResponse:
    """Do what `action` says; without it, what the other arguments are for."""
    action = params.action or ("read" if params.continuation_id else "search" if params.text else "list")
    if action == "list":
        entries = [summary_entry(thread) for thread in await context.threads.list(limit=params.limit)]
        return _listed(entries, [summary_line_of(entry) for entry in entries], "No threads yet.", context)
    if action == "search":
        found = await context.threads.search(params.text, limit=params.limit)
        nothing = f"Nothing is said of '{params.text}' in any thread."
        return _listed([found_entry(one) for one in found], [found_lines(one) for one in found], nothing, context)
    if params.continuation_id is None:
        raise InvalidArguments(
            f"threads: '{action}' needs 'continuation_id'.", "Without arguments, threads lists them."
        )
    if action in {"read", "export"}:
        return _page(_document(action, params, await context.open_thread(params.continuation_id)), params, context)
    return await _changed(action, params.continuation_id, params, context)


def _document(action: Action, params: ThreadsParams, thread: Thread) -> str:
    """What is to be shown of a thread, whole."""
    if action == "export":
        return as_json(thread) if params.format == "json" else markdown(thread)
    if params.turn is None:
        return transcript(thread)
    for turn in thread.turns:
        if turn.number == params.turn:
            return turn.text
    raise InvalidArguments(
        f"'turn' {params.turn} is not in thread '{thread.id}'.", f"It has turns 1 to {len(thread.turns)}."
    )


def _page(whole: str, params: ThreadsParams, context: ToolContext) -> ToolResponse:
    """As much of a text as the client shows, from `offset`, and where the rest begins."""
    if params.offset >= len(whole) > 0:
        raise InvalidArguments(f"'offset' {params.offset} is past the end.", f"The text has {len(whole):,} characters.")
    shown = head(whole, context.max_characters, offset=params.offset)
    result = ThreadsResult(text=shown.text, next_offset=shown.next_offset)
    if shown.next_offset is None:
        return ToolResponse(text=shown.text, structured=result.to_json())
    left = len(whole) - shown.next_offset
    note = f"\n\n[{left:,} more characters: offset={shown.next_offset}]"
    return ToolResponse(text=shown.text + note, structured=result.to_json())


def _listed(entries: list[JSONObject], lines: list[str], nothing: str, context: ToolContext) -> ToolResponse:
    """As many threads as the client shows."""
    room, count = context.max_characters, 0
    while count < len(lines) and (room := room - len(lines[count]) - 1) >= 0:
        count += 1
    more = len(lines) - count
    note = [f"[{more} more: search with text, or a smaller limit]"] if more else []
    result = ThreadsResult(threads=entries[:count], more=more)
    text = "\n".join([*lines[:count], *note]) or nothing
    return ToolResponse(text=text, structured=result.to_json() or {"threads": []})


async def _changed(action: Action, continuation_id: str, params: ThreadsParams, context: ToolContext) -> ToolResponse:
    """Branch, rename or delete, and say what became of it."""
    if action == "branch":
        made = await context.threads.branch(continuation_id, turn=params.turn, title=params.text)
        text = f"{made.id} goes on after turn {made.last_turn} of {made.branched_from}, which stays as it is."
        result = ThreadsResult(
            continuation_id=made.id, title=made.title, branched_from=made.branched_from, turn=made.last_turn
        )
    elif action == "rename":
        identity, title = await context.threads.rename(continuation_id, params.text)
        text, result = f"{identity} is now called '{title}'.", ThreadsResult(continuation_id=identity, title=title)
    else:
        identity = await context.threads.delete(continuation_id)
        text, result = f"{identity} is deleted.", ThreadsResult(deleted=identity)
    return ToolResponse(text=text, structured=result.to_json())
