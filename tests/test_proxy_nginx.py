"""The real nginx with the configurations that we give away, before three real replicas."""

from __future__ import annotations

import re
import signal
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio
import httpx2
import pytest
from tests.support.nginx import Nginx, nginx, replaced, upstreams
from tests.support.postgres import PostgresServer
from tests.support.results import data_of
from tests.support.server import rpc, until
from tests.support.team import Team, team_of
from tests.upstream import Behaviour, Upstream

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(300)]

ROOT = Path(__file__).resolve().parent.parent
MODELS: dict[str, tuple[Behaviour, dict[str, Any]]] = {
    "fine": (Behaviour(text="Heard: {echo}"), {}),
    "slow": (Behaviour(text="at last", delay_seconds=6), {}),
    "hung": (Behaviour(how="hang"), {"timeout_seconds": 300}),
}
PING_SECONDS = 15
"""After so long a silent stream says that it is there; the library that makes them has no other figure."""


@pytest.fixture(scope="module")
async def team(
    tmp_path_factory: pytest.TempPathFactory, models: dict[str, dict[str, Any]], postgres: PostgresServer
) -> AsyncGenerator[Team]:
    """Three replicas on one Postgres."""
    database = postgres.database()
    # Warm, because the proxy's patience is short here.
    settings = {
        "provider": "direct",
        "default_model": "fine",
        "database_url": database,
        "heartbeat_seconds": 0.5,
        "warm_up": True,
    }
    async with team_of(tmp_path_factory.mktemp("nginx"), models=models, settings=settings) as running:
        await running.ready()
        yield running


def ports_of(team: Team) -> list[int]:
    return [urlsplit(one.base).port or 0 for one in team.served]


def compose_site(team: Team) -> str:
    """The file of the compose file; the name of its service has three addresses there."""
    text = (ROOT / "deploy" / "docker" / "nginx.conf").read_text(encoding="utf-8")
    found = re.search(r"server zen:8765( .+);", text)
    assert found is not None
    return replaced(text, {found[0]: upstreams(ports_of(team), found[1]), "listen 8765;": "listen 127.0.0.1:PORT;"})


def guide_site(team: Team) -> str:
    """What docs/team.md advises, without its TLS."""
    text = (ROOT / "docs" / "team.md").read_text(encoding="utf-8")
    (site,) = re.findall(r"```nginx\n(.+?)```", text, re.DOTALL)
    addresses = {f"10.0.0.{11 + number}:8765": f"127.0.0.1:{port}" for number, port in enumerate(ports_of(team))}
    plain = {"listen 443 ssl;": "listen 127.0.0.1:PORT;", "location /mcp {": "location ~ ^/(mcp|healthz) {"}
    return replaced(site, {**addresses, **plain})


SITES = {"compose": compose_site, "guide": guide_site}


