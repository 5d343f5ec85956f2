"""`max_parallel`, `rpm` and `tpm` of a deployment hold for all replicas, and for all processes of one server."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from mcp.client import Client
from mcp_types import CallToolResult
from tests.support.redis import RedisServer
from tests.support.results import data_of, error_of
from tests.support.server import Served, ServerFolder, openai_model, rpc, serve_http, until
from tests.upstream import Behaviour, Upstream

from zen_mcp.routing.shared_capacity import Slots
from zen_mcp.storage.postgres import PostgresDatabase
from zen_mcp.storage.redis import Redis
from zen_mcp.storage.redis_slots import RedisSlots
from zen_mcp.storage.sql_slots import SQLSlots
from zen_mcp.storage.sqlite import SQLiteDatabase

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(180)]

SLOW = Behaviour(delay_seconds=0.3)


# --- the stores


@pytest.fixture(params=["redis", "sqlite", "postgres"])
async def slots(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Slots]:
    """Places in each store."""
    if request.param == "redis":
        with RedisServer(tmp_path) as server:
            redis = Redis(server.url, tell=print)
            yield RedisSlots(redis)
            await redis.aclose()
        return
    database = (
        PostgresDatabase(request.getfixturevalue("postgres").database())
        if request.param == "postgres"
        else SQLiteDatabase(tmp_path / "zen.db")
    )
    yield SQLSlots(database)
    await database.aclose()


async def take(slots: Slots, ticket: str, *, hold_seconds: float = 60.0, wait_seconds: float = 60.0) -> bool:
    return await slots.take("gpt", ticket, most=2, hold_seconds=hold_seconds, wait_seconds=wait_seconds)


async def test_places_are_given_in_the_order_of_the_queue(slots: Slots) -> None:
    assert [await take(slots, ticket) for ticket in "abcd"] == [True, True, False, False]
    assert await slots.take("other", "e", most=1, hold_seconds=60, wait_seconds=60)
    assert await slots.count("gpt") == 4
    await slots.give_back("gpt", "a")
    assert not await take(slots, "d"), "c came first"
    assert await take(slots, "c")
    await slots.give_back("gpt", "b")
    assert await take(slots, "d")
    for ticket in "cd":
        await slots.give_back("gpt", ticket)
    assert await slots.count("gpt") == 0
    assert await slots.count("other") == 1


async def test_the_dead_lose_their_places_and_their_turn_and_the_living_keep_them(slots: Slots) -> None:
    assert await take(slots, "kept", hold_seconds=0.2)
    await slots.keep("gpt", "kept", hold_seconds=60)
    assert await take(slots, "dead", hold_seconds=0.2)
    await until(lambda: take(slots, "next"))
    assert not await take(slots, "gone", wait_seconds=0.2)
    assert not await take(slots, "last")
    await slots.give_back("gpt", "next")
    await until(lambda: take(slots, "last"))
    await slots.keep("gpt", "lost", hold_seconds=60)
    await slots.give_back("gpt", "last")
    assert not await take(slots, "more"), "a place that was lost meanwhile is counted again"
    await slots.give_back("gpt", "lost")
    assert await take(slots, "more")


async def test_no_more_than_there_are_when_all_come_at_once(slots: Slots) -> None:
    got: list[str] = []

    async def come(ticket: str) -> None:
        if await take(slots, ticket):
            got.append(ticket)

    async with anyio.create_task_group() as group:
        for number in range(12):
            group.start_soon(come, f"t{number}")
    assert len(got) == 2
    assert await slots.count("gpt") == 12


# --- replicas


@pytest.fixture
def valkey(tmp_path: Path) -> Generator[RedisServer]:
    """A Valkey that a test may stop."""
    folder = tmp_path / "valkey"
    folder.mkdir()
    with RedisServer(folder) as server:
        yield server


@asynccontextmanager
async def replicas(
    path: Path, number: int, *, models: dict[str, Any], limits: dict[str, Any] | None = None, **settings: Any
) -> AsyncGenerator[list[Served]]:
    """Servers with the same settings and nothing in common but what these name."""
    async with AsyncExitStack() as stack:
        served: list[Served] = []
        for one in range(number):
            folder = ServerFolder(
                path=path / f"r{one}", models=models, settings={"provider": "direct", **settings}, limits=limits or {}
            )
            served.append(await stack.enter_async_context(serve_http(folder)))
        for one in served:
            async with one.http() as http:

                async def is_ready(http: httpx2.AsyncClient = http) -> bool:
                    return (await http.get("/readyz")).status_code == 200

                await until(is_ready)
        yield served


@asynccontextmanager
async def clients_of(served: Sequence[Served]) -> AsyncGenerator[list[Client]]:
    """A client at each."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(one.connect()) for one in served]


