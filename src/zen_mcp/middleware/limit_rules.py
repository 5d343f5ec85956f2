"""The limits and budgets of limits.yaml as a flat list of rules, and what each of them counts for a call."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Literal

from zen_mcp.catalog.catalog import Catalog
from zen_mcp.config.limit_schema import Budget, Limit, LimitsFile
from zen_mcp.config.problems import KeyPath, Place, Problem, config_error, key_text
from zen_mcp.config.schema import Config
from zen_mcp.errors import ModelUnavailable, Refused, UnknownModel, did_you_mean
from zen_mcp.storage.counters import Counter, Draw
from zen_mcp.types import Caller

Unit = Literal["requests", "tokens", "dollars"]
Scope = Literal["global", "per_tool", "per_user", "per_model", "per_user_tool", "per_team"]
Section = Literal["rate_limits", "budgets"]

SECONDS: Mapping[str, float] = {
    "second": 1.0,
    "minute": 60.0,
    "hour": 3_600.0,
    "day": 86_400.0,
    "week": 604_800.0,
    "month": 2_592_000.0,
    "total": math.inf,
}
"""The length of a period; a rate limit's month is thirty days."""
_SUBJECT = "|"
"""Between a rule's name and whom it counts for, in a counter's key."""
_EPOCH_MONDAY_DAYS = 3
"""The first day of 1970 was a Thursday."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One limit or budget: `rate_limits.per_tool.chat.requests_per_minute` and at most how much.

    Attributes:
        name: where it stands in limits.yaml.
        match: the tool or model that it holds for, in the catalog's words; empty where it holds for all.
        period: a key of SECONDS.
        hard: whether it refuses.
    """

    name: str
    section: Section
    scope: Scope
    match: str
    unit: Unit
    period: str
    most: float
    hard: bool = True

    @property
    def words(self) -> str:
        """`500 requests per hour`, `$2.00 per day`."""
        per = "in total" if self.period == "total" else f"per {self.period}"
        return f"{amount_text(self.most, self.unit)} {per}"

    def subject(self, caller: Caller, tool: str, model: str) -> str | None:
        """Whose use it counts, for such a call; None where it does not hold."""
        return _SUBJECTS[self.scope](self, caller, tool, model)

    def draw(self, subject: str, amount: float, now: float, *, most: float | None = None) -> Draw:
        """What a call takes of the rule's counter; `most` in place of its own."""
        calendar = self.section == "budgets"
        return Draw(
            key=f"{self.name}{_SUBJECT}{subject}",
            amount=amount,
            most=(self.most if self.hard else math.inf) if most is None else most,
            seconds=SECONDS[self.period],
            period=calendar_number(self.period, now) if calendar else None,
        )

    def ends_in_seconds(self, counter: Counter, now: float) -> float | None:
        """How long until nothing of the counter counts any more; None for never."""
        if self.period == "total":
            return None
        if self.section == "budgets":
            return max(calendar_end(self.period, now) - now, 0.0)
        periods = 2 if counter.used else 1
        return max((counter.period + periods) * SECONDS[self.period] - now, 0.0)


def _of_tool(rule: Rule, caller: Caller, tool: str, model: str) -> str | None:
    return tool if tool == rule.match else None


def _of_user_tool(rule: Rule, caller: Caller, tool: str, model: str) -> str | None:
    return caller.user_id if tool == rule.match else None


def _of_model(rule: Rule, caller: Caller, tool: str, model: str) -> str | None:
    return model if model == rule.match else None


_SUBJECTS: Mapping[Scope, Callable[[Rule, Caller, str, str], str | None]] = {
    "global": lambda rule, caller, tool, model: "all",
    "per_tool": _of_tool,
    "per_user": lambda rule, caller, tool, model: caller.user_id,
    "per_model": _of_model,
    "per_user_tool": _of_user_tool,
    "per_team": lambda rule, caller, tool, model: caller.team,
}


def amount_text(amount: float, unit: Unit) -> str:
    """`1,500 tokens`, `$0.25`."""
    number = number_text(amount, unit)
    return number if unit == "dollars" else f"{number} {unit}"


def number_text(amount: float, unit: Unit) -> str:
    """`1,500`, `$0.25`, `$0.001234`."""
    if unit == "dollars":
        return f"${amount:,.2f}" if amount >= 1 or amount == 0 else f"${amount:.4g}"
    return f"{amount:,.0f}"


def split_key(key: str) -> tuple[str, str]:
    """A counter's rule and subject."""
    name, _, subject = key.partition(_SUBJECT)
    return name, subject


