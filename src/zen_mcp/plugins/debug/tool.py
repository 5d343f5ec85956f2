"""Find the cause of a failure."""

from __future__ import annotations

from zen_mcp.tools.expert import ExpertTool
from zen_mcp.tools.expert_params import Expert, ExpertParams


class DebugParams(ExpertParams):
    """Find the root cause of a bug from symptoms and code."""


debug = ExpertTool("debug", DebugParams, Expert(wanted=("findings", "hypothesis", "relevant_files")), core=True)
