"""The present values of the alerts: from the ledger, whose windows outlive a restart, and from the limits."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from zen_mcp.alerts.rules import Rule
from zen_mcp.errors import Refused
from zen_mcp.storage.base import SQLValue, Transaction

_LONGEST_CALL_SECONDS = 3_600.0
"""A row bears the time at which its call began; one that began longer before the window is not looked for."""
_MOST_SUBJECTS = 100

Values = Mapping[str, SQLValue]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One value of one alert.

    Attributes:
        subject: which limit; empty where there is only one value.
        value: None where too little happened to tell.
        basis: what it comes from, in words.
    """

    subject: str = ""
    value: float | None
    basis: str


def _refusals() -> str:
    names = sorted({Refused.__name__, *(kind.__name__ for kind in Refused.__subclasses__())})
    return ", ".join(f"'{name}'" for name in names)


# Calls that ended in the window; a refusal and a cancelled call are no failures, as in the metrics.
_ENDED = "at >= :oldest AND at <= :now AND at + seconds >= :since"
_ERRORS = f"""
SELECT COUNT(*) AS calls, SUM(CASE WHEN status = 'failed' THEN 1 ELSE 0 END) AS failed
FROM ledger WHERE {_ENDED} AND kind = 'tool' AND status <> 'cancelled' AND COALESCE(error, '') NOT IN ({_refusals()})
"""  # noqa: S608 - fixed names
_CALLS = f"SELECT COUNT(*) AS calls FROM ledger WHERE {_ENDED} AND kind = 'tool'"  # noqa: S608 - fixed names
_SLOWEST = f"""
SELECT seconds FROM ledger WHERE {_ENDED} AND kind = 'tool' ORDER BY seconds DESC LIMIT 1 OFFSET :slower
"""  # noqa: S608 - fixed names
_DOLLARS = f"""
SELECT SUM(CASE WHEN at + seconds >= :middle THEN cost_dollars ELSE 0 END) AS now_dollars,
       SUM(CASE WHEN at + seconds < :middle THEN cost_dollars ELSE 0 END) AS before_dollars,
       SUM(CASE WHEN at + seconds < :middle THEN 1 ELSE 0 END) AS before_requests
FROM ledger WHERE {_ENDED} AND kind = 'model'
"""  # noqa: S608 - fixed names

QUERIES: Mapping[str, str] = {
    "error_rate": _ERRORS,
    "p95_latency": _SLOWEST,
    "cost_increase": _DOLLARS,
    "limit_use": "the counters of limits.yaml, as `zen limits` shows them",
}
"""Where each value comes from, for people."""


def read(transaction: Transaction, rule: Rule, limit_use: Mapping[str, float], now: float) -> Sequence[Reading]:
    """The present values of an alert.

    Args:
        transaction: on the database of the ledger.
        rule: the alert.
        limit_use: by the name of a limit, how much of it is used, from 0 to 1; of one per user, the most.
        now: seconds since 1970.
    """
    if rule.name == "limit_use":
        return _limits(limit_use)
    return (_WINDOWED[rule.name](transaction, rule, now),)


def _errors(transaction: Transaction, rule: Rule, now: float) -> Reading:
    row = transaction.rows(_ERRORS, _window(rule.window_seconds, now))[0]
    calls, failed = _number(row["calls"]), _number(row["failed"])
    enough = calls >= rule.minimum_calls
    return Reading(value=100 * failed / calls if enough else None, basis=f"{failed:,.0f} of {calls:,.0f} calls")


def _latency(transaction: Transaction, rule: Rule, now: float) -> Reading:
    window = _window(rule.window_seconds, now)
    calls = int(_number(transaction.rows(_CALLS, window)[0]["calls"]))
    if calls < rule.minimum_calls:
        return Reading(value=None, basis=f"{calls:,} calls")
    slower = calls - math.ceil(0.95 * calls)
    rows = transaction.rows(_SLOWEST, {**window, "slower": slower})
    return Reading(value=_number(rows[0]["seconds"]), basis=f"{calls:,} calls")


def _dollars(transaction: Transaction, rule: Rule, now: float) -> Reading:
    window = {**_window(2 * rule.window_seconds, now), "middle": now - rule.window_seconds}
    row = transaction.rows(_DOLLARS, window)[0]
    spent, before, requests = (_number(row[name]) for name in ("now_dollars", "before_dollars", "before_requests"))
    enough = before > 0 and requests >= rule.minimum_calls and spent >= rule.minimum_dollars
    return Reading(
        value=100 * (spent / before - 1) if enough else None, basis=f"${spent:,.2f} after ${before:,.2f} before"
    )


_WINDOWED: Mapping[str, Callable[[Transaction, Rule, float], Reading]] = {
    "error_rate": _errors,
    "p95_latency": _latency,
    "cost_increase": _dollars,
}


def _limits(limit_use: Mapping[str, float]) -> Sequence[Reading]:
    """The most used limits first."""
    if not limit_use:
        return (Reading(value=None, basis="no limits are set"),)
    most = sorted(limit_use.items(), key=lambda use: -use[1])[:_MOST_SUBJECTS]
    return tuple(Reading(subject=limit, value=100 * ratio, basis="") for limit, ratio in most)


def _window(seconds: float, now: float) -> Values:
    since = now - seconds
    return {"since": since, "oldest": since - _LONGEST_CALL_SECONDS, "now": now}


def _number(value: SQLValue) -> float:
    return float(cast("float", value or 0))
