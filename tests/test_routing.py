"""The router: weights, health, retries, fallbacks, one deadline, whatever the upstreams do."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import replace
from random import Random
from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.conftest import KEY
from tests.upstream import Behaviour, Upstream

from zen_mcp.catalog import Catalog
from zen_mcp.catalog.model import Capabilities, Member, Model, Price
from zen_mcp.config.provider_schema import Routing
from zen_mcp.errors import (
    ContentRefused,
    ContextWindowExceeded,
    Refused,
    VendorAuthFailed,
    VendorRateLimited,
    VendorRejected,
    VendorTimeout,
    VendorUnavailable,
    ZenError,
)
from zen_mcp.providers.direct_provider import DirectProvider
from zen_mcp.routing.balance import Balance, Candidate, candidates_of
from zen_mcp.routing.capacity import Capacity
from zen_mcp.routing.health import HealthBoard
from zen_mcp.routing.router import Router
from zen_mcp.types import Message, ModelRequest, ModelResponse

pytestmark = pytest.mark.anyio


def model(name: str, **more: Any) -> Model:
    """A model that nobody asks."""
    return Model(name=name, vendor="custom", litellm_model=f"hosted_vllm/{name}", **more)


class House:
    """A router over models of an upstream, and what it remembers."""

    def __init__(self, upstream: Upstream, models: Mapping[str, dict[str, Any]], **routing: Any) -> None:
        made: dict[str, Model] = {}
        for name, more in models.items():
            ways = more.pop("ways", ())
            members = tuple(Member(model=made[one], weight=weight) for one, weight in more.pop("members", ()))
            way: dict[str, Any] = {
                "vendor": "custom",
                "base_url": upstream.url,
                "api_key": KEY,
                "timeout_seconds": 3.0,
                **more,
            }
            whole = Model(name=name, litellm_model="" if members else f"hosted_vllm/{name}", members=members, **way)
            deployments = tuple(replace(whole, litellm_model=f"hosted_vllm/{one}", deployment=one) for one in ways)
            made[name] = replace(whole, deployments=deployments)
        self.settings = Routing(retry_after_seconds=0.05, **routing)
        self.health = HealthBoard(allowed_fails=self.settings.allowed_fails, cooldown_seconds=0.4)
        self.provider = DirectProvider(secrets=lambda: (KEY,))
        self.router = Router(
            catalog=Catalog(made.values()),
            provider=self.provider,
            settings=self.settings,
            health=self.health,
            balance=Balance(Random(7)),
            capacity=Capacity(),
        )

    async def ask(self, name: str, **more: Any) -> ModelResponse:
        """Ask a short question."""
        prompt = (Message(role="user", text="hello"),)
        return await self.router.ask(ModelRequest(request_id="c", model=name, messages=prompt, **more))


Build = Callable[..., House]


@pytest.fixture
async def build(upstream: Upstream) -> AsyncGenerator[Build]:
    """Makes houses, and closes their connections in the end."""
    houses: list[House] = []

    def make(models: Mapping[str, dict[str, Any]], **routing: Any) -> House:
        houses.append(House(upstream, models, **routing))
        return houses[-1]

    yield make
    for house in houses:
        await house.provider.aclose()


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """The name of a model that no other test uses."""
    return re.sub(r"\W+", "-", request.node.name)


# --- weights, latency, cost


def test_seventy_and_thirty_of_ten_thousand() -> None:
    group = model("g", members=(Member(model=model("a"), weight=0.7), Member(model=model("b"), weight=0.3)))
    balance = Balance(Random(1))
    firsts = Counter(balance.order(candidates_of(group), "weight")[0].name for _ in range(10_000))
    assert 6_850 <= firsts["a"] <= 7_150
    assert firsts["a"] + firsts["b"] == 10_000


def test_a_members_share_is_split_among_its_deployments_and_a_share_of_nothing_comes_last() -> None:
    ways = (model("a", deployment="1", weight=75.0), model("a", deployment="2", weight=25.0))
    group = model(
        "g", members=(Member(model=model("a", deployments=ways), weight=1), Member(model=model("b"), weight=0))
    )
    balance = Balance(Random(1))
    orders = [balance.order(candidates_of(group), "weight") for _ in range(10_000)]
    firsts = Counter(order[0].id for order in orders)
    assert 7_350 <= firsts["a#1"] <= 7_650
    assert firsts["a#1"] + firsts["a#2"] == 10_000
    assert {order[-1].id for order in orders} == {"b"}


def test_the_fastest_and_the_cheapest_come_first() -> None:
    prices = {
        name: Price(input_dollars_per_token=p, output_dollars_per_token=p) for name, p in (("a", 2.0), ("b", 1.0))
    }
    one, two, free = model("a", price=prices["a"]), model("b", price=prices["b"]), model("unpriced")
    candidates = [Candidate(model=each) for each in (one, two, free)]
    balance = Balance(Random(1))
    assert [each.name for each in balance.order(candidates, "cost")] == ["b", "a", "unpriced"]
    for name, seconds in (("a", 0.1), ("b", 0.5), ("unpriced", 0.3)):
        balance.took(name, seconds)
    firsts = Counter(balance.order(candidates, "latency")[0].name for _ in range(1_000))
    assert firsts["a"] > 900
    assert len(firsts) == 3, "now and then another is tried, lest one slow start is held against it for ever"


# --- health


async def test_a_deployment_rests_after_its_failures_and_comes_back_by_one_trial() -> None:
    now = [1000.0]
    board = HealthBoard(allowed_fails=2, cooldown_seconds=30, clock=lambda: now[0])
    for _ in range(2):
        await board.failed("d", VendorUnavailable("boom"))
    assert board.health("d").status == "closed"
    await board.failed("d", VendorUnavailable("boom again"))
    assert (board.health("d").status, board.health("d").reason) == ("open", "boom again")
    assert board.rank("d") > 0
    now[0] += 31
    assert board.health("d").status == "half-open"
    assert board.rank("d") == 0
    board.started("d")
    assert board.rank("d") > 0, "one trial at a time"
    board.ended("d")
    await board.failed("d", VendorUnavailable("still"))
    assert board.health("d").status == "open"
    now[0] += 31
    await board.succeeded("d")
    assert board.health("d").status == "closed"


async def test_old_failures_are_forgotten_and_a_bad_request_is_no_failure_of_the_deployment() -> None:
    now = [1000.0]
    board = HealthBoard(allowed_fails=1, cooldown_seconds=30, clock=lambda: now[0])
    for _ in range(5):
        await board.failed("d", VendorUnavailable("boom"))
        await board.failed("other", VendorRejected("your fault"))
        now[0] += 61
    assert board.health("d").status == board.health("other").status == "closed"


@pytest.mark.parametrize(
    ("error", "seconds"),
    [(VendorRateLimited("slow down", retry_after_seconds=90), 90), (VendorAuthFailed("no"), 30)],
)
async def test_a_rate_limit_and_a_wrong_key_rest_at_once(error: ZenError, seconds: float) -> None:
    board = HealthBoard(allowed_fails=5, cooldown_seconds=30, clock=lambda: 1000.0)
    await board.failed("d", error)
    assert (board.health("d").status, board.health("d").until) == ("open", 1000.0 + seconds)


async def test_replicas_tell_one_another() -> None:
    class Shared:
        """Two replicas' common memory."""

        def __init__(self) -> None:
            self.rests: dict[str, tuple[float, str]] = {}

        async def load(self) -> Mapping[str, tuple[float, str]]:
            """All that was told."""
            return dict(self.rests)

        async def store(self, deployment: str, rest: tuple[float, str] | None) -> None:
            """Tell."""
            self.rests.pop(deployment, None)
            if rest is not None:
                self.rests[deployment] = rest

    shared, now = Shared(), [1000.0]
    one, two = (HealthBoard(cooldown_seconds=30, shared=shared, clock=lambda: now[0]) for _ in range(2))
    await one.failed("d", VendorAuthFailed("no"))
    await two.refresh()
    assert two.health("d").status == "open"
    now[0] += 31
    await two.succeeded("d")
    await one.refresh()
    assert two.health("d").status == "closed"
    assert shared.rests == {}


