"""The one module that knows LiteLLM: streaming, accounting, its table of errors, its silence."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import anyio
import pytest
from tests.conftest import KEY
from tests.upstream import Behaviour, Upstream

from zen_mcp.catalog.model import Capabilities, Model, Price
from zen_mcp.errors import VendorAuthFailed, VendorBadAnswer, VendorError, VendorTimeout, VendorUnreachable
from zen_mcp.providers.litellm_errors import TRANSLATIONS, redact, translate
from zen_mcp.providers.litellm_provider import LiteLLMProvider, import_litellm
from zen_mcp.types import Image, Message, ModelRequest, ModelResponse

pytestmark = pytest.mark.anyio


@dataclass(frozen=True)
class Models:
    """A catalog of what a test needs."""

    url: str
    more: dict[str, Any] = field(default_factory=dict[str, Any])

    def resolve(self, name: str) -> Model:
        """A model at the upstream."""
        settings: dict[str, Any] = {
            "vendor": "custom",
            "litellm_model": f"hosted_vllm/{name}",
            "base_url": self.url,
            "api_key": KEY,
            "timeout_seconds": 5.0,
            **self.more,
        }
        return Model(name=name, **settings)

    def secrets(self) -> Iterable[str]:
        """The key of all models."""
        return (KEY,)


def question(model: str, **more: Any) -> ModelRequest:
    """A short request."""
    return ModelRequest(request_id="c-test", model=model, messages=(Message(role="user", text="hello"),), **more)


async def streamed(provider: LiteLLMProvider, request: ModelRequest) -> tuple[list[str], ModelResponse]:
    """The pieces of a stream and its whole response."""
    pieces: list[str] = []
    response: ModelResponse | None = None
    async for chunk in provider.stream(request):
        if chunk.response is not None:
            response = chunk.response
        else:
            pieces.append(chunk.text)
    assert response is not None
    return pieces, response


async def test_a_stream_comes_in_pieces_and_ends_with_the_whole_and_its_price(upstream: Upstream) -> None:
    upstream.behave("talker", Behaviour(text="one two three four", cached_tokens=1))
    price = Price(input_dollars_per_token=1e-3, output_dollars_per_token=1e-2, cached_dollars_per_token=0.0)
    provider = LiteLLMProvider(catalog=Models(upstream.url, {"price": price}))
    pieces, response = await streamed(provider, question("talker"))
    assert len(pieces) > 1
    assert "".join(pieces) == response.text == "one two three four"
    assert response.finish_reason == "stop"
    usage = response.usage
    assert usage is not None
    assert response.cost_dollars == pytest.approx((usage.input_tokens - 1) * 1e-3 + usage.output_tokens * 1e-2)


@pytest.mark.parametrize(
    ("how", "error", "words"),
    [
        ("cut", VendorUnreachable, "broke off after 3 characters"),
        ("stall", VendorTimeout, "gave no answer within 1.5 s"),
        ("hang", VendorTimeout, "gave no answer within 1.5 s"),
        ("html", VendorBadAnswer, "not JSON"),
        ("empty", VendorBadAnswer, "empty answer"),
    ],
)
async def test_a_stream_that_goes_wrong_says_how(
    upstream: Upstream, how: Any, error: type[VendorError], words: str
) -> None:
    upstream.behave(f"stream-{how}", Behaviour(how=how, text="one two"))
    provider = LiteLLMProvider(catalog=Models(upstream.url))
    with anyio.fail_after(10), pytest.raises(error, match=words):
        await streamed(provider, question(f"stream-{how}", timeout_seconds=1.5))


async def test_a_refused_stream_is_the_same_error_as_a_refused_answer(upstream: Upstream) -> None:
    upstream.behave("stream-locked", Behaviour(status=401, text="Incorrect API key provided: {key}"))
    provider = LiteLLMProvider(catalog=Models(upstream.url))
    with pytest.raises(VendorAuthFailed) as caught:
        await streamed(provider, question("stream-locked"))
    assert KEY not in str(caught.value)


async def test_leaving_a_stream_early_ends_the_upstream_request(upstream: Upstream) -> None:
    upstream.behave("endless", Behaviour(how="stall", text="one two"))
    provider = LiteLLMProvider(catalog=Models(upstream.url))
    with anyio.move_on_after(0.5):
        await streamed(provider, question("endless"))
    assert await anyio.to_thread.run_sync(upstream.wait_for_disconnect, "endless")


async def test_an_answer_carries_its_account(upstream: Upstream) -> None:
    upstream.behave("counted", Behaviour(text="four words are here", cached_tokens=2, reasoning_tokens=1))
    price = Price(input_dollars_per_token=1e-3, output_dollars_per_token=1e-2)
    provider = LiteLLMProvider(catalog=Models(upstream.url, {"price": price}))
    response = await provider.generate(question("counted"))
    usage = response.usage
    assert usage is not None
    assert (usage.cached_tokens, usage.reasoning_tokens) == (2, 1)
    assert response.cost_dollars == pytest.approx(usage.input_tokens * 1e-3 + usage.output_tokens * 1e-2)
    assert (response.attempts, response.vendor, response.finish_reason) == (1, "custom", "stop")
    assert response.upstream_id
    assert 0 < response.seconds < 5


async def test_what_is_not_known_stays_unknown(upstream: Upstream) -> None:
    upstream.behave("mute-about-tokens", Behaviour(usage=False))
    provider = LiteLLMProvider(catalog=Models(upstream.url))
    response = await provider.generate(question("mute-about-tokens"))
    assert response.usage is None
    assert response.cost_dollars is None


async def test_what_the_model_cannot_do_is_left_out_and_said(upstream: Upstream) -> None:
    provider = LiteLLMProvider(catalog=Models(upstream.url, {"capabilities": Capabilities(temperature=False)}))
    response = await provider.generate(question("plain", temperature=0.5, thinking="high"))
    body = upstream.asked("plain")[-1].body
    assert "temperature" not in body
    assert "reasoning_effort" not in body
    assert response.notes == (
        "plain takes no temperature; it was left out",
        "plain has no thinking effort; it was left out",
    )


async def test_only_what_was_asked_for_is_sent(upstream: Upstream) -> None:
    able = Capabilities(vision=True, reasoning=True)
    provider = LiteLLMProvider(catalog=Models(upstream.url, {"capabilities": able}))
    picture = Message(role="user", text="what is it?", images=(Image(mime_type="image/png", data_base64="aGk="),))
    request = ModelRequest(
        request_id="c", model="able", messages=(picture,), temperature=0.0, thinking="max", max_output_tokens=99
    )
    await provider.generate(request)
    assert upstream.asked("able")[-1].body == {
        "model": "able",
        "temperature": 0.0,
        "max_tokens": 99,
        "reasoning_effort": "high",
        "stream": False,
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


def test_every_exception_of_litellm_is_translated() -> None:
    litellm: ModuleType = import_litellm()
    classes = {
        value.__name__
        for module in (litellm.exceptions, litellm, litellm.types.router)
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, Exception) and value.__module__.startswith("litellm")
    }
    assert len(classes) > 20, "the walk finds them"
    assert classes - set(TRANSLATIONS) == set()


def test_an_error_of_a_class_in_no_row_is_a_bug_and_an_error_of_a_known_base_is_not() -> None:
    model = Models("http://x").resolve("m")
    assert translate(Warning("?"), model, secrets=()) is None
    derived = type("NewError", (ConnectionError,), {})
    assert isinstance(translate(derived("gone"), model, secrets=()), VendorUnreachable)


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        (f"bad key {KEY}!", "bad key [key]!"),
        ("Authorization: Bearer abc.def-ghi", "Authorization: [key]"),
        ("sk-proj-abcdefghijklmnop failed", "[key] failed"),
        ("a\n  b", "a b"),
    ],
)
def test_keys_are_taken_out_of_vendors_words(text: str, clean: str) -> None:
    assert redact(text, [KEY]) == clean


def test_litellm_says_nothing_on_standard_output_even_at_debug() -> None:
    program = """
import asyncio, logging, sys
logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)
from zen_mcp.providers.litellm_provider import import_litellm
litellm = import_litellm()
router = litellm.Router(model_list=[{"model_name": "m", "litellm_params": {
    "model": "hosted_vllm/m", "api_base": "http://127.0.0.1:9/v1", "api_key": "sk-0123456789abcdef"}}], num_retries=0)
try:
    asyncio.run(router.acompletion(model="m", messages=[{"role": "user", "content": "x"}]))
except Exception as exc:
    print(type(exc).__name__, file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == ""
    assert "InternalServerError" in done.stderr
    assert "sk-0123456789abcdef" not in done.stderr
