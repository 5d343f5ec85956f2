"""`zen threads`: list, show and delete stored threads."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from datetime import UTC, datetime

import anyio

from zen_mcp.cli.session import open_app
from zen_mcp.errors import UnknownThread
from zen_mcp.storage.spending import Spending, Spent
from zen_mcp.tools.format import spent_words
from zen_mcp.types import Caller


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `zen threads` takes."""
    parser.add_argument("action", nargs="?", choices=["list", "show", "delete"], default="list")
    parser.add_argument("id", nargs="?", help="the thread to show or delete")
    parser.add_argument("--config", metavar="DIR", help="a settings folder above all others")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Do one of the three."""
    if arguments.action != "list" and not arguments.id:
        raise UnknownThread(f"Which thread to {arguments.action}?", "zen threads list shows their ids.")
    sys.stdout.write(anyio.run(_run, arguments) + "\n")
    return 0


async def _run(arguments: argparse.Namespace) -> str:
    user = Caller().user_id
    async with open_app(arguments.config) as app:
        if arguments.action == "delete":
            if not await app.conversations.delete(arguments.id, user_id=user):
                raise UnknownThread(f"There is no thread '{arguments.id}'.", "zen threads list shows them.")
            return json.dumps({"deleted": arguments.id}) if arguments.json else f"deleted {arguments.id}"
        if arguments.action == "show":
            thread = await app.conversations.open(arguments.id, user_id=user)
            turns = [(turn.number, turn.model or turn.role, turn.text) for turn in thread.turns]
            if arguments.json:
                entries = [{"turn": number, "by": by, "text": text} for number, by, text in turns]
                return json.dumps({"continuation_id": thread.id, "turns": entries}, ensure_ascii=False, indent=2)
            return "\n\n".join(f"--- {number} {by}\n{text}" for number, by, text in turns)
        found = await app.conversations.list(user_id=user)
        spending = Spending(app.ground.database)
        by_thread = await spending.by_thread(user_id=user)
        midnight = datetime.now().astimezone().replace(hour=0, minute=0, second=0, microsecond=0)
        today = await spending.since(midnight.timestamp(), user_id=user)
    if arguments.json:
        entries = [{**asdict(one), "spent": asdict(by_thread.get(one.id, Spent()))} for one in found]
        return json.dumps({"threads": entries, "today": asdict(today)}, ensure_ascii=False, indent=2)
    lines = [
        f"{summary.id}  {datetime.fromtimestamp(summary.updated_at, tz=UTC):%Y-%m-%d %H:%M}  "
        f"{summary.turn_count:>3} turns  {_words(by_thread.get(summary.id, Spent())):<24}  {summary.title}"
        for summary in found
    ]
    if not lines:
        return "No threads yet: zen ask starts one."
    return "\n".join([*lines, "", f"today: {_words(today)}"])


def _words(spent: Spent) -> str:
    """`1,240 tokens, $0.0042`, with a + where some answers have no known price."""
    return f"{spent.tokens:,} tokens, {spent_words(spent.cost_dollars, unpriced=spent.unpriced)}"
