"""The chat tool through an MCP client: what reaches the vendor, and what comes back in both forms."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp.client import Client
from tests.support.results import data_of, text_of
from tests.support.server import ServerFolder, connect
from tests.upstream import Behaviour, Upstream

from zen_mcp.app import build
from zen_mcp.config.load import load_config
from zen_mcp.errors import VendorTimeout
from zen_mcp.server.clients import call_seconds
from zen_mcp.types import ToolRequest

pytestmark = pytest.mark.anyio

PRICED: dict[str, Any] = {"input_cost_per_token": 0.001, "output_cost_per_token": 0.01}
MODELS: dict[str, tuple[Behaviour, dict[str, Any]]] = {
    "fine": (Behaviour(text="An answer."), {"aliases": ["nice"], **PRICED}),
    "sees": (Behaviour(text="A picture."), {"capabilities": {"vision": True, "reasoning": True}}),
    "slower": (Behaviour(), {}),
    "slow": (Behaviour(text="done", delay_seconds=0.2), {}),
    "hanging": (Behaviour(how="hang"), {}),
    "long": (Behaviour(text="word " * 4_000), {}),
}
SETTINGS = {"default_model": "fine", "heartbeat_seconds": 0.1}


async def test_an_answer_says_who_what_and_how_much_in_both_forms(client: Client, upstream: Upstream) -> None:
    result = await client.call_tool("chat", {"prompt": "Hello?", "model": "NICE"})
    data = data_of(result)
    sent = upstream.asked("fine")[-1].messages
    tokens_in, tokens_out = data["input_tokens"], data["output_tokens"]
    cost = tokens_in * 0.001 + tokens_out * 0.01
    assert [message["role"] for message in sent] == ["system", "user"]
    assert sent[1]["content"] == "Hello?"
    assert {name: data[name] for name in ("text", "model", "vendor")} == {
        "text": "An answer.",
        "model": "fine",
        "vendor": "custom",
    }
    assert data["cost_dollars"] == pytest.approx(cost)
    figures = rf"{tokens_in}\+{tokens_out} tokens · \${cost:.4f} · continuation_id {data['continuation_id']}"
    assert re.fullmatch(rf"An answer\.\n\n\[fine \(custom\) · \d+\.\d s · {figures}\]", text_of(result))


async def test_files_and_images_reach_the_model_with_the_question(
    client: Client, upstream: Upstream, work: Path
) -> None:
    (work / "café.py").write_text("print('hé')\n", encoding="utf-8")
    picture = b"\x89PNG\r\n\x1a\n0000"
    (work / "shot.png").write_bytes(picture)
    arguments = {
        "prompt": "What is it?",
        "model": "sees",
        "files": [str(work / "café.py")],
        "images": [str(work / "shot.png")],
        "temperature": 0.3,
        "thinking": "low",
    }
    data_of(await client.call_tool("chat", arguments))
    body = upstream.asked("sees")[-1].body
    text, image = body["messages"][-1]["content"]
    assert "What is it?" in text["text"]
    assert "print('hé')" in text["text"]
    assert "café.py" in text["text"]
    assert image["image_url"]["url"] == f"data:image/png;base64,{base64.b64encode(picture).decode()}"
    assert body["temperature"] == 0.3
    assert body["reasoning_effort"] == "low"


async def test_what_a_model_cannot_do_is_said(client: Client) -> None:
    data = data_of(await client.call_tool("chat", {"prompt": "x", "thinking": "high"}))
    assert data["notes"] == ["fine has no thinking effort; it was left out"]


async def test_twenty_chats_at_once_are_all_under_way_together(client: Client, upstream: Upstream) -> None:
    upstream.behave("slower", Behaviour(text="done", delay_seconds=4))
    upstream.peak_requests = 0
    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(client.call_tool, "chat", {"prompt": "x", "model": "slower"})
    assert upstream.peak_requests == 20


async def test_a_watched_call_reports_at_once_and_never_goes_silent(client: Client, upstream: Upstream) -> None:
    upstream.behave("slow", Behaviour(text="done", delay_seconds=0.6))
    reports: list[tuple[float, str | None]] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        reports.append((progress, message))

    try:
        await client.call_tool("chat", {"prompt": "x", "model": "slow"}, progress_callback=note)
    finally:
        upstream.behave("slow", Behaviour(text="done", delay_seconds=0.2))
    values = [value for value, _ in reports]
    assert reports[0][1] == "asking slow"
    assert len(reports) >= 3, "a heartbeat every 0.1 s"
    assert values == sorted(set(values)), "the protocol wants every value larger than the one before"


@pytest.mark.slow
async def test_a_long_answer_fits_what_the_client_shows(folder: ServerFolder) -> None:
    for name, most in (("cline", 8_000), ("codex-mcp-client", 12_000), ("claude-code", 49_000)):
        async with connect(folder, name=name) as client:
            result = await client.call_tool("chat", {"prompt": "x", "model": "long"})
        assert len(text_of(result)) <= most
        shown_whole = most > 20_000
        assert (data_of(result).get("next_offset") is None) is shown_whole


async def test_a_client_that_hangs_up_early_is_answered_before_it_does(folder: ServerFolder) -> None:
    assert call_seconds("Cline") == 55
    assert call_seconds("claude-code") is None
    folder.write()
    config = load_config(environ=folder.environ(), working_directory=folder.work)
    app = build(config, environ=folder.environ(), working_directory=folder.work)
    hanging = ToolRequest(request_id="c", tool="chat", arguments={"prompt": "x", "model": "hanging"}, max_seconds=0.3)
    with pytest.raises(VendorTimeout, match=r"gave no answer within 0\.3 s"):
        await app.registry.call(hanging)
    await app.aclose()


@pytest.mark.slow
async def test_an_answer_is_not_lost_to_a_broken_database(folder: ServerFolder, tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.write_text("a file where the folder should be", encoding="utf-8")
    broken = ServerFolder(path=folder.path, models=folder.models, environment={"ZEN_STATE_DIR": str(state)})
    async with connect(broken) as client:
        result = await client.call_tool("chat", {"prompt": "x", "model": "fine"})
        panel = await client.call_tool("consensus", {"prompt": "x", "models": ["fine", "slow"]})
    data = data_of(result)
    assert data["text"] == "An answer."
    assert "continuation_id" not in data
    assert "not stored, so it cannot be continued: The database folder" in text_of(result)
    assert "The round is not stored" in data_of(panel)["summary"]
