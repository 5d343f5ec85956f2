"""One batch made by its vendor's batch API: handed in once, followed, and its answers stored."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import anyio

from zen_mcp.catalog.model import Model
from zen_mcp.errors import Refused, VendorError, VendorNotFound, VendorTimeout
from zen_mcp.jobs.batch_run import TOOL, Run, caller_of, done, failed, request_of
from zen_mcp.observability.logs import EventLog
from zen_mcp.providers.batches import VendorBatch, VendorBatches
from zen_mcp.storage.batches import BatchItem
from zen_mcp.storage.ledger import Ledger, LedgerRow
from zen_mcp.types import JSONObject, ModelResponse

_log = EventLog()

_FIRST_LOOK_SECONDS = 1.0
_LONGEST_LOOK_SECONDS = 60.0
_LOOKS_GROW = 1.5
_ROWS_AT_ONCE = 200


class VendorRun:
    """Has the vendor answer all items that wait; those it does not answer wait on, to be asked live.

    How far it is stands with the batch, so that another process goes on: a batch that was handed in is looked for
    before one is handed in again.

    Args:
        run: whose items.
        model: the way to reach the model.
        vendors: vendors' batch APIs.
        ledger: where the answers are noted, as the gateway would.
    """

    def __init__(self, run: Run, *, model: Model, vendors: VendorBatches, ledger: Ledger) -> None:
        self._run = run
        self._model = model
        self._vendors = vendors
        self._ledger = ledger
        self._state: JSONObject = dict(run.batch.vendor or {})

    async def make(self) -> None:
        """Hand in, follow, store.

        Raises:
            Refused: somebody has cancelled the vendor's batch, or another worker goes on with it.
            VendorError: the vendor has the batch, and cannot be asked about it.
            StorageError: the database fails.
        """
        if self._state.get("ended"):
            return
        batch = await self._handed_in()
        if batch is not None:
            await self._finish(await self._followed(batch))
        await self._note(ended=True)

    async def _handed_in(self) -> VendorBatch | None:
        """The vendor's batch; None where it takes none, and all is asked live."""
        known = self._state.get("batch")
        if isinstance(known, str):
            return VendorBatch(id=known, status="known")
        # A process may have handed it in just before it died.
        found = await self._found() if self._state.get("asked") else None
        found = found or await self._created()
        if found is not None:
            await self._note(batch=found.id)
        return found

    async def _found(self) -> VendorBatch | None:
        """The batch that bears this job's mark at the vendor; not knowing is no answer, so it is asked until it says.

        Raises:
            VendorError: it does not let itself be asked.
        """
        pause = _FIRST_LOOK_SECONDS
        while True:
            try:
                return await self._vendors.find(self._model, mark=self._run.batch.job)
            except VendorError as exc:
                if not _may_pass(exc):
                    raise
                _log.warning("vendor_batch_not_seen", batch=self._run.batch.id, reason=exc.problem)
            await anyio.sleep(pause)
            pause = min(pause * _LOOKS_GROW, _LONGEST_LOOK_SECONDS)

    async def _created(self) -> VendorBatch | None:
        items = await self._run.table.items(self._run.batch.id, state="waiting")
        if not items:
            return None
        requests = {str(item.line): request_of(self._run.batch, item) for item in items}
        await self._note(asked=True, deployment=self._model.deployment)
        try:
            return await self._vendors.create(self._model, requests, mark=self._run.batch.job)
        except VendorError as exc:
            _log.warning("vendor_batch_not_made", batch=self._run.batch.id, reason=exc.problem)
            await self._note(problem=exc.problem)
            # It may have been made though the answer was lost.
            return await self._found() if _may_pass(exc) else None

    async def _followed(self, batch: VendorBatch) -> VendorBatch | None:
        """The batch when it has ended; None when the vendor does not know it any more."""
        pause = _FIRST_LOOK_SECONDS
        total = (await self._run.table.counts(self._run.batch.id)).total
        while True:
            try:
                batch = await self._vendors.get(self._model, batch.id)
            except VendorNotFound:
                return None
            except VendorError as exc:
                if not _may_pass(exc):
                    raise
                _log.warning("vendor_batch_not_seen", batch=self._run.batch.id, reason=exc.problem)
            if batch.has_ended:
                return batch
            await self._run.tell(f"{batch.answered:,} of {total:,}, at the vendor ({batch.status})")
            await anyio.sleep(pause)
            pause = min(pause * _LOOKS_GROW, _LONGEST_LOOK_SECONDS)

    async def _finish(self, batch: VendorBatch | None) -> None:
        """Store what the vendor has answered."""
        if batch is None:
            await self._note(problem="the vendor does not know its batch any more")
            return
        if batch.problem:
            await self._note(problem=batch.problem)
        answers = await self._vendors.answers(self._model, batch)
        items = await self._run.table.items(self._run.batch.id, state="waiting")
        ended = [_ended(item, answers[str(item.line)]) for item in items if str(item.line) in answers]
        await self._store(ended)
        for item in ended:
            self._ledger.add(self._row(item, answers[str(item.line)]))
        if batch.status == "cancelled" and len(ended) < len(items):
            raise Refused("The batch was cancelled at its vendor.", "zen batch retry makes what is left.")

    async def _store(self, items: Sequence[BatchItem]) -> None:
        with anyio.CancelScope(shield=True):
            for start in range(0, len(items), _ROWS_AT_ONCE):
                await self._run.table.keep(self._run.batch.id, items[start : start + _ROWS_AT_ONCE])

    async def _note(self, **more: str | bool) -> None:
        self._state = {**self._state, **more}
        if not await self._run.table.note_vendor(self._run.batch.id, self._state, runner=self._run.runner):
            raise Refused("Another worker goes on with this batch.")

    def _row(self, item: BatchItem, answer: ModelResponse | VendorError) -> LedgerRow:
        caller = caller_of(self._run.batch)
        row = LedgerRow(
            at=time.time(),
            kind="model",
            call_id=f"{self._run.batch.id}-{item.line}",
            user_id=caller.user_id,
            team=caller.team,
            client=caller.client_name,
            tool=TOOL,
            asked=self._model.name,
            model=self._model.name,
            vendor=self._model.vendor,
        )
        if isinstance(answer, VendorError):
            return replace(row, status="failed", error=answer.kind)
        usage = answer.usage
        return replace(
            row,
            input_tokens=usage.input_tokens if usage else None,
            output_tokens=usage.output_tokens if usage else None,
            cached_tokens=usage.cached_tokens if usage else None,
            reasoning_tokens=usage.reasoning_tokens if usage else None,
            cost_dollars=answer.cost_dollars,
            attempts=1,
        )


def _may_pass(exc: VendorError) -> bool:
    return exc.retryable or isinstance(exc, VendorTimeout)


def _ended(item: BatchItem, answer: ModelResponse | VendorError) -> BatchItem:
    asked = replace(item, attempts=item.attempts + 1)
    return failed(asked, answer) if isinstance(answer, VendorError) else done(asked, answer)