# --- retries and fallbacks


async def test_a_failed_deployment_is_followed_at_once_by_its_sibling(
    upstream: Upstream, build: Build, name: str
) -> None:
    house = build({name: {"ways": (f"{name}-1", f"{name}-2")}})
    upstream.behave(f"{name}-1", Behaviour(status=500))
    upstream.behave(f"{name}-2", Behaviour(text="second"))
    for _ in range(8):
        response = await house.ask(name)
        assert (response.text, response.model, response.asked, response.because) == ("second", name, "", "")
    assert len(upstream.asked(f"{name}-1")) <= 4, "after four failures within a minute it rests"
    assert house.health.health(f"{name}#{name}-1").status == "open"


async def test_a_fallback_steps_in_and_says_so(upstream: Upstream, build: Build, name: str) -> None:
    house = build({name: {}, "helper": {}, "unused": {}}, fallback_chain=("helper", "unused"))
    upstream.behave(name, Behaviour(status=503, text="overloaded"))
    upstream.behave("helper", Behaviour(text="here I am"))
    response = await house.ask(name)
    assert (response.text, response.model, response.asked) == ("here I am", "helper", name)
    assert response.because == f"'{name}' (custom) failed: overloaded"
    assert response.notes == (f"asked {name}, answered by helper because '{name}' (custom) failed: overloaded",)
    assert len(upstream.asked(name)) == 3
    assert upstream.asked("unused") == []
    with pytest.raises(VendorUnavailable):
        await house.ask(name, fallbacks=False)


