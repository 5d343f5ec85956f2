"""Find the cause of a failure."""

from __future__ import annotations

from zen_mcp.tools.expert.params import Expert, ExpertParams
from zen_mcp.tools.expert.tool import ExpertTool


class DebugParams(ExpertParams):
    """Find the root cause of a bug from symptoms and code."""


debug = ExpertTool("debug", DebugParams, Expert(wanted=("findings", "hypothesis", "relevant_files")), core=True)
