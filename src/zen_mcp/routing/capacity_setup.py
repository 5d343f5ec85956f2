"""Where it is counted how much deployments are given: by this process alone, or by all that share a store."""

from __future__ import annotations

from zen_mcp.config.schema import Config
from zen_mcp.routing.capacity import Capacity, Room
from zen_mcp.routing.shared_capacity import SharedCapacity, Slots
from zen_mcp.storage.base import Database
from zen_mcp.storage.counters import CounterStore
from zen_mcp.storage.redis import Redis
from zen_mcp.storage.redis_counters import RedisCounters
from zen_mcp.storage.redis_slots import RedisSlots
from zen_mcp.storage.sql_counters import SQLCounters
from zen_mcp.storage.sql_slots import SQLSlots


def room_of(config: Config, *, database: Database, redis: Redis | None) -> Room:
    """What makes requests wait for their deployments. Nothing is opened before the first request to one with a limit.

    Args:
        config: the settings; `counters` of limits.yaml says where.
        database: for several processes without Redis.
        redis: for replicas; None for none.
    """
    server, limits = config.server, config.limits
    several = server.http.workers > 1 or server.database_url is not None
    slots: Slots
    counters: CounterStore
    if limits.counters == "auto" and redis is not None:
        slots, counters = RedisSlots(redis), RedisCounters(redis)
    elif limits.counters != "memory" and several:
        slots, counters = SQLSlots(database), SQLCounters(database)
    else:
        return Capacity()
    parts = limits.rate_limits.replicas * server.http.workers
    return SharedCapacity(slots, counters, away=limits.rate_limits.when_redis_is_away, parts=parts)
