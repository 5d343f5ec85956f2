"""deploy/prometheus and deploy/grafana: made from our lists, checked by promtool, tried with the real programs."""

from __future__ import annotations

import json
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import anyio
import pytest
import yaml
from tests.support.debian import free_port
from tests.support.prometheus import Programs, programs
from tests.support.receiver import Receiver
from tests.support.server import ServerFolder, serve_http, until
from tests.upstream import Behaviour

from zen_mcp.observability.metrics import METRICS

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(400)]

MODELS: dict[str, tuple[Behaviour, dict[str, Any]]] = {
    "fine": (Behaviour(text="Fine."), {}),
    "broken": (Behaviour(status=400, text="no"), {}),
}

ROOT = Path(__file__).resolve().parent.parent
PROMETHEUS = ROOT / "deploy" / "prometheus"
DASHBOARD = ROOT / "deploy" / "grafana" / "dashboard.json"
FIRED_SECONDS = 150


@pytest.fixture(scope="module")
def real() -> Programs:
    """The real programs; without them there is nothing to test with, which is a failure and says why."""
    try:
        return programs()
    except RuntimeError as exc:
        pytest.fail(str(exc))


def _monitoring() -> Any:
    path = ROOT / "scripts" / "monitoring.py"
    spec = spec_from_file_location("monitoring", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules["monitoring"] = module
    spec.loader.exec_module(module)
    return module


def test_the_rules_and_the_dashboard_are_those_of_our_lists() -> None:
    stale = [path.name for path, text in _monitoring().files().items() if path.read_text(encoding="utf-8") != text]
    assert stale == [], "run scripts/monitoring.py"


def test_the_dashboard_shows_every_metric_once() -> None:
    board = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    panels = [panel for panel in board["panels"] if panel["type"] != "row"]
    shown = " ".join(target["expr"] for panel in panels for target in panel["targets"])
    assert [metric.name for metric in METRICS if metric.name not in shown] == []
    assert len({panel["title"] for panel in panels}) == len(panels)
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in board["panels"]]
    assert len(set(places)) == len(places)


@pytest.mark.slow
def test_promtool_finds_the_files_in_order_and_the_rules_do_what_they_should(real: Programs) -> None:
    for program, *arguments in (
        ("promtool", "check", "config", "prometheus.yml"),
        ("promtool", "check", "rules", "zen-rules.yml"),
        ("promtool", "test", "rules", "zen-rules.test.yml"),
        ("amtool", "check-config", "alertmanager.yml"),
    ):
        done = real.run(program, *arguments, folder=PROMETHEUS)
        assert done.returncode == 0, done.stdout
        assert "SUCCESS" in done.stdout


@pytest.mark.slow
def test_every_query_of_the_dashboard_is_one(real: Programs, tmp_path: Path) -> None:
    board = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    queries = [target["expr"] for panel in board["panels"] for target in panel.get("targets", [])]
    filled = [query.replace("$__rate_interval", "1m").replace("$job", "zen") for query in queries]
    rules = [{"record": f"query:{number}", "expr": query} for number, query in enumerate(filled)]
    (tmp_path / "queries.yml").write_text(yaml.safe_dump({"groups": [{"name": "all", "rules": rules}]}))
    done = real.run("promtool", "check", "rules", "queries.yml", folder=tmp_path)
    assert done.returncode == 0, done.stdout
    assert f"SUCCESS: {len(queries)} rules found" in done.stdout


