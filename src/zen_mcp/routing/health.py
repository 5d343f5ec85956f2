"""Which deployments are well: a circuit breaker each, its state shared among replicas where there is Redis."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

from zen_mcp.errors import ZenError
from zen_mcp.routing.policy import rule_for

WINDOW_SECONDS = 60.0
LONGEST_REST_SECONDS = 3600.0
_SHARED_SECONDS = 1.0
"""How old the view of other replicas' findings may be."""

Status = Literal["closed", "half-open", "open"]


class Rest(NamedTuple):
    """A deployment's rest: until when (Unix time) and why."""

    until: float
    reason: str


class SharedRests(Protocol):
    """Where replicas tell one another which deployments rest. Never raises: without it, each knows its own."""

    async def load(self) -> Mapping[str, tuple[float, str]]:
        """Every rest that any replica has told of."""
        ...

    async def store(self, deployment: str, rest: tuple[float, str] | None) -> None:
        """Tell of a rest, or of its end."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """How a deployment is: closed (well), open (resting), half-open (its rest is over, one request tries it)."""

    status: Status = "closed"
    reason: str = ""
    until: float = 0.0


@dataclass(slots=True)
class _State:
    failures: deque[float] = field(default_factory=deque[float])
    rest: Rest | None = None
    trying: bool = False


class HealthBoard:
    """The health of every deployment by its id.

    A failure more than `allowed_fails` within a minute, a wrong key, an unknown model or a rate limit sends a
    deployment to rest. A resting one goes last, not away: where nothing else is left, it is asked all the same.

    Args:
        allowed_fails: failures within a minute that are forgiven.
        cooldown_seconds: how long a rest takes; a vendor's `Retry-After` is longer.
        shared: the other replicas; None for none.
        clock: Unix time in seconds.
    """

    def __init__(
        self,
        *,
        allowed_fails: int = 3,
        cooldown_seconds: float = 30.0,
        shared: SharedRests | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._allowed_fails = allowed_fails
        self._cooldown_seconds = cooldown_seconds
        self._shared = shared
        self._clock = clock
        self._states: dict[str, _State] = {}
        self._others: Mapping[str, Rest] = {}
        self._loaded = 0.0

    def health(self, deployment: str) -> Health:
        """How this deployment is now."""
        rest = self._rest(deployment)
        if rest is None:
            return Health()
        status: Status = "open" if rest.until > self._clock() else "half-open"
        return Health(status=status, reason=rest.reason, until=rest.until)

    def rank(self, deployment: str) -> float:
        """0 for one that may be asked; later for one that rests, the sooner its rest ends the less."""
        rest = self._rest(deployment)
        if rest is None:
            return 0.0
        state = self._states.get(deployment)
        if rest.until <= self._clock() and not (state and state.trying):
            return 0.0
        return rest.until

    def started(self, deployment: str) -> None:
        """A request goes out; the first one after a rest tries for all."""
        if self._rest(deployment) is not None:
            self._states.setdefault(deployment, _State()).trying = True

    def ended(self, deployment: str) -> None:
        """A request is over, however it went."""
        state = self._states.get(deployment)
        if state is not None:
            state.trying = False

    async def refresh(self) -> None:
        """Look at what other replicas have found, at most once a second."""
        now = self._clock()
        if self._shared is None or now - self._loaded < _SHARED_SECONDS:
            return
        self._loaded = now
        self._others = {name: Rest(*rest) for name, rest in (await self._shared.load()).items()}

    async def succeeded(self, deployment: str) -> None:
        """A request was answered."""
        had_rest = self._rest(deployment) is not None
        self._states.pop(deployment, None)
        if had_rest:
            self._others = {name: rest for name, rest in self._others.items() if name != deployment}
            if self._shared is not None:
                await self._shared.store(deployment, None)

    async def failed(self, deployment: str, error: ZenError) -> None:
        """A request failed; what it counts is the error's rule."""
        strikes = rule_for(error).strikes
        if not strikes:
            return
        now = self._clock()
        state = self._states.setdefault(deployment, _State())
        state.failures.append(now)
        while state.failures and state.failures[0] < now - WINDOW_SECONDS:
            state.failures.popleft()
        tried = state.rest is not None and state.rest.until <= now
        if strikes < 2 and not tried and len(state.failures) <= self._allowed_fails:
            return
        seconds = max(self._cooldown_seconds, error.retry_after_seconds or 0.0)
        state.rest = Rest(until=now + min(seconds, LONGEST_REST_SECONDS), reason=error.problem)
        if self._shared is not None:
            await self._shared.store(deployment, state.rest)

    def _rest(self, deployment: str) -> Rest | None:
        state = self._states.get(deployment)
        own = state.rest if state else None
        other = self._others.get(deployment)
        if own and other:
            return max(own, other, key=lambda rest: rest.until)
        return own or other
