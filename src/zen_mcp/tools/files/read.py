"""Reading the files that a caller names: only what is allowed, as much as fits, and never in silence."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import anyio

from zen_mcp.errors import FileRefused, PromptTooLong
from zen_mcp.figures import estimate_tokens
from zen_mcp.tools.files.disk import Disk, all_or_none, decoded, shown
from zen_mcp.tools.files.generated import looks_minified
from zen_mcp.tools.files.names import InlineFile, Lines, lines_of
from zen_mcp.tools.files.secrets import REDACTED, is_secret, redact
from zen_mcp.tools.files.selection import Candidate, Selection, passed_over, select

_LARGEST_WITH_LINES_BYTES = 64 * 1024 * 1024
"""A file of which only some lines are wanted may be so large."""
_MOST_BYTES = 16 * 1024 * 1024
_NAMED = 10
_AROUND_TOKENS = 12
"""Of the lines around a file."""
_SURE_SHARE = 4
"""What is estimated at a quarter of the room fits whatever the tokenizer says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileContent:
    """A file's text as it is sent; `sha256` is of the text in UTF-8. `path` ends in `:10-80` for some of its lines."""

    path: str
    text: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """How much may be sent.

    Attributes:
        tokens: for files.
        count: a text's real tokens; blocks.
        whose: the name of the model with this room.
    """

    tokens: int
    count: Callable[[str], int]
    whose: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesRead:
    """What was read.

    Attributes:
        files: in the order in which they were named.
        notes: what was left out or changed, and why; one sentence each.
        surplus_tokens: by how much the estimate of the files is above their real number; 0 where nobody counted.
    """

    files: tuple[FileContent, ...] = ()
    notes: tuple[str, ...] = ()
    surplus_tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Text:
    """One text on its way. `found`: it may be left out without being missed by name."""

    content: FileContent
    found: bool
    note: str = ""


async def read_files(
    names: Sequence[str | InlineFile],
    *,
    roots: Sequence[Path],
    max_file_bytes: int,
    allow_secret_files: bool = False,
    numbered: bool = False,
    room: Room | None = None,
) -> FilesRead:
    """Read what the names mean: files, lines of files (`path:10-80`), folders, patterns, and texts sent along.

    A named file that cannot be sent fails the call before any model is paid. One to which a folder or a pattern led,
    or one for which there is no room, is left out and noted. Secrets in files are replaced, and that is noted.

    Args:
        names: absolute, or relative to a root; a file named twice is read once.
        roots: folders that may be read; none: the disk is closed, and only texts are taken.
        max_file_bytes: a larger file is refused.
        allow_secret_files: whether secrets are sent.
        numbered: whether each line has its number before it (`12|code`).
        room: how much fits; None: no matter.

    Raises:
        FileRefused: names each refused file, the reason and what to do.
        PromptTooLong: there is no room for any of the files.
    """
    if not names:
        return FilesRead()
    reader = _Reader(
        disk=Disk(roots=roots, max_bytes=max_file_bytes, allow_secret_files=allow_secret_files),
        numbered=numbered,
        room=room,
    )
    return await anyio.to_thread.run_sync(reader.read, names, abandon_on_cancel=True)


