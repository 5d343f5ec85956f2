"""Jobs: what runs in the background, and what came of it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal, cast

from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from zen_mcp.errors import InvalidArguments
from zen_mcp.tools import ToolContext, ToolHints, ToolParams, ToolResult, tool
from zen_mcp.tools.context import Job
from zen_mcp.tools.paging import head
from zen_mcp.types import JSONObject, ToolResponse

_WAIT_SECONDS = 40.0


class JobsParams(ToolParams):
    """List, wait for, fetch or cancel background work. Any tool takes background=true and returns a job."""

    job: str | None = Field(default=None, description="Its id; none: list")
    action: Literal["fetch", "wait", "cancel"] = Field(default="fetch", description="wait: up to 40 s, then again")
    timeout_seconds: SkipJsonSchema[float | None] = Field(default=None, gt=0, le=600, description="Wait so long")


class JobsResult(ToolResult):
    """A list of jobs, or one with its result."""

    jobs: SkipJsonSchema[list[JSONObject]] = Field(default=[])
    job: SkipJsonSchema[JSONObject] = Field(default={})
    result: SkipJsonSchema[JSONObject] = Field(default={})


@tool(result=JobsResult, hints=ToolHints(open_world=False, read_only=False))
async def jobs(params: JobsParams, context: ToolContext) -> ToolResponse:
    """List the caller's jobs, or look at one."""
    if params.job is None:
        if params.action == "cancel":
            raise InvalidArguments("'job' is missing: which one is to be cancelled?", "jobs() lists yours.")
        found = await context.jobs.list(user_id=context.user_id)
        lines = [_line(job) for job in found]
        shown = head("\n".join(lines), context.max_characters // 2)
        count = len(shown.text.splitlines())
        result = JobsResult(jobs=[_entry(job) for job in found[:count]])
        return ToolResponse(text=shown.text or "No jobs.", structured=result.to_json())
    if params.action == "cancel":
        return _shown(await context.jobs.cancel(params.job, user_id=context.user_id))
    seconds = (params.timeout_seconds or _seconds(context)) if params.action == "wait" else 0.0
    return _shown(await context.jobs.wait(params.job, user_id=context.user_id, seconds=seconds))


def _seconds(context: ToolContext) -> float:
    """How long a wait may take without the client giving up."""
    return min(_WAIT_SECONDS, max((context.max_seconds or _WAIT_SECONDS) - 10, 1))


def _shown(job: Job) -> ToolResponse:
    """A job, and what came of it as its tool would have said it."""
    result = job.result or {}
    text = str(result.get("text", ""))
    error = job.error or {}
    if error:
        text = f"{error.get('kind')}: {error.get('problem')} {error.get('fix', '')}".strip()
    structured = cast("JSONObject", result.get("structured", result))
    told = JobsResult(job={**_entry(job), **({"error": error} if error else {})}, result=structured)
    return ToolResponse(text="\n\n".join(part for part in (_line(job), text) if part), structured=told.to_json())


def _entry(job: Job) -> JSONObject:
    entry: JSONObject = {"id": job.id, "state": job.state, "title": job.title, "created": _time(job.created_at)}
    if job.ended_at is not None:
        entry["ended"] = _time(job.ended_at)
    if job.progress:
        entry["progress"] = job.progress
    return entry


def _line(job: Job) -> str:
    progress = f" · {job.progress}" if job.progress and job.ended_at is None else ""
    return f"{job.id} · {job.state} · {_time(job.created_at)} · {job.title}{progress}"


def _time(moment: float) -> str:
    return datetime.fromtimestamp(moment, tz=UTC).isoformat(timespec="seconds")