@pytest.fixture(scope="module", params=SITES)
async def proxy(
    request: pytest.FixtureRequest, team: Team, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[Nginx]:
    """nginx, with a shorter patience so that a test can outlast it."""
    site = SITES[request.param](team)
    patience = re.search(r"proxy_read_timeout (\d+)s;", site)
    assert patience is not None
    assert int(patience[1]) >= 2 * PING_SECONDS
    site = site.replace(patience[0], "proxy_read_timeout 4s;")
    async with nginx(tmp_path_factory.mktemp(request.param), site) as running:
        yield running


async def ask(proxy: Nginx, prompt: str, **more: Any) -> dict[str, Any]:
    """One call of a client of its own."""
    async with proxy.served.connect() as client:
        return data_of(await client.call_tool("chat", {"prompt": prompt, **more}))


async def test_calls_go_round_and_a_thread_goes_on(proxy: Nginx, team: Team) -> None:
    thread = (await ask(proxy, "one"))["continuation_id"]
    for word in ("two", "three", "four"):
        told = await ask(proxy, word, continuation_id=thread)
        assert (told["text"], told["continuation_id"]) == (f"Heard: {word}", thread)
    assert {port for tries in proxy.tries() for port, _ in tries.replicas} == set(ports_of(team))


async def test_progress_passes_before_there_is_an_answer(proxy: Nginx, upstream: Upstream) -> None:
    heard = anyio.Event()
    upstream.disconnects.clear()
    before = len(upstream.asked("hung"))

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        heard.set()

    async with proxy.served.connect() as client, anyio.create_task_group() as group:

        async def call() -> None:
            await client.call_tool("chat", {"prompt": "x", "model": "hung"}, progress_callback=hear)

        group.start_soon(call)
        with anyio.fail_after(60):
            await heard.wait()
        assert await anyio.to_thread.run_sync(upstream.wait_for_request, "hung", before + 1)
        group.cancel_scope.cancel()
    assert await anyio.to_thread.run_sync(upstream.wait_for_disconnect, "hung"), "whoever goes takes his request along"


async def test_a_long_call_outlasts_the_proxys_patience(proxy: Nginx) -> None:
    async def hear(progress: float, total: float | None, message: str | None) -> None:
        """Whoever watches is told that it goes on, which keeps the connection."""

    async with proxy.served.connect() as client:
        told = await client.call_tool("chat", {"prompt": "x", "model": "slow"}, progress_callback=hear)
        assert data_of(told)["text"] == "at last"


async def test_a_body_past_the_limit_is_refused_and_one_below_it_is_taken(proxy: Nginx) -> None:
    async with proxy.served.http() as http:
        for megabytes, status in ((5, 413), (3, 200)):
            arguments = {"prompt": "x" * (megabytes << 20)}
            answer = await http.post("/mcp", **rpc("tools/call", {"name": "chat", "arguments": arguments}))
            assert answer.status_code == status


async def is_draining(http: httpx2.AsyncClient, base: str) -> bool:
    return (await http.post(f"{base}/mcp", **rpc("tools/list"))).status_code == 503


async def test_a_call_that_meets_a_replica_that_stops_goes_to_the_next(
    proxy: Nginx, team: Team, upstream: Upstream
) -> None:
    stopping = team.served[0]
    before = len(upstream.asked("hung"))
    seen = 0
    async with stopping.connect() as client, httpx2.AsyncClient(timeout=60) as http, anyio.create_task_group() as group:
        group.start_soon(client.call_tool, "chat", {"prompt": "keeps it busy", "model": "hung"})
        assert await anyio.to_thread.run_sync(upstream.wait_for_request, "hung", before + 1)
        stopping.process.send_signal(signal.SIGTERM)
        await until(lambda: is_draining(http, stopping.base))
        seen = len(proxy.tries())
        for number in range(6):
            answer = await http.post(
                proxy.served.url, **rpc("tools/call", {"name": "chat", "arguments": {"prompt": f"n{number}"}})
            )
            assert answer.status_code == 200, answer.text
            assert f"Heard: n{number}" in answer.text
        group.cancel_scope.cancel()
    said = [said for tries in proxy.tries()[seen:] for _, said in tries.replicas]
    assert "503" in said, "it was asked, and said no"
    await team.kill(0)
    await team.start(0)
    await team.ready()


async def busy_replica(team: Team) -> int:
    """Which of them has a call under way."""
    async with httpx2.AsyncClient(timeout=30) as http:
        texts = [(await http.get(f"{one.base}/metrics")).text for one in team.served]
    (busy,) = [number for number, text in enumerate(texts) if re.search(r"calls_in_flight\{.*chat.*\} 1", text)]
    return busy


async def test_a_replica_that_dies_over_a_call_costs_an_error_or_another_question_and_is_passed_over(
    proxy: Nginx, team: Team, upstream: Upstream, request: pytest.FixtureRequest
) -> None:
    upstream.behave("hung", [Behaviour(how="hang"), Behaviour(text="asked again")])
    before, ports = len(upstream.asked("hung")), ports_of(team)
    calls = rpc("tools/call", {"name": "chat", "arguments": {"prompt": "x", "model": "hung"}})
    answers: list[httpx2.Response] = []
    busy = 0
    async with proxy.served.http() as http, anyio.create_task_group() as group:

        async def call() -> None:
            answers.append(await http.post("/mcp", **calls))

        group.start_soon(call)
        assert await anyio.to_thread.run_sync(upstream.wait_for_request, "hung", before + 1)
        busy = await busy_replica(team)
        await team.kill(busy)
    (answer,) = answers
    again = "non_idempotent" in SITES[request.node.callspec.params["proxy"]](team)
    assert answer.status_code == (200 if again else 502), answer.text
    assert ("asked again" in answer.text) == again
    assert len(upstream.asked("hung")) == before + (2 if again else 1)
    assert ports[busy] in [port for port, _ in proxy.tries()[-1].replicas]
    upstream.behave("hung", MODELS["hung"][0])
    for number in range(6):
        assert (await ask(proxy, f"n{number}"))["text"] == f"Heard: n{number}"
    await team.start(busy)
    await team.ready()
