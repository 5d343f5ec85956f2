"""LiteLLM's real vendor code against real HTTP: OpenAI (chat and Responses), Anthropic, Gemini, whole and streamed."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import pytest
from tests.conftest import KEY
from tests.upstream import Behaviour, Upstream

from zen_mcp.catalog.model import Capabilities, Model, Price
from zen_mcp.errors import VendorAuthFailed, VendorError, VendorRateLimited, VendorUnavailable, VendorUnreachable
from zen_mcp.providers.litellm_provider import LiteLLMProvider
from zen_mcp.types import FunctionCall, Image, Message, ModelRequest, ModelResponse

pytestmark = pytest.mark.anyio

PRICE = Price(
    input_dollars_per_token=1e-3,
    output_dollars_per_token=1e-2,
    cached_dollars_per_token=1e-4,
    cache_write_dollars_per_token=2e-3,
    reasoning_dollars_per_token=5e-2,
)
ABLE = Capabilities(
    vision=True, function_calling=True, json_mode=True, reasoning=True, prompt_caching=True, web_search=True
)


def model_at(upstream: Upstream, vendor: str, name: str) -> Model:
    """A model of a vendor, at the upstream."""
    base = upstream.url.removesuffix("/v1")
    where = {
        "openai": (f"openai/{name}", upstream.url),
        "responses": (f"openai/responses/{name}", upstream.url),
        "anthropic": (f"anthropic/claude-{name}", base),
        "gemini": (f"gemini/{name}", f"{base}/v1beta"),
    }
    litellm_model, base_url = where[vendor]
    return Model(
        name=name,
        vendor=vendor,
        litellm_model=litellm_model,
        base_url=base_url,
        api_key=KEY,
        price=PRICE,
        capabilities=ABLE,
        timeout_seconds=10,
    )


def upstream_name(vendor: str, name: str) -> str:
    """What the upstream is asked for."""
    return f"claude-{name}" if vendor == "anthropic" else name


@pytest.fixture
async def provider() -> AsyncGenerator[LiteLLMProvider]:
    """LiteLLM."""
    made = LiteLLMProvider(secrets=lambda: (KEY,))
    yield made
    await made.aclose()


async def answer(provider: LiteLLMProvider, request: ModelRequest, model: Model, *, stream: bool) -> ModelResponse:
    """The whole response, streamed or not."""
    if not stream:
        return await provider.generate(request, model)
    text, response = "", None
    async with aclosing(provider.stream(request, model)) as chunks:
        async for chunk in chunks:
            text += chunk.text
            response = chunk.response or response
    assert response is not None
    assert text == response.text
    return response


def question(*messages: Message, **more: Any) -> ModelRequest:
    """A request with a system message."""
    asked = messages or (Message(role="user", text="hello there"),)
    return ModelRequest(request_id="c", model="m", messages=(Message(role="system", text="Be brief."), *asked), **more)


VENDORS = ("openai", "responses", "anthropic", "gemini")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("vendor", VENDORS)
async def test_each_dialect_answers_with_an_exact_account(
    provider: LiteLLMProvider, upstream: Upstream, vendor: str, stream: bool
) -> None:
    name = f"{vendor}-fine"
    thought = 0 if vendor == "anthropic" else 1
    upstream.behave(
        upstream_name(vendor, name), Behaviour(text="one two three", cached_tokens=1, reasoning_tokens=thought)
    )
    response = await answer(provider, question(), model_at(upstream, vendor, name), stream=stream)
    assert response.text == "one two three"
    usage = response.usage
    assert usage is not None
    received = upstream.asked(upstream_name(vendor, name))[-1]
    assert received.stream == stream
    prompt = sum(len(str(message["content"]).split()) for message in received.messages)
    assert (usage.input_tokens, usage.output_tokens) == (prompt, 3)
    assert (usage.cached_tokens, usage.reasoning_tokens) == (1, thought)
    expected = (prompt - 1) * 1e-3 + 1e-4 + (3 - thought) * 1e-2 + thought * 5e-2
    assert response.cost_dollars == pytest.approx(expected)


@pytest.mark.parametrize(
    ("behaviour", "error"),
    [
        (Behaviour(status=429, text="slow down"), VendorRateLimited),
        (Behaviour(status=401, text="bad key {key}"), VendorAuthFailed),
        (Behaviour(status=500, text="boom"), VendorUnavailable),
    ],
    ids=["429", "401", "500"],
)
@pytest.mark.parametrize("vendor", VENDORS)
async def test_each_dialects_failures_are_ours(
    provider: LiteLLMProvider, upstream: Upstream, vendor: str, behaviour: Behaviour, error: type[VendorError]
) -> None:
    name = f"{vendor}-{behaviour.status}"
    upstream.behave(upstream_name(vendor, name), behaviour)
    with pytest.raises(VendorError) as caught:
        await provider.generate(question(), model_at(upstream, vendor, name))
    assert type(caught.value) is error
    assert KEY not in str(caught.value)
    assert len(upstream.asked(upstream_name(vendor, name))) == 1, "LiteLLM retries nothing by itself"


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize("how", ["cut", "torn"])
async def test_each_dialects_cut_stream_is_noticed(
    provider: LiteLLMProvider, upstream: Upstream, vendor: str, how: Any
) -> None:
    if (vendor, how) == ("gemini", "cut"):
        pytest.skip("LiteLLM gives every piece of Gemini's a finish reason, so only torn HTTP shows")
    name = f"{vendor}-{how}"
    upstream.behave(upstream_name(vendor, name), Behaviour(how=how, text="one two three four"))
    with pytest.raises(VendorUnreachable):
        await answer(provider, question(), model_at(upstream, vendor, name), stream=True)


async def test_claude_gets_cache_marks_once_a_thread_goes_on_and_pays_what_it_writes(
    provider: LiteLLMProvider, upstream: Upstream
) -> None:
    model = model_at(upstream, "anthropic", "cached")
    upstream.behave("claude-cached", Behaviour(text="ok", cached_tokens=2, cache_write_tokens=3))
    await provider.generate(question(), model)
    assert "cache_control" not in str(upstream.asked("claude-cached")[-1].body)
    turns = (
        Message(role="user", text="a first question"),
        Message(role="assistant", text="a first answer"),
        Message(role="user", text="a second question"),
    )
    response = await provider.generate(question(*turns), model)
    body = upstream.asked("claude-cached")[-1].body
    assert "cache_control" in str(body["system"])
    assert "cache_control" in str(body["messages"][-1])
    assert "cache_control" not in str(body["messages"][:-1])
    assert body["max_tokens"] == 16_384
    usage = response.usage
    assert usage is not None
    assert (usage.cached_tokens, usage.cache_write_tokens) == (2, 3)
    fresh = usage.input_tokens - 5
    assert response.cost_dollars == pytest.approx(fresh * 1e-3 + 2e-4 + 3 * 2e-3 + usage.output_tokens * 1e-2)


SCHEMA: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "string"}}}


@pytest.mark.parametrize(
    "case",
    [
        ("openai", ("reasoning_effort", "high"), "web_search_options", "response_format"),
        ("responses", ("reasoning", "high"), "web_search", "'format'"),
        ("anthropic", ("thinking", "budget_tokens"), "web_search", "'a'"),
        ("gemini", ("thinkingConfig", "thinking"), "googleSearch", "response"),
    ],
)
async def test_thinking_search_and_schema_reach_each_vendor_in_its_own_words(
    provider: LiteLLMProvider, upstream: Upstream, case: tuple[str, tuple[str, str], str, str]
) -> None:
    vendor, effort, search, schema = case
    name = {"anthropic": "sonnet-4-5", "responses": "gpt-6-sol"}.get(vendor, f"{vendor}-able")
    model = model_at(upstream, vendor, name)
    await provider.generate(question(thinking="high"), model)
    body = str(upstream.asked(upstream_name(vendor, name))[-1].body)
    assert effort[0] in body
    assert effort[1] in body
    await provider.generate(question(web_search=True), model)
    assert search in str(upstream.asked(upstream_name(vendor, name))[-1].body)
    upstream.behave(upstream_name(vendor, name), Behaviour(text='{"a": "b"}'))
    await provider.generate(question(json_schema=SCHEMA), model)
    assert schema in str(upstream.asked(upstream_name(vendor, name))[-1].body)


@pytest.mark.parametrize("vendor", VENDORS)
async def test_an_image_reaches_each_vendor(provider: LiteLLMProvider, upstream: Upstream, vendor: str) -> None:
    name = f"{vendor}-seeing"
    picture = Message(role="user", text="what is it?", images=(Image(mime_type="image/png", data_base64="aGVsbG8="),))
    await provider.generate(question(picture), model_at(upstream, vendor, name))
    assert "aGVsbG8=" in str(upstream.asked(upstream_name(vendor, name))[-1].body)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_functions_are_passed_through(provider: LiteLLMProvider, upstream: Upstream, stream: bool) -> None:
    upstream.behave("caller", Behaviour(function_call=("look", '{"where": "here"}'), finish_reason="tool_calls"))
    function: Any = {"name": "look", "parameters": {"type": "object", "properties": {}}}
    model = model_at(upstream, "openai", "caller")
    if stream:
        upstream.behave("caller", Behaviour(text="no call in a stream"))
    response = await answer(provider, question(functions=(function,)), model, stream=stream)
    assert upstream.asked("caller")[-1].body["tools"] == [{"type": "function", "function": function}]
    if not stream:
        assert response.function_calls == (FunctionCall(id="call-1", name="look", arguments='{"where": "here"}'),)
        assert response.finish_reason == "tool_calls"


@pytest.mark.parametrize("vendor", ["anthropic", "responses"])
async def test_what_litellm_would_drop_in_silence_is_told(
    provider: LiteLLMProvider, upstream: Upstream, vendor: str
) -> None:
    model = model_at(upstream, vendor, "of-tomorrow")
    response = await provider.generate(question(thinking="high"), model)
    assert response.notes == ("LiteLLM knows no thinking effort of of-tomorrow; it was left out",)
    assert "high" not in str(upstream.requests[-1].body)
