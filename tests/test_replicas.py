"""Three replicas behind a plain round-robin proxy are one server; what they live on may go away for a while."""

from __future__ import annotations

import signal
import time
from collections.abc import AsyncGenerator, Generator
from importlib import import_module
from typing import Any

import anyio
import psycopg
import pytest
from mcp_types import CallToolResult
from tests.support.postgres import PostgresServer
from tests.support.redis import RedisServer
from tests.support.results import data_of, error_of, text_of
from tests.support.server import until
from tests.support.team import Team, TeamClient, team_of
from tests.upstream import Behaviour, Upstream

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(300)]

MODELS: dict[str, tuple[Behaviour, dict[str, Any]]] = {
    "fine": (Behaviour(text="Heard: {echo}"), {}),
    "slow": (Behaviour(text="Heard: {echo}", delay_seconds=1.5), {}),
    "slower": (Behaviour(text="Heard: {echo}", delay_seconds=5.5), {}),
    "hung": (Behaviour(how="hang"), {}),
    "wrong-key": (Behaviour(status=401, text="no such key"), {}),
}


LIMITS = {"rate_limits": {"per_user_tool": {"version": {"requests_per_hour": 5}}}}


@pytest.fixture(scope="module")
def own_postgres() -> Generator[PostgresServer]:
    """A Postgres that the tests of this file restart."""
    with PostgresServer() as server:
        yield server


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Generator[RedisServer]:
    """A Valkey that the tests of this file stop."""
    with RedisServer(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture(scope="module")
async def team(
    tmp_path_factory: pytest.TempPathFactory,
    models: dict[str, dict[str, Any]],
    own_postgres: PostgresServer,
    redis: RedisServer,
) -> AsyncGenerator[Team]:
    """Three replicas, once for all tests of this file."""
    settings = {"default_model": "fine", "database_url": own_postgres.database(), "redis_url": redis.url}
    async with team_of(tmp_path_factory.mktemp("team"), models=models, settings=settings, limits=LIMITS) as running:
        await running.ready()
        yield running


async def chat(client: TeamClient, prompt: str, thread: str | None = None, **more: Any) -> CallToolResult:
    """Ask in a thread, or in a new one."""
    more |= {"continuation_id": thread} if thread else {}
    return await client.call("chat", {"prompt": prompt, **more})


def turns_of(team: Team, thread: str) -> list[str]:
    """What the database holds of a thread."""
    with psycopg.connect(team.folders[0].settings["database_url"]) as connection:
        rows = connection.execute("SELECT text FROM turns WHERE thread_id = %s ORDER BY number", [thread]).fetchall()
    return [str(text) for (text,) in rows]


def log_of(team: Team, number: int) -> str:
    return team.served[number].log.read_text(encoding="utf-8")


async def test_a_thread_goes_on_on_whichever_replica_comes_next(team: Team, upstream: Upstream) -> None:
    async with team.member() as client:
        first = data_of(await chat(client, "one"))
        for word in ("two", "three"):
            assert data_of(await chat(client, word, first["continuation_id"]))["text"] == f"Heard: {word}"
        assert len(set(client.replicas)) == 3
        assert client.errors == []
    asked = upstream.asked("fine")[-1].messages
    assert [one["content"] for one in asked[1:]] == ["one", "Heard: one", "two", "Heard: two", "three"]
    stored = turns_of(team, first["continuation_id"])
    assert stored == ["one", "Heard: one", "two", "Heard: two", "three", "Heard: three"]


async def test_an_answer_is_remembered_for_all_replicas(team: Team, upstream: Upstream) -> None:
    before = len(upstream.asked("fine"))
    async with team.member() as client:
        results = [data_of(await chat(client, "remember me", cache="use")) for _ in range(3)]
        assert len(set(client.replicas)) == 3
    assert {one["text"] for one in results} == {"Heard: remember me"}
    assert len(upstream.asked("fine")) == before + 1


async def test_the_same_question_at_the_same_time_is_asked_once_by_all_replicas(team: Team, upstream: Upstream) -> None:
    # Longer than a lease lasts, so the one who asks must put its end off.
    before = len(upstream.asked("slower"))
    answers: list[str] = []

    async def ask() -> None:
        async with team.member() as client:
            answers.append(data_of(await chat(client, "all at once", model="slower", cache="use"))["text"])

    async with anyio.create_task_group() as group:
        for _ in range(6):
            group.start_soon(ask)
    assert answers == ["Heard: all at once"] * 6
    assert len(upstream.asked("slower")) == before + 1


async def test_when_the_replica_that_asks_for_all_dies_another_asks(team: Team, upstream: Upstream) -> None:
    before = len(upstream.asked("slow"))
    upstream.behave("slow", [Behaviour(how="hang"), Behaviour(text="asked again")])
    answers: list[str] = []
    leader = team.proxy.following
    async with team.member() as first, team.member() as second, anyio.create_task_group() as group:

        async def ask(client: TeamClient) -> None:
            answers.append(data_of(await chat(client, "who leads?", model="slow", cache="use"))["text"])

        leader = team.proxy.following
        group.start_soon(ask, first)
        assert await anyio.to_thread.run_sync(upstream.wait_for_request, "slow", before + 1)
        group.start_soon(ask, second)
        await team.kill(leader)
    await team.start(leader)
    assert answers == ["asked again"] * 2
    assert len(upstream.asked("slow")) == before + 2
    upstream.behave("slow", MODELS["slow"][0])


async def test_a_limit_holds_for_all_replicas_together(team: Team) -> None:
    async with team.member() as client:
        results = [await client.call("version", {}) for _ in range(9)]
        assert len(set(client.replicas)) == 3
    assert [result.is_error for result in results] == [False] * 5 + [True] * 4
    assert error_of(results[-1])["kind"] == "RateLimitExceeded"


async def test_a_deployment_that_one_replica_found_ill_rests_for_all(team: Team) -> None:
    async with team.member() as client:
        error = error_of(await chat(client, "x", model="wrong-key"))
        assert error["kind"] == "VendorAuthFailed"
    rests = await anyio.to_thread.run_sync(rests_in, team.folders[0].settings["redis_url"])
    assert "wrong-key" in rests


def rests_in(url: str) -> set[str]:
    """The deployments that rest, as Redis has them."""
    client: Any = import_module("redis").Redis.from_url(url, decode_responses=True)
    with client:
        return set(client.hgetall("zen:rests"))


async def test_a_job_handed_in_at_one_replica_is_fetched_at_another(team: Team) -> None:
    async with team.member() as client:
        job = data_of(await chat(client, "in the background", background=True))["job"]
        handed_in_at = client.replicas[-1]
        with anyio.fail_after(90):
            while True:
                told = data_of(await client.call("jobs", {"job": job, "action": "wait"}))
                if told["job"]["state"] == "done":
                    break
        assert told["result"]["text"] == "Heard: in the background"
        assert client.replicas[-1] != handed_in_at


async def test_a_replica_killed_under_load_loses_no_turn_that_was_acknowledged(team: Team) -> None:
    acknowledged: dict[str, list[str]] = {}
    half_way = anyio.Event()
    replicas = set[int]()

    async def converse(name: str) -> None:
        thread = ""
        async with team.member() as client:
            for number in range(8):
                prompt = f"{name}, {number}"
                answer = data_of(await chat(client, prompt, thread, model="slow" if number == 4 else "fine"))
                assert answer["text"] == f"Heard: {prompt}"
                thread = answer["continuation_id"]
                acknowledged.setdefault(thread, []).append(prompt)
                if number == 3:
                    half_way.set()
            replicas.update(client.replicas[-3:])

    async with anyio.create_task_group() as group:
        for number in range(6):
            group.start_soon(converse, f"client {number}")
        await half_way.wait()
        await team.kill(1)
    assert len(acknowledged) == 6
    assert replicas == {0, 2}
    for thread, prompts in acknowledged.items():
        stored = turns_of(team, thread)
        assert [text for text in stored if text in prompts] >= prompts
        assert {f"Heard: {prompt}" for prompt in prompts} <= set(stored)
    await team.start(1)


async def test_a_client_that_vanishes_takes_its_request_with_it_through_the_proxy(
    team: Team, upstream: Upstream
) -> None:
    upstream.disconnects.clear()
    before = len(upstream.asked("hung"))
    async with team.member() as client, anyio.create_task_group() as group:
        group.start_soon(chat, client, "never")
        group.start_soon(lambda: chat(client, "never", model="hung"))
        assert await anyio.to_thread.run_sync(upstream.wait_for_request, "hung", before + 1)
        group.cancel_scope.cancel()
    assert await anyio.to_thread.run_sync(upstream.wait_for_disconnect, "hung")


async def test_ten_seconds_without_redis_stop_nobody(team: Team, redis: RedisServer) -> None:
    async with team.member() as client:
        redis.stop()
        away_until = time.monotonic() + 10
        calls = 0
        while time.monotonic() < away_until:
            assert data_of(await chat(client, f"without, {calls}", cache="use"))["text"] == f"Heard: without, {calls}"
            calls += 1
        assert client.errors == []
        assert any("Redis cannot be reached" in log_of(team, number) for number in range(3))
        redis.start()

        async def is_back() -> bool:
            await chat(client, f"with, {time.monotonic()}", cache="use")
            return all("Redis is back" in log_of(team, number) for number in range(3))

        await until(is_back)


async def test_postgres_restarted_mid_call_costs_no_answer(
    team: Team, own_postgres: PostgresServer, upstream: Upstream
) -> None:
    before = len(upstream.asked("slow"))
    results: list[CallToolResult] = []
    async with team.member() as client:
        thread = str(data_of(await chat(client, "before"))["continuation_id"])
    async with team.member() as client, anyio.create_task_group() as group:

        async def ask() -> None:
            results.append(await chat(client, "meanwhile", thread, model="slow"))

        group.start_soon(ask)
        assert await anyio.to_thread.run_sync(upstream.wait_for_request, "slow", before + 1)
        await anyio.to_thread.run_sync(own_postgres.stop, signal.SIGINT)
        await anyio.to_thread.run_sync(own_postgres.start)
    assert data_of(results[0])["text"] == "Heard: meanwhile"
    async with team.member() as client:
        assert "not stored" not in text_of(results[0])
        assert data_of(await chat(client, "after", thread))["text"] == "Heard: after"
    assert turns_of(team, thread) == [
        "before",
        "Heard: before",
        "meanwhile",
        "Heard: meanwhile",
        "after",
        "Heard: after",
    ]
