"""Streaming through the front doors: progress, cut and cancelled answers, the terminal."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import time
from typing import Any

import anyio
import pytest
from mcp.client import Client
from tests.support.results import data_of, text_of
from tests.support.server import ServerFolder
from tests.upstream import Behaviour, Upstream

pytestmark = pytest.mark.anyio

MODELS: dict[str, tuple[Behaviour, dict[str, Any]]] = {
    "fine": (Behaviour(text="one two three"), {}),
    "slow": (Behaviour(text=" ".join(["word"] * 30), pause_seconds=0.1), {}),
    "breaking": (Behaviour(how="cut", text="the first half and the rest"), {}),
    "stuck": (Behaviour(how="stall", text="the first half and the rest"), {"stream_idle_seconds": 0.5}),
    "dead": (Behaviour(status=500, text="boom"), {}),
    "helper": (Behaviour(text="the helper's answer"), {}),
}
SETTINGS: dict[str, Any] = {"default_model": "fine"}
PROVIDERS: dict[str, Any] = {"providers": {"fallback_chain": ["helper"], "retry_after_seconds": 0.05}}


class Watcher:
    """Keeps every progress message."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    async def __call__(self, progress: float, total: float | None, message: str | None) -> None:
        """Take one."""
        self.lines.append(message or "")


async def test_who_watches_sees_the_tokens_grow_and_who_does_not_costs_no_stream(
    client: Client, upstream: Upstream
) -> None:
    watcher = Watcher()
    answer = data_of(await client.call_tool("chat", {"prompt": "hello", "model": "slow"}, progress_callback=watcher))
    counts = [int(found[1]) for line in watcher.lines if (found := re.fullmatch(r"slow: (\d+) tokens so far", line))]
    assert len(counts) >= 2
    assert counts == sorted(counts)
    assert upstream.asked("slow")[-1].stream
    unwatched = data_of(await client.call_tool("chat", {"prompt": "hello", "model": "slow"}))
    assert not upstream.asked("slow")[-1].stream
    for figure in ("text", "input_tokens", "output_tokens"):
        assert answer[figure] == unwatched[figure], "the same account either way"


@pytest.mark.parametrize("model", ["breaking", "stuck"])
async def test_a_cut_answer_is_returned_as_far_as_it_came_and_marked(client: Client, model: str) -> None:
    result = await client.call_tool("chat", {"prompt": "hello", "model": model}, progress_callback=Watcher())
    data = data_of(result)
    assert data["text"] == "the first half"
    assert data["partial"] is True
    assert data["notes"][0].startswith("only a part of the answer: ")
    assert "only a part of the answer" in text_of(result)
    thread = data_of(await client.call_tool("threads", {"continuation_id": data["continuation_id"]}))
    assert "[cut off here]" in str(thread)


async def test_a_fallback_that_answered_is_visible_in_text_and_data(client: Client) -> None:
    result = await client.call_tool("chat", {"prompt": "hello", "model": "dead"})
    data = data_of(result)
    assert (data["text"], data["model"], data["asked"]) == ("the helper's answer", "helper", "dead")
    assert "asked dead, answered by helper because 'dead' (custom) failed: boom" in text_of(result)


async def test_a_member_of_a_panel_is_not_replaced(client: Client) -> None:
    data = data_of(await client.call_tool("consensus", {"prompt": "hello", "models": ["dead", "fine"]}))
    assert [answer["status"] for answer in data["answers"]] == ["failed", "answered"]


@pytest.mark.slow
async def test_a_cancelled_answer_keeps_what_had_come(client: Client, upstream: Upstream, folder: ServerFolder) -> None:
    prompt = "cancel me in the middle"
    before = len(upstream.asked("slow"))
    async with anyio.create_task_group() as group:

        async def ask() -> None:
            await client.call_tool("chat", {"prompt": prompt, "model": "slow"}, progress_callback=Watcher())

        group.start_soon(ask)
        assert await anyio.to_thread.run_sync(upstream.wait_for_request, "slow", before + 1)
        await anyio.sleep(1.0)
        group.cancel_scope.cancel()
    with anyio.fail_after(5):
        while prompt not in (found := text_of(await client.call_tool("threads", {}))):  # noqa: ASYNC110 - polls a server
            await anyio.sleep(0.1)
    kept = text_of(await client.call_tool("threads", {"continuation_id": _thread_of(found, prompt)}))
    assert "word word" in kept
    assert "[cut off here]" in kept


def _thread_of(listing: str, title: str) -> str:
    line = next(line for line in listing.splitlines() if title in line)
    found = re.search(r"t-[a-z0-9]+", line)
    assert found is not None, listing
    return found.group()


# --- the terminal


@pytest.mark.slow
def test_ask_prints_as_it_comes(folder: ServerFolder) -> None:
    folder.write()
    started = time.monotonic()
    with subprocess.Popen(
        folder.command("ask", "-m", "slow", "hello"),
        env=folder.environ(),
        cwd=folder.work,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        first = os.read(process.stdout.fileno(), 4)
        first_after = time.monotonic() - started
        rest = process.stdout.read()
        whole_after = time.monotonic() - started
    assert (first + rest).decode() == " ".join(["word"] * 30) + "\n"
    assert whole_after - first_after > 1.5, "the rest came while it was written"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_chat_in_a_terminal_survives_an_upstream_that_breaks_and_stops_at_ctrl_c(folder: ServerFolder) -> None:
    terminal = Terminal(folder, "chat", "-m", "breaking")
    terminal.until("asks another model")
    terminal.type("hello\n")
    seen = terminal.until("continuation_id")
    assert "the first half" in seen
    assert "only a part of the answer" in seen
    terminal.type("/model slow\n")
    terminal.until("now asking slow")
    terminal.type("go on\n")
    terminal.until("word word")
    terminal.interrupt()
    terminal.until("what had come is kept in the thread")
    terminal.type("/model fine\n")
    terminal.until("now asking fine")
    terminal.type("and now?\n")
    assert "one two three" in terminal.until("continuation_id")
    terminal.type("/quit\n")
    assert terminal.ended() == 0
    shown = folder.run("threads", "list")
    assert shown.stdout.count("t-") == 1, "all of it was one thread"


class Terminal:
    """A command on a pseudo-terminal."""

    def __init__(self, folder: ServerFolder, *arguments: str) -> None:
        folder.write()
        for state in folder.path.glob("state/*"):
            state.unlink()
        self._ours, theirs = pty.openpty()
        self._process = subprocess.Popen(
            folder.command(*arguments),
            env={**folder.environ(), "TERM": "dumb"},
            cwd=folder.work,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self._ours, keys.encode())

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        self._process.send_signal(signal.SIGINT)

    def until(self, words: str, *, seconds: float = 20.0) -> str:
        """What is shown until these words appear."""
        shown = ""
        deadline = time.monotonic() + seconds
        while words not in shown:
            assert time.monotonic() < deadline, shown
            shown += os.read(self._ours, 4096).decode()
        return shown

    def ended(self) -> int:
        """The exit code."""
        code = self._process.wait(10)
        os.close(self._ours)
        return code
