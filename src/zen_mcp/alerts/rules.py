"""The four alerts: what each measures, in the ledger and in Prometheus, and its thresholds from alerts.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from zen_mcp.config.alert_schema import AlertSettings, AlertsFile, CostAlert, ErrorRateAlert, LatencyAlert

Unit = Literal["percent", "seconds"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """What an alert looks at.

    Attributes:
        title: for people.
        unit: of its value and its thresholds.
        prometheus: the alert's name in Prometheus.
        promql: the value; `WINDOW` stands for the window ("5m").
        volume: how much happened; below the minimum there is no value. Empty: always a value.
        label: what the values differ by; empty for a single one.
    """

    title: str
    unit: Unit
    prometheus: str
    promql: str
    volume: str = ""
    label: str = ""


MEASURES: Mapping[str, Measure] = {
    "error_rate": Measure(
        title="Tool calls that failed",
        unit="percent",
        prometheus="ZenErrorRateHigh",
        promql='100 * (sum(rate(tool_calls_total{status="failed"}[WINDOW])) or vector(0))'
        ' / sum(rate(tool_calls_total{status=~"ok|failed"}[WINDOW]))',
        volume='sum(increase(tool_calls_total{status=~"ok|failed"}[WINDOW]))',
    ),
    "p95_latency": Measure(
        title="95 % of tool calls are faster than",
        unit="seconds",
        prometheus="ZenLatencyHigh",
        promql="histogram_quantile(0.95, sum by (le) (rate(tool_execution_seconds_bucket[WINDOW])))",
        volume="sum(increase(tool_execution_seconds_count[WINDOW]))",
    ),
    "cost_increase": Measure(
        title="Dollars more than in the window before",
        unit="percent",
        prometheus="ZenCostUp",
        promql="100 * (sum(increase(model_cost_dollars_total[WINDOW]))"
        " / sum(increase(model_cost_dollars_total[WINDOW] offset WINDOW)) - 1)",
        volume='sum(increase(model_requests_total{status="ok"}[WINDOW] offset WINDOW))',
    ),
    "limit_use": Measure(
        title="The most used part of a limit",
        unit="percent",
        prometheus="ZenLimitNearlyUsed",
        promql="100 * max by (limit) (limit_use_ratio)",
        label="limit",
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One alert that is watched for, with its thresholds in the unit of its measure.

    Attributes:
        clear: an alert that fires ends at this or below.
        for_seconds: how long the value must be above before it fires.
        channels: the names of those that are told.
        window_seconds: 0 for a value of the moment.
    """

    name: str
    measure: Measure
    threshold: float
    clear: float
    for_seconds: float
    severity: str
    channels: tuple[str, ...]
    window_seconds: float = 0.0
    minimum_calls: int = 0
    minimum_dollars: float = 0.0

    def amount(self, value: float) -> str:
        """A value with its unit."""
        return f"{value:.4g} %" if self.measure.unit == "percent" else f"{value:.4g} s"


def rules_of(settings: AlertsFile) -> tuple[Rule, ...]:
    """The alerts that are enabled."""
    return tuple(_rule(name, alert, settings) for name, alert in settings.alerts.items() if alert.enabled)


def _rule(name: str, alert: AlertSettings, settings: AlertsFile) -> Rule:
    windowed = alert if isinstance(alert, (ErrorRateAlert, LatencyAlert, CostAlert)) else None
    return Rule(
        name=name,
        measure=MEASURES[name],
        threshold=alert.threshold,
        clear=alert.clear,
        for_seconds=alert.for_seconds,
        severity=alert.severity,
        channels=settings.told(alert),
        window_seconds=windowed.window_seconds if windowed else 0.0,
        minimum_calls=windowed.minimum_calls if windowed else 0,
        minimum_dollars=alert.minimum_dollars if isinstance(alert, CostAlert) else 0.0,
    )
