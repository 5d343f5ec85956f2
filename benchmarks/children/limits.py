"""What the chains cost around one tool call and one model request that cost nothing themselves. Prints JSON.

Arguments: a folder, the address of a Redis.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import anyio

from zen_mcp.app import App, build, lay_ground
from zen_mcp.catalog import Model
from zen_mcp.config.load import load_config
from zen_mcp.storage.counters import Draw
from zen_mcp.storage.memory_counters import MemoryCounters
from zen_mcp.storage.redis import Redis
from zen_mcp.storage.redis_counters import RedisCounters
from zen_mcp.types import Message, ModelChunk, ModelRequest, ModelResponse, ToolRequest, Usage

ROUNDS = 9
CALLS = 200
DRAWS = 2_000

LIMITS: Mapping[str, Any] = {
    "rate_limits": {
        "global": {"requests_per_minute": 10**9, "tokens_per_minute": 10**12},
        "per_tool": {"version": {"requests_per_minute": 10**9}, "chat": {"tokens_per_minute": 10**12}},
        "per_user": {"requests_per_hour": 10**9, "tokens_per_day": 10**12},
    },
    "budgets": {"global": {"day": 10**9}, "per_user": {"month": 10**9}},
}
"""Six limits and two budgets, none of which is ever reached."""
BARE = {"tools": ["log"], "models": ["log", "json"]}

VARIANTS: Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any]]] = {
    "bare": ({"middleware": BARE}, {}),
    "default": ({}, {}),
    "memory": ({}, {**LIMITS, "counters": "memory"}),
    "database": ({}, {**LIMITS, "counters": "database"}),
    "redis": ({"redis_url": "REDIS"}, LIMITS),
}
"""What is measured: server.yaml and limits.yaml of each. `default` is the whole chain without any limit."""

QUESTION = ModelRequest(
    request_id="c", model="bench", messages=(Message(role="user", text="hello"),), tool="chat", prompt_tokens=10
)
CALL = ToolRequest(request_id="c", tool="version", arguments={})


class AtOnce:
    """A provider that answers at once, so that what is measured is all ours."""

    async def prepare(self, model: Model) -> None:
        """Nothing to do."""

    async def generate(self, request: ModelRequest, model: Model) -> ModelResponse:
        """The same answer always."""
        return ModelResponse(
            text="ok",
            model=model.name,
            vendor=model.vendor,
            answered_by=model.name,
            usage=Usage(input_tokens=10, output_tokens=1),
            cost_dollars=1e-6,
        )

    async def stream(self, request: ModelRequest, model: Model) -> AsyncGenerator[ModelChunk]:
        """The same answer in one piece."""
        yield ModelChunk(response=await self.generate(request, model))

    def warm_up(self) -> None:
        """Nothing to do."""

    async def aclose(self) -> None:
        """Nothing to do."""


async def main(folder: Path, redis_url: str) -> None:
    """Measure, print."""
    apps = {name: app_of(folder / name, redis_url, *settings) for name, settings in VARIANTS.items()}
    figures: dict[str, Any] = {"cpu": await cpu_of(apps)}
    figures["draw_microseconds"] = await draw_microseconds()
    figures["redis"] = await redis_draws(redis_url)
    sys.stdout.write(json.dumps(figures))
    for app in apps.values():
        await app.aclose()


def app_of(folder: Path, redis_url: str, server: Mapping[str, Any], limits: Mapping[str, Any]) -> App:
    """A server with these settings and the provider that answers at once."""
    config_folder = folder / "config"
    config_folder.mkdir(parents=True)
    server = {**server, "default_model": "bench"}
    if "redis_url" in server:
        server["redis_url"] = redis_url
    bench = {"provider": "custom", "base_url": "http://127.0.0.1:9/v1", "input_cost_per_token": 1e-6}
    models = {"models": {"bench": {**bench, "output_cost_per_token": 2e-6}}}
    for name, content in (("server", server), ("limits", limits), ("models", models)):
        (config_folder / f"{name}.yaml").write_text(json.dumps({"version": "1.0", **content}), encoding="utf-8")
    environ = {"ZEN_STATE_DIR": str(folder / "state"), "ZEN_CACHE_DIR": str(folder / "cache"), "HOME": str(folder)}
    config = load_config(config_folder, environ=environ, working_directory=folder, user_directory=folder / "none")
    ground = replace(lay_ground(config, environ=environ), provider=AtOnce())
    return build(config, environ=environ, working_directory=folder, ground=ground)


async def cpu_of(apps: Mapping[str, App]) -> dict[str, float]:
    """CPU milliseconds, of all threads, for one tool call and one model request; the rounds take turns."""
    found: dict[str, list[float]] = {name: [] for name in apps}
    for round_number in range(-1, ROUNDS):
        for name, app in apps.items():
            started = time.process_time()
            for _ in range(CALLS):
                await app.registry.call(CALL)
                await app.gateway.ask(QUESTION)
            if round_number >= 0:
                found[name].append((time.process_time() - started) * 1000 / CALLS)
    return {name: median(times) for name, times in found.items()}


def six_limits() -> list[Draw]:
    """As a call with six limits draws."""
    return [Draw(key=f"limit{number}|local", amount=1, most=1e12, seconds=60) for number in range(6)]


async def draw_microseconds() -> float:
    """Six limits in memory: CPU microseconds of one decision."""
    store, draws = MemoryCounters(), six_limits()
    return await per_draw(lambda: store.draw(draws), time.process_time) * 1000


async def redis_draws(url: str) -> dict[str, float]:
    """Six limits on Redis: CPU and wall milliseconds of one decision, and what Redis read from us for it."""
    redis = Redis(url, tell=print)
    store, draws = RedisCounters(redis), six_limits()
    await store.draw(draws)

    async def reads() -> int:
        async def ask(client: Any) -> int:
            return int((await client.info("stats"))["total_reads_processed"])

        return await redis.do(ask)

    before = await reads()
    wall = await per_draw(lambda: store.draw(draws), time.perf_counter)
    trips = (await reads() - before - 1) / DRAWS
    cpu = await per_draw(lambda: store.draw(draws), time.process_time)
    await redis.aclose()
    return {"wall": wall, "cpu": cpu, "trips": trips}


async def per_draw(draw: Callable[[], Awaitable[object]], clock: Callable[[], float]) -> float:
    """Milliseconds on a clock."""
    started = clock()
    for _ in range(DRAWS):
        await draw()
    return (clock() - started) * 1000 / DRAWS


anyio.run(main, Path(sys.argv[1]), sys.argv[2])
