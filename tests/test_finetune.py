"""Fine-tuning: examples from threads, checked files, a vendor's job that is followed, its model in the catalog."""

from __future__ import annotations

import json
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp.client import Client
from tests.support.postgres import PostgresServer
from tests.support.results import data_of
from tests.support.server import RawServer, ServerFolder, connect, serve_http, until
from tests.upstream import Behaviour, Upstream

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

MODELS: dict[str, tuple[Behaviour, dict[str, Any]]] = {"base": (Behaviour(text="Heard: {echo}"), {})}
SETTINGS = {"default_model": "base"}
TOKEN = "ghp_" + "a1B2" * 9


def example(number: int) -> str:
    """A line of a training file."""
    said = [{"role": "user", "content": f"q{number}"}, {"role": "assistant", "content": f"a{number}"}]
    return json.dumps({"messages": said})


async def test_threads_become_checked_examples_without_their_secrets(tmp_path: Path, models: dict[str, Any]) -> None:
    folder = ServerFolder(path=tmp_path, models=models, settings=SETTINGS)
    async with connect(folder) as client:
        for number in range(9):
            await client.call_tool("chat", {"prompt": f"question {number}"})
        await client.call_tool("consensus", {"prompt": "which?", "models": ["base", "base:against"]})
        few = folder.run("finetune", "export", "--all", "-o", "few.jsonl")
        assert few.returncode == 1
        assert "9 threads make an example; vendors train with 10 or more" in few.stderr
        said = data_of(await client.call_tool("chat", {"prompt": f"my token is {TOKEN}"}))
        await client.call_tool("chat", {"prompt": "and?", "continuation_id": said["continuation_id"]})
    done = folder.run("finetune", "export", "--all", "-o", "examples.jsonl", "--price", "25")
    assert done.returncode == 0, done.stderr
    assert "10 examples" in done.stderr
    assert "2 secrets replaced" in done.stderr
    text = (folder.work / "examples.jsonl").read_text(encoding="utf-8")
    assert TOKEN not in text
    rows = [json.loads(row)["messages"] for row in text.splitlines()]
    assert sorted(len(row) for row in rows) == [2] * 9 + [4]
    assert {"role": "user", "content": "question 3"} in [message for row in rows for message in row]


async def test_a_broken_training_file_is_refused_by_line_before_anything_is_sent(
    tmp_path: Path, models: dict[str, Any], upstream: Upstream
) -> None:
    folder = ServerFolder(path=tmp_path, models=models, settings=SETTINGS)
    folder.write()
    before = len(upstream.shelf.files)
    rows = [*map(example, range(10)), "nope", '{"messages": [{"role": "user", "content": "?"}]}']
    (folder.work / "bad.jsonl").write_text("\n".join(rows), encoding="utf-8")
    refused = folder.run("finetune", "create", "bad.jsonl", "-m", "base", "-y")
    assert refused.returncode == 1
    assert "line 11: it is not JSON" in refused.stderr
    assert "line 12: its last message is not the assistant's" in refused.stderr
    (folder.work / "few.jsonl").write_text(example(1), encoding="utf-8")
    few = folder.run("finetune", "create", "few.jsonl", "-m", "base", "-y")
    assert "There are 1 examples; vendors train with 10 or more" in few.stderr
    assert len(upstream.shelf.files) == before


async def test_a_finished_model_can_be_asked_by_its_alias_and_a_cancelled_one_stops_at_the_vendor(
    tmp_path: Path, models: dict[str, Any], upstream: Upstream
) -> None:
    folder = ServerFolder(path=tmp_path, models=models, settings=SETTINGS)
    folder.write()
    (folder.work / "good.jsonl").write_text("\n".join(map(example, range(10))), encoding="utf-8")
    upstream.behave("ft:base:mine:1", Behaviour(text="Trained: {echo}"))
    command = ("finetune", "create", "good.jsonl", "-m", "base", "-y", "--json", "--suffix", "mine")
    made = json.loads(folder.run(*command, "--alias", "ours").stdout)
    assert upstream.shelf.tunings[-1]["model"] == "base", "the vendor's own name, without LiteLLM's prefix"
    assert upstream.shelf.purposes[upstream.shelf.tunings[-1]["training_file"]] == "fine-tune"
    worker = await anyio.open_process(folder.command("jobs", "work"), env=folder.environ(), cwd=folder.work)
    try:
        waited = await anyio.to_thread.run_sync(lambda: folder.run("jobs", "wait", made["job"], timeout_seconds=90))
        assert waited.returncode == 0, waited.stdout
        assert "'ours' can be asked" in waited.stdout
        asked = folder.run("ask", "-m", "ours", "hello")
        assert "Trained: hello" in asked.stdout
        taken = folder.run(*command, "--alias", "ours")
        assert "The name 'ours' is that of" in taken.stdout
        upstream.shelf.tuning_looks = 1_000_000
        second = json.loads(folder.run(*command).stdout)
        assert second["name"] == "base-mine"
        stopped = folder.run("finetune", "cancel", second["job"])
        assert "cancelled" in stopped.stdout, stopped.stderr
        assert upstream.shelf.tunings[-1]["status"] == "cancelled"
    finally:
        worker.send_signal(signal.SIGTERM)
        with anyio.fail_after(20):
            await worker.wait()
    assert "ours" in folder.run("models").stdout
    listed = json.loads(folder.run("finetune", "list", "--json").stdout)
    assert [job["state"] for job in listed] == ["cancelled", "done"]


