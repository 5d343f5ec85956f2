"""Batches: many prompts for one model, handed in together and answered by a job."""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import cast

import anyio

from zen_mcp.catalog import Catalog
from zen_mcp.catalog.model import Model
from zen_mcp.errors import InvalidArguments, UnknownJob, ZenError
from zen_mcp.figures import dollars, estimate_tokens
from zen_mcp.jobs.batch_lines import MOST_LINES, Lines, Prompt
from zen_mcp.jobs.batch_run import Ask, LiveRun, Run, caller_of, progress_words
from zen_mcp.jobs.batch_vendor import VendorRun
from zen_mcp.jobs.job import ENDED, Job, JobRun, NewJob, new_job_id
from zen_mcp.jobs.store import JobStore
from zen_mcp.observability.logs import EventLog
from zen_mcp.providers.batches import PRICE_SHARE, WINDOW_SECONDS, VendorBatches, takes_batches
from zen_mcp.storage.base import Database
from zen_mcp.storage.batches import Batch, BatchCounts, BatchItem, BatchTable, ItemState
from zen_mcp.storage.ledger import Ledger
from zen_mcp.types import Caller, JSONObject

_log = EventLog()

KIND = "batch"
_CANCEL_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a batch would take, before it is handed in.

    `at_vendor`: it goes by the vendor's batch API, at half the price. Dollars are None where a price is unknown,
    `most_dollars` also where the length of an answer is.
    """

    model: str
    prompts: int
    input_tokens: int
    least_dollars: float | None
    most_dollars: float | None
    at_vendor: bool

    def in_words(self) -> str:
        """`1,000 prompts for opus, about 42,000 tokens in, $0.21 to $3.90`."""
        if self.least_dollars is None:
            cost = "cost unknown"
        elif self.most_dollars is None:
            cost = f"at least {dollars(self.least_dollars)}"
        elif self.most_dollars == self.least_dollars:
            cost = dollars(self.least_dollars)
        else:
            cost = f"{dollars(self.least_dollars)} to {dollars(self.most_dollars)}"
        prompts = f"{self.prompts:,} prompt{'s' if self.prompts != 1 else ''}"
        way = ", by the vendor's batch API (half price)" if self.at_vendor else ""
        return f"{prompts} for {self.model}, about {self.input_tokens:,} tokens in, {cost}{way}"


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchStatus:
    """A batch, how far it is, and its job."""

    batch: Batch
    counts: BatchCounts
    job: Job

    def in_words(self) -> str:
        """`j-… running: 312 of 1,000, 2 failed, $1.20`."""
        error = f" {self.job.error.get('problem')} {self.job.error.get('fix', '')}".rstrip() if self.job.error else ""
        return f"{self.batch.id} {self.job.state}: {progress_words(self.counts)}{error and '.' + error}"


class Batches:
    """Every user's batches.

    Args:
        database: where they are kept.
        jobs: which makes them.
        catalog: the models.
        ask: the gateway.
        parallel: prompts of one batch at the same time.
        vendors: vendors' batch APIs.
        at_vendors: whether batches with time go there. A vendor's batch cannot be stopped at a budget.
        ledger: where the answers of vendors' batches are noted.
    """

    def __init__(
        self,
        *,
        database: Database,
        jobs: JobStore,
        catalog: Catalog,
        ask: Ask,
        parallel: int,
        vendors: VendorBatches,
        at_vendors: bool = True,
        ledger: Ledger,
    ) -> None:
        self._table = BatchTable(database)
        self._jobs = jobs
        self._catalog = catalog
        self._ask = ask
        self._parallel = parallel
        self._vendors = vendors
        self._at_vendors = at_vendors
        self._ledger = ledger

    def plan(self, prompts: Sequence[Prompt], *, model: Model, deadline_seconds: float | None = None) -> Plan:
        """What the prompts would take."""
        at_vendor = self._goes_to_vendor(model, deadline_seconds)
        share = PRICE_SHARE if at_vendor else 1.0
        tokens = sum(estimate_tokens(f"{prompt.asked.system}{prompt.asked.prompt}") for prompt in prompts)
        price_in, price_out = model.price.input_dollars_per_token, model.price.output_dollars_per_token
        least = None if price_in is None or price_out is None else tokens * price_in * share
        most = None
        if least is not None and price_out is not None:
            limits = [prompt.asked.max_output_tokens or model.max_output for prompt in prompts]
            known = [limit for limit in limits if limit]
            if price_out == 0 or len(known) == len(limits):
                most = least + sum(known) * price_out * share
        return Plan(
            model=model.name,
            prompts=len(prompts),
            input_tokens=tokens,
            least_dollars=least,
            most_dollars=most,
            at_vendor=at_vendor,
        )

    async def submit(
        self,
        prompts: Sequence[Prompt],
        *,
        model: Model,
        caller: Caller,
        title: str,
        deadline_seconds: float | None = None,
        only_models: Sequence[str] = (),
    ) -> Batch:
        """Store the prompts and hand the job in.

        Raises:
            InvalidArguments: no prompts, or too many.
            StorageError, ConfigError: it cannot be stored.
        """
        if not prompts:
            raise InvalidArguments(
                "There is no prompt to ask.", 'Each line is {"prompt": "…"}; docs/batch.md says more.'
            )
        if len(prompts) > MOST_LINES:
            text = f"There are {len(prompts):,} prompts; a batch takes {MOST_LINES:,}."
            raise InvalidArguments(text, "Hand them in as several batches.")
        identity = new_job_id()
        batch = Batch(
            id=identity,
            user_id=caller.user_id,
            job=identity,
            title=" ".join(title.split())[:60],
            model=model.name,
            created_at=time.time(),
            deadline_seconds=deadline_seconds,
            asker={"caller": cast("JSONObject", asdict(caller)), "only_models": [*only_models]},
        )
        await self._table.create(batch, [_item(identity, prompt) for prompt in prompts])
        await self._jobs.hand_in(_job(batch, len(prompts)), identity=identity)
        return batch

    async def list(self, *, user_id: str) -> Sequence[tuple[Batch, BatchCounts]]:
        """The user's batches, the newest first. Raises StorageError."""
        return await self._table.list(user_id=user_id)

    async def find(self, identity: str, *, user_id: str) -> Batch:
        """A batch of the user, by its id or that of its job.

        Raises:
            UnknownJob: there is none, or it is another user's.
            StorageError: the database fails.
        """
        wanted = identity.strip().strip("'\"`").lower()
        found = await self._table.find(wanted, user_id=user_id)
        if found is None:
            raise UnknownJob(f"There is no batch '{wanted[:40]}'.", "zen batch list shows yours.")
        return found

    async def status(self, identity: str, *, user_id: str) -> BatchStatus:
        """How far a batch is.

        Raises:
            UnknownJob, StorageError: as `find`.
        """
        batch = await self.find(identity, user_id=user_id)
        job = await self._jobs.get(batch.job, user_id=user_id)
        return BatchStatus(batch=batch, counts=await self._table.counts(batch.id), job=job)

    async def results(
        self, batch: Batch, *, state: ItemState | None = None, after: int = 0, limit: int = 1_000_000
    ) -> Sequence[JSONObject]:
        """One object for each line of the input behind a line, in its order. Raises StorageError."""
        items = await self._table.items(batch.id, state=state, after=after, limit=limit)
        return [result_of(item) for item in items]

    async def retry(self, identity: str, *, user_id: str) -> BatchStatus:
        """Make what failed, or was not come to, again; what has its answer keeps it.

        Raises:
            InvalidArguments: the batch is still under way, or nothing is left.
            UnknownJob, StorageError: as `find`.
        """
        found = await self.status(identity, user_id=user_id)
        if found.job.state not in ENDED:
            raise InvalidArguments(f"'{found.batch.id}' is still {found.job.state}.", "Wait for its end, or cancel it.")
        left = found.counts.failed + found.counts.waiting
        if not left:
            raise InvalidArguments(f"All {found.counts.total:,} prompts of '{found.batch.id}' have their answers.")
        job = new_job_id()
        await self._table.again(found.batch.id, job=job)
        await self._jobs.hand_in(_job(found.batch, left), identity=job)
        return await self.status(found.batch.id, user_id=user_id)

    async def cancel(self, identity: str, *, user_id: str) -> BatchStatus:
        """Have it stopped, at the vendor too; what was answered stays.

        Raises:
            UnknownJob, StorageError: as `find`.
        """
        batch = await self.find(identity, user_id=user_id)
        await self._jobs.cancel(batch.job, user_id=user_id)
        await self._cancel_at_vendor(batch)
        return await self.status(batch.id, user_id=user_id)

    async def run(self, job: JobRun) -> JSONObject:
        """Make the batch of a job: by the vendor's batch API where that is wished for and possible, else live.

        Raises:
            ZenError: why it stopped before the end; what was answered is stored.
        """
        batch = await self.find(str(job.spec["batch"]), user_id=job.user_id)
        runner = secrets.token_hex(8)
        await self._table.take(batch.id, runner)
        run = Run(batch=batch, runner=runner, table=self._table, tell=job.tell)
        try:
            await self._made(run)
        except anyio.get_cancelled_exc_class():
            await self._left(job.id, batch)
            raise
        except ZenError as exc:
            raise await self._told(batch, exc) from exc
        counts = await self._table.counts(batch.id)
        text = f"{progress_words(counts)}. zen batch results {batch.id}, or batch(job='{batch.id}')."
        return {"text": text, "structured": {"job": batch.id, **summary(counts)}}

    def _goes_to_vendor(self, model: Model, deadline_seconds: float | None) -> bool:
        """Whether a batch goes by the vendor's batch API: only where there is time for it."""
        has_time = deadline_seconds is not None and deadline_seconds >= WINDOW_SECONDS
        return has_time and self._at_vendors and takes_batches(model) is not None

    async def _made(self, run: Run) -> None:
        model = self._catalog.seen_by(caller_of(run.batch).models).require(run.batch.model)
        way = takes_batches(model)
        # One that is there already is followed in any case: it is paid for.
        known = run.batch.vendor is not None
        if way is not None and (known or self._goes_to_vendor(model, run.batch.deadline_seconds)):
            await VendorRun(run, model=way, vendors=self._vendors, ledger=self._ledger).make()
        counts = await self._table.counts(run.batch.id)
        if counts.waiting:
            await run.tell(progress_words(counts))
            parallel = min(self._parallel, model.max_parallel or self._parallel)
            await LiveRun(run, ask=self._ask, parallel=parallel, counts=counts).make()

    async def _told(self, batch: Batch, exc: ZenError) -> ZenError:
        """The failure, with how far it came and how to go on."""
        counts = await self._table.counts(batch.id)
        fix = f"{exc.fix} What has its answer is kept; zen batch retry {batch.id} goes on."
        return type(exc)(f"{progress_words(counts)}. {exc.problem}", fix.strip())

    async def _left(self, job_id: str, batch: Batch) -> None:
        """The job ends here: because its owner wants it, or because this worker stops and another goes on."""
        with anyio.move_on_after(_CANCEL_SECONDS, shield=True):
            try:
                if job_id in await self._jobs.cancelled([job_id]):
                    await self._cancel_at_vendor(await self.find(batch.id, user_id=batch.user_id))
            except ZenError as exc:
                _log.warning("batch_not_cancelled_at_vendor", batch=batch.id, reason=exc.problem)

    async def _cancel_at_vendor(self, batch: Batch) -> None:
        state: Mapping[str, object] = batch.vendor or {}
        known = state.get("batch")
        if not isinstance(known, str) or state.get("ended"):
            return
        way = takes_batches(self._catalog.resolve(batch.model))
        if way is not None:
            try:
                await self._vendors.cancel(way, known)
            except ZenError as exc:
                _log.warning("batch_not_cancelled_at_vendor", batch=batch.id, reason=exc.problem)


