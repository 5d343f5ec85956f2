"""Which files are read: source code below the roots, without what is ignored, vendored or generated."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from zen_mcp.tools.files.generated import SKIPPED_FOLDERS, why_generated
from zen_mcp.tools.files.ignored import Ignored

MOST_FILES = 10_000
LARGEST_FILE_BYTES = 2 * 1024 * 1024
LANGUAGES = {
    ".py": "python", ".pyi": "python", ".js": "javascript", ".jsx": "javascript", ".mjs": "javascript",
    ".cjs": "javascript", ".ts": "javascript", ".mts": "javascript", ".cts": "javascript", ".tsx": "javascript",
    ".go": "go", ".rs": "rust", ".java": "java",
}  # fmt: skip
"""Families by suffix: JavaScript and TypeScript call each other."""


@dataclass(slots=True)
class Sources:
    """The chosen files: paths as they are shown, and where each is. `left_out` counts those past the limit."""

    files: dict[str, Path] = field(default_factory=dict[str, Path])
    left_out: int = 0


def find_sources(folders: Sequence[Path], files: Sequence[Path], roots: Sequence[Path]) -> Sources:
    """The source files among `files` and below `folders`, shown relative to the root that they lie in."""
    found = Sources()
    for path in (*files, *(path for folder in folders for path in _walk(folder))):
        name = _shown(path, roots)
        if path.suffix not in LANGUAGES or name in found.files:
            continue
        if len(found.files) >= MOST_FILES:
            found.left_out += 1
        else:
            found.files[name] = path
    return found


def _walk(top: Path) -> Iterator[Path]:
    """Every file below a folder in order, links not followed, `.gitignore` of each folder obeyed."""
    rules = {str(top): Ignored.at(top)}
    for folder, names, files in os.walk(top):
        here = rules.pop(folder)
        names[:] = sorted(
            name
            for name in names
            if name not in SKIPPED_FOLDERS and not name.startswith(".") and not here.skips(name, is_folder=True)
        )
        rules.update({str(Path(folder, name)): here.below(name) for name in names})
        for name in sorted(files):
            path = Path(folder, name)
            if path.suffix not in LANGUAGES or why_generated(name) or here.skips(name, is_folder=False):
                continue
            if not path.is_symlink():
                yield path


def _shown(path: Path, roots: Sequence[Path]) -> str:
    root = next((root for root in roots if path.is_relative_to(root)), None)
    return path.relative_to(root).as_posix() if root else path.as_posix()
