"""How alerts stand: ok, pending or firing, and what a new value makes of that. Kept in the database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, cast

from zen_mcp.alerts.readings import Reading
from zen_mcp.alerts.rules import Rule
from zen_mcp.storage.base import SQLValue, Transaction

State = Literal["ok", "pending", "firing"]
News = Literal["firing", "still firing", "resolved"]

Key = tuple[str, str]
"""An alert and its subject."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How one alert stands.

    Attributes:
        since: when it came into this state, in seconds since 1970.
        told_at: when it was last told to fire; None where it does not.
    """

    alert: str
    subject: str = ""
    state: State = "ok"
    since: float
    value: float | None = None
    told_at: float | None = None


def step(
    rule: Rule, before: Standing | None, reading: Reading, *, now: float, repeat_seconds: float
) -> tuple[Standing, News | None]:
    """What a new value makes of an alert, and what is to be told.

    It fires when its value was above the threshold for so long, and ends when the value is at or below `clear`, or
    gone.
    """
    old = before or Standing(alert=rule.name, subject=reading.subject, since=now)
    value = reading.value
    kept = replace(old, value=value)
    if old.state == "firing":
        if value is None or value <= rule.clear:
            return replace(kept, state="ok", since=now, told_at=None), "resolved"
        # A clock that was put back must not silence the reminders.
        due = old.told_at is None or not 0 <= now - old.told_at < repeat_seconds
        return (replace(kept, told_at=now), "still firing") if due else (kept, None)
    if value is None or value <= rule.threshold:
        return (kept if old.state == "ok" else replace(kept, state="ok", since=now)), None
    since = min(old.since, now) if old.state == "pending" else now
    if now - since >= rule.for_seconds:
        return replace(kept, state="firing", since=now, told_at=now), "firing"
    return replace(kept, state="pending", since=since), None


def take_turn(transaction: Transaction, *, now: float, interval_seconds: float) -> bool:
    """Whether it is our turn: of all servers on this database, one looks at a time."""
    transaction.execute("INSERT INTO alert_turns (name, taken_at) VALUES ('look', 0) ON CONFLICT (name) DO NOTHING")
    # A turn in the future was taken by a clock that has been put back since.
    taken = transaction.execute(
        "UPDATE alert_turns SET taken_at = :now WHERE name = 'look' AND (taken_at <= :due OR taken_at > :ahead)",
        {"now": now, "due": now - 0.9 * interval_seconds, "ahead": now + interval_seconds},
    )
    return taken == 1


def last_turn(transaction: Transaction) -> float | None:
    """When a server looked last; None for never."""
    rows = transaction.rows("SELECT taken_at FROM alert_turns WHERE name = 'look'")
    return float(cast("float", rows[0]["taken_at"])) if rows else None


def standings(transaction: Transaction) -> Mapping[Key, Standing]:
    """All that is known."""
    rows = transaction.rows("SELECT alert, subject, state, since, value, told_at FROM alerts")
    found = (
        Standing(
            alert=str(row["alert"]),
            subject=str(row["subject"]),
            state=cast("State", row["state"]),
            since=cast("float", row["since"]),
            value=cast("float | None", row["value"]),
            told_at=cast("float | None", row["told_at"]),
        )
        for row in rows
    )
    return {(one.alert, one.subject): one for one in found}


def keep(transaction: Transaction, standing: Standing) -> None:
    """Write how an alert stands; one of many that is well is not kept."""
    key: dict[str, SQLValue] = {"alert": standing.alert, "subject": standing.subject}
    if standing.state == "ok" and standing.subject:
        transaction.execute("DELETE FROM alerts WHERE alert = :alert AND subject = :subject", key)
        return
    transaction.execute(
        "INSERT INTO alerts (alert, subject, state, since, value, told_at) "
        "VALUES (:alert, :subject, :state, :since, :value, :told_at) "
        "ON CONFLICT (alert, subject) DO UPDATE SET "
        "state = :state, since = :since, value = :value, told_at = :told_at",
        {
            **key,
            "state": standing.state,
            "since": standing.since,
            "value": standing.value,
            "told_at": standing.told_at,
        },
    )
