"""What an agent prints, read as it comes: text, one JSON document, or one JSON event per line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Protocol, cast

from zen_mcp.tools.context import AgentOutput

MOST_KEPT_BYTES = 4 * 1024 * 1024
"""Of a text or a document so much is kept; of events, a line may be so long."""


class Reading(Protocol):
    """Takes an agent's output piece by piece."""

    cut: bool
    """Whether it was more than is kept."""

    def feed(self, piece: bytes) -> str:
        """Take a piece; one line on it for whoever watches, empty for nothing new."""
        ...

    def answer(self) -> str | None:
        """The answer, None when there is none in it."""
        ...

    def error(self) -> str:
        """What the agent itself says went wrong; empty for nothing."""
        ...


def reading(output: AgentOutput) -> Reading:
    """How to read what an agent of these settings prints."""
    return _Events(output) if output.format == "jsonl" else _Whole(output)


class _Whole:
    """Everything in one: text, or a JSON document."""

    def __init__(self, output: AgentOutput) -> None:
        self._output = output
        self._kept = bytearray()
        self.cut = False

    def feed(self, piece: bytes) -> str:
        room = MOST_KEPT_BYTES - len(self._kept)
        self._kept += piece[:room]
        self.cut = self.cut or len(piece) > room
        lines = piece.decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines and self._output.format == "text" else ""

    def answer(self) -> str | None:
        if self._output.format == "text":
            return self._text() or None
        return at_path(self._document(), self._output.answer)

    def error(self) -> str:
        return "" if self._output.format == "text" else first_at(self._document(), self._output.error)

    def _text(self) -> str:
        return self._kept.decode("utf-8", "replace").strip()

    def _document(self) -> object:
        """The document; what stands before its first and after its last brace is passed over."""
        text = self._text()
        start, end = text.find("{"), text.rfind("}")
        return parsed(text[start : end + 1]) if start >= 0 else None


class _Events:
    """JSON Lines, of which only answers and errors are kept."""

    def __init__(self, output: AgentOutput) -> None:
        self._output = output
        self._line = bytearray()
        self._answers: list[str] = []
        self._size = 0
        self._error = ""
        self.cut = False

    def feed(self, piece: bytes) -> str:
        told = ""
        *ended, rest = piece.split(b"\n")
        for part in ended:
            self._add(part)
            told = self._event(bytes(self._line)) or told
            self._line.clear()
        self._add(rest)
        return told

    def answer(self) -> str | None:
        self._event(bytes(self._line))
        self._line.clear()
        return "\n\n".join(self._answers).strip() or None

    def error(self) -> str:
        return self._error

    def _add(self, part: bytes) -> None:
        room = MOST_KEPT_BYTES - len(self._line)
        self._line += part[:room]
        self.cut = self.cut or len(part) > room

    def _event(self, line: bytes) -> str:
        event = parsed(line.decode("utf-8", "replace")) if line.strip() else None
        if not isinstance(event, dict):
            return ""
        event = cast("dict[str, object]", event)
        wanted = self._output.where.items()
        text = at_path(event, self._output.answer) if all(at_path(event, k) == v for k, v in wanted) else None
        if text is None:
            self._error = first_at(event, self._output.error) or self._error
            return str(event.get("type", ""))
        if self._output.take == "last":
            self._answers.clear()
            self._size = 0
        self._size += len(text)
        if self._size <= MOST_KEPT_BYTES:
            self._answers.append(text)
        else:
            self.cut = True
        return text


def told(complaint: str, output: AgentOutput) -> str:
    """What an agent's error output says: the error in it where it is JSON, else all of it."""
    document = parsed(complaint[complaint.find("{") : complaint.rfind("}") + 1]) if "{" in complaint else None
    return first_at(document, output.error) or complaint


def parsed(text: str) -> object:
    """JSON, or None for what is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def at_path(document: object, path: str) -> str | None:
    """The text at `item.text`; numbers and truth values as JSON writes them. None when there is nothing."""
    for part in path.split(".") if path else ():
        if isinstance(document, list) and part.isdigit() and int(part) < len(cast("list[object]", document)):
            document = cast("list[object]", document)[int(part)]
        elif isinstance(document, dict):
            document = cast("dict[str, object]", document).get(part)
        else:
            return None
    if isinstance(document, str):
        return document
    return json.dumps(document) if isinstance(document, bool | int | float) else None


def first_at(document: object, paths: Sequence[str]) -> str:
    """The first text at one of the paths; empty for none."""
    return next((text for path in paths if (text := at_path(document, path))), "")
