"""`zen limits`: how much of each limit and budget is used, and when it is free again."""

from __future__ import annotations

import argparse
import json
import sys

import anyio

from zen_mcp.cli.session import open_app
from zen_mcp.cli.table import aligned
from zen_mcp.middleware.limit_refusals import span_text
from zen_mcp.middleware.limits import LimitUse
from zen_mcp.types import JSONObject

_HEADER = ("LIMIT", "WHOSE", "USED", "ALLOWED", "", "FREE AGAIN IN")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `zen limits` takes."""
    parser.add_argument("--config", metavar="DIR", help="a settings folder above all others")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Print the table."""
    uses = anyio.run(_uses, arguments.config)
    if arguments.json:
        text = json.dumps({"limits": [_entry(use) for use in uses]}, ensure_ascii=False, indent=2)
    elif uses:
        text = aligned([_HEADER, *(_row(use) for use in uses)])
    else:
        text = "No limits and no budgets are set, or nobody has used one yet; docs/limits.md says how to set them."
    sys.stdout.write(text + "\n")
    return 0


async def _uses(config: str | None) -> tuple[LimitUse, ...]:
    async with open_app(config) as app:
        return await app.limits.usage() if app.limits.rules else ()


def _row(use: LimitUse) -> tuple[str, ...]:
    return (
        use.limit,
        use.subject,
        _amount(use.used, use.unit),
        _amount(use.allowed, use.unit),
        f"{100 * use.ratio:.0f} %",
        span_text(use.resets_in_seconds) if use.used else "-",
    )


def _amount(amount: float, unit: str) -> str:
    return f"${amount:,.4f}" if unit == "dollars" else f"{amount:,.0f}"


def _entry(use: LimitUse) -> JSONObject:
    return {
        "limit": use.limit,
        "subject": use.subject,
        "unit": use.unit,
        "used": round(use.used, 6),
        "allowed": use.allowed,
        "percent": round(100 * use.ratio, 1),
        "hard": use.hard,
        "resets_in_seconds": None if use.resets_in_seconds is None else round(use.resets_in_seconds, 1),
    }
