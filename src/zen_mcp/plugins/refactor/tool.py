"""Find what to restructure."""

from __future__ import annotations

from zen_mcp.tools.expert import ExpertTool
from zen_mcp.tools.expert_params import Expert, ExpertParams


class RefactorParams(ExpertParams):
    """Find worthwhile refactorings, with the steps to do them."""


refactor = ExpertTool("refactor", RefactorParams, Expert(wanted=("findings", "relevant_files", "issues_found")))
