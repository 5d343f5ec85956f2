"""What is told of an answer while it comes."""

from __future__ import annotations

from time import monotonic

from zen_mcp.types import ProgressSink

_EVERY_SECONDS = 1.0
_CHARACTERS_PER_TOKEN = 4


class AnswerWatch:
    """Takes an answer piece by piece, keeps it, and tells how long it is: at most once a second.

    Args:
        progress: whom to tell.
        label: whose answer it is.
    """

    def __init__(self, progress: ProgressSink, label: str) -> None:
        self._progress = progress
        self._label = label
        self._pieces: list[str] = []
        self._characters = 0
        self._told = monotonic()

    @property
    def text(self) -> str:
        """All that has come."""
        return "".join(self._pieces)

    async def __call__(self, piece: str) -> None:
        """Take a piece."""
        self._pieces.append(piece)
        self._characters += len(piece)
        now = monotonic()
        if now - self._told >= _EVERY_SECONDS:
            self._told = now
            tokens = max(self._characters // _CHARACTERS_PER_TOKEN, 1)
            await self._progress(0, None, f"{self._label}: {tokens:,} tokens so far")
