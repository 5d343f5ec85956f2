"""A job in the words of the protocol's tasks, of both revisions."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypeAlias, cast

import mcp_types as types

from zen_mcp.jobs.job import Job, JobState
from zen_mcp.jobs.kept import response_of
from zen_mcp.server.content import call_result, error_result

JSONResult: TypeAlias = dict[str, Any]

_POLL_MILLISECONDS = 1000
_STATUS: Mapping[JobState, types.TaskStatus] = {
    "waiting": "working",
    "running": "working",
    "done": "completed",
    "failed": "failed",
    "cancelled": "cancelled",
}
_PROTOCOL_ERRORS: Mapping[str, int] = {"InternalError": types.INTERNAL_ERROR, "UnknownTool": types.INVALID_PARAMS}
"""What a call that waits for its answer is told as an error of the protocol, or would be if it were not our fault."""


def core_task(job: Job) -> JSONResult:
    """The task of revision 2025-11-25."""
    return {**_state(job), "status": _STATUS[job.state], "ttl": _ttl(job), "pollInterval": _POLL_MILLISECONDS}


def detailed_task(job: Job, *, only_state: bool = False, links: bool = False) -> JSONResult:
    """The task of the extension, with its result, its error or its questions.

    A tool that has failed has completed its task: "failed" is for errors of the protocol alone.
    """
    task = {**_state(job), "status": _STATUS[job.state], "ttlMs": _ttl(job), "pollIntervalMs": _POLL_MILLISECONDS}
    code = _PROTOCOL_ERRORS.get(str((job.error or {}).get("kind")))
    if job.state == "failed" and code is None:
        task["status"] = "completed"
    if job.questions:
        task["status"] = "input_required"
    if only_state:
        return task
    if job.questions:
        return {**task, "inputRequests": dict(job.questions)}
    if task["status"] == "failed":
        return {**task, "error": {"code": code, "message": _error_text(job)}}
    return {**task, "result": task_result(job, links=links)} if task["status"] == "completed" else task


def task_result(job: Job, *, links: bool) -> JSONResult:
    """What the call would have answered if its client had waited."""
    if job.error is not None:
        error = cast("dict[str, Any]", dict(job.error))
        result = error_result(f"ERROR: {_error_text(job)} [{job.id}]", {**error, "call_id": job.id})
    else:
        result = call_result(response_of(job.result or {}), links=links)
    return result.model_dump(by_alias=True, mode="json", exclude_none=True)


def _state(job: Job) -> JSONResult:
    state: JSONResult = {
        "taskId": job.id,
        "createdAt": _time(job.created_at),
        "lastUpdatedAt": _time(max(job.changed_at, job.created_at)),
    }
    message = _error_text(job) if job.error is not None else job.progress
    return {**state, "statusMessage": message} if message else state


def _ttl(job: Job) -> int | None:
    """How long it is kept, in milliseconds; None for ever."""
    return None if job.keep_seconds is None else round(job.keep_seconds * 1000)


def _error_text(job: Job) -> str:
    error = job.error or {}
    return f"{error.get('problem', '')} {error.get('fix', '')}".strip()


def _time(moment: float) -> str:
    return datetime.fromtimestamp(moment, tz=UTC).isoformat(timespec="milliseconds")
