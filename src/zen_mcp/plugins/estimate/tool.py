"""What a question would cost, before it is asked."""

from __future__ import annotations

from dataclasses import replace

import anyio
from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from zen_mcp.errors import InvalidArguments, ZenError
from zen_mcp.tools import ToolContext, ToolHints, ToolParams, tool
from zen_mcp.tools.context import Question, Thread
from zen_mcp.tools.estimate import Estimate, estimated
from zen_mcp.tools.tokens import count_tokens
from zen_mcp.types import JSONObject, JSONValue, ToolResponse

MOST_MODELS = 16
_TOKENS_PER_IMAGE = 1_000
_WHOLE_HISTORY_TOKENS = 1_000_000_000


class EstimateParams(ToolParams):
    """Estimate tokens and dollars of a question without asking it."""

    prompt: str
    models: list[str] = Field(default=[])
    files: list[str] = Field(default=[])
    images: SkipJsonSchema[list[str]] = Field(default=[], description="Pictures")
    continuation_id: SkipJsonSchema[str | None] = Field(default=None, description="Thread")


@tool(hints=ToolHints(open_world=False, core=False))
async def estimate(params: EstimateParams, context: ToolContext) -> ToolResponse:
    """Count what would be sent to each model, and price it. A model that cannot take it is told among the others."""
    if len(params.models) > MOST_MODELS:
        problem = f"'models' has {len(params.models)} entries; at most {MOST_MODELS} are estimated at once."
        raise InvalidArguments(problem, "Name fewer.")
    names = params.models or [context.catalog.default_model().name]
    thread = await context.open_thread(params.continuation_id)
    question = await context.question(params.prompt, files=params.files, images=params.images)
    done: list[Estimate] = []
    failed: list[ZenError] = []
    for name in dict.fromkeys(names):
        try:
            model = context.catalog.resolve(name)
            rough = context.estimate(thread, question, model=model, system="")
        except ZenError as exc:
            failed.append(exc)
        else:
            done.append(_recounted(rough, await _counted(thread, question, context)))
    if not done:
        raise failed[0]
    answer = estimated(done)
    problems: list[JSONValue] = [str(exc) for exc in failed]
    known: JSONObject = {name: value for name, value in answer.structured.items() if value is not None}
    structured: JSONObject = {**known, "problems": problems} if problems else known
    return ToolResponse(text="\n".join([answer.text, *(str(exc) for exc in failed)]), structured=structured)


async def _counted(thread: Thread, question: Question, context: ToolContext) -> int:
    """The tokens of history and question by a real tokenizer."""
    messages = context.transcript(thread, question, budget_tokens=_WHOLE_HISTORY_TOKENS)
    text = "\n".join(message.text for message in messages)
    tokens = await anyio.to_thread.run_sync(count_tokens, text)
    return tokens + sum(len(message.images) for message in messages) * _TOKENS_PER_IMAGE


def _recounted(rough: Estimate, counted: int) -> Estimate:
    """An estimate by the tokenizer's count. A history that was trimmed to the model's window keeps the rough count."""
    if counted > rough.input_tokens or not rough.input_tokens:
        return rough
    before = rough.least_dollars
    least = None if before is None else before * counted / rough.input_tokens
    most = (
        None if rough.most_dollars is None or before is None or least is None else rough.most_dollars - before + least
    )
    return replace(rough, input_tokens=counted, least_dollars=least, most_dollars=most)
