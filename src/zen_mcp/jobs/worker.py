"""Does jobs: DBOS hands them out and keeps them from being lost, the event loop of the server runs them.

Each worker beats in our own database. One whose beat stops is dead, and the others take its jobs over: DBOS by
itself takes up only what a worker of the same name had left.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import CancelledError, Future
from dataclasses import asdict
from importlib import import_module
from typing import Any, TypeAlias

import anyio
from anyio.abc import TaskGroup
from anyio.from_thread import BlockingPortal

from zen_mcp.errors import StorageError, ZenError
from zen_mcp.jobs.job import Handlers, JobRun, NewJob, new_job_id
from zen_mcp.jobs.store import APPLICATION, QUEUE, SCHEMA, VERSION, WORKFLOW, JobStore, attributes_of, import_dbos
from zen_mcp.observability.logs import EventLog
from zen_mcp.storage.base import Database, Transaction
from zen_mcp.types import JSONObject

_log = EventLog()

BEAT_SECONDS = 2.0
DEAD_SECONDS = 10.0
"""A worker that was silent for so long is dead."""
_LOOK_SECONDS = 1.0
_TELL_SECONDS = 1.0
_FORGET_SECONDS = 60.0
_STOP_SECONDS = 3.0
_READY_SECONDS = 30.0
_AGAIN_SECONDS = 10.0
_STORE_AGAIN_SECONDS = 1.0
_MOST_TRIES = 20
"""A job that has ended so many workers is given up."""


class _Interrupted(BaseException):
    """This worker stops: the job is neither done nor failed, and is left to another worker.

    Not an Exception, because DBOS stores those as the job's end.
    """


Outcome: TypeAlias = Callable[[str], Awaitable[JSONObject]]
"""Waits for the end of a call that runs already, now as the job of this id: returns its result, or raises."""


class JobWorker:
    """One process's worker.

    Args:
        store: where the jobs are.
        database: where workers beat.
        concurrency: jobs at the same time.

    Attributes:
        at_once: begin at once; else when a job is handed in here, or one is found that waits.
        handlers: what does each kind of job; may be exchanged while it works.
        fault: why no jobs are done, in words; empty where they are.
        calls: owns calls that may become jobs; None while it does not run.
    """

    def __init__(self, store: JobStore, database: Database, *, concurrency: int = 8, at_once: bool = False) -> None:
        self.store = store
        self.handlers: Handlers = {}
        self.id = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self.calls: TaskGroup | None = None
        self._database = database
        self._concurrency = concurrency
        self.at_once = at_once
        self.fault = ""
        self._running: dict[str, Future[str]] = {}
        self._adopted: dict[str, Outcome] = {}
        self._portal: BlockingPortal | None = None
        self._ready = anyio.Event()
        self._stopping = False
        self._halt = threading.Event()
        self._ends: dict[str, str] = {}
        self._left: set[str] = set()
        self._stranded: set[str] = set()
        self._workflow: Any = None
        self._dbos: Any = None

    async def run(self) -> None:
        """Work until cancelled."""
        async with anyio.create_task_group() as calls:
            self.calls = calls
            try:
                if not self.at_once and not await self._has_work():
                    await self.store.handed_in.wait()
                while True:
                    try:
                        await self._work_on()
                    except Exception as exc:  # noqa: BLE001 - a server whose jobs cannot be done serves all else
                        self.fault = f"{type(exc).__name__}"
                        _log.error("jobs_not_done", again_in_seconds=_AGAIN_SECONDS, exc_info=exc)
                    await anyio.sleep(_AGAIN_SECONDS)
            finally:
                self.calls = None

    async def _work_on(self) -> None:
        async with BlockingPortal() as portal:
            self._portal = portal
            try:
                await self._beat()
                await anyio.to_thread.run_sync(self._launch)
                self._ready.set()
                self.fault = ""
                async with anyio.create_task_group() as group:
                    group.start_soon(self._keep_beating)
                    await self._watch_for_cancelled()
            finally:
                await self._stop()

    async def adopt(self, job: NewJob, outcome: Outcome) -> str:
        """Make a job of a call that runs already; should this process die, another runs the call anew.

        Raises:
            StorageError, ConfigError: it cannot be stored.
        """
        identity = new_job_id()
        self.store.handed_in.set()
        with anyio.move_on_after(_READY_SECONDS) as scope:
            await self._ready.wait()
        if scope.cancelled_caught:
            raise StorageError("The jobs are not ready.", "The server's log says why.")
        self._adopted[identity] = outcome
        try:
            await anyio.to_thread.run_sync(self._start, identity, job)
        except Exception as exc:
            self._adopted.pop(identity, None)
            raise StorageError(f"The job cannot be stored ({type(exc).__name__}).", "Check the database.") from exc
        return identity

    async def _has_work(self) -> bool:
        try:
            return bool(await self.store.unfinished())
        except ZenError as exc:
            _log.warning("jobs_not_read", reason=exc.problem)
            return False

    # --- in the event loop

    async def _do(self, identity: str, job: NewJob) -> str:
        """Do one job; its end as JSON."""
        adopted = self._adopted.pop(identity, None)
        try:
            result = await (adopted(identity) if adopted else self._handle(identity, job))
            return json.dumps({"result": result})
        except ZenError as exc:
            error: JSONObject = {"kind": exc.kind, "problem": exc.problem, "fix": exc.fix}
        except Exception as exc:  # noqa: BLE001 - the border of a job: it ends as failed, the log has the details
            _log.error("job_crashed", job=identity, kind=job.kind, exc_info=exc)
            error = {"kind": "InternalError", "problem": f"internal error {identity}; the server's log has the details"}
        return json.dumps({"error": error})

    async def _handle(self, identity: str, job: NewJob) -> JSONObject:
        told = -_TELL_SECONDS

        async def tell(line: str) -> None:
            nonlocal told
            now = time.monotonic()
            if now - told < _TELL_SECONDS:
                return
            told = now
            try:
                await self.store.tell(identity, line)
            except ZenError as exc:
                _log.warning("job_progress_not_stored", job=identity, reason=exc.problem)

        handler = self.handlers[job.kind]
        return await handler(JobRun(id=identity, user_id=job.user_id, spec=job.spec, tell=tell))

    async def _keep_beating(self) -> None:
        forgotten = -_FORGET_SECONDS
        while True:
            await anyio.sleep(BEAT_SECONDS)
            try:
                await self._beat()
                await self._take_over()
                if time.monotonic() - forgotten >= _FORGET_SECONDS:
                    forgotten = time.monotonic()
                    await self.store.forget()
            except ZenError as exc:
                _log.warning("job_worker_beat_failed", reason=exc.problem)

    async def _beat(self) -> None:
        now, identity = time.time(), self.id

        def write(transaction: Transaction) -> None:
            transaction.execute(
                "INSERT INTO workers (id, seen_at) VALUES (:id, :now) ON CONFLICT (id) DO UPDATE SET seen_at = :now",
                {"id": identity, "now": now},
            )
            transaction.execute("DELETE FROM workers WHERE seen_at < :long_ago", {"long_ago": now - 3600})

        await self._database.run(write)

    async def _take_over(self) -> None:
        """Have the jobs of dead workers done by the living."""
        unfinished = await self.store.unfinished()
        await self._put_back({job for job, worker in unfinished if worker == self.id})
        holders = {worker for _, worker in unfinished if worker}
        oldest = time.time() - DEAD_SECONDS

        def living(transaction: Transaction) -> set[str]:
            rows = transaction.rows("SELECT id FROM workers WHERE seen_at >= :oldest", {"oldest": oldest})
            return {str(row["id"]) for row in rows}

        dead = sorted(holders - await self._database.run(living))
        if dead:
            _log.warning("jobs_taken_over", workers=len(dead))
            # Puts back only what still belongs to the dead, so two that see it at the same time do no harm.
            take_over: Any = import_dbos().DBOS._recover_pending_workflows  # noqa: SLF001 - no public name for it
            await anyio.to_thread.run_sync(take_over, dead)

    async def _put_back(self, ours: set[str]) -> None:
        """Hand out again what has ended here and has not in the database, for its end found no room there.

        What its step came to is stored, so nothing is asked again.
        """
        self._left &= ours
        again, self._stranded = self._left & self._stranded, set(self._left)
        for identity in again:
            _log.warning("job_put_back", job=identity)
            put_back = self._dbos._sys_db.reenqueue_for_recovery  # noqa: SLF001 - no public name for it
            await anyio.to_thread.run_sync(put_back, identity, [self.id], QUEUE)

    async def _watch_for_cancelled(self) -> None:
        """Stop the jobs that their owners have cancelled, perhaps in another process."""
        while True:
            await anyio.sleep(_LOOK_SECONDS)
            if not self._running:
                continue
            try:
                cancelled = await self.store.cancelled([*self._running])
            except ZenError as exc:
                _log.warning("jobs_not_read", reason=exc.problem)
                continue
            for identity in cancelled & self._running.keys():
                self._running[identity].cancel()

    async def _stop(self) -> None:
        """Leave the jobs to others: they see at once that this worker is gone."""
        self._stopping = True
        self._halt.set()
        identity = self.id
        for future in [*self._running.values()]:
            future.cancel()
        with anyio.move_on_after(_STOP_SECONDS, shield=True):
            try:
                await self._database.run(lambda t: t.execute("DELETE FROM workers WHERE id = :id", {"id": identity}))
            except ZenError as exc:
                _log.warning("job_worker_not_forgotten", reason=exc.problem)
            await anyio.to_thread.run_sync(import_dbos().DBOS.destroy, abandon_on_cancel=True)

    # --- in DBOS's threads

    def _launch(self) -> None:
        dbos = import_dbos()
        self._dbos = dbos.DBOS(
            config={
                "name": APPLICATION,
                "system_database_url": self.store.url,
                "dbos_system_schema": SCHEMA,
                "application_version": VERSION,
                "executor_id": self.id,
                "log_level": "ERROR",
                "enable_otlp": False,
                "serializer": dbos.DBOSPortableJSONSerializer(),
                "notification_listener_polling_interval_sec": 1.0,
            }
        )

        def zen_job(job: str) -> str:
            return self._work(job)  # DBOS marks the function, which a method does not let it do

        self._workflow = dbos.DBOS.workflow(name=WORKFLOW, max_recovery_attempts=_MOST_TRIES)(zen_job)
        dbos.DBOS.launch()
        dbos.DBOS.register_queue(
            QUEUE, worker_concurrency=self._concurrency, polling_interval_sec=0.5, on_conflict="always_update"
        )

    def _start(self, identity: str, job: NewJob) -> None:
        """Begin a job in this process, past the queue."""
        dbos = import_dbos()
        with (
            dbos.SetWorkflowID(identity),
            dbos.SetWorkflowAttributes(attributes_of(job)),
            dbos.DBOSContextSetAuth(job.user_id, []),
        ):
            dbos.DBOS.start_workflow(self._workflow, json.dumps(asdict(job)))

    def _work(self, job: str) -> str:
        """The workflow: one step, which is the whole job; again, with what it came to, until that is stored."""
        # What DBOS stands on, and comes with it.
        dbos, failure = import_dbos(), import_module("sqlalchemy.exc").SQLAlchemyError
        identity = str(dbos.DBOS.workflow_id)
        self._left.discard(identity)
        try:
            while True:
                try:
                    return dbos.DBOS.run_step({"name": "do"}, self._step, identity, NewJob(**json.loads(job)))
                except failure as exc:
                    if identity not in self._ends:
                        raise
                    _log.warning("job_end_not_stored", job=identity, reason=type(exc).__name__)
                    if self._halt.wait(_STORE_AGAIN_SECONDS):
                        raise _Interrupted from exc
        finally:
            self._ends.pop(identity, None)
            self._left.add(identity)

    def _step(self, identity: str, job: NewJob) -> str:
        if self._stopping or self._portal is None:
            raise _Interrupted
        if identity in self._ends:
            return self._ends[identity]
        future = self._running[identity] = self._portal.start_task_soon(self._do, identity, job)
        try:
            end = self._ends[identity] = future.result()
        except CancelledError:
            if self._stopping:
                raise _Interrupted from None
            raise
        finally:
            self._running.pop(identity, None)
        return end
