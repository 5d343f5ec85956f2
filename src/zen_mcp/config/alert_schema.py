"""alerts.yaml: what is worth waking somebody for, and who is told."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from zen_mcp.config.problems import KeyPath, Problem
from zen_mcp.config.source import Source
from zen_mcp.config.values import Count, Entries, Flag, Names, Seconds, Settings, Share, Version, Wait
from zen_mcp.errors import did_you_mean

LOG = "log"
"""The channel that is always there."""
CLEAR = 0.9
"""An alert that fires ends below this part of its threshold, where nothing else is said."""


def _web_address(value: str) -> str:
    if not value.startswith(("http://", "https://")):
        raise PydanticCustomError("web_address", "must begin with 'http://' or 'https://'")
    return value


class ChannelSettings(Settings):
    """Where alerts are sent."""

    kind: Literal["webhook", "slack", "command", "log"] = Field(
        description="`webhook`: a POST of JSON; `slack`: what Slack and its like take; `command`: a program that gets "
        "the text on its standard input, for e-mail; `log`."
    )
    url: Annotated[str, AfterValidator(_web_address)] | None = Field(
        default=None, description="The address of a `webhook` or `slack`; it is kept out of messages."
    )
    headers: Entries[str] = Field(default={}, validate_default=True, description="Sent along with a webhook's POST.")
    command: Names = Field(default=(), description="The program of a `command` and its arguments; there is no shell.")
    timeout_seconds: Seconds = Field(default=5.0, description="How long one try may take.")

    @model_validator(mode="after")
    def _is_whole(self) -> ChannelSettings:
        if self.kind in {"webhook", "slack"} and self.url is None:
            raise PydanticCustomError("channel", "'url' is missing: where is the message sent?")
        if self.kind == "command" and not self.command:
            raise PydanticCustomError("channel", "'command' is missing: which program takes the message?")
        return self


class AlertSettings(Settings):
    """What all alerts have."""

    enabled: Flag = Field(default=True, description="Whether this alert is watched for.")
    for_seconds: Wait = Field(default=60.0, description="How long the value must be too high before the alert fires.")
    severity: Literal["warning", "critical"] = Field(default="warning", description="How bad it is.")
    channels: Names | None = Field(default=None, description="Who is told of this alert; without it, `notify`.")

    @property
    def threshold(self) -> float:
        """Above it, the alert fires."""
        raise NotImplementedError

    @property
    def clear(self) -> float:
        """At it or below it, an alert that fires ends."""
        raise NotImplementedError

    @model_validator(mode="after")
    def _clears_below(self) -> AlertSettings:
        if self.clear > self.threshold:
            text = f"it cannot clear at {self.clear:g}, above its threshold of {self.threshold:g}"
            raise PydanticCustomError("clear", "{text}", {"text": text})
        return self


class PercentAlert(AlertSettings):
    """An alert on a share."""

    above_percent: Share = Field(default=0.0, description="The threshold, in percent.")
    clear_percent: Share | None = Field(
        default=None, description="An alert that fires ends at or below this; without it, at 9/10 of the threshold."
    )

    @property
    def threshold(self) -> float:
        """In percent."""
        return self.above_percent

    @property
    def clear(self) -> float:
        """In percent."""
        return CLEAR * self.above_percent if self.clear_percent is None else self.clear_percent


class ErrorRateAlert(PercentAlert):
    """Tool calls that fail."""

    above_percent: Share = Field(default=1.0, description="The threshold, in percent of the calls.")
    window_seconds: Seconds = Field(default=300.0, description="The time that is looked at.")
    minimum_calls: Count = Field(default=20, description="With fewer calls, there is no value.")


class LatencyAlert(AlertSettings):
    """Tool calls that take long."""

    above_seconds: Seconds = Field(default=5.0, description="The threshold: 95 % of the calls are faster.")
    clear_seconds: Seconds | None = Field(
        default=None, description="An alert that fires ends at or below this; without it, at 9/10 of the threshold."
    )
    window_seconds: Seconds = Field(default=300.0, description="The time that is looked at.")
    minimum_calls: Count = Field(default=20, description="With fewer calls, there is no value.")

    @property
    def threshold(self) -> float:
        """In seconds."""
        return self.above_seconds

    @property
    def clear(self) -> float:
        """In seconds."""
        return CLEAR * self.above_seconds if self.clear_seconds is None else self.clear_seconds


class CostAlert(PercentAlert):
    """More dollars than before."""

    above_percent: Share = Field(default=20.0, description="The threshold, in percent more than in the window before.")
    window_seconds: Seconds = Field(default=86_400.0, description="The time that is compared with the same before it.")
    minimum_calls: Count = Field(default=20, description="With fewer model requests before, there is no value.")
    minimum_dollars: Share = Field(default=1.0, description="With fewer dollars spent, there is no value.")


class LimitUseAlert(PercentAlert):
    """A limit or budget that is nearly used."""

    above_percent: Share = Field(default=80.0, description="The threshold, in percent of a limit.")
    for_seconds: Wait = Field(default=0.0, description="How long the value must be too high before the alert fires.")


class AlertTable(Settings):
    """The alerts."""

    error_rate: ErrorRateAlert = Field(default_factory=ErrorRateAlert, description="Tool calls that fail.")
    p95_latency: LatencyAlert = Field(default_factory=LatencyAlert, description="Tool calls that take long.")
    cost_increase: CostAlert = Field(default_factory=CostAlert, description="More dollars than before.")
    limit_use: LimitUseAlert = Field(
        default_factory=LimitUseAlert, description="A limit or budget that is nearly used."
    )

    def items(self) -> tuple[tuple[str, AlertSettings], ...]:
        """Each with its name."""
        return tuple((name, getattr(self, name)) for name in type(self).model_fields)


class AlertsFile(Settings):
    """alerts.yaml: what is worth waking somebody for, and who is told."""

    version: Version = Field(default="1.0", description="The version of this file's format.")
    enabled: Flag = Field(
        default=False, description="Whether the server watches for alerts itself, without Prometheus."
    )
    interval_seconds: Seconds = Field(default=15.0, description="How often it looks.")
    repeat_seconds: Seconds = Field(
        default=14_400.0, description="An alert that still fires is told again after so long."
    )
    notify: Names = Field(default=(LOG,), description="Who is told: names of `channels`, and `log`.")
    channels: Entries[ChannelSettings] = Field(
        default={}, validate_default=True, description="Where alerts are sent, by names of your own."
    )
    alerts: AlertTable = Field(default_factory=AlertTable, description="The alerts and their thresholds.")

    def told(self, alert: AlertSettings) -> tuple[str, ...]:
        """The channels of an alert."""
        return self.notify if alert.channels is None else alert.channels


def channel_problems(file: AlertsFile, source: Source) -> list[Problem]:
    """One problem per channel that is named and not described."""
    known = {LOG, *file.channels}
    wanted: list[tuple[KeyPath, Names]] = [(("notify",), file.notify)]
    wanted += [(("alerts", name, "channels"), alert.channels or ()) for name, alert in file.alerts.items()]
    problems = [
        Problem(source.place(key), key, f"there is no channel '{name}'.", did_you_mean(name, known))
        for key, names in wanted
        for name in names
        if name not in known
    ]
    if LOG in file.channels:
        key = ("channels", LOG)
        problems.append(Problem(source.place(key), key, "'log' is always there.", "Use another name."))
    return problems
