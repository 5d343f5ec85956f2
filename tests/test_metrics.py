"""Metrics as a scraper reads them: the one list, true values, bounded labels, a file and a gateway."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from collections.abc import Generator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import anyio
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.support.results import data_of
from tests.support.server import RawServer, ServerFolder, connect
from tests.upstream import Behaviour, Upstream

from zen_mcp.config.schema import MetricsSettings
from zen_mcp.observability.export import MetricsExport
from zen_mcp.observability.metrics import METRICS, MOST_VALUES, Metrics, metrics_table

pytestmark = pytest.mark.anyio

MODELS: dict[str, tuple[Behaviour, dict[str, Any]]] = {
    "fine": (
        Behaviour(text="Fine.", cached_tokens=2, reasoning_tokens=1),
        {"input_cost_per_token": 1e-3, "output_cost_per_token": 1e-2},
    ),
    "free": (Behaviour(text="Free."), {}),
    "broken": (Behaviour(status=500, text="no"), {}),
    "rejecting": (Behaviour(status=400, text="no"), {}),
    "stalling": (Behaviour(how="stall"), {"stream": "always", "stream_idle_seconds": 0.3}),
    "narrow": (Behaviour(how="hang"), {"max_parallel": 1}),
}

LATER = 60.0

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples_of(text: str) -> Samples:
    """All values by name and labels."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def text_of(file: Path) -> str:
    """What is in the file; nothing before it is there."""
    return file.read_text(encoding="utf-8") if file.exists() else ""


def value(samples: Samples, name: str, **labels: str) -> float:
    """One value; 0 where there is none."""
    return samples.get((name, frozenset(labels.items())), 0.0)


async def until(file: Path, name: str, least: float, **labels: str) -> Samples:
    """What the file says, once a value is high enough."""
    with anyio.fail_after(LATER):
        while True:
            samples = samples_of(text_of(file))
            if value(samples, name, **labels) >= least:
                return samples
            await anyio.sleep(0.05)


def serving(tmp_path: Path, models: dict[str, dict[str, Any]], **metrics: Any) -> ServerFolder:
    """A server with metrics."""
    return ServerFolder(
        path=tmp_path,
        models=models,
        settings={"default_model": "fine", "metrics": {"interval_seconds": 0.2, **metrics}},
        providers={"providers": {"num_retries": 1, "fallback_chain": ["free"]}},
    )


async def test_the_file_tells_of_calls_tokens_dollars_errors_and_fallbacks(
    tmp_path: Path, models: dict[str, dict[str, Any]]
) -> None:
    file = tmp_path / "out" / "zen.prom"
    async with connect(serving(tmp_path, models, textfile=str(file))) as client:
        for _ in range(2):
            answer = data_of(await client.call_tool("chat", {"prompt": "hello", "cache": "use"}))
            assert answer["text"] == "Fine."
        await client.call_tool("chat", {"prompt": "hello", "model": "broken"})
        await client.call_tool("consensus", {"prompt": "hello", "models": ["rejecting"]})
        await client.call_tool("chat", {"prompt": "hello", "model": "stalling"})
        await client.call_tool("version", {})
        samples = await until(file, "tool_calls_total", 1, tool="version", status="ok")
    told: list[tuple[str, dict[str, str], float]] = [
        ("tool_execution_seconds_count", {"tool": "chat"}, 4),
        ("tool_calls_total", {"tool": "chat", "status": "ok"}, 4),
        ("tool_calls_total", {"tool": "consensus", "status": "failed"}, 1),
        ("tool_calls_in_flight", {"tool": "chat"}, 0),
        ("model_requests_total", {"model": "fine", "provider": "custom", "status": "ok"}, 2),
        ("model_requests_total", {"model": "rejecting", "provider": "custom", "status": "failed"}, 1),
        ("model_request_seconds_count", {"model": "fine"}, 1),
        ("model_tokens_total", {"model": "fine", "type": "cached"}, 2),
        ("model_tokens_total", {"model": "fine", "type": "reasoning"}, 1),
        ("model_cost_unknown_total", {"model": "free", "provider": "custom"}, 1),
        ("model_fallbacks_total", {"model": "broken", "answered_by": "free"}, 1),
        ("model_attempts_total", {"model": "fine", "provider": "custom"}, 1),
        ("model_retries_total", {"model": "free", "provider": "custom"}, 1),
        ("api_errors_total", {"provider": "custom", "error_type": "VendorRejected"}, 1),
        ("cache_hits_total", {"model": "fine"}, 1),
        ("stream_stalls_total", {"model": "stalling", "provider": "custom"}, 1),
        ("ledger_rows_lost", {}, 0),
    ]
    assert {(name, str(labels)): value(samples, name, **labels) for name, labels, _ in told} == {
        (name, str(labels)): expected for name, labels, expected in told
    }
    assert value(samples, "api_errors_total", provider="custom", error_type="VendorUnavailable") >= 1
    tokens = value(samples, "model_tokens_total", model="fine", type="input")
    assert value(samples, "cache_saved_tokens_total", model="fine") > tokens > 0
    assert value(samples, "model_cost_dollars_total", model="fine", provider="custom") > 0
    assert any(name == "zen_build_info" for name, _ in samples)
    assert [path.name for path in file.parent.iterdir()] == ["zen.prom"], "no half-written file is left"


