"""One batch asked live: through the gateway, several prompts at a time, each answer stored as soon as it comes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, cast

import anyio

from zen_mcp.errors import (
    BudgetExceeded,
    RateLimitExceeded,
    Refused,
    StorageError,
    VendorAuthFailed,
    VendorRateLimited,
    ZenError,
)
from zen_mcp.figures import dollars
from zen_mcp.jobs.batch_order import AskingOrder
from zen_mcp.observability.logs import EventLog
from zen_mcp.storage.batches import Batch, BatchCounts, BatchItem, BatchTable
from zen_mcp.types import Caller, JSONObject, Message, ModelRequest, ModelResponse

_log = EventLog()

Ask: TypeAlias = Callable[[ModelRequest], Awaitable[ModelResponse]]

TOOL = "batch"
_STOPS_ALL = (BudgetExceeded, VendorAuthFailed)
"""What would meet every other prompt too: the batch stops, to be gone on with when it is mended."""
_PAUSE_SECONDS = 5.0
_LONGEST_PAUSE_SECONDS = 60.0
_MOST_VENDOR_REFUSALS = 6
_STORE_SECONDS = (0.5, 1.0, 2.0, 4.0)
"""Between attempts to store an answer in a database that fails."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One worker's making of a batch.

    `runner` is what it calls itself: once another has taken the batch over, it asks nothing more. `tell` takes a line
    of progress.
    """

    batch: Batch
    runner: str
    table: BatchTable
    tell: Callable[[str], Awaitable[None]]


class LiveRun:
    """Asks all items that wait.

    Args:
        run: whose items.
        ask: the gateway.
        parallel: how many at a time.
        counts: how far the batch is.

    Attributes:
        stopped: why it stopped before the end.
    """

    def __init__(self, run: Run, *, ask: Ask, parallel: int, counts: BatchCounts) -> None:
        self._run = run
        self._ask = ask
        self._parallel = parallel
        self._counts = counts
        self._order = AskingOrder([])
        self._resume_at = 0.0
        self.stopped: ZenError | None = None

    async def make(self) -> None:
        """Ask until all have an answer or an error; what is on its way when it is stopped is waited for.

        Raises:
            ZenError: why it stopped.
        """
        items = await self._run.table.items(self._run.batch.id, state="waiting")
        self._order = AskingOrder(items)
        async with anyio.create_task_group() as group:
            for _ in range(min(self._parallel, len(items))):
                group.start_soon(self._work)
        if self.stopped is not None:
            raise self.stopped

    async def _work(self) -> None:
        while (item := await self._order.next()) is not None:
            try:
                await self._answer(item)
            except ZenError as exc:
                self._stop(exc)
            finally:
                self._order.ended(item)

    def _stop(self, why: ZenError) -> None:
        self.stopped = self.stopped or why
        self._order.close()

    async def _answer(self, item: BatchItem) -> None:
        """Ask until there is an answer or an error.

        Raises:
            ZenError: the batch cannot go on.
        """
        refusals = 0
        while self.stopped is None:
            await self._pause()
            if self.stopped is not None:
                return
            if not await self._run.table.claim(self._run.batch.id, item.line, runner=self._run.runner):
                raise Refused("Another worker goes on with this batch.")
            item = replace(item, attempts=item.attempts + 1)
            try:
                kept = done(item, await self._ask(request_of(self._run.batch, item)))
            except RateLimitExceeded as exc:
                self._hold(exc.retry_after_seconds or _PAUSE_SECONDS)
                continue
            except _STOPS_ALL:
                raise
            except VendorRateLimited as exc:
                refusals += 1
                if refusals < _MOST_VENDOR_REFUSALS:
                    self._hold(min(exc.retry_after_seconds or 2.0**refusals, _LONGEST_PAUSE_SECONDS))
                    continue
                kept = failed(item, exc)
            except ZenError as exc:
                kept = failed(item, exc)
            except Exception as exc:  # noqa: BLE001 - a crash over one prompt must not lose the answers to the others
                _log.error("batch_item_crashed", batch=self._run.batch.id, line=item.line, exc_info=exc)
                kept = failed(item, ZenError(f"internal error at line {item.line}; the server's log has the details"))
            await self._keep(kept)
            return

    def _hold(self, seconds: float) -> None:
        """Nobody asks for so long."""
        self._resume_at = max(self._resume_at, anyio.current_time() + seconds)

    async def _pause(self) -> None:
        while (seconds := self._resume_at - anyio.current_time()) > 0:  # noqa: ASYNC110 - it may be moved meanwhile
            await anyio.sleep(seconds)

    async def _keep(self, item: BatchItem) -> None:
        """Store an answer, whatever happens to the job meanwhile: it is paid for.

        Raises:
            StorageError: the database fails for long.
        """
        with anyio.CancelScope(shield=True):
            for seconds in (*_STORE_SECONDS, None):
                try:
                    with anyio.fail_after(30):
                        await self._run.table.keep(self._run.batch.id, [item])
                    break
                except (StorageError, TimeoutError) as exc:
                    if seconds is None:
                        raise StorageError("An answer could not be stored.", "Check the database.") from exc
                    await anyio.sleep(seconds)
        self._counts = counted(self._counts, item)
        await self._run.tell(progress_words(self._counts))


def request_of(batch: Batch, item: BatchItem) -> ModelRequest:
    """What is asked for an item, in the name of whoever handed the batch in."""
    asked = cast("dict[str, Any]", item.request)
    system = asked.get("system")
    question = Message(role="user", text=str(asked["prompt"]))
    return ModelRequest(
        request_id=f"{batch.id}-{item.line}",
        model=batch.model,
        messages=(Message(role="system", text=str(system)), question) if system else (question,),
        tool=TOOL,
        caller=caller_of(batch),
        temperature=asked.get("temperature"),
        thinking=asked.get("thinking"),
        max_output_tokens=asked.get("max_output_tokens"),
        json_schema=asked.get("json_schema"),
        fallbacks=False,
        only_models=tuple(cast("list[str]", batch.asker.get("only_models") or ())),
        idempotency_key=item.key,
    )


def caller_of(batch: Batch) -> Caller:
    """Who handed the batch in."""
    fields = dict(cast("dict[str, Any]", batch.asker["caller"]))
    for name in ("tools", "models"):
        fields[name] = None if fields.get(name) is None else tuple(fields[name])
    return Caller(**fields)


def done(item: BatchItem, response: ModelResponse) -> BatchItem:
    """The item with its answer; one of which only a part came has failed."""
    usage = response.usage
    result: JSONObject = {"text": response.text, "model": response.model, "answered_by": response.answered_by}
    if usage is not None:
        result |= {"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens}
        result |= {"cached_tokens": usage.cached_tokens} if usage.cached_tokens else {}
    if response.finish_reason:
        result["finish_reason"] = response.finish_reason
    if response.cached:
        result["cached"] = True
    if response.notes:
        result["notes"] = list(response.notes)
    spent = replace(item, tokens=usage.total_tokens if usage else None, dollars=response.cost_dollars)
    if response.partial:
        error: JSONObject = {"kind": "PartialAnswer", "problem": "; ".join(response.notes), "part": response.text}
        return replace(spent, state="failed", error=error)
    return replace(spent, state="done", result=result)


def failed(item: BatchItem, exc: ZenError) -> BatchItem:
    """The item with the reason why it has no answer."""
    return replace(item, state="failed", error={"kind": exc.kind, "problem": exc.problem, "fix": exc.fix})


def counted(counts: BatchCounts, item: BatchItem) -> BatchCounts:
    """The counts when an item that waited has ended."""
    is_done = item.state == "done"
    return replace(
        counts,
        waiting=counts.waiting - 1,
        done=counts.done + is_done,
        failed=counts.failed + (not is_done),
        tokens=counts.tokens + (item.tokens or 0),
        dollars=counts.dollars + (item.dollars or 0.0),
        unpriced=counts.unpriced + (is_done and item.dollars is None),
    )


def progress_words(counts: BatchCounts) -> str:
    """`312 of 1,000, 2 failed, $1.20`."""
    parts = [f"{counts.done:,} of {counts.total:,}"]
    if counts.failed:
        parts.append(f"{counts.failed:,} failed")
    if counts.unpriced and not counts.dollars:
        parts.append("cost unknown")
    else:
        parts.append(f"{dollars(counts.dollars)}{'+' if counts.unpriced else ''}")
    return ", ".join(parts)
