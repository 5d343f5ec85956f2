"""Understand code."""

from __future__ import annotations

from zen_mcp.tools.expert import ExpertTool
from zen_mcp.tools.expert_params import ExpertParams


class AnalyzeParams(ExpertParams):
    """Assess architecture and quality of code."""


analyze = ExpertTool("analyze", AnalyzeParams)
