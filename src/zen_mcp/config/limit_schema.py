"""limits.yaml: how much may be used per time. Checked now, applied from a later version on."""

from __future__ import annotations

from pydantic import Field

from zen_mcp.config.values import Count, Dollars, Entries, Settings, Version


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
    dollars_per_second: Dollars | None = Field(default=None, description="Dollars in a second.")
    dollars_per_minute: Dollars | None = Field(default=None, description="Dollars in a minute.")
    dollars_per_hour: Dollars | None = Field(default=None, description="Dollars in an hour.")
    dollars_per_day: Dollars | None = Field(default=None, description="Dollars in a day.")
    dollars_per_month: Dollars | None = Field(default=None, description="Dollars in a month.")


class RateLimits(Settings):
    """Limits by what they hold for."""

    everything: Limit = Field(default_factory=Limit, alias="global", description="All calls together.")
    per_tool: Entries[Limit] = Field(default={}, validate_default=True, description="Each named tool.")
    per_user: Limit = Field(default_factory=Limit, description="Each caller.")
    per_model: Entries[Limit] = Field(default={}, validate_default=True, description="Each named model.")


class LimitsFile(Settings):
    """limits.yaml: rate limits."""

    version: Version = Field(default="1.0", description="The version of this file's format.")
    rate_limits: RateLimits = Field(default_factory=RateLimits, description="Limits by what they hold for.")
