"""Jobs as DBOS keeps them: hand in, list, wait, cancel. Needs no worker in this process."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar, cast

import anyio

from zen_mcp.errors import ConfigError, StorageError, UnknownJob
from zen_mcp.jobs.job import BRIEF_PREFIX, ENDED, Job, JobState, NewJob, new_job_id
from zen_mcp.types import JSONObject

WORKFLOW = "zen_job"
QUEUE = "zen"
APPLICATION = "zen"
VERSION = "1"
"""Of how jobs are kept. DBOS gives work to workers of the same version only."""
SCHEMA = "zen_jobs"
"""Where DBOS keeps its tables in Postgres."""
_POLL_SECONDS = 0.25
_KEEP = "keep_seconds"
"""What is known of a job that is not kept for ever: how long it is."""
_ROUNDS, _QUESTIONS, _ANSWER = "rounds", "questions", "answer:"
"""What is known of a job whose client was asked: how often, the questions by key, and each answer by itself."""
_STATES: dict[str, JobState] = {
    "ENQUEUED": "waiting",
    "DELAYED": "waiting",
    "PENDING": "running",
    "SUCCESS": "done",
    "ERROR": "failed",
    "MAX_RECOVERY_ATTEMPTS_EXCEEDED": "failed",
    "CANCELLED": "cancelled",
}

Result = TypeVar("Result")


class JobStore:
    """Every user's jobs.

    Args:
        database_url: a Postgres database; None for a file of SQLite.
        folder: where that file lies.
    """

    def __init__(self, *, database_url: str | None, folder: Path) -> None:
        self._file = folder / "jobs.db"
        self.url = database_url or f"sqlite:///{self._file}"
        self._shared = database_url is not None
        self._client: Any = None
        self._lock = Lock()
        self.handed_in = anyio.Event()
        """Set when this process hands a job in: it will need a worker."""

    @property
    def place(self) -> str:
        """Where the jobs are, without any password."""
        return f"{self.url.rpartition('@')[2]}" if self._shared else str(self._file)

    @property
    def installed(self) -> bool:
        """Whether DBOS is there."""
        return find_spec("dbos") is not None

    @property
    def is_there(self) -> bool:
        """Whether there may be any job; costs no connection."""
        return self.installed and (self._shared or self._file.exists())

    async def hand_in(self, job: NewJob, *, identity: str | None = None) -> str:
        """Store a job to be done by whichever worker is free; its id, a new one unless one is given.

        Raises:
            ConfigError: DBOS is not installed.
            StorageError: the database fails.
        """
        identity = identity or new_job_id(brief=job.keep_seconds is not None)
        options = {
            "workflow_name": WORKFLOW,
            "queue_name": QUEUE,
            "workflow_id": identity,
            "app_version": VERSION,
            "authenticated_user": job.user_id,
            "attributes": attributes_of(job),
        }
        text = json.dumps(asdict(job))
        await self._do(lambda client: client.enqueue(options, text))
        self.handed_in.set()
        return identity

    async def list(self, *, user_id: str, limit: int = 50, offset: int = 0) -> Sequence[Job]:
        """The user's jobs, the newest first, without their results.

        Raises:
            StorageError: the database fails.
        """
        if not self.is_there:
            return []
        found = await self._do(
            lambda client: client.list_workflows(
                name=WORKFLOW,
                user=user_id,
                sort_desc=True,
                limit=limit,
                offset=offset,
                load_input=False,
                load_output=False,
            )
        )
        jobs, now = [_job(status) for status in found], time.time()
        return [job for job in jobs if not job.is_over(now)]

    async def get(self, job_id: str, *, user_id: str) -> Job:
        """A job of the user.

        Raises:
            UnknownJob: there is none, or it is another user's.
            StorageError: the database fails.
        """
        wanted = job_id.strip().strip("'\"`").lower()
        found: Sequence[Any] = ()
        if self.is_there and len(wanted) <= 64:
            found = await self._do(
                lambda client: client.list_workflows(
                    workflow_ids=[wanted], name=WORKFLOW, user=user_id, load_input=False
                )
            )
        job = _job(found[0]) if found else None
        if job is None or job.is_over(time.time()):
            raise UnknownJob(f"There is no job '{wanted[:40]}'.", "jobs without arguments lists yours.")
        return job

    async def spec(self, job_id: str, *, user_id: str) -> JSONObject:
        """What a job of the user was handed in with.

        Raises:
            UnknownJob: there is none, or it is another user's.
            StorageError: the database fails.
        """
        wanted: dict[str, Any] = {"workflow_ids": [job_id], "user": user_id, "load_output": False}
        found = await self._do(lambda client: client.list_workflows(name=WORKFLOW, **wanted))
        if not found:
            raise UnknownJob(f"There is no job '{job_id[:40]}'.", "jobs without arguments lists yours.")
        return NewJob(**json.loads(found[0].input["args"][0])).spec

    async def wait(self, job_id: str, *, user_id: str, seconds: float) -> Job:
        """The job when it has ended, or as it is after so many seconds.

        Raises:
            UnknownJob, StorageError: as `get`.
        """
        deadline = anyio.current_time() + seconds
        while True:
            job = await self.get(job_id, user_id=user_id)
            if job.state in ENDED or anyio.current_time() >= deadline:
                return job
            await anyio.sleep(_POLL_SECONDS)

    async def cancel(self, job_id: str, *, user_id: str) -> Job:
        """Have a job stopped, wherever it runs; one that has ended stays as it is.

        Raises:
            UnknownJob, StorageError: as `get`.
        """
        job = await self.get(job_id, user_id=user_id)
        if job.state not in ENDED:
            await self._do(lambda client: client.cancel_workflow(job.id, cancel_children=True))
        return await self.get(job.id, user_id=user_id)

    async def tell(self, job_id: str, progress: str) -> None:
        """Note a line of progress.

        Raises:
            StorageError: the database fails.
        """
        await self._note(job_id, {"progress": progress})

    async def ask(
        self, job_id: str, questions: Mapping[str, JSONObject], *, user_id: str, seconds: float
    ) -> Mapping[str, JSONObject] | None:
        """Ask the job's client, and wait for all its answers, by the questions' names; None when the time is over.

        Raises:
            UnknownJob, StorageError: as `get`.
        """
        # A key is never used twice in a job's life, whatever process asks.
        asked = (await self.get(job_id, user_id=user_id)).rounds + 1
        keys = {name: f"{asked}-{name}" for name in questions}
        await self._note(job_id, {_ROUNDS: asked, _QUESTIONS: {keys[name]: one for name, one in questions.items()}})
        deadline = anyio.current_time() + seconds
        while anyio.current_time() < deadline:
            job = await self.get(job_id, user_id=user_id)
            if job.state in ENDED:
                return None
            if not job.questions:
                await self._note(job_id, {_QUESTIONS: {}})
                return {name: job.answers[key] for name, key in keys.items()}
            await anyio.sleep(_POLL_SECONDS)
        await self._note(job_id, {_QUESTIONS: {}})
        return None

    async def answer(self, job_id: str, answers: Mapping[str, JSONObject], *, user_id: str) -> None:
        """Note what the client answered; what it was not asked, or has answered before, is passed over.

        Raises:
            UnknownJob, StorageError: as `get`.
        """
        job = await self.get(job_id, user_id=user_id)
        taken = {_ANSWER + key: answer for key, answer in answers.items() if key in job.questions}
        if taken:
            await self._note(job.id, taken)

    async def unfinished(self) -> Sequence[tuple[str, str | None]]:
        """The id of each job that waits or runs, and the worker that has it.

        Raises:
            StorageError: the database fails.
        """
        if not self.is_there:
            return []
        wanted: dict[str, Any] = {"status": ["ENQUEUED", "PENDING"], "load_input": False, "load_output": False}
        found = await self._do(lambda client: client.list_workflows(name=WORKFLOW, **wanted))
        return [(str(s.workflow_id), s.executor_id if s.status == "PENDING" else None) for s in found]

    async def cancelled(self, job_ids: Sequence[str]) -> set[str]:
        """Which of these somebody has cancelled.

        Raises:
            StorageError: the database fails.
        """
        wanted: dict[str, Any] = {"workflow_ids": [*job_ids], "load_input": False, "load_output": False}
        found = await self._do(lambda client: client.list_workflows(status="CANCELLED", **wanted))
        return {str(status.workflow_id) for status in found}

    async def forget(self) -> None:
        """Remove the jobs that have ended and that nobody wants any more.

        Raises:
            StorageError: the database fails.
        """
        if not self.is_there:
            return
        wanted: dict[str, Any] = {"workflow_id_prefix": BRIEF_PREFIX, "load_input": False, "load_output": False}
        found = await self._do(lambda client: client.list_workflows(name=WORKFLOW, **wanted))
        over = [str(status.workflow_id) for status in found if _job(status).is_over(time.time())]
        if over:
            await self._do(lambda client: client.delete_workflows(over))

    async def aclose(self) -> None:
        """Close the connections; a second at most."""
        client, self._client = self._client, None
        if client is not None:
            with anyio.move_on_after(1, shield=True):
                await anyio.to_thread.run_sync(client.destroy, abandon_on_cancel=True)

    async def _note(self, job_id: str, attributes: Mapping[str, object]) -> None:
        """Change some of what is known of a job; the rest stays as it is, whoever else writes."""
        noted = dict(attributes)
        await self._do(lambda client: client.update_workflow_attributes(job_id, noted, merge=True))

    async def _do(self, work: Callable[[Any], Result]) -> Result:
        return await anyio.to_thread.run_sync(self._done, work, abandon_on_cancel=True)

    def _done(self, work: Callable[[Any], Result]) -> Result:
        try:
            return work(self._opened())
        except (StorageError, ConfigError):
            raise
        except Exception as exc:  # DBOS lets through whatever its drivers raise
            text = f"The jobs cannot be reached ({type(exc).__name__})."
            raise StorageError(text, "Check the database, then try again.") from exc

    def _opened(self) -> Any:
        """DBOS's client, its tables made first where they are missing."""
        with self._lock:
            if self._client is None:
                dbos = import_dbos()
                if not self._shared:
                    self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                    self._file.touch(mode=0o600, exist_ok=True)
                dbos.run_dbos_database_migrations(self.url, schema=SCHEMA)
                self._client = dbos.DBOSClient(
                    system_database_url=self.url,
                    dbos_system_schema=SCHEMA,
                    serializer=dbos.DBOSPortableJSONSerializer(),
                    application_name=APPLICATION,
                    retry_connection_errors=False,
                )
            return self._client


