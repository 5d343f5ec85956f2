"""Write tests."""

from __future__ import annotations

from zen_mcp.tools.expert import ExpertTool
from zen_mcp.tools.expert_params import Expert, ExpertParams


class TestGenParams(ExpertParams):
    """Write tests for code, edge cases first."""


testgen = ExpertTool("testgen", TestGenParams, Expert(answers="text"))
