"""How much of each limit is used, as alerts and metrics want it: one figure per limit."""

from __future__ import annotations

from collections.abc import Mapping

from zen_mcp.middleware.limits import Limits


async def most_used(limits: Limits) -> Mapping[str, float]:
    """By the name of each limit, how much of it is used, from 0 to 1; of one per user, the most that one of them uses.

    Raises:
        StorageError: the counters are away.
    """
    found: dict[str, float] = {}
    for use in await limits.usage() if limits.rules else ():
        found[use.limit] = max(use.ratio, found.get(use.limit, 0.0))
    return found
