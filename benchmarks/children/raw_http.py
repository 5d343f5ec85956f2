"""A raw HTTP client against an upstream: prints the CPU milliseconds per call. Arguments: address, calls."""

from __future__ import annotations

import sys
import time

import aiohttp
import anyio


async def main(url: str, calls: int) -> None:
    body = {"model": "bench", "messages": [{"role": "user", "content": "hello"}]}
    async with aiohttp.ClientSession() as session:

        async def call() -> None:
            async with session.post(f"{url}/chat/completions", json=body) as response:
                await response.json()

        for _ in range(20):
            await call()
        started = time.process_time()
        for _ in range(calls):
            await call()
    sys.stdout.write(f"{(time.process_time() - started) * 1000 / calls}\n")


anyio.run(main, sys.argv[1], int(sys.argv[2]))