def calendar_number(period: str, now: float) -> int:
    """The number of the day, week or month at this time, in UTC."""
    days = int(now // SECONDS["day"])
    if period == "day":
        return days
    if period == "week":
        return (days + _EPOCH_MONDAY_DAYS) // 7
    if period == "month":
        date = datetime.fromtimestamp(now, tz=UTC)
        return date.year * 12 + date.month - 1
    return 0


def calendar_end(period: str, now: float) -> float:
    """When the day, week or month ends; infinite for `total`."""
    midnight = datetime.fromtimestamp(now, tz=UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if period == "day":
        return (midnight + timedelta(days=1)).timestamp()
    if period == "week":
        return (midnight + timedelta(days=7 - midnight.weekday())).timestamp()
    if period == "month":
        return (midnight.replace(day=1) + timedelta(days=32)).replace(day=1).timestamp()
    return math.inf


def rules_of(config: Config, catalog: Catalog, tools: Sequence[str]) -> tuple[Rule, ...]:
    """Every rule of limits.yaml.

    Args:
        config: the settings.
        catalog: what the names of models mean.
        tools: the tools that there are, offered or not.

    Raises:
        ConfigError: every tool and model that does not exist.
    """
    problems: list[Problem] = []
    rules: list[Rule] = []
    for rule, key in _written(config.limits):
        place = _place(config, key)
        if rule.scope in {"per_tool", "per_user_tool"} and rule.match not in tools:
            fix = did_you_mean(rule.match, tools) or f"There are: {', '.join(tools)}."
            problems.append(Problem(place, key[:3], f"there is no tool '{rule.match}'.", fix))
        elif rule.scope == "per_model":
            try:
                rules.append(replace(rule, match=catalog.resolve(rule.match).name))
            except (UnknownModel, ModelUnavailable, Refused) as exc:
                problems.append(Problem(place, key[:3], exc.problem, exc.fix))
        else:
            rules.append(rule)
    if problems:
        raise config_error(list({str(problem): problem for problem in problems}.values()))
    return tuple(rules)


def _place(config: Config, key: KeyPath) -> Place:
    while key and key not in config.limit_places:
        key = key[:-1]
    return config.limit_places.get(key, Place("limits.yaml"))


def _written(limits: LimitsFile) -> Iterator[tuple[Rule, KeyPath]]:
    """The rules as they stand in the file, with the key of each."""
    for (section, scope, match), entry in _entries(limits):
        fields = _budget_fields(entry) if isinstance(entry, Budget) else _limit_fields(entry)
        for field, unit, period, most in fields:
            path = (section, scope, *([match] if match else []), field)
            rule = Rule(
                name=key_text(path),
                section=section,
                scope=scope,
                match=match,
                unit=unit,
                period=period,
                most=most,
                hard=entry.hard if isinstance(entry, Budget) else True,
            )
            yield rule, path


def _entries(limits: LimitsFile) -> Iterator[tuple[tuple[Section, Scope, str], Limit | Budget]]:
    """Each entry with its section, its scope and the name it is for; empty for all."""
    rates, budgets = limits.rate_limits, limits.budgets
    yield ("rate_limits", "global", ""), rates.everything
    yield ("rate_limits", "per_user", ""), rates.per_user
    yield ("rate_limits", "per_team", ""), rates.per_team
    yield ("budgets", "global", ""), budgets.everything
    yield ("budgets", "per_user", ""), budgets.per_user
    yield ("budgets", "per_team", ""), budgets.per_team
    named: tuple[tuple[Section, Scope, Mapping[str, Limit] | Mapping[str, Budget]], ...] = (
        ("rate_limits", "per_tool", rates.per_tool),
        ("rate_limits", "per_model", rates.per_model),
        ("rate_limits", "per_user_tool", rates.per_user_tool),
        ("budgets", "per_tool", budgets.per_tool),
        ("budgets", "per_model", budgets.per_model),
    )
    for section, scope, entries in named:
        for name, entry in entries.items():
            yield (section, scope, name), entry


def _limit_fields(limit: Limit) -> Iterator[tuple[str, Unit, str, float]]:
    units: tuple[Unit, ...] = ("requests", "tokens", "dollars")
    for unit in units:
        for period in ("second", "minute", "hour", "day", "month"):
            field = f"{unit}_per_{period}"
            most: float | None = getattr(limit, field)
            if most is not None:
                yield field, unit, period, most


def _budget_fields(budget: Budget) -> Iterator[tuple[str, Unit, str, float]]:
    for period in ("day", "week", "month", "total"):
        most: float | None = getattr(budget, period)
        if most is not None:
            yield period, "dollars", period, most