async def test_when_nobody_answers_the_error_names_everybody(upstream: Upstream, build: Build, name: str) -> None:
    house = build({name: {}, "second": {}, "third": {}}, fallback_chain=("second", "third"))
    upstream.behave(name, Behaviour(status=401, text="no such key"))
    upstream.behave("second", Behaviour(how="html"))
    upstream.behave("third", Behaviour(status=404, text="gone"))
    with pytest.raises(VendorAuthFailed) as caught:
        await house.ask(name)
    for words in (
        f"'{name}' (custom) does not accept the key",
        "Then 'second' (custom) answered with something",
        "Then 'third'",
    ):
        assert words in caught.value.problem


async def test_a_group_fails_over_among_its_members_before_its_fallbacks(
    upstream: Upstream, build: Build, name: str
) -> None:
    group = name
    models: dict[str, dict[str, Any]] = {
        "member-1": {},
        "member-2": {},
        "last": {},
        group: {"members": (("member-1", 0.99), ("member-2", 0.01)), "fallbacks": ("last",)},
    }
    house = build(models)
    upstream.behave("member-1", Behaviour(status=400, text="not for me"))
    upstream.behave("member-2", Behaviour(text="but for me"))
    response = await house.ask(group)
    assert (response.text, response.model, response.asked) == ("but for me", "member-2", group)
    upstream.behave("member-2", Behaviour(status=400, text="nor me"))
    upstream.behave("last", Behaviour(text="last resort"))
    response = await house.ask(group)
    assert (response.text, response.model, response.asked) == ("last resort", "last", group)
    assert response.because


async def test_a_prompt_too_long_goes_to_the_longer_model_without_a_request_to_the_short_one(
    upstream: Upstream, build: Build, name: str
) -> None:
    house = build(
        {name: {"context_window": 100}, "long": {"context_window": 1000}, "other": {}},
        fallback_chain=("other",),
        context_window_fallbacks={name: ("long",)},
    )
    response = await house.ask(name, prompt_tokens=500)
    assert response.model == "long"
    assert upstream.asked(name) == []
    assert "about 500 tokens" in response.because
    upstream.behave(name, Behaviour(status=400, text="maximum context length is 100"))
    assert (await house.ask(name)).model == "long", "also when the vendor finds it too long"
    with pytest.raises(ContextWindowExceeded):
        await house.ask(name, prompt_tokens=5000)


async def test_refused_content_has_fallbacks_of_its_own(upstream: Upstream, build: Build, name: str) -> None:
    house = build(
        {name: {}, "chain": {}, "lenient": {}},
        fallback_chain=("chain",), content_policy_fallbacks={name: ("lenient",)},
    )  # fmt: skip
    upstream.behave(name, Behaviour(status=400, text="content_policy_violation"))
    assert (await house.ask(name)).model == "lenient"
    with pytest.raises(ContentRefused):
        await house.ask(name, fallbacks=False)


