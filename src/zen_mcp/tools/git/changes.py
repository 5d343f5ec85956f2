"""Changes as data: what git's diff says of each file, and how a large one is cut into parts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from zen_mcp.figures import estimate_tokens

ChangeStatus = Literal["added", "modified", "deleted", "renamed", "copied", "untracked", "unmerged"]

_HUNK = re.compile(r"@@ -(\d+)(?:,\d+)? \+(\d+)(?:,\d+)? @@(.*)")
_LONGEST_LINE_CHARACTERS = 4_000
_BYTES_PER_TOKEN = 2.5
"""Low on purpose: a part stays below its budget also where the text is dense."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What happened to one file.

    Attributes:
        path: from the repository's top, with `/`.
        old_path: what it was called before; None unless it was renamed or copied.
        binary: git shows no lines of it.
        patch: the unified diff with its header; empty for a binary file, and where `note` says why it is not shown.
        note: why there is no patch, or what is not in it; empty for nothing.
    """

    path: str
    status: ChangeStatus
    patch: str
    old_path: str | None = None
    binary: bool = False
    added_lines: int = 0
    removed_lines: int = 0
    note: str = ""

    @property
    def summary(self) -> str:
        """`renamed src/a.py → src/b.py (+3 -1)`."""
        name = f"{self.old_path} → {self.path}" if self.old_path else self.path
        counts = "binary" if self.binary else f"+{self.added_lines:,} -{self.removed_lines:,}"
        return f"{self.status} {name} ({counts}{f'; {self.note}' if self.note else ''})"

    @property
    def text(self) -> str:
        """What a model is shown: the patch, or the summary where there is none."""
        return self.patch or f"{self.summary}\n"

    @property
    def tokens(self) -> int:
        """About how long the text is."""
        return estimate_tokens(self.text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """A set of changes.

    Attributes:
        folder: the repository's top.
        title: which changes these are, in words: "staged changes", "main...HEAD".
        left_out: what was not taken, or not as it is, and why; one sentence each.
    """

    folder: Path
    title: str
    changes: tuple[Change, ...]
    left_out: tuple[str, ...] = ()

    @property
    def paths(self) -> tuple[str, ...]:
        """The changed files, from the repository's top."""
        return tuple(change.path for change in self.changes)

    @property
    def text(self) -> str:
        """All patches, one after the other."""
        return "".join(change.text for change in self.changes)

    @property
    def tokens(self) -> int:
        """About how long the text is."""
        return sum(change.tokens for change in self.changes)

    @property
    def summary(self) -> str:
        """`staged changes: 3 files, +40 -12`."""
        added = sum(change.added_lines for change in self.changes)
        removed = sum(change.removed_lines for change in self.changes)
        count = len(self.changes)
        return f"{self.title}: {count:,} file{'' if count == 1 else 's'}, +{added:,} -{removed:,}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RawChange:
    """One entry of `git diff --raw -z`: a letter (A, M, D, R, C, T, U) and the paths."""

    letter: str
    path: str
    old_path: str | None = None


_STATUSES: dict[str, ChangeStatus] = {
    "A": "added",
    "M": "modified",
    "T": "modified",
    "D": "deleted",
    "R": "renamed",
    "C": "copied",
    "U": "unmerged",
}
_PATCH_START = re.compile(rb"^(?=diff --git |\* Unmerged path )", re.MULTILINE)


def parse_diff(output: bytes, *, cut: bool = False) -> tuple[tuple[Change, ...], tuple[str, ...]]:
    """What `git diff --raw -z --patch` wrote: the changes, and the paths whose patch is missing because it was cut."""
    listing, _, patches = output.partition(b"\0\0")
    entries = list(_raw_changes(listing.split(b"\0")))
    pieces = [piece for piece in _PATCH_START.split(patches) if piece]
    if cut:
        pieces = pieces[:-1]
    waiting = iter(pieces)
    changes: dict[str, Change] = {}
    missing: list[str] = []
    for entry in entries:
        patch = next(waiting, None)
        if patch is None:
            missing.append(entry.path)
            continue
        if entry.letter == "T":
            # A file that became a link, or the other way round, is shown as one deleted and one added.
            patch += next(waiting, b"")
        known = changes.get(entry.path)
        change = _change(entry, patch)
        changes[entry.path] = replace(change, status="unmerged") if known and known.status == "unmerged" else change
    return tuple(changes.values()), tuple(missing)


def _raw_changes(fields: Iterable[bytes]) -> Iterator[RawChange]:
    """Records are `:modes ids LETTER`, path, and for R and C a second path."""
    waiting = iter(fields)
    for field in waiting:
        if not field.startswith(b":"):
            continue
        letter = field.rpartition(b" ")[2][:1].decode("ascii", "replace")
        first = _path(next(waiting, b""))
        if letter in {"R", "C"}:
            yield RawChange(letter=letter, path=_path(next(waiting, b"")), old_path=first)
        else:
            yield RawChange(letter=letter, path=first)


