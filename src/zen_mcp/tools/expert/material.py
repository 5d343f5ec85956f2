"""What an expert is shown: files and changes with line numbers, in as many pieces as a model's window wants."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from zen_mcp.conversations import StoredFile
from zen_mcp.figures import estimate_tokens
from zen_mcp.sent_files import File
from zen_mcp.tools.git.changes import Changes, split_changes

MOST_PIECES = 12
"""A member is asked at most so often in one call; what is left then is named."""

_HUNK = re.compile(r"@@ -\d+(?:,\d+)? \+(\d+)(?:,\d+)? @@")
_RANGE = re.compile(r":(\d+)-\d+\Z")
_SMALLEST_PIECE_TOKENS = 200
_OVERHEAD_TOKENS = 20
"""Of the lines around a file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """Files with numbered lines, changes, or both: then the files are there to understand the changes by."""

    files: tuple[File, ...] = ()
    changes: Changes | None = None

    @property
    def sent(self) -> Mapping[str, int]:
        """Each path and the number of its last line; 0 for a changed file, whose other lines were not sent."""
        lines = {_bare(file.path): 0 if _RANGE.search(file.path) else _last_line(file.text) for file in self.files}
        return {**lines, **dict.fromkeys(self.changes.paths if self.changes else (), 0)}

    @property
    def stored(self) -> tuple[File, ...]:
        """All of it as files of the question, as the thread keeps it."""
        return (*([_shown(self.changes)] if self.changes else []), *self.files)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """The pieces to ask about, and what is in none of them, in words."""

    pieces: tuple[tuple[File, ...], ...]
    left_out: tuple[str, ...] = ()


def cut_up(material: Material, *, budget_tokens: int, one_piece: bool) -> Cut:
    """The material in pieces of at most about `budget_tokens`.

    Files stay whole where one fits a piece; a larger one is cut between its lines. With changes, the files go with
    each piece of them, as far as they fill no more than half of it.

    Args:
        material: what there is.
        budget_tokens: the room for it beside the question.
        one_piece: leave out what does not fit, instead of asking several times.
    """
    budget = max(budget_tokens, _SMALLEST_PIECE_TOKENS)
    if sum(_size(file) for file in material.stored) <= budget:
        return Cut(pieces=(material.stored,))
    if material.changes is not None:
        return _cut_changes(material.changes, material.files, budget)
    if one_piece:
        kept, left_out = _fitting(material.files, budget)
        return Cut(pieces=(kept,), left_out=left_out)
    pieces = _packed([part for file in material.files for part in _parts(file, budget)], budget)
    return _limited(pieces)


def numbered_patch(patch: str) -> str:
    """A unified diff in which each line that stands in the new file has its number there before it."""
    return "\n".join(_numbered_lines(patch.split("\n")))


def _numbered_lines(lines: Sequence[str]) -> Iterator[str]:
    number = 0
    for line in lines:
        if found := _HUNK.match(line):
            number = int(found[1])
            yield line
        elif line.startswith("diff --git "):
            number = 0
            yield line
        elif number and line[:1] in {"+", " "}:
            yield f"{number}|{line}"
            number += 1
        else:
            yield f"-|{line}" if number and line.startswith("-") else line


def _cut_changes(changes: Changes, files: Sequence[File], budget: int) -> Cut:
    kept, left_out = _fitting(files, budget // 2)
    room = budget - sum(_size(file) for file in kept)
    # The numbers before the lines make a diff about a third longer.
    parts = split_changes(changes, budget_tokens=room * 3 // 4)
    cut = _limited([(_shown(part), *kept) for part in parts])
    return replace(cut, left_out=(*left_out, *cut.left_out))


def _fitting(files: Sequence[File], budget: int) -> tuple[tuple[File, ...], tuple[str, ...]]:
    """The files that fit, in their order, and a note for each that does not."""
    kept: list[File] = []
    notes: list[str] = []
    used = 0
    for file in files:
        size = _size(file)
        if used + size <= budget:
            kept.append(file)
            used += size
        else:
            notes.append(f"'{file.path}' (about {size:,} tokens) did not fit and was not sent.")
    return tuple(kept), tuple(notes)


def _parts(file: File, budget: int) -> Iterator[File]:
    """The file, or runs of its lines that fit the budget, each named `path:first-last`."""
    if _size(file) <= budget:
        yield file
        return
    taken: list[str] = []
    used = _OVERHEAD_TOKENS
    for line in file.text.removesuffix("\n").split("\n"):
        size = estimate_tokens(line) + 1
        if taken and used + size > budget:
            yield _run(file.path, taken)
            taken, used = [], _OVERHEAD_TOKENS
        taken.append(line)
        used += size
    yield _run(file.path, taken)


def _run(path: str, lines: Sequence[str]) -> StoredFile:
    first, last = (line.partition("|")[0] for line in (lines[0], lines[-1]))
    return _file(f"{_bare(path)}:{first}-{last}", "\n".join(lines))


def _packed(files: Sequence[File], budget: int) -> list[tuple[File, ...]]:
    pieces: list[list[File]] = [[]]
    used = 0
    for file in files:
        size = _size(file)
        if pieces[-1] and used + size > budget:
            pieces.append([])
            used = 0
        pieces[-1].append(file)
        used += size
    return [tuple(piece) for piece in pieces]


def _limited(pieces: Sequence[tuple[File, ...]]) -> Cut:
    left = pieces[MOST_PIECES:]
    if not left:
        return Cut(pieces=tuple(pieces))
    tokens = sum(_size(piece[0]) for piece in left)
    note = (
        f"Only {MOST_PIECES} of {len(pieces)} pieces were looked at; about {tokens:,} tokens were not: "
        f"{', '.join(piece[0].path for piece in left[:3])}{' …' if len(left) > 3 else ''}. Ask for less at once."
    )
    return Cut(pieces=tuple(pieces[:MOST_PIECES]), left_out=(note,))


def _shown(changes: Changes) -> StoredFile:
    return _file(f"git diff: {changes.title}", "".join(numbered_patch(change.text) for change in changes.changes))


def _size(file: File) -> int:
    return estimate_tokens(file.text) + _OVERHEAD_TOKENS


def _file(path: str, text: str) -> StoredFile:
    return StoredFile(path=path, text=text, sha256=hashlib.sha256(text.encode("utf-8", "replace")).hexdigest())


def _bare(path: str) -> str:
    return _RANGE.sub("", path)


def _last_line(text: str) -> int:
    number = text.removesuffix("\n").rpartition("\n")[2].partition("|")[0]
    return int(number) if number.isdecimal() else 0