async def test_what_is_under_way_and_what_waits_is_seen_while_it_is(
    tmp_path: Path, models: dict[str, dict[str, Any]], upstream: Upstream
) -> None:
    file = tmp_path / "zen.prom"
    async with RawServer(serving(tmp_path, models, textfile=str(file))) as server:
        await server.initialize()
        for number in range(3):
            arguments = {"prompt": "hello", "model": "narrow"}
            call = {"name": "chat", "arguments": arguments}
            await server.send({"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": call})
        with anyio.fail_after(LATER):
            while not upstream.asked("narrow"):  # noqa: ASYNC110 - another process asks
                await anyio.sleep(0.05)
        samples = await until(file, "model_requests_waiting", 2, model="narrow")
        assert value(samples, "tool_calls_in_flight", tool="chat") == 3
        assert value(samples, "model_requests_in_flight", model="narrow") == 3


async def test_a_bomb_of_tool_names_is_one_series(tmp_path: Path, models: dict[str, dict[str, Any]]) -> None:
    file = tmp_path / "zen.prom"
    async with RawServer(serving(tmp_path, models, textfile=str(file))) as server:
        await server.initialize()
        for number in range(50):
            await server.request(number, "tools/call", {"name": f"tool{number}", "arguments": {}})
        await server.request("last", "tools/call", {"name": "version", "arguments": {}})
        samples = await until(file, "tool_calls_total", 1, tool="version", status="ok")
    assert value(samples, "tool_calls_total", tool="other", status="failed") == 50
    assert {dict(labels)["tool"] for name, labels in samples if name == "tool_calls_total"} == {"other", "version"}


def test_ten_thousand_values_of_a_label_become_other() -> None:
    metrics = Metrics()
    for number in range(10_000):
        metrics.count("cache_hits_total", model=f"model-{number}")
        metrics.set("limit_use_ratio", 0.5, limit="x" * 5_000 + str(number))
    samples = samples_of(metrics.render().decode())
    assert sum(1 for name, _ in samples if name == "cache_hits_total") == MOST_VALUES + 1
    assert value(samples, "cache_hits_total", model="other") == 10_000 - MOST_VALUES
    assert sum(1 for name, _ in samples if name == "limit_use_ratio") == 1, "long values are cut"
    with metrics.during("model_requests_in_flight", model="yet another"):
        assert value(samples_of(metrics.render().decode()), "model_requests_in_flight", model="other") == 1
    assert value(samples_of(metrics.render().decode()), "model_requests_in_flight", model="other") == 0


