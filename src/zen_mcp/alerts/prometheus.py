"""The alerts as rules for Prometheus, from the same table and the same thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from zen_mcp.alerts.rules import Rule
from zen_mcp.types import JSONObject

_HEADER = """\
# Rules for Prometheus, made by `zen alerts rules` from alerts.yaml; `promtool check rules` finds them in order.
# Each alert has a value that is recorded, fires above its threshold, and ends below another one.
"""
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s"))
_TEXT = '{title}: {{{{ $value | printf "%.4g" }}}} {unit}; above {threshold}. It ends at {clear}.'


def rules_text(rules: Sequence[Rule], *, interval_seconds: float | None = None) -> str:
    """A rule file; `interval_seconds`: how often Prometheus looks, None for as often as it does."""
    interval: JSONObject = {} if interval_seconds is None else {"interval": duration(interval_seconds)}
    group: JSONObject = {
        "name": "zen",
        **interval,
        "rules": [*(_recording(rule) for rule in rules), *(_alert(rule) for rule in rules)],
    }
    # The loader of the settings has it already.
    yaml: Any = import_module("yaml")
    return _HEADER + yaml.safe_dump({"groups": [group]}, sort_keys=False, width=10_000, allow_unicode=True)


def value_query(rule: Rule) -> str:
    """PromQL for the value of an alert; nothing where too little happened to tell."""
    measure = rule.measure
    conditions = [f"{measure.volume} >= {rule.minimum_calls}"] if measure.volume else []
    if rule.minimum_dollars:
        conditions.append(f"sum(increase(model_cost_dollars_total[WINDOW])) >= {rule.minimum_dollars:g}")
    query = "".join([measure.promql, *(f" and on () ({condition})" for condition in conditions)])
    return query.replace("WINDOW", duration(rule.window_seconds))


def recorded(rule: Rule) -> str:
    """The name under which Prometheus keeps the value."""
    return f"zen:{rule.name}:{rule.measure.unit}"


def duration(seconds: float) -> str:
    """Seconds as Prometheus writes them."""
    if seconds != int(seconds):
        return f"{round(seconds * 1000)}ms"
    return next((f"{int(seconds) // size}{unit}" for size, unit in _UNITS if seconds and seconds % size == 0), "0s")


def _recording(rule: Rule) -> JSONObject:
    return {"record": recorded(rule), "expr": value_query(rule)}


def _alert(rule: Rule) -> JSONObject:
    """The alert keeps firing between its two thresholds, by what Prometheus itself says of it (`ALERTS`)."""
    measure, name = rule.measure, recorded(rule)
    fires = f'ALERTS{{alertname="{measure.prometheus}", alertstate="firing"}}'
    expression = f"{name} > {rule.threshold:g} or ({name} > {rule.clear:g} and on ({measure.label}) {fires})"
    summary = f"{rule.name} ({{{{ $labels.{measure.label} }}}})" if measure.label else rule.name
    return {
        "alert": measure.prometheus,
        "expr": expression,
        "for": duration(rule.for_seconds),
        "labels": {"severity": rule.severity, "alert": rule.name},
        "annotations": {
            "summary": summary,
            "description": _TEXT.format(
                title=measure.title,
                unit="%" if measure.unit == "percent" else "s",
                threshold=rule.amount(rule.threshold),
                clear=rule.amount(rule.clear),
            ),
        },
    }
