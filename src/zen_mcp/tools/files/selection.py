"""Which files a caller's names mean: folders and patterns are looked through, as far as it is worth it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from zen_mcp.errors import FileRefused
from zen_mcp.tools.files.disk import Disk, shown
from zen_mcp.tools.files.generated import SKIPPED_FOLDERS, why_generated
from zen_mcp.tools.files.ignored import Ignored
from zen_mcp.tools.files.names import GlobPattern, InlineFile, Lines, is_pattern, lines_in

MOST_FOUND = 5_000
_MOST_LOOKED_AT = 200_000
_BINARY_NAMES = frozenset({
    ".png", ".jpg", ".jpeg", ".gif", ".webp", ".ico", ".bmp", ".tiff", ".pdf", ".zip", ".gz", ".bz2", ".xz", ".zst",
    ".7z", ".tar", ".jar", ".war", ".class", ".pyc", ".so", ".dylib", ".dll", ".exe", ".o", ".a", ".lib", ".wasm",
    ".woff", ".woff2", ".ttf", ".otf", ".eot", ".mp3", ".mp4", ".mov", ".avi", ".wav", ".ogg", ".webm", ".db",
    ".sqlite", ".gguf", ".bin", ".npy", ".npz", ".parquet", ".whl",
})  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A file to read.

    Attributes:
        label: what it is called in the question.
        place: where it lies.
        lines: the lines that are wanted; None: all.
        found: a folder or a pattern led to it, so that it may be left out.
        bytes: its size when it was found; 0 when nobody looked.
    """

    label: str
    place: str
    lines: Lines | None = None
    found: bool = False
    bytes: int = 0

    @property
    def key(self) -> str:
        """What tells it from others of the same question."""
        return f"{self.label}:{self.lines.first}-{self.lines.last}" if self.lines else self.label


@dataclass(slots=True)
class Selection:
    """What is to be read, in the order in which it was named, and what was passed over, counted by reason."""

    entries: list[Candidate | InlineFile] = field(default_factory=list["Candidate | InlineFile"])
    passed: Counter[str] = field(default_factory=Counter[str])
    notes: list[str] = field(default_factory=list[str])

    def found(self) -> int:
        """How many files folders and patterns have led to."""
        return sum(isinstance(entry, Candidate) and entry.found for entry in self.entries)


def select(names: Sequence[str | InlineFile], disk: Disk) -> tuple[Selection, list[FileRefused]]:
    """What the names mean, and what is wrong with those that mean nothing. Blocks: for a thread."""
    selection = Selection()
    refused: list[FileRefused] = []
    for name in names:
        try:
            if isinstance(name, InlineFile):
                selection.entries.append(name)
            else:
                _add(name, disk, selection)
        except FileRefused as exc:
            refused.append(exc)
    seen: dict[str, Candidate | InlineFile] = {}
    for entry in selection.entries:
        seen.setdefault(entry.path if isinstance(entry, InlineFile) else entry.key, entry)
    selection.entries = list(seen.values())
    return selection, refused


def _add(name: str, disk: Disk, selection: Selection) -> None:
    path = disk.absolute(name)
    if os.path.lexists(path):
        if path.is_dir():
            _add_folder(name, None, disk, selection)
        else:
            selection.entries.append(Candidate(label=_label(name), place=str(path)))
        return
    with_lines = lines_in(name)
    if with_lines is not None and os.path.lexists(disk.absolute(with_lines[0])):
        plain, lines = with_lines
        selection.entries.append(Candidate(label=_label(plain), place=str(disk.absolute(plain)), lines=lines))
    elif is_pattern(name):
        pattern = GlobPattern.parse(name)
        _add_folder(name, pattern, disk, selection)
    else:
        selection.entries.append(Candidate(label=_label(name), place=name))


def _add_folder(name: str, pattern: GlobPattern | None, disk: Disk, selection: Selection) -> None:
    """The files of a folder, or those that a pattern means.

    Raises:
        FileRefused: the folder may not be read, or there are none.
    """
    start = pattern.start if pattern else name
    folder = disk.folder(start)
    before, passed = selection.found(), Counter[str]()
    prefix = "" if start == "." else f"{_label(start).rstrip('/')}/"
    for path, entry in _walk(folder, passed):
        if pattern is not None and not pattern.matches(path):
            continue
        reason = "" if pattern is not None and pattern.exact_name else _why_skipped(path)
        if reason:
            passed[reason] += 1
        elif selection.found() - before >= MOST_FOUND:
            selection.notes.append(f"'{shown(name)}' has more than {MOST_FOUND:,} files; the rest was not looked at.")
            break
        else:
            place = str(folder / path)
            selection.entries.append(Candidate(label=f"{prefix}{path}", place=place, found=True, bytes=_size(entry)))
    if selection.found() == before:
        raise _nothing(name, pattern, passed)
    selection.passed += passed


def _nothing(name: str, pattern: GlobPattern | None, passed: Counter[str]) -> FileRefused:
    left = f" ({_counted(passed)})" if passed else ""
    if pattern is not None:
        return FileRefused(
            f"'{shown(name)}' matches no file that can be sent{left}.",
            "Check the pattern; ignored, generated and vendored files are sent only when they are named.",
        )
    return FileRefused(f"'{shown(name)}' is a directory without files that can be sent{left}.", "Name files.")


def passed_over(passed: Counter[str]) -> str:
    """`Passed over in folders: 3 binary, 2 lock file.`; empty for nothing."""
    return f"Passed over in folders: {_counted(passed)}." if passed else ""


def _counted(passed: Counter[str]) -> str:
    return ", ".join(f"{count:,} {reason}" for reason, count in passed.most_common())


def _why_skipped(path: str) -> str:
    if os.path.splitext(path)[1].lower() in _BINARY_NAMES:  # noqa: PTH122 - one call per file of a large tree
        return "binary"
    return why_generated(path).removeprefix("a ")


def _walk(folder: Path, passed: Counter[str]) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """The regular files below a folder, sorted, each with its path from there; links are not followed."""
    waiting = [("", Ignored.at(folder))]
    looked_at = 0
    while waiting:
        prefix, rules = waiting.pop()
        entries = _entries(rules.folder)
        looked_at += len(entries)
        below: list[tuple[str, Ignored]] = []
        for entry in entries:
            if entry.name == ".git":
                continue
            is_folder = entry.is_dir(follow_symlinks=False)
            if not is_folder and not entry.is_file(follow_symlinks=False):
                continue
            if is_folder and entry.name in SKIPPED_FOLDERS:
                passed["generated or vendored folder"] += 1
            elif rules.skips(entry.name, is_folder=is_folder):
                passed["ignored by git"] += 1
            elif is_folder:
                below.append((f"{prefix}{entry.name}/", rules.below(entry.name)))
            else:
                yield f"{prefix}{entry.name}", entry
        if looked_at > _MOST_LOOKED_AT:
            passed[f"or more not looked at, after {_MOST_LOOKED_AT:,} entries"] += 1
            return
        waiting.extend(reversed(below))


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError:
        return []


def _size(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat(follow_symlinks=False).st_size
    except OSError:
        return 0


def _label(name: str) -> str:
    """A name without detours, so that the same file has the same name in the whole thread."""
    return os.path.normpath(name).replace(os.sep, "/")
