"""What a source file says, the same for every language: definitions, calls, imports, types."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["function", "method", "class"]
How = Literal["calls", "passes"]

MODULE = -1
"""Stands for a file's top level where a definition's number is wanted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """A function, method or class.

    Attributes:
        scope: the names around it, joined by dots; empty at the top.
        bases: what a class derives from or implements, as written.
        returns: the name of the type it returns; empty when not written.
        value: whether it is read like a value, as a property is.
    """

    name: str
    scope: str
    kind: Kind
    line: int
    end_line: int
    bases: tuple[str, ...] = ()
    returns: str = ""
    value: bool = False

    @property
    def full_name(self) -> str:
        """`Class.method`."""
        return f"{self.scope}.{self.name}" if self.scope else self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A call, or a function passed on as an argument.

    Attributes:
        receiver: what stands before the last dot, as written: `self._database`, `open()`; empty for a bare name.
        inside: the number of the definition in which it stands, or `MODULE`.
    """

    name: str
    receiver: str
    line: int
    inside: int
    how: How = "calls"


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """A name that comes from elsewhere: `local` here is `name` of `module`; an empty name is the module itself."""

    module: str
    name: str
    local: str
    line: int


@dataclass(slots=True)
class FileCode:
    """One file, read.

    Attributes:
        path: relative to the root, with slashes.
        language: its family: names of one are never looked for in another.
        types: the type of a variable or attribute, by scope and name: `("Class.method", "context")`, `("Class", "_x")`.
        uses: the lines on which a name is read, called or written in an annotation.
        fault: why it could not be read; empty when it could.
    """

    path: str
    language: str
    definitions: list[Definition] = field(default_factory=list[Definition])
    calls: list[Call] = field(default_factory=list[Call])
    imports: list[Import] = field(default_factory=list[Import])
    types: dict[tuple[str, str], str] = field(default_factory=dict[tuple[str, str], str])
    uses: dict[str, list[int]] = field(default_factory=dict[str, list[int]])
    fault: str = ""
