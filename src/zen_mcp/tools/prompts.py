"""Prompts in Markdown: `prompt.md` beside a tool, its parts under `## headings`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType


@cache
def load_prompts(folder: Path) -> Mapping[str, str]:
    """The headed parts of `folder/prompt.md`, by their heading in lower case; empty when there is no such file."""
    path = folder / "prompt.md"
    if not path.is_file():
        return MappingProxyType({})
    parts: dict[str, list[str]] = {}
    current: list[str] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            current = parts.setdefault(line[3:].strip().lower(), [])
        else:
            current.append(line)
    return MappingProxyType({name: "\n".join(lines).strip() for name, lines in parts.items()})
