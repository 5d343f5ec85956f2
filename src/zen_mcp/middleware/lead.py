"""One of several replicas asks; the others wait for its answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

import anyio

from zen_mcp.types import ModelResponse

LEASE_SECONDS = 4.0
"""A replica that was killed is missed after this long."""
_RENEW_SECONDS = 1.0
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.03, 0.3
LONGEST_WAIT_SECONDS = 600.0

Find = Callable[[], Awaitable[ModelResponse | None]]
Ask = Callable[[], Awaitable[ModelResponse]]


class Leases(Protocol):
    """Who may ask, by key. Never raises: where the others cannot be reached, each may."""

    async def take(self, key: str, *, seconds: float) -> bool:
        """Whether the lease is ours now, for so long."""
        ...

    async def renew(self, key: str, *, seconds: float) -> None:
        """Put the end of our lease off."""
        ...

    async def give_back(self, key: str) -> None:
        """End our lease."""
        ...


class Lead:
    """Settles among replicas who asks.

    The one who asks keeps a lease alive meanwhile. When it dies, or its answer may not be remembered, the next one
    takes the lease and asks.

    Args:
        leases: where all replicas look.
    """

    def __init__(self, leases: Leases) -> None:
        self._leases = leases

    async def settle(self, key: str, find: Find, *, patience_seconds: float | None) -> ModelResponse | None:
        """The answer of another replica; None once it is ours to ask, with the lease held.

        Raises:
            TimeoutError: the patience is over.
        """
        pause = _FIRST_PAUSE_SECONDS
        with anyio.fail_after(patience_seconds), anyio.move_on_after(LONGEST_WAIT_SECONDS):
            while not await self._leases.take(key, seconds=LEASE_SECONDS):
                await anyio.sleep(pause)
                pause = min(pause * 1.5, _LONGEST_PAUSE_SECONDS)
                if (found := await find()) is not None:
                    return found
            # It may have been answered between our last look and the end of the other's lease.
            if (found := await find()) is not None:
                await self._leases.give_back(key)
                return found
        return None

    async def ask(self, key: str, ask: Ask) -> ModelResponse:
        """Ask while the lease is kept alive, and end it.

        Raises:
            Exception: what `ask` raises.
        """
        failure: Exception | None = None
        response: ModelResponse | None = None
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._keep, key)
                try:
                    response = await ask()
                except Exception as exc:  # noqa: BLE001 - it leaves the task group as itself, below
                    failure = exc
                group.cancel_scope.cancel()
        finally:
            with anyio.move_on_after(1, shield=True):
                await self._leases.give_back(key)
        if response is None:
            raise failure or RuntimeError("asking ended without an answer")
        return response

    async def _keep(self, key: str) -> None:
        while True:
            await anyio.sleep(_RENEW_SECONDS)
            await self._leases.renew(key, seconds=LEASE_SECONDS)
