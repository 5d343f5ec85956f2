"""Review files, or what changed in git."""

from __future__ import annotations

from pydantic import Field

from zen_mcp.tools.expert.params import Expert, ExpertParams
from zen_mcp.tools.expert.tool import ExpertTool


class CodeReviewParams(ExpertParams):
    """Review files or git changes: bugs, security, clarity."""

    changes: str = Field(default="", description="staged, unstaged, all, A..B, branch:BASE")
    focus: str = ""


codereview = ExpertTool(
    "codereview",
    CodeReviewParams,
    Expert(changes="all", wanted=("findings", "relevant_files", "issues_found")),
    core=True,
)
