"""What is used of limits and budgets: one counter for each limit and whom it holds for.

A counter remembers the use of the present period and of the one before. For a sliding period the one before still
counts with the share of it that is not yet over: a minute's limit of 60 that was full in the last minute lets 15
through in the first quarter of this one. For a calendar period (a budget's day or month) it does not count.

Several counters are drawn from together or not at all, so that a refusal by one takes nothing from the others. What
was drawn by estimate is settled when it is known; that is never refused, and may carry a counter over its limit.

The clock may go backwards. A counter that is one period ahead of it is taken as it stands at that period's beginning;
one that is further ahead comes back to the clock with all its use. So nothing is granted anew, and nothing is closed
for longer than two periods.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

_ROUNDING = 1e-9
"""Sums of floats are compared with this much grace."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """What one call takes of one counter.

    Attributes:
        key: the counter.
        amount: requests, tokens or dollars; 0 only looks, and is never refused.
        most: what may be used; infinite for a counter that only counts.
        seconds: the length of a sliding period, and about that of a calendar one; infinite for one that never ends.
        period: the number of a calendar period; None for a sliding one, which is told from the clock.
    """

    key: str
    amount: float
    most: float = math.inf
    seconds: float
    period: int | None = None

    def number(self, now: float) -> int:
        """The number of the period at this time (seconds since 1970)."""
        return int(now // self.seconds) if self.period is None else self.period

    def share(self, now: float) -> float:
        """How much of the period before still counts."""
        return 1 - now % self.seconds / self.seconds if self.period is None else 0.0

    def keep_seconds(self) -> float:
        """How long a counter is of use after it was written."""
        return 3 * self.seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Counter:
    """A counter as it is stored: the period's number, the use of the one before it and of its own."""

    period: int
    before: float = 0.0
    used: float = 0.0

    def at(self, number: int) -> Counter:
        """The same, seen from the period of this number."""
        ahead = number - self.period
        if ahead in {0, -1}:
            return self
        if ahead == 1:
            return Counter(period=number, before=self.used)
        if ahead > 1:
            return Counter(period=number)
        return replace(self, period=number)


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """What a counter says at a moment: `used` is what counts now, `counter` its parts."""

    used: float
    share: float
    counter: Counter


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """What became of some draws: whether all were granted, when (seconds since 1970), and each one's level before."""

    granted: bool
    now: float
    levels: tuple[Level, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """What is added to a counter (or taken off) when a draw is settled; `period` is the draw's."""

    key: str
    amount: float
    period: int


class CounterStore(Protocol):
    """Where the counters are. All of them decide alike; one test-suite runs on each."""

    async def draw(self, draws: Sequence[Draw]) -> Drawn:
        """Take all of it, or nothing. Raises StorageError."""
        ...

    async def settle(self, corrections: Sequence[Correction]) -> None:
        """Correct what was drawn before; never refused. Raises StorageError."""
        ...

    async def all(self) -> Mapping[str, Counter]:
        """Every counter that is kept. Raises StorageError."""
        ...


def level(counter: Counter | None, draw: Draw, now: float) -> Level:
    """What a counter says now; None for one that was never used."""
    number = draw.number(now)
    seen = counter.at(number) if counter else Counter(period=number)
    share = draw.share(now)
    if seen.period > number:  # the clock has gone back a little
        share = 1.0 if draw.period is None else 0.0
    return Level(used=seen.before * share + seen.used, share=share, counter=seen)


def decide(counters: Sequence[Counter | None], draws: Sequence[Draw], now: float) -> Drawn:
    """Whether all of it may be taken."""
    levels = tuple(level(counter, draw, now) for counter, draw in zip(counters, draws, strict=True))
    granted = all(fits(one.used, draw) for one, draw in zip(levels, draws, strict=True))
    return Drawn(granted=granted, now=now, levels=levels)


def fits(used: float, draw: Draw) -> bool:
    """Whether a draw finds room beside what is used."""
    return draw.amount <= 0 or used + draw.amount <= draw.most + _ROUNDING


def after(stored: Sequence[Counter | None], draws: Sequence[Draw], drawn: Drawn) -> Iterator[tuple[Draw, Counter]]:
    """What is to be written: what was taken, and counters that came back to the clock, which begin to end then."""
    for counter, draw, one in zip(stored, draws, drawn.levels, strict=True):
        if drawn.granted and draw.amount > 0:
            yield draw, replace(one.counter, used=one.counter.used + draw.amount)
        elif counter is not None and one.counter.period < counter.period:
            yield draw, one.counter


def corrected(counter: Counter, correction: Correction) -> Counter:
    """The counter after a correction, in the period in which the reservation was; one that is long over is let be."""
    if counter.period <= correction.period:
        return replace(counter, used=max(counter.used + correction.amount, 0.0))
    if counter.period == correction.period + 1:
        return replace(counter, before=max(counter.before + correction.amount, 0.0))
    return counter


def wait_seconds(one: Level, draw: Draw, now: float) -> float | None:
    """How long until a refused draw finds room, if nobody else draws; None: never, or when a calendar period ends."""
    if draw.period is not None or draw.amount > draw.most:
        return None
    before, used = one.counter.before, one.counter.used
    ends = (one.counter.period + 1) * draw.seconds
    if used + draw.amount <= draw.most:
        free = (draw.most - used - draw.amount) / before if before else 1.0
        return max(ends - free * draw.seconds - now, 0.0)
    # In the period after this one, what is used now counts as the one before.
    return max(ends + (1 - (draw.most - draw.amount) / used) * draw.seconds - now, 0.0)
