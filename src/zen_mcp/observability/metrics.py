"""Metrics: the one list of them, and their values in a registry of our own.

prometheus-client brings an HTTP server with it, 100 ms of a start: it is imported when the first value is counted, and
never where nobody can read the metrics.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from threading import Lock
from typing import Any, Literal

from zen_mcp import __version__
from zen_mcp.observability.shared_metrics import merged_registry, share_values

MOST_VALUES = 200
"""Different values of one label; all further ones are counted together."""
OTHER = "other"
_LONGEST_VALUE = 100
_TOOL_BUCKETS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600)
_MODEL_BUCKETS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300)


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One metric; its name ends in its unit, or in `_total` for a counter."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    merged: Literal["livesum", "livemostrecent", "sum"] = "livesum"
    """What a gauge is for several processes: the sum of the living, what one of them set last, the sum of all."""


METRICS: tuple[Metric, ...] = (
    Metric(
        name="tool_execution_seconds",
        kind="histogram",
        labels=("tool",),
        help="How long tool calls took, also those that failed.",
        buckets=_TOOL_BUCKETS,
    ),
    Metric(
        name="tool_calls_total",
        kind="counter",
        labels=("tool", "status"),
        help="Tool calls that ended; status is ok, refused, failed or cancelled.",
    ),
    Metric(name="tool_calls_in_flight", kind="gauge", labels=("tool",), help="Tool calls under way."),
    Metric(
        name="refusals_total",
        kind="counter",
        labels=("tool", "error_type"),
        help="Tool calls that were refused: not allowed, over a limit, over a budget.",
    ),
    Metric(
        name="model_request_seconds",
        kind="histogram",
        labels=("model",),
        help="How long model requests took, retries and fallbacks included, answers from memory left out.",
        buckets=_MODEL_BUCKETS,
    ),
    Metric(
        name="model_requests_total",
        kind="counter",
        labels=("model", "provider", "status"),
        help="Model requests that ended, by the model that answered or failed; status as of tool calls.",
    ),
    Metric(name="model_requests_in_flight", kind="gauge", labels=("model",), help="Model requests under way."),
    Metric(
        name="model_requests_waiting",
        kind="gauge",
        labels=("model",),
        help="Model requests that wait for room at their deployment (max_parallel, rpm, tpm).",
    ),
    Metric(
        name="model_tokens_total",
        kind="counter",
        labels=("model", "type"),
        help="Tokens as vendors counted them; type is input, output, cached (part of input), reasoning (of output).",
    ),
    Metric(
        name="model_cost_dollars_total",
        kind="counter",
        labels=("model", "provider"),
        help="Dollars spent, as far as prices are known.",
    ),
    Metric(
        name="model_cost_unknown_total",
        kind="counter",
        labels=("model", "provider"),
        help="Answers without a known price.",
    ),
    Metric(
        name="model_attempts_total",
        kind="counter",
        labels=("model", "provider"),
        help="HTTP requests to vendors.",
    ),
    Metric(
        name="model_retries_total",
        kind="counter",
        labels=("model", "provider"),
        help="HTTP requests after the first of a model request, wherever they went.",
    ),
    Metric(
        name="model_fallbacks_total",
        kind="counter",
        labels=("model", "answered_by"),
        help="Answers by another model than the one asked, which had failed.",
    ),
    Metric(
        name="api_errors_total",
        kind="counter",
        labels=("provider", "error_type"),
        help="HTTP requests to vendors that failed, by the kind of the error.",
    ),
    Metric(
        name="stream_stalls_total",
        kind="counter",
        labels=("model", "provider"),
        help="Streams that were cut off after a silence.",
    ),
    Metric(
        name="cache_hits_total",
        kind="counter",
        labels=("model",),
        help="Answers given again from memory.",
    ),
    Metric(
        name="cache_saved_tokens_total",
        kind="counter",
        labels=("model",),
        help="Tokens that answers from memory would have taken.",
    ),
    Metric(
        name="limit_use_ratio",
        kind="gauge",
        labels=("limit",),
        help="How much of a limit is used, from 0 to 1; of a limit per user, the most that one of them uses.",
        merged="livemostrecent",
    ),
    Metric(name="ledger_rows_waiting", kind="gauge", help="Rows of the ledger that are not written yet."),
    Metric(
        name="ledger_rows_lost", kind="gauge", help="Rows of the ledger that were lost since the start.", merged="sum"
    ),
    Metric(
        name="zen_build_info",
        kind="gauge",
        labels=("version", "python"),
        help="Always 1; the versions of the server and of Python.",
        merged="livemostrecent",
    ),
)
"""All of them: the registry, docs/metrics.md, alert rules and dashboards are made from this list."""

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""Of what `render` gives."""


