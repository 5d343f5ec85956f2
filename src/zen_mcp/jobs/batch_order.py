"""In which order the prompts of a batch are asked, so that vendors' prompt caches hit."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import anyio

from zen_mcp.storage.batches import BatchItem

CACHED_CHARACTERS = 3_500
"""Vendors cache beginnings of a thousand tokens or more; shorter ones are not waited for."""


class AskingOrder:
    """Hands items out: of those that begin alike the first alone, the others once it has its answer.

    Args:
        items: those that wait, in the order of the input.
    """

    def __init__(self, items: Sequence[BatchItem]) -> None:
        groups: dict[str, list[BatchItem]] = {}
        alone: list[BatchItem] = []
        for item in items:
            start = beginning(item)
            if start is None:
                alone.append(item)
            else:
                groups.setdefault(start, []).append(item)
        self._held = {first.line: rest for first, *rest in groups.values() if rest}
        self._ready = deque([*(group[0] for group in groups.values()), *alone])
        self._changed = anyio.Event()

    async def next(self) -> BatchItem | None:
        """The next item; waits while others may become ready, None when there will be none."""
        while not self._ready:
            if not self._held:
                return None
            await self._changed.wait()
        return self._ready.popleft()

    def ended(self, item: BatchItem) -> None:
        """An item has its answer, or will have none: those held back for it are next, while the cache is warm."""
        self._ready.extendleft(reversed(self._held.pop(item.line, [])))
        self._notify()

    def close(self) -> None:
        """Hand out nothing more."""
        self._ready.clear()
        self._held.clear()
        self._notify()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()


def beginning(item: BatchItem) -> str | None:
    """What the item begins with, as long as a vendor caches it; None for one that is shorter."""
    whole = f"{item.request.get('system', '')}\n{item.request.get('prompt', '')}"
    return whole[:CACHED_CHARACTERS] if len(whole) >= CACHED_CHARACTERS else None
