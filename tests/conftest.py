"""What all tests share."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from pathlib import Path
from typing import Any, cast

import pytest
from mcp.client import Client
from tests.support.postgres import PostgresServer
from tests.support.server import ServerFolder, connect, openai_model
from tests.upstream import Behaviour, Upstream

from zen_mcp.storage.base import Database
from zen_mcp.storage.postgres import PostgresDatabase
from zen_mcp.storage.sqlite import SQLiteDatabase

DOORS = ("stdio", "http")
KEY = "sk-test-0123456789abcdef"


_OUTSIDE_THE_INNER_LOOP = frozenset(
    {
        "test_alerts", "test_archive", "test_clink", "test_discover", "test_estimate", "test_http", "test_identity",
        "test_json_answers", "test_limits", "test_logs", "test_metrics", "test_middleware", "test_plugins",
        "test_reload", "test_resources", "test_robustness", "test_secrets", "test_similar", "test_stdio_protocol",
        "test_steps", "test_storage", "test_streaming", "test_tracer", "test_tracing", "test_usage",
    }
)  # fmt: skip
"""Files that start a server for nearly every test. `make test` runs them; `make check` is to end within 90 s."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out of the inner loop what takes long as a whole: those files, and the second door of all others."""
    for item in items:
        second_door = getattr(item, "callspec", None) is not None and "http" in cast("Any", item).callspec.id.split("-")
        if item.path.stem in _OUTSIDE_THE_INNER_LOOP or second_door:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """The one event loop that we run on."""
    return "asyncio"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run every test that takes `client` once for each door, with an upstream and a folder of its own."""
    if "door" in metafunc.fixturenames:
        doors = DOORS if "client" in metafunc.fixturenames else DOORS[:1]
        names = DOORS if len(doors) > 1 else [pytest.HIDDEN_PARAM]
        metafunc.parametrize("door", doors, ids=names, indirect=True, scope="module")


@pytest.fixture(scope="module")
def door(request: pytest.FixtureRequest) -> str:
    """How the client comes in."""
    return request.param


@pytest.fixture(scope="module")
def upstream(door: str) -> Generator[Upstream]:
    """A loopback vendor for the tests of a file."""
    with Upstream() as running:
        yield running


@pytest.fixture(scope="module")
def models(request: pytest.FixtureRequest, upstream: Upstream) -> dict[str, dict[str, Any]]:
    """The models of `MODELS` in the test's file, at the upstream: each a name, how it behaves, and its settings."""
    table: dict[str, tuple[Behaviour, dict[str, Any]]] = _constant(request, "MODELS")
    for name, (behaviour, _) in table.items():
        upstream.behave(name, behaviour)
    return {name: openai_model(upstream.url, **settings) for name, (_, settings) in table.items()}


@pytest.fixture(scope="module")
def folder(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, models: dict[str, dict[str, Any]]
) -> ServerFolder:
    """A server's folder with those models, and the `SETTINGS`, `PROVIDERS` and `LIMITS` of the test's file."""
    return ServerFolder(
        path=tmp_path_factory.mktemp("server"),
        models=models,
        settings=_constant(request, "SETTINGS"),
        providers=_constant(request, "PROVIDERS"),
        limits=_constant(request, "LIMITS"),
    )


@pytest.fixture(scope="module")
async def client(folder: ServerFolder, door: str) -> AsyncGenerator[Client]:
    """One session with a server of that folder, for all tests of the file."""
    async with connect(folder, door=door) as session:
        yield session


@pytest.fixture(scope="session")
def postgres() -> Generator[PostgresServer]:
    """A real Postgres for all tests of this worker."""
    with PostgresServer() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgres"])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Database]:
    """An empty database of either kind."""
    one = (
        SQLiteDatabase(tmp_path / "zen.db")
        if request.param == "sqlite"
        else PostgresDatabase(request.getfixturevalue("postgres").database())
    )
    yield one
    await one.aclose()


@pytest.fixture
def work(folder: ServerFolder) -> Path:
    """The folder whose files the server may read."""
    folder.work.mkdir(exist_ok=True)
    return folder.work


def _constant(request: pytest.FixtureRequest, name: str) -> dict[str, Any]:
    """A table at the top of the test's file; empty where there is none."""
    return getattr(cast("Any", request).module, name, {})
