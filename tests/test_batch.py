"""Batches: handed in, grouped, resumed after kill -9, stopped and gone on with, made by the vendor's batch API."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
from collections import Counter
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp.client import Client
from tests.support.results import data_of, error_of, text_of
from tests.support.server import ServerFolder, connect
from tests.upstream import Behaviour, Upstream
from tests.upstream.files import Plan

from zen_mcp.errors import BudgetExceeded, RateLimitExceeded, ZenError
from zen_mcp.jobs.batch_lines import read_file
from zen_mcp.jobs.batch_order import CACHED_CHARACTERS, AskingOrder
from zen_mcp.jobs.batch_run import LiveRun, Run
from zen_mcp.storage.base import Database
from zen_mcp.storage.batches import Batch, BatchItem, BatchTable
from zen_mcp.types import ModelRequest, ModelResponse

pytestmark = pytest.mark.anyio

PRICES = {"input_cost_per_token": 0.001, "output_cost_per_token": 0.002}
MODELS: dict[str, tuple[Behaviour, dict[str, Any]]] = {
    "fine": (Behaviour(text="Heard: {echo}"), PRICES),
    "steady": (Behaviour(text="Heard: {echo}", delay_seconds=0.4), {"max_parallel": 3}),
    "moody": (Behaviour(text="Heard: {echo}"), {"max_parallel": 1}),
    "vendor": (Behaviour(text="Heard: {echo}"), {**PRICES, "batch": True}),
}
SETTINGS = {"default_model": "fine", "tools": "full"}


def submit(folder: ServerFolder, rows: list[Any], *arguments: str) -> tuple[str, str]:
    """Hand a file in and work on it to its end; the batch's id, and what was said."""
    folder.write()
    (folder.work / "prompts.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    done = folder.run("batch", "submit", "prompts.jsonl", "--yes", "--json", *arguments, timeout_seconds=100)
    assert done.stdout, done.stderr
    told = json.loads(done.stdout)
    assert "error" not in told, told
    return told["id"], done.stderr


def results(folder: ServerFolder, batch: str) -> list[dict[str, Any]]:
    """The lines of `zen batch results`."""
    return [json.loads(row) for row in folder.run("batch", "results", batch).stdout.splitlines()]


async def ended(client: Client, batch: str) -> dict[str, Any]:
    """The batch's job when it has ended."""
    with anyio.fail_after(90):
        while True:
            told = data_of(await client.call_tool("jobs", {"job": batch, "action": "wait"}))
            if told["job"]["state"] in {"done", "failed", "cancelled"}:
                return told


@pytest.mark.slow
async def test_the_tool_hands_prompts_in_and_gives_the_answers_in_their_order(client: Client) -> None:
    prompts = ["one", {"id": "b", "prompt": "two", "system": "Be brief.", "temperature": 0.5}, "three"]
    planned = await client.call_tool("batch", {"prompts": prompts, "dry_run": True})
    assert text_of(planned).startswith("Nothing was asked: 3 prompts for fine, about ")
    handed = await client.call_tool("batch", {"prompts": prompts})
    batch = data_of(handed)["job"]
    assert f"batch(job='{batch}')" in text_of(handed)
    told = await ended(client, batch)
    assert told["result"]["done"] == 3
    assert "3 of 3" in text_of(await client.call_tool("batch", {"job": batch, "action": "status"}))
    answers = data_of(await client.call_tool("batch", {"job": batch}))["results"]
    assert [(row["line"], row["id"], row["text"]) for row in answers] == [
        (1, "1", "Heard: one"),
        (2, "b", "Heard: two"),
        (3, "3", "Heard: three"),
    ]
    rest = data_of(await client.call_tool("batch", {"job": batch, "after": 2}))["results"]
    assert [row["line"] for row in rest] == [3]
    listed = data_of(await client.call_tool("jobs", {}))["jobs"]
    assert "batch: 3 prompts for fine" in [entry["title"] for entry in listed]


@pytest.mark.slow
async def test_broken_lines_are_named_before_anything_is_asked_and_the_good_ones_go_on_when_wished(
    client: Client, upstream: Upstream, work: Path
) -> None:
    before = len(upstream.asked("fine"))
    rows = ['{"prompt": "good"}', "not json", '{"promt": "?"}', "", '{"prompt": "x", "temperature": 9}', "[1]", '" "']
    (work / "mixed.jsonl").write_bytes("\n".join(rows).encode() + b'\n"\xff"')
    error = error_of(await client.call_tool("batch", {"file": "mixed.jsonl"}))
    assert error["kind"] == "InvalidArguments"
    for told in (
        "6 lines cannot be asked",
        "line 2: it is not JSON",
        "line 3: 'prompt' is missing",
        "line 5: 'temperature'",
        "line 6: it is a list",
        "line 7: 'prompt' is empty",
        "line 8: it is not UTF-8",
    ):
        assert told in error["problem"]
    assert len(upstream.asked("fine")) == before
    batch = data_of(await client.call_tool("batch", {"file": "mixed.jsonl", "skip_broken": True}))["job"]
    assert (await ended(client, batch))["result"]["total"] == 1
    faults: list[tuple[dict[str, Any], str]] = [
        ({}, "InvalidArguments"),
        ({"prompts": []}, "InvalidArguments"),
        ({"prompts": ["x"], "deadline": "soon"}, "InvalidArguments"),
        ({"prompts": ["x"], "model": "none"}, "UnknownModel"),
        ({"file": "missing.jsonl"}, "FileRefused"),
        ({"action": "retry"}, "InvalidArguments"),
        ({"job": "j-none", "action": "status"}, "UnknownJob"),
    ]
    for wrong, kind in faults:
        assert error_of(await client.call_tool("batch", wrong))["kind"] == kind, wrong


@pytest.mark.slow
@pytest.mark.parametrize(("said", "asked"), [("y\n", ["good", "fine"]), ("n\n", [])])
def test_the_shell_asks_whether_the_good_lines_go_on(
    tmp_path: Path, models: dict[str, Any], upstream: Upstream, said: str, asked: list[str]
) -> None:
    folder = ServerFolder(path=tmp_path, models=models, settings={**SETTINGS, "batch_parallel": 1})
    folder.write()
    (folder.work / "mixed.jsonl").write_text('"good"\nnot json\n"fine"\n', encoding="utf-8")
    before = len(upstream.asked("fine"))
    ours, terminal = os.openpty()
    try:
        os.write(ours, said.encode())
        command = folder.command("batch", "submit", "mixed.jsonl")
        done = subprocess.run(
            command,
            env=folder.environ(),
            cwd=folder.work,
            stdin=terminal,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
    finally:
        os.close(ours)
        os.close(terminal)
    assert "1 broken: line 2: it is not JSON" in done.stderr
    assert "Ask the other 2? [y/N]" in done.stderr
    assert (done.returncode == 0) == bool(asked), done.stderr
    assert [request.messages[-1]["content"] for request in upstream.asked("fine")[before:]] == asked


def stored_lines(folder: ServerFolder, batch: str) -> set[int]:
    """The lines whose answers are in the database."""
    with sqlite3.connect(folder.path / "state" / "zen.db") as database:
        rows = database.execute("SELECT line FROM batch_items WHERE batch = ? AND state = 'done'", (batch,))
        return {line for (line,) in rows}


@pytest.mark.slow
async def test_no_answer_that_was_stored_is_asked_for_again_after_kill_9(
    tmp_path: Path, models: dict[str, Any], upstream: Upstream
) -> None:
    folder = ServerFolder(path=tmp_path, models=models, settings=SETTINGS)
    folder.write()
    rows = [json.dumps(f"n{number}") for number in range(1, 25)]
    (folder.work / "many.jsonl").write_text("\n".join(rows), encoding="utf-8")
    command = folder.command("batch", "submit", "many.jsonl", "--yes", "--model", "steady")
    worker = await anyio.open_process(command, env=folder.environ(), cwd=folder.work, stderr=None)
    assert await anyio.to_thread.run_sync(lambda: upstream.wait_for_request("steady", 9, seconds=60))
    worker.send_signal(signal.SIGKILL)
    await worker.wait()
    await worker.aclose()
    batch = json.loads(folder.run("batch", "list", "--json").stdout)[0]["id"]
    stored = stored_lines(folder, batch)
    assert 0 < len(stored) < 24
    waited = folder.run("batch", "wait", batch, timeout_seconds=100)
    assert waited.returncode == 0, waited.stderr
    assert "24 of 24" in waited.stdout
    asked = Counter(request.messages[-1]["content"] for request in upstream.asked("steady"))
    assert all(asked[f"n{line}"] == 1 for line in stored), "what was stored is never asked again"
    again = [prompt for prompt, times in asked.items() if times > 1]
    assert len(again) <= 3, "no more than were on their way are asked again"
    assert all(asked[prompt] == 2 for prompt in again)
    keys = [request.headers["idempotency-key"] for request in upstream.asked("steady")]
    assert len(set(keys)) == 24, "an upstream that knows the header would not even answer those twice"
    assert [row["text"] for row in results(folder, batch)] == [f"Heard: n{number}" for number in range(1, 25)]
    assert folder.run("batch", "wait", batch).returncode == 0
    assert len(upstream.asked("steady")) == 24 + len(again)


@pytest.mark.slow
async def test_failures_are_listed_and_made_again_alone_and_a_refused_key_stops_the_batch(
    tmp_path: Path, models: dict[str, Any], upstream: Upstream
) -> None:
    good = Behaviour(text="Heard: {echo}")
    upstream.behave("moody", [good, Behaviour(status=400, text="not that"), good, Behaviour(status=401, text="no")])
    folder = ServerFolder(path=tmp_path, models=models, settings=SETTINGS)
    batch, _ = submit(folder, ["a", "b", "c", "d", "e"], "--model", "moody")
    stopped = json.loads(folder.run("batch", "status", batch, "--json").stdout)
    assert stopped["state"] == "failed"
    assert stopped["job"]["error"]["kind"] == "VendorAuthFailed"
    assert f"zen batch retry {batch}" in stopped["job"]["error"]["fix"]
    assert stopped["counts"] | {"tokens": 0} == {
        "waiting": 2, "done": 2, "failed": 1, "total": 5, "tokens": 0, "dollars": 0.0, "unpriced": 2
    }  # fmt: skip
    assert [(row["id"], row["error"]["kind"]) for row in results(folder, batch) if row["state"] == "failed"] == [
        ("2", "VendorRejected")
    ]
    before = len(upstream.asked("moody"))
    upstream.behave("moody", good)
    again = folder.run("batch", "retry", batch, timeout_seconds=100)
    assert again.returncode == 0, again.stdout
    said = [request.messages[-1]["content"] for request in upstream.asked("moody")[before:]]
    assert said == ["b", "d", "e"]
    assert [row["text"] for row in results(folder, batch)] == [f"Heard: {word}" for word in "abcde"]
    refused = folder.run("batch", "retry", batch)
    assert "have their answers" in refused.stderr


@pytest.fixture
def vendor_folder(tmp_path: Path, models: dict[str, Any], upstream: Upstream) -> Generator[ServerFolder]:
    """A server whose model `vendor` has a batch API that behaves as ever."""
    upstream.shelf.plan = Plan()
    yield ServerFolder(path=tmp_path, models=models, settings=SETTINGS)
    upstream.shelf.plan = Plan()


@pytest.mark.slow
async def test_a_batch_with_time_goes_by_the_vendors_batch_api_at_half_the_price(
    vendor_folder: ServerFolder, upstream: Upstream
) -> None:
    before = len(upstream.shelf.batches)
    batch, said = submit(vendor_folder, ["a b", "c d", "e f"], "--model", "vendor", "--deadline", "24h")
    assert "by the vendor's batch API (half price)" in said
    assert len(upstream.shelf.batches) == before + 1
    rows = results(vendor_folder, batch)
    assert [row["text"] for row in rows] == ["Heard: a b", "Heard: c d", "Heard: e f"]
    assert rows[0]["dollars"] == pytest.approx((2 * 0.001 + 3 * 0.002) / 2)
    usage = json.loads(vendor_folder.run("usage", "--by", "tool", "--json").stdout)
    assert "batch" in json.dumps(usage)


@pytest.mark.slow
async def test_what_the_vendors_batch_leaves_is_asked_live_and_nothing_twice(
    vendor_folder: ServerFolder, upstream: Upstream
) -> None:
    plans = [
        (Plan(refuse=400), 0),
        (Plan(status="failed"), 1),
        (Plan(status="expired", left_out=2), 1),
        (Plan(lose_answer=True), 1),
    ]
    async with connect(vendor_folder) as client:
        for plan, batches in plans:
            upstream.shelf.plan = plan
            before, made = len(upstream.asked("vendor")), len(upstream.shelf.batches)
            wanted = {"prompts": ["a", "b", "c"], "model": "vendor", "deadline": "2d"}
            batch = data_of(await client.call_tool("batch", wanted))["job"]
            assert (await ended(client, batch))["result"]["done"] == 3, plan
            answers = data_of(await client.call_tool("batch", {"job": batch}))["results"]
            assert [row["text"] for row in answers] == ["Heard: a", "Heard: b", "Heard: c"]
            said = Counter(request.messages[-1]["content"] for request in upstream.asked("vendor")[before:])
            assert said == {"a": 1, "b": 1, "c": 1}, plan
            assert len(upstream.shelf.batches) == made + batches, plan


@pytest.mark.slow
async def test_a_vendors_batch_is_gone_on_with_after_kill_9_and_stopped_when_cancelled(
    vendor_folder: ServerFolder, upstream: Upstream
) -> None:
    upstream.shelf.plan = Plan(looks=1_000_000)
    made = len(upstream.shelf.batches)
    vendor_folder.write()
    (vendor_folder.work / "p.jsonl").write_text('"a"\n"b"', encoding="utf-8")
    command = vendor_folder.command("batch", "submit", "p.jsonl", "-y", "-m", "vendor", "--deadline", "24h")
    worker = await anyio.open_process(command, env=vendor_folder.environ(), cwd=vendor_folder.work, stderr=None)
    with anyio.fail_after(60):
        while not any(upstream.shelf.looks.get(one["id"]) for one in upstream.shelf.batches[made:]):  # noqa: ASYNC110
            await anyio.sleep(0.05)
    worker.send_signal(signal.SIGKILL)
    await worker.wait()
    await worker.aclose()
    async with connect(vendor_folder) as client:
        (listed,) = data_of(await client.call_tool("jobs", {}))["jobs"]
        seen = upstream.shelf.looks[upstream.shelf.batches[-1]["id"]]
        with anyio.fail_after(90):
            while upstream.shelf.looks[upstream.shelf.batches[-1]["id"]] == seen:  # noqa: ASYNC110
                await anyio.sleep(0.05)
        assert len(upstream.shelf.batches) == made + 1
        await client.call_tool("batch", {"job": listed["id"], "action": "cancel"})
        assert (await ended(client, listed["id"]))["job"]["state"] == "cancelled"
        assert upstream.shelf.batches[-1]["status"] == "cancelled"


def limited(path: Path, models: dict[str, Any], limits: dict[str, Any]) -> ServerFolder:
    """A server with these limits, which asks one prompt of a batch at a time."""
    settings = {**SETTINGS, "batch_parallel": 1}
    return ServerFolder(path=path, models=models, settings=settings, limits=limits)


@pytest.mark.slow
async def test_a_batch_waits_at_a_rate_limit_and_pays_nothing_twice(
    tmp_path: Path, models: dict[str, Any], upstream: Upstream
) -> None:
    before = len(upstream.asked("fine"))
    limits = {"rate_limits": {"per_model": {"fine": {"requests_per_second": 2}}}}
    async with connect(limited(tmp_path, models, limits)) as client:
        batch = data_of(await client.call_tool("batch", {"prompts": [f"n{number}" for number in range(6)]}))["job"]
        told = await ended(client, batch)
        assert (told["job"]["state"], told["result"]["done"], told["result"]["failed"]) == ("done", 6, 0)
        answers = data_of(await client.call_tool("batch", {"job": batch}))["results"]
    assert [row["text"] for row in answers] == [f"Heard: n{number}" for number in range(6)]
    assert sum(row["attempts"] for row in answers) > 6, "some were refused, and came again"
    asked = [request.messages[-1]["content"] for request in upstream.asked("fine")[before:]]
    assert asked == [f"n{number}" for number in range(6)], "a refusal of ours reaches no vendor"


@pytest.mark.slow
async def test_a_batch_stops_at_a_hard_budget_and_goes_on_when_there_is_another(
    tmp_path: Path, models: dict[str, Any], upstream: Upstream
) -> None:
    before = len(upstream.asked("fine"))
    prompts = [{"prompt": f"n{number}", "max_output_tokens": 10} for number in range(6)]
    poor = limited(tmp_path, models, {"budgets": {"per_model": {"fine": {"day": 0.04}}}})
    async with connect(poor) as client:
        batch = data_of(await client.call_tool("batch", {"prompts": prompts}))["job"]
        told = await ended(client, batch)
        error = told["job"]["error"]
        assert (told["job"]["state"], error["kind"]) == ("failed", "BudgetExceeded")
        assert "budgets.per_model.fine.day" in error["problem"]
        assert f"zen batch retry {batch}" in error["fix"]
        kept = data_of(await client.call_tool("batch", {"job": batch}))["results"]
        done = [row["line"] for row in kept if row["state"] == "done"]
        assert 0 < len(done) < 6
        assert [row["state"] for row in kept if row["line"] not in done] == ["waiting"] * (6 - len(done))
        spent = sum(row["dollars"] for row in kept if row["state"] == "done")
        assert spent <= 0.04
    rich = limited(tmp_path, models, {"budgets": {"per_model": {"fine": {"day": 10}}}})
    async with connect(rich) as client:
        assert data_of(await client.call_tool("batch", {"job": batch, "action": "retry"}))["counts"]["done"] == len(
            done
        )
        with anyio.fail_after(90):
            while data_of(await client.call_tool("batch", {"job": batch, "action": "status"}))["counts"]["waiting"]:  # noqa: ASYNC110
                await anyio.sleep(0.1)
        answers = data_of(await client.call_tool("batch", {"job": batch}))["results"]
    assert [row["text"] for row in answers] == [f"Heard: n{number}" for number in range(6)]
    asked = [request.messages[-1]["content"] for request in upstream.asked("fine")[before:]]
    assert sorted(asked) == [f"n{number}" for number in range(6)], "each was paid once"


# --- the parts


def item(line: int, *, system: str = "") -> BatchItem:
    """A prompt."""
    return BatchItem(line=line, id=str(line), key=f"k{line}", request={"prompt": f"p{line}", "system": system})


async def test_of_prompts_that_begin_alike_the_first_is_asked_alone_and_short_ones_wait_for_nobody() -> None:
    shared, other = "s" * CACHED_CHARACTERS, "o" * CACHED_CHARACTERS
    order = AskingOrder([item(1), item(2, system=shared), item(3, system=other), item(4, system=shared), item(5)])
    first = [await order.next() for _ in range(4)]
    assert [one.line for one in first if one] == [2, 3, 1, 5]
    with anyio.move_on_after(0.05) as waited:
        await order.next()
    assert waited.cancelled_caught, "the fourth waits for the second's answer"
    order.ended(item(2, system=shared))
    held = await order.next()
    assert held is not None
    assert held.line == 4
    assert await order.next() is None


@dataclass
class Gate:
    """Stands in the gateway's place, and says no as it would."""

    answers: list[ZenError | None]
    asked: list[str] = field(default_factory=list[str])

    async def ask(self, request: ModelRequest) -> ModelResponse:
        """The next answer of the list."""
        self.asked.append(request.messages[-1].text)
        answer = self.answers.pop(0) if self.answers else None
        if answer is not None:
            raise answer
        return ModelResponse(text=f"Heard: {self.asked[-1]}", model="m", vendor="v", answered_by="m")


Making = Callable[[Gate], Awaitable[LiveRun]]


@pytest.fixture
async def made(database: Database) -> Making:
    """Makes a batch of three prompts in a real database."""
    table = BatchTable(database)
    asker: dict[str, Any] = {"caller": {"user_id": "u", "tools": None, "models": ["m"]}, "only_models": []}
    batch = Batch(id="b", user_id="u", job="b", title="", model="m", created_at=1.0, deadline_seconds=None, asker=asker)
    await table.create(batch, [item(1), item(2), item(3)])

    async def tell(line: str) -> None:
        assert " of 3" in line

    async def make(gate: Gate) -> LiveRun:
        await table.take("b", "r")
        run = Run(batch=batch, runner="r", table=table, tell=tell)
        return LiveRun(run, ask=gate.ask, parallel=1, counts=await table.counts("b"))

    return make


async def test_a_batch_over_a_limit_waits_and_goes_on(database: Database, made: Making) -> None:
    gate = Gate([None, RateLimitExceeded("over", "wait", retry_after_seconds=0.05)])
    await (await made(gate)).make()
    assert gate.asked == ["p1", "p2", "p2", "p3"]
    assert (await BatchTable(database).counts("b")).done == 3


async def test_a_batch_over_its_budget_stops_keeps_what_it_has_and_goes_on_later(
    database: Database, made: Making
) -> None:
    gate = Gate([None, BudgetExceeded("spent", "wait")])
    with pytest.raises(BudgetExceeded):
        await (await made(gate)).make()
    table = BatchTable(database)
    counts = await table.counts("b")
    assert (counts.done, counts.waiting, counts.failed) == (1, 2, 0)
    await (await made(gate)).make()
    assert gate.asked == ["p1", "p2", "p2", "p3"]
    assert [one.attempts for one in await table.items("b")] == [1, 2, 1]


async def test_a_worker_whose_batch_was_taken_over_asks_nothing_more(database: Database, made: Making) -> None:
    gate = Gate([])
    run = await made(gate)
    await BatchTable(database).take("b", "another")
    with pytest.raises(ZenError, match="Another worker"):
        await run.make()
    assert gate.asked == []


def test_a_byte_order_mark_and_windows_line_ends_are_no_fault_and_a_repeated_id_is() -> None:
    lines = read_file(b'\xef\xbb\xbf{"prompt": "a", "id": "x"}\r\n\r\n"b"\r\n{"prompt": "c", "id": "x"}\r\n')
    assert [(one.line, one.id) for one in lines.prompts] == [(1, "x"), (3, "3")]
    assert lines.broken_in_words() == "line 4: its id 'x' is that of line 1"
    deep = read_file(b"[" * 100_000)
    assert len(deep.broken) == 1
