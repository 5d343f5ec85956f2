"""The gateway, beside `litellm.Router` alone, the OpenAI SDK alone and a raw client, in one process. Prints JSON.

Arguments: the upstream's address, a folder, how many calls the memory is watched for.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import aiohttp
import anyio

from zen_mcp.app import build
from zen_mcp.config.load import load_config
from zen_mcp.gateway import Gateway
from zen_mcp.providers.litellm_setup import import_litellm
from zen_mcp.types import Message, ModelRequest

Call = Callable[[], Awaitable[object]]

ROUNDS = 5
CALLS = 60
MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hello"}]
QUESTION = ModelRequest(
    request_id="c",
    model="bench",
    messages=(Message(role="system", text="Be brief."), Message(role="user", text="hello")),
)


async def main(url: str, folder: Path, watched_calls: int) -> None:
    """Measure, print."""
    environ = {"ZEN_STATE_DIR": str(folder / "state"), "ZEN_CACHE_DIR": str(folder / "cache"), "HOME": str(folder)}
    config = load_config(folder / "config", environ=environ, working_directory=folder, user_directory=folder / "none")
    direct_config = replace(config, server=config.server.model_copy(update={"provider": "direct"}))
    ours, direct = build(config, environ=environ), build(direct_config, environ=environ)
    litellm: Any = import_litellm()
    parameters = {"model": "hosted_vllm/bench", "api_base": url, "api_key": "sk-bench-0123456789", "timeout": 30}
    router = litellm.Router(model_list=[{"model_name": "bench", "litellm_params": parameters}], num_retries=0)
    async with aiohttp.ClientSession() as session:

        async def raw() -> None:
            body = {"model": "bench", "messages": MESSAGES}
            async with session.post(f"{url}/chat/completions", json=body) as response:
                await response.json()

        plain: dict[str, Call] = {
            "ours": lambda: ours.gateway.ask(QUESTION),
            "direct": lambda: direct.gateway.ask(QUESTION),
            "router": lambda: router.acompletion(model="bench", messages=MESSAGES),
            "raw": raw,
        }
        hit = replace(QUESTION, cache="use")
        await ours.gateway.ask(hit)
        figures: dict[str, Any] = {"cpu": await cpu_of({**plain, "hit": lambda: ours.gateway.ask(hit)})}
        figures["concurrent"] = {str(n): await wall_of(plain, n) for n in (1, 16, 64)}
    figures["first"], figures["chunk"] = await streams(ours.gateway, direct.gateway, router)
    figures["memory_mb"], figures["sockets"] = await growth(ours.gateway, watched_calls)
    sys.stdout.write(json.dumps(figures))
    await ours.aclose()
    await direct.aclose()


async def cpu_of(calls: dict[str, Call]) -> dict[str, float]:
    """CPU milliseconds per call; the rounds take turns."""
    found: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        for _ in range(20):
            await call()
    for _ in range(ROUNDS):
        for name, call in calls.items():
            started = time.process_time()
            for _ in range(CALLS):
                await call()
            found[name].append((time.process_time() - started) * 1000 / CALLS)
    return {name: median(times) for name, times in found.items()}


async def wall_of(calls: dict[str, Call], at_once: int) -> dict[str, float]:
    """Wall milliseconds per call with so many under way."""
    found: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            started = time.perf_counter()
            async with anyio.create_task_group() as group:
                for _ in range(at_once):
                    group.start_soon(repeat, call, max(64 // at_once, 1))
            found[name].append((time.perf_counter() - started) * 1000 / (at_once * max(64 // at_once, 1)))
    return {name: median(times) for name, times in found.items()}


async def repeat(call: Call, times: int) -> None:
    """One after the other."""
    for _ in range(times):
        await call()


async def streams(ours: Gateway, direct: Gateway, router: Any) -> tuple[dict[str, float], dict[str, float]]:
    """Milliseconds to the first piece, and CPU milliseconds per piece of an answer of 200."""

    async def through(gateway: Gateway) -> float:
        firsts: list[float] = []

        async def sink(piece: str) -> None:
            if not firsts:
                firsts.append(time.perf_counter())

        started = time.perf_counter()
        await gateway.ask(replace(QUESTION, model="long", sink=sink))
        return (firsts[0] - started) * 1000

    async def alone() -> float:
        started = time.perf_counter()
        first = 0.0
        options = {"stream": True, "stream_options": {"include_usage": True}}
        async for chunk in await router.acompletion(model="long", messages=MESSAGES, **options):
            if not first and chunk.choices and chunk.choices[0].delta.content:
                first = time.perf_counter()
        return (first - started) * 1000

    deployment = {"model": "hosted_vllm/long", "api_base": str(router.model_list[0]["litellm_params"]["api_base"])}
    router.add_deployment(
        import_litellm().types.router.Deployment(
            model_name="long", litellm_params={**deployment, "api_key": "sk-bench-0123456789"}
        )
    )
    ways: dict[str, Callable[[], Awaitable[float]]] = {
        "ours": lambda: through(ours),
        "direct": lambda: through(direct),
        "router": alone,
    }
    firsts: dict[str, list[float]] = {name: [] for name in ways}
    cpus: dict[str, list[float]] = {name: [] for name in ways}
    for round_number in range(43):
        for name, way in ways.items():
            await anyio.sleep(0.05)  # what the one before left behind is not this one's
            started = time.process_time()
            first = await way()
            if round_number >= 3:
                firsts[name].append(first)
                cpus[name].append((time.process_time() - started) * 1000 / 200)
    return {n: median(t) for n, t in firsts.items()}, {n: median(t) for n, t in cpus.items()}


async def growth(gateway: Gateway, calls: int) -> tuple[float, int]:
    """Megabytes and open files gained over so many calls, eight at a time."""

    async def some(count: int) -> None:
        async with anyio.create_task_group() as group:
            for _ in range(8):
                group.start_soon(repeat, lambda: gateway.ask(QUESTION), count // 8)

    await some(max(calls // 10, 8))
    gc.collect()
    before, files = resident_megabytes(), open_files()
    await some(calls)
    gc.collect()
    return resident_megabytes() - before, open_files() - files


def open_files() -> int:
    """Files, pipes and sockets that this process holds open."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def resident_megabytes() -> float:
    """What this process holds now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


anyio.run(main, sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
