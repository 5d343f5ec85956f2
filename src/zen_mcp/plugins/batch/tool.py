"""Batch: many prompts for one model, asked in the background."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated, Any, Literal

from pydantic import Field, WithJsonSchema
from pydantic.json_schema import SkipJsonSchema

from zen_mcp.errors import InvalidArguments
from zen_mcp.tools import ToolContext, ToolHints, ToolParams, ToolResult, tool
from zen_mcp.tools.batch import BatchStatus, broken, deadline, prompts_of, summary
from zen_mcp.types import JSONObject, JSONValue, ToolResponse


class BatchParams(ToolParams):
    """Ask a model many prompts as a job."""

    # A prompt may also be an object, which no schema says that every vendor takes.
    prompts: list[Annotated[Any, WithJsonSchema({"type": "string"})]] = Field(default=[])
    file: str | None = None
    model: str | None = None
    job: str | None = None
    action: SkipJsonSchema[Literal["results", "status", "retry", "cancel"]] = Field(
        default="results", description="What becomes of the job"
    )
    skip_broken: SkipJsonSchema[bool] = Field(default=False, description="Ask the good lines, leave the broken out")
    deadline: SkipJsonSchema[str | None] = Field(default=None, description="24h or more: by the vendor's batch API")
    dry_run: SkipJsonSchema[bool] = Field(default=False, description="Only say what it would take")
    after: SkipJsonSchema[int] = Field(default=0, ge=0, description="Results behind this line")
    failed: SkipJsonSchema[bool] = Field(default=False, description="Only the failed results")


class BatchResult(ToolResult):
    """The batch's job, how far it is, what it would take, and results."""

    job: str = ""
    state: SkipJsonSchema[str] = ""
    counts: SkipJsonSchema[JSONObject] = Field(default={})
    plan: SkipJsonSchema[JSONObject] = Field(default={})
    broken: SkipJsonSchema[list[JSONObject]] = Field(default=[])
    results: SkipJsonSchema[list[JSONObject]] = Field(default=[])
    next_after: SkipJsonSchema[int | None] = None


@tool(hints=ToolHints(read_only=False, core=False))
async def batch(params: BatchParams, context: ToolContext) -> ToolResponse:
    """Hand a batch in, or look after one."""
    if params.job is None:
        if params.action != "results":
            raise InvalidArguments(f"'job' is missing: which batch is meant by {params.action}?", "jobs() lists yours.")
        return await _submit(params, context)
    user = context.user_id
    if params.action == "results":
        return await _results(params.job, params, context)
    if params.action == "retry":
        return _shown(await context.services.batches.retry(params.job, user_id=user))
    if params.action == "cancel":
        return _shown(await context.services.batches.cancel(params.job, user_id=user))
    return _shown(await context.services.batches.status(params.job, user_id=user))


async def _submit(params: BatchParams, context: ToolContext) -> ToolResponse:
    if bool(params.prompts) == (params.file is not None):
        raise InvalidArguments("A batch takes either 'prompts' or 'file'.", "Give a list of prompts, or a JSONL file.")
    settings = context.settings
    lines = await prompts_of(
        params.prompts, params.file, roots=settings.roots, allow_secret_files=settings.allow_secret_files
    )
    if lines.broken and not (params.skip_broken or params.dry_run):
        raise broken(lines)
    model = context.catalog.require(params.model or context.catalog.default_model().name)
    seconds = None if params.deadline is None else deadline(params.deadline)
    plan = context.services.batches.plan(lines.prompts, model=model, deadline_seconds=seconds)
    left_out = [f"Left out: {lines.broken_in_words()}."] if lines.broken else []
    told = BatchResult(plan=asdict(plan), broken=[asdict(one) for one in lines.broken])
    if params.dry_run:
        return ToolResponse(
            text="\n".join([f"Nothing was asked: {plan.in_words()}.", *left_out]), structured=told.to_json()
        )
    made = await context.services.batches.submit(
        lines.prompts,
        model=model,
        caller=context.caller,
        title=params.file or "",
        deadline_seconds=seconds,
        only_models=settings.only_models,
    )
    text = f"Batch {made.id} was handed in: {plan.in_words()}."
    how = f"jobs(job='{made.id}', action='wait') waits for it, batch(job='{made.id}') has the answers."
    told = told.model_copy(update={"job": made.id, "state": "waiting"})
    return ToolResponse(text="\n".join([text, *left_out, how]), structured=told.to_json())


async def _results(job: str, params: BatchParams, context: ToolContext) -> ToolResponse:
    """As many results as the client shows whole, and how to get the rest."""
    found = await context.services.batches.find(job, user_id=context.user_id)
    wanted = "failed" if params.failed else None
    entries = await context.services.batches.results(found, state=wanted, after=params.after, limit=1_000)
    room, shown = context.max_characters // 2, list[JSONObject]()
    for entry in entries:
        room -= len(json.dumps(entry, ensure_ascii=False)) + 1
        if room < 0 and shown:
            break
        shown.append(entry)
    rows = [json.dumps(entry, ensure_ascii=False) for entry in shown]
    told = BatchResult(job=found.id, results=shown)
    rest = len(shown) < len(entries) or len(entries) == 1_000
    if rest:
        last = _line(shown[-1]["line"])
        told = told.model_copy(update={"next_after": last})
        rows.append(f"More: batch(job='{found.id}', after={last})")
    return ToolResponse(text="\n".join(rows) or "No results.", structured=told.to_json())


def _line(value: JSONValue) -> int:
    return value if isinstance(value, int) else 0


def _shown(status: BatchStatus) -> ToolResponse:
    told = BatchResult(job=status.batch.id, state=status.job.state, counts=summary(status.counts))
    return ToolResponse(text=status.in_words(), structured=told.to_json())
