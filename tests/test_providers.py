"""What every provider must do, whichever library it uses: one request, one account, one error."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import anyio
import pytest
from tests.conftest import KEY
from tests.upstream import Behaviour, Upstream

from zen_mcp.catalog.model import Capabilities, Model, Price
from zen_mcp.errors import (
    ContentRefused,
    ContextWindowExceeded,
    InvalidArguments,
    VendorAuthFailed,
    VendorBadAnswer,
    VendorError,
    VendorNotFound,
    VendorRateLimited,
    VendorRejected,
    VendorTimeout,
    VendorUnavailable,
    VendorUnreachable,
)
from zen_mcp.providers.base import Provider
from zen_mcp.providers.direct_provider import DirectProvider
from zen_mcp.providers.emergency import WithEmergencyExit
from zen_mcp.providers.litellm_provider import LiteLLMProvider
from zen_mcp.types import Image, Message, ModelRequest, ModelResponse

pytestmark = pytest.mark.anyio

PRICE = Price(
    input_dollars_per_token=1e-3,
    output_dollars_per_token=1e-2,
    cached_dollars_per_token=0.0,
    reasoning_dollars_per_token=1e-1,
)


@pytest.fixture(params=[LiteLLMProvider, DirectProvider])
async def provider(request: pytest.FixtureRequest) -> AsyncGenerator[Provider]:
    """Each provider in turn."""
    made: Provider = request.param(secrets=lambda: (KEY,))
    yield made
    await made.aclose()


def model_at(upstream: Upstream, name: str, **more: Any) -> Model:
    """A model at the upstream."""
    settings: dict[str, Any] = {
        "vendor": "custom",
        "litellm_model": f"hosted_vllm/{name}",
        "base_url": upstream.url,
        "api_key": KEY,
        "timeout_seconds": 5.0,
        **more,
    }
    return Model(name=name, **settings)


def question(model: str, **more: Any) -> ModelRequest:
    """A short request."""
    return ModelRequest(request_id="c-test", model=model, messages=(Message(role="user", text="hello"),), **more)


async def streamed(provider: Provider, request: ModelRequest, model: Model) -> tuple[list[str], ModelResponse]:
    """The pieces of a stream and its whole response."""
    pieces: list[str] = []
    response: ModelResponse | None = None
    async with aclosing(provider.stream(request, model)) as chunks:
        async for chunk in chunks:
            if chunk.text:
                pieces.append(chunk.text)
            response = chunk.response or response
    assert response is not None
    return pieces, response


async def test_a_stream_comes_in_pieces_and_its_account_is_that_of_a_whole_answer(
    provider: Provider, upstream: Upstream
) -> None:
    upstream.behave("talker", Behaviour(text="one two three four", cached_tokens=1, reasoning_tokens=2))
    model = model_at(upstream, "talker", price=PRICE)
    pieces, response = await streamed(provider, question("talker"), model)
    whole = await provider.generate(question("talker"), model)
    assert len(pieces) > 1
    assert "".join(pieces) == response.text == whole.text == "one two three four"
    assert response.finish_reason == whole.finish_reason == "stop"
    usage = response.usage
    assert usage == whole.usage
    assert usage is not None
    expected = (usage.input_tokens - 1) * 1e-3 + (usage.output_tokens - 2) * 1e-2 + 2 * 1e-1
    assert response.cost_dollars == whole.cost_dollars == pytest.approx(expected)


@pytest.mark.parametrize(
    ("how", "error", "words"),
    [
        ("cut", VendorUnreachable, "broke off after 3 characters"),
        ("html", VendorBadAnswer, "not JSON"),
        ("empty", VendorBadAnswer, "empty answer"),
    ],
)
async def test_a_stream_that_goes_wrong_says_how(
    provider: Provider, upstream: Upstream, how: Any, error: type[VendorError], words: str
) -> None:
    upstream.behave(f"stream-{how}", Behaviour(how=how, text="one two"))
    with anyio.fail_after(10), pytest.raises(error, match=words):
        await streamed(provider, question(f"stream-{how}"), model_at(upstream, f"stream-{how}"))


FAULTS: tuple[tuple[Behaviour, type[VendorError]], ...] = (
    (Behaviour(status=500, text="boom {key}"), VendorUnavailable),
    (Behaviour(status=503, text="overloaded"), VendorUnavailable),
    (Behaviour(status=429, text="slow down", headers={"Retry-After": "7"}), VendorRateLimited),
    (Behaviour(status=401, text="Incorrect API key provided: {key}"), VendorAuthFailed),
    (Behaviour(status=403, text="not yours"), VendorAuthFailed),
    (Behaviour(status=404, text="The model does not exist"), VendorNotFound),
    (Behaviour(status=400, text="max_tokens is too large"), VendorRejected),
    (Behaviour(status=413, text="too much"), VendorRejected),
    (Behaviour(status=400, text="This model's maximum context length is 10 tokens"), ContextWindowExceeded),
    (Behaviour(status=400, text="content_policy_violation: no"), ContentRefused),
    (Behaviour(how="html"), VendorBadAnswer),
    (Behaviour(how="empty"), VendorBadAnswer),
    (Behaviour(how="cut"), VendorUnreachable),
)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("fault", FAULTS, ids=[f"{b.how}-{b.status}-{e.__name__}" for b, e in FAULTS])
async def test_every_fault_is_one_request_and_one_typed_error_without_the_key(
    provider: Provider, upstream: Upstream, fault: tuple[Behaviour, type[VendorError]], stream: bool
) -> None:
    behaviour, expected = fault
    name = f"fault-{id(behaviour)}-{stream}-{type(provider).__name__}"
    upstream.behave(name, behaviour)
    model = model_at(upstream, name)
    with pytest.raises(VendorError) as caught:
        await (streamed(provider, question(name), model) if stream else provider.generate(question(name), model))
    assert type(caught.value) is expected
    assert len(upstream.asked(name)) == 1
    assert KEY not in str(caught.value)
    assert f"'{name}' (custom)" in caught.value.problem
    assert caught.value.retry_after_seconds == (7 if behaviour.status == 429 else None)


async def test_nobody_there_and_a_time_limit(provider: Provider, upstream: Upstream) -> None:
    nowhere = model_at(upstream, "nowhere", base_url="http://127.0.0.1:9/v1")
    with pytest.raises(VendorUnreachable):
        await provider.generate(question("nowhere"), nowhere)
    upstream.behave("late", Behaviour(how="hang"))
    with anyio.fail_after(5), pytest.raises(VendorTimeout):
        await provider.generate(question("late", timeout_seconds=0.3), model_at(upstream, "late"))


async def test_leaving_a_stream_early_ends_the_upstream_request(provider: Provider, upstream: Upstream) -> None:
    name = f"endless-{type(provider).__name__}"
    upstream.behave(name, Behaviour(how="stall", text="one two"))
    with anyio.move_on_after(0.7):
        await streamed(provider, question(name), model_at(upstream, name))
    assert await anyio.to_thread.run_sync(upstream.wait_for_disconnect, name)


async def test_an_answer_carries_its_account(provider: Provider, upstream: Upstream) -> None:
    upstream.behave("counted", Behaviour(text="four words are here", cached_tokens=2, reasoning_tokens=1))
    response = await provider.generate(question("counted"), model_at(upstream, "counted"))
    usage = response.usage
    assert usage is not None
    assert (usage.cached_tokens, usage.reasoning_tokens) == (2, 1)
    assert response.cost_dollars is None, "no price is known"
    assert (response.vendor, response.finish_reason, response.upstream_id) == ("custom", "stop", "chatcmpl-test")
    assert 0 < response.seconds < 5


async def test_what_is_not_known_stays_unknown(provider: Provider, upstream: Upstream) -> None:
    upstream.behave("mute-about-tokens", Behaviour(usage=False))
    model = model_at(upstream, "mute-about-tokens", price=PRICE)
    response = await provider.generate(question("mute-about-tokens"), model)
    assert response.usage is None
    assert response.cost_dollars is None


async def test_what_the_model_cannot_do_is_left_out_and_said(provider: Provider, upstream: Upstream) -> None:
    unable = model_at(upstream, "plain", capabilities=Capabilities(temperature=False))
    wishes = question(
        "plain",
        temperature=0.5,
        thinking="high",
        web_search=True,
        json_mode=True,
        functions=({"name": "f", "parameters": {}},),
    )
    response = await provider.generate(wishes, unable)
    body = upstream.asked("plain")[-1].body
    assert set(body) <= {"model", "messages", "stream"}
    assert response.notes == (
        "plain takes no temperature; it was left out",
        "plain has no thinking effort; it was left out",
        "plain calls no functions; they were left out",
        "plain does not search the web",
        "plain has no JSON mode; it was asked for in words",
    )


async def test_only_what_was_asked_for_is_sent(provider: Provider, upstream: Upstream) -> None:
    able = model_at(upstream, "able", capabilities=Capabilities(vision=True, reasoning=True), max_output=50)
    picture = Message(role="user", text="what is it?", images=(Image(mime_type="image/png", data_base64="aGk="),))
    request = ModelRequest(
        request_id="c", model="able", messages=(picture,), temperature=0.0, thinking="max", max_output_tokens=99
    )
    await provider.generate(request, able)
    body = dict(upstream.asked("able")[-1].body)
    assert body.pop("stream", False) is False
    assert body == {
        "model": "able",
        "temperature": 0.0,
        "max_tokens": 50,
        "reasoning_effort": "high",
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "what is it?"},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}},
                ],
            }
        ],
    }


async def test_images_for_a_model_that_sees_none_are_refused(provider: Provider, upstream: Upstream) -> None:
    picture = Message(role="user", text="?", images=(Image(mime_type="image/png", data_base64="aGk="),))
    with pytest.raises(InvalidArguments, match="cannot see images"):
        await provider.generate(
            ModelRequest(request_id="c", model="blind", messages=(picture,)), model_at(upstream, "blind")
        )


async def test_a_second_call_makes_no_new_connection(provider: Provider, upstream: Upstream) -> None:
    model = model_at(upstream, "kept")
    await provider.generate(question("kept"), model)
    before = upstream.connections
    for _ in range(5):
        await provider.generate(question("kept"), model)
    assert upstream.connections == before


class Broken:
    """A provider whose library cannot be imported."""

    def warm_up(self) -> None:
        """Fail as an import does."""
        raise ModuleNotFoundError("No module named 'litellm'")

    async def prepare(self, model: Model) -> None:
        """Fail as an import does."""
        raise ModuleNotFoundError("No module named 'litellm'")

    async def generate(self, request: ModelRequest, model: Model) -> ModelResponse:
        """Fail as an import does."""
        raise ModuleNotFoundError("No module named 'litellm'")

    async def stream(self, request: ModelRequest, model: Model) -> AsyncGenerator[Any]:
        """Fail as an import does."""
        raise ModuleNotFoundError("No module named 'litellm'")
        yield

    async def aclose(self) -> None:
        """Nothing is open."""


@pytest.mark.parametrize("first", ["warm_up", "prepare", "generate", "stream"])
async def test_when_litellm_is_broken_models_are_asked_directly_with_a_warning(
    upstream: Upstream, caplog: pytest.LogCaptureFixture, first: str
) -> None:
    provider = WithEmergencyExit(Broken(), DirectProvider(secrets=lambda: (KEY,)))
    model = model_at(upstream, "rescued")
    if first == "warm_up":
        provider.warm_up()
    elif first == "prepare":
        await provider.prepare(model)
    elif first == "stream":
        assert (await streamed(provider, question("rescued"), model))[1].text == "ok"
    assert (await provider.generate(question("rescued"), model)).text == "ok"
    assert (await streamed(provider, question("rescued"), model))[1].text == "ok"
    assert [record.message for record in caplog.records if "LiteLLM cannot be imported" in record.message] != []
    assert sum("LiteLLM cannot be imported" in record.message for record in caplog.records) == 1
    await provider.aclose()


async def test_the_direct_way_says_which_models_need_litellm(upstream: Upstream) -> None:
    model = Model(name="claude-on-aws", vendor="bedrock", litellm_model="bedrock/claude")
    with pytest.raises(VendorRejected, match="through LiteLLM only"):
        await DirectProvider(secrets=lambda: ()).generate(question("claude-on-aws"), model)
