"""Running `git` so that nothing in a repository can run a program, ask a question or take forever."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import anyio
from anyio.abc import ByteReceiveStream

from zen_mcp.errors import NoChanges

GIT_SECONDS = 60.0
LARGEST_OUTPUT_BYTES = 16 * 1024 * 1024
_LARGEST_ERROR_BYTES = 4_096

_OFF = (
    "core.fsmonitor=false",
    "core.hooksPath=" + os.devnull,
    "core.pager=cat",
    "core.sshCommand=false",
    "core.untrackedCache=false",
    "diff.suppressBlankEmpty=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "protocol.allow=never",
    "safe.bareRepository=explicit",
    "submodule.recurse=false",
)
"""Settings that a repository may hold and that would run its programs or change what we read."""
_ENVIRONMENT = {
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_LITERAL_PATHSPECS": "1",
    "GIT_PAGER": "cat",
    "LC_ALL": "C",
    "LANGUAGE": "",
}
_KEPT_VARIABLES = ("PATH", "HOME", "XDG_CONFIG_HOME", "SYSTEMROOT", "USERPROFILE", "TEMP", "TMP")


@dataclass(frozen=True, slots=True, kw_only=True)
class GitAnswer:
    """What git wrote. `cut`: there was more than was read, and git was stopped."""

    code: int
    output: bytes
    error: str
    cut: bool = False

    @property
    def line(self) -> str:
        """The output as one line of text."""
        return self.output.decode("utf-8", "surrogateescape").rstrip("\r\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class Git:
    """git in one folder.

    Attributes:
        folder: where it runs.
        quieted: more settings, given through the environment, because their names may hold anything.
    """

    folder: Path
    quieted: Mapping[str, str] = field(default_factory=dict[str, str])

    async def run(
        self, *arguments: str, seconds: float = GIT_SECONDS, most_bytes: int = LARGEST_OUTPUT_BYTES
    ) -> GitAnswer:
        """Run one command to its end, or until it has written `most_bytes`.

        Raises:
            NoChanges: git is not installed, or took too long.
        """
        settings = [part for setting in _OFF for part in ("-c", setting)]
        command = ["git", "--no-pager", *settings, *arguments]
        try:
            with anyio.fail_after(seconds):
                return await _run(command, self.folder, self._environment(), most_bytes)
        except FileNotFoundError:
            raise NoChanges("'git' is not installed, or not on the PATH.", "Install git, or name files.") from None
        except TimeoutError:
            raise NoChanges(
                f"'git {arguments[0]}' took more than {seconds:g} s in '{self.folder}'.",
                "Ask for a smaller range, or try again.",
            ) from None

    def _environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
        counted = {"GIT_CONFIG_COUNT": str(len(self.quieted))} if self.quieted else {}
        for number, (name, value) in enumerate(self.quieted.items()):
            counted |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value}
        return {**kept, **_ENVIRONMENT, **counted}


async def without_filters(git: Git) -> Git:
    """The same, with the repository's filter programs (`filter.*.clean` and the like) off."""
    answer = await git.run("config", "--null", "--name-only", "--get-regexp", r"^filter\.")
    names = [name for name in answer.output.decode("utf-8", "surrogateescape").split("\0") if name]
    drivers = dict.fromkeys(name.rsplit(".", 1)[0] for name in names)
    off = {f"{driver}.{program}": "" for driver in drivers for program in ("clean", "smudge", "process")}
    return Git(folder=git.folder, quieted={**off, **{f"{driver}.required": "false" for driver in drivers}})


async def _run(command: Sequence[str], folder: Path, environment: Mapping[str, str], most_bytes: int) -> GitAnswer:
    async with await anyio.open_process(command, stdin=subprocess.DEVNULL, cwd=folder, env=environment) as process:
        written, complaint = _Sink(most_bytes), _Sink(_LARGEST_ERROR_BYTES)
        async with anyio.create_task_group() as group:
            group.start_soon(complaint.drain, cast("ByteReceiveStream", process.stderr))
            if not await written.fill(cast("ByteReceiveStream", process.stdout)):
                process.kill()
        code = await process.wait()
    error = complaint.content.decode("utf-8", "replace").strip()
    return GitAnswer(code=0 if written.cut else code, output=written.content, error=error, cut=written.cut)


class _Sink:
    """Keeps at most so many bytes of a stream."""

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._pieces: list[bytes] = []
        self._size = 0
        self.cut = False

    @property
    def content(self) -> bytes:
        """What was kept."""
        return b"".join(self._pieces)

    async def fill(self, stream: ByteReceiveStream) -> bool:
        """Read until the end or until it is full; whether the end was reached."""
        async for piece in stream:
            kept = piece[: self._most - self._size]
            self._pieces.append(kept)
            self._size += len(kept)
            if len(kept) < len(piece):
                self.cut = True
                return False
        return True

    async def drain(self, stream: ByteReceiveStream) -> None:
        """Read to the end, whatever is kept, so that the writer never waits."""
        if not await self.fill(stream):
            async for _ in stream:
                pass
