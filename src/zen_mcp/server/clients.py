"""What is known of the programs that connect to us."""

from __future__ import annotations

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

# Asked of Claude Code for tools whose results may be long: what it shows whole grows from 49,000 to this.
CLAUDE_RESULT_CHARACTERS = 300_000


def result_characters(client_name: str | None) -> int | None:
    """How long a result this client shows whole; None for a client that was not measured."""
    if client_name is None:
        return None
    name = client_name.lower()
    return next((characters for part, characters in RESULT_CHARACTERS if part in name), None)