async def test_a_hung_model_leaves_time_for_the_one_that_steps_in(upstream: Upstream, build: Build, name: str) -> None:
    house = build({name: {}, "quick": {}}, fallback_chain=("quick",))
    upstream.behave(name, Behaviour(how="hang"))
    started = time.monotonic()
    response = await house.ask(name, timeout_seconds=1.0)
    assert response.model == "quick"
    assert "gave no answer within 0.5 s" in response.because
    assert time.monotonic() - started < 1.0


async def test_a_long_retry_after_is_not_waited_for_when_somebody_else_can_be_asked(
    upstream: Upstream, build: Build, name: str
) -> None:
    house = build({name: {}, "quick": {}}, fallback_chain=("quick",))
    upstream.behave(name, Behaviour(status=429, headers={"Retry-After": "5"}))
    started = time.monotonic()
    assert (await house.ask(name, timeout_seconds=20)).model == "quick"
    assert time.monotonic() - started < 2


# --- capacity


async def test_no_more_than_max_parallel_at_once(upstream: Upstream, build: Build, name: str) -> None:
    house = build({name: {"max_parallel": 2}})
    upstream.behave(name, Behaviour(delay_seconds=0.1))
    upstream.peak_requests = 0
    async with anyio.create_task_group() as group:
        for _ in range(6):
            group.start_soon(house.ask, name)
    assert upstream.peak_requests == 2
    assert len(upstream.asked(name)) == 6


async def test_requests_and_tokens_per_minute(upstream: Upstream, build: Build, name: str) -> None:
    house = build({name: {"rpm": 2}, "greedy": {"tpm": 100}, "spare": {}})
    for _ in range(2):
        await house.ask(name)
    with pytest.raises(Refused, match="2 requests of this minute") as caught:
        await house.ask(name)
    assert 50 < (caught.value.retry_after_seconds or 0) <= 60
    await house.ask("greedy", prompt_tokens=90)
    await house.ask("greedy", prompt_tokens=90)  # the first one used few in the end
    upstream.behave("greedy", Behaviour(text="word " * 120))
    await house.ask("greedy")
    with pytest.raises(Refused, match="100 tokens"):
        await house.ask("greedy")


async def test_a_full_deployment_is_passed_over(upstream: Upstream, build: Build, name: str) -> None:
    small, large = model("small", deployment="1", rpm=1), model("large", deployment="2")
    capacity = Capacity()
    async with capacity.slot(small, 0, patience_seconds=1):
        assert capacity.is_full(small)
    assert not capacity.is_full(large)
    assert name


# --- streams


async def test_a_stream_goes_to_the_sink_and_a_silent_one_is_cut_by_the_idle_limit(
    upstream: Upstream, build: Build, name: str
) -> None:
    house = build({name: {"stream_idle_seconds": 0.3}, "helper": {}}, fallback_chain=("helper",))
    pieces: list[str] = []

    async def sink(piece: str) -> None:
        pieces.append(piece)

    upstream.behave(name, Behaviour(text="one two three"))
    response = await house.ask(name, sink=sink)
    assert "".join(pieces) == response.text == "one two three"
    assert len(pieces) > 1

    upstream.behave(name, Behaviour(how="hang"))
    upstream.behave("helper", Behaviour(text="ok"))
    pieces.clear()
    response = await house.ask(name, sink=sink)
    assert (response.model, response.partial) == ("helper", False), "before the first words a fallback takes over"
    assert "was silent for 0.3 s" in response.because
    assert pieces == ["ok"]

    upstream.behave(name, Behaviour(how="stall", text="one two three four"))
    pieces.clear()
    started = time.monotonic()
    response = await house.ask(name, sink=sink)
    assert time.monotonic() - started < 1.5, "cut by the idle limit, not by the deadline"
    assert response.partial
    assert response.text == "".join(pieces) == "one two"
    assert response.notes == (f"only a part of the answer: '{name}' (custom) was silent for 0.3 s",)
    assert response.cost_dollars is None


