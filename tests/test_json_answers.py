"""Answers in JSON: by the vendor's means and in words, checked, repaired once; estimates that ask nobody."""

from __future__ import annotations

import json
from typing import Any

import pytest
from mcp.client import Client
from tests.support.results import data_of, error_of, text_of
from tests.support.server import ServerFolder
from tests.upstream import Behaviour, Upstream

pytestmark = pytest.mark.anyio

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"verdict": {"type": "string"}, "score": {"type": "integer"}},
    "required": ["verdict", "score"],
}
GOOD = '{"verdict": "fine", "score": 3}'
PRICES = {"input_cost_per_token": 1e-3, "output_cost_per_token": 1e-2, "max_output": 100}
MODELS: dict[str, tuple[Behaviour, dict[str, Any]]] = {
    "able": (Behaviour(text=GOOD), {"capabilities": {"json_mode": True}, **PRICES}),
    "plain": (Behaviour(text=f"```json\n{GOOD}\n```"), {}),
    "clumsy": (Behaviour(), PRICES),
    "hopeless": (Behaviour(text="I would rather chat."), {}),
}


async def test_a_model_with_json_mode_is_given_the_schema(client: Client, upstream: Upstream) -> None:
    data = data_of(await client.call_tool("chat", {"prompt": "judge", "model": "able", "json_schema": SCHEMA}))
    assert json.loads(data["text"]) == {"verdict": "fine", "score": 3}
    body = upstream.asked("able")[-1].body
    assert body["response_format"]["json_schema"]["schema"] == SCHEMA


async def test_a_model_without_is_asked_in_words_and_the_fence_is_taken_away(
    client: Client, upstream: Upstream
) -> None:
    data = data_of(await client.call_tool("chat", {"prompt": "judge", "model": "plain", "json_schema": SCHEMA}))
    assert data["text"] == GOOD
    assert data["notes"] == ["plain has no JSON mode; it was asked for in words"]
    received = upstream.asked("plain")[-1]
    assert "response_format" not in received.body
    assert '"verdict"' in received.messages[0]["content"]


async def test_a_wrong_answer_is_repaired_once_and_both_requests_are_paid(client: Client, upstream: Upstream) -> None:
    upstream.behave("clumsy", [Behaviour(text='{"verdict": "fine"}'), Behaviour(text=GOOD)])
    data = data_of(await client.call_tool("chat", {"prompt": "judge", "model": "clumsy", "json_schema": SCHEMA}))
    assert data["text"] == GOOD
    assert data["notes"][-1] == "repaired once: the whole: 'score' is a required property"
    first, second = upstream.asked("clumsy")
    assert second.messages[: len(first.messages)] == first.messages
    assert "'score' is a required property" in second.messages[-1]["content"]
    tokens = sum(len(str(m["content"]).split()) for received in (first, second) for m in received.messages)
    assert data["input_tokens"] == tokens
    assert data["cost_dollars"] == pytest.approx(tokens * 1e-3 + data["output_tokens"] * 1e-2)


async def test_an_answer_that_stays_wrong_is_an_error(client: Client, upstream: Upstream) -> None:
    error = error_of(await client.call_tool("chat", {"prompt": "judge", "model": "hopeless", "json_schema": SCHEMA}))
    assert error["kind"] == "VendorBadAnswer"
    assert "did not answer in the wished JSON, twice: it is not valid JSON" in error["problem"]
    assert len(upstream.asked("hopeless")) == 2


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "nonsense"}, "is not a JSON Schema"),
        ({"properties": {"a": {"$ref": "http://127.0.0.1:9/x"}}}, "outside of itself"),
    ],
)
async def test_a_schema_that_is_none_is_refused_before_anything_is_sent(
    client: Client, upstream: Upstream, schema: dict[str, Any], words: str
) -> None:
    before = len(upstream.requests)
    error = error_of(await client.call_tool("chat", {"prompt": "x", "model": "able", "json_schema": schema}))
    assert error["kind"] == "InvalidArguments"
    assert words in error["problem"]
    assert len(upstream.requests) == before


async def test_a_dry_run_asks_nobody_and_tells_tokens_and_dollars(client: Client, upstream: Upstream) -> None:
    before = len(upstream.requests)
    result = await client.call_tool("chat", {"prompt": "word " * 700, "model": "able", "dry_run": True})
    (estimate,) = data_of(result)["estimates"]
    assert 900 < estimate["input_tokens"] < 1300
    assert estimate["least_dollars"] == pytest.approx(estimate["input_tokens"] * 1e-3)
    assert estimate["most_dollars"] == pytest.approx(estimate["least_dollars"] + 100 * 1e-2)
    assert "up to 100 out" in text_of(result)
    panel = await client.call_tool("consensus", {"prompt": "x", "models": ["able", "plain"], "dry_run": True})
    assert data_of(panel)["least_dollars"] is None, "one price is not known, so the sum is not"
    assert "plain (custom)" in text_of(panel)
    assert "cost unknown" in text_of(panel)
    assert len(upstream.requests) == before


@pytest.mark.slow
def test_estimate_and_json_on_the_command_line(folder: ServerFolder, upstream: Upstream) -> None:
    before = len(upstream.requests)
    done = folder.run("estimate", "-m", "able", "-m", "plain", "hello")
    assert done.returncode == 0
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["able", "plain"]
    assert len(upstream.requests) == before
    (folder.work / "schema.json").write_text(json.dumps(SCHEMA))
    done = folder.run("ask", "-m", "plain", "--json-schema", "schema.json", "judge")
    assert done.stdout == GOOD + "\n"
    done = folder.run("ask", "-m", "plain", "--json-schema", "missing.json", "judge")
    assert done.returncode == 1
    assert "missing.json" in done.stderr
