"""Alerts: what fires and ends, who is told, and what a channel that fails does to the rest."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest
from tests.support.receiver import Receiver
from tests.support.results import data_of
from tests.support.server import ServerFolder, connect, serve_http, until
from tests.upstream import Behaviour

from zen_mcp.alerts.channels import Channels
from zen_mcp.alerts.message import Message
from zen_mcp.alerts.readings import Reading
from zen_mcp.alerts.rules import Rule, rules_of
from zen_mcp.alerts.standing import Standing, State, step
from zen_mcp.alerts.watch import AlertWatch
from zen_mcp.config.alert_schema import AlertsFile
from zen_mcp.config.load import load_config
from zen_mcp.errors import AlertNotSent, ConfigError
from zen_mcp.storage.base import Database
from zen_mcp.storage.ledger import Ledger, LedgerRow

pytestmark = pytest.mark.anyio

MODELS: dict[str, tuple[Behaviour, dict[str, Any]]] = {
    "fine": (Behaviour(text="Fine."), {}),
    "broken": (Behaviour(status=400, text="no"), {}),
}

NOW = 1_800_000_000.0
MINUTE, DAY = 60.0, 86_400.0


def with_alerts(folder: ServerFolder, alerts: Mapping[str, Any]) -> ServerFolder:
    """The folder with an alerts.yaml."""
    folder.write()
    (folder.path / "config" / "alerts.yaml").write_text(json.dumps({"version": "1.0", **alerts}), encoding="utf-8")
    return folder


def watched(receiver: Receiver, **errors: Any) -> dict[str, Any]:
    """Settings with which one failed call fires, at once."""
    return {
        "enabled": True,
        "interval_seconds": 0.2,
        "notify": ["ops", "log"],
        "channels": {"ops": {"kind": "webhook", "url": receiver.url, "headers": {"X-Key": "k-1"}}},
        "alerts": {
            "error_rate": {"for_seconds": 0, "minimum_calls": 1, "severity": "critical", **errors},
            "p95_latency": {"enabled": False},
        },
    }


def rule(name: str = "error_rate", **settings: Any) -> Rule:
    """One alert with the settings that are given."""
    found = rules_of(AlertsFile.model_validate({"alerts": {name: settings}}))
    return next(one for one in found if one.name == name)


def message(**settings: Any) -> Message:
    """News of an error rate."""
    reading = Reading(value=12.5, basis="1 of 8 calls")
    return Message(rule=rule(channels=("ops",), **settings), reading=reading, news="firing", at=NOW)


@pytest.fixture
def server(tmp_path: Path, models: dict[str, dict[str, Any]]) -> ServerFolder:
    """A folder of a server whose answers come from the upstream."""
    return ServerFolder(path=tmp_path, models=models, settings={"default_model": "fine", "provider": "direct"})


# ---- Through the front door


@pytest.mark.parametrize("way", ["stdio", "http"])
async def test_failing_calls_fire_an_alert_at_a_webhook_and_their_end_is_told(server: ServerFolder, way: str) -> None:
    with Receiver() as receiver:
        with_alerts(server, watched(receiver, window_seconds=4))
        async with connect(server, door=way) as client:
            for _ in range(3):
                data_of(await client.call_tool("chat", {"prompt": "hi"}))
            assert (await client.call_tool("chat", {"prompt": "hi", "model": "broken"})).is_error
            firing, resolved = await receiver.has_received(2)
        log = (server.path / "stderr.log").read_text(encoding="utf-8")
    assert {key: firing[key] for key in ("version", "alert", "subject", "state", "news", "severity", "test")} == {
        "version": "1",
        "alert": "error_rate",
        "subject": "",
        "state": "firing",
        "news": "firing",
        "severity": "critical",
        "test": False,
    }
    assert (firing["value"], firing["unit"], firing["threshold"], firing["clear"]) == (25.0, "percent", 1.0, 0.9)
    assert firing["text"] == (
        "[zen] firing: error_rate\nTool calls that failed: 25 % (1 of 4 calls); above 1 %. It ends at 0.9 %."
    )
    assert receiver.headers[0]["x-key"] == "k-1"
    assert (resolved["state"], resolved["alert"], resolved["value"]) == ("resolved", "error_rate", None)
    told = [entry for line in log.splitlines() if (entry := _json(line)).get("event") == "alert"]
    assert [(entry["alert"], entry["news"], entry["level"]) for entry in told] == [
        ("error_rate", "firing", "error"),
        ("error_rate", "resolved", "warning"),
    ]


async def test_a_webhook_that_hangs_slows_no_call(server: ServerFolder) -> None:
    with Receiver(hang=True) as receiver:
        with_alerts(server, watched(receiver))
        async with connect(server) as client:
            assert (await client.call_tool("chat", {"prompt": "hi", "model": "broken"})).is_error
            await receiver.has_received()
            for _ in range(5):
                with anyio.fail_after(30):
                    assert data_of(await client.call_tool("chat", {"prompt": "hi"}))["text"] == "Fine."


async def test_an_alert_that_fires_is_still_known_after_a_restart_and_not_told_again(server: ServerFolder) -> None:
    with Receiver() as receiver:
        with_alerts(server, watched(receiver, window_seconds=3600))
        async with connect(server) as client:
            assert (await client.call_tool("chat", {"prompt": "hi", "model": "broken"})).is_error
            await receiver.has_received()
        looked = shown(server)
        assert looked["alerts"][0]["state"] == "firing"
        async with serve_http(server) as served, served.connect() as client:

            async def has_looked_again() -> bool:
                return shown(server)["alerts"][0]["basis"] == "1 of 2 calls"

            data_of(await client.call_tool("chat", {"prompt": "hi"}))
            await until(has_looked_again)
        assert shown(server)["alerts"][0]["since"] == looked["alerts"][0]["since"]
        assert len(receiver.received) == 1


async def test_changed_alerts_are_taken_in_while_the_server_runs(server: ServerFolder) -> None:
    with Receiver() as receiver:
        with_alerts(server, {})
        async with connect(server) as client:
            assert (await client.call_tool("chat", {"prompt": "hi", "model": "broken"})).is_error
            with_alerts(server, watched(receiver))
            assert (await receiver.has_received())[0]["alert"] == "error_rate"


def shown(folder: ServerFolder) -> Any:
    """What `zen alerts` says."""
    done = folder.run("alerts", "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_zen_alerts_shows_each_with_its_query_and_value(server: ServerFolder) -> None:
    report = shown(with_alerts(server, {}))
    assert report["watching"] == "No server watches for them: alerts.yaml says 'enabled: false'."
    assert [(one["alert"], one["state"], one["value"], one["threshold"], one["clear"]) for one in report["alerts"]] == [
        ("error_rate", "ok", None, 1.0, 0.9),
        ("p95_latency", "ok", None, 5.0, 4.5),
        ("cost_increase", "ok", None, 20.0, 18.0),
        ("limit_use", "ok", None, 80.0, 72.0),
    ]
    text = server.run("alerts").stdout
    for one in report["alerts"]:
        assert one["query"] in text
        assert one["promql"] in text


def test_a_channel_is_tried_from_the_command_line(server: ServerFolder) -> None:
    with Receiver(200, 404) as receiver:
        with_alerts(server, watched(receiver))
        done = server.run("alerts", "test", "ops")
        assert (done.returncode, done.stdout) == (0, "The channel 'ops' has taken a test message.\n")
        assert receiver.received[0]["test"] is True
        assert receiver.received[0]["text"].startswith("[zen] test: firing: error_rate\n")
        done = server.run("alerts", "test", "ops")
        assert done.returncode == 1
        assert done.stderr == (
            "zen: The channel 'ops' answers with status 404. Check its url and headers, and what it says in its log.\n"
        )
        done = server.run("alerts", "test", "opz")
        assert done.stderr == "zen: There is no channel 'opz'. Did you mean 'ops'? alerts.yaml names them.\n"
        assert len(receiver.received) == 2


# ---- How an alert moves


@pytest.mark.parametrize(
    ("state", "since", "value", "after", "news"),
    [
        ("ok", 0, None, "ok", None),
        ("ok", 0, 1.0, "ok", None),
        ("ok", 0, 1.1, "pending", None),
        ("pending", 59, 1.1, "pending", None),
        ("pending", 60, 1.1, "firing", "firing"),
        ("pending", 60, 1.0, "ok", None),
        ("pending", 60, None, "ok", None),
        ("pending", -3600, 1.1, "pending", None),
        ("firing", 10, 5.0, "firing", None),
        ("firing", 10, 0.95, "firing", None),
        ("firing", 10, 0.9, "ok", "resolved"),
        ("firing", 10, None, "ok", "resolved"),
        ("firing", 14_400, 0.95, "firing", "still firing"),
        ("firing", -3600, 5.0, "firing", "still firing"),
    ],
)
def test_an_alert_fires_after_a_time_and_ends_below_a_second_threshold(
    state: State, since: float, value: float | None, after: State, news: str | None
) -> None:
    began = NOW - since
    told_at = began if state == "firing" else None
    before = Standing(alert="error_rate", state=state, since=began, told_at=told_at)
    reading = Reading(value=value, basis="")
    standing, told = step(rule(), before, reading, now=NOW, repeat_seconds=14_400)
    assert (standing.state, told) == (after, news)


# ---- What is read, on every database


def tool(ago: float, *, status: Any = "ok", error: str | None = None, seconds: float = 1.0) -> LedgerRow:
    """A tool call that began so many seconds ago."""
    return LedgerRow(
        at=NOW - ago, kind="tool", call_id="c", user_id="u", tool="chat", status=status, error=error, seconds=seconds
    )


def model(ago: float, dollars: float | None) -> LedgerRow:
    """A model request that began so many seconds ago."""
    return LedgerRow(at=NOW - ago, kind="model", call_id="c", user_id="u", cost_dollars=dollars)


async def fill(database: Database, *rows: LedgerRow) -> None:
    """Write rows into the ledger."""
    ledger = Ledger(database, tell=print)
    for row in rows:
        ledger.add(row)
    assert await ledger.flush()


class Watch:
    """A watch whose clock stands still, with what it told."""

    def __init__(self, database: Database, limits: Mapping[str, float] | None = None, **settings: Any) -> None:
        self.now = NOW
        self.said: list[str] = []
        self.limits = dict(limits or {})
        self._watch = AlertWatch(database, tell=self.said.append, clock=lambda: self.now)
        self._watch.use(AlertsFile.model_validate({"enabled": True, **settings}), self._limit_use)

    async def _limit_use(self) -> Mapping[str, float]:
        return self.limits

    async def news(self) -> list[tuple[str, str, str]] | None:
        """One look: what is to be told, as (alert, subject, news)."""
        messages = await self._watch.evaluate()
        return None if messages is None else [(one.rule.name, one.reading.subject, one.news) for one in messages]

    async def values(self) -> dict[str, tuple[float | None, str]]:
        """What there is to see: of each alert its value and what it comes from."""
        looks, _ = await self._watch.look()
        return {look.rule.name: (look.reading.value, look.reading.basis) for look in looks}


async def test_the_four_values_are_those_of_the_ledger_and_the_limits(database: Database) -> None:
    calls = [tool(200 - n, seconds=n) for n in range(1, 101)]
    failed = [tool(10, status="failed", error="VendorTimeout"), tool(10, status="failed")]
    refused = [tool(10, status="failed", error="RateLimitExceeded"), tool(10, status="cancelled")]
    elsewhere = [tool(302), tool(299 + 1000, seconds=1000.0), tool(-5)]
    dollars = [model(DAY + 5, 0.5), model(DAY + 9, 1.5), model(60, 3.0), model(60, None), model(2 * DAY + 5, 99.0)]
    await fill(database, *calls, *failed, *refused, *elsewhere, *dollars)
    minimum = {"error_rate": {"above_percent": 1}, "cost_increase": {"minimum_calls": 2}}
    watch = Watch(database, {"per_user.tokens_per_day": 0.42}, alerts=minimum)
    values = await watch.values()
    assert values == {
        "error_rate": (pytest.approx(100 * 2 / 103), "2 of 103 calls"),
        "p95_latency": (96.0, "105 calls"),
        "cost_increase": (50.0, "$3.00 after $2.00 before"),
        "limit_use": (42.0, ""),
    }


async def test_too_few_calls_tell_nothing(database: Database) -> None:
    await fill(database, *(tool(10, status="failed") for _ in range(19)), model(60, 50.0))
    values = await Watch(database).values()
    assert {name: value for name, (value, _) in values.items()} == dict.fromkeys(values)
    assert await Watch(database).news() == []


async def test_one_of_several_servers_looks_and_all_know_how_it_stands(database: Database) -> None:
    await fill(database, *(tool(10, status="failed") for _ in range(20)))
    one, other = Watch(database), Watch(database)
    assert await one.news() == []
    assert await other.news() is None
    one.now = other.now = NOW + 60
    assert await other.news() == [("error_rate", "", "firing")]
    assert await one.news() is None
    one.now = NOW + 120
    assert await one.news() == []
    one.now = NOW + 400
    assert await one.news() == [("error_rate", "", "resolved")]
    one.now = NOW - 5000
    assert await one.news() is not None


async def test_many_servers_at_once_tell_an_alert_once(database: Database) -> None:
    await fill(database, *(tool(10, status="failed") for _ in range(20)))
    alerts = {"error_rate": {"for_seconds": 0}}
    watches = [Watch(database, alerts=alerts) for _ in range(8)]
    found: list[Any] = []

    async def look(watch: Watch) -> None:
        found.append(await watch.news())

    with anyio.fail_after(60):
        async with anyio.create_task_group() as group:
            for watch in watches:
                group.start_soon(look, watch)
    assert [news for news in found if news is not None] == [[("error_rate", "", "firing")]]


async def test_each_limit_has_an_alert_of_its_own(database: Database) -> None:
    watch = Watch(database, {"global.requests_per_minute": 0.81, "per_user.tokens_per_day": 0.8})
    assert await watch.news() == [("limit_use", "global.requests_per_minute", "firing")]
    watch.now += MINUTE
    watch.limits = {"global.requests_per_minute": 0.73, "per_user.tokens_per_day": 1.2}
    assert await watch.news() == [("limit_use", "per_user.tokens_per_day", "firing")]
    watch.now += MINUTE
    watch.limits = {"per_user.tokens_per_day": 0.1}
    assert sorted(await watch.news() or []) == [
        ("limit_use", "global.requests_per_minute", "resolved"),
        ("limit_use", "per_user.tokens_per_day", "resolved"),
    ]


# ---- Channels


async def test_a_webhook_that_fails_is_tried_again_and_told_once(tmp_path: Path) -> None:
    said: list[str] = []
    with Receiver(500, 503, 200, 500) as receiver:
        settings = AlertsFile.model_validate({"channels": {"ops": {"kind": "webhook", "url": receiver.url}}}).channels
        channels = Channels(settings, tell=said.append, pauses=(0.01, 0.01))
        await channels.send_all([message()])
        assert (len(receiver.received), said) == (3, [])
        for _ in range(2):
            await channels.send_all([message(), message()])
        assert len(receiver.received) == 9
        assert said == [
            "The channel 'ops' answers with status 500. Check its url and headers, and what it says in its log. "
            "2 messages to 'ops' are lost; zen alerts shows how the alerts stand."
        ]
        receiver.statuses = [204]
        await channels.send_all([message()])
        assert said[1:] == ["The channel 'ops' takes alerts again."]
    await channels.send_all([message()])
    assert said[2].startswith("The channel 'ops' cannot be reached (ConnectError).")
    assert receiver.url not in "".join(said)


async def test_a_webhook_that_hangs_or_leads_elsewhere_is_given_up_and_others_are_told(tmp_path: Path) -> None:
    said: list[str] = []
    with Receiver(hang=True) as hanging, Receiver(302) as leading, Receiver() as slack:
        file = AlertsFile.model_validate(
            {
                "channels": {
                    "hanging": {"kind": "webhook", "url": hanging.url, "timeout_seconds": 2},
                    "leading": {"kind": "webhook", "url": leading.url},
                    "slack": {"kind": "slack", "url": slack.url},
                }
            }
        )
        news = Message(
            rule=rule(channels=("hanging", "leading", "slack")),
            reading=Reading(value=12.5, basis="<!channel> & 1 of 8 calls"),
            news="firing",
            at=NOW,
        )
        channels = Channels(file.channels, tell=said.append, pauses=(0.01,))
        with anyio.fail_after(30):
            await channels.send_all([news])
        assert (len(hanging.received), len(leading.received)) == (2, 1)
        assert slack.received == [
            {
                "text": "[zen] firing: error_rate\nTool calls that failed: 12.5 % "
                "(&lt;!channel&gt; &amp; 1 of 8 calls); above 1 %. It ends at 0.9 %."
            }
        ]
    assert channels.failing == {"hanging", "leading"}
    assert sorted(one.partition(".")[0] for one in said) == [
        "The channel 'hanging' did not take the alert within 2 s",
        "The channel 'leading' answers with status 302",
    ]


async def test_a_command_gets_the_text_without_a_shell_and_without_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    out = tmp_path / "out.json"
    program = (
        "import json, os, sys;json.dump([sys.stdin.read(), sys.argv[2:], dict(os.environ)], open(sys.argv[1], 'w'))"
    )
    command = [sys.executable, "-c", program, str(out), "$HOME; true", "a b"]
    channels = Channels(
        AlertsFile.model_validate({"channels": {"ops": {"kind": "command", "command": command}}}).channels, tell=print
    )
    await channels.try_once("ops", message())
    text, arguments, environment = json.loads(out.read_text(encoding="utf-8"))
    assert text == (
        "Subject: [zen] firing: error_rate\n\n"
        "Tool calls that failed: 12.5 % (1 of 8 calls); above 1 %. It ends at 0.9 %.\n"
    )
    assert arguments == ["$HOME; true", "a b"]
    assert "OPENAI_API_KEY" not in environment


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (["no-such-program"], "The program 'no-such-program' of the channel 'ops' cannot be started"),
        ([sys.executable, "-c", "raise SystemExit(3)"], "ended with 3."),
    ],
)
async def test_a_command_that_fails_is_told(command: list[str], says: str) -> None:
    channels = Channels(
        AlertsFile.model_validate({"channels": {"ops": {"kind": "command", "command": command}}}).channels, tell=print
    )
    with pytest.raises(AlertNotSent) as raised:
        await channels.try_once("ops", message())
    assert says in raised.value.problem


async def test_a_command_that_hangs_is_killed_with_its_children(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    program = (
        "import os, subprocess, sys; child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']);"
        f"open({str(pids)!r}, 'w').write(f'{{os.getpid()}} {{child.pid}}'); child.wait()"
    )
    settings = {"kind": "command", "command": [sys.executable, "-c", program], "timeout_seconds": 5}
    channels = Channels(AlertsFile.model_validate({"channels": {"ops": settings}}).channels, tell=print)
    with pytest.raises(AlertNotSent, match="within 5 s"):
        await channels.try_once("ops", message())
    for pid in pids.read_text(encoding="utf-8").split():

        async def is_gone(pid: str = pid) -> bool:
            return not _runs(int(pid))

        await until(is_gone)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not (stat.exists() and stat.read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "Z")


# ---- Settings


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("alert: {}\n", 1, "Did you mean 'alerts'?"),
        ("alerts:\n  error_rat: {}\n", 2, "alerts.error_rat: unknown key 'error_rat'. Did you mean 'error_rate'?"),
        ("alerts:\n  error_rate: {above_percnt: 1}\n", 2, "Did you mean 'above_percent'?"),
        ("alerts:\n  error_rate: {above_percent: -1}\n", 2, "alerts.error_rate.above_percent: '-1' must be 0 or more."),
        ("alerts:\n  p95_latency: {above_seconds: 0}\n", 2, "'0' must be more than 0."),
        ("alerts:\n  p95_latency: {window_seconds: -5}\n", 2, "'-5' must be more than 0."),
        ("alerts:\n  p95_latency: {for_seconds: -5}\n", 2, "'-5' must be 0 or more."),
        ("alerts:\n  error_rate: {clear_percent: 2}\n", 2, "it cannot clear at 2, above its threshold of 1."),
        ("alerts:\n  error_rate: {channels: [opz]}\n", 2, "there is no channel 'opz'."),
        (
            "channels:\n  ops: {kind: log}\nnotify:\n  - opz\n",
            3,
            "notify: there is no channel 'opz'. Did you mean 'ops'?",
        ),
        ("channels:\n  ops: {kind: webhok, url: 'http://x'}\n", 2, "Did you mean 'webhook'?"),
        ("channels:\n  ops: {kind: webhook}\n", 2, "'url' is missing: where is the message sent?"),
        ("channels:\n  ops: {kind: command}\n", 2, "'command' is missing: which program takes the message?"),
        (
            "channels:\n  ops: {kind: slack, url: 'hooks.slack.com/secret'}\n",
            2,
            "must begin with 'http://' or 'https://'.",
        ),
        ("channels:\n  log: {kind: log}\n", 2, "'log' is always there. Use another name."),
    ],
)
def test_wrong_alerts_are_reported_with_their_line(tmp_path: Path, text: str, line: int, says: str) -> None:
    file = tmp_path / "alerts.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as raised:
        load_config(tmp_path, environ={"HOME": str(tmp_path)}, working_directory=tmp_path)
    assert str(raised.value).startswith(f"{file}:{line}: ")
    assert says in str(raised.value)
    assert "secret" not in str(raised.value)


def test_the_folder_of_a_project_cannot_choose_who_is_told(server: ServerFolder) -> None:
    server.write()
    project = server.work / ".zen"
    project.mkdir()
    text = "enabled: true\nnotify: [x]\nchannels:\n  x: {kind: command, command: [touch, pwned]}\n"
    (project / "alerts.yaml").write_text(text, encoding="utf-8")
    done = server.run("alerts", "test", "x")
    assert done.returncode == 1
    for line, key in ((1, "enabled"), (2, "notify"), (3, "channels")):
        assert f"{project / 'alerts.yaml'}:{line}: {key}: cannot be set by the working directory's own" in done.stderr


def _json(line: str) -> dict[str, Any]:
    try:
        return json.loads(line)
    except ValueError:
        return {}
