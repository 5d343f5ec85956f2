"""What replicas share: remembered answers, who asks for all, the rests of deployments. Redis, Valkey, or their like.

Redis that is away is everyday life: each call gives up after a quarter of a second, a breaker spares the next ones, and
the caller goes on without. It is told once, and told again when it is back.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from importlib import import_module
from typing import Any, TypeVar

import anyio

from zen_mcp.errors import ConfigError, StorageError

Result = TypeVar("Result")

_TIMEOUT_SECONDS = 0.25


class Redis:
    """A connection pool with a breaker.

    Args:
        url: `redis://[[user]:password@]host:port/db`.
        tell: called with one line when the server goes away, and when it is back.
        prefix: of every key.
        away_seconds: how long a server that failed is left alone.

    Raises:
        ConfigError: the extra is not installed, or the URL is none.
    """

    def __init__(
        self,
        url: str,
        *,
        tell: Callable[[str], None],
        prefix: str = "zen:",
        away_seconds: float = 5.0,
    ) -> None:
        try:
            library: Any = import_module("redis.asyncio")
            retry: Any = import_module("redis.asyncio.retry").Retry(import_module("redis.backoff").NoBackoff(), 0)
        except ImportError:
            text = "'redis_url' is set, but the Redis client is not installed."
            raise ConfigError(text, "Install the extra: pip install 'zen-mcp-server[redis]'") from None
        try:
            self._client: Any = library.from_url(
                url,
                socket_timeout=_TIMEOUT_SECONDS,
                socket_connect_timeout=_TIMEOUT_SECONDS,
                retry=retry,
                decode_responses=True,
            )
        except ValueError as exc:
            raise ConfigError(f"server.yaml: redis_url: {exc}", "Write redis://host:6379/0.") from None
        self.prefix = prefix
        self._tell = tell
        self._away_seconds = away_seconds
        self._away_until = 0.0
        self._away = False

    async def do(self, work: Callable[[Any], Awaitable[Result]]) -> Result:
        """Run commands on the client.

        Raises:
            StorageError: the server is away.
        """
        if time.monotonic() < self._away_until:
            raise StorageError("Redis cannot be reached.", "Check redis_url and the server behind it.")
        try:
            with anyio.fail_after(2 * _TIMEOUT_SECONDS):
                result = await work(self._client)
        except (OSError, TimeoutError, _errors()) as exc:
            self._away_until = time.monotonic() + self._away_seconds
            if not self._away:
                self._away = True
                self._tell(f"Redis cannot be reached ({type(exc).__name__}); going on without it")
            raise StorageError("Redis cannot be reached.", "Check redis_url and the server behind it.") from None
        if self._away:
            self._away = False
            self._tell("Redis is back")
        return result

    async def ping(self) -> None:
        """Ask whether the server is there.

        Raises:
            StorageError: it is away.
        """

        async def ask(client: Any) -> None:
            await client.ping()

        await self.do(ask)

    async def aclose(self) -> None:
        """Close the connections; a second at most."""
        with anyio.move_on_after(1, shield=True), suppress(Exception):
            await self._client.aclose()


def _errors() -> type[Exception]:
    return import_module("redis.exceptions").RedisError


class RedisResponses:
    """Remembered answers for all replicas; see `middleware.cache.ResponseStore`."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def load(self, key: str) -> str | None:
        """What was stored under the key and has not ended.

        Raises:
            StorageError: Redis is away.
        """
        return await self._redis.do(lambda client: client.get(f"{self._redis.prefix}response:{key}"))

    async def store(self, key: str, value: str, *, seconds: float) -> None:
        """Keep a value for so long.

        Raises:
            StorageError: Redis is away.
        """
        name = f"{self._redis.prefix}response:{key}"
        await self._redis.do(lambda client: client.set(name, value, px=max(int(seconds * 1000), 1)))


_RENEW = "return redis.call('get', KEYS[1]) == ARGV[1] and redis.call('pexpire', KEYS[1], ARGV[2]) or 0"
_END = "return redis.call('get', KEYS[1]) == ARGV[1] and redis.call('del', KEYS[1]) or 0"


class RedisLeases:
    """Which replica asks for all; see `middleware.lead.Leases`. Never raises.

    A lease is a key with an end, which the one who holds it puts off. One who dies lets it end.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._holder = secrets.token_hex(8)

    async def take(self, key: str, *, seconds: float) -> bool:
        """Whether the lease is ours now; also while Redis is away, when each asks for itself."""

        async def write(client: Any) -> bool:
            return bool(await client.set(self._name(key), self._holder, nx=True, px=int(seconds * 1000)))

        with suppress(StorageError):
            return await self._redis.do(write)
        return True

    async def renew(self, key: str, *, seconds: float) -> None:
        """Put the end of our lease off."""
        milliseconds = int(seconds * 1000)
        with suppress(StorageError):
            await self._redis.do(lambda client: client.eval(_RENEW, 1, self._name(key), self._holder, milliseconds))

    async def give_back(self, key: str) -> None:
        """End our lease; another's stays."""
        with suppress(StorageError):
            await self._redis.do(lambda client: client.eval(_END, 1, self._name(key), self._holder))

    def _name(self, key: str) -> str:
        return f"{self._redis.prefix}asking:{key}"


class RedisRests:
    """Which deployments rest, for all replicas: a hash from deployment to (until, reason). Never raises."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._name = f"{redis.prefix}rests"

    async def load(self) -> Mapping[str, tuple[float, str]]:
        """Every rest that has not long been over; empty while Redis is away."""
        with suppress(StorageError, ValueError):
            found: Mapping[str, str] = await self._redis.do(lambda client: client.hgetall(self._name))
            rests: dict[str, tuple[float, str]] = {}
            for deployment, text in found.items():
                until, reason = json.loads(text)
                rests[deployment] = (float(until), str(reason))
            return rests
        return {}

    async def store(self, deployment: str, rest: tuple[float, str] | None) -> None:
        """Tell of a rest, or of its end."""

        async def write(client: Any) -> None:
            if rest is None:
                await client.hdel(self._name, deployment)
            else:
                await client.hset(self._name, deployment, json.dumps(rest))
                await client.pexpire(self._name, 3_600_000)

        with suppress(StorageError):
            await self._redis.do(write)
