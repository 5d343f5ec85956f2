"""What a vendor can do wrong: bounded, retried in one place, told in words, survived."""

from __future__ import annotations

import time
from typing import Any

import anyio
import pytest
from mcp.client import Client
from tests.conftest import KEY
from tests.support.results import data_of, error_of, text_of
from tests.upstream import Behaviour, Upstream

pytestmark = pytest.mark.anyio

MODELS: dict[str, tuple[Behaviour, dict[str, Any]]] = {
    "fine": (Behaviour(text="fine"), {}),
    "broken": (Behaviour(status=500, text="boom {key}"), {}),
    "busy": (Behaviour(status=429, text="slow down", headers={"Retry-After": "60"}), {}),
    "locked": (Behaviour(status=401, text="Incorrect API key provided: {key}"), {}),
    "forbidden": (Behaviour(status=403, text="not yours"), {}),
    "gone": (Behaviour(status=404, text="The model does not exist"), {}),
    "picky": (Behaviour(status=400, text="max_tokens is too large"), {}),
    "website": (Behaviour(how="html"), {}),
    "silent": (Behaviour(how="empty"), {}),
    "spent": (Behaviour(how="empty", finish_reason="length"), {}),
    "hanging": (Behaviour(how="hang"), {"timeout_seconds": 1.5}),
    "severed": (Behaviour(how="cut"), {}),
    "nowhere": (Behaviour(), {"base_url": "http://127.0.0.1:9/v1"}),
    "flaky": (Behaviour(text="back again"), {}),
    "limited": (Behaviour(text="let in"), {}),
    "huge": (Behaviour(text="0123456789" * 20_480), {}),
}

EXPECTED: tuple[tuple[str, str, str, int], ...] = (
    ("broken", "VendorUnavailable", "'broken' (custom) failed: boom", 3),
    ("busy", "VendorRateLimited", "'busy' (custom) is over its rate limit: slow down.", 1),
    ("locked", "VendorAuthFailed", "'locked' (custom) does not accept the key: Incorrect API key provided: ", 1),
    ("forbidden", "VendorAuthFailed", "'forbidden' (custom) does not accept the key: not yours.", 1),
    ("gone", "VendorNotFound", "'gone' (custom) does not know the model or the address", 1),
    ("picky", "VendorRejected", "'picky' (custom) rejects the request: max_tokens is too large.", 1),
    ("website", "VendorBadAnswer", "'website' (custom) answered with something that is not JSON", 3),
    ("silent", "VendorBadAnswer", "'silent' (custom) gave an empty answer.", 3),
    ("spent", "VendorBadAnswer", "'spent' (custom) used up its output limit without a word of answer.", 1),
    ("hanging", "VendorTimeout", "'hanging' (custom) gave no answer within 1.5 s.", 1),
    ("severed", "VendorUnreachable", "'severed' (custom) cannot be reached", 3),
    ("nowhere", "VendorUnreachable", "'nowhere' (custom) cannot be reached", 0),
)


@pytest.fixture(scope="module", autouse=True)
async def warm(client: Client) -> None:
    """The first call imports LiteLLM, which takes longer than the short deadlines here."""
    assert data_of(await client.call_tool("chat", {"prompt": "wake up", "model": "fine"}))["text"] == "fine"


@pytest.mark.parametrize("expected", EXPECTED, ids=[row[0] for row in EXPECTED])
async def test_each_fault_is_named_after_a_bounded_number_of_requests(
    client: Client, upstream: Upstream, expected: tuple[str, str, str, int]
) -> None:
    model, kind, problem, requests = expected
    started = time.monotonic()
    result = await client.call_tool("chat", {"prompt": "hello", "model": model})
    seconds = time.monotonic() - started
    error = error_of(result)
    assert error["kind"] == kind
    assert error["problem"].startswith(problem)
    assert error["fix"], "every error says what to do"
    assert len(upstream.asked(model)) == requests
    assert seconds < 30, "three requests and their pauses are over by then"
    assert KEY not in str(result)
    assert data_of(await client.call_tool("chat", {"prompt": "still there?", "model": "fine"}))["text"] == "fine"


