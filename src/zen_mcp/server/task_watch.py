"""Telling clients of 2025-11-25 on a connection that stays how their tasks stand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import anyio
import mcp_types as types
from mcp.server.session import ServerSession
from mcp.shared.exceptions import MCPError

from zen_mcp.errors import StorageError, UnknownJob
from zen_mcp.jobs.job import ENDED
from zen_mcp.jobs.store import JobStore
from zen_mcp.server.task_shapes import core_task

_LOOK_SECONDS = 1.0
_TELL_SECONDS = 5.0
_MOST_WATCHED = 1000


class TaskNote(types.Notification[dict[str, Any], str]):
    """`notifications/tasks/status` as plain JSON: the SDK's own would leave out a `ttl` that is null."""

    method: str = "notifications/tasks/status"


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
                    await watched.session.send_notification(TaskNote(params=task))  # type: ignore[arg-type] - any notification is sent
                except (MCPError, anyio.BrokenResourceError, anyio.ClosedResourceError):
                    return False
            if scope.cancelled_caught:
                return False
        return job.state not in ENDED
