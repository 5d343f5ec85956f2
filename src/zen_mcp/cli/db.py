"""`zen db`: check the database, and bring its schema up to date."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass

import anyio

from zen_mcp.cli.session import open_app
from zen_mcp.storage.base import Database, Transaction
from zen_mcp.storage.schema import migrations


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was found. `version` is the schema's, `known` this program's; `threads` is None for a schema too old."""

    database: str
    version: int
    known: int
    threads: int | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `zen db` takes."""
    parser.add_argument("action", nargs="?", choices=["check", "upgrade"], default="check")
    parser.add_argument("--config", metavar="DIR", help="a settings folder above all others")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Do either; 1 when the schema is not this program's."""
    report = anyio.run(_run, arguments.config, arguments.action == "upgrade")
    sys.stdout.write((json.dumps(asdict(report)) if arguments.json else _text(report)) + "\n")
    return 0 if report.version == report.known else 1


async def _run(config: str | None, upgrade: bool) -> Report:
    async with open_app(config) as app:
        database = app.ground.database
        if upgrade:
            await database.run(_threads)
        return await _report(database)


async def _report(database: Database) -> Report:
    version, known = await database.version(), len(migrations())
    threads = await database.run(_threads) if version == known else None
    return Report(database=database.where, version=version, known=known, threads=threads)


def _threads(transaction: Transaction) -> int:
    number = transaction.rows("SELECT COUNT(*) AS n FROM threads")[0]["n"]
    return number if isinstance(number, int) else 0


def _text(report: Report) -> str:
    if report.version == report.known:
        state = f"up to date (schema {report.version}), {report.threads:,} threads"
    elif report.version > report.known:
        state = f"schema {report.version}, newer than this program's {report.known}: upgrade zen-mcp-server"
    else:
        state = f"schema {report.version}, this program's is {report.known}: zen db upgrade, or the next start does it"
    return f"{report.database}: {state}"
