"""Threads through the front door: continued by any tool, byte-stable, there after a crash, safe among processes."""

from __future__ import annotations

import itertools
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp.client import Client
from tests.support.results import data_of, error_of, text_of
from tests.support.server import RawServer, ServerFolder, connect
from tests.upstream import Behaviour, Upstream

pytestmark = pytest.mark.anyio

MODELS: dict[str, tuple[Behaviour, dict[str, Any]]] = {
    "fine": (Behaviour(text="Heard: {echo}"), {}),
    "other": (Behaviour(text="Other: {echo}"), {}),
    "plain": (Behaviour(text="ok"), {}),
    "small": (Behaviour(text="ok"), {"context_window": 2_000}),
}
SETTINGS = {"default_model": "fine", "provider": "direct"}


async def say(client: Client, prompt: str, thread: str | None = None, **more: Any) -> str:
    """One chat; the thread's id."""
    arguments = {"prompt": prompt, **({"continuation_id": thread} if thread else {}), **more}
    return data_of(await client.call_tool("chat", arguments))["continuation_id"]


async def test_a_thread_goes_on_with_real_messages_oldest_first(client: Client, upstream: Upstream) -> None:
    thread = await say(client, "first")
    assert await say(client, "second", thread) == thread
    sent = [(message["role"], message["content"]) for message in upstream.asked("fine")[-1].messages[1:]]
    assert sent == [("user", "first"), ("assistant", "Heard: first"), ("user", "second")]


async def test_the_prefix_is_byte_identical_from_turn_to_turn(client: Client, upstream: Upstream, work: Path) -> None:
    (work / "module.py").write_text("x = 1\n" * 2_000, encoding="utf-8")
    thread = await say(client, "turn 1", model="plain", files=[str(work / "module.py")])
    for number in range(2, 13):
        files = [str(work / "module.py")] if number == 6 else []
        await say(client, f"turn {number}", thread, model="plain", files=files)
    bodies = [json.dumps(request.messages)[:-1] for request in upstream.asked("plain")]
    for earlier, later in itertools.pairwise(bodies):
        assert later.startswith(earlier), "what was sent once is sent again as it was"
    assert len(bodies) == 12
    assert bodies[-1].count("x = 1") == 2_000, "a file named again is sent once"


async def test_a_changed_file_is_sent_with_its_newest_content_only(
    client: Client, upstream: Upstream, work: Path
) -> None:
    path = work / "changing.py"
    path.write_text("version = 'old'\n", encoding="utf-8")
    thread = await say(client, "look", model="plain", files=[str(path)])
    path.write_text("version = 'new'\n", encoding="utf-8")
    await say(client, "again", thread, model="plain", files=[str(path)])
    sent = json.dumps(upstream.asked("plain")[-1].messages)
    assert "version = 'new'" in sent
    assert "version = 'old'" not in sent


async def test_any_tool_goes_on_with_any_thread(client: Client, upstream: Upstream) -> None:
    thread = await say(client, "The word is bluebird.")
    arguments = {"prompt": "Which word?", "models": ["fine", "other"], "continuation_id": thread}
    panel = data_of(await client.call_tool("consensus", arguments))
    await say(client, "And now?", thread, model="other")
    assert panel["continuation_id"] == thread
    assert "bluebird" in str(upstream.asked("other")[0].messages)
    last = [message["content"] for message in upstream.asked("other")[-1].messages[1:]]
    assert last == [
        "The word is bluebird.",
        "Heard: The word is bluebird.",
        "Which word?",
        "Other: Which word?",
        "And now?",
    ]


async def test_a_model_that_was_not_on_the_panel_gets_every_answer_under_its_name(
    client: Client, upstream: Upstream
) -> None:
    panel = data_of(await client.call_tool("consensus", {"prompt": "Well?", "models": ["fine", "other"]}))
    await say(client, "Sum up.", panel["continuation_id"], model="small")
    assert upstream.asked("small")[-1].messages[2]["content"] == "[fine]\nHeard: Well?\n\n[other]\nOther: Well?"


async def test_what_does_not_fit_is_left_out_from_the_oldest_on(client: Client, upstream: Upstream) -> None:
    thread = await say(client, "word " * 400, model="small")
    for number in range(6):
        await say(client, f"{number} " + "more " * 200, thread, model="small")
    sent = upstream.asked("small")[-1].messages
    assert len(json.dumps(sent)) < 2_000 * 3.5
    assert sent[-1]["content"].startswith("5 more")
    assert "word word" not in str(sent)


