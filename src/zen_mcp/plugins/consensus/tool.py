"""Ask several models the same question at once, and compare."""

from __future__ import annotations

import time

from pydantic import Field, model_validator
from pydantic.json_schema import SkipJsonSchema

from zen_mcp.errors import InvalidArguments, PanelFailed
from zen_mcp.plugins.consensus.panel import Ask, Member, Outcome, Stance, ask_panel, system_of
from zen_mcp.plugins.consensus.report import ConsensusResult, report
from zen_mcp.tools import ToolContext, ToolHints, ToolParams, tool
from zen_mcp.tools.context import Wishes, answer_of
from zen_mcp.tools.estimate import estimated
from zen_mcp.types import CacheUse, ThinkingEffort, ToolResponse

LARGEST_PANEL = 16


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
    models: list[str | MemberParams] = Field(default=[], description="2-16; default: the configured panel")
    files: list[str] = Field(default=[], description="Absolute paths")
    images: list[str] = Field(default=[], description="Absolute paths or data URLs")
    temperature: float | None = Field(default=None, ge=0, le=2, description="0-2")
    thinking: ThinkingEffort | None = Field(default=None, description="Reasoning effort")
    quorum: int | None = Field(default=None, ge=1, description="Stop after so many answers")
    timeout_seconds: float | None = Field(default=None, gt=0, description="Return what is there by then")
    continuation_id: str | None = Field(default=None, description="Thread to continue")
    cache: SkipJsonSchema[CacheUse | None] = Field(default=None, description="Reuse identical answers")
    dry_run: SkipJsonSchema[bool] = Field(default=False, description="Only estimate the cost")

    @model_validator(mode="after")
    def _panel_of_a_sensible_size(self) -> ConsensusParams:
        if len(self.models) > LARGEST_PANEL:
            raise ValueError(f"'models' has {len(self.models)} members; at most {LARGEST_PANEL} are asked at once")
        return self


@tool(result=ConsensusResult, hints=ToolHints(always_load=True))
async def consensus(params: ConsensusParams, context: ToolContext) -> ToolResponse:
    """Ask the panel and store the round."""
    started = time.perf_counter()
    members = _members(params, context)
    thread = await context.open_thread(params.continuation_id)
    question = await context.question(params.prompt, files=params.files, images=params.images)
    if params.dry_run:
        return estimated(
            [
                context.estimate(thread, question, model=member.model, system=system_of(member, context.prompts))
                for member in members
            ]
        )
    await context.progress(0, len(members), f"asking {', '.join(member.label for member in members)}")
    ask = Ask(
        thread=thread,
        question=question,
        prompts=context.prompts,
        wishes=Wishes(temperature=params.temperature, thinking=params.thinking, cache=params.cache),
        quorum=params.quorum,
        timeout_seconds=_panel_seconds(params, context),
    )
    outcomes = await ask_panel(members, ask, context)
    answered = [outcome for outcome in outcomes if outcome.response is not None]
    if not answered:
        raise PanelFailed(f"None of the {len(members)} models answered.", " ".join(_reason(o) for o in outcomes))
    answers = [answer_of(o.response, stance=o.member.stance) for o in answered if o.response is not None]
    return report(
        outcomes,
        saved=await context.save(thread, question, answers),
        quorum=params.quorum,
        seconds=time.perf_counter() - started,
        limit=context.max_characters,
    )


def _members(params: ConsensusParams, context: ToolContext) -> tuple[Member, ...]:
    """Who is asked. Unknown names and doubles are refused before anything is paid."""
    if not params.models:
        return tuple(Member(model=model) for model in context.catalog.default_panel())
    asked = [MemberParams(model=entry) if isinstance(entry, str) else entry for entry in params.models]
    members = tuple(
        Member(model=context.catalog.resolve(m.model), stance=m.stance, stance_prompt=m.stance_prompt) for m in asked
    )
    seen: set[tuple[str, Stance | None]] = set()
    for member in members:
        if (member.model.name, member.stance) in seen:
            raise InvalidArguments(
                f"'{member.label}' is on the panel twice.",
                "Name each model once, or give the two different stances (for, against, neutral).",
            )
        seen.add((member.model.name, member.stance))
    return members


def _panel_seconds(params: ConsensusParams, context: ToolContext) -> float | None:
    """When the wait ends with what is there: as asked for, else as configured, never later than the client leaves."""
    wanted = params.timeout_seconds or context.settings.panel_timeout_seconds
    limits = [limit for limit in (wanted, context.max_seconds) if limit is not None]
    return min(limits, default=None)


def _reason(outcome: Outcome) -> str:
    if outcome.error is None:
        return f"{outcome.member.label}: stopped after {outcome.seconds:.1f} s by timeout_seconds."
    return f"{outcome.member.label}: {outcome.error}"
