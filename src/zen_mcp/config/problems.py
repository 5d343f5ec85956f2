"""What is wrong with the settings: collected over all files, then raised as one ConfigError."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from zen_mcp.errors import ConfigError

KeyPath = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """Where something was written: a file and a line, or an environment variable (line 0)."""

    file: str
    line: int = 0
    layer: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault: where, at which key, what is wrong and what to do."""

    place: Place
    key: KeyPath
    text: str
    fix: str = ""

    def __str__(self) -> str:
        key = key_text(self.key)
        return f"{self.place}: {key}: {self.text}" if key else f"{self.place}: {self.text}"


def key_text(key: KeyPath) -> str:
    """A key as people write it: `models.opus.aliases[1]`."""
    text = ""
    for part in key:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def config_error(problems: Sequence[Problem]) -> ConfigError:
    """All problems as one error, one per line; a single one keeps its fix apart."""
    if len(problems) == 1:
        return ConfigError(str(problems[0]), problems[0].fix)
    return ConfigError("\n".join(f"{problem} {problem.fix}".rstrip() for problem in problems))