async def test_replicas_see_a_model_that_was_trained_through_another(
    tmp_path: Path, models: dict[str, Any], upstream: Upstream, postgres: PostgresServer
) -> None:
    settings = {**SETTINGS, "database_url": postgres.database()}
    first, second = (ServerFolder(path=tmp_path / name, models=models, settings=settings) for name in ("one", "two"))
    upstream.shelf.tuning_looks = 0
    upstream.behave(f"ft:base:mine:{len(upstream.shelf.tunings) + 1}", Behaviour(text="Trained: {echo}"))
    async with serve_http(first) as one, serve_http(second) as two, one.connect() as here, two.connect() as there:
        for client in (here, there):
            assert (await client.call_tool("chat", {"prompt": "x", "model": "ours"})).is_error
        (first.work / "good.jsonl").write_text("\n".join(map(example, range(10))), encoding="utf-8")
        command = ("finetune", "create", "good.jsonl", "-m", "base", "-y", "--suffix", "mine", "--alias", "ours")
        made = await anyio.to_thread.run_sync(lambda: first.run(*command, "--json", timeout_seconds=90))
        assert made.returncode == 0, made.stderr
        for client in (here, there):

            async def is_known(client: Client = client) -> bool:
                result = await client.call_tool("chat", {"prompt": "hello", "model": "ours"})
                return not result.is_error and data_of(result)["text"] == "Trained: hello"

            await until(is_known)
    third = ServerFolder(path=tmp_path / "three", models=models, settings={**settings, "default_model": "ours"})
    assert "Trained: again" in third.run("ask", "again", timeout_seconds=90).stdout, "a server that starts has it, too"


async def test_a_training_is_followed_on_after_kill_9_and_made_once(
    tmp_path: Path, models: dict[str, Any], upstream: Upstream
) -> None:
    folder = ServerFolder(path=tmp_path, models=models, settings=SETTINGS)
    folder.write()
    (folder.work / "good.jsonl").write_text("\n".join(map(example, range(10))), encoding="utf-8")
    upstream.shelf.tuning_looks = 1_000_000
    files, tunings = len(upstream.shelf.files), len(upstream.shelf.tunings)
    made = json.loads(
        folder.run("finetune", "create", "good.jsonl", "-m", "base", "-y", "--json", "--alias", "kept").stdout
    )
    looks = upstream.shelf.looks
    async with RawServer(folder) as first:
        await first.initialize()
        await until(lambda: is_seen(looks, made["vendor_job"], 1))
        first.process.send_signal(signal.SIGKILL)
        await first.process.wait()
    seen = looks[made["vendor_job"]]
    async with connect(folder) as client:
        await until(lambda: is_seen(looks, made["vendor_job"], seen + 1))
        upstream.shelf.tuning_looks = 0
        with anyio.fail_after(90):
            while True:
                told = data_of(await client.call_tool("jobs", {"job": made["job"], "action": "wait"}))
                if told["job"]["state"] not in {"waiting", "running"}:
                    break
    assert told["job"]["state"] == "done"
    assert told["result"]["model"] == "kept"
    assert (len(upstream.shelf.files), len(upstream.shelf.tunings)) == (files + 1, tunings + 1)
    assert "kept" in folder.run("models").stdout


async def is_seen(looks: Mapping[str, int], vendor_job: str, times: int) -> bool:
    """Whether the vendor's job was asked about so often."""
    return looks.get(vendor_job, 0) >= times