@pytest.mark.parametrize("how", ["cut", "stall"])
async def test_a_cut_answer_is_continued_by_the_next_model_where_that_is_wished(
    upstream: Upstream, build: Build, name: str, how: Any
) -> None:
    house = build({name: {"stream_idle_seconds": 0.3}, "helper": {}}, fallback_chain=("helper",))
    upstream.behave(name, Behaviour(how=how, text="one two three four"))
    upstream.behave("helper", Behaviour(text=" three four"))
    pieces: list[str] = []

    async def sink(piece: str) -> None:
        pieces.append(piece)

    response = await house.ask(name, sink=sink, on_cut="continue")
    assert response.text == "".join(pieces) == "one two three four"
    assert (response.partial, response.model, response.asked) == (False, "helper", name)
    sent = upstream.asked("helper")[-1].messages
    assert sent[1] == {"role": "assistant", "content": "one two"}
    assert "exactly where it stopped" in sent[2]["content"]


async def test_streaming_is_only_done_where_it_pays(upstream: Upstream, build: Build, name: str) -> None:

    async def sink(piece: str) -> None:
        assert piece

    models: dict[str, dict[str, Any]] = {
        f"{name}-auto": {},
        f"{name}-never": {"stream": "never"},
        f"{name}-always": {"stream": "always"},
        f"{name}-cannot": {"capabilities": Capabilities(streaming=False), "stream": "always"},
    }
    house = build(models)
    streamed: dict[tuple[str, bool], bool] = {}
    for one in models:
        for watched in (False, True):
            await house.ask(one, sink=sink if watched else None)
            streamed[one.removeprefix(f"{name}-"), watched] = upstream.asked(one)[-1].stream
    assert [key for key, value in streamed.items() if value] == [("auto", True), ("always", False), ("always", True)]


# --- whatever happens


BEHAVIOURS = st.sampled_from(
    [
        Behaviour(text="fine"),
        Behaviour(status=500, text="boom"),
        Behaviour(status=429, text="slow", headers={"Retry-After": "1"}),
        Behaviour(status=429, text="slow", headers={"Retry-After": "60"}),
        Behaviour(status=401, text="who"),
        Behaviour(status=400, text="what"),
        Behaviour(status=404, text="where"),
        Behaviour(how="html"),
        Behaviour(how="hang"),
        Behaviour(how="cut", text="one two three"),
        Behaviour(how="stall", text="one two three"),
        Behaviour(how="empty"),
        Behaviour(text="late", delay_seconds=0.2),
    ]
)


@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    first=st.lists(BEHAVIOURS, min_size=1, max_size=4),
    second=st.lists(BEHAVIOURS, min_size=1, max_size=3),
    stream=st.booleans(),
    on_cut=st.sampled_from(["return", "continue"]),
)
def test_any_sequence_of_faults_ends_in_time_with_few_requests_and_says_what_happened(
    upstream: Upstream, first: list[Behaviour], second: list[Behaviour], stream: bool, on_cut: Any
) -> None:
    async def run() -> None:
        house = House(
            upstream,
            {"any-1": {"stream_idle_seconds": 0.3}, "any-2": {"stream_idle_seconds": 0.3}},
            fallback_chain=("any-2",),
        )
        upstream.behave("any-1", first)
        upstream.behave("any-2", second)
        before = len(upstream.requests)

        async def sink(piece: str) -> None:
            assert piece

        started = anyio.current_time()
        try:
            response = await house.ask("any-1", timeout_seconds=0.8, sink=sink if stream else None, on_cut=on_cut)
        except ZenError as exc:
            assert isinstance(exc, VendorTimeout) or "'any-1' (custom)" in exc.problem
            assert exc.fix or exc.problem
        else:
            assert response.text
            assert not response.partial or response.notes
            assert response.model == "any-1" or (response.asked == "any-1" and response.because)
            assert response.attempts == len(upstream.requests) - before
        assert anyio.current_time() - started < 0.8 + 0.25
        for name in ("any-1", "any-2"):
            assert len([one for one in upstream.requests[before:] if one.model == name]) <= 3
        await house.provider.aclose()

    anyio.run(run)