async def test_a_rate_limit_tells_when_to_try_again(client: Client) -> None:
    error = error_of(await client.call_tool("chat", {"prompt": "hello", "model": "busy"}))
    assert error["retry_after_seconds"] == 60


async def test_a_fault_that_passes_is_retried_and_the_answer_says_nothing_of_it(
    client: Client, upstream: Upstream
) -> None:
    upstream.behave("flaky", [Behaviour(status=500), Behaviour(how="cut"), Behaviour(text="back again")])
    answer = data_of(await client.call_tool("chat", {"prompt": "hello", "model": "flaky"}))
    assert answer["text"] == "back again"
    assert len(upstream.asked("flaky")) == 3


async def test_a_short_retry_after_is_waited_for(client: Client, upstream: Upstream) -> None:
    upstream.behave("limited", [Behaviour(status=429, headers={"Retry-After": "1"}), Behaviour(text="let in")])
    started = time.monotonic()
    answer = data_of(await client.call_tool("chat", {"prompt": "hello", "model": "limited"}))
    assert answer["text"] == "let in"
    assert time.monotonic() - started >= 1


async def test_one_hanging_and_one_broken_model_do_not_spoil_the_panel(client: Client) -> None:
    started = time.monotonic()
    result = await client.call_tool("consensus", {"prompt": "hello", "models": ["hanging", "fine", "locked"]})
    data = data_of(result)
    by_model = {answer["model"]: answer for answer in data["answers"]}
    assert time.monotonic() - started < 4
    assert by_model["fine"]["status"] == "answered"
    assert by_model["fine"]["text"] == "fine"
    assert by_model["hanging"]["status"] == "failed"
    assert by_model["hanging"]["error"].startswith("VendorTimeout: 'hanging' (custom) gave no answer within 1.5 s.")
    assert by_model["locked"]["error"].startswith("VendorAuthFailed:")
    assert data["summary"].startswith("1 of 3 answered. No answer from hanging, locked.")
    assert KEY not in str(result)


async def test_a_panel_of_which_nobody_answers_is_an_error_that_names_each(client: Client) -> None:
    error = error_of(await client.call_tool("consensus", {"prompt": "hello", "models": ["locked", "gone"]}))
    assert error["kind"] == "PanelFailed"
    assert error["problem"] == "None of the 2 models answered."
    assert "locked: 'locked' (custom) does not accept the key" in error["fix"]
    assert "gone: 'gone' (custom) does not know the model" in error["fix"]


async def test_a_huge_answer_is_shown_in_pages_that_together_are_the_whole(client: Client) -> None:
    result = await client.call_tool("chat", {"prompt": "hello", "model": "huge"})
    data = data_of(result)
    assert len(text_of(result)) <= 8_000
    pieces = [data["text"]]
    offset = data["next_offset"]
    while offset is not None:
        page = data_of(
            await client.call_tool(
                "threads", {"continuation_id": data["continuation_id"], "turn": data["turn"], "offset": offset}
            )
        )
        pieces.append(page["text"])
        offset = page.get("next_offset")
    assert "".join(pieces) == "0123456789" * 20_480


async def test_cancelling_the_call_cancels_the_upstream_request(client: Client, upstream: Upstream) -> None:
    upstream.behave("fine", Behaviour(how="hang"))
    before = len(upstream.asked("fine"))
    try:
        with anyio.move_on_after(10) as scope:
            async with anyio.create_task_group() as group:
                group.start_soon(client.call_tool, "consensus", {"prompt": "hello", "models": ["fine", "flaky"]})
                assert await anyio.to_thread.run_sync(upstream.wait_for_request, "fine", before + 1)
                group.cancel_scope.cancel()
        assert not scope.cancelled_caught
        assert await anyio.to_thread.run_sync(upstream.wait_for_disconnect, "fine")
    finally:
        upstream.behave("fine", Behaviour(text="fine"))
    assert data_of(await client.call_tool("chat", {"prompt": "hello", "model": "fine"}))["text"] == "fine"
