"""Settings that change while the server runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp.client import Client
from tests.support.results import data_of, error_of
from tests.support.server import RawServer, ServerFolder, connect, modern, openai_model, request
from tests.upstream import Behaviour, Upstream

pytestmark = pytest.mark.anyio


async def until(client: Client, model: str, *, known: bool) -> None:
    """Ask until a model is known, or is not."""
    with anyio.fail_after(15):
        while True:
            result = await client.call_tool("chat", {"prompt": "hello", "model": model, "dry_run": True})
            if bool(result.is_error) != known:
                return
            await anyio.sleep(0.2)


@pytest.mark.slow
async def test_a_change_is_taken_in_a_broken_one_refused_and_calls_under_way_go_on(
    tmp_path: Path, upstream: Upstream
) -> None:
    upstream.behave("slow", Behaviour(text="slow but whole", delay_seconds=3.0))
    folder = ServerFolder(path=tmp_path, models={"slow": openai_model(upstream.url)})
    file = tmp_path / "config" / "models.yaml"
    results: list[Any] = []

    def write(models: dict[str, Any]) -> None:
        file.write_text(json.dumps({"version": "1.0", "models": models}), encoding="utf-8")

    async with connect(folder) as client:
        assert error_of(await client.call_tool("chat", {"prompt": "x", "model": "fresh"}))["kind"] == "UnknownModel"

        async def ask() -> None:
            results.append(await client.call_tool("chat", {"prompt": "hello", "model": "slow"}))

        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            assert await anyio.to_thread.run_sync(upstream.wait_for_request, "slow")
            write({"fresh": openai_model(upstream.url)})
            await until(client, "fresh", known=True)
            await until(client, "slow", known=False)
        assert data_of(results[0])["text"] == "slow but whole", "it ended with the settings it began with"
        assert data_of(await client.call_tool("chat", {"prompt": "x", "model": "fresh"}))["text"] == "ok"

        file.write_text("models: {fresh: {provider: custom, base_urll: x}}", encoding="utf-8")
        await anyio.sleep(3)
        assert data_of(await client.call_tool("chat", {"prompt": "x", "model": "fresh"}))["text"] == "ok"
        log = (tmp_path / "stderr.log").read_text(encoding="utf-8")
        assert "settings_refused" in log
        assert "models.yaml:1: models.fresh.base_urll: unknown key 'base_urll'. Did you mean 'base_url'?" in _unescaped(
            log
        )

        write({"other": openai_model(upstream.url)})
        await until(client, "other", known=True)


def _unescaped(log: str) -> str:
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    return "\n".join(f"{line.get('problem', '')} {line.get('fix', '')}" for line in lines)


async def test_a_changed_choice_of_tools_is_announced(tmp_path: Path) -> None:
    folder = ServerFolder(path=tmp_path)
    async with connect(folder, mode="legacy") as client:
        assert "version" in {tool.name for tool in (await client.list_tools()).tools}
        (tmp_path / "config" / "server.yaml").write_text("disabled_tools: [version]\nprovider: direct\n")
        with anyio.fail_after(15):
            while "version" in {tool.name for tool in (await client.list_tools()).tools}:  # noqa: ASYNC110
                await anyio.sleep(0.2)
    assert '"after_a_restart": "provider"' in (tmp_path / "stderr.log").read_text(encoding="utf-8")


@pytest.mark.parametrize("era", ["legacy", "modern"])
async def test_every_list_that_changes_is_announced_and_no_other(tmp_path: Path, era: str) -> None:
    folder = ServerFolder(path=tmp_path)
    async with RawServer(folder) as server:
        if era == "legacy":
            await server.initialize()
        else:
            wanted = dict.fromkeys(("toolsListChanged", "promptsListChanged", "resourcesListChanged"), True)
            await server.send(request(1, "subscriptions/listen", modern({"notifications": wanted})))
            await server.receive()
        call: dict[str, Any] = {"name": "version", "arguments": {}}
        await server.request(2, "tools/call", call if era == "legacy" else modern(call))
        (tmp_path / "config" / "server.yaml").write_text("tools: [full]\ndisabled_tools: [version]\n")
        first = [(await server.receive())["method"] for _ in range(2)]
        (tmp_path / "config" / "server.yaml").write_text("tools: [full]\ndisabled_tools: [version, threads]\n")
        then = [(await server.receive())["method"] for _ in range(3)]
    announced = [f"notifications/{name}/list_changed" for name in ("tools", "prompts", "resources")]
    assert first == announced[:2], "the version tool has no resource"
    assert then == announced
