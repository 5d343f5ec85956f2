"""Call paths and dependency maps, computed from the code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import anyio.to_process
from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from zen_mcp.errors import InvalidArguments
from zen_mcp.plugins.tracer.trace import Trace, TraceRequest, trace
from zen_mcp.tools import ToolContext, ToolHints, ToolParams, ToolResult, tool
from zen_mcp.tools.context import Answer, Question, Saved, answer_of
from zen_mcp.tools.files.disk import Disk
from zen_mcp.tools.format import rest_note, stored_line, summary_line
from zen_mcp.tools.paging import head
from zen_mcp.types import JSONObject, ToolResponse

READING_SECONDS = 30.0
_PROCESS_SECONDS = 90.0
"""The whole of it, with the start of the process on a busy machine."""


class TracerParams(ToolParams):
    """Trace calls (precision) or dependencies through the code."""

    target: str = Field(description="Class.method, path:name or module")
    mode: Literal["precision", "dependencies"] = "precision"
    depth: SkipJsonSchema[int] = Field(default=2, ge=1, le=8, description="How far calls are followed")
    files: list[str] = Field(default=[])
    explain: SkipJsonSchema[bool] = Field(default=False, description="Have a model explain it")
    graph: SkipJsonSchema[bool] = Field(default=False, description="Nodes and edges as data, too")
    model: SkipJsonSchema[str] = Field(default="auto", description="Which model")
    continuation_id: SkipJsonSchema[str | None] = Field(default=None, description="Thread for the explanation")


class TracerResult(ToolResult):
    """The tree, or the explanation where one was wanted; nodes and edges on request."""

    text: str = ""
    nodes: SkipJsonSchema[list[JSONObject]] = Field(default=[])
    edges: SkipJsonSchema[list[JSONObject]] = Field(default=[])
    candidates: SkipJsonSchema[list[str]] = Field(default=[])
    notes: SkipJsonSchema[list[str]] = Field(default=[])
    continuation_id: SkipJsonSchema[str] = ""
    next_offset: SkipJsonSchema[int | None] = None
    turn: SkipJsonSchema[int | None] = None
    more: SkipJsonSchema[int] = 0


@tool(result=TracerResult, hints=ToolHints(open_world=False, core=False))
async def tracer(params: TracerParams, context: ToolContext) -> ToolResponse:
    """Trace in a process of its own, and say what was found."""
    request = await anyio.to_thread.run_sync(_request, params, context)
    await context.progress(0, None, f"reading code for {params.target}")
    found = await _traced(request)
    if found.candidates:
        return _ambiguous(params, found)
    if not found.text:
        raise _not_found(params, found)
    if params.explain:
        return await _explained(params, context, found)
    return await _respond(params, context, found)


def _request(params: TracerParams, context: ToolContext) -> TraceRequest:
    """What to trace, with the files and folders that may be read."""
    roots = context.settings.roots
    if not roots:
        raise InvalidArguments("No folder is open here, so there is no code to trace.", "Set roots in server.yaml.")
    if not params.target.strip():
        raise InvalidArguments("'target' is empty.", "Name a function, method, class or module.")
    disk = Disk(roots=roots, max_bytes=context.settings.max_file_bytes)
    real = tuple(root.resolve() for root in roots)
    paths = [disk.allowed(name) for name in params.files]
    where = params.target.rpartition(":")[0]
    folders = tuple(path for path in paths if path.is_dir()) if paths else real
    beside = [root / where for root in real if where and not paths and (root / where).is_file()]
    return TraceRequest(
        target=params.target,
        mode=params.mode,
        roots=real,
        folders=folders,
        files=tuple(path for path in (*paths, *beside) if path.is_file() and _inside(path, real)),
        depth=params.depth,
        seconds=READING_SECONDS,
    )


def _inside(path: Path, roots: tuple[Path, ...]) -> bool:
    return any(path.resolve().is_relative_to(root) for root in roots)


async def _traced(request: TraceRequest) -> Trace:
    try:
        with anyio.fail_after(_PROCESS_SECONDS):
            return await anyio.to_process.run_sync(trace, request, cancellable=True)
    except TimeoutError:
        raise InvalidArguments(
            f"Tracing '{request.target}' took more than {_PROCESS_SECONDS:g} seconds.", "Name a folder in 'files'."
        ) from None


def _not_found(params: TracerParams, found: Trace) -> InvalidArguments:
    looked = f" ({'; '.join(found.notes)})" if found.notes else ""
    problem = f"There is no '{params.target}' in the {found.files:,} source files looked at{looked}."
    return InvalidArguments(problem, found.near or "Check the name, or name its folder in 'files'.")


def _ambiguous(params: TracerParams, found: Trace) -> ToolResponse:
    shown, more = found.candidates[:20], len(found.candidates) - 20
    lines = [f"'{params.target}' may mean several; call again with one of them as path:name:", *shown]
    lines += [f"… and {more} more"] if more > 0 else []
    result = TracerResult(candidates=shown, notes=["ambiguous: call again with path:name"], more=max(more, 0))
    return ToolResponse(text="\n".join(lines), structured=result.to_json())


async def _respond(params: TracerParams, context: ToolContext, found: Trace) -> ToolResponse:
    """The tree; what does not fit is stored as a turn, for `threads`."""
    limit = context.max_characters
    whole = "\n".join([found.text, *(f"note: {note}" for note in found.notes)])
    # As data the tree has four times the tokens, and some clients show their model the data.
    nodes = _fitting(found.nodes, limit // 4) if params.graph else []
    edges = _fitting(found.edges, limit * 3 // 4) if params.graph else []
    missing = len(found.edges) - len(edges) if params.graph else 0
    if len(whole) <= limit and not missing:
        result = TracerResult(nodes=nodes, edges=edges, notes=found.notes, text=whole)
        return ToolResponse(text=whole, structured=result.to_json())
    thread = await context.open_thread(None)
    question = Question(text=f"tracer: {params.target} ({params.mode})", tool="tracer")
    saved = await context.save(thread, question, [Answer(text=whole, model="tracer", vendor="zen")])
    shown = head(whole, limit if saved.turns else len(whole))
    notes = [*found.notes, *rest_note(saved, -1, shown, len(whole))]
    if missing:
        notes.append(
            f"{missing} more edges are in the text: threads(continuation_id='{saved.continuation_id}', turn=2)"
        )
    result = TracerResult(
        text=shown.text,
        nodes=nodes,
        edges=edges,
        notes=notes,
        continuation_id=saved.continuation_id,
        next_offset=shown.next_offset,
        turn=saved.turns[-1] if saved.turns else None,
        more=missing,
    )
    footer = f"\n[{' · '.join(notes)}]" if shown.next_offset else ""
    return ToolResponse(text=f"{shown.text}{footer}", structured=result.to_json())


def _fitting(entries: list[dict[str, str]], characters: int) -> list[JSONObject]:
    """The first entries, as many as so many characters of JSON hold."""
    kept: list[JSONObject] = []
    for entry in entries:
        characters -= len(json.dumps(entry, ensure_ascii=False))
        if characters < 0:
            break
        kept.append({**entry})
    return kept


async def _explained(params: TracerParams, context: ToolContext, found: Trace) -> ToolResponse:
    """A model's explanation of the path, with the code of its nodes embedded."""
    model = context.catalog.require(params.model)
    thread = await context.open_thread(params.continuation_id)
    code = [f"### {place}\n```\n{text}\n```" for place, text in found.snippets]
    prompt = "\n\n".join([f"Explain this ({params.mode} of {params.target}):", found.text, *code])
    question = await context.question(prompt)
    await context.progress(0, 1, f"asking {model.name}")
    response = await context.ask(thread, question, model=model, system=context.prompts["system"])
    saved: Saved = await context.save(thread, question, [answer_of(response)])
    shown = head(response.text, context.max_characters if saved.turns else len(response.text))
    notes = [*found.notes, *response.notes, *rest_note(saved, -1, shown, len(response.text))]
    result = TracerResult(
        text=shown.text,
        edges=_fitting(found.edges, context.max_characters // 4) if params.graph else [],
        notes=notes,
        continuation_id=saved.continuation_id,
        next_offset=shown.next_offset,
        turn=saved.turns[-1] if shown.next_offset else None,
    )
    footer = " · ".join([summary_line(response), *stored_line(saved), *notes])
    return ToolResponse(text=f"{shown.text}\n\n[{footer}]", structured=result.to_json())