async def ask(client: Client, model: str, prompt: str = "x") -> CallToolResult:
    with anyio.fail_after(90):
        return await client.call_tool("chat", {"prompt": prompt, "model": model})


async def all_at_once(clients: Sequence[Client], model: str, times: int) -> list[str]:
    """What each of the answers says."""
    texts: list[str] = []

    async def one(client: Client, number: int) -> None:
        texts.append(data_of(await ask(client, model, f"question {number}"))["text"])

    async with anyio.create_task_group() as group:
        for number in range(times):
            group.start_soon(one, clients[number % len(clients)], number)
    return texts


async def test_three_replicas_send_a_deployment_no_more_than_max_parallel(
    tmp_path: Path, upstream: Upstream, valkey: RedisServer
) -> None:
    models = {"narrow": openai_model(upstream.url, max_parallel=2, timeout_seconds=80)}
    upstream.behave("narrow", SLOW)
    async with (
        replicas(tmp_path, 3, models=models, redis_url=valkey.url) as served,
        clients_of(served) as clients,
    ):
        upstream.peak_requests = 0
        assert await all_at_once(clients, "narrow", 18) == ["ok"] * 18
    assert upstream.peak_requests == 2


async def cut_off(served: Served, model: str) -> None:
    """Ask a server that dies meanwhile."""
    with suppress(httpx2.HTTPError):
        async with served.http() as http:
            await http.post("/mcp", **rpc("tools/call", {"name": "chat", "arguments": {"prompt": "x", "model": model}}))


async def test_the_places_of_a_replica_that_was_killed_come_back(
    tmp_path: Path, upstream: Upstream, valkey: RedisServer
) -> None:
    models = {"single": openai_model(upstream.url, max_parallel=1, timeout_seconds=80)}
    upstream.behave("single", [Behaviour(how="hang"), Behaviour(text="at last")])
    async with (
        replicas(tmp_path, 2, models=models, redis_url=valkey.url) as served,
        served[1].connect() as living,
        anyio.create_task_group() as group,
    ):
        group.start_soon(cut_off, served[0], "single")
        assert await anyio.to_thread.run_sync(upstream.wait_for_request, "single")
        served[0].process.kill()
        await served[0].process.wait()
        assert data_of(await ask(living, "single"))["text"] == "at last"
        group.cancel_scope.cancel()
    assert len(upstream.asked("single")) == 2


async def test_requests_and_tokens_per_minute_hold_for_all_replicas(
    tmp_path: Path, upstream: Upstream, valkey: RedisServer
) -> None:
    models = {
        "three": openai_model(upstream.url, rpm=3, timeout_seconds=10),
        "greedy": openai_model(upstream.url, tpm=500, timeout_seconds=10),
    }
    upstream.behave("greedy", Behaviour(text="word " * 600))
    async with (
        replicas(tmp_path, 3, models=models, redis_url=valkey.url) as served,
        clients_of(served) as clients,
    ):
        assert [data_of(await ask(client, "three"))["text"] for client in clients] == ["ok"] * 3
        for client in clients:
            error = error_of(await ask(client, "three"))
            assert "'three' has had its 3 requests of this minute" in error["problem"]
            assert 0 < error["retry_after_seconds"] <= 90
        assert data_of(await ask(clients[0], "greedy"))["text"].startswith("word")
        assert "'greedy' has had its 500 tokens of this minute" in error_of(await ask(clients[1], "greedy"))["problem"]
    assert len(upstream.asked("three")) == 3
    assert len(upstream.asked("greedy")) == 1


