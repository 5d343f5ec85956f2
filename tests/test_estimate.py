"""The estimate tool through an MCP client: tokens and dollars, and nobody asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp.client import Client
from tests.support.results import data_of, error_of, text_of
from tests.support.tokens import o200k_tokens
from tests.upstream import Behaviour, Upstream

pytestmark = pytest.mark.anyio

PRICED: dict[str, Any] = {"input_cost_per_token": 0.001, "output_cost_per_token": 0.01, "max_output": 100}
MODELS: dict[str, tuple[Behaviour, dict[str, Any]]] = {
    "fine": (Behaviour(text="An answer."), {**PRICED, "context_window": 100_000}),
    "unpriced": (Behaviour(text="An answer."), {"context_window": 100_000}),
    "tiny": (Behaviour(text="An answer."), {"context_window": 200, **PRICED}),
}
SETTINGS = {"default_model": "fine", "tools": "full"}


async def estimated(client: Client, **arguments: Any) -> dict[str, Any]:
    with anyio.fail_after(60):
        return data_of(await client.call_tool("estimate", arguments))


async def test_a_question_with_a_file_is_counted_by_a_real_tokenizer(
    client: Client, upstream: Upstream, work: Path
) -> None:
    content = "print('hello, world')\n" * 50
    (work / "file.py").write_text(content, encoding="utf-8")
    data = await estimated(client, prompt="What does it do?", files=[str(work / "file.py")])
    tokens = data["estimates"][0]["input_tokens"]
    whole = f'<file path="{work}/file.py">\n{content}\n</file>\n\nWhat does it do?'
    assert tokens == o200k_tokens(whole)
    assert data["least_dollars"] == pytest.approx(tokens * 0.001)
    assert data["most_dollars"] == pytest.approx(tokens * 0.001 + 100 * 0.01)
    assert upstream.asked("fine") == []


async def test_several_models_are_compared_and_one_that_cannot_take_it_is_told(client: Client) -> None:
    arguments = {"prompt": "word " * 500, "models": ["fine", "unpriced", "tiny", "none"]}
    result = await client.call_tool("estimate", arguments)
    data = data_of(result)
    assert [one["model"] for one in data["estimates"]] == ["fine", "unpriced"]
    assert "least_dollars" not in data
    assert data["problems"][0].startswith("The prompt has about ")
    assert data["problems"][1].startswith("There is no model 'none'.")
    assert "Nothing was asked." in text_of(result)
    assert "unpriced (custom)" in text_of(result)


async def test_a_thread_counts_with_its_history(client: Client) -> None:
    first = data_of(await client.call_tool("chat", {"prompt": "word " * 300, "model": "fine"}))
    short = (await estimated(client, prompt="And?"))["estimates"][0]["input_tokens"]
    data = await estimated(client, prompt="And?", continuation_id=first["continuation_id"])
    assert data["estimates"][0]["input_tokens"] > short + 250


async def test_errors_are_those_of_a_question(client: Client) -> None:
    assert error_of(await client.call_tool("estimate", {"prompt": " "}))["kind"] == "InvalidArguments"
    assert error_of(await client.call_tool("estimate", {"prompt": "x", "models": ["nobody"]}))["kind"] == "UnknownModel"
    error = error_of(await client.call_tool("estimate", {"prompt": "x", "models": ["fine"] * 17}))
    assert error["problem"] == "'models' has 17 entries; at most 16 are estimated at once."
