"""What a caller may write in `files`: a path, a folder, a pattern, lines of a file, or a text sent along."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import product
from typing import Annotated, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from zen_mcp.errors import FileRefused
from zen_mcp.tools.files.disk import shown

_LINES = re.compile(r"(?P<path>.+?):(?P<first>\d{1,9})(?P<dash>-(?P<last>\d{1,9})?)?")
_WILD = re.compile(r"[*?\[{]")
_BRACES = re.compile(r"\{([^{}]*,[^{}]*)\}")
_LONGEST_PATTERN_CHARACTERS = 500
_MOST_ALTERNATIVES = 64


class InlineFile(BaseModel):
    """A file's text, sent by a caller whose disk this server does not see."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: str = Field(min_length=1, max_length=1_000)
    text: str


FileEntry: TypeAlias = Annotated[str | InlineFile, WithJsonSchema({"type": "string"})]
"""One entry of `files`. Tools list it as a string, which costs no client tokens; objects are taken all the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lines:
    """Lines of a file, counted from 1, both included; `last` None: to its end."""

    first: int
    last: int | None

    def of(self, name: str, text: str) -> tuple[str, str]:
        """The lines of a text, and their numbers as they are shown: `10-80`.

        Raises:
            FileRefused: the text ends before they begin.
        """
        lines = lines_of(text)
        if self.first > len(lines):
            raise FileRefused(
                f"'{shown(name)}' has {len(lines):,} lines; there is no line {self.first:,}.", "Name lines that it has."
            )
        last = min(self.last or len(lines), len(lines))
        return "".join(lines[self.first - 1 : last]), f"{self.first}-{last}"


def lines_of(text: str) -> list[str]:
    """The lines of a text with their ends, as git and editors count them."""
    *ended, last = text.split("\n")
    return [*(f"{line}\n" for line in ended), *([last] if last else [])]


def lines_in(name: str) -> tuple[str, Lines] | None:
    """A name that ends in `:10-80`, `:10-` or `:10` as its path and lines; None for one that does not.

    Raises:
        FileRefused: the lines end before they begin.
    """
    found = _LINES.fullmatch(name)
    if found is None:
        return None
    first = int(found["first"])
    last = int(found["last"]) if found["last"] else (None if found["dash"] else first)
    if first < 1 or (last is not None and last < first):
        raise FileRefused(f"'{shown(name)}' names no lines.", "Lines count from 1: path:10-80.")
    return found["path"], Lines(first=first, last=last)


def is_pattern(name: str) -> bool:
    """Whether a name holds wildcards."""
    return _WILD.search(name) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class GlobPattern:
    """`src/**/*.py`: the folder without wildcards where it begins, and what paths below that it stands for.

    `exact_name`: its last part has no wildcard, so that the file is meant whatever it holds.
    """

    start: str
    expression: re.Pattern[str]
    exact_name: bool

    @classmethod
    def parse(cls, name: str) -> GlobPattern:
        """Read a pattern.

        Raises:
            FileRefused: it is too long, or none.
        """
        parts = name.replace("\\", "/").split("/")
        wild = next(index for index, part in enumerate(parts) if is_pattern(part))
        start = "/".join(parts[:wild]) or ("/" if name.startswith("/") else ".")
        alternatives = _alternatives("/".join(parts[wild:]))
        if len(name) > _LONGEST_PATTERN_CHARACTERS or len(alternatives) > _MOST_ALTERNATIVES:
            raise FileRefused(f"'{shown(name)}' is too long a pattern.", "Name several shorter ones.")
        expression = "|".join(_expression(alternative) for alternative in alternatives)
        try:
            compiled = re.compile(expression, re.DOTALL)
        except re.error:
            raise FileRefused(f"'{shown(name)}' is no pattern.", "Use *, ** and ?, for example src/**/*.py.") from None
        return cls(start=start, expression=compiled, exact_name=not is_pattern(parts[-1]))

    def matches(self, path: str) -> bool:
        """Whether a path, from `start` and with `/`, is meant."""
        return self.expression.fullmatch(path) is not None


def _alternatives(pattern: str) -> list[str]:
    """`*.{ts,tsx}` as `*.ts` and `*.tsx`."""
    pieces = _BRACES.split(pattern)
    choices = [piece.split(",") if index % 2 else [piece] for index, piece in enumerate(pieces)]
    size = 1
    for choice in choices:
        size *= len(choice)
        if size > _MOST_ALTERNATIVES:
            return [pattern] * size
    return ["".join(chosen) for chosen in product(*choices)]


def _expression(pattern: str) -> str:
    parts: list[str] = []
    for part in pattern.split("/"):
        if part != "**" or parts[-1:] != ["**"]:
            parts.append(part)
    whole = ""
    for index, part in enumerate(parts):
        is_last = index == len(parts) - 1
        if part == "**":
            whole += ".*" if is_last else "(?:[^/]+/)*"
        else:
            whole += _of_name(part) + ("" if is_last else "/")
    return whole


def _of_name(part: str) -> str:
    """One part of a path as a regular expression: `*` and `?` stop at `/`."""
    pieces: list[str] = []
    for sign in re.findall(r"\*+|\?|\[!?\]?[^\]/]*\]|.", part, re.DOTALL):
        if sign.startswith("*"):
            pieces.append("[^/]*")
        elif sign == "?":
            pieces.append("[^/]")
        elif sign.startswith("[") and len(sign) > 2:
            inside = sign[1:-1].replace("\\", "\\\\").replace("[", "\\[").replace("]", "\\]")
            pieces.append(f"[^/{inside[1:]}]" if inside.startswith("!") else f"[{inside}]")
        else:
            pieces.append(re.escape(sign))
    return "".join(pieces)
