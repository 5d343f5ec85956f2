"""Whether a panel fits what is left of the budgets, before any of its members is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class PanelFit:
    """Which members may be asked, by their place, and why not all; empty when all may."""

    kept: tuple[int, ...]
    because: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberCost:
    """About what a member takes, and the counters of the budgets that hold for him."""

    dollars: float
    keys: tuple[str, ...]


def members_that_fit(members: Sequence[MemberCost], left: Mapping[str, float]) -> tuple[tuple[int, ...], str | None]:
    """The places of those who fit together, in their order, and the first counter that leaves one out."""
    remaining = dict(left)
    kept: list[int] = []
    short: str | None = None
    for index, member in enumerate(members):
        tight = next((key for key in member.keys if member.dollars > remaining[key] + _ROUNDING), None)
        if tight is not None and member.dollars > 0:
            short = short or tight
            continue
        kept.append(index)
        for key in member.keys:
            remaining[key] -= member.dollars
    return tuple(kept), short
