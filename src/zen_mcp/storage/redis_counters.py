"""Counters that replicas share, in Redis: a draw is one script, so one round trip, and nobody comes between."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from zen_mcp.storage.counters import Correction, Counter, Draw, Drawn, Level
from zen_mcp.storage.redis import Redis

_UNLIMITED = "1e300"
_SCAN_COUNT = 1000

# The same decision as in counters.py. The clock is the server's own, so that replicas need not agree on the time.
_DRAW = """
local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = tonumber(time[1]) + tonumber(time[2]) / 1000000
end
local granted, found = 1, {}
for i, key in ipairs(KEYS) do
  local at = (i - 1) * 5 + 1
  local amount, most = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  local seconds, number = tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4])
  local share, sliding = 0, not number
  if sliding then
    number = math.floor(now / seconds)
    share = 1 - (now % seconds) / seconds
  end
  local row = redis.call('HMGET', key, 'period', 'before', 'used')
  local period = tonumber(row[1]) or number
  local before, used = tonumber(row[2]) or 0, tonumber(row[3]) or 0
  local ahead, back = number - period, false
  if ahead == 1 then
    period, before, used = number, used, 0
  elseif ahead > 1 then
    period, before, used = number, 0, 0
  elseif ahead == -1 then
    if sliding then share = 1 end
  elseif ahead < -1 then
    period, back = number, true
  end
  if amount > 0 and before * share + used + amount > most + 1e-9 then granted = 0 end
  found[i] = {period, before, used, share, back}
end
local answer = {granted, string.format('%.17g', now)}
for i, key in ipairs(KEYS) do
  local at, one = (i - 1) * 5 + 1, found[i]
  local amount = granted == 1 and tonumber(ARGV[at + 1]) or 0
  if amount > 0 or one[5] then
    redis.call('HSET', key, 'period', string.format('%d', one[1]), 'before', string.format('%.17g', one[2]),
      'used', string.format('%.17g', one[3] + amount))
    if ARGV[at + 5] ~= '' then redis.call('PEXPIRE', key, ARGV[at + 5]) end
  end
  for part = 1, 4 do answer[#answer + 1] = string.format('%.17g', one[part]) end
end
return answer
"""

_SETTLE = """
for i, key in ipairs(KEYS) do
  local amount, drawn = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
  local period = tonumber(redis.call('HGET', key, 'period'))
  if period then
    local field = nil
    if period <= drawn then field = 'used' elseif period == drawn + 1 then field = 'before' end
    if field then
      local after = math.max(tonumber(redis.call('HGET', key, field)) + amount, 0)
      redis.call('HSET', key, field, string.format('%.17g', after))
    end
  end
end
"""


class RedisCounters:
    """Counters as hashes; see `CounterStore`.

    Args:
        redis: the server.
        clock: seconds since 1970; None for Redis's own.
    """

    def __init__(self, redis: Redis, *, clock: Callable[[], float] | None = None) -> None:
        self._redis = redis
        self._clock = clock
        # The braces keep all counters on one node of a cluster, as a script wants it.
        self._prefix = f"{redis.prefix}{{counters}}:"
        self._draw: Any = None
        self._settle: Any = None

    async def draw(self, draws: Sequence[Draw]) -> Drawn:
        """Take all of it, or nothing.

        Raises:
            StorageError: Redis is away.
        """
        keys = [self._prefix + draw.key for draw in draws]
        arguments = ["" if self._clock is None else repr(self._clock())]
        for draw in draws:
            arguments += _arguments(draw)

        async def work(client: Any) -> list[Any]:
            if self._draw is None:
                self._draw = client.register_script(_DRAW)
            return await self._draw(keys=keys, args=arguments)

        granted, now, *parts = await self._redis.do(work)
        levels = [_level(*map(float, parts[at : at + 4])) for at in range(0, len(parts), 4)]
        return Drawn(granted=bool(granted), now=float(now), levels=tuple(levels))

    async def settle(self, corrections: Sequence[Correction]) -> None:
        """Correct what was drawn before.

        Raises:
            StorageError: Redis is away.
        """
        keys = [self._prefix + correction.key for correction in corrections]
        arguments = [part for one in corrections for part in (repr(float(one.amount)), str(one.period))]

        async def work(client: Any) -> None:
            if self._settle is None:
                self._settle = client.register_script(_SETTLE)
            await self._settle(keys=keys, args=arguments)

        await self._redis.do(work)

    async def all(self) -> Mapping[str, Counter]:
        """Every counter that is kept.

        Raises:
            StorageError: Redis is away.
        """

        async def work(client: Any) -> Mapping[str, Counter]:
            keys: list[str] = [key async for key in client.scan_iter(match=f"{self._prefix}*", count=_SCAN_COUNT)]
            pipeline = client.pipeline(transaction=False)
            for key in keys:
                pipeline.hmget(key, "period", "before", "used")
            rows: list[list[str | None]] = await pipeline.execute() if keys else []
            return {
                key.removeprefix(self._prefix): Counter(period=int(period), before=float(before), used=float(used))
                for key, (period, before, used) in zip(keys, rows, strict=True)
                if period is not None and before is not None and used is not None
            }

        return await self._redis.do(work)


def _arguments(draw: Draw) -> list[str]:
    keep = draw.keep_seconds()
    return [
        repr(float(draw.amount)),
        _UNLIMITED if math.isinf(draw.most) else repr(float(draw.most)),
        _UNLIMITED if math.isinf(draw.seconds) else repr(float(draw.seconds)),
        "" if draw.period is None else str(draw.period),
        "" if math.isinf(keep) else str(int(keep * 1000)),
    ]


def _level(period: float, before: float, used: float, share: float) -> Level:
    counter = Counter(period=int(period), before=before, used=used)
    return Level(used=before * share + used, share=share, counter=counter)
