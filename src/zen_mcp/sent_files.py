"""Files within a thread: sent once, where they first stood, with their newest content."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from typing import Protocol

_LINES = re.compile(r"(?P<path>.+):(?P<first>\d{1,9})-(?P<last>\d{1,9})")
_NUMBER = re.compile(r"^\d+\|", re.MULTILINE)


class File(Protocol):
    """A file as it was read: path (ending in `:10-80` for some of its lines), text and the text's SHA-256."""

    @property
    def path(self) -> str: ...  # noqa: D102
    @property
    def text(self) -> str: ...  # noqa: D102
    @property
    def sha256(self) -> str: ...  # noqa: D102


class SentFiles:
    """What stands in place of each file of a thread: its text, or a line that says where the text is.

    A text with numbered lines is the same content as one without; where it is numbered it stands for both.

    Args:
        files: every file of the thread and of the new question, in order.
    """

    def __init__(self, files: Iterable[File]) -> None:
        self._newest: dict[str, str] = {}
        self._place: dict[int, int] = {}
        self._whole: dict[str, tuple[int, list[str]]] = {}
        for place, file in enumerate(files):
            text = _plain(file.text)
            self._newest[file.path] = _digest(text)
            self._place[id(file)] = place
            self._whole[file.path] = (place, text.split("\n"))
        self._sent: dict[str, bool] = {}

    def start_over(self) -> None:
        """Forget what was sent: the messages are made anew, without the oldest."""
        self._sent = {}

    def part(self, file: File) -> str:
        """The file as it stands in its message."""
        text, numbered = _plain(file.text), is_numbered(file.text)
        if self._newest.get(file.path) != _digest(text) or self._outdated(file, text):
            return _said(file, "changed since; the newest content is sent further on")
        if self._stands(file.path, numbered):
            return _said(file, "unchanged, sent above")
        lines = _LINES.fullmatch(file.path)
        if lines and self._stands(lines["path"], numbered) and self._holds(lines, text):
            return _said(file, "unchanged, part of the file sent above")
        self._sent[file.path] = numbered
        return f'<file path="{file.path}">\n{file.text}\n</file>'

    def _stands(self, path: str, numbered: bool) -> bool:
        """Whether a file was sent in a form that will do: a text without numbers does not stand for one with them."""
        return path in self._sent and (self._sent[path] or not numbered)

    def _outdated(self, file: File, text: str) -> bool:
        """Whether these are lines of a file that was read anew, later, and holds others in their place."""
        lines = _LINES.fullmatch(file.path)
        later, _ = self._whole.get(lines["path"], (-1, [])) if lines else (-1, [])
        return lines is not None and later > self._place.get(id(file), later) and not self._holds(lines, text)

    def _holds(self, lines: re.Match[str], text: str) -> bool:
        """Whether the whole file's newest content has that text at those lines."""
        _, content = self._whole[lines["path"]]
        return _same(content[int(lines["first"]) - 1 : int(lines["last"])], text)


def is_numbered(text: str) -> bool:
    """Whether every line of a text begins with its number and a bar."""
    lines = text.removesuffix("\n").split("\n")
    numbers = [line.partition("|")[0] for line in lines]
    if not numbers[0].isdecimal() or len(numbers[0]) > 9:
        return False
    return all(number == str(index) for index, number in enumerate(numbers, start=int(numbers[0])))


def _plain(text: str) -> str:
    return _NUMBER.sub("", text) if is_numbered(text) else text


def _digest(plain: str) -> str:
    return hashlib.sha256(plain.removesuffix("\n").encode("utf-8", "replace")).hexdigest()


def _same(lines: Sequence[str], text: str) -> bool:
    return lines == text.removesuffix("\n").split("\n")


def _said(file: File, what: str) -> str:
    return f'<file path="{file.path}">({what})</file>'
