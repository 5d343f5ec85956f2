"""What the ledger's rows come to, summed by model, tool, user, day or thread."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, tzinfo
from typing import Literal, cast, get_args

from zen_mcp.storage.base import Database, Row, SQLValue
from zen_mcp.storage.ledger import QUARTER_SECONDS

By = Literal["model", "tool", "user", "day", "thread"]
GROUPINGS: tuple[By, ...] = get_args(By)

_KEYS: Mapping[By, str] = {
    "model": "model",
    "tool": "tool",
    "user": "user_id",
    "day": "quarter",
    "thread": "thread_id",
}

_SUMS: Mapping[str, str] = {
    "calls": "SUM(CASE WHEN kind = 'tool' THEN 1 ELSE 0 END)",
    "requests": "SUM(CASE WHEN kind = 'model' THEN 1 ELSE 0 END)",
    "failures": "SUM(CASE WHEN status = 'failed' THEN 1 ELSE 0 END)",
    "cache_hits": "SUM(cached)",
    "input_tokens": "SUM(input_tokens)",
    "output_tokens": "SUM(output_tokens)",
    "cached_tokens": "SUM(cached_tokens)",
    "reasoning_tokens": "SUM(reasoning_tokens)",
    "saved_tokens": "SUM(saved_tokens)",
    "cost_dollars": "SUM(cost_dollars)",
    "unpriced": "SUM(CASE WHEN kind = 'model' AND status = 'ok' AND cost_dollars IS NULL THEN 1 ELSE 0 END)",
    "seconds": "SUM(CASE WHEN kind = 'model' THEN seconds ELSE 0 END)",
}

# The sums of the whole come with those of the groups, in one pass over the rows.
_REPORT = f"""
WITH groups AS (
    SELECT {{key}} AS name, {", ".join(f"{sql} AS {name}" for name, sql in _SUMS.items())}
    FROM ledger WHERE {{where}} GROUP BY {{key}}
)
SELECT * FROM (
    SELECT 0 AS whole, groups.* FROM groups
    ORDER BY COALESCE(cost_dollars, 0) DESC, COALESCE(input_tokens, 0) + COALESCE(output_tokens, 0) DESC, calls DESC
    LIMIT :most
) AS largest
UNION ALL
SELECT 1 AS whole, NULL AS name, {", ".join(f"SUM({name}) AS {name}" for name in _SUMS)} FROM groups
"""  # noqa: S608 - fixed names


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageLine:
    """What one model, tool, user, day or thread took.

    Attributes:
        name: whose line it is; a day as 2026-11-24; empty for what has none (a call without a thread).
        calls, requests: of tools, of models.
        failures: calls and requests that failed.
        cache_hits, saved_tokens: answers given again from memory, and the tokens they would have taken.
        cached_tokens, reasoning_tokens: parts of `input_tokens` and `output_tokens`.
        cost_dollars: as far as prices are known.
        unpriced: answers without a known price.
        seconds: that models took, added up.
    """

    name: str = ""
    calls: int = 0
    requests: int = 0
    failures: int = 0
    cache_hits: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    saved_tokens: int = 0
    cost_dollars: float = 0.0
    unpriced: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageReport:
    """The lines, the dearest first, or days in order; `total` is of all, also of lines that are left out."""

    by: By
    since: float
    lines: tuple[UsageLine, ...]
    total: UsageLine


class UsageReports:
    """Sums over the ledger.

    Args:
        database: where the ledger is.
        zone: in which days begin and end; None: this machine's.
    """

    def __init__(self, database: Database, *, zone: tzinfo | None = None) -> None:
        self._database = database
        self._zone = zone

    async def report(
        self, *, by: By, since: float, until: float | None = None, user_id: str | None = None, most: int = 1_000
    ) -> UsageReport:
        """What was used in a time.

        Args:
            by: what the lines are.
            since: seconds since 1970.
            until: seconds since 1970; None: until now.
            user_id: of this user alone; None: of everybody.
            most: lines at most; days are not cut.

        Raises:
            StorageError: the database fails.
        """
        tests = ["at >= :since"]
        parameters: dict[str, SQLValue] = {"since": since, "most": 2**31 - 1 if by == "day" else most}
        if until is not None:
            tests.append("at < :until")
            parameters["until"] = until
        if user_id is not None:
            tests.append("user_id = :user_id")
            parameters["user_id"] = user_id
        if by == "model":
            tests.append("kind = 'model'")
        sql = _REPORT.format(key=_KEYS[by], where=" AND ".join(tests))
        rows = await self._database.run(lambda transaction: list(transaction.rows(sql, parameters)))
        lines = [_line(row) for row in rows if not row["whole"]]
        total = next((_line(row) for row in rows if row["whole"]), UsageLine())
        if by == "day":
            lines = self._days(lines)
        return UsageReport(by=by, since=since, lines=tuple(lines), total=replace(total, name="total"))

    def _days(self, quarters: Iterable[UsageLine]) -> list[UsageLine]:
        """Quarters of hours as days of the zone: every zone's day begins with one of them."""
        days: dict[str, list[UsageLine]] = {}
        for line in quarters:
            moment = datetime.fromtimestamp(int(line.name) * QUARTER_SECONDS, tz=UTC).astimezone(self._zone)
            days.setdefault(moment.date().isoformat(), []).append(line)
        return [_sum(day, days[day]) for day in sorted(days)]


def _line(row: Row) -> UsageLine:
    values = {name: row[name] or 0 for name in _SUMS}
    # Some databases add whole numbers up to decimals.
    numbers = {name: float(cast("float", value)) for name, value in values.items()}
    counts = {name: int(value) for name, value in numbers.items() if name not in {"cost_dollars", "seconds"}}
    name = row["name"]
    return UsageLine(
        name="" if name is None else str(name),
        cost_dollars=numbers["cost_dollars"],
        seconds=numbers["seconds"],
        **counts,
    )


def _sum(name: str, lines: Sequence[UsageLine]) -> UsageLine:
    names = [field.name for field in fields(UsageLine) if field.name != "name"]
    return replace(lines[0], name=name, **{one: sum(getattr(line, one) for line in lines) for one in names})
