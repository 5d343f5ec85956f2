"""Plan step by step, with revisions and branches."""

from __future__ import annotations

from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from zen_mcp.plugins.planner.plan import plan
from zen_mcp.tools.expert.params import Expert, ExpertParams
from zen_mcp.tools.expert.tool import ExpertTool
from zen_mcp.tools.files.names import FileEntry


class PlannerParams(ExpertParams):
    """Plan a task in steps, with branch_id and revises_step_number."""

    files: SkipJsonSchema[list[FileEntry]] = Field(default=[])


planner = ExpertTool(
    "planner",
    PlannerParams,
    Expert(answers="text", needs="prompt", wanted=(), asked="where_named", conclude=plan),
    core=True,
)