@pytest.mark.slow
async def test_an_alert_fires_in_prometheus_and_arrives_through_alertmanager(
    real: Programs, tmp_path: Path, models: dict[str, dict[str, Any]]
) -> None:
    folder = ServerFolder(
        path=tmp_path / "zen",
        models=models,
        settings={"default_model": "fine"},
        limits={"rate_limits": {"per_tool": {"version": {"requests_per_hour": 5}}}},
    )
    quick = {"window_seconds": 10, "for_seconds": 0, "minimum_calls": 1}
    _write_alerts(folder, {"error_rate": {**quick, "severity": "critical"}, "p95_latency": quick})
    manager_port, prometheus_port = free_port(), free_port()
    with Receiver() as receiver:
        async with serve_http(folder) as served:
            _write_settings(tmp_path, served.base.removeprefix("http://"), manager_port, receiver.url)
            done = folder.run("alerts", "rules")
            (tmp_path / "zen-rules.yml").write_text(done.stdout, encoding="utf-8")
            async with (
                real.serving(
                    "prometheus-alertmanager",
                    "--config.file=alertmanager.yml",
                    "--storage.path=manager",
                    "--cluster.listen-address=",
                    port=manager_port,
                    folder=tmp_path,
                ),
                real.serving(
                    "prometheus",
                    "--config.file=prometheus.yml",
                    "--storage.tsdb.path=data",
                    port=prometheus_port,
                    folder=tmp_path,
                ) as prometheus,
                served.connect() as client,
                anyio.create_task_group() as load,
            ):

                async def call() -> None:
                    for _ in range(5):
                        await client.call_tool("version", {})
                    while True:
                        await client.call_tool("chat", {"prompt": "hi", "model": "broken"})
                        await client.call_tool("chat", {"prompt": "hi"})
                        await anyio.sleep(0.2)

                async def have_fired() -> bool:
                    answer = (await prometheus.get("/api/v1/alerts")).json()
                    found = {one["labels"]["alertname"] for one in answer["data"]["alerts"] if one["state"] == "firing"}
                    return {"ZenErrorRateHigh", "ZenLimitNearlyUsed"} <= found

                async def have_arrived() -> bool:
                    return {"ZenErrorRateHigh", "ZenLimitNearlyUsed"} <= set(_arrived(receiver))

                load.start_soon(call)
                await until(have_fired, seconds=FIRED_SECONDS)
                await until(have_arrived, seconds=FIRED_SECONDS)
                load.cancel_scope.cancel()
    arrived = _arrived(receiver)
    error_rate, limit = arrived["ZenErrorRateHigh"], arrived["ZenLimitNearlyUsed"]
    assert error_rate["labels"] == {"alertname": "ZenErrorRateHigh", "alert": "error_rate", "severity": "critical"}
    assert error_rate["annotations"]["description"].endswith(" %; above 1 %. It ends at 0.9 %.")
    assert limit["labels"]["limit"].endswith("version.requests_per_hour")
    assert limit["annotations"]["description"] == ("The most used part of a limit: 100 %; above 80 %. It ends at 72 %.")


def _arrived(receiver: Receiver) -> dict[str, Any]:
    """What Alertmanager has sent, by the name of the alert."""
    return {one["labels"]["alertname"]: one for sent in receiver.received for one in sent["alerts"]}


def _write_alerts(folder: ServerFolder, alerts: dict[str, Any]) -> None:
    folder.write()
    (folder.path / "config" / "alerts.yaml").write_text(json.dumps({"alerts": alerts}), encoding="utf-8")


def _write_settings(folder: Path, server: str, manager_port: int, webhook: str) -> None:
    """Our own files, with this test's addresses and short intervals."""
    prometheus = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text(encoding="utf-8"))
    prometheus["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    prometheus["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] = [f"127.0.0.1:{manager_port}"]
    prometheus["scrape_configs"][0]["static_configs"][0]["targets"] = [server]
    manager = yaml.safe_load((PROMETHEUS / "alertmanager.yml").read_text(encoding="utf-8"))
    manager["route"].update(group_wait="0s", group_interval="1s")
    manager["receivers"][0]["webhook_configs"][0]["url"] = webhook
    for name, content in (("prometheus", prometheus), ("alertmanager", manager)):
        (folder / f"{name}.yml").write_text(yaml.safe_dump(content), encoding="utf-8")
