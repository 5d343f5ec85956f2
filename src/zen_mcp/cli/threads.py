"""`zen threads`: list, show, search, branch, rename, export, pin and delete stored threads."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import anyio

from zen_mcp.app import App
from zen_mcp.archive import Archive
from zen_mcp.cli.session import open_app
from zen_mcp.errors import InvalidArguments, UnknownThread
from zen_mcp.storage.spending import Spending, Spent
from zen_mcp.tools.format import spent_words
from zen_mcp.tools.thread_text import as_json, found_entry, found_lines, markdown
from zen_mcp.types import Caller, JSONValue

Outcome = tuple[str, JSONValue]
"""What is printed: as text, and with --json as data."""

_USER = Caller().user_id


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `zen threads` takes."""
    parser.add_argument("action", nargs="?", choices=list(ACTIONS), default="list")
    parser.add_argument("id", nargs="?", help="the thread, or the first word to search for")
    parser.add_argument("words", nargs="*", help="the new title, or more words to search for")
    parser.add_argument("--turn", type=int, metavar="N", help="the last turn that a branch keeps")
    parser.add_argument("--title", default="", help="of a branch")
    parser.add_argument("--format", choices=["markdown", "json"], default="markdown", help="of an export")
    parser.add_argument("-o", "--output", metavar="FILE", help="where an export is written; without it, printed")
    parser.add_argument("--limit", type=int, default=50, metavar="N", help="threads to list or find")
    parser.add_argument("--config", metavar="DIR", help="a settings folder above all others")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Do one of them."""
    if arguments.action == "search" and not arguments.id:
        raise InvalidArguments("There is nothing to search for.", "zen threads search WORDS")
    if arguments.action != "list" and not arguments.id:
        raise UnknownThread(f"Which thread to {arguments.action}?", "zen threads list shows their ids.")
    text, data = anyio.run(_run, arguments)
    shown = json.dumps(data, ensure_ascii=False, indent=2) if arguments.json else text
    sys.stdout.write(shown if shown.endswith("\n") else shown + "\n")
    return 0


async def _run(arguments: argparse.Namespace) -> Outcome:
    async with open_app(arguments.config) as app:
        return await ACTIONS[arguments.action](app, arguments)


async def _list(app: App, arguments: argparse.Namespace) -> Outcome:
    found = await Archive(app.conversations, user_id=_USER).list(limit=arguments.limit)
    spending = Spending(app.ground.database)
    by_thread = await spending.by_thread(user_id=_USER)
    midnight = datetime.now().astimezone().replace(hour=0, minute=0, second=0, microsecond=0)
    today = await spending.since(midnight.timestamp(), user_id=_USER)
    entries: list[JSONValue] = [{**asdict(one), "spent": asdict(by_thread.get(one.id, Spent()))} for one in found]
    lines = [
        f"{one.id}  {datetime.fromtimestamp(one.updated_at, tz=UTC):%Y-%m-%d %H:%M}  "
        f"{one.turn_count:>3} turns  {_words(by_thread.get(one.id, Spent())):<24}  "
        f"{'pinned  ' if one.pinned else ''}{one.title}"
        for one in found
    ]
    text = "\n".join([*lines, "", f"today: {_words(today)}"]) if lines else "No threads yet: zen ask starts one."
    return text, {"threads": entries, "today": asdict(today)}


async def _show(app: App, arguments: argparse.Namespace) -> Outcome:
    thread = await app.conversations.open(arguments.id, user_id=_USER)
    turns = [(turn.number, turn.model or turn.role, turn.text) for turn in thread.turns]
    entries: list[JSONValue] = [{"turn": number, "by": by, "text": text} for number, by, text in turns]
    text = "\n\n".join(f"--- {number} {by}\n{text}" for number, by, text in turns)
    return text, {"continuation_id": thread.id, "title": thread.title, "turns": entries}


async def _search(app: App, arguments: argparse.Namespace) -> Outcome:
    words = " ".join([arguments.id, *arguments.words])
    found = await Archive(app.conversations, user_id=_USER).search(words, limit=arguments.limit)
    entries: list[JSONValue] = [found_entry(one) for one in found]
    return "\n".join(found_lines(one) for one in found) or f"Nothing is said of '{words}'.", {"threads": entries}


async def _branch(app: App, arguments: argparse.Namespace) -> Outcome:
    archive = Archive(app.conversations, user_id=_USER)
    made = await archive.branch(arguments.id, turn=arguments.turn, title=arguments.title)
    return f"{made.id}  after turn {made.last_turn} of {made.branched_from}", asdict(made)


async def _rename(app: App, arguments: argparse.Namespace) -> Outcome:
    archive = Archive(app.conversations, user_id=_USER)
    identity, title = await archive.rename(arguments.id, " ".join(arguments.words) or arguments.title)
    return f"{identity} is now called '{title}'", {"id": identity, "title": title}


async def _export(app: App, arguments: argparse.Namespace) -> Outcome:
    thread = await app.conversations.open(arguments.id, user_id=_USER)
    whole = as_json(thread)
    text = whole if arguments.format == "json" else markdown(thread)
    if arguments.output is None:
        return text, json.loads(whole)
    try:
        await anyio.Path(arguments.output).write_text(text, encoding="utf-8")
    except OSError as exc:
        raise InvalidArguments(
            f"'{arguments.output}' cannot be written ({exc.strerror}).", "Name a file in a folder that can be written."
        ) from exc
    return f"{thread.id} is written to {arguments.output}", {"id": thread.id, "file": str(Path(arguments.output))}


async def _pin(app: App, arguments: argparse.Namespace) -> Outcome:
    pinned = arguments.action == "pin"
    identity = await Archive(app.conversations, user_id=_USER).pin(arguments.id, pinned=pinned)
    return f"{identity} is {'kept for good' if pinned else 'kept no longer than others'}", {
        "id": identity,
        "pinned": pinned,
    }


async def _delete(app: App, arguments: argparse.Namespace) -> Outcome:
    identity = await Archive(app.conversations, user_id=_USER).delete(arguments.id)
    return f"deleted {identity}", {"deleted": identity}


ACTIONS: Mapping[str, Callable[[App, argparse.Namespace], Awaitable[Outcome]]] = {
    "list": _list,
    "show": _show,
    "search": _search,
    "branch": _branch,
    "rename": _rename,
    "export": _export,
    "pin": _pin,
    "unpin": _pin,
    "delete": _delete,
}


def _words(spent: Spent) -> str:
    """`1,240 tokens, $0.0042`, with a + where some answers have no known price."""
    return f"{spent.tokens:,} tokens, {spent_words(spent.cost_dollars, unpriced=spent.unpriced)}"
