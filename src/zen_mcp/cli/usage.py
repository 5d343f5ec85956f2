"""`zen usage`: what calls took, summed from the ledger."""

from __future__ import annotations

import argparse
import csv
import io
import json
import sys
import time
from dataclasses import asdict
from datetime import datetime

import anyio
from rich.console import Console
from rich.table import Table

from zen_mcp.cli.session import open_app
from zen_mcp.storage.usage import GROUPINGS, UsageLine, UsageReport
from zen_mcp.tools.format import spent_words
from zen_mcp.tools.periods import since_when

_MOST_LINES = 100_000
_MOST_ROWS_OF_A_TABLE = 100
_COLUMNS = (
    "calls", "requests", "failed", "cached", "tokens in", "tokens out", "from cache", "reasoning", "cost", "seconds",
)  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `zen usage` takes."""
    parser.add_argument("--by", choices=GROUPINGS, default="model", help="what the lines are (model)")
    parser.add_argument("--since", default="30d", metavar="WHEN", help="24h, 7d, 4w or 2026-11-01 (30d)")
    parser.add_argument("--user", metavar="NAME", help="of this user alone")
    parser.add_argument("--config", metavar="DIR", help="a settings folder above all others")
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument("--csv", action="store_true", help="print CSV")
    shape.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Print the report."""
    report = anyio.run(_report, arguments)
    if arguments.json:
        sys.stdout.write(json.dumps(asdict(report), ensure_ascii=False, indent=2) + "\n")
    elif arguments.csv:
        sys.stdout.write(_csv(report))
    else:
        console = Console(width=None if sys.stdout.isatty() else 140)
        console.print(_table(report))
    return 0


async def _report(arguments: argparse.Namespace) -> UsageReport:
    since = since_when(arguments.since, now=time.time())
    async with open_app(arguments.config) as app:
        return await app.usage.report(by=arguments.by, since=since, user_id=arguments.user, most=_MOST_LINES)


def _csv(report: UsageReport) -> str:
    """Every line with every figure; no line of totals, which whoever adds up would count twice."""
    out = io.StringIO()
    names = list(asdict(UsageLine()))
    writer = csv.DictWriter(out, fieldnames=[report.by, *names[1:]], lineterminator="\n")
    writer.writeheader()
    for line in report.lines:
        values = asdict(line)
        writer.writerow({report.by: values.pop("name"), **values})
    return out.getvalue()


def _table(report: UsageReport) -> Table:
    since = datetime.fromtimestamp(report.since).astimezone()
    left_out = max(len(report.lines) - _MOST_ROWS_OF_A_TABLE, 0)
    caption = f"{left_out:,} more lines: --csv or --json shows them" if left_out else None
    table = Table(
        title=f"Usage by {report.by} since {since:%Y-%m-%d %H:%M}",
        title_justify="left",
        caption=caption,
        caption_justify="left",
        box=None,
        show_footer=True,
        pad_edge=False,
    )
    total = _cells(report.total)
    wanted = [number for number, cell in enumerate(total) if cell]
    table.add_column(report.by, footer="total", overflow="fold", style="cyan", footer_style="bold")
    for number in wanted:
        table.add_column(_COLUMNS[number], justify="right", footer=total[number], footer_style="bold", no_wrap=True)
    shown = report.lines[left_out:] if report.by == "day" else report.lines[:_MOST_ROWS_OF_A_TABLE]
    for line in shown:
        cells = _cells(line)
        table.add_row(line.name or "(none)", *(cells[number] for number in wanted))
    return table


def _cells(line: UsageLine) -> tuple[str, ...]:
    """One cell per column; empty for nothing, and a column that is empty in the total is not shown."""
    counts = (
        line.calls,
        line.requests,
        line.failures,
        line.cache_hits,
        line.input_tokens,
        line.output_tokens,
        line.cached_tokens,
        line.reasoning_tokens,
    )
    cost = spent_words(line.cost_dollars, unpriced=line.unpriced).replace(" (some prices unknown)", "")
    return (
        *(f"{count:,}" if count else "" for count in counts),
        cost.removeprefix("cost ") if line.requests else "",
        f"{line.seconds:,.1f}" if line.seconds else "",
    )
