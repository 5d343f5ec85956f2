"""Think something through."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, WithJsonSchema

from zen_mcp.tools.expert.params import LARGEST_PANEL, Expert, ExpertParams
from zen_mcp.tools.expert.steps import StepParams
from zen_mcp.tools.expert.tool import ExpertTool


class ThinkDeepParams(ExpertParams):
    """Have a hard problem thought through: architecture, trade-offs, edge cases."""

    models: list[str] = Field(default=[], max_length=LARGEST_PANEL, description="One, or a panel")
    step: Annotated[StepParams | None, WithJsonSchema({"type": "object"})] = Field(
        default=None,
        description="To go step by step: {step, step_number, total_steps, next_step_required, findings, hypothesis, "
        "confidence, relevant_files, issues_found}",
    )


thinkdeep = ExpertTool("thinkdeep", ThinkDeepParams, Expert(answers="text", needs="prompt"), core=True)