class Gateway(BaseHTTPRequestHandler):
    """A push gateway: keeps what it is sent, or refuses."""

    pushed: list[tuple[str, str]]
    status = 200
    arrived: threading.Event

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        type(self).pushed.append((self.path, body))
        self.send_response(type(self).status)
        self.end_headers()
        type(self).arrived.set()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def gateway() -> Generator[tuple[str, type[Gateway]]]:
    """A push gateway on loopback: its address, and what it got."""
    handler = type("OneGateway", (Gateway,), {"pushed": [], "arrived": threading.Event()})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", handler
    server.shutdown()
    server.server_close()
    thread.join()


async def test_a_gateway_is_pushed_to(
    tmp_path: Path, models: dict[str, dict[str, Any]], gateway: tuple[str, type[Gateway]]
) -> None:
    url, got = gateway
    async with connect(serving(tmp_path, models, push_url=url)) as client:
        await client.call_tool("version", {})
        with anyio.fail_after(LATER):
            wanted = 'tool_calls_total{status="ok",tool="version"} 1.0'
            while not any(wanted in body for _, body in got.pushed):  # noqa: ASYNC110 - another process pushes
                await anyio.sleep(0.05)
    path, _ = got.pushed[-1]
    assert re.fullmatch(r"/metrics/job/zen/instance/\S+-\d+", path)


async def test_a_gateway_that_fails_is_said_once_and_again_when_it_works(
    tmp_path: Path, gateway: tuple[str, type[Gateway]]
) -> None:
    url, got = gateway
    got.status = 500
    said: list[str] = []
    blocked = tmp_path / "a file"
    blocked.write_text("where a folder should be", encoding="utf-8")
    settings = MetricsSettings(push_url=url, textfile=blocked / "zen.prom")
    export = MetricsExport(Metrics(), settings, tell=said.append)
    for _ in range(3):
        await export.export()
    assert len(said) == 2
    assert "zen.prom" in said[0]
    assert "the push gateway: HTTP Error 500" in said[1]
    got.status = 200
    await export.export()
    assert said[2:] == ["The metrics are written to the push gateway again."]


def test_without_a_reader_nothing_is_imported(tmp_path: Path, models: dict[str, dict[str, Any]]) -> None:
    program = (
        "import sys, json, os, anyio; from pathlib import Path; from zen_mcp.app import build;"
        "from zen_mcp.config.load import load_config;"
        "app = build(load_config(None, environ=os.environ), environ=os.environ, door='stdio');"
        "print(json.dumps([app.ground.metrics is None, 'prometheus_client' in sys.modules,"
        " 'opentelemetry.sdk' in sys.modules]))"
    )
    folder = ServerFolder(path=tmp_path, models=models)
    folder.write()
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=folder.environ(), capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [True, False, False]


def test_the_page_shows_the_list() -> None:
    page = (Path(__file__).parent.parent / "docs" / "metrics.md").read_text(encoding="utf-8")
    assert metrics_table() in page, "python scripts/metrics_page.py writes the table anew"


def test_names_follow_the_conventions() -> None:
    for metric in METRICS:
        assert re.fullmatch(r"[a-z][a-z0-9_]*", metric.name)
        assert metric.help.endswith(".")
        assert metric.name.endswith("_total") == (metric.kind == "counter"), metric.name
        if metric.kind == "histogram":
            assert metric.name.endswith("_seconds")
            assert list(metric.buckets) == sorted(metric.buckets)
    assert len({metric.name for metric in METRICS}) == len(METRICS)
    issue = {
        "tool_execution_seconds": ("tool",),
        "model_tokens_total": ("model", "type"),
        "api_errors_total": ("provider", "error_type"),
    }
    assert {metric.name: metric.labels for metric in METRICS if metric.name in issue} == issue
