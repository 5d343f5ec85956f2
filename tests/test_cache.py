"""Remembered answers: hits, bypass, refresh, one request for many, over SQLite and over a real Redis."""

from __future__ import annotations

import logging
import re
import socket
import time
from collections.abc import AsyncGenerator, Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp.client import Client
from tests.support.redis import RedisServer
from tests.support.results import data_of
from tests.support.server import ServerFolder, connect, until
from tests.upstream import Behaviour, Upstream

from zen_mcp.errors import StorageError, VendorUnavailable
from zen_mcp.middleware.cache import ResponseCache, ResponseStore, key_of
from zen_mcp.routing.health import HealthBoard
from zen_mcp.storage.postgres import PostgresDatabase
from zen_mcp.storage.redis import Redis, RedisResponses, RedisRests
from zen_mcp.storage.responses import SQLResponses
from zen_mcp.storage.sqlite import SQLiteDatabase
from zen_mcp.types import Caller, FunctionCall, Message, ModelRequest, ModelResponse, Usage

pytestmark = pytest.mark.anyio

MODELS: dict[str, tuple[Behaviour, dict[str, Any]]] = {
    "priced": (
        Behaviour(text="an answer", cached_tokens=1),
        {"input_cost_per_token": 1e-3, "output_cost_per_token": 1e-2},
    ),
    "slow": (Behaviour(text="slowly", delay_seconds=0.4), {}),
    "broken": (Behaviour(status=400, text="no"), {}),
    "another": (Behaviour(text="another"), {}),
}

QUESTION = ModelRequest(request_id="c", model="m", messages=(Message(role="user", text="hello"),))
ANSWER = ModelResponse(
    text="hi", model="m", vendor="v", answered_by="m-1", usage=Usage(input_tokens=3, output_tokens=1), cost_dollars=0.5,
    function_calls=(FunctionCall(id="1", name="f", arguments="{}"),),
)  # fmt: skip


# --- the tool, over MCP


async def test_an_identical_question_is_answered_from_memory_and_costs_nothing(
    client: Client, upstream: Upstream
) -> None:
    wanted = {"prompt": "the same again", "model": "priced", "cache": "use"}
    first = data_of(await client.call_tool("chat", wanted))
    second = data_of(await client.call_tool("chat", wanted))
    assert len(upstream.asked("priced")) == 1
    assert first["cost_dollars"] > 0
    assert not first.get("cached")
    assert (second["text"], second["cached"], second["cost_dollars"]) == ("an answer", True, 0)
    assert "an earlier answer to the same question" in second["notes"]
    assert second["input_tokens"] == first["input_tokens"]

    await client.call_tool("chat", {**wanted, "cache": "off"})
    await client.call_tool("chat", {"prompt": "the same again", "model": "priced"})
    assert len(upstream.asked("priced")) == 3, "off, and not said, are asked anew"
    upstream.behave("priced", Behaviour(text="a newer answer"))
    await client.call_tool("chat", {**wanted, "cache": "refresh"})
    assert data_of(await client.call_tool("chat", wanted))["text"] == "a newer answer"
    assert len(upstream.asked("priced")) == 4
    await client.call_tool("chat", {**wanted, "temperature": 0.1})
    assert len(upstream.asked("priced")) == 5, "another parameter is another question"


async def test_a_streamed_answer_is_remembered_and_given_again_whole(client: Client, upstream: Upstream) -> None:
    async def watch(progress: float, total: float | None, message: str | None) -> None:
        assert progress >= 0

    wanted = {"prompt": "streamed", "model": "priced", "cache": "use"}
    before = len(upstream.asked("priced"))
    await client.call_tool("chat", wanted, progress_callback=watch)
    assert upstream.asked("priced")[-1].stream
    again = data_of(await client.call_tool("chat", wanted))
    assert again["cached"] is True
    assert len(upstream.asked("priced")) == before + 1


async def test_of_a_panel_only_the_missing_members_are_asked(client: Client, upstream: Upstream) -> None:
    wanted: dict[str, Any] = {"prompt": "panel question", "cache": "use", "models": ["priced", "broken"]}
    await client.call_tool("consensus", wanted)
    asked = len(upstream.requests)
    data = data_of(await client.call_tool("consensus", {**wanted, "models": ["priced", "broken", "another"]}))
    assert [received.model for received in upstream.requests[asked:]].count("priced") == 0
    assert {received.model for received in upstream.requests[asked:]} == {"broken", "another"}
    assert [answer["status"] for answer in data["answers"]] == ["answered", "failed", "answered"]


