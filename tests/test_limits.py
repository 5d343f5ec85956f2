"""Rate limits and budgets through the door: what is refused, what is told, what is settled, who shares it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp.client import Client
from tests.support.redis import RedisServer
from tests.support.results import data_of, error_of, text_of
from tests.support.server import ServerFolder, connect, openai_model, rpc, serve_http
from tests.upstream import Behaviour, Upstream

pytestmark = pytest.mark.anyio

PRICES = {"input_cost_per_token": 1e-5, "output_cost_per_token": 1e-4}
"""An answer of 1,000 tokens, which is what is expected of one, costs a tenth of a dollar."""


def folder_of(path: Path, upstream: Upstream, limits: dict[str, Any], **settings: Any) -> ServerFolder:
    upstream.behave("priced", Behaviour(text="an answer of five words"))
    return ServerFolder(
        path=path,
        models={
            "priced": openai_model(upstream.url, aliases=["dear"], **PRICES),
            "other": openai_model(upstream.url, **PRICES),
            "third": openai_model(upstream.url, **PRICES),
            "unpriced": openai_model(upstream.url),
        },
        settings={"default_model": "priced", "provider": "direct", **settings},
        limits=limits,
    )


async def ask(client: Client, **more: Any) -> Any:
    return await client.call_tool("chat", {"prompt": "hello", **more})


def limits_of(folder: ServerFolder) -> dict[str, dict[str, Any]]:
    """What `zen limits --json` says, by limit."""
    done = folder.run("limits", "--json")
    assert done.returncode == 0, done.stderr
    return {use["limit"]: use for use in json.loads(done.stdout)["limits"]}


async def uses(folder: ServerFolder) -> dict[str, dict[str, Any]]:
    return await anyio.to_thread.run_sync(limits_of, folder)


# --- rate limits


async def test_a_caller_over_a_limit_is_told_which_how_much_and_when_to_try_again(
    tmp_path: Path, upstream: Upstream
) -> None:
    folder = folder_of(
        tmp_path,
        upstream,
        {"rate_limits": {"per_user": {"requests_per_day": 2}, "global": {"requests_per_month": 50}}},
    )
    async with connect(folder) as client:
        for _ in range(2):
            data_of(await ask(client))
        before = len(upstream.asked("priced"))
        refused = await ask(client)
        assert len(upstream.asked("priced")) == before, "a refused call asks nobody"
        version = await client.call_tool("version", {})
        assert error_of(version)["kind"] == "RateLimitExceeded", "every tool counts"
    error = error_of(refused)
    assert error["kind"] == "RateLimitExceeded"
    assert error["problem"] == (
        "rate_limits.per_user.requests_per_day: 2 of 2 requests per day are used, and this takes 1."
    )
    assert re.fullmatch(r"Try again in [\d.]+ (h|days|min|s)\.", error["fix"])
    assert 0 < error["retry_after_seconds"] <= 2 * 86_400
    found = await uses(folder)
    assert found["rate_limits.per_user.requests_per_day"]["used"] == pytest.approx(2, abs=0.1)
    assert found["rate_limits.global.requests_per_month"]["used"] == pytest.approx(2, abs=0.1), "taken by none refused"


async def test_limits_are_read_through_the_usage_tool_and_as_a_resource(tmp_path: Path, upstream: Upstream) -> None:
    folder = folder_of(tmp_path, upstream, {"rate_limits": {"per_user": {"requests_per_day": 50}}})
    async with connect(folder) as client:
        await ask(client)
        told = data_of(await client.call_tool("usage", {"by": "limit"}))
        resource = str((await client.read_resource("zen://limits")).contents)
    (line,) = told["lines"]
    assert (line["name"], line["subject"]) == ("rate_limits.per_user.requests_per_day", "local")
    assert line["used"] == pytest.approx(2, abs=0.1), "the call that reads counts, too"
    assert (line["allowed"], line["percent"]) == (50, pytest.approx(4, abs=0.3))
    assert "rate_limits.per_user.requests_per_day (local): 3 of 50 requests" in resource


async def test_tools_users_of_a_tool_and_models_have_limits_of_their_own(tmp_path: Path, upstream: Upstream) -> None:
    limits = {
        "rate_limits": {
            "per_tool": {"version": {"requests_per_month": 1}},
            "per_user_tool": {"listmodels": {"requests_per_month": 2}},
            "per_model": {"dear": {"requests_per_month": 1}},
        }
    }
    async with connect(folder_of(tmp_path, upstream, limits)) as client:
        assert not (await client.call_tool("version", {})).is_error
        assert "rate_limits.per_tool.version.requests_per_month" in text_of(await client.call_tool("version", {}))
        for _ in range(2):
            assert not (await client.call_tool("listmodels", {})).is_error
        problem = error_of(await client.call_tool("listmodels", {}))["problem"]
        assert problem.startswith("rate_limits.per_user_tool.listmodels.requests_per_month: 2 of 2")
        data_of(await ask(client, model="dear"))
        problem = error_of(await ask(client, model="priced"))["problem"]
        assert problem.startswith("rate_limits.per_model.dear.requests_per_month: 1 of 1")
        data_of(await ask(client, model="other"))


async def test_tokens_are_reserved_by_estimate_and_settled_by_what_was_used(tmp_path: Path, upstream: Upstream) -> None:
    upstream.behave("other", Behaviour(text="word " * 3000))
    folder = folder_of(tmp_path, upstream, {"rate_limits": {"global": {"tokens_per_month": 2500}}})
    name = "rate_limits.global.tokens_per_month"
    async with connect(folder) as client:
        first = data_of(await ask(client))
        used = first["input_tokens"] + first["output_tokens"]
        assert (await uses(folder))[name]["used"] == pytest.approx(used, rel=0.01)
        second = data_of(await ask(client, model="other"))
        used += second["input_tokens"] + second["output_tokens"]
        assert (await uses(folder))[name]["percent"] > 100, "the longer answer came, and is counted"
        refused = error_of(await ask(client))
    assert refused["kind"] == "RateLimitExceeded"
    assert f"{used:,} of 2,500 tokens per month are used" in refused["problem"]


async def test_a_prompt_that_can_never_fit_is_told_so(tmp_path: Path, upstream: Upstream) -> None:
    folder = folder_of(tmp_path, upstream, {"rate_limits": {"per_user": {"tokens_per_minute": 500}}})
    async with connect(folder) as client:
        data_of(await ask(client))
        error = error_of(await ask(client, prompt="word " * 2000))
    assert error["kind"] == "RateLimitExceeded"
    assert "no more than 500 tokens per minute may be used" in error["problem"]
    assert "retry_after_seconds" not in error


async def test_failures_cancelled_calls_and_remembered_answers_are_settled_too(
    tmp_path: Path, upstream: Upstream
) -> None:
    upstream.behave("other", Behaviour(status=401, text="no"))
    upstream.behave("third", Behaviour(how="hang"))
    folder = folder_of(tmp_path, upstream, {"rate_limits": {"global": {"tokens_per_month": 100_000}}})
    name = "rate_limits.global.tokens_per_month"
    async with connect(folder) as client:
        assert error_of(await ask(client, model="other"))["kind"] == "VendorAuthFailed"
        assert (await uses(folder))[name]["used"] == 0, "a vendor that refuses takes nothing"
        data_of(await ask(client, cache="use"))
        once = (await uses(folder))[name]["used"]
        assert data_of(await ask(client, cache="use"))["cached"]
        assert (await uses(folder))[name]["used"] == pytest.approx(once, rel=0.01), "nor does a remembered answer"
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: ask(client, model="third"))
            assert await anyio.to_thread.run_sync(upstream.wait_for_request, "third")
            assert (await uses(folder))[name]["used"] > once + 900, "reserved while it runs"
            group.cancel_scope.cancel()
        assert await anyio.to_thread.run_sync(upstream.wait_for_disconnect, "third")
        with anyio.fail_after(20):
            while (await uses(folder))[name]["used"] > once + 900:  # noqa: ASYNC110 - another process settles
                await anyio.sleep(0.1)
        used = (await uses(folder))[name]["used"]
        assert once < used < once + 500, "a cancelled call has cost its prompt"


async def test_two_servers_of_a_user_share_a_limit(tmp_path: Path, upstream: Upstream) -> None:
    folder = folder_of(tmp_path, upstream, {"rate_limits": {"per_user": {"requests_per_month": 7}}})
    results: list[bool] = []

    async def hammer(client: Client) -> None:
        for _ in range(6):
            results.append(not (await client.call_tool("version", {})).is_error)  # noqa: PERF401 - in order of arrival

    async with connect(folder) as one, connect(folder) as two, anyio.create_task_group() as group:
        group.start_soon(hammer, one)
        group.start_soon(hammer, two)
    assert sum(results) == 7


async def test_without_limits_nothing_is_counted_and_no_database_is_opened(tmp_path: Path, upstream: Upstream) -> None:
    without_ledger = {"tools": ["log", "limits"], "models": ["log", "limits", "cache", "json"]}
    folder = folder_of(tmp_path, upstream, {}, middleware=without_ledger)
    async with connect(folder) as client:
        assert not (await client.call_tool("version", {})).is_error
    done = await anyio.to_thread.run_sync(folder.run, "limits")
    assert "No limits and no budgets are set" in done.stdout
    assert not (tmp_path / "state" / "zen.db").exists()


async def test_limits_change_while_the_server_runs_and_what_was_counted_stays(
    tmp_path: Path, upstream: Upstream
) -> None:
    folder = folder_of(tmp_path, upstream, {"rate_limits": {"global": {"requests_per_month": 3}}, "counters": "memory"})
    async with connect(folder) as client:
        while not (await client.call_tool("version", {})).is_error:
            pass
        raised = {"rate_limits": {"global": {"requests_per_month": 5}}, "counters": "memory"}
        (tmp_path / "config" / "limits.yaml").write_text(json.dumps(raised), encoding="utf-8")
        with anyio.fail_after(30):
            while (await client.call_tool("version", {})).is_error:  # noqa: ASYNC110 - it looks every two seconds
                await anyio.sleep(0.2)
        assert not (await client.call_tool("version", {})).is_error, "two more of five"
        assert "5 of 5" in text_of(await client.call_tool("version", {}))


# --- Redis


@pytest.mark.parametrize("choice", ["open", "closed", "local"])
async def test_when_redis_dies_the_choice_holds_is_told_once_and_ends_when_it_is_back(
    tmp_path: Path, upstream: Upstream, choice: str
) -> None:
    limits = {
        "rate_limits": {"global": {"requests_per_month": 4}, "when_redis_is_away": choice, "replicas": 2},
        "budgets": {"per_user": {"day": 100}, "when_redis_is_away": "open"},
    }
    with RedisServer(tmp_path) as redis:
        folder = folder_of(tmp_path, upstream, limits, redis_url=redis.url)
        async with connect(folder) as client:
            assert not (await client.call_tool("version", {})).is_error
            redis.stop()
            results = [await client.call_tool("version", {}) for _ in range(5)]
            went = [not result.is_error for result in results]
            expected = {"open": [True] * 5, "closed": [False] * 5, "local": [True] * 2 + [False] * 3}
            assert went == expected[choice], "`local` lets half through: there are two replicas"
            if choice == "closed":
                assert "cannot be counted: Redis cannot be reached." in error_of(results[0])["problem"]
                assert error_of(results[0])["retry_after_seconds"] > 0
            redis.start()
            with anyio.fail_after(30):
                while "limits_counted_again" not in (tmp_path / "stderr.log").read_text(encoding="utf-8"):
                    await client.call_tool("version", {})
                    await anyio.sleep(0.2)
    log = (tmp_path / "stderr.log").read_text(encoding="utf-8")
    assert log.count("limits_not_counted") == 1
    assert log.count("limits_counted_again") == 1


async def test_budgets_are_closed_while_redis_is_away(tmp_path: Path, upstream: Upstream) -> None:
    with RedisServer(tmp_path) as redis:
        folder = folder_of(tmp_path, upstream, {"budgets": {"global": {"day": 100}}}, redis_url=redis.url)
        async with connect(folder) as client:
            data_of(await ask(client))
            redis.stop()
            error = error_of(await ask(client))
            assert not (await client.call_tool("version", {})).is_error, "what costs nothing goes on"
    assert error["kind"] == "BudgetExceeded"
    assert error["problem"] == "budgets.global.day cannot be counted: Redis cannot be reached."


async def test_while_redis_is_away_the_processes_of_a_server_divide_its_part(
    tmp_path: Path, upstream: Upstream
) -> None:
    limits = {"rate_limits": {"global": {"requests_per_month": 4}, "when_redis_is_away": "local"}}
    with RedisServer(tmp_path) as redis:
        folder = folder_of(tmp_path, upstream, limits, redis_url=redis.url, http={"workers": 2})
        async with serve_http(folder) as served:
            redis.stop()
            went = 0
            for _ in range(24):  # a connection for each, so that both processes are asked
                async with served.http() as http:
                    answer = await http.post("/mcp", **rpc("tools/call", {"name": "version", "arguments": {}}))
                    went += "RateLimitExceeded" not in answer.text
    assert went == 4


# --- budgets


async def test_a_budget_is_warned_of_once_then_refuses_with_the_numbers(tmp_path: Path, upstream: Upstream) -> None:
    upstream.behave("other", Behaviour(text="word " * 1000))
    folder = folder_of(tmp_path, upstream, {"budgets": {"per_user": {"month": 0.24}}})
    async with connect(folder) as client:
        first = data_of(await ask(client, model="other"))
        assert not first.get("notes")
        assert first["cost_dollars"] == pytest.approx(0.1, abs=0.01)
        second = data_of(await ask(client, model="other"))
        spent = first["cost_dollars"] + second["cost_dollars"]
        (note,) = second["notes"]
        percent = f"{100 * spent / 0.24:.0f} %"
        assert note == f"budgets.per_user.month: ${spent:.4g} of $0.24 per month is spent ({percent})"
        asked = len(upstream.asked("other"))
        error = error_of(await ask(client, model="other"))
        assert len(upstream.asked("other")) == asked
    assert error["kind"] == "BudgetExceeded"
    assert error["problem"].startswith(f"budgets.per_user.month: ${spent:.4g} of $0.24 per month is spent or reserved")
    assert error["retry_after_seconds"] <= 31 * 86_400
    log = (tmp_path / "stderr.log").read_text(encoding="utf-8")
    assert log.count("budget_nearly_spent") == 1
    use = (await uses(folder))["budgets.per_user.month"]
    assert (use["used"], use["subject"], use["unit"]) == (pytest.approx(spent), "local", "dollars")


async def test_a_soft_budget_tells_and_lets_through(tmp_path: Path, upstream: Upstream) -> None:
    upstream.behave("other", Behaviour(text="word " * 1000))
    folder = folder_of(tmp_path, upstream, {"budgets": {"per_model": {"other": {"total": 0.11, "hard": False}}}})
    async with connect(folder) as client:
        notes = [data_of(await ask(client, model="other")).get("notes", []) for _ in range(3)]
    assert [len(note) for note in notes] == [1, 1, 0], "at 80 %, when it is spent, and then no more"
    assert "in total is spent" in notes[1][0]


async def test_calls_at_once_cannot_spend_a_budget_twice(tmp_path: Path, upstream: Upstream) -> None:
    upstream.behave("other", Behaviour(text="word " * 1000, delay_seconds=0.5))
    folder = folder_of(tmp_path, upstream, {"budgets": {"global": {"month": 0.35}}})
    results: list[Any] = []

    async def one(client: Client) -> None:
        results.append(await ask(client, model="other"))

    async with connect(folder) as client:
        data_of(await ask(client))
        async with anyio.create_task_group() as group:
            for _ in range(10):
                group.start_soon(one, client)
    answered = [result for result in results if not result.is_error]
    assert len(answered) == 3, "a tenth of a dollar each was reserved"
    assert {error_of(result)["kind"] for result in results if result.is_error} == {"BudgetExceeded"}
    spent = (await uses(folder))["budgets.global.month"]["used"]
    assert spent == pytest.approx(0.3, abs=0.03)


@pytest.mark.parametrize("policy", ["refuse", "shrink"])
async def test_a_panel_that_would_pass_the_budget_is_refused_or_shrunk_with_the_numbers(
    tmp_path: Path, upstream: Upstream, policy: str
) -> None:
    folder = folder_of(
        tmp_path, upstream, {"budgets": {"per_tool": {"consensus": {"month": 0.25}}, "on_panel": policy}}
    )
    panel = {"prompt": "hello", "models": ["priced", "other", "third"]}
    before = len(upstream.requests)
    async with connect(folder) as client:
        result = await client.call_tool("consensus", panel)
    numbers = r"budgets\.per_tool\.consensus\.month: \$0\.00 of \$0\.25 per month is spent or reserved, and this panel "
    numbers += r"takes about \$0\.30\d*\."
    if policy == "refuse":
        error = error_of(result)
        assert error["kind"] == "BudgetExceeded"
        assert re.fullmatch(numbers, error["problem"])
        assert len(upstream.requests) == before
        return
    data = data_of(result)
    assert [answer["model"] for answer in data["answers"]] == ["priced", "other"]
    assert re.fullmatch("Shrunk to 2 of 3, without third: " + numbers, data["notes"][0])
    assert len(upstream.requests) == before + 2


@pytest.mark.parametrize("policy", ["allow", "refuse"])
async def test_a_model_without_a_price_is_told_of_or_refused(tmp_path: Path, upstream: Upstream, policy: str) -> None:
    folder = folder_of(tmp_path, upstream, {"budgets": {"global": {"day": 1}, "unknown_price": policy}})
    async with connect(folder) as client:
        result = await ask(client, model="unpriced")
    if policy == "allow":
        assert data_of(result)["notes"] == ["the price of unpriced is unknown, so no budget counts it"]
    else:
        assert error_of(result)["kind"] == "BudgetExceeded"
        assert "The price of 'unpriced' is unknown" in error_of(result)["problem"]


async def test_a_model_that_steps_in_is_counted_for_itself_and_passed_over_when_it_is_spent(
    tmp_path: Path, upstream: Upstream
) -> None:
    upstream.behave("priced", Behaviour(status=400, text="no"))
    upstream.behave("other", Behaviour(text="from other"))
    upstream.behave("third", Behaviour(text="from third"))
    folder = ServerFolder(
        path=tmp_path,
        models={name: openai_model(upstream.url, **PRICES) for name in ("priced", "other", "third")},
        providers={"providers": {"fallback_chain": ["other", "third"]}},
        limits={
            "rate_limits": {"per_model": {"other": {"requests_per_month": 1}, "priced": {"tokens_per_month": 9999}}}
        },
    )
    async with connect(folder) as client:
        texts = [data_of(await ask(client, model="priced"))["text"] for _ in range(2)]
        found = await uses(folder)
    assert texts == ["from other", "from third"]
    assert found["rate_limits.per_model.other.requests_per_month"]["used"] == pytest.approx(1, abs=0.1)
    assert found["rate_limits.per_model.priced.tokens_per_month"]["used"] == 0
    upstream.behave("priced", Behaviour())


# --- settings


@pytest.mark.parametrize(
    ("limits", "says"),
    [
        (
            {"rate_limits": {"per_tool": {"chatt": {"requests_per_minute": 1}}}},
            "rate_limits.per_tool.chatt: there is no tool 'chatt'. Did you mean 'chat'?",
        ),
        (
            {"rate_limits": {"per_model": {"pricd": {"requests_per_minute": 1}}}},
            "rate_limits.per_model.pricd: There is no model 'pricd'. Did you mean 'priced'?",
        ),
        ({"budgets": {"per_model": {"dearr": {"day": 1}}}}, "budgets.per_model.dearr: There is no model 'dearr'."),
        (
            {"rate_limits": {"per_user_tool": {"consens": {"tokens_per_day": 1}}}},
            "rate_limits.per_user_tool.consens: there is no tool 'consens'. Did you mean 'consensus'?",
        ),
    ],
)
async def test_a_name_that_does_not_exist_is_told_with_its_place(
    tmp_path: Path, upstream: Upstream, limits: dict[str, Any], says: str
) -> None:
    done = await anyio.to_thread.run_sync(folder_of(tmp_path, upstream, limits).run, "config", "check")
    assert done.returncode == 1
    assert f"limits.yaml:1: {says}" in done.stdout


async def test_a_chain_without_the_step_that_applies_limits_is_an_error(tmp_path: Path, upstream: Upstream) -> None:
    limits = {"budgets": {"global": {"day": 1}}}
    folder = folder_of(tmp_path, upstream, limits, middleware={"models": ["log", "cache"]})
    done = await anyio.to_thread.run_sync(folder.run, "config", "check")
    assert done.returncode == 1
    assert "middleware.models: the chain leaves out 'limits', but limits.yaml has budgets.global.day." in done.stdout


async def test_the_table_is_readable(tmp_path: Path, upstream: Upstream) -> None:
    limits = {"rate_limits": {"global": {"requests_per_month": 4}}, "budgets": {"global": {"total": 2}}}
    folder = folder_of(tmp_path, upstream, limits)
    async with connect(folder) as client:
        data_of(await ask(client))
    done = await anyio.to_thread.run_sync(folder.run, "limits")
    lines = [re.sub(r"\s{2,}", "|", line) for line in done.stdout.splitlines()]
    assert lines[0] == "LIMIT|WHOSE|USED|ALLOWED|FREE AGAIN IN"
    assert re.fullmatch(r"rate_limits\.global\.requests_per_month\|all\|1\|4\|25 %\|[\d.]+ days", lines[1])
    assert re.fullmatch(r"budgets\.global\.total\|all\|\$0\.00\d\d\|\$2\.0000\|0 %\|never", lines[2])