class Metrics:
    """The values of all metrics. Every value of a label beyond the first 200 is counted as `other`.

    Safe for use from several threads.

    Args:
        shared: the folder where the processes of one server keep their values; None for a process alone. `render` and
            `push` tell those of all of them.
    """

    def __init__(self, shared: Path | None = None) -> None:
        self._shared = shared
        self._lock = Lock()
        if shared is not None:
            share_values(shared)
        self._registry: Any = None
        self._families: dict[str, Any] = {}
        self._children: dict[tuple[str, ...], Any] = {}
        self._values: dict[str, set[str]] = {}
        self._allowed: dict[str, frozenset[str]] = {}
        self._readings: dict[str, Callable[[], float]] = {}

    @property
    def is_shared(self) -> bool:
        """Whether the values are those of several processes."""
        return self._shared is not None

    def count(self, name: str, amount: float = 1.0, **labels: str) -> None:
        """Add to a counter."""
        self._child(name, labels).inc(amount)

    def observe(self, name: str, seconds: float, **labels: str) -> None:
        """Add a value to a histogram."""
        self._child(name, labels).observe(seconds)

    def set(self, name: str, value: float, **labels: str) -> None:
        """Set a gauge."""
        self._child(name, labels).set(value)

    def allow(self, label: str, values: Iterable[str]) -> None:
        """Count every other value of a label as `other`: for a label that callers write."""
        self._allowed[label] = frozenset(values)

    def read(self, name: str, value: Callable[[], float]) -> None:
        """Let a gauge without labels be read where it is kept, whenever the metrics are fetched."""
        self._readings[name] = value

    @contextmanager
    def during(self, name: str, **labels: str) -> Generator[None]:
        """Count one more in a gauge, for as long as the block runs."""
        child = self._child(name, labels)
        child.inc()
        try:
            yield
        finally:
            child.dec()

    def render(self) -> bytes:
        """All values in Prometheus' text format."""
        self.take_readings()
        exposition: Any = import_module("prometheus_client.exposition")
        registry = self._registry if self._shared is None else merged_registry(self._shared)
        return exposition.generate_latest(registry)

    def take_readings(self) -> None:
        """Set the gauges that are kept elsewhere."""
        self.load()
        for name, value in self._readings.items():
            self._child(name, {}).set(value())

    def push(self, url: str, *, instance: str, timeout_seconds: float) -> None:
        """Send all values to a push gateway; blocks.

        Raises:
            OSError: it cannot be reached, or refuses.
        """
        request_module: Any = import_module("urllib.request")
        address = f"{url.rstrip('/')}/metrics/job/zen/instance/{instance}"
        headers = {"Content-Type": CONTENT_TYPE}
        request = request_module.Request(address, data=self.render(), method="PUT", headers=headers)
        try:
            request_module.urlopen(request, timeout=timeout_seconds).close()
        except import_module("urllib.error").HTTPError as exc:
            exc.close()
            raise

    def load(self) -> None:
        """Import the library and make the registry; done by the first value, or before it in a thread."""
        with self._lock:
            if self._registry is not None:
                return
            client: Any = import_module("prometheus_client")
            registry = client.CollectorRegistry()
            if self._shared is None:
                client.ProcessCollector(registry=registry)
            for metric in METRICS:
                self._families[metric.name] = _family(client, metric, registry)
            self._registry = registry
        self.set("zen_build_info", 1, version=__version__, python=platform.python_version())

    def _child(self, name: str, labels: Mapping[str, str]) -> Any:
        """The one time series of these labels; kept, because finding it costs the library more than counting."""
        key = (name, *labels.values())
        child = self._children.get(key)
        if child is None:
            self.load()
            with self._lock:
                family = self._families[name]
                bounded = {label: self._bounded(label, value) for label, value in labels.items()}
                child = family.labels(**bounded) if labels else family
                if OTHER not in bounded.values():
                    self._children[key] = child
        return child

    def _bounded(self, label: str, value: str) -> str:
        value = value[:_LONGEST_VALUE] or "none"
        if label in self._allowed:
            return value if value in self._allowed[label] else OTHER
        known = self._values.setdefault(label, set())
        if value not in known:
            if len(known) >= MOST_VALUES:
                return OTHER
            known.add(value)
        return value


def _family(client: Any, metric: Metric, registry: Any) -> Any:
    if metric.kind == "histogram":
        return client.Histogram(metric.name, metric.help, metric.labels, buckets=metric.buckets, registry=registry)
    if metric.kind == "counter":
        return client.Counter(metric.name, metric.help, metric.labels, registry=registry)
    return client.Gauge(metric.name, metric.help, metric.labels, registry=registry, multiprocess_mode=metric.merged)


def metrics_table() -> str:
    """The list as docs/metrics.md shows it."""
    rows = [
        f"| `{metric.name}` | {metric.kind} | {', '.join(f'`{label}`' for label in metric.labels)} | {metric.help} |"
        for metric in METRICS
    ]
    return "\n".join(["| metric | type | labels | what it tells |", "|---|---|---|---|", *rows])
