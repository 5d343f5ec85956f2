"""Work in the background: handed in, waited for, cancelled, moved there in time, done by another after a kill."""

from __future__ import annotations

import json
import signal
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp.client import Client
from tests.support.postgres import PostgresServer
from tests.support.results import data_of, error_of, text_of
from tests.support.server import RawServer, ServerFolder, connect
from tests.upstream import Behaviour, Upstream

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

MODELS: dict[str, tuple[Behaviour, dict[str, Any]]] = {
    "fine": (Behaviour(text="Heard: {echo}"), {}),
    "slow": (Behaviour(text="at last", delay_seconds=5), {}),
    "broken": (Behaviour(status=400, text="no"), {}),
    "hung": (Behaviour(how="hang"), {"timeout_seconds": 300}),
}
SETTINGS = {"default_model": "fine", "provider": "direct"}


async def hand_in(client: Client, **arguments: Any) -> str:
    """Call chat in the background; the job's id."""
    return data_of(await client.call_tool("chat", {"background": True, **arguments}))["job"]


async def ended(client: Client, job: str) -> dict[str, Any]:
    """The job when it has ended."""
    with anyio.fail_after(90):
        while True:
            told = data_of(await client.call_tool("jobs", {"job": job, "action": "wait"}))
            if told["job"]["state"] in {"done", "failed", "cancelled"}:
                return told


async def test_a_call_in_the_background_returns_a_handle_and_its_result_is_there_later(client: Client) -> None:
    handle = await client.call_tool("chat", {"prompt": "think of it", "background": True})
    job = data_of(handle)["job"]
    assert f"jobs(job='{job}', action='wait')" in text_of(handle)
    told = await ended(client, job)
    assert told["job"]["title"] == "chat: think of it"
    assert told["result"]["text"] == "Heard: think of it"
    thread = told["result"]["continuation_id"]
    again = data_of(await client.call_tool("chat", {"prompt": "2", "continuation_id": thread}))
    assert again["text"] == "Heard: 2"
    listed = data_of(await client.call_tool("jobs", {}))
    assert job in [entry["id"] for entry in listed["jobs"]]
    assert "Heard: think of it" in text_of(await client.call_tool("jobs", {"job": f" '{job.upper()}' "}))


async def test_what_is_wrong_with_a_call_is_said_at_once_and_a_failure_later_with_its_reason(client: Client) -> None:
    error = error_of(await client.call_tool("chat", {"promt": "?", "background": True}))
    assert (error["kind"], "Did you mean 'prompt'?" in error["problem"]) == ("InvalidArguments", True)
    assert "true or false" in error_of(await client.call_tool("chat", {"prompt": "?", "background": "yes"}))["problem"]
    told = await ended(client, await hand_in(client, prompt="?", model="broken"))
    assert told["job"]["state"] == "failed"
    assert told["job"]["error"]["kind"] == "VendorRejected"
    assert error_of(await client.call_tool("jobs", {"job": "j-none"}))["kind"] == "UnknownJob"


async def test_a_cancelled_job_stops_at_the_vendor(client: Client, upstream: Upstream) -> None:
    job = await hand_in(client, prompt="never", model="hung")
    assert await anyio.to_thread.run_sync(upstream.wait_for_request, "hung", 1)
    await client.call_tool("jobs", {"job": job, "action": "cancel"})
    assert (await ended(client, job))["job"]["state"] == "cancelled"
    assert await anyio.to_thread.run_sync(upstream.wait_for_disconnect, "hung")


async def test_a_call_that_outlasts_its_client_becomes_a_job_and_is_asked_once(
    tmp_path: Path, models: dict[str, Any], upstream: Upstream
) -> None:
    folder = ServerFolder(path=tmp_path, models=models, settings={**SETTINGS, "client_seconds": 8})
    async with connect(folder) as client:
        before = len(upstream.asked("slow"))
        handle = data_of(await client.call_tool("chat", {"prompt": "take your time", "model": "slow"}))
        assert handle["job"]
        told = await ended(client, handle["job"])
        assert told["result"]["text"] == "at last"
        assert len(upstream.asked("slow")) == before + 1
        quick = data_of(await client.call_tool("chat", {"prompt": "quick"}))
        assert quick["text"] == "Heard: quick"
        refused = error_of(await client.call_tool("chat", {"prompt": "?", "model": "broken"}))
        assert refused["kind"] == "VendorRejected"