def _path(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def _change(entry: RawChange, raw: bytes) -> Change:
    patch = raw.decode("utf-8", "replace")
    status = _STATUSES.get(entry.letter, "modified")
    if status == "unmerged":
        return Change(path=entry.path, status=status, patch="", note="has a merge conflict")
    binary = "\n@@ " not in patch and re.search(r"^Binary files .* differ$", patch, re.MULTILINE) is not None
    added, removed = _counted(patch)
    return Change(
        path=entry.path,
        old_path=entry.old_path,
        status=status,
        binary=binary,
        patch="" if binary else patch,
        added_lines=added,
        removed_lines=removed,
    )


def _counted(patch: str) -> tuple[int, int]:
    """How many lines were added and removed."""
    added = removed = 0
    inside = False
    for line in patch.split("\n"):
        if line.startswith("@@ "):
            inside = True
        elif line.startswith("diff --git "):
            inside = False
        elif inside:
            added += line.startswith("+")
            removed += line.startswith("-")
    return added, removed


def patch_of_new_file(path: str, text: str) -> str:
    """The unified diff that adds a file."""
    lines = text.split("\n")
    ended = lines[-1] == ""
    lines = lines[:-1] if ended else lines
    head = f"diff --git a/{path} b/{path}\nnew file mode 100644\n"
    if not lines:
        return head
    body = "".join(f"+{line}\n" for line in lines)
    return f"{head}--- /dev/null\n+++ b/{path}\n@@ -0,0 +1,{len(lines)} @@\n{body}" + (
        "" if ended else "\\ No newline at end of file\n"
    )


def split_changes(changes: Changes, *, budget_tokens: int) -> tuple[Changes, ...]:
    """Cut changes into parts of at most about `budget_tokens`, to be asked one after the other and merged.

    Files stay whole as long as one fits; a larger one is cut between its hunks, and a hunk that is larger still between
    its lines, with line numbers that stay right. What was left out stands in the first part.
    """
    budget = max(budget_tokens, 200)
    parts: list[list[Change]] = [[]]
    used = 0
    for piece in (piece for change in changes.changes for piece in _pieces(change, budget)):
        size = piece.tokens
        if parts[-1] and used + size > budget:
            parts.append([])
            used = 0
        parts[-1].append(piece)
        used += size
    if len(parts) == 1:
        return (replace(changes, changes=tuple(parts[0])),)
    return tuple(
        Changes(
            folder=changes.folder,
            title=f"{changes.title} (part {number} of {len(parts)})",
            changes=tuple(part),
            left_out=changes.left_out if number == 1 else (),
        )
        for number, part in enumerate(parts, start=1)
    )


def _pieces(change: Change, budget: int) -> Iterator[Change]:
    """The change, or several of the same file that fit the budget."""
    if change.tokens <= budget:
        yield change
        return
    head, _, body = change.patch.partition("\n@@ ")
    room = max(budget - estimate_tokens(head) - 40, 100)
    for patch in _packed(head, _small_hunks(f"@@ {body}", room), room):
        added, removed = _counted(patch)
        yield replace(change, patch=patch, added_lines=added, removed_lines=removed)


def _packed(head: str, hunks: Iterable[str], room: int) -> Iterator[str]:
    """Patches of as many hunks as fit."""
    taken: list[str] = []
    used = 0
    for hunk in hunks:
        size = estimate_tokens(hunk)
        if taken and used + size > room:
            yield f"{head}\n{''.join(taken)}"
            taken, used = [], 0
        taken.append(hunk)
        used += size
    if taken:
        yield f"{head}\n{''.join(taken)}"


def _small_hunks(body: str, room: int) -> Iterator[str]:
    for hunk in re.split(r"(?m)^(?=@@ )", body):
        if hunk:
            yield from ([hunk] if estimate_tokens(hunk) <= room else _cut_hunk(hunk, room))


def _cut_hunk(hunk: str, room: int) -> Iterator[str]:
    """A hunk in several, each with the numbers of its first lines."""
    first, *lines = hunk.removesuffix("\n").split("\n")
    found = _HUNK.match(first)
    if found is None:
        yield hunk
        return
    old, new = int(found[1]), int(found[2])
    most = int(room * _BYTES_PER_TOKEN)
    taken: list[str] = []
    used = 0
    for line in lines:
        kept = _short_line(line, most)
        if taken and used + len(kept.encode()) > most and not line.startswith("\\"):
            yield _hunk(taken, old, new, found[3])
            old, new = old + _length(taken, " -"), new + _length(taken, " +")
            taken, used = [], 0
        taken.append(kept)
        used += len(kept.encode()) + 1
    yield _hunk(taken, old, new, found[3])


def _hunk(lines: list[str], old: int, new: int, heading: str) -> str:
    first = f"@@ -{old},{_length(lines, ' -')} +{new},{_length(lines, ' +')} @@{heading}"
    return "\n".join([first, *lines, ""])


def _length(lines: Iterable[str], marks: str) -> int:
    return sum(line[:1] in marks for line in lines)


def _short_line(line: str, most_bytes: int) -> str:
    """A line that is not longer than a model can do with, nor than a whole part."""
    most = min((most_bytes - 60) // (1 if line.isascii() else 4), _LONGEST_LINE_CHARACTERS)
    return line if len(line) <= most else f"{line[:most]}… [{len(line) - most:,} more characters]"
