"""A disk without room: the answer comes all the same, says that it was not stored, and nothing that was is lost."""

from __future__ import annotations

import resource
from collections.abc import AsyncGenerator, Generator
from contextlib import contextmanager
from typing import Any

import anyio
import pytest
from mcp.client import Client
from tests.support.results import data_of, text_of
from tests.support.server import Served, ServerFolder, serve_http, until
from tests.upstream import Behaviour, Upstream

pytestmark = pytest.mark.anyio

MODELS: dict[str, tuple[Behaviour, dict[str, Any]]] = {
    "fine": (Behaviour(text="An answer."), {}),
    "counted": (Behaviour(text="An answer."), {}),
    "slow": (Behaviour(text="At last.", delay_seconds=2), {}),
}
SETTINGS = {"default_model": "fine"}
LONG = "a long question " * 20_000


@pytest.fixture(scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory, models: dict[str, dict[str, Any]]) -> AsyncGenerator[Served]:
    """A server whose disk gets full now and then."""
    folder = ServerFolder(path=tmp_path_factory.mktemp("disk"), models=models, settings=SETTINGS)
    async with serve_http(folder) as running:
        yield running


@contextmanager
def full_disk(served: Served) -> Generator[None]:
    """No file of this process may grow any further: what a full disk does to SQLite, without a disk to fill."""
    _, most = resource.prlimit(served.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(served.process.pid, resource.RLIMIT_FSIZE, (8192, most))
    try:
        yield
    finally:
        resource.prlimit(served.process.pid, resource.RLIMIT_FSIZE, (most, most))


async def ledger_is(served: Served, state: str) -> bool:
    """Whether the server says so of its ledger."""
    async with served.http() as http:
        return (await http.get("/readyz")).json()["checks"]["ledger"] == state


async def requests_in_ledger(client: Client) -> int:
    """How many requests to the model that only one test asks the ledger has."""
    lines = data_of(await client.call_tool("usage", {"by": "model"}))["lines"]
    return sum(line["requests"] for line in lines if line["name"] == "counted")


async def test_an_answer_that_finds_no_room_is_given_and_what_is_stored_stays(served: Served) -> None:
    async with served.connect() as client:
        first = data_of(await client.call_tool("chat", {"prompt": "before"}))
        thread = first["continuation_id"]
        assert (served.log.parent / "state" / "zen.db").exists()
        with full_disk(served):
            full = await client.call_tool("chat", {"prompt": LONG, "continuation_id": thread})
            assert data_of(full)["text"] == "An answer."
            assert "not stored, so it cannot be continued" in text_of(full)
            assert "continuation_id" not in data_of(full)
        after = data_of(await client.call_tool("chat", {"prompt": "after", "continuation_id": thread}))
        assert after["continuation_id"] == thread
        told = text_of(await client.call_tool("threads", {"action": "read", "continuation_id": thread}))
    assert [word in told for word in ("before", "after", "a long question")] == [True, True, False]


@pytest.mark.slow
async def test_what_was_spent_meanwhile_is_in_the_ledger_when_there_is_room_again(served: Served) -> None:
    async with served.connect() as client:

        async def ask(prompt: str) -> str:
            return data_of(await client.call_tool("chat", {"prompt": prompt, "model": "counted"}))["text"]

        async def has(requests: int) -> bool:
            return await requests_in_ledger(client) >= requests

        await ask("first")
        await until(lambda: has(1))
        with full_disk(served):
            assert [await ask(f"n{number}") for number in range(3)] == ["An answer."] * 3
            await until(lambda: ledger_is(served, "failing"))
        await until(lambda: has(4))
        assert await requests_in_ledger(client) == 4
        await until(lambda: ledger_is(served, "ok"))


@pytest.mark.slow
async def test_a_job_whose_result_finds_no_room_has_it_when_there_is_room_again(
    served: Served, upstream: Upstream
) -> None:
    async with served.connect() as client:
        job = data_of(await client.call_tool("chat", {"prompt": "x", "model": "slow", "background": True}))["job"]
        assert await anyio.to_thread.run_sync(lambda: upstream.wait_for_request("slow", 1, seconds=60))
        with full_disk(served):
            await until(lambda: ledger_is(served, "failing"))  # which is written when the call has ended
            assert data_of(await client.call_tool("jobs", {"job": job}))["job"]["state"] == "running"
        with anyio.fail_after(90):
            while True:
                told = data_of(await client.call_tool("jobs", {"job": job, "action": "wait"}))
                if told["job"]["state"] not in {"waiting", "running"}:
                    break
        assert (told["job"]["state"], told["result"]["text"]) == ("done", "At last.")
        assert len(upstream.asked("slow")) == 1, "what it came to was not lost"
