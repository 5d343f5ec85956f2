"""Several processes that serve at one port: how they share a crowd, and what happens when one of them ends."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import httpx2
import pytest
from tests.support.server import Served, ServerFolder, rpc, serve_http, until
from tests.upstream import Behaviour, Upstream

pytestmark = pytest.mark.anyio

MODELS: dict[str, tuple[Behaviour, dict[str, Any]]] = {
    "fine": (Behaviour(text="An answer."), {}),
    "slow": (Behaviour(text="slow but whole", delay_seconds=4), {}),
}
CROWD = 400
WORKERS = 2
CHAT = {"name": "chat", "arguments": {"prompt": "x"}}


@asynccontextmanager
async def serving(folder: ServerFolder, path: Path) -> AsyncGenerator[Served]:
    """A server of two workers, both of which accept."""
    settings = {"default_model": "fine", "http": {"workers": WORKERS, "drain_seconds": 20}}
    own = ServerFolder(path=path, models=folder.models, settings=settings)
    async with serve_http(own) as served:

        async def all_accept() -> bool:
            async with AsyncExitStack() as stack:
                return len(workers(served)) == WORKERS and min(await Crowd(served, stack, 20).taken_in_all()) > 0

        await until(all_accept)
        yield served


def workers(served: Served) -> list[int]:
    """The processes that answer; the parent only watches."""
    pid = served.process.pid
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8").split()]


def sockets(pid: int) -> set[str]:
    """The inodes of those that a process has open."""
    found: set[str] = set()
    for file in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            found.add(str(file.readlink()).removeprefix("socket:[").removesuffix("]"))
    return found


def ends(port: int) -> dict[int, str]:
    """The server's ends of connections to a port: the client's port, and the inode once a process has accepted it."""
    rows = [row.split() for row in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]]
    return {int(row[2][-4:], 16): row[9] for row in rows if int(row[1][-4:], 16) == port and row[9] != "0"}


async def stands_still(pid: int) -> bool:
    """Whether a process is stopped."""
    return ") T " in stat_of(pid)


def stat_of(pid: int) -> str:
    """What the kernel says of a process."""
    return Path(f"/proc/{pid}/stat").read_text(encoding="ascii")


class Crowd:
    """Connections that came at the same moment, and say nothing."""

    def __init__(self, served: Served, stack: AsyncExitStack, number: int) -> None:
        host, _, port = served.base.removeprefix("http://").partition(":")
        self._served = served
        self._port = int(port)
        came = [stack.enter_context(socket.create_connection((host, int(port)))) for _ in range(number)]
        self._ours = {connection.getsockname()[1] for connection in came}

    def taken(self) -> list[int]:
        """How many each worker has accepted."""
        inodes = {inode for client, inode in ends(self._port).items() if client in self._ours}
        return [len(inodes & sockets(pid)) for pid in workers(self._served)]

    async def taken_in_all(self) -> list[int]:
        """The same, when nobody waits any more."""

        async def nobody_waits() -> bool:
            return sum(self.taken()) == len(self._ours)

        await until(nobody_waits)
        return self.taken()


async def test_a_crowd_is_shared_by_all_workers(folder: ServerFolder, tmp_path: Path) -> None:
    async with serving(folder, tmp_path) as served, AsyncExitStack() as stack:
        first, second = workers(served)
        # The whole crowd waits at the door when the first worker opens it.
        for pid in (first, second):
            os.kill(pid, signal.SIGSTOP)
            await until(partial(stands_still, pid))
        crowd = Crowd(served, stack, CROWD)
        os.kill(first, signal.SIGCONT)
        with anyio.fail_after(30):
            while sum(crowd.taken()) < CROWD / 10:
                await anyio.lowlevel.checkpoint()
        for _ in range(10):
            crowd.taken()  # time enough to take all, for a process that takes what there is
        os.kill(second, signal.SIGCONT)
        taken = await crowd.taken_in_all()
    assert min(taken) >= CROWD / 10, taken


async def test_a_worker_that_is_killed_is_replaced_and_the_others_answer(folder: ServerFolder, tmp_path: Path) -> None:
    async with serving(folder, tmp_path) as served:
        victim, *others = workers(served)
        os.kill(victim, signal.SIGKILL)

        async def is_replaced() -> bool:
            return len(workers(served)) == WORKERS and victim not in workers(served)

        # A new connection for each, so that the kernel cannot hand one to the dead.
        for _ in range(10):
            async with served.http() as client:
                answer = await client.post("/mcp", **rpc("tools/call", CHAT))
                assert "An answer." in answer.text
        await until(is_replaced)
        assert set(others) < set(workers(served))


async def test_calls_end_on_every_worker_after_a_signal(
    folder: ServerFolder, upstream: Upstream, tmp_path: Path
) -> None:
    answers: list[str] = []
    async with serving(folder, tmp_path) as served:
        call = rpc("tools/call", {"name": "chat", "arguments": {"prompt": "x", "model": "slow"}})

        async def ask() -> None:
            async with httpx2.AsyncClient(timeout=60) as client:
                answers.append((await client.post(served.url, **call)).text)

        async with anyio.create_task_group() as group:
            for _ in range(10):
                group.start_soon(ask)
            assert await anyio.to_thread.run_sync(lambda: upstream.wait_for_request("slow", 10, seconds=60))
            served.process.terminate()
        with anyio.fail_after(30):
            assert await served.process.wait() == 0
    assert len(answers) == 10
    assert all("slow but whole" in answer for answer in answers)
