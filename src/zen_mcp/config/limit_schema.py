"""limits.yaml: how much may be used per time, and how much may be spent."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from zen_mcp.config.values import Allowance, Count, Entries, Flag, Percent, Settings, Version

Away = Literal["open", "closed", "local"]


class Limit(Settings):
    """At most so many requests, tokens or dollars per time; each of them holds."""

    requests_per_second: Count | None = Field(default=None, description="Requests in a second.")
    requests_per_minute: Count | None = Field(default=None, description="Requests in a minute.")
    requests_per_hour: Count | None = Field(default=None, description="Requests in an hour.")
    requests_per_day: Count | None = Field(default=None, description="Requests in a day.")
    requests_per_month: Count | None = Field(default=None, description="Requests in a month.")
    tokens_per_second: Count | None = Field(default=None, description="Tokens, in and out, in a second.")
    tokens_per_minute: Count | None = Field(default=None, description="Tokens in a minute.")
    tokens_per_hour: Count | None = Field(default=None, description="Tokens in an hour.")
    tokens_per_day: Count | None = Field(default=None, description="Tokens in a day.")
    tokens_per_month: Count | None = Field(default=None, description="Tokens in a month.")
    dollars_per_second: Allowance | None = Field(default=None, description="Dollars in a second.")
    dollars_per_minute: Allowance | None = Field(default=None, description="Dollars in a minute.")
    dollars_per_hour: Allowance | None = Field(default=None, description="Dollars in an hour.")
    dollars_per_day: Allowance | None = Field(default=None, description="Dollars in a day.")
    dollars_per_month: Allowance | None = Field(default=None, description="Dollars in a month.")


class Budget(Settings):
    """At most so many dollars in a period; each of them holds. Periods begin at midnight UTC, weeks on Monday."""

    day: Allowance | None = Field(default=None, description="Dollars in a day.")
    week: Allowance | None = Field(default=None, description="Dollars in a week.")
    month: Allowance | None = Field(default=None, description="Dollars in a month.")
    total: Allowance | None = Field(default=None, description="Dollars for ever.")
    hard: Flag = Field(default=True, description="Whether calls that would pass it are refused, or only told.")


class RateLimits(Settings):
    """Limits by what they hold for."""

    everything: Limit = Field(default_factory=Limit, alias="global", description="All calls together.")
    per_tool: Entries[Limit] = Field(default={}, validate_default=True, description="Each named tool.")
    per_user: Limit = Field(default_factory=Limit, description="Each caller.")
    per_model: Entries[Limit] = Field(default={}, validate_default=True, description="Each named model.")
    per_user_tool: Entries[Limit] = Field(
        default={}, validate_default=True, description="Each caller's calls of each named tool."
    )
    per_team: Limit = Field(default_factory=Limit, description="The callers of each team together.")
    when_redis_is_away: Away = Field(
        default="local",
        description="What holds while the counters cannot be reached: `open` no limit, `closed` nothing is let "
        "through, `local` each server counts for itself.",
    )
    replicas: Count = Field(
        default=1, description="How many servers share the limits: with `local`, each gets one of so many parts."
    )


class Budgets(Settings):
    """Budgets by what they hold for."""

    everything: Budget = Field(default_factory=Budget, alias="global", description="All calls together.")
    per_tool: Entries[Budget] = Field(default={}, validate_default=True, description="Each named tool.")
    per_user: Budget = Field(default_factory=Budget, description="Each caller.")
    per_model: Entries[Budget] = Field(default={}, validate_default=True, description="Each named model.")
    per_team: Budget = Field(default_factory=Budget, description="The callers of each team together.")
    warn_percent: Percent = Field(default=80.0, description="From so much of a budget on, answers and the log tell.")
    on_panel: Literal["refuse", "shrink"] = Field(
        default="refuse", description="A panel that would pass a budget: refused, or asked without its last members."
    )
    unknown_price: Literal["allow", "refuse"] = Field(
        default="allow", description="A model whose price is unknown: asked, with a note, or refused."
    )
    when_redis_is_away: Away = Field(default="closed", description="As for rate limits.")


class LimitsFile(Settings):
    """limits.yaml: rate limits and budgets."""

    version: Version = Field(default="1.0", description="The version of this file's format.")
    rate_limits: RateLimits = Field(default_factory=RateLimits, description="Limits by what they hold for.")
    budgets: Budgets = Field(default_factory=Budgets, description="Dollars that may be spent, by what they hold for.")
    counters: Literal["auto", "memory", "database"] = Field(
        default="auto",
        description="Where use is counted: Redis where `redis_url` is set, else the database, which the servers of a "
        "user share; `memory`: each server for itself.",
    )