async def test_what_another_replica_has_filled_is_passed_over(
    tmp_path: Path, upstream: Upstream, valkey: RedisServer
) -> None:
    one_way = openai_model(upstream.url, max_parallel=1)
    ways = [{**one_way, "name": name, "litellm_model": f"hosted_vllm/{name}"} for name in ("one", "two")]
    models = {"pair": openai_model(upstream.url, deployments=ways, timeout_seconds=60)}
    for name in ("one", "two"):
        upstream.behave(name, Behaviour(how="hang"))
    async with (
        replicas(tmp_path, 2, models=models, redis_url=valkey.url) as served,
        clients_of(served) as (first, second),
        anyio.create_task_group() as group,
    ):
        group.start_soon(ask, first, "pair")
        await until(lambda: any_asked(upstream, 1))
        free = "two" if upstream.asked("one") else "one"
        upstream.behave(free, Behaviour(text="there is room here"))
        for _ in range(3):
            assert data_of(await ask(second, "pair"))["text"] == "there is room here"
        group.cancel_scope.cancel()


async def any_asked(upstream: Upstream, number: int) -> bool:
    """Whether the pair has been asked so often."""
    return len(upstream.asked("one")) + len(upstream.asked("two")) == number


@pytest.mark.parametrize(("away", "peak"), [("local", 1), ("open", 3), ("closed", 0)])
async def test_while_redis_is_away_each_replica_has_its_part_all_of_it_or_nothing(
    tmp_path: Path, upstream: Upstream, valkey: RedisServer, away: str, peak: int
) -> None:
    models = {"narrow": openai_model(upstream.url, max_parallel=3, timeout_seconds=60)}
    limits = {"rate_limits": {"replicas": 3, "when_redis_is_away": away}}
    upstream.behave("narrow", SLOW)
    async with (
        replicas(tmp_path, 1, models=models, limits=limits, redis_url=valkey.url) as served,
        clients_of(served) as clients,
    ):
        valkey.stop()
        if away == "closed":
            error = error_of(await ask(clients[0], "narrow"))
            assert "cannot be counted" in error["problem"]
            assert error["retry_after_seconds"] == 5
            valkey.start()
            await until(lambda: is_let_in(clients[0]))
            return
        upstream.peak_requests = 0
        assert await all_at_once(clients, "narrow", 6) == ["ok"] * 6
        assert upstream.peak_requests == peak
        assert "capacity_not_shared" in served[0].log.read_text()


async def is_let_in(client: Client) -> bool:
    """Whether Redis is counted with again."""
    return not (await ask(client, "narrow")).is_error


# --- processes of one server


async def test_the_processes_of_one_server_share_what_a_deployment_is_given(tmp_path: Path, upstream: Upstream) -> None:
    models = {
        "narrow": openai_model(upstream.url, max_parallel=1, timeout_seconds=80),
        "three": openai_model(upstream.url, rpm=3, timeout_seconds=10),
    }
    upstream.behave("narrow", SLOW)
    folder = ServerFolder(path=tmp_path, models=models, settings={"http": {"workers": 2}})
    async with serve_http(folder) as served, clients_of([served] * 4) as clients:
        upstream.peak_requests = 0
        assert await all_at_once(clients, "narrow", 12) == ["ok"] * 12
        assert upstream.peak_requests == 1
        results = [await ask(client, "three") for client in (*clients, *clients)]
        assert [result.is_error for result in results] == [False] * 3 + [True] * 5
