"""An agent's process: started without our environment, read to its end, and ended with all it started."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import anyio
from anyio.abc import ByteReceiveStream, Process

from zen_mcp.plugins.clink.output import Reading

MOST_OUTPUT_BYTES = 64 * 1024 * 1024
"""An agent that prints more is stopped."""
_KEPT_ERROR_BYTES = 8_192
_TERM_SECONDS = 2.0
_KILL_SECONDS = 5.0
_DRAIN_SECONDS = 1.0
_POLL_SECONDS = 0.05

End = Literal["exited", "too slow", "too much"]
Tell = Callable[[str], Awaitable[None]]


@dataclass(slots=True)
class Run:
    """How a run went: why it ended, its exit code (None when we stopped it), the end of its error output."""

    end: End = "exited"
    exit_code: int | None = None
    stderr: bytearray = field(default_factory=bytearray)

    @property
    def complaint(self) -> str:
        """The last lines of its error output."""
        lines = self.stderr.decode("utf-8", "replace").strip().splitlines()
        return "\n".join(lines[-12:])[-1_500:]


async def run_agent(
    command: Sequence[str],
    *,
    folder: Path,
    environment: Mapping[str, str],
    stdin: str | None,
    output: Reading,
    tell: Tell,
    timeout_seconds: float,
) -> Run:
    """Run a program to its end, or until its time is up or it has printed too much; then its whole group is ended.

    Args:
        command: the program and its arguments.
        folder: where it works.
        environment: all that it gets.
        stdin: sent to it, then closed; None: it has no input.
        output: takes what it prints.
        tell: told one line now and then.
        timeout_seconds: its time.

    Raises:
        OSError: it cannot be started.
    """
    run = Run()
    process = await anyio.open_process(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        with anyio.move_on_after(timeout_seconds) as limit:
            await _talk(process, stdin, output, tell, run)
        if limit.cancelled_caught:
            run.end = "too slow"
    finally:
        with anyio.CancelScope(shield=True):
            await _end_group(process)
            await process.aclose()
    return run


async def _talk(process: Process, stdin: str | None, output: Reading, tell: Tell, run: Run) -> None:
    """Send the prompt and read both outputs until the program ends. What it left running may not keep us."""
    async with anyio.create_task_group() as group:
        if stdin is not None:
            group.start_soon(_send, process, stdin)
        group.start_soon(_read_errors, process, run)
        read_all = anyio.Event()

        async def read() -> None:
            if not await _read(process.stdout, output, tell):
                run.end = "too much"
                group.cancel_scope.cancel()
            read_all.set()

        group.start_soon(read)
        run.exit_code = await process.wait()
        with anyio.move_on_after(_DRAIN_SECONDS):
            await read_all.wait()
        group.cancel_scope.cancel()


async def _send(process: Process, text: str) -> None:
    assert process.stdin is not None  # noqa: S101 - opened with a pipe
    with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
        await process.stdin.send(text.encode("utf-8", "replace"))
    await process.stdin.aclose()


async def _read(stream: ByteReceiveStream | None, output: Reading, tell: Tell) -> bool:
    """Read to the end; False when it is too much."""
    assert stream is not None  # noqa: S101 - opened with a pipe
    size = 0
    async for piece in _pieces(stream):
        size += len(piece)
        if size > MOST_OUTPUT_BYTES:
            return False
        line = output.feed(piece)
        if line:
            await tell(line)
    return True


async def _read_errors(process: Process, run: Run) -> None:
    assert process.stderr is not None  # noqa: S101 - opened with a pipe
    async for piece in _pieces(process.stderr):
        run.stderr += piece
        del run.stderr[:-_KEPT_ERROR_BYTES]


async def _pieces(stream: ByteReceiveStream) -> AsyncGenerator[bytes]:
    with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
        async for piece in stream:
            yield piece


async def _end_group(process: Process) -> None:
    """Ask the program and all it started to end, and after two seconds make them."""
    if os.name == "nt":  # no process groups there; the tree is ended by the system's own tool
        with suppress(OSError):
            await anyio.run_process(["taskkill", "/T", "/F", "/PID", str(process.pid)], check=False)
        return
    for sign, seconds in ((signal.SIGTERM, _TERM_SECONDS), (signal.SIGKILL, _KILL_SECONDS)):
        if not _signal(process.pid, sign):
            break
        with anyio.move_on_after(seconds):
            while _signal(process.pid, 0):  # noqa: ASYNC110 - nothing tells when a group is empty
                await anyio.sleep(_POLL_SECONDS)
            break
    with anyio.move_on_after(_KILL_SECONDS):
        await process.wait()


def _signal(group: int, sign: int) -> bool:
    """Signal a process group; whether anybody is left in it."""
    try:
        os.killpg(group, sign)
    except (ProcessLookupError, PermissionError):
        return False
    return True