def number_lines(text: str, *, first: int = 1) -> str:
    """The text with the number of each line before it: `12|code`."""
    return "".join(f"{number}|{line}" for number, line in enumerate(lines_of(text), start=first))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reader:
    disk: Disk
    numbered: bool
    room: Room | None

    def read(self, names: Sequence[str | InlineFile]) -> FilesRead:
        """All of it."""
        selection, refused = select(names, self.disk)
        named = [entry for entry in selection.entries if isinstance(entry, InlineFile) or not entry.found]
        texts = {_key(entry): text for entry, text in zip(named, self._named(named, refused), strict=True)}
        found = [entry for entry in selection.entries if isinstance(entry, Candidate) and entry.found]
        more, left = self._found(found, selection, sum(len(text.content.text) for text in texts.values()))
        texts |= more
        notes = [*selection.notes, *filter(None, [passed_over(selection.passed)])]
        ordered = [texts[key] for key in map(_key, selection.entries) if key in texts]
        if not ordered and not left:
            raise FileRefused(f"None of the files can be sent. {' '.join(notes)}", "Name others.")
        kept, unfit, surplus = self._fitting(ordered, left)
        notes += [text.note for text in kept if text.note]
        return FilesRead(files=tuple(text.content for text in kept), notes=(*unfit, *notes), surplus_tokens=surplus)

    def _named(self, entries: Sequence[Candidate | InlineFile], refused: Sequence[FileRefused]) -> list[_Text]:
        """Every one, or an error that names all that cannot be sent."""
        return all_or_none(entries, self._text, refused=refused)

    def _text(self, entry: Candidate | InlineFile) -> _Text:
        return self._inline(entry) if isinstance(entry, InlineFile) else self._file(entry)

    def _file(self, entry: Candidate) -> _Text:
        disk = self.disk
        if entry.lines is not None:
            disk = replace(disk, max_bytes=max(disk.max_bytes, _LARGEST_WITH_LINES_BYTES))
        text = decoded(entry.label, disk.read(entry.place, called=entry.label))
        return self._made(entry.label, text, lines=entry.lines, found=entry.found)

    def _inline(self, entry: InlineFile) -> _Text:
        if any(ord(letter) < 32 for letter in entry.path):
            raise FileRefused(f"{shown(entry.path)!r} is no path.", "Give the file's name, on one line.")
        if not self.disk.allow_secret_files and is_secret(Path(entry.path)):
            raise FileRefused(f"'{shown(entry.path)}' looks like a file of secrets.", "Leave it out.")
        return self._made(entry.path, entry.text)

    def _made(self, label: str, text: str, *, lines: Lines | None = None, found: bool = False) -> _Text:
        first = 1
        found_secrets = ""
        if not self.disk.allow_secret_files:
            redacted = redact(text)
            text, found_secrets = redacted.text, redacted.in_words()
        if lines is not None:
            text, which = lines.of(label, text)
            label, first = f"{label}:{which}", lines.first
        size = len(text.encode("utf-8", "replace"))
        if size > self.disk.max_bytes:
            raise FileRefused(
                f"'{shown(label)}' has {size:,} bytes; at most {self.disk.max_bytes:,} are sent.",
                "Send less of it, or raise max_file_bytes in server.yaml.",
            )
        note = f"'{shown(label)}': {found_secrets}." if found_secrets and REDACTED in text else ""
        if self.numbered:
            text = number_lines(text, first=first)
        digest = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
        return _Text(content=FileContent(path=label, text=text, sha256=digest), found=found, note=note)

    def _found(
        self, entries: Sequence[Candidate], selection: Selection, used_bytes: int
    ) -> tuple[dict[str, _Text], list[str]]:
        """What folders and patterns led to, and what of it is not even read because there is no room."""
        most = min(_MOST_BYTES, self.room.tokens * 8) if self.room else _MOST_BYTES
        texts: dict[str, _Text] = {}
        left: list[str] = []
        refused: list[str] = []
        for entry in entries:
            if used_bytes + entry.bytes > most and entry.bytes <= self.disk.max_bytes:
                left.append(f"{entry.label} (about {_tokens_of(entry.bytes):,} tokens)")
                continue
            try:
                text = self._file(entry)
            except FileRefused as exc:
                if "is a binary file" in exc.problem:
                    selection.passed["binary"] += 1
                else:
                    refused.append(exc.problem.rstrip("."))
                continue
            if looks_minified(text.content.text):
                refused.append(f"'{entry.label}' is minified")
                continue
            texts[_key(entry)] = text
            used_bytes += len(text.content.text)
        selection.notes += [_listed("Not sent:", refused)] if refused else []
        return texts, left

    def _fitting(self, texts: Sequence[_Text], unread: Sequence[str]) -> tuple[list[_Text], list[str], int]:
        """What there is room for, named files first; notes on the rest; how much too high the estimate is.

        Raises:
            PromptTooLong: there is room for none.
        """
        estimates = [_estimated(text) for text in texts]
        room = self.room
        if room is None or (texts and sum(estimates) <= room.tokens // _SURE_SHARE):
            return list(texts), [_listed("No room for", unread)] if unread else [], 0
        sizes = [room.count(text.content.text) + _estimated_around(text) for text in texts]
        kept: set[int] = set()
        used = 0
        for index in sorted(range(len(texts)), key=lambda index: texts[index].found):
            if used + sizes[index] <= room.tokens:
                kept.add(index)
                used += sizes[index]
        left = [
            f"{text.content.path} (about {sizes[index]:,} tokens)"
            for index, text in enumerate(texts)
            if index not in kept
        ]
        left += unread
        if not kept:
            problem = _listed("There is no room for", left).rstrip(".")
            raise PromptTooLong(
                f"{problem}; '{room.whose}' has room for about {max(room.tokens, 0):,}.",
                "Name the lines that matter (path:10-80), fewer files, or a model with a longer context window.",
            )
        surplus = sum(estimates[index] - sizes[index] for index in kept)
        notes = [_listed(f"No room in '{room.whose}' for", left)] if left else []
        return [texts[index] for index in sorted(kept)], notes, surplus


def _key(entry: Candidate | InlineFile) -> str:
    return entry.path if isinstance(entry, InlineFile) else entry.key


def _estimated(text: _Text) -> int:
    return estimate_tokens(text.content.text) + _estimated_around(text)


def _estimated_around(text: _Text) -> int:
    return estimate_tokens(text.content.path) + _AROUND_TOKENS


def _tokens_of(size: int) -> int:
    return max(round(size / 3.5), 1)


def _listed(what: str, entries: Sequence[str]) -> str:
    more = f" and {len(entries) - _NAMED:,} more" if len(entries) > _NAMED else ""
    return f"{what} {', '.join(entries[:_NAMED])}{more}." if entries else ""
