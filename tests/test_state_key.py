"""A question to the client that one process began to ask is finished at another that has the same key."""

from __future__ import annotations

import json
import re
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import anyio
import pytest
from tests.support.server import Served, ServerFolder, rpc, serve_http

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(180)]

ASKING = """
import os

from zen_mcp.tools import ToolContext, ToolParams, tool
from zen_mcp.tools.client import ask_client, elicit
from zen_mcp.types import ToolResponse

SCHEMA = {"type": "object", "properties": {"branch": {"type": "string"}}, "required": ["branch"]}

class AskingParams(ToolParams):
    '''Ask which branch.'''
    why: str = ""

@tool()
async def asking(params: AskingParams, context: ToolContext) -> ToolResponse:
    answer = context.request.answers.get("branch")
    if answer is None:
        return ask_client({"branch": elicit("Which branch?", SCHEMA)}, state=f"kept by {os.getpid()}")
    text = f"{answer['content']['branch']}, {context.request.state}, told by {os.getpid()}"
    return ToolResponse(text=text, structured={"text": text})
"""
OLD, NEW, OTHER = "0" * 32, "1" * 32, "2" * 32
ABLE: dict[str, Any] = {"_meta": {"io.modelcontextprotocol/clientCapabilities": {"elicitation": {}}}}
ANSWERS = {"branch": {"action": "accept", "content": {"branch": "main"}}}


def replica(path: Path, http: dict[str, Any], **more: Any) -> ServerFolder:
    """A server whose plugin asks the client."""
    plugin = path / "plugins" / "asking"
    plugin.mkdir(parents=True)
    (plugin / "tool.py").write_text(ASKING, encoding="utf-8")
    environment = more.pop("environment", {})
    settings = {"plugin_folders": [str(path / "plugins")], "http": http, **more}
    return ServerFolder(path=path, settings=settings, environment=environment)


async def call(served: Served, headers: dict[str, str] | None = None, **more: Any) -> dict[str, Any]:
    """One request to a tool that asks: its result, or the error."""
    params = {"name": "asking", "arguments": {"why": "test"}, **ABLE, **more}
    async with served.http() as http:
        answer = await http.post("/mcp", **rpc("tools/call", params, headers))
    line = next((line for line in answer.text.splitlines() if line.startswith("data:")), answer.text)
    body = json.loads(line.removeprefix("data:"))
    return body.get("result") or body["error"]


async def asked(served: Served, headers: dict[str, str] | None = None) -> str:
    """Begin: the sealed state."""
    begun = await call(served, headers)
    assert begun["resultType"] == "input_required", begun
    assert begun["inputRequests"]["branch"]["method"] == "elicitation/create"
    assert "kept by" not in begun["requestState"]
    return begun["requestState"]


async def finished(served: Served, state: str, headers: dict[str, str] | None = None) -> dict[str, Any]:
    """Answer the question."""
    return await call(served, headers, requestState=state, inputResponses=ANSWERS)


def is_refused(result: dict[str, Any]) -> bool:
    """Whether the seal was not opened, with the reason that a person can do something with."""
    if "code" not in result:
        return False
    assert result["code"] == -32602
    assert "Call the tool again" in result["message"]
    assert "http.state_key" in result["message"]
    return True


async def test_a_replica_finishes_what_another_began_to_ask(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"{OLD}\n")
    by_file = {"STATE_KEY_FILE": str(tmp_path / "key")}
    first = replica(tmp_path / "first", {"state_key": [OLD]})
    second = replica(tmp_path / "second", {"state_key": "${STATE_KEY}"}, environment=by_file)
    async with serve_http(first) as one, serve_http(second) as two:
        result = await finished(two, await asked(one))
        assert result["structuredContent"]["text"] == (f"main, kept by {one.process.pid}, told by {two.process.pid}")
        assert OLD not in one.log.read_text() + two.log.read_text()


async def test_a_seal_of_another_key_is_refused_and_keys_can_be_changed_one_replica_after_the_other(
    tmp_path: Path,
) -> None:
    steps = {"old": [OLD], "both": [OLD, NEW], "new-first": f"{NEW}, {OLD}", "new": [NEW], "other": [OTHER], "none": []}
    async with AsyncExitStack() as stack:
        served = {
            name: await stack.enter_async_context(serve_http(replica(tmp_path / name, {"state_key": keys})))
            for name, keys in steps.items()
        }
        states = {name: await asked(one) for name, one in served.items()}
        opened = {
            name: {by for by, state in states.items() if not is_refused(await finished(one, state))}
            for name, one in served.items()
        }
    assert opened == {
        "old": {"old", "both"},
        "both": {"old", "both", "new-first", "new"},
        "new-first": {"old", "both", "new-first", "new"},
        "new": {"new-first", "new"},
        "other": {"other"},
        "none": {"none"},
    }
    assert "requestState rejected on tools/call: unknown key" in (tmp_path / "none" / "stderr.log").read_text()


async def test_a_seal_holds_for_the_same_call_of_the_same_user(tmp_path: Path) -> None:
    http = {"state_key": OLD, "trusted_proxies": ["127.0.0.1"]}
    ann, ben = {"X-User": "ann"}, {"X-User": "ben"}
    async with serve_http(replica(tmp_path, http, auth={"identity_header": "X-User"})) as served:
        state = await asked(served, ann)
        assert is_refused(await finished(served, state, ben))
        assert is_refused(await finished(served, state[:-4] + "AAAA", ann))
        other = await call(served, ann, requestState=state, inputResponses=ANSWERS, arguments={"why": "something else"})
        assert is_refused(other)
        assert (await finished(served, state, ann))["structuredContent"]["text"].startswith("main, kept by")


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")
async def test_the_processes_of_one_server_share_a_key_that_nobody_sees(tmp_path: Path) -> None:
    async with serve_http(replica(tmp_path, {"workers": 2})) as served:
        state = await asked(served)
        tellers: set[str] = set()
        with anyio.fail_after(90):
            while len(tellers) < 2:
                text: str = (await finished(served, state))["structuredContent"]["text"]
                assert text.startswith("main, kept by")
                tellers.add(text.rpartition(" ")[2])
        for teller in tellers:
            command, environment = (Path("/proc", teller, name) for name in ("cmdline", "environ"))
            seen = command.read_bytes() + environment.read_bytes()
            assert not re.search(rb"[0-9a-f]{64}|state_key", seen)


def test_keys_that_can_be_guessed_and_replicas_without_one_are_told(tmp_path: Path) -> None:
    short = ServerFolder(path=tmp_path / "short", settings={"http": {"state_key": "too-short"}})
    done = short.run("config", "check")
    assert done.returncode == 1
    assert "http.state_key: must have 32 characters or more; `openssl rand -hex 32` prints some" in done.stdout
    twice = ServerFolder(path=tmp_path / "twice", settings={"http": {"state_key": [OLD, OLD]}})
    assert "the same key stands there twice" in twice.run("config", "check").stdout
    shared = {"database_url": "postgresql://zen@127.0.0.1:9/zen", "redis_url": "redis://127.0.0.1:9/0"}
    without = ServerFolder(path=tmp_path / "without", settings=shared)
    assert "http.state_key is not" in without.run("config", "check").stdout
    with_key = ServerFolder(path=tmp_path / "with", settings={**shared, "http": {"state_key": OLD}})
    assert "state_key" not in with_key.run("config", "check").stdout
