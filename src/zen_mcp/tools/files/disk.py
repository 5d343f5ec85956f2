"""The server's disk as callers may see it: allowed folders, links followed, secrets refused, nothing read half."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from zen_mcp.errors import FileRefused
from zen_mcp.tools.files.secrets import is_secret

_ATTEMPTS = 3
_SETTLED_NANOSECONDS = 3_000_000_000
_NAMED = 10
_BINARY_CHECKED_BYTES = 8_192


Name = TypeVar("Name")
Read = TypeVar("Read")


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """What may be read.

    Attributes:
        roots: folders; a file must lie in one of them, links followed. None: the disk is closed.
        max_bytes: a larger file is refused.
        allow_secret_files: whether files whose names say that they hold secrets are read.
    """

    roots: Sequence[Path]
    max_bytes: int
    allow_secret_files: bool = False

    def covers(self, path: Path) -> bool:
        """Whether a real path lies in a root."""
        return any(path.is_relative_to(root) for root in self._real_roots())

    def roots_below(self, folder: Path) -> tuple[str, ...]:
        """The roots in a real folder, relative to it."""
        return tuple(str(root.relative_to(folder)) for root in self._real_roots() if root.is_relative_to(folder))

    def folder(self, name: str) -> Path:
        """The real path of a folder that may be read.

        Raises:
            FileRefused: it is missing, outside, or no folder.
        """
        path = self.allowed(name)
        if not path.is_dir():
            raise FileRefused(f"'{shown(name)}' is not a folder.", "Give the folder that it lies in.")
        return path

    def allowed(self, place: str, *, called: str | None = None) -> Path:
        """The real path of a file or folder that may be read; a relative one is looked for in each root.

        Args:
            place: its path.
            called: its name in messages; None: its path.

        Raises:
            FileRefused: missing, outside, or a file of secrets.
        """
        name = called or place
        path = self._real(self.absolute(place), name)
        if not self.covers(path):
            raise FileRefused(
                f"'{shown(name)}' is outside the allowed folders ({self._named_roots()}).",
                "Add its folder to roots in server.yaml.",
            )
        if not self.allow_secret_files and any(is_secret(candidate) for candidate in (path, Path(place))):
            raise FileRefused(
                f"'{shown(name)}' looks like a file of secrets.",
                "Leave it out, or set allow_secret_files in server.yaml.",
            )
        return path

    def absolute(self, name: str) -> Path:
        """Where a name leads to, links not followed.

        Raises:
            FileRefused: it is no path, or the disk is closed.
        """
        if not self.roots:
            raise FileRefused(
                "The server's disk is closed.", "Send {path, text} objects, or configure 'roots' in server.yaml."
            )
        if "\x00" in name or not name.strip():
            raise FileRefused(f"'{shown(name)}' is not a path.", "Give an absolute path, or one below the workspace.")
        path = Path(name)
        if path.is_absolute():
            return path
        candidates = [root / path for root in self.roots]
        return next((candidate for candidate in candidates if _exists(candidate)), candidates[0])

    def read(self, place: str, *, called: str | None = None) -> bytes:
        """The content of a file, as it was at one moment.

        Args:
            place: its path.
            called: its name in messages; None: its path.

        Raises:
            FileRefused: missing, outside, secret, no regular file, too large, or it never stands still.
        """
        name = called or place
        path = self.allowed(place, called=called)
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        try:
            descriptor = os.open(path, flags)
        except OSError as exc:
            raise FileRefused(f"'{shown(name)}' cannot be read: {exc.strerror}.", "Check its permissions.") from exc
        try:
            if path.resolve() != path:
                raise FileRefused(f"'{shown(name)}' changed while it was opened.", "Try again.")
            return self._content(descriptor, name)
        finally:
            os.close(descriptor)

    def _content(self, descriptor: int, name: str) -> bytes:
        for _ in range(_ATTEMPTS):
            before = os.fstat(descriptor)
            self._check(before, name)
            raw = self._read(descriptor)
            after = os.fstat(descriptor)
            same = (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)
            # Clocks of file systems are coarse: what was written just now may be written on within the same tick.
            settled = time.time_ns() - after.st_mtime_ns > _SETTLED_NANOSECONDS
            if same and len(raw) == after.st_size and (settled or self._read(descriptor) == raw):
                return raw
        raise FileRefused(f"'{shown(name)}' changed while it was read.", "Try again when it is no longer written to.")

    def _read(self, descriptor: int) -> bytes:
        os.lseek(descriptor, 0, os.SEEK_SET)
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(self.max_bytes + 1)

    def _check(self, status: os.stat_result, name: str) -> None:
        if stat.S_ISDIR(status.st_mode):
            raise FileRefused(f"'{shown(name)}' is a directory.", "Name the files in it that matter.")
        if not stat.S_ISREG(status.st_mode):
            raise FileRefused(f"'{shown(name)}' is not a regular file.", "Leave it out.")
        if status.st_size > self.max_bytes:
            raise FileRefused(
                f"'{shown(name)}' has {status.st_size:,} bytes; at most {self.max_bytes:,} are sent.",
                "Name the lines that matter (path:10-80), or raise max_file_bytes in server.yaml.",
            )

    def _real(self, path: Path, name: str) -> Path:
        try:
            return path.resolve(strict=True)
        except FileNotFoundError:
            where = "" if Path(name).is_absolute() else f" in {self._named_roots()}"
            raise FileRefused(f"'{shown(name)}' does not exist{where}.", "Check the path.") from None
        except (OSError, RuntimeError) as exc:
            reason = exc.strerror if isinstance(exc, OSError) else "its links lead in a circle"
            raise FileRefused(f"'{shown(name)}' cannot be read: {reason}.", "Check the path.") from None

    def _real_roots(self) -> list[Path]:
        return [root.resolve() for root in self.roots]

    def _named_roots(self) -> str:
        return ", ".join(f"'{root}'" for root in self.roots)


def decoded(name: str, raw: bytes) -> str:
    """A file's bytes as text.

    Raises:
        FileRefused: it is binary, or not UTF-8.
    """
    if b"\x00" in raw[:_BINARY_CHECKED_BYTES]:
        raise FileRefused(f"'{shown(name)}' is a binary file.", "Only text files can be sent.")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise FileRefused(f"'{shown(name)}' is not UTF-8 text.", "Convert it, or leave it out.") from None


def all_or_none(
    names: Sequence[Name], read: Callable[[Name], Read], *, refused: Sequence[FileRefused] = ()
) -> list[Read]:
    """Read each.

    Raises:
        FileRefused: names all that cannot be read, those that were refused before included.
    """
    done: list[Read] = []
    errors = list(refused)
    for name in names:
        try:
            done.append(read(name))
        except FileRefused as exc:
            errors.append(exc)
    told = list({str(exc): exc for exc in errors}.values())
    if len(told) == 1:
        raise told[0]
    if told:
        more = f" And {len(told) - _NAMED} more." if len(told) > _NAMED else ""
        raise FileRefused(" ".join(str(exc) for exc in told[:_NAMED]) + more)
    return done


def shown(name: str) -> str:
    """A name as it stands in a message."""
    return name if len(name) <= 200 else f"{name[:60]}…"


def _exists(path: Path) -> bool:
    try:
        return os.path.lexists(path)
    except (OSError, ValueError):
        return False
