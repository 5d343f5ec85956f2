"""What is known of the programs that connect to us."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

Number = TypeVar("Number", int, float)

# How many characters of a result each client hands to its model whole (measured with the clients themselves,
# November 2026; a little below the figure, because they count in different ways). Found by part of the client's name.
RESULT_CHARACTERS: tuple[tuple[str, int], ...] = (
    ("claude", 45_000),
    ("opencode", 45_000),
    ("gemini", 38_000),
    ("qwen", 24_000),
    ("copilot", 19_000),
    ("codex", 11_500),
    ("cline", 7_500),
)


# How long each client waits for a call, a little less than measured, whether or not it hears of progress. Clients that
# wait for longer than any model's deadline, or that progress keeps patient, are not listed.
CALL_SECONDS: tuple[tuple[str, float], ...] = (
    ("cline", 55.0),
    ("continue", 55.0),
    ("codex", 285.0),
    ("gemini", 570.0),
    ("qwen", 285.0),
)


# Clients that put a resource link of a result before their model as a line of text (their sources, November 2026).
# Others drop it, and some glue all parts of a result together.
SHOW_RESOURCE_LINKS: tuple[str, ...] = ("gemini", "qwen")


def shows_resource_links(client_name: str | None) -> bool:
    """Whether this client is known to show resource links."""
    return any(part in (client_name or "").lower() for part in SHOW_RESOURCE_LINKS)


def call_seconds(client_name: str | None) -> float | None:
    """How long this client waits for a call; None where that is not known or no limit."""
    return _found(CALL_SECONDS, client_name)


def result_characters(client_name: str | None) -> int | None:
    """How long a result this client shows whole; None for a client that was not measured."""
    return _found(RESULT_CHARACTERS, client_name)


def _found(table: Sequence[tuple[str, Number]], client_name: str | None) -> Number | None:
    name = (client_name or "").lower()
    return next((value for part, value in table if part in name), None)
