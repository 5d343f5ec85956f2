"""Fine-tuning: a vendor's job is followed by one of ours, and its model is put into the catalog."""

from __future__ import annotations

from dataclasses import dataclass

import anyio

from zen_mcp.catalog import Catalog
from zen_mcp.catalog.model import Model
from zen_mcp.config.tuned import TunedModel
from zen_mcp.errors import (
    InvalidArguments,
    Refused,
    StorageError,
    UnknownModel,
    VendorBadAnswer,
    VendorError,
    VendorRejected,
    VendorTimeout,
    ZenError,
)
from zen_mcp.jobs.job import ENDED, Job, JobRun, NewJob, new_job_id
from zen_mcp.jobs.store import JobStore
from zen_mcp.observability.logs import EventLog
from zen_mcp.providers.fine_tuning import VendorTuning, VendorTunings, takes_tuning, tuned_name
from zen_mcp.storage.tuned import TunedModels
from zen_mcp.types import Caller, JSONObject

_log = EventLog()

KIND = "finetune"
_FIRST_LOOK_SECONDS = 1.0
_LONGEST_LOOK_SECONDS = 60.0
_LOOKS_GROW = 1.5
_CANCEL_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """A fine-tuning that was handed in: our job, the vendor's, and what its model will be called here."""

    job: str
    vendor_job: str
    name: str


class Tunings:
    """Every user's fine-tunings.

    Args:
        jobs: which follow them.
        catalog: the models.
        vendors: vendors' fine-tuning APIs.
        models: where finished models are kept.
    """

    def __init__(self, *, jobs: JobStore, catalog: Catalog, vendors: VendorTunings, models: TunedModels) -> None:
        self._jobs = jobs
        self._catalog = catalog
        self._vendors = vendors
        self._models = models

    async def create(
        self, content: bytes, *, model: Model, caller: Caller, suffix: str | None, name: str | None
    ) -> Tuning:
        """Hand checked examples in at the vendor, and have its job followed.

        Raises:
            InvalidArguments: the model cannot be trained from here, or the name is taken.
            VendorError: the vendor does not take it.
            StorageError, ConfigError: the job cannot be stored; the vendor's goes on, and its id is said.
        """
        way = takes_tuning(model)
        if way is None:
            text = f"'{model.name}' ({model.vendor}) cannot be fine-tuned from here."
            raise InvalidArguments(text, "OpenAI, Azure and servers that speak OpenAI's API can.")
        wished = name or f"{model.name}-{suffix or 'tuned'}"
        self._check_name(wished)
        made = await self._vendors.create(way, content, suffix=suffix)
        identity = new_job_id()
        spec: JSONObject = {
            "model": model.name,
            "deployment": way.deployment,
            "vendor_job": made.id,
            "name": wished,
        }
        job = NewJob(kind=KIND, user_id=caller.user_id, title=f"finetune: {model.name} as {wished}", spec=spec)
        try:
            await self._jobs.hand_in(job, identity=identity)
        except ZenError as exc:
            raise StorageError(
                f"The vendor's job {made.id} runs, but it cannot be followed: {exc.problem}", exc.fix
            ) from exc
        return Tuning(job=identity, vendor_job=made.id, name=wished)

    async def list(self, *, user_id: str) -> list[Job]:
        """The user's fine-tunings, the newest first. Raises StorageError."""
        return [job for job in await self._jobs.list(user_id=user_id) if job.kind == KIND]

    async def status(self, identity: str, *, user_id: str) -> Job:
        """How far one is.

        Raises:
            UnknownJob: there is none, or it is another user's.
            StorageError: the database fails.
        """
        return await self._jobs.get(identity, user_id=user_id)

    async def cancel(self, identity: str, *, user_id: str) -> Job:
        """Have one stopped, at the vendor too.

        Raises:
            UnknownJob, StorageError: as `status`.
            VendorError: the vendor does not stop it.
        """
        job = await self._jobs.get(identity, user_id=user_id)
        if job.state not in ENDED:
            spec = await self._jobs.spec(job.id, user_id=user_id)
            await self._vendors.cancel(self._way(spec), str(spec["vendor_job"]))
        return await self._jobs.cancel(job.id, user_id=user_id)

    async def run(self, job: JobRun) -> JSONObject:
        """Follow the vendor's job of a job, and put its model into the catalog.

        Raises:
            ZenError: it has no model.
        """
        vendor_job, name = str(job.spec["vendor_job"]), str(job.spec["name"])
        way = self._way(job.spec)
        try:
            told = await self._followed(job, way, vendor_job)
        except anyio.get_cancelled_exc_class():
            await self._left(job, way, vendor_job)
            raise
        if told.status == "cancelled":
            raise Refused(f"The vendor's job {vendor_job} was cancelled.", "zen finetune create begins another.")
        if told.status == "failed":
            raise VendorRejected(f"The vendor's job {vendor_job} failed: {told.problem or 'no reason given'}.")
        if not told.model:
            raise VendorBadAnswer(f"The vendor's job {vendor_job} succeeded without naming its model.")
        await self._note(
            TunedModel(
                name=name,
                base=str(job.spec["model"]),
                litellm_model=tuned_name(way, told.model),
                deployment=str(job.spec["deployment"]),
            )
        )
        text = f"'{name}' can be asked: {told.model}, made of {job.spec['model']}."
        found: JSONObject = {"model": name, "vendor_model": told.model, "trained_tokens": told.tokens}
        return {"text": text, "structured": found}

    async def _followed(self, job: JobRun, way: Model, vendor_job: str) -> VendorTuning:
        """The vendor's job when it has ended."""
        pause = _FIRST_LOOK_SECONDS
        while True:
            try:
                told = await self._vendors.get(way, vendor_job)
            except VendorError as exc:
                if not (exc.retryable or isinstance(exc, VendorTimeout)):
                    raise
                _log.warning("vendor_tuning_not_seen", job=job.id, reason=exc.problem)
            else:
                if told.has_ended:
                    return told
                await job.tell(f"{told.status} at the vendor ({vendor_job})")
            await anyio.sleep(pause)
            pause = min(pause * _LOOKS_GROW, _LONGEST_LOOK_SECONDS)

    async def _left(self, job: JobRun, way: Model, vendor_job: str) -> None:
        """The job ends here: because its owner wants it, or because this worker stops and another goes on."""
        with anyio.move_on_after(_CANCEL_SECONDS, shield=True):
            try:
                if job.id in await self._jobs.cancelled([job.id]):
                    await self._vendors.cancel(way, vendor_job)
            except ZenError as exc:
                _log.warning("tuning_not_cancelled_at_vendor", job=job.id, reason=exc.problem)

    async def _note(self, model: TunedModel) -> None:
        try:
            await self._models.add(model)
        except StorageError as exc:
            problem = f"'{model.name}' is ready as {model.litellm_model}, but cannot be kept: {exc.problem}"
            raise StorageError(problem, "Add it to models.yaml.") from exc

    def _way(self, spec: JSONObject) -> Model:
        """The way to the vendor that has the job."""
        model = self._catalog.require(str(spec["model"]))
        ways = model.deployments or (model,)
        return next((way for way in ways if way.deployment == spec["deployment"]), ways[0])

    def _check_name(self, name: str) -> None:
        try:
            taken = self._catalog.resolve(name)
        except UnknownModel:
            return
        raise InvalidArguments(f"The name '{name}' is that of {taken.litellm_model}.", "Choose another with --alias.")
