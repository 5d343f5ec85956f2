"""The consensus tool through an MCP client: parallel, independent, partial, counted, cancellable."""

from __future__ import annotations

import json
import random
import time
from typing import Any

import anyio
import pytest
from mcp.client import Client
from tests.support.results import data_of, error_of, text_of
from tests.support.server import ServerFolder, connect
from tests.support.tokens import o200k_tokens
from tests.upstream import Behaviour, Upstream

pytestmark = pytest.mark.anyio

WORDS = "the a server client request answer thread model token price limit cache retry stream panel vote"


def prose(seed: int, characters: int) -> str:
    """Text that looks like an answer, different for every seed."""
    chosen = random.Random(seed)
    words: list[str] = []
    while sum(len(word) + 1 for word in words) < characters:
        words.append(chosen.choice(WORDS.split()))
    return " ".join(words)


PRICED: dict[str, Any] = {"input_cost_per_token": 0.001, "output_cost_per_token": 0.01}
MODELS: dict[str, tuple[Behaviour, dict[str, Any]]] = {
    "red": (Behaviour(text="Answer: 42", delay_seconds=0.2, answered_by="red-2026-11"), PRICED),
    "green": (Behaviour(text="The answer is 42.", delay_seconds=0.2), PRICED),
    "blue": (Behaviour(text="I would say 7.", delay_seconds=0.2), PRICED),
    "hanging": (Behaviour(how="hang"), {"timeout_seconds": 30}),
    "locked": (Behaviour(status=401, text="no"), {}),
    "unpriced": (Behaviour(text="free?"), {}),
    **{f"long{number}": (Behaviour(text=prose(number, 4_096)), PRICED) for number in range(5)},
    "endless": (Behaviour(text=prose(9, 60_000)), PRICED),
}
SETTINGS = {"default_panel": ["red", "green"]}


async def test_the_panel_is_asked_at_once_and_each_answer_is_accounted_for(client: Client, upstream: Upstream) -> None:
    await client.call_tool("chat", {"prompt": "warm up", "model": "unpriced"})
    upstream.peak_requests = 0
    result = await client.call_tool("consensus", {"prompt": "What is it?", "models": ["red", "green", "blue"]})
    data = data_of(result)
    assert upstream.peak_requests == 3
    red, green, blue = data["answers"]
    assert (red["text"], green["text"], blue["text"]) == ("Answer: 42", "The answer is 42.", "I would say 7.")
    assert red["answered_by"] == "red-2026-11"
    assert "answered_by" not in green, "said only where it differs from the name"
    for answer in data["answers"]:
        cost = answer["input_tokens"] * 0.001 + answer["output_tokens"] * 0.01
        assert answer["status"] == "answered"
        assert answer["vendor"] == "custom"
        assert answer["cost_dollars"] == pytest.approx(cost)
        assert 0.2 <= answer["seconds"] < 2
    assert data["total_tokens"] == sum(a["input_tokens"] + a["output_tokens"] for a in data["answers"])
    assert data["total_cost_dollars"] == pytest.approx(sum(a["cost_dollars"] for a in data["answers"]))
    assert data["seconds"] < 3 * 0.2, "less than one after the other"
    assert text_of(result).startswith(data["summary"]), "the conclusion comes first"
    for answer in data["answers"]:
        assert answer["text"] in text_of(result), "some clients show only the text"


async def test_the_default_panel_answers_when_none_is_named(client: Client) -> None:
    data = data_of(await client.call_tool("consensus", {"prompt": "x"}))
    assert [answer["model"] for answer in data["answers"]] == ["red", "green"]
    assert data["summary"].startswith("2 of 2 answered.")


async def test_a_total_with_an_unknown_price_is_unknown_not_too_low(client: Client) -> None:
    result = await client.call_tool("consensus", {"prompt": "x", "models": ["red", "unpriced"]})
    assert "total_cost_dollars" not in data_of(result)
    assert "cost unknown" in text_of(result)


async def test_stances_reach_their_member_alone_and_nobody_sees_another(client: Client, upstream: Upstream) -> None:
    start = len(upstream.requests)
    members = [
        {"model": "red", "stance": "for"},
        {"model": "red", "stance": "against"},
        {"model": "green", "stance": "neutral"},
        {"model": "blue", "stance_prompt": "Think of the cost only."},
    ]
    data = data_of(await client.call_tool("consensus", {"prompt": "Shall we?", "models": members}))
    sent = [(request.model, request.messages) for request in upstream.requests[start:]]
    systems: dict[str, list[str]] = {model: [] for model, _ in sent}
    for model, messages in sent:
        assert [message["role"] for message in messages] == ["system", "user"]
        assert messages[1]["content"] == "Shall we?"
        systems[model].append(messages[0]["content"])
    assert sum("Argue for the proposal" in system for system in systems["red"]) == 1
    assert sum("Argue against the proposal" in system for system in systems["red"]) == 1
    assert "Weigh both sides" in systems["green"][0]
    assert systems["blue"][0].endswith("Think of the cost only.")
    assert [answer.get("stance") for answer in data["answers"]] == ["for", "against", "neutral", None]


