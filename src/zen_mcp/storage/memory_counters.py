"""Counters of one process."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from zen_mcp.storage.counters import Correction, Counter, Draw, Drawn, after, corrected, decide

_TIDY_AT = 10_000
"""So many counters are kept without looking for those that are over."""


class MemoryCounters:
    """Counters in a dictionary; see `CounterStore`.

    Args:
        clock: seconds since 1970.
    """

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._counters: dict[str, Counter] = {}
        self._ends: dict[str, float] = {}
        self._tidy_at = _TIDY_AT

    async def draw(self, draws: Sequence[Draw]) -> Drawn:
        """Take all of it, or nothing."""
        now = self._clock()
        stored = [self._counters.get(draw.key) for draw in draws]
        drawn = decide(stored, draws, now)
        for draw, counter in after(stored, draws, drawn):
            self._counters[draw.key] = counter
            self._ends[draw.key] = now + draw.keep_seconds()
        if len(self._counters) > self._tidy_at:
            self._tidy(now)
        return drawn

    async def settle(self, corrections: Sequence[Correction]) -> None:
        """Correct what was drawn before."""
        for correction in corrections:
            counter = self._counters.get(correction.key)
            if counter is not None:
                self._counters[correction.key] = corrected(counter, correction)

    async def all(self) -> Mapping[str, Counter]:
        """Every counter that is kept."""
        return dict(self._counters)

    def _tidy(self, now: float) -> None:
        """Forget what is over. The next time is when there are twice as many, so each draw pays little."""
        for key in [key for key, end in self._ends.items() if end < now]:
            del self._counters[key], self._ends[key]
        self._tidy_at = max(_TIDY_AT, 2 * len(self._counters))
