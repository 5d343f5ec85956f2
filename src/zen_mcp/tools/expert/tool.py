"""The family of expert tools: asked in one call or at the end of steps, of one model or a panel."""

from __future__ import annotations

import time
from collections.abc import Sequence

import anyio

from zen_mcp.tools.base import BaseTool, ToolHints
from zen_mcp.tools.context import Question, ToolContext, Wishes
from zen_mcp.tools.estimate import estimated
from zen_mcp.tools.expert import findings
from zen_mcp.tools.expert.inquiry import Inquiry, inquire
from zen_mcp.tools.expert.params import Expert, ExpertParams
from zen_mcp.tools.expert.report import FindingsResult, TextResult, findings_report, noted, text_report
from zen_mcp.tools.expert.steps import StepParams, missing, steps_with, stored_text
from zen_mcp.tools.panel.ask import Outcome, ask_panel, check_answered, panel_seconds
from zen_mcp.types import ModelResponse, ToolResponse

_AT_ONCE = 4
"""So many pieces are asked of one model at the same time."""


class ExpertTool(BaseTool[ExpertParams]):
    """One tool of the family.

    Args:
        name: what clients call.
        params: its arguments; the docstring is its description, its folder holds `prompt.md`.
        expert: what sets it apart.
        core: whether it is in the short profile.
    """

    def __init__(
        self, name: str, params: type[ExpertParams], expert: Expert | None = None, *, core: bool = False
    ) -> None:
        self.name = name
        self.params = params
        self.expert = expert or Expert()
        self.result = FindingsResult if self.expert.answers == "findings" else TextResult
        self.hints = ToolHints(core=core)

    async def run(self, params: ExpertParams, context: ToolContext) -> ToolResponse:
        """Note a step, or ask."""
        started = time.perf_counter()
        thread = await context.open_thread(params.continuation_id)
        steps = steps_with(thread, self.name, params.step) if params.step else ()
        if steps and (steps[-1].next_step_required or not self._asks(params, steps[-1])):
            saved = await context.save(thread, Question(text=stored_text(steps[-1]), tool=self.name), [])
            return noted(self.expert, steps, saved, lacking=missing(steps, self.expert.wanted))
        inquiry = await inquire(self.name, self.expert, params, context, thread=thread, steps=steps)
        if params.dry_run:
            return estimated(
                [
                    context.estimate(
                        inquiry.history, inquiry.asked(seat), model=seat.member.model, system=inquiry.system
                    )
                    for seat in inquiry.seats
                ]
            )
        outcomes = await self._outcomes(params, context, inquiry)
        seconds = time.perf_counter() - started
        if self.expert.answers == "text":
            return await text_report(inquiry, outcomes, context, seconds=seconds)
        return await findings_report(inquiry, outcomes, context, seconds=seconds, min_severity=params.min_severity)

    def _asks(self, params: ExpertParams, last: StepParams) -> bool:
        """Whether an expert looks at what the steps have found."""
        if not last.use_assistant_model:
            return False
        if self.expert.asked == "where_named":
            return bool(params.models) or params.model != "auto"
        return self.expert.asked == "always" or last.confidence != "certain"

    async def _outcomes(self, params: ExpertParams, context: ToolContext, inquiry: Inquiry) -> Sequence[Outcome]:
        """What each member said to each piece."""
        seats, alone = inquiry.seats, len(inquiry.members) == 1
        await context.progress(0, len(seats), f"asking {', '.join(member.label for member in inquiry.members)}")
        doors = {member.model.name: anyio.CapacityLimiter(_AT_ONCE) for member in inquiry.members}

        async def ask(index: int) -> ModelResponse:
            seat = seats[index]
            model = seat.member.model
            async with doors[model.name]:
                return await context.ask(
                    inquiry.history,
                    inquiry.asked(seat),
                    model=model,
                    system=inquiry.system,
                    wishes=self._wishes(params, as_json=model.capabilities.json_mode),
                    fallbacks=alone,  # a member of a panel speaks for itself
                    sink=context.watch(seat.label),
                )

        shared = len(seats) > 1 or params.timeout_seconds is not None
        limit = panel_seconds(params.timeout_seconds, context) if shared else None
        outcomes = await ask_panel([seat.member for seat in seats], ask, context, timeout_seconds=limit)
        error = outcomes[0].error
        if alone and error is not None and not any(outcome.response for outcome in outcomes):
            raise error
        check_answered(outcomes)
        return outcomes

    def _wishes(self, params: ExpertParams, *, as_json: bool) -> Wishes:
        return Wishes(
            temperature=params.temperature,
            thinking=params.thinking,
            cache=params.cache,
            web_search=params.web_search,
            json_schema=findings.SCHEMA if as_json and self.expert.answers == "findings" else None,
            json_lenient=True,
        )
