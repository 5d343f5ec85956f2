"""Health: each part is looked at, and only what no call can do without makes a server unready."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.support.results import data_of
from tests.support.server import ServerFolder, serve_http, until
from tests.upstream import Behaviour

from zen_mcp.errors import StorageError
from zen_mcp.health import check_disk

pytestmark = pytest.mark.anyio

MODELS: dict[str, tuple[Behaviour, dict[str, Any]]] = {"fine": (Behaviour(text="Fine."), {})}


@pytest.fixture
def server(tmp_path: Path, models: dict[str, dict[str, Any]]) -> ServerFolder:
    """A folder of a server with a limit."""
    return ServerFolder(
        path=tmp_path,
        models=models,
        settings={"default_model": "fine"},
        limits={"rate_limits": {"global": {"tokens_per_day": 1_000_000}}},
    )


async def test_a_ledger_and_limits_that_fail_are_told_while_calls_go_on(server: ServerFolder) -> None:
    async with serve_http(server) as served, served.http() as http, served.connect() as client:

        async def checks() -> dict[str, str]:
            answer = await http.get("/readyz")
            assert answer.status_code == (200 if answer.json()["ready"] else 503)
            return answer.json()["checks"]

        async def are_ok() -> bool:
            return set((await checks()).values()) == {"ok"}

        await until(are_ok)
        assert list(await checks()) == ["warm_up", "database", "provider", "ledger", "limits", "jobs", "disk"]
        _sql(server, "ALTER TABLE ledger RENAME TO ledger_away", "ALTER TABLE counters RENAME TO counters_away")
        assert data_of(await client.call_tool("chat", {"prompt": "hi"}))["text"] == "Fine."

        async def is_told() -> bool:
            found = await checks()
            return (found["ledger"], found["limits"]) == ("failing", "failing")

        await until(is_told)
        assert (await http.get("/readyz")).json()["ready"] is True
        _sql(server, "ALTER TABLE ledger_away RENAME TO ledger", "ALTER TABLE counters_away RENAME TO counters")
        await until(are_ok)


def _sql(folder: ServerFolder, *statements: str) -> None:
    with closing(sqlite3.connect(folder.path / "state" / "zen.db", timeout=30)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def _lines(folder: ServerFolder) -> Sequence[str]:
    done = folder.run("doctor", "--no-ask", "--json")
    return [entry["what"] for entry in json.loads(done.stdout)]


def test_the_doctor_looks_at_the_same_parts(server: ServerFolder) -> None:
    lines = _lines(server)
    assert {"limits: in order", "jobs: in order", "disk: in order"} <= set(lines)


def test_a_disk_that_is_nearly_full_is_told(tmp_path: Path) -> None:
    check_disk(tmp_path / "not" / "there" / "yet", least_bytes=1)
    with pytest.raises(StorageError, match="MB left") as raised:
        check_disk(tmp_path, least_bytes=2**62)
    assert str(tmp_path) in raised.value.problem