@pytest.mark.slow
async def test_a_thread_is_there_after_a_restart_and_after_kill_9(folder: ServerFolder, upstream: Upstream) -> None:
    async with connect(folder) as first:
        thread = await say(first, "before the restart")
    async with RawServer(folder) as second:
        await second.initialize()
        arguments = {"prompt": "before the kill", "continuation_id": thread}
        await second.request(1, "tools/call", {"name": "chat", "arguments": arguments})
        second.process.kill()
        await second.process.wait()
    async with connect(folder) as third:
        await say(third, "after", thread)
    said = [message["content"] for message in upstream.asked("fine")[-1].messages if message["role"] == "user"]
    assert said == ["before the restart", "before the kill", "after"]


async def test_two_calls_on_one_thread_at_once_lose_nothing(client: Client) -> None:
    thread = await say(client, "start")
    async with anyio.create_task_group() as group:
        for number in range(8):
            group.start_soon(say, client, f"call {number}", thread)
    shown = text_of(await client.call_tool("threads", {"continuation_id": thread}))
    for number in range(8):
        assert f"Heard: call {number}" in shown
    assert "## 18 · fine" in shown, "nine questions and nine answers, each with a number of its own"


@pytest.mark.slow
async def test_several_server_processes_share_one_file(folder: ServerFolder) -> None:
    async with connect(folder) as one, connect(folder) as two, connect(folder) as three:
        thread = await say(one, "start")
        async with anyio.create_task_group() as group:
            for number, server in enumerate([one, two, three] * 4):
                group.start_soon(say, server, f"from {number}", thread)
        shown = text_of(await two.call_tool("threads", {"continuation_id": thread}))
    assert all(f"Heard: from {number}" in shown for number in range(12))


async def test_threads_are_listed_the_last_used_first(client: Client) -> None:
    older, newer = await say(client, "older question"), await say(client, "newer question")
    listed = data_of(await client.call_tool("threads", {}))["threads"]
    assert [entry["continuation_id"] for entry in listed[:2]] == [newer, older]
    assert listed[0]["title"] == "newer question"
    assert listed[0]["turns"] == 2


@pytest.mark.slow
async def test_an_expired_thread_is_said_to_be_gone(folder: ServerFolder) -> None:
    expiring = ServerFolder(
        path=folder.path, models=folder.models, settings={"default_model": "fine", "thread_retention_days": 1}
    )
    async with connect(folder) as client:
        thread = await say(client, "old")
    yesterday = "UPDATE threads SET updated_at = updated_at - 90000"
    program = f"from zen_mcp.storage.sqlite import driver; c = driver().connect({str(folder.path / 'state/zen.db')!r});"
    program += f"c.execute({yesterday!r}); c.commit()"
    done = await anyio.run_process([sys.executable, "-c", program])
    assert done.returncode == 0
    async with connect(expiring) as client:
        error = error_of(await client.call_tool("chat", {"prompt": "x", "continuation_id": thread}))
    assert error["kind"] == "UnknownThread"
    assert "threads unused for 1 days are removed" in error["problem"]


async def test_the_database_is_readable_to_its_owner_alone(folder: ServerFolder, client: Client) -> None:
    await say(client, "private")
    database = folder.path / "state" / "zen.db"
    if sys.platform != "win32":
        assert database.stat().st_mode & 0o077 == 0
        assert database.parent.stat().st_mode & 0o077 == 0


@pytest.mark.slow
async def test_a_server_that_is_stopped_in_the_middle_of_a_call_leaves_a_whole_database(
    folder: ServerFolder, upstream: Upstream
) -> None:
    upstream.behave("other", Behaviour(how="hang"))
    before = len(upstream.asked("other"))
    try:
        async with RawServer(folder) as server:
            await server.initialize()
            call = {"name": "chat", "arguments": {"prompt": "never answered", "model": "other"}}
            await server.send({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call})
            assert await anyio.to_thread.run_sync(upstream.wait_for_request, "other", before + 1)
            os.kill(server.process.pid, signal.SIGTERM)
            with anyio.fail_after(5):
                assert await server.process.wait() == 0
    finally:
        upstream.behave("other", Behaviour(text="Other: {echo}"))
    async with connect(folder) as client:
        listed = data_of(await client.call_tool("threads", {}))["threads"]
    assert all(entry["title"] != "never answered" for entry in listed)
