"""The snapshot of what the real server answers to the handshake and the lists, on disk. Standard library only.

A snapshot names the files it was made from, with time and size: our sources and plugins, the MCP SDK's metadata, every
settings file that was or could have been read. It is fresh when all of them are as they were; that costs some forty
`stat` calls and no hashing. Stale or absent, the server starts the plain way and writes a new one.
"""

from __future__ import annotations

import json
import os
import sys
import zlib

from zen_mcp import __version__
from zen_mcp.config.folders import cache_folder, config_files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path
    from typing import Any

_VARIABLES = ("ZEN_CONFIG_DIR", "DISABLED_TOOLS", "DEFAULT_MODEL", "ZEN_TOOLS", "ZEN_PLUGIN_FOLDERS")
_FORMAT = 2


class Snapshot:
    """Recorded results, each as JSON text.

    `initialize` by handshake revision; `lists` by handshake revision and method; `modern` by method; `latest`: the
    revision offered to a client that asks for an unknown one.
    """

    def __init__(
        self, initialize: dict[str, str], lists: dict[str, dict[str, str]], modern: dict[str, str], latest: str
    ) -> None:
        self.initialize = initialize
        self.lists = lists
        self.modern = modern
        self.latest = latest

    def to_json(self) -> dict[str, Any]:
        """The parts, to be stored."""
        return {
            "initialize": self.initialize,
            "lists": self.lists,
            "modern": self.modern,
            "latest": self.latest,
        }

    def of(self, name: str) -> list[str]:
        """All that it says of `tools`, `prompts` or `resources`."""
        answers = [*self.lists.values(), self.modern]
        return [text for known in answers for method, text in known.items() if method.startswith(f"{name}/")]


def load_snapshot(arguments: list[str], environ: Mapping[str, str]) -> Snapshot | None:
    """The snapshot for these arguments and this environment; None when there is none or it is stale."""
    try:
        path, key = _place(arguments, environ)
        with open(path, encoding="utf-8") as file:  # noqa: PTH123 - pathlib costs start-up time
            stored = json.load(file)
        if stored["key"] != key or stored["files"] != _stamps(stored["files"]):
            return None
        parts = stored["snapshot"]
        return Snapshot(parts["initialize"], parts["lists"], parts["modern"], parts["latest"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def store_snapshot(
    snapshot: Snapshot, arguments: list[str], environ: Mapping[str, str], sources: Iterable[Path]
) -> None:
    """Write the snapshot in one step, readable to the user alone.

    Raises:
        OSError: the cache folder cannot be written.
    """
    path, key = _place(arguments, environ)
    names = [str(source) for source in sources]
    names += [str(file) for file in config_files(_config_argument(arguments), environ=environ)]
    stored = {"key": key, "files": _stamps(names), "snapshot": snapshot.to_json()}
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)  # noqa: PTH103, PTH120
    temporary = f"{path}.{os.getpid()}"
    with open(temporary, "w", encoding="utf-8") as file:  # noqa: PTH123
        json.dump(stored, file)
    os.replace(temporary, path)  # noqa: PTH105


def forget_snapshot(arguments: list[str], environ: Mapping[str, str]) -> None:
    """Remove the snapshot, if there is one."""
    try:
        os.unlink(_place(arguments, environ)[0])  # noqa: PTH108
    except OSError:
        return


def _place(arguments: list[str], environ: Mapping[str, str]) -> tuple[str, str]:
    """Where the snapshot lies, and the whole key of which its name is a checksum."""
    settings = [environ.get(name, "") for name in _VARIABLES]
    key = json.dumps([_FORMAT, __version__, sys.prefix, sys.version, os.getcwd(), arguments, settings])  # noqa: PTH109
    folder = os.path.join(str(cache_folder(environ)), "snapshots")  # noqa: PTH118
    return os.path.join(folder, f"{zlib.crc32(key.encode()):08x}.json"), key  # noqa: PTH118


def _stamps(names: Iterable[str]) -> dict[str, list[int] | None]:
    """Time (ns) and size of each file; None for one that is not there."""
    stamps: dict[str, list[int] | None] = {}
    for name in names:
        try:
            status = os.stat(name)  # noqa: PTH116
            stamps[name] = [status.st_mtime_ns, status.st_size]
        except OSError:
            stamps[name] = None
    return stamps


def _config_argument(arguments: list[str]) -> Path | None:
    if "--config" not in arguments[:-1]:
        return None
    from pathlib import Path  # noqa: PLC0415 - only when a snapshot is written

    return Path(arguments[arguments.index("--config") + 1])