async def test_identical_requests_at_the_same_time_are_one(client: Client, upstream: Upstream) -> None:
    results: list[dict[str, Any]] = []

    async def ask() -> None:
        wanted = {"prompt": "all at once", "model": "slow", "cache": "use"}
        results.append(data_of(await client.call_tool("chat", wanted)))

    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(ask)
    assert len(upstream.asked("slow")) == 1
    assert [result["text"] for result in results] == ["slowly"] * 5
    assert sum(bool(result.get("cached")) for result in results) == 4


@pytest.mark.slow
async def test_with_the_setting_on_it_needs_no_argument_and_outlives_the_server(
    tmp_path: Path, models: dict[str, dict[str, Any]], upstream: Upstream
) -> None:
    folder = ServerFolder(path=tmp_path, models=models, settings={"cache": {"enabled": True}})
    before = len(upstream.asked("another"))
    for _ in range(2):
        async with connect(folder) as client:
            assert data_of(await client.call_tool("chat", {"prompt": "x", "model": "another"}))["text"] == "another"
    assert len(upstream.asked("another")) == before + 1


# --- the middleware, over every store


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Generator[RedisServer]:
    """A real server."""
    with RedisServer(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture(params=["sqlite", "postgres", "redis"])
async def store(
    request: pytest.FixtureRequest, tmp_path: Path, redis_server: RedisServer
) -> AsyncGenerator[ResponseStore]:
    """Each store in turn."""
    if request.param == "sqlite":
        database = SQLiteDatabase(tmp_path / "zen.db")
        yield SQLResponses(database)
        await database.aclose()
    elif request.param == "postgres":
        shared = PostgresDatabase(request.getfixturevalue("postgres").database())
        yield SQLResponses(shared)
        await shared.aclose()
    else:
        redis = Redis(redis_server.url, tell=print, prefix=f"{request.node.name}:")
        yield RedisResponses(redis)
        await redis.aclose()


class Asked:
    """The end of a chain: counts, waits, answers or fails."""

    def __init__(self, answer: ModelResponse | Exception = ANSWER, *, seconds: float = 0.0) -> None:
        self.answer = answer
        self.seconds = seconds
        self.count = 0

    async def __call__(self, request: ModelRequest) -> ModelResponse:
        self.count += 1
        await anyio.sleep(self.seconds)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def cache_of(store: ResponseStore, *, seconds: float = 60) -> ResponseCache:
    """A cache that is on."""
    return ResponseCache(store, default="use", seconds=seconds, fingerprint=lambda name: name)


async def test_a_response_comes_back_as_it_was_stored(store: ResponseStore) -> None:
    asked, cache = Asked(), cache_of(store)
    assert await cache(QUESTION, asked) == ANSWER
    again = await cache(QUESTION, asked)
    assert asked.count == 1
    assert again == replace(
        ANSWER,
        cached=True,
        cost_dollars=0.0,
        attempts=0,
        seconds=0.0,
        notes=("an earlier answer to the same question",),
    )


async def test_an_answer_ends(store: ResponseStore) -> None:
    asked, cache = Asked(), cache_of(store, seconds=0.2)
    await cache(QUESTION, asked)
    await anyio.sleep(0.3)
    await cache(QUESTION, asked)
    assert asked.count == 2


@pytest.mark.parametrize("answer", [replace(ANSWER, partial=True), replace(ANSWER, because="m failed", asked="m")])
async def test_parts_and_answers_of_others_are_not_kept(store: ResponseStore, answer: ModelResponse) -> None:
    asked, cache = Asked(answer), cache_of(store)
    for _ in range(2):
        await cache(QUESTION, asked)
    assert asked.count == 2


class Looked:
    """A store that counts how often it was looked into."""

    def __init__(self, store: ResponseStore) -> None:
        self.looks = 0
        self._store = store

    async def load(self, key: str) -> str | None:
        found = await self._store.load(key)
        self.looks += 1
        return found

    async def store(self, key: str, value: str, *, seconds: float) -> None:
        await self._store.store(key, value, seconds=seconds)


async def test_who_waits_takes_over_when_the_one_who_asks_is_cancelled(store: ResponseStore) -> None:
    looked, got, asked = Looked(store), list[ModelResponse](), list[ModelRequest]()
    cache = cache_of(looked)

    async def hang_at_first(request: ModelRequest) -> ModelResponse:
        asked.append(request)
        if len(asked) == 1:
            await anyio.sleep_forever()
        return ANSWER

    async def follow() -> None:
        got.append(await cache(QUESTION, hang_at_first))

    async def is_asked() -> bool:
        return len(asked) == 1

    async def is_waited_for() -> bool:
        return looked.looks == 2

    async with anyio.create_task_group() as group, anyio.create_task_group() as first:
        first.start_soon(cache, QUESTION, hang_at_first)
        await until(is_asked)
        group.start_soon(follow)
        await until(is_waited_for)
        first.cancel_scope.cancel()
    assert len(asked) == 2
    assert got == [ANSWER]


async def test_a_failure_is_everybodys_and_is_not_kept(store: ResponseStore) -> None:
    asked, cache = Asked(VendorUnavailable("boom"), seconds=0.1), cache_of(store)
    failures: list[str] = []

    async def ask() -> None:
        try:
            await cache(QUESTION, asked)
        except VendorUnavailable as exc:
            failures.append(exc.problem)

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(ask)
    assert (asked.count, failures) == (1, ["boom"] * 3)
    await ask()
    assert asked.count == 2


def test_every_difference_makes_another_key() -> None:
    others = [
        replace(QUESTION, model="n"),
        replace(QUESTION, caller=Caller(user_id="somebody else")),
        replace(QUESTION, messages=(Message(role="system", text="hello"),)),
        replace(QUESTION, temperature=0.0),
        replace(QUESTION, thinking="high"),
        replace(QUESTION, max_output_tokens=5),
        replace(QUESTION, json_mode=True),
        replace(QUESTION, json_schema={"type": "object"}),
        replace(QUESTION, functions=({"name": "f"},)),
        replace(QUESTION, web_search=True),
    ]
    keys = {key_of(request, "here") for request in (QUESTION, *others)} | {key_of(QUESTION, "elsewhere")}
    assert len(keys) == len(others) + 2
    assert key_of(replace(QUESTION, request_id="d", timeout_seconds=1), "here") == key_of(QUESTION, "here")


# --- Redis that goes away


async def test_without_redis_the_model_is_asked_and_it_is_said_once(tmp_path: Path) -> None:
    told: list[str] = []
    server = RedisServer(tmp_path)
    redis = Redis(server.url, tell=told.append, away_seconds=0.2)
    cache = cache_of(RedisResponses(redis))
    asked = Asked()
    started = time.monotonic()
    for _ in range(3):
        assert await cache(QUESTION, asked) == ANSWER
    assert time.monotonic() - started < 2
    assert asked.count == 3
    assert len(told) == 1
    assert "cannot be reached" in told[0]
    with server:
        await anyio.sleep(0.2)  # the breaker's rest is over
        await cache(QUESTION, asked)
        assert (await cache(QUESTION, asked)).cached
        assert told[1:] == ["Redis is back"]
        server.stop()
        assert await cache(QUESTION, asked) == ANSWER
    await redis.aclose()


async def test_a_hung_redis_costs_half_a_second_at_most() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        redis = Redis(f"redis://127.0.0.1:{listener.getsockname()[1]}/0", tell=logging.getLogger("test").info)
        started = time.monotonic()
        with pytest.raises(StorageError, match="Redis cannot be reached"):
            await RedisResponses(redis).load("key")
        assert time.monotonic() - started < 1
        await redis.aclose()


async def test_replicas_share_which_deployments_rest(redis_server: RedisServer) -> None:
    one, two = (Redis(redis_server.url, tell=print, prefix="replicas:") for _ in range(2))
    first = HealthBoard(allowed_fails=0, cooldown_seconds=30, shared=RedisRests(one))
    second = HealthBoard(allowed_fails=0, cooldown_seconds=30, shared=RedisRests(two))
    await first.failed("gpt#azure", VendorUnavailable("boom"))
    await second.refresh()
    assert (second.health("gpt#azure").status, second.health("gpt#azure").reason) == ("open", "boom")
    await second.succeeded("gpt#azure")
    assert await RedisRests(one).load() == {}
    await one.aclose()
    await two.aclose()


@pytest.mark.slow
async def test_a_wrong_redis_url_and_an_unreachable_redis(tmp_path: Path, models: dict[str, dict[str, Any]]) -> None:
    wrong = ServerFolder(path=tmp_path / "wrong", models=models, settings={"redis_url": "http://x"})
    done = wrong.run("ask", "hello", "-m", "another")
    assert done.returncode == 1
    assert "redis_url" in done.stderr
    settings = {"redis_url": "redis://127.0.0.1:9/0", "cache": {"enabled": True}}
    away = ServerFolder(path=tmp_path / "away", models=models, settings=settings)
    async with connect(away) as client:
        for prompt in ("one", "two"):
            data = data_of(await client.call_tool("chat", {"prompt": prompt, "model": "another"}))
            assert data["text"] == "another"
    log = (away.path / "stderr.log").read_text(encoding="utf-8")
    assert len(re.findall("Redis cannot be reached .*going on without it", log)) == 1
