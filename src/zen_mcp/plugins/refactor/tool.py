"""Find what to restructure."""

from __future__ import annotations

from zen_mcp.tools.expert.params import Expert, ExpertParams
from zen_mcp.tools.expert.tool import ExpertTool


class RefactorParams(ExpertParams):
    """Find worthwhile refactorings, with the steps to do them."""


refactor = ExpertTool("refactor", RefactorParams, Expert(wanted=("findings", "relevant_files", "issues_found")))