def result_of(item: BatchItem) -> JSONObject:
    """A line of the results."""
    told: JSONObject = {"line": item.line, "id": item.id, "state": item.state}
    if item.result is not None:
        told |= item.result
    if item.error is not None:
        told["error"] = item.error
    if item.dollars is not None:
        told["dollars"] = item.dollars
    return {**told, "attempts": item.attempts}


def summary(counts: BatchCounts) -> JSONObject:
    """The counts as JSON."""
    return {**asdict(counts), "total": counts.total}


def broken(lines: Lines) -> InvalidArguments:
    """The refusal of a file with broken lines."""
    count = len(lines.broken)
    return InvalidArguments(
        f"{count:,} line{'s' if count != 1 else ''} cannot be asked: {lines.broken_in_words()}.",
        f"Mend them, or leave them out and ask the other {len(lines.prompts):,} (--yes, skip_broken).",
    )


def deadline(text: str) -> float:
    """`24h`, `90m`, `2d` in seconds.

    Raises:
        InvalidArguments: it is no such time.
    """
    units = {"m": 60.0, "h": 3_600.0, "d": 86_400.0}
    number, unit = text.strip()[:-1], text.strip()[-1:].lower()
    try:
        seconds = float(number) * units[unit]
    except (ValueError, KeyError):
        seconds = 0.0
    if not 0 < seconds < math.inf:
        raise InvalidArguments(f"'{text[:20]}' is no deadline.", "Write 24h, 90m or 2d.") from None
    return seconds


def _item(batch: str, prompt: Prompt) -> BatchItem:
    asked = cast("JSONObject", prompt.asked.model_dump(mode="json", exclude_none=True, exclude={"id"}))
    return BatchItem(line=prompt.line, id=prompt.id, key=f"{batch}-{prompt.line}", request=asked)


def _job(batch: Batch, prompts: int) -> NewJob:
    title = f"batch: {prompts:,} prompts for {batch.model}{f' ({batch.title})' if batch.title else ''}"
    return NewJob(kind=KIND, user_id=batch.user_id, title=title, spec={"batch": batch.id})
