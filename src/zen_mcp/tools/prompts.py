"""Prompts in Markdown: `prompt.md` beside a tool, its parts under `## headings`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

from zen_mcp.errors import ConfigError

_NOTHING: Mapping[str, str] = MappingProxyType({})


def load_prompts(file: Path) -> Mapping[str, str]:
    """The headed parts of a file, by their heading in lower case; empty when there is no such file.

    Raises:
        ConfigError: it is there and cannot be read.
    """
    try:
        status = file.stat()
        return _parse(file, status.st_mtime_ns, status.st_size)
    except (FileNotFoundError, NotADirectoryError):
        return _NOTHING
    except (OSError, UnicodeDecodeError) as exc:
        reason = "it is not UTF-8 text" if isinstance(exc, UnicodeDecodeError) else str(exc.strerror)
        raise ConfigError(f"The prompts in '{file}' cannot be read: {reason}.", "Mend the file.") from None


@lru_cache(maxsize=256)
def _parse(file: Path, changed_ns: int, size_bytes: int) -> Mapping[str, str]:
    """The parts of a file in this state."""
    parts: dict[str, list[str]] = {}
    current: list[str] = []
    for line in file.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            current = parts.setdefault(line[3:].strip().lower(), [])
        else:
            current.append(line)
    return MappingProxyType({name: "\n".join(lines).strip() for name, lines in parts.items()})
