"""Write deploy/prometheus/zen-rules.yml and deploy/grafana/dashboard.json anew from our lists."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from zen_mcp.alerts.prometheus import recorded, rules_text
from zen_mcp.alerts.rules import Rule, rules_of
from zen_mcp.config.alert_schema import AlertsFile
from zen_mcp.observability.metrics import METRICS, Metric

DEPLOY = Path(__file__).resolve().parent.parent / "deploy"
RULES = DEPLOY / "prometheus" / "zen-rules.yml"
DASHBOARD = DEPLOY / "grafana" / "dashboard.json"
_COLUMNS, _WIDTH, _HEIGHT = 24, 12, 8
_ROWS: Mapping[str, str] = {
    "tool_": "Tools",
    "refusals_": "Tools",
    "model_": "Models",
    "api_": "Models",
    "stream_": "Models",
    "cache_": "Answers from memory",
    "limit_": "Limits",
    "ledger_": "The ledger",
}
"""The row of a metric, by how its name begins; all others stand under "Server"."""
_UNITS: Mapping[str, str] = {"_seconds": "s", "_dollars": "currencyUSD", "_ratio": "percentunit", "_bytes": "bytes"}
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_OURS = '{job=~"$job"}'
_QUANTILES = (("0.5", "half"), ("0.95", "95 %"), ("0.99", "99 %"))

Panel = dict[str, Any]


def queries(metric: Metric) -> Iterator[tuple[str, str]]:
    """What a panel shows of a metric: PromQL, and the legend of its lines."""
    legend = " ".join(f"{{{{{label}}}}}" for label in metric.labels) or metric.name
    by = f" by ({', '.join(metric.labels)})" if metric.labels else ""
    if metric.kind == "histogram":
        for quantile, name in _QUANTILES:
            labels = ", ".join(("le", *metric.labels))
            rate = f"sum by ({labels}) (rate({metric.name}_bucket{_OURS}[$__rate_interval]))"
            yield f"histogram_quantile({quantile}, {rate})", f"{legend} {name}"
    elif metric.kind == "counter":
        yield f"sum{by} (rate({metric.name}{_OURS}[$__rate_interval]))", legend
    else:
        yield f"{'max' if metric.name.endswith('_ratio') else 'sum'}{by} ({metric.name}{_OURS})", legend


def dashboard(metrics: Sequence[Metric], rules: Sequence[Rule]) -> Panel:
    """The dashboard as Grafana imports it: the alerts' values first, then every metric."""
    rows: dict[str, list[Panel]] = {"Alerts": [_alert_panel(rule) for rule in rules]}
    for name in dict.fromkeys((*_ROWS.values(), "Server")):
        rows[name] = [_metric_panel(metric) for metric in metrics if _row(metric) == name]
    return {
        "title": "Zen MCP Server",
        "uid": "zen-mcp-server",
        "tags": ["zen"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": _VARIABLES},
        "panels": list(_laid_out(rows)),
    }


_VARIABLES: list[Panel] = [
    {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"},
    {
        "name": "job",
        "type": "query",
        "datasource": _SOURCE,
        "query": "label_values(zen_build_info, job)",
        "includeAll": True,
        "multi": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
        "refresh": 2,
    },
]


def _row(metric: Metric) -> str:
    return next((row for start, row in _ROWS.items() if metric.name.startswith(start)), "Server")


def _metric_panel(metric: Metric) -> Panel:
    name = metric.name.removesuffix("_total")
    unit = next((unit for suffix, unit in _UNITS.items() if name.endswith(suffix)), "short")
    per = " per second" if metric.kind == "counter" else ""
    return _panel(f"{metric.name}{per}", metric.help, unit, list(queries(metric)))


def _alert_panel(rule: Rule) -> Panel:
    unit = "percent" if rule.measure.unit == "percent" else "s"
    legend = f"{{{{{rule.measure.label}}}}}" if rule.measure.label else rule.name
    help_text = f"{rule.measure.title}; fires above {rule.amount(rule.threshold)}, ends at {rule.amount(rule.clear)}."
    panel = _panel(rule.name, help_text, unit, [(recorded(rule), legend)])
    panel["fieldConfig"]["defaults"]["thresholds"] = {
        "mode": "absolute",
        "steps": [{"color": "green", "value": None}, {"color": "red", "value": rule.threshold}],
    }
    panel["fieldConfig"]["defaults"]["custom"] = {"thresholdsStyle": {"mode": "line"}}
    return panel


def _panel(title: str, description: str, unit: str, targets: Sequence[tuple[str, str]]) -> Panel:
    return {
        "type": "timeseries",
        "title": title,
        "description": description,
        "datasource": _SOURCE,
        "fieldConfig": {"defaults": {"unit": unit}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + number), "datasource": _SOURCE, "expr": query, "legendFormat": legend}
            for number, (query, legend) in enumerate(targets)
        ],
    }


def _laid_out(rows: Mapping[str, Sequence[Panel]]) -> Iterator[Panel]:
    """Each row's title, and its panels two beside each other below it."""
    number = top = 0
    for title, panels in rows.items():
        number += 1
        place = {"x": 0, "y": top, "w": _COLUMNS, "h": 1}
        yield {"id": number, "type": "row", "title": title, "collapsed": False, "panels": [], "gridPos": place}
        top += 1
        for at, panel in enumerate(panels):
            number += 1
            place = {"x": _WIDTH * (at % 2), "y": top + _HEIGHT * (at // 2), "w": _WIDTH, "h": _HEIGHT}
            yield {"id": number, **panel, "gridPos": place}
        top += _HEIGHT * ((len(panels) + 1) // 2)


def files() -> Mapping[Path, str]:
    """What the files hold when they are right."""
    rules = rules_of(AlertsFile())
    return {
        RULES: rules_text(rules),
        DASHBOARD: json.dumps(dashboard(METRICS, rules), ensure_ascii=False, indent=2) + "\n",
    }


def main() -> None:
    """Write them."""
    for path, text in files().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
