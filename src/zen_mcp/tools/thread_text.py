"""Threads as documents: Markdown to read, JSON to keep, and the lines of lists and searches."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime

from zen_mcp.archive import Found, ThreadSummary
from zen_mcp.conversations import Thread, Turn
from zen_mcp.figures import dollars
from zen_mcp.types import JSONObject, JSONValue


def moment(seconds: float) -> str:
    """Seconds since 1970 as `2026-11-24T18:03:11+00:00`."""
    return datetime.fromtimestamp(seconds, tz=UTC).isoformat(timespec="seconds")


def transcript(thread: Thread) -> str:
    """What was said, each turn under its number and who said it."""
    return "\n\n".join(f"## {turn.number} · {turn.model or turn.role}\n{turn.text}" for turn in thread.turns)


def markdown(thread: Thread) -> str:
    """The whole thread as a Markdown document; files and images by name, not with their content."""
    origin = f" · branched from {thread.branched_from}" if thread.branched_from else ""
    head = f"# {thread.title or thread.id}\n\n{thread.id} · {moment(thread.created_at)}{origin}"
    return "\n\n".join([head, *(_markdown_turn(turn) for turn in thread.turns)]) + "\n"


def as_json(thread: Thread) -> str:
    """The whole thread as JSON, with the content of files and images."""
    whole: JSONObject = {
        "continuation_id": thread.id,
        "title": thread.title,
        "created": moment(thread.created_at),
        "updated": moment(thread.updated_at),
        **({"branched_from": thread.branched_from} if thread.branched_from else {}),
        "turns": [_json_turn(turn) for turn in thread.turns],
    }
    return json.dumps(whole, ensure_ascii=False, indent=2) + "\n"


def summary_entry(thread: ThreadSummary) -> JSONObject:
    """One thread of a list, as data."""
    entry: JSONObject = {
        "continuation_id": thread.id,
        "title": thread.title,
        "turns": thread.turn_count,
        "updated": moment(thread.updated_at),
    }
    if thread.pinned:
        entry["pinned"] = True
    if thread.branched_from:
        entry["branched_from"] = thread.branched_from
    return entry


def summary_line_of(entry: JSONObject) -> str:
    """One thread of a list, as a line."""
    marks = " · pinned" if entry.get("pinned") else ""
    return f"{entry['continuation_id']} · {entry['turns']} turns · {entry['updated']}{marks} · {entry['title']}"


def found_entry(found: Found) -> JSONObject:
    """One thread that a search found, as data."""
    hits: list[JSONValue] = [{"turn": hit.turn, "by": hit.by, "text": hit.snippet} for hit in found.hits]
    entry: JSONObject = {"continuation_id": found.id, "title": found.title, "hits": hits}
    return {**entry, "more": found.more} if found.more else entry


def found_lines(found: Found) -> str:
    """One thread that a search found: its line, then each place with what stands around the words."""
    lines = [f"{found.id} · {moment(found.updated_at)} · {found.title}"]
    lines += [f"  turn {hit.turn} · {hit.by}: {hit.snippet}" for hit in found.hits]
    return "\n".join([*lines, *([f"  and {found.more} more turns"] if found.more else [])])


def _markdown_turn(turn: Turn) -> str:
    if turn.role == "user":
        names = [file.path for file in turn.files] + [image.mime_type for image in turn.images]
        named = [f"Files: {', '.join(f'`{name}`' for name in names)}"] if names else []
        return "\n\n".join([f"## {turn.number} · {turn.tool}", *named, turn.text])
    stance = f", {turn.stance}" if turn.stance else ""
    return f"## {turn.number} · {turn.model}{stance} ({turn.vendor}){_figures(turn)}\n\n{turn.text}"


def _figures(turn: Turn) -> str:
    parts: Sequence[str] = [
        *([f"{turn.input_tokens:,}+{turn.output_tokens or 0:,} tokens"] if turn.input_tokens else []),
        *([dollars(turn.cost_dollars)] if turn.cost_dollars else []),
    ]
    return "".join(f" · {part}" for part in parts)


def _json_turn(turn: Turn) -> JSONObject:
    files: list[JSONValue] = [{"path": file.path, "sha256": file.sha256, "text": file.text} for file in turn.files]
    images: list[JSONValue] = [
        {"mime_type": image.mime_type, "data_base64": image.data_base64} for image in turn.images
    ]
    entry: JSONObject = {
        "turn": turn.number,
        "role": turn.role,
        "tool": turn.tool,
        "model": turn.model,
        "vendor": turn.vendor,
        "stance": turn.stance,
        "text": turn.text,
        "files": files,
        "images": images,
        "input_tokens": turn.input_tokens,
        "output_tokens": turn.output_tokens,
        "cost_dollars": turn.cost_dollars,
        "seconds": turn.seconds,
        "created": moment(turn.created_at),
    }
    return {key: value for key, value in entry.items() if value not in (None, [])}
