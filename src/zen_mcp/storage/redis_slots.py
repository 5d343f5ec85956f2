"""Places at deployments that replicas share, in Redis: each step is one script, so one round trip."""

from __future__ import annotations

from typing import Any

from zen_mcp.storage.redis import Redis

# Waiting tickets are served in the order in which they came. The clock is the server's own. Numbers are milliseconds.
_BEGIN = """
local held, waiting, seen = KEYS[1], KEYS[2], KEYS[3]
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
redis.call('ZREMRANGEBYSCORE', held, '-inf', now)
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', seen, '-inf', now)) do
  redis.call('ZREM', waiting, gone)
  redis.call('ZREM', seen, gone)
end
"""
_LIVE = """
local function live(key, milliseconds)
  if redis.call('PTTL', key) < milliseconds then redis.call('PEXPIRE', key, milliseconds) end
end
"""
_TAKE = (
    _BEGIN
    + _LIVE
    + """
local ticket, most, hold, wait = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
redis.call('ZADD', waiting, 'NX', now * 1000 + tonumber(time[2]) % 1000, ticket)
if redis.call('ZCARD', held) + redis.call('ZRANK', waiting, ticket) < most then
  redis.call('ZREM', waiting, ticket)
  redis.call('ZREM', seen, ticket)
  redis.call('ZADD', held, now + hold, ticket)
  live(held, hold)
  return 1
end
redis.call('ZADD', seen, now + wait, ticket)
live(waiting, wait)
live(seen, wait)
return 0
"""
)
_KEEP = (
    _BEGIN
    + _LIVE
    + """
redis.call('ZADD', held, now + tonumber(ARGV[2]), ARGV[1])
live(held, tonumber(ARGV[2]))
"""
)
_COUNT = _BEGIN + "return redis.call('ZCARD', held) + redis.call('ZCARD', waiting)"
_END = "for _, key in ipairs(KEYS) do redis.call('ZREM', key, ARGV[1]) end"


class RedisSlots:
    """Places by deployment; see `routing.shared_capacity.Slots`. All raise StorageError while Redis is away."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._scripts: dict[str, Any] = {}

    async def take(self, deployment: str, ticket: str, *, most: int, hold_seconds: float, wait_seconds: float) -> bool:
        """Whether the ticket has a place now; else it stands in the queue."""
        return bool(await self._run(_TAKE, deployment, ticket, most, _ms(hold_seconds), _ms(wait_seconds)))

    async def keep(self, deployment: str, ticket: str, *, hold_seconds: float) -> None:
        """Put the end of a place off; one that was lost is taken again."""
        await self._run(_KEEP, deployment, ticket, _ms(hold_seconds))

    async def give_back(self, deployment: str, ticket: str) -> None:
        """Free the place, or leave the queue."""
        await self._run(_END, deployment, ticket)

    async def count(self, deployment: str) -> int:
        """How many hold a place or wait for one."""
        return int(await self._run(_COUNT, deployment))

    async def _run(self, text: str, deployment: str, *arguments: str | int) -> Any:
        # The braces keep what a script touches on one node of a cluster.
        base = f"{self._redis.prefix}{{slots:{deployment}}}"
        keys = [f"{base}:held", f"{base}:waiting", f"{base}:seen"]

        async def work(client: Any) -> Any:
            if text not in self._scripts:
                self._scripts[text] = client.register_script(text)
            return await self._scripts[text](keys=keys, args=arguments)

        return await self._redis.do(work)


def _ms(seconds: float) -> int:
    return max(int(seconds * 1000), 1)
