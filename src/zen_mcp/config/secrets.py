"""Keys that stand in no settings file: in a file of their own, in the OS keyring, or told by a command.

What is read stays in this process and is read once for its life; it is neither stored nor logged.
"""

from __future__ import annotations

import shlex
import subprocess
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

FILE_SUFFIX = "_FILE"
"""`OPENAI_API_KEY_FILE=/run/secrets/openai` stands for `OPENAI_API_KEY`, as Docker's secrets do."""
COMMAND, KEYRING = "cmd:", "keyring:"
_COMMAND_SECONDS = 10.0
_LARGEST_BYTES = 65_536


@cache
def from_file(path: str) -> str | None:
    """The content of a file without the line break at its end; None when it cannot be read."""
    try:
        with Path(path).expanduser().open("rb") as file:
            return file.read(_LARGEST_BYTES).decode().strip("\r\n") or None
    except (OSError, UnicodeDecodeError, ValueError):
        return None


@cache
def from_command(line: str) -> str | None:
    """The first line that a command prints, no shell in between; None when it fails or takes too long."""
    try:
        done = subprocess.run(
            shlex.split(line),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_COMMAND_SECONDS,
            check=True,
        )
        return done.stdout.decode().partition("\n")[0].strip("\r") or None
    except (OSError, ValueError, IndexError, subprocess.SubprocessError):
        return None


@cache
def from_keyring(entry: str) -> str | None:
    """The password of `service/name` in the OS keyring; None without one, or without the extra."""
    service, _, name = entry.rpartition("/")
    try:
        keyring: Any = import_module("keyring")
        return keyring.get_password(service, name) or None
    except Exception:  # noqa: BLE001 - backends raise what they like; a missing key is told like any other
        return None
