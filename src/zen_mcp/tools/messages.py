"""Messages in the shape that every model takes."""

from __future__ import annotations

from collections.abc import Sequence

from zen_mcp.types import Message


def alternating(messages: Sequence[Message]) -> tuple[Message, ...]:
    """The messages with those joined that follow one of the same role: some models' templates take no two in a row."""
    joined: list[Message] = []
    for message in messages:
        if joined and joined[-1].role == message.role:
            last = joined.pop()
            joined.append(
                Message(role=last.role, text=f"{last.text}\n\n{message.text}", images=last.images + message.images)
            )
        else:
            joined.append(message)
    return tuple(joined)