async def test_a_quorum_ends_the_wait_and_cancels_the_rest(client: Client, upstream: Upstream) -> None:
    started = time.monotonic()
    arguments = {"prompt": "x", "models": ["red", "hanging", "green"], "quorum": 2}
    data = data_of(await client.call_tool("consensus", arguments))
    assert time.monotonic() - started < 5
    assert [answer["status"] for answer in data["answers"]] == ["answered", "stopped", "answered"]
    assert "quorum reached" in data["answers"][1]["error"]
    assert await anyio.to_thread.run_sync(upstream.wait_for_disconnect, "hanging")


async def test_an_overall_deadline_returns_what_is_there(client: Client) -> None:
    arguments = {"prompt": "x", "models": ["red", "hanging"], "timeout_seconds": 1}
    data = data_of(await client.call_tool("consensus", arguments))
    assert [answer["status"] for answer in data["answers"]] == ["answered", "stopped"]
    assert 1 <= data["seconds"] < 3


async def test_a_missed_quorum_is_said(client: Client) -> None:
    data = data_of(await client.call_tool("consensus", {"prompt": "x", "models": ["red", "locked"], "quorum": 2}))
    assert "1 of 2 answered. The quorum of 2 was not reached. No answer from locked." in data["summary"]


async def test_a_deadline_before_any_answer_is_an_error_that_says_so(client: Client) -> None:
    arguments = {"prompt": "x", "models": ["hanging"], "timeout_seconds": 0.3}
    error = error_of(await client.call_tool("consensus", arguments))
    assert error["kind"] == "PanelFailed"
    assert "hanging: stopped after 0.3 s by timeout_seconds." in error["fix"]


async def test_each_member_that_answers_is_reported(client: Client) -> None:
    reports: list[tuple[float, float | None, str | None]] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        reports.append((progress, total, message))

    arguments = {"prompt": "x", "models": ["red", "locked"]}
    await client.call_tool("consensus", arguments, progress_callback=note)
    assert reports[0][2] == "asking red, locked"
    assert [total for _, total, _ in reports] == [2.0] * len(reports)
    assert any("red answered after " in (message or "") for _, _, message in reports)
    assert any("locked failed (VendorAuthFailed)" in (message or "") for _, _, message in reports)
    assert reports[-1][0] == 2.0


async def test_five_answers_of_four_kilobytes_cost_little_more_than_themselves(folder: ServerFolder) -> None:
    models = [f"long{number}" for number in range(5)]
    async with connect(folder, name="claude-code") as client:
        result = await client.call_tool("consensus", {"prompt": "x", "models": models})
    data = data_of(result)
    unique = sum(o200k_tokens(answer["text"]) for answer in data["answers"])
    assert [answer["text"] for answer in data["answers"]] == [prose(number, 4_096) for number in range(5)]
    assert o200k_tokens(text_of(result)) <= 1.15 * unique
    assert o200k_tokens(json.dumps(data, ensure_ascii=False, separators=(",", ":"))) <= 1.15 * unique


async def test_a_long_panel_is_paged_each_member_for_itself(client: Client) -> None:
    result = await client.call_tool("consensus", {"prompt": "x", "models": ["red", "endless", "long0"]})
    data = data_of(result)
    assert len(text_of(result)) <= 8_000
    assert data["answers"][0]["text"] == "Answer: 42", "short answers stay whole"
    rest = data["answers"][1]["rest"]
    assert f"threads(continuation_id='{data['continuation_id']}', turn=3, offset=" in rest
    text, offset = data["answers"][1]["text"], int(rest.partition("offset=")[2].rstrip(")"))
    while offset is not None:
        page = data_of(
            await client.call_tool("threads", {"continuation_id": data["continuation_id"], "turn": 3, "offset": offset})
        )
        text += page["text"]
        offset = page.get("next_offset")
    assert text == prose(9, 60_000)


@pytest.mark.parametrize(
    ("panel", "note"),
    [
        (["red", "green"], "All 2 gave the same answer: “42”."),
        (["red", "green", "blue"], "2 of 3 gave the same answer (“42”); the others dissent."),
        (["red", "blue"], "No two of the 2 short answers are the same."),
        (["long0", "long1"], "Answers are in free text, not compared for meaning; 100 % of their words are shared."),
    ],
)
async def test_agreement_is_counted_never_judged(client: Client, panel: list[str], note: str) -> None:
    data = data_of(await client.call_tool("consensus", {"prompt": "x", "models": panel}))
    assert data["summary"].endswith(note)
