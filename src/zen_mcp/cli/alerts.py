"""`zen alerts`: how each alert stands, with its value and its query; a test message; rules for Prometheus."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence

import anyio

from zen_mcp.alerts.message import Message
from zen_mcp.alerts.prometheus import rules_text, value_query
from zen_mcp.alerts.readings import QUERIES, Reading
from zen_mcp.alerts.rules import rules_of
from zen_mcp.alerts.watch import Look
from zen_mcp.cli.session import open_app, open_config
from zen_mcp.cli.table import aligned
from zen_mcp.config.alert_schema import LOG
from zen_mcp.config.schema import Config
from zen_mcp.errors import InvalidArguments, did_you_mean
from zen_mcp.types import JSONObject

_HEADER = ("ALERT", "STATE", "VALUE", "FROM", "ABOVE", "ENDS AT", "FOR", "WINDOW", "TOLD")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `zen alerts` takes."""
    parser.add_argument("--config", metavar="DIR", help="a settings folder above all others")
    parser.add_argument("--json", action="store_true", help="print JSON")
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    test = actions.add_parser("test", help="send a test message to a channel")
    test.add_argument("channel", help="a name of alerts.yaml, or log")
    rules = actions.add_parser("rules", help="print the alerts as rules for Prometheus")
    for action in (test, rules):
        action.add_argument(
            "--config", metavar="DIR", default=argparse.SUPPRESS, help="a settings folder above all others"
        )


def run(arguments: argparse.Namespace) -> int:
    """Do one of the three."""
    if arguments.action == "rules":
        sys.stdout.write(rules_text(rules_of(open_config(arguments.config).alerts)))
    elif arguments.action == "test":
        anyio.run(_test, arguments.config, arguments.channel)
        sys.stdout.write(f"The channel '{arguments.channel}' has taken a test message.\n")
    else:
        anyio.run(_show, arguments)
    return 0


async def _test(config: str | None, channel: str) -> None:
    async with open_app(config) as app:
        known = (LOG, *app.config.alerts.channels)
        if channel not in known:
            text = f"There is no channel '{channel}'."
            raise InvalidArguments(text, f"{did_you_mean(channel, known)} alerts.yaml names them.".strip())
        rules = rules_of(app.config.alerts.model_copy(update={"notify": (channel,)}))
        if not rules:
            raise InvalidArguments("Every alert is off.", "Enable one in alerts.yaml.")
        reading = Reading(value=rules[0].threshold, basis="this is a test")
        await app.ground.alerts.channels.try_once(
            channel, Message(rule=rules[0], reading=reading, news="firing", at=time.time(), trial=True)
        )


async def _show(arguments: argparse.Namespace) -> None:
    async with open_app(arguments.config) as app:
        looks, looked_at = await app.ground.alerts.look()
        config = app.config
    watching = _watching(config, looked_at)
    if arguments.json:
        report = {"watching": watching, "alerts": [_entry(look) for look in looks]}
        sys.stdout.write(json.dumps(report, ensure_ascii=False, indent=2) + "\n")
        return
    lines = [aligned([_HEADER, *(_row(look) for look in looks)]), "", watching, ""]
    for rule in {look.rule.name: look.rule for look in looks}.values():
        lines += [f"{rule.name}:", f"  ledger      {_query(rule.name)}", f"  prometheus  {value_query(rule)}"]
    sys.stdout.write("\n".join(lines) + "\n")


def _watching(config: Config, looked_at: float | None) -> str:
    """Who evaluates the alerts, in words."""
    if not config.alerts.enabled:
        return "No server watches for them: alerts.yaml says 'enabled: false'."
    if looked_at is None:
        return "No server has looked yet."
    return f"A server looked {max(time.time() - looked_at, 0):,.0f} s ago."


def _row(look: Look) -> Sequence[str]:
    rule, reading = look.rule, look.reading
    return (
        f"{rule.name} ({reading.subject})" if reading.subject else rule.name,
        look.state,
        "-" if reading.value is None else rule.amount(reading.value),
        reading.basis or "-",
        rule.amount(rule.threshold),
        rule.amount(rule.clear),
        f"{rule.for_seconds:g} s",
        f"{rule.window_seconds:g} s" if rule.window_seconds else "now",
        ", ".join(rule.channels) or "nobody",
    )


def _entry(look: Look) -> JSONObject:
    rule, reading = look.rule, look.reading
    return {
        "alert": rule.name,
        "subject": reading.subject,
        "state": look.state,
        "since": look.since,
        "value": reading.value,
        "unit": rule.measure.unit,
        "basis": reading.basis,
        "threshold": rule.threshold,
        "clear": rule.clear,
        "for_seconds": rule.for_seconds,
        "window_seconds": rule.window_seconds,
        "severity": rule.severity,
        "channels": list(rule.channels),
        "query": _query(rule.name),
        "promql": value_query(rule),
    }


def _query(name: str) -> str:
    return " ".join(QUERIES[name].split())