def import_dbos() -> Any:
    """The library, which takes a second to import, kept quiet.

    Raises:
        ConfigError: it is not installed.
    """
    logger = logging.getLogger("dbos")
    if not logger.handlers:  # else it would bring one that writes to the terminal
        logger.addHandler(logging.NullHandler())
    try:
        return import_module("dbos")
    except ImportError:
        text = "Work in the background needs a library that is not installed."
        raise ConfigError(text, "Install the extra: pip install 'zen-mcp-server[jobs]'") from None


def attributes_of(job: NewJob) -> dict[str, Any]:
    """What is known of a job without its spec."""
    known: dict[str, Any] = {"kind": job.kind, "title": job.title}
    return known if job.keep_seconds is None else {**known, _KEEP: job.keep_seconds}


def _job(status: Any) -> Job:
    state = _STATES[status.status]
    result: JSONObject | None = None
    error: JSONObject | None = None
    if state == "done" and isinstance(status.output, str):
        outcome = cast("dict[str, JSONObject]", json.loads(status.output))
        result, error = outcome.get("result"), outcome.get("error")
        state = "failed" if error is not None else "done"
    elif state == "failed":
        error = {"kind": "InternalError", "problem": "It failed several times; the server's log has the details."}
    attributes: dict[str, Any] = status.attributes or {}
    answers = {key.removeprefix(_ANSWER): one for key, one in attributes.items() if key.startswith(_ANSWER)}
    asked: dict[str, JSONObject] = attributes.get(_QUESTIONS, {}) if state not in ENDED else {}
    return Job(
        id=status.workflow_id,
        kind=attributes.get("kind", ""),
        user_id=status.authenticated_user or "",
        title=attributes.get("title", ""),
        state=state,
        created_at=status.created_at / 1000,
        ended_at=status.completed_at / 1000 if status.completed_at else None,
        progress=attributes.get("progress", ""),
        result=result,
        error=error,
        changed_at=(status.updated_at or status.created_at) / 1000,
        questions={key: one for key, one in asked.items() if key not in answers},
        answers=answers,
        rounds=attributes.get(_ROUNDS, 0),
        keep_seconds=attributes.get(_KEEP),
    )
