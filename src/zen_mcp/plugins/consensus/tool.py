"""Ask several models the same question at once, and compare."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, WithJsonSchema, model_validator
from pydantic.json_schema import SkipJsonSchema

from zen_mcp.tools import ToolContext, ToolHints, ToolParams, tool
from zen_mcp.tools.context import Wishes, answer_of
from zen_mcp.tools.estimate import Estimate, estimated
from zen_mcp.tools.files.names import FileEntry
from zen_mcp.tools.panel.ask import (
    LARGEST_PANEL,
    Member,
    Stance,
    affordable,
    ask_panel,
    check_answered,
    check_panel,
    panel_seconds,
)
from zen_mcp.tools.panel.report import PanelResult, report
from zen_mcp.types import CacheUse, ModelResponse, ThinkingEffort, ToolResponse

_LISTED_MODELS: dict[str, Any] = {
    "type": "array",
    "items": {"anyOf": [{"type": "string"}, {"type": "object"}]},
}


class MemberParams(ToolParams):
    """A model with a side to take."""

    model: str = Field(description="Name or alias")
    stance: Stance | None = Field(default=None, description="Side to argue")
    stance_prompt: str | None = Field(default=None, description="In other words")


class ConsensusParams(ToolParams):
    """Ask several AI models at once, independently, and compare: decisions, reviews, hard questions.

    For one model use chat.
    """

    prompt: str = Field(description="Question with all context, neutrally put")
    models: Annotated[list[str | MemberParams], WithJsonSchema(_LISTED_MODELS)] = Field(
        default=[],
        description="2-16 names or {model, stance: for|against|neutral, stance_prompt}; default: the configured panel",
    )
    files: list[FileEntry] = Field(default=[])
    images: SkipJsonSchema[list[str]] = Field(default=[])
    temperature: SkipJsonSchema[float | None] = Field(default=None, ge=0, le=2)
    thinking: SkipJsonSchema[ThinkingEffort | None] = Field(default=None, description="Reasoning effort")
    quorum: int | None = Field(default=None, ge=1, description="Stop after so many answers")
    timeout_seconds: float | None = Field(default=None, gt=0, description="Return what is there by then")
    continuation_id: str | None = None
    cache: SkipJsonSchema[CacheUse | None] = Field(default=None, description="Reuse identical answers")
    dry_run: SkipJsonSchema[bool] = Field(default=False, description="Only estimate the cost")

    @model_validator(mode="after")
    def _panel_of_a_sensible_size(self) -> ConsensusParams:
        if len(self.models) > LARGEST_PANEL:
            raise ValueError(f"'models' has {len(self.models)} members; at most {LARGEST_PANEL} are asked at once")
        return self


@tool(result=PanelResult, hints=ToolHints(always_load=True))
async def consensus(params: ConsensusParams, context: ToolContext) -> ToolResponse:
    """Ask the panel and store the round."""
    started = time.perf_counter()
    members = _members(params, context)
    thread = await context.open_thread(params.continuation_id)
    models = [member.model for member in members]
    question = await context.question(params.prompt, files=params.files, images=params.images, models=models)

    def estimate(index: int) -> Estimate:
        system = _system_of(members[index], context.prompts)
        return context.estimate(thread, question, model=members[index].model, system=system)

    if params.dry_run:
        return estimated([estimate(index) for index in range(len(members))])
    members, shrunk = await affordable(members, lambda index: estimate(index).input_tokens, context)
    await context.progress(0, len(members), f"asking {', '.join(member.label for member in members)}")
    wishes = Wishes(temperature=params.temperature, thinking=params.thinking, cache=params.cache)

    async def ask(index: int) -> ModelResponse:
        member = members[index]
        return await context.ask(
            thread,
            question,
            model=member.model,
            system=_system_of(member, context.prompts),
            wishes=wishes,
            fallbacks=False,  # each member speaks for itself; another's answer in its place would count twice
            sink=context.watch(member.label),
        )

    seconds = panel_seconds(params.timeout_seconds, context)
    outcomes = await ask_panel(members, ask, context, quorum=params.quorum, timeout_seconds=seconds)
    check_answered(outcomes)
    answers = [answer_of(o.response, stance=o.member.stance) for o in outcomes if o.response is not None]
    return report(
        outcomes,
        saved=await context.save(thread, question, answers),
        quorum=params.quorum,
        seconds=time.perf_counter() - started,
        limit=context.max_characters,
        notes=(*question.notes, *shrunk),
    )


def _members(params: ConsensusParams, context: ToolContext) -> tuple[Member, ...]:
    """Who is asked. Unknown names and doubles are refused before anything is paid."""
    if not params.models:
        return tuple(Member(model=model) for model in context.catalog.default_panel())
    asked = [MemberParams(model=entry) if isinstance(entry, str) else entry for entry in params.models]
    members = tuple(
        Member(model=context.catalog.resolve(m.model), stance=m.stance, stance_prompt=m.stance_prompt) for m in asked
    )
    check_panel(members)
    return members


def _system_of(member: Member, prompts: Mapping[str, str]) -> str:
    """The system message: the same for all members but for the stance at its end."""
    if member.stance is None and member.stance_prompt is None:
        return prompts["system"]
    side = member.stance_prompt or prompts[member.stance or "neutral"]
    return f"{prompts['system']}\n\n{side}"