async def test_a_job_outlives_kill_9_of_its_server(tmp_path: Path, models: dict[str, Any], upstream: Upstream) -> None:
    folder = ServerFolder(path=tmp_path, models=models, settings=SETTINGS)
    before = len(upstream.asked("slow"))
    async with RawServer(folder) as first:
        await first.initialize()
        arguments = {"prompt": "survive", "model": "slow", "background": True}
        answer = await first.request(1, "tools/call", {"name": "chat", "arguments": arguments})
        job = answer["result"]["structuredContent"]["job"]
        assert await anyio.to_thread.run_sync(upstream.wait_for_request, "slow", before + 1)
        first.process.send_signal(signal.SIGKILL)
        await first.process.wait()
    async with connect(folder) as second:
        told = await ended(second, job)
    assert told["result"]["text"] == "at last"
    assert len(upstream.asked("slow")) == before + 2, "what was not answered is asked again"
    shown = folder.run("jobs", "show", job, "--json")
    assert json.loads(shown.stdout)["state"] == "done"


@pytest.fixture
async def replicas(
    tmp_path: Path, models: dict[str, Any], postgres: PostgresServer
) -> AsyncGenerator[tuple[ServerFolder, ServerFolder]]:
    """Two servers on one Postgres."""
    settings = {**SETTINGS, "database_url": postgres.database()}
    yield (
        ServerFolder(path=tmp_path / "one", models=models, settings=settings),
        ServerFolder(path=tmp_path / "two", models=models, settings=settings),
    )


async def test_replicas_share_the_work_and_no_job_is_done_twice(
    replicas: tuple[ServerFolder, ServerFolder], upstream: Upstream
) -> None:
    async with connect(replicas[0]) as one, connect(replicas[1]) as two:
        before = len(upstream.asked("fine"))
        jobs = [await hand_in(one if number % 2 else two, prompt=f"n{number}") for number in range(12)]
        told = [await ended(two, job) for job in jobs]
        assert [entry["result"]["text"] for entry in told] == [f"Heard: n{number}" for number in range(12)]
        assert len(upstream.asked("fine")) == before + 12


async def test_a_replica_takes_over_what_a_killed_one_left(
    replicas: tuple[ServerFolder, ServerFolder], upstream: Upstream
) -> None:
    before = len(upstream.asked("slow"))
    async with RawServer(replicas[0]) as first:
        await first.initialize()
        arguments = {"prompt": "take over", "model": "slow", "background": True}
        answer = await first.request(1, "tools/call", {"name": "chat", "arguments": arguments})
        job = answer["result"]["structuredContent"]["job"]
        assert await anyio.to_thread.run_sync(upstream.wait_for_request, "slow", before + 1)
        async with connect(replicas[1]) as second:
            await second.call_tool("jobs", {})
            first.process.send_signal(signal.SIGKILL)
            await first.process.wait()
            assert (await ended(second, job))["result"]["text"] == "at last"


async def test_a_worker_from_the_shell_does_what_a_server_was_handed_and_jobs_are_managed_there(
    tmp_path: Path, models: dict[str, Any], upstream: Upstream
) -> None:
    folder = ServerFolder(path=tmp_path, models=models, settings=SETTINGS)
    assert "No jobs" in folder.run("jobs").stdout
    async with RawServer(folder) as server:
        await server.initialize()
        arguments = {"prompt": "for the worker", "model": "slow", "background": True}
        answer = await server.request(1, "tools/call", {"name": "chat", "arguments": arguments})
        job = answer["result"]["structuredContent"]["job"]
        server.process.send_signal(signal.SIGKILL)
        await server.process.wait()
    worker = await anyio.open_process(folder.command("jobs", "work"), env=folder.environ(), cwd=folder.work)
    try:
        waited = await anyio.to_thread.run_sync(lambda: folder.run("jobs", "wait", job, timeout_seconds=90))
    finally:
        worker.send_signal(signal.SIGTERM)
        with anyio.fail_after(20):
            await worker.wait()
    assert waited.returncode == 0, waited.stdout
    assert "at last" in waited.stdout
    assert worker.returncode == 0
    listed = json.loads(folder.run("jobs", "list", "--json").stdout)
    assert [(entry["id"], entry["state"]) for entry in listed] == [(job, "done")]
    assert folder.run("jobs", "cancel", job).returncode == 0, "what has ended stays as it is"
    assert "There is no job 'j-none'" in folder.run("jobs", "show", "j-none").stderr
