"""Telling clients how their tasks stand: of 2025-11-25 on a connection that stays, later in their subscriptions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import anyio
import mcp_types as types
from mcp.server.session import ServerSession
from mcp.shared.exceptions import MCPError
from mcp.shared.subscriptions import SUBSCRIPTION_ID_META_KEY

from zen_mcp.errors import StorageError, UnknownJob
from zen_mcp.jobs.job import ENDED
from zen_mcp.jobs.store import JobStore
from zen_mcp.server.task_shapes import JSONResult, core_task, detailed_task

_LOOK_SECONDS = 1.0
_TELL_SECONDS = 5.0
_MOST_WATCHED = 1000


class TaskNote(types.Notification[dict[str, Any], str]):
    """How a task stands, as plain JSON: the SDK's own would leave out a `ttl` that is null."""


class Listener:
    """The session of a subscription to tasks: a session whose acknowledgement names the tasks, too.

    Args:
        session: as it was.
        request_id: of the subscription.
        user_id: whose the tasks are.
        task_ids: those that there are.
    """

    def __init__(
        self, session: ServerSession, request_id: types.RequestId, user_id: str, task_ids: Sequence[str]
    ) -> None:
        self.request_id = request_id
        self.user_id = user_id
        self.task_ids = task_ids
        self.acknowledged = anyio.Event()
        self._session = session

    def __getattr__(self, name: str) -> Any:
        """All else is as it was."""
        return getattr(self._session, name)

    async def send_notification(self, note: Any, related_request_id: types.RequestId | None = None) -> None:
        """Send a notification on the subscription's stream."""
        if isinstance(note, types.SubscriptionsAcknowledgedNotification):
            honoured = note.params.notifications.model_copy(update={"taskIds": [*self.task_ids]})
            note = note.model_copy(update={"params": note.params.model_copy(update={"notifications": honoured})})
        await self._session.send_notification(note, related_request_id=related_request_id)
        self.acknowledged.set()

    async def tell(self, task: JSONResult) -> None:
        """Send how a task stands."""
        meta = {SUBSCRIPTION_ID_META_KEY: self.request_id}
        note = TaskNote(method="notifications/tasks", params={**task, "_meta": meta})
        await self.send_notification(note, related_request_id=self.request_id)


@dataclass(slots=True)
class _Watched:
    user_id: str
    session: ServerSession
    told: str = "working"


class TaskWatch:
    """The tasks whose clients are told of each new state.

    Args:
        jobs: every user's jobs.
    """

    def __init__(self, jobs: JobStore) -> None:
        self._jobs = jobs
        self._watched: dict[str, _Watched] = {}
        self._new = anyio.Event()
        self._runs = False

    def add(self, job_id: str, user_id: str, session: ServerSession) -> None:
        """Tell this session of a task from now on, where somebody looks at all."""
        if self._runs and len(self._watched) < _MOST_WATCHED:
            self._watched[job_id] = _Watched(user_id, session)
            self._new.set()

    async def run(self) -> None:
        """Look and tell until cancelled."""
        self._runs = True
        while True:
            await self._new.wait()
            self._new = anyio.Event()
            while self._watched:
                for job_id, watched in list(self._watched.items()):
                    if not await self._goes_on(job_id, watched):
                        del self._watched[job_id]
                await anyio.sleep(_LOOK_SECONDS)

    async def listen(self, listener: Listener, *, links: bool) -> None:
        """Tell a subscription how each of its tasks stands, at once and when that changes, until all have ended."""
        await listener.acknowledged.wait()
        told: dict[str, object] = {}
        open_tasks = set(listener.task_ids)
        while open_tasks:
            for job_id in sorted(open_tasks):
                try:
                    job = await self._jobs.get(job_id, user_id=listener.user_id)
                except StorageError:
                    continue
                task = detailed_task(job, links=links)
                state = (task["status"], sorted(job.questions))
                if told.get(job_id) != state:
                    told[job_id] = state
                    await listener.tell(task)
                if job.state in ENDED:
                    open_tasks.discard(job_id)
            await anyio.sleep(_LOOK_SECONDS)

    async def _goes_on(self, job_id: str, watched: _Watched) -> bool:
        """Look at one task, and tell where it is not as it was; whether there is more to come."""
        try:
            job = await self._jobs.get(job_id, user_id=watched.user_id)
        except StorageError:
            return True  # looked at again; what cannot be reached is told to whoever asks
        except UnknownJob:
            return False
        task = core_task(job)
        if task["status"] != watched.told:
            watched.told = str(task["status"])
            # Who is gone, or reads nothing, is told nothing more.
            with anyio.move_on_after(_TELL_SECONDS) as scope:
                try:
                    await watched.session.send_notification(TaskNote(method="notifications/tasks/status", params=task))  # type: ignore[arg-type] - any notification is sent
                except (MCPError, anyio.BrokenResourceError, anyio.ClosedResourceError):
                    return False
            if scope.cancelled_caught:
                return False
        return job.state not in ENDED
