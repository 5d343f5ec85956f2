"""How much one deployment is given: requests at once, requests and tokens per minute."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import Protocol

import anyio

from zen_mcp.catalog.model import Model
from zen_mcp.errors import Refused

_MINUTE_SECONDS = 60.0


@dataclass(slots=True)
class Use:
    """One request of the last minute; `tokens` is estimated first and known later."""

    at: float
    tokens: int


@dataclass(slots=True)
class _Deployment:
    slots: anyio.Semaphore | None = None
    uses: deque[Use] = field(default_factory=deque[Use])


class Room(Protocol):
    """Makes requests wait while their deployment is full: in this process, or wherever they come from."""

    def is_full(self, model: Model) -> bool:
        """Whether a request to it would have to wait."""
        ...

    async def look(self, models: Sequence[Model]) -> None:
        """Learn from others which of several deployments are full."""
        ...

    def slot(self, model: Model, tokens: int, *, patience_seconds: float) -> AbstractAsyncContextManager[Use]:
        """Wait for room, hold it while the request runs. The caller sets the time limit, and the tokens when known.

        Raises:
            Refused: there will be no room within the patience; says when.
        """
        ...


class Capacity:
    """Makes requests wait while this process has filled their deployment; see `Room`.

    Args:
        clock: seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._deployments: dict[str, _Deployment] = {}

    def is_full(self, model: Model) -> bool:
        """Whether a request to it would have to wait."""
        if not is_limited(model):
            return False
        deployment = self._of(model)
        return bool(deployment.slots and deployment.slots.value == 0) or self._wait_seconds(model, deployment) > 0

    async def look(self, models: Sequence[Model]) -> None:
        """There are no others."""

    @asynccontextmanager
    async def slot(self, model: Model, tokens: int, *, patience_seconds: float) -> AsyncGenerator[Use]:
        """Wait for room, hold it while the request runs. The caller sets the time limit, and the tokens when known.

        Raises:
            Refused: there will be no room within the patience; says when.
        """
        use = Use(at=self._clock(), tokens=tokens)
        if not is_limited(model):
            yield use
            return
        deployment = self._of(model)
        if deployment.slots is not None:
            await deployment.slots.acquire()
        try:
            while (wait := self._wait_seconds(model, deployment)) > 0:
                if wait >= patience_seconds:
                    raise no_room(model, wait)
                await anyio.sleep(wait)
            use.at = self._clock()
            deployment.uses.append(use)
            yield use
        finally:
            if deployment.slots is not None:
                deployment.slots.release()

    def _of(self, model: Model) -> _Deployment:
        found = self._deployments.get(model.id)
        if found is None:
            slots = anyio.Semaphore(model.max_parallel) if model.max_parallel else None
            found = self._deployments[model.id] = _Deployment(slots=slots)
        return found

    def _wait_seconds(self, model: Model, deployment: _Deployment) -> float:
        """Until the oldest uses have fallen out of the minute far enough."""
        now = self._clock()
        uses = deployment.uses
        while uses and uses[0].at <= now - _MINUTE_SECONDS:
            uses.popleft()
        if model.rpm and len(uses) >= model.rpm:
            return uses[len(uses) - model.rpm].at + _MINUTE_SECONDS - now
        if model.tpm:
            total = sum(use.tokens for use in uses)
            for use in uses:
                if total < model.tpm:
                    break
                total -= use.tokens
                if total < model.tpm:
                    return max(use.at + _MINUTE_SECONDS - now, 0.001)
        return 0.0


def no_room(model: Model, wait_seconds: float) -> Refused:
    """The error of a request that would have to wait too long."""
    return Refused(
        f"'{model.name}' has had its {_limits(model)} (models.yaml).",
        "Try again later, or another model.",
        retry_after_seconds=wait_seconds,
    )


def _limits(model: Model) -> str:
    said = [f"{model.rpm} requests" if model.rpm else "", f"{model.tpm:,} tokens" if model.tpm else ""]
    return f"{' or '.join(part for part in said if part)} of this minute"


def is_limited(model: Model) -> bool:
    """Whether there is a limit to what it is given."""
    return bool(model.max_parallel or model.rpm or model.tpm)
