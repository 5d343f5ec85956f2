"""Several replicas behind a round-robin proxy, and clients that try again."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio
import httpx2
from mcp import MCPError
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult
from tests.support.proxy import REPLICA_HEADER, RoundRobin, round_robin
from tests.support.server import Served, ServerFolder, serve_http, until

TRIES = 6
CALL_SECONDS = 60.0


@dataclass(slots=True)
class Team:
    """Replicas that run, each from a folder of its own with the same settings, and the proxy before them."""

    folders: list[ServerFolder]
    served: list[Served]
    proxy: RoundRobin
    stack: AsyncExitStack

    @property
    def url(self) -> str:
        """Where clients go."""
        return f"{self.proxy.url}/mcp"

    async def ready(self, *, seconds: float = 120) -> None:
        """Wait until every replica says that it is."""
        async with httpx2.AsyncClient(timeout=30) as http:
            for one in self.served:

                async def is_ready(url: str = f"{one.base}/readyz") -> bool:
                    return (await http.get(url)).status_code == 200

                await until(is_ready, seconds=seconds)

    async def kill(self, number: int) -> None:
        """End a replica as `kill -9` does."""
        self.served[number].process.kill()
        await self.served[number].process.wait()

    async def start(self, number: int) -> None:
        """Start a replica that was killed, where it was."""
        address = urlsplit(self.served[number].base).netloc
        self.served[number] = await self.stack.enter_async_context(serve_http(self.folders[number], address=address))

    @asynccontextmanager
    async def member(
        self, headers: Mapping[str, str] | None = None, *, call_seconds: float = CALL_SECONDS
    ) -> AsyncGenerator[TeamClient]:
        """An MCP client that comes in through the proxy."""
        replicas = list[int]()

        async def note(response: httpx2.Response) -> None:
            if response.request.headers.get("mcp-method") == "tools/call" and REPLICA_HEADER in response.headers:
                replicas.append(int(response.headers[REPLICA_HEADER]))

        async with (
            httpx2.AsyncClient(
                headers=dict(headers or {}), timeout=call_seconds, event_hooks={"response": [note]}
            ) as http,
            Client(streamable_http_client(self.url, http_client=http)) as client,
        ):
            await client.list_tools()  # else it asks for them after its first call
            yield TeamClient(client=client, replicas=replicas, call_seconds=call_seconds)


@dataclass(slots=True, kw_only=True)
class TeamClient:
    """A client that calls again when its call gets no answer. `replicas`: who answered its calls, in order."""

    client: Client
    replicas: list[int]
    call_seconds: float
    errors: list[str] = field(default_factory=list[str])

    async def call(self, tool: str, arguments: Mapping[str, Any]) -> CallToolResult:
        """Call a tool until there is an answer, an error of the tool's own among them."""
        for _ in range(TRIES):
            try:
                with anyio.fail_after(self.call_seconds):
                    return await self.client.call_tool(tool, dict(arguments))
            except (MCPError, httpx2.HTTPError, TimeoutError) as exc:
                self.errors.append(f"{type(exc).__name__}: {exc}")
        raise TimeoutError(f"no answer after {TRIES} tries: {self.errors[-TRIES:]}")


@asynccontextmanager
async def team_of(
    path: Path,
    *,
    models: Mapping[str, Mapping[str, Any]],
    settings: Mapping[str, Any],
    limits: Mapping[str, Any] | None = None,
    replicas: int = 3,
) -> AsyncGenerator[Team]:
    """Replicas of these settings, which name the Postgres and the Redis that they share, behind a proxy."""
    folders = [
        ServerFolder(
            path=path / f"replica-{number}", models=models, settings=settings, **({"limits": limits} if limits else {})
        )
        for number in range(replicas)
    ]
    async with AsyncExitStack() as stack:
        served = [await stack.enter_async_context(serve_http(folder)) for folder in folders]
        proxy = await stack.enter_async_context(round_robin([urlsplit(one.base).port or 0 for one in served]))
        yield Team(folders=folders, served=served, proxy=proxy, stack=stack)
