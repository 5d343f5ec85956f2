"""Ask one model: a question, a second opinion, a discussion that goes on."""

from __future__ import annotations

import anyio
from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from zen_mcp.tools import ToolContext, ToolHints, ToolParams, ToolResult, tool
from zen_mcp.tools.context import Model, Question, Thread, Wishes, answer_of
from zen_mcp.tools.estimate import estimated
from zen_mcp.tools.files.names import FileEntry
from zen_mcp.tools.format import rest_link, rest_note, stored_line, summary_line
from zen_mcp.tools.paging import head
from zen_mcp.types import CacheUse, JSONObject, ModelResponse, ThinkingEffort, ToolResponse


class ChatParams(ToolParams):
    """Ask another AI model: second opinion, brainstorming, explanation. For several models at once use consensus."""

    prompt: str = Field(description="Question with all context; the model sees nothing else")
    model: str = Field(default="auto", description="Name or alias (see listmodels)")
    files: list[FileEntry] = Field(default=[], description="Paths, globs, path:10-80")
    images: list[str] = Field(default=[], description="Paths or data URLs")
    temperature: float | None = Field(default=None, ge=0, le=2, description="0-2")
    thinking: ThinkingEffort | None = Field(default=None, description="Reasoning effort")
    continuation_id: str | None = Field(default=None, description="Thread to continue")
    json_schema: SkipJsonSchema[JSONObject | None] = Field(default=None, description="Answer in JSON of this schema")
    web_search: bool = Field(default=False, description="Allow web search")
    cache: SkipJsonSchema[CacheUse | None] = Field(default=None, description="Reuse an identical answer")
    dry_run: SkipJsonSchema[bool] = Field(default=False, description="Only estimate the cost")


class ChatResult(ToolResult):
    """One answer. The schema tells clients the first fields; the rest speak for themselves and cost no tokens."""

    text: str = ""
    continuation_id: str = ""
    model: SkipJsonSchema[str] = ""
    vendor: SkipJsonSchema[str] = ""
    answered_by: SkipJsonSchema[str] = ""
    input_tokens: SkipJsonSchema[int | None] = None
    output_tokens: SkipJsonSchema[int | None] = None
    cost_dollars: SkipJsonSchema[float | None] = None
    seconds: SkipJsonSchema[float] = 0.0
    next_offset: SkipJsonSchema[int | None] = None
    turn: SkipJsonSchema[int | None] = None
    notes: SkipJsonSchema[list[str]] = Field(default=[])
    asked: SkipJsonSchema[str] = ""
    partial: SkipJsonSchema[bool] = False
    cached: SkipJsonSchema[bool] = False


@tool(result=ChatResult, hints=ToolHints(always_load=True))
async def chat(params: ChatParams, context: ToolContext) -> ToolResponse:
    """Ask one model and store the turn."""
    model = context.catalog.require(params.model)
    thread = await context.open_thread(params.continuation_id)
    question = await context.question(params.prompt, files=params.files, images=params.images, models=[model])
    if params.dry_run:
        return estimated([context.estimate(thread, question, model=model, system=context.prompts["system"])])
    await context.progress(0, 1, f"asking {model.name}")
    response = await _answer(params, context, thread, question, model)
    saved = await context.save(thread, question, [answer_of(response)])
    shown = head(response.text, context.max_characters if saved.turns else len(response.text))
    notes = [*question.notes, *response.notes, *rest_note(saved, -1, shown, len(response.text))]
    result = ChatResult(
        text=shown.text,
        continuation_id=saved.continuation_id,
        model=response.model,
        vendor=response.vendor,
        answered_by=response.answered_by if response.answered_by != response.model else "",
        input_tokens=response.usage.input_tokens if response.usage else None,
        output_tokens=response.usage.output_tokens if response.usage else None,
        cost_dollars=response.cost_dollars,
        seconds=round(response.seconds, 2),
        next_offset=shown.next_offset,
        turn=saved.turns[-1] if shown.next_offset else None,
        notes=notes,
        asked=response.asked,
        partial=response.partial,
        cached=response.cached,
    )
    footer = " · ".join([summary_line(response), *stored_line(saved), *notes])
    return ToolResponse(
        text=f"{shown.text}\n\n[{footer}]",
        structured=result.to_json(),
        links=rest_link(saved, -1, shown),
    )


async def _answer(
    params: ChatParams, context: ToolContext, thread: Thread, question: Question, model: Model
) -> ModelResponse:
    """The model's answer. When the caller leaves in the middle, what had come is kept in the thread."""
    watch = context.watch(model.name)
    try:
        return await context.ask(
            thread,
            question,
            model=model,
            system=context.prompts["system"],
            wishes=Wishes(
                temperature=params.temperature,
                thinking=params.thinking,
                cache=params.cache,
                json_schema=params.json_schema,
                web_search=params.web_search,
            ),
            sink=watch,
        )
    except anyio.get_cancelled_exc_class():
        if watch is not None:
            await context.keep_part(thread, question, model, watch.text)
        raise
