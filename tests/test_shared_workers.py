"""`http.workers`: what several processes of one server share: threads, metrics, their end."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from tests.support.server import Served, ServerFolder, openai_model, rpc, serve_http, until
from tests.upstream import Behaviour, Upstream

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.slow,
    pytest.mark.timeout(180),
    pytest.mark.skipif(os.name != "posix", reason="Windows cannot hand sockets on"),
]

WHO = """
import os

from zen_mcp.tools import ToolContext, ToolParams, tool
from zen_mcp.types import ToolResponse

class WhoParams(ToolParams):
    '''Say which process answers.'''

@tool()
async def who(params: WhoParams, context: ToolContext) -> ToolResponse:
    return ToolResponse(text=str(os.getpid()), structured={"pid": os.getpid()})
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One connection, which stays with one worker."""

    pid: int
    http: httpx2.AsyncClient

    async def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """Call a tool: its structured answer."""
        return await called(self.http, tool, **arguments)

    async def metrics(self) -> str:
        """What this worker tells Prometheus."""
        answer = await self.http.get("/metrics")
        assert answer.status_code == 200
        return answer.text


async def called(http: httpx2.AsyncClient, tool: str, **arguments: Any) -> dict[str, Any]:
    answer = await http.post("/mcp", **rpc("tools/call", {"name": tool, "arguments": arguments}))
    line = next((line for line in answer.text.splitlines() if line.startswith("data:")), answer.text)
    result = json.loads(line.removeprefix("data:"))["result"]
    assert not result.get("isError"), result
    return result["structuredContent"]


@asynccontextmanager
async def serving(path: Path, upstream: Upstream) -> AsyncGenerator[Served]:
    """A server of several processes."""
    plugin = path / "plugins" / "who"
    plugin.mkdir(parents=True)
    (plugin / "tool.py").write_text(WHO, encoding="utf-8")
    settings = {"plugin_folders": [str(path / "plugins")], "http": {"workers": 2}, "default_model": "fine"}
    models = {"fine": openai_model(upstream.url, timeout_seconds=80)}
    (path / "tmp").mkdir()
    environment = {"TMPDIR": str(path / "tmp")}
    folder = ServerFolder(path=path, models=models, settings=settings, environment=environment)
    async with serve_http(folder) as served:
        yield served


@asynccontextmanager
async def lines_to(served: Served, number: int = 2) -> AsyncGenerator[list[Line]]:
    """A connection to each of the workers."""
    found: dict[int, Line] = {}
    async with AsyncExitStack() as stack:
        with anyio.fail_after(90):
            while len(found) < number:
                http = await stack.enter_async_context(served.http())
                pid = int((await called(http, "who"))["pid"])
                found.setdefault(pid, Line(pid=pid, http=http))
        yield list(found.values())


def value(text: str, name: str, **labels: str) -> float:
    """The value of one sample."""
    said = ",".join(f'{label}="{word}"' for label, word in sorted(labels.items()))
    sample = f"{name}{{{said}}}" if labels else name
    found = re.findall(rf"^{re.escape(sample)} (\S+)$", text, re.MULTILINE)
    assert len(found) == 1, f"{sample} in {text}"
    return float(found[0])


def any_left(folder: Path) -> bool:
    """Whether something was left behind in a folder."""
    return any(True for _ in folder.iterdir())


def is_running(pid: int) -> bool:
    """Whether there is such a process, other than as a zombie."""
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:
        return False


async def test_a_thread_goes_on_at_whichever_process_takes_the_connection(tmp_path: Path, upstream: Upstream) -> None:
    upstream.behave("fine", Behaviour(text="Heard: {echo}"))
    async with serving(tmp_path, upstream) as served, lines_to(served) as lines:
        thread: dict[str, str] = {}
        for number in range(4):
            answer = await lines[number % 2].call("chat", prompt=f"word {number}", **thread)
            assert answer["text"] == f"Heard: word {number}"
            thread = {"continuation_id": answer["continuation_id"]}
    said = [message["content"] for message in upstream.asked("fine")[-1].messages[1:]]
    assert said == ["word 0", "Heard: word 0", "word 1", "Heard: word 1", "word 2", "Heard: word 2", "word 3"]


async def test_metrics_are_those_of_all_processes_whichever_is_asked(tmp_path: Path, upstream: Upstream) -> None:
    upstream.behave("fine", Behaviour(text="one two"))
    async with serving(tmp_path, upstream) as served, lines_to(served) as lines:
        first, second = lines
        for line in (first, first, first, second, second):
            await line.call("chat", prompt="x", cache="off")
        for line in lines:
            text = await line.metrics()
            assert value(text, "tool_calls_total", tool="chat", status="ok") == 5
            assert value(text, "tool_execution_seconds_count", tool="chat") == 5
            assert value(text, "tool_execution_seconds_bucket", tool="chat", le="+Inf") == 5
            assert value(text, "model_tokens_total", model="fine", type="output") == 10
            assert value(text, "model_requests_in_flight", model="fine") == 0
            assert value(text, "ledger_rows_lost") == 0
            assert len(re.findall("^zen_build_info{", text, re.MULTILINE)) == 1
            assert "pid=" not in text
            if sys.platform == "linux":
                assert value(text, "process_resident_memory_bytes") > 2 * 50e6
    assert not any_left(tmp_path / "tmp")


async def test_what_a_killed_process_counted_stays_and_what_it_had_under_way_goes(
    tmp_path: Path, upstream: Upstream
) -> None:
    async with serving(tmp_path, upstream) as served, lines_to(served) as (first, second):
        await first.call("chat", prompt="x")
        await second.call("chat", prompt="y")
        upstream.behave("fine", Behaviour(how="hang"))
        async with anyio.create_task_group() as group:
            group.start_soon(hang, first)
            assert await anyio.to_thread.run_sync(upstream.wait_for_request, "fine", 3)
            assert value(await second.metrics(), "tool_calls_in_flight", tool="chat") == 1
            os.kill(first.pid, signal.SIGKILL)

            async def is_gone() -> bool:
                return value(await second.metrics(), "tool_calls_in_flight", tool="chat") == 0

            await until(is_gone)
            group.cancel_scope.cancel()
        assert value(await second.metrics(), "tool_calls_total", tool="chat", status="ok") == 2
        async with lines_to(served) as after:
            pids = {line.pid for line in after}
            assert second.pid in pids
            assert first.pid not in pids, "another has taken its place"
            assert value(await after[0].metrics(), "tool_calls_total", tool="chat", status="ok") == 2


async def hang(line: Line) -> None:
    """Call what is never answered."""
    try:
        await line.call("chat", prompt="never")
    except httpx2.HTTPError:
        return


async def test_the_processes_end_with_a_parent_that_was_killed(tmp_path: Path, upstream: Upstream) -> None:
    async with serving(tmp_path, upstream) as served, lines_to(served) as lines:
        served.process.kill()
        await served.process.wait()

        async def are_gone() -> bool:
            return not any(is_running(line.pid) for line in lines)

        await until(are_gone)


def test_settings_that_no_process_can_serve_with_end_the_parent_with_their_error(tmp_path: Path) -> None:
    settings = {"http": {"workers": 2, "port": 0}, "default_model": "no-such-model"}
    done = ServerFolder(path=tmp_path, settings=settings).run("serve", "--http", timeout_seconds=90)
    assert done.returncode == 2
    assert "There is no model 'no-such-model'" in done.stderr
    assert done.stderr.count("zen serve: http") == 1
