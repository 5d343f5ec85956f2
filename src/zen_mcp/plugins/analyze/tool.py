"""Understand code."""

from __future__ import annotations

from zen_mcp.tools.expert.params import ExpertParams
from zen_mcp.tools.expert.tool import ExpertTool


class AnalyzeParams(ExpertParams):
    """Assess architecture and quality of code."""


analyze = ExpertTool("analyze", AnalyzeParams)
