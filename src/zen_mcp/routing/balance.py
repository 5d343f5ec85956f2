"""In which order deployments are asked: by weight, by latency, by cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from zen_mcp.catalog.model import Model

Strategy = str

_NEWEST_SHARE = 0.3
"""How much the last request counts in the mean of a deployment's seconds."""
_CURIOUS = 0.05
"""The share of picks that ignore latency, so that one slow start is not held against a deployment for ever."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A deployment and its share of the traffic; None where no one has a share."""

    model: Model
    weight: float | None = None


def candidates_of(target: Model) -> tuple[Candidate, ...]:
    """Every usable deployment that a name stands for: its own, or those of a group's members."""
    if not target.members:
        return tuple(_deployments(target, None))
    usable = [member for member in target.members if member.model.unavailable is None]
    return tuple(candidate for member in usable for candidate in _deployments(member.model, member.weight))


def _deployments(model: Model, weight: float | None) -> list[Candidate]:
    ways = [way for way in model.deployments if way.unavailable is None] or [model]
    shares = [way.weight if way.weight is not None else 1.0 for way in ways]
    total = sum(shares) or 1.0
    if weight is None and all(way.weight is None for way in ways):
        return [Candidate(model=way) for way in ways]
    whole = 1.0 if weight is None else weight
    return [Candidate(model=way, weight=whole * share / total) for way, share in zip(ways, shares, strict=True)]


class Balance:
    """Orders candidates, and remembers how fast each was.

    Args:
        random: the source of chance; a test brings its own.
    """

    def __init__(self, random: Random | None = None) -> None:
        self._random = random or Random()  # noqa: S311 - a share of traffic, no secret
        self._seconds: dict[str, float] = {}

    def took(self, deployment: str, seconds: float) -> None:
        """A request was answered after so long."""
        before = self._seconds.get(deployment)
        self._seconds[deployment] = seconds if before is None else before + _NEWEST_SHARE * (seconds - before)

    def order(
        self, candidates: Sequence[Candidate], strategy: Strategy, *, rank: Callable[[Model], float] = lambda _: 0.0
    ) -> list[Model]:
        """The candidates as they are to be asked, the first first.

        Args:
            candidates: of one name.
            strategy: "weight" (chance, by share), "latency" (the fastest so far) or "cost" (the cheapest).
            rank: lower comes first, before any strategy: the health of each.
        """
        if len(candidates) == 1:
            return [candidates[0].model]
        ordered = self._by_weight(candidates)
        if strategy == "cost":
            ordered.sort(key=_cost)
        elif strategy == "latency" and self._random.random() >= _CURIOUS:
            ordered.sort(key=lambda model: self._seconds.get(model.id, 0.0))
        ordered.sort(key=rank)
        return ordered

    def _by_weight(self, candidates: Sequence[Candidate]) -> list[Model]:
        """Weighted draws without putting back; a share of nothing comes last."""
        left = list(candidates)
        ordered: list[Model] = []
        while left:
            weights = [1.0 if candidate.weight is None else candidate.weight for candidate in left]
            if not any(weights):
                weights = [1.0] * len(left)
            picked = self._random.choices(range(len(left)), weights)[0]
            ordered.append(left.pop(picked).model)
        return ordered


def _cost(model: Model) -> float:
    """Dollars of one token in and one out; unknown counts as dear."""
    price = model.price
    if price.input_dollars_per_token is None or price.output_dollars_per_token is None:
        return float("inf")
    return price.input_dollars_per_token + price.output_dollars_per_token
