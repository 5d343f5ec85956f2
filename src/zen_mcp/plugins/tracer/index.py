"""All chosen files: their texts at hand, each parsed when it is first needed, definitions found by name."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from zen_mcp.plugins.tracer.code import MODULE, Definition, FileCode
from zen_mcp.plugins.tracer.grammars import GrammarMissing, read_other
from zen_mcp.plugins.tracer.python_code import read_python
from zen_mcp.plugins.tracer.sources import LANGUAGES, LARGEST_FILE_BYTES, Sources

_DEFINED = re.compile(rb"\b(?:def|class|function|func|fn|interface|struct|trait|enum)\s+(?:\([^)]*\)\s*)?(\w+)")


class OutOfTime(Exception):
    """The time for reading is over; what was found so far stands."""


@dataclass(frozen=True, slots=True, order=True)
class Node:
    """A definition by its place: the number `at` in its file, or `MODULE` for the file's top level."""

    path: str
    at: int


class Index:
    """Source files by path.

    Args:
        sources: the files.
        seconds: how long reading and parsing may take.
    """

    def __init__(self, sources: Sources, *, seconds: float) -> None:
        self.sources = sources
        self.notes: dict[str, None] = {}
        """What is to be said: files that could not be read, a language whose grammar is missing."""
        self._ends = time.monotonic() + seconds
        self._texts: dict[str, bytes] = {}
        self._codes: dict[str, FileCode] = {}
        self._with: dict[tuple[str, str], list[str]] = {}
        self._folders: dict[str, list[str]] = {}
        for path in sources.files:
            self._folders.setdefault(str(PurePosixPath(path).parent), []).append(path)

    def family(self, path: str) -> str:
        """The language family of a file."""
        return LANGUAGES[PurePosixPath(path).suffix]

    def beside(self, path: str) -> list[str]:
        """The files of the same folder."""
        return self._folders.get(str(PurePosixPath(path).parent), [])

    def in_folder(self, folder: str) -> list[str]:
        """The files right in a folder."""
        return self._folders.get(folder, [])

    def folders(self) -> Iterator[str]:
        """Every folder with source files in it."""
        return iter(self._folders)

    def text(self, path: str) -> bytes:
        """A file's content, empty when it cannot be read now."""
        if path not in self._texts:
            try:
                with Path(self.sources.files[path]).open("rb") as file:
                    self._texts[path] = file.read(LARGEST_FILE_BYTES)
            except OSError as exc:
                self.notes[f"{path} cannot be read: {exc.strerror}"] = None
                self._texts[path] = b""
        return self._texts[path]

    def code(self, path: str) -> FileCode:
        """A file, parsed.

        Raises:
            OutOfTime: the time is over.
        """
        if path not in self._codes:
            if time.monotonic() > self._ends:
                raise OutOfTime
            text = self.text(path).decode("utf-8-sig", "replace")
            try:
                read = read_python if self.family(path) == "python" else read_other
                code = read(path, text)
            except GrammarMissing as exc:
                code = FileCode(path=path, language=self.family(path))
                self.notes[str(exc)] = None
            if code.fault:
                self.notes[f"{path} is left out: {code.fault}"] = None
            self._codes[path] = code
        return self._codes[path]

    def files_with(self, word: str, family: str) -> list[str]:
        """The files of a family in which a word stands."""
        key = (word, family)
        if key not in self._with:
            if time.monotonic() > self._ends:
                raise OutOfTime
            raw = word.encode()
            self._with[key] = [
                path for path in self.sources.files if self.family(path) == family and raw in self.text(path)
            ]
        return self._with[key]

    def families(self) -> list[str]:
        """The language families that there are."""
        return sorted({self.family(path) for path in self.sources.files})

    def definition(self, node: Node) -> Definition | None:
        """What stands at a node; None for a file's top level."""
        return None if node.at == MODULE else self.code(node.path).definitions[node.at]

    def named(self, name: str, family: str) -> list[Node]:
        """Every definition of that name."""
        return [
            Node(path, at)
            for path in self.files_with(name, family)
            for at, definition in enumerate(self.code(path).definitions)
            if definition.name == name
        ]

    def title(self, node: Node) -> str:
        """`Class.method`, or the file's path for its top level."""
        definition = self.definition(node)
        return definition.full_name if definition else f"({PurePosixPath(node.path).name})"

    def place(self, node: Node) -> str:
        """`path:line`."""
        definition = self.definition(node)
        return f"{node.path}:{definition.line}" if definition else node.path

    def all_names(self) -> set[str]:
        """Every name that looks defined somewhere, for suggestions."""
        return {
            match.decode("utf-8", "replace")
            for path in self.sources.files
            for match in _DEFINED.findall(self.text(path))
        }
