"""The two chains: ours by name, foreign ones by a dotted path, in the settings' order; one failing hurts its call."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anyio
import pytest
from tests.support.results import data_of, text_of
from tests.support.server import ServerFolder, connect, openai_model
from tests.upstream import Behaviour, Upstream

pytestmark = pytest.mark.anyio

STEPS = '''
import json, os, sys
from dataclasses import replace

def note(event, **fields):
    with open(os.environ["STEPS_FILE"], "a", encoding="utf-8") as file:
        file.write(json.dumps({"event": event, **fields}) + "\\n")

class Watcher:
    """With a method, as other servers have it."""

    async def process_request(self, request, call_next):
        note("tool", tool=request.tool, user=request.caller.user_id, arguments=sorted(request.arguments))
        response = await call_next(request)
        note("tool done", has_text=bool(response.text))
        return response

class Caller:
    async def __call__(self, request, call_next):
        note("model", model=request.model, tool=request.tool, messages=len(request.messages))
        response = await call_next(replace(request, temperature=0.25))
        note("model done", model=response.model, tokens=response.usage.total_tokens)
        return response

async def function(request, call_next):
    note("function", tool=request.tool)
    return await call_next(request)

def passing(request, call_next):
    return call_next(request)

async def fails(request, call_next):
    what = request.messages[-1].text
    if "crash" in what:
        raise ValueError("a bug with sk-test-0123456789abcdef in it")
    if "leave" in what:
        sys.exit(3)
    if "nothing" in what:
        return None
    return await call_next(request)

not_a_step = 5

class Broken:
    def __init__(self):
        raise OSError("no such device")
'''


def folder_with(path: Path, upstream: Upstream, middleware: dict[str, Any], **models: Any) -> ServerFolder:
    (path / "steps").mkdir()
    (path / "steps" / "mysteps.py").write_text(STEPS, encoding="utf-8")
    return ServerFolder(
        path=path,
        models={"plain": openai_model(upstream.url), "other": openai_model(upstream.url), **models},
        settings={"middleware": middleware, "default_model": "plain"},
        environment={"PYTHONPATH": str(path / "steps"), "STEPS_FILE": str(path / "noted.jsonl")},
    )


def noted(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (path / "noted.jsonl").read_text(encoding="utf-8").splitlines()]


async def test_each_step_sees_its_call_in_the_order_of_the_settings(tmp_path: Path, upstream: Upstream) -> None:
    middleware = {
        "tools": ["mysteps:Watcher", "default", "mysteps:function"],
        "models": ["log", "mysteps:Caller", "mysteps:passing", "cache", "json"],
    }
    async with connect(folder_with(tmp_path, upstream, middleware)) as client:
        data_of(await client.call_tool("chat", {"prompt": "hello"}))
    assert noted(tmp_path) == [
        {"event": "tool", "tool": "chat", "user": "local", "arguments": ["prompt"]},
        {"event": "function", "tool": "chat"},
        {"event": "model", "model": "plain", "tool": "chat", "messages": 2},
        {"event": "model done", "model": "plain", "tokens": upstream_tokens(upstream)},
        {"event": "tool done", "has_text": True},
    ]
    assert upstream.asked("plain")[-1].body["temperature"] == 0.25, "a step may hand on a changed copy"


def upstream_tokens(upstream: Upstream) -> int:
    """What the upstream says that it counted: a word is a token."""
    messages: list[dict[str, Any]] = upstream.asked("plain")[-1].body["messages"]
    return sum(len(json.dumps(message["content"]).split()) for message in messages) + len(Behaviour().text.split())


async def test_a_consensus_is_one_tool_call_and_a_model_request_for_each_member(
    tmp_path: Path, upstream: Upstream
) -> None:
    middleware = {"tools": ["mysteps:function", "default"], "models": ["mysteps:Caller", "default"]}
    async with connect(folder_with(tmp_path, upstream, middleware)) as client:
        data_of(await client.call_tool("consensus", {"prompt": "hello", "models": ["plain", "other"]}))
    events = [one["event"] for one in noted(tmp_path)]
    assert events[0] == "function"
    assert sorted(events) == ["function", "model", "model", "model done", "model done"]


async def test_a_foreign_step_that_fails_spoils_its_own_call_only(tmp_path: Path, upstream: Upstream) -> None:
    upstream.behave("slow", Behaviour(text="slow but whole", delay_seconds=1.0))
    folder = folder_with(tmp_path, upstream, {"models": ["default", "mysteps:fails"]}, slow=openai_model(upstream.url))
    results: list[Any] = []
    failed: list[Any] = []
    async with connect(folder) as client:

        async def ask() -> None:
            results.append(await client.call_tool("chat", {"prompt": "hello", "model": "slow"}))

        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            assert await anyio.to_thread.run_sync(upstream.wait_for_request, "slow")
            for what in ("crash", "leave", "nothing"):
                failed.append(await client.call_tool("chat", {"prompt": what}))  # noqa: PERF401 - outlives the group
        assert data_of(results[0])["text"] == "slow but whole"
        assert data_of(await client.call_tool("chat", {"prompt": "and after"}))["text"] == "ok"
        panel = await client.call_tool("consensus", {"prompt": "crash", "models": ["plain", "other"]})
    log = (tmp_path / "stderr.log").read_text(encoding="utf-8")
    for result in (*failed, panel):
        assert result.is_error
        error: dict[str, Any] = result.structured_content["error"]
        assert error["kind"] == "InternalError"
        assert error["call_id"] in text_of(result)
        assert error["call_id"] in log, "the log has the details of the id"
        assert "bug" not in text_of(result)
    assert "ValueError: a bug with" in log
    assert "the middleware 'mysteps:fails' wanted to end the server" in log
    assert "the middleware 'mysteps:fails' returned NoneType, not a ModelResponse" in log


@pytest.mark.parametrize(
    ("middleware", "says"),
    [
        ({"tools": ["default", "lgo"]}, "middleware.tools[1]: there is no middleware 'lgo'. Did you mean 'log'?"),
        ({"models": ["cachet"]}, "middleware.models[0]: there is no middleware 'cachet'. Did you mean 'cache'?"),
        ({"models": ["mysteps:Watchr"]}, "the module 'mysteps' has no 'Watchr'. Did you mean 'Watcher'?"),
        ({"models": ["nosuch.module:X"]}, "cannot be imported: No module named 'nosuch'. Install its package"),
        ({"models": ["mysteps:not_a_step"]}, "can neither be called nor has it a method 'process_request'"),
        ({"tools": ["mysteps:Broken"]}, "'mysteps:Broken' cannot be made: OSError: no such device. Mend it"),
        ({"tools": ["log", "log"]}, "middleware.tools[1]: 'log' stands in the chain twice. Keep one of them."),
        ({"tool": ["log"]}, "unknown key 'tool'. Did you mean 'tools'?"),
    ],
)
async def test_a_wrong_chain_is_told_with_its_place(
    tmp_path: Path, upstream: Upstream, middleware: dict[str, Any], says: str
) -> None:
    folder = folder_with(tmp_path, upstream, middleware)
    done = await anyio.to_thread.run_sync(folder.run, "config", "check")
    assert done.returncode == 1
    assert says in done.stdout
    assert "server.yaml:1: " in done.stdout


async def test_a_checkout_cannot_bring_a_step(tmp_path: Path, upstream: Upstream) -> None:
    folder = folder_with(tmp_path, upstream, {})
    folder.write()
    (folder.work / ".zen").mkdir()
    (folder.work / ".zen" / "server.yaml").write_text("middleware: {models: ['mysteps:Broken']}\n", encoding="utf-8")
    done = await anyio.to_thread.run_sync(folder.run, "config", "check")
    assert done.returncode == 1
    assert "middleware.models: cannot be set by the working directory's own '.zen' folder." in done.stdout
