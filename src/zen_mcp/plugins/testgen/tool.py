"""Write tests."""

from __future__ import annotations

from zen_mcp.tools.expert.params import Expert, ExpertParams
from zen_mcp.tools.expert.tool import ExpertTool


class TestGenParams(ExpertParams):
    """Write tests for code, edge cases first."""


testgen = ExpertTool("testgen", TestGenParams, Expert(answers="text"))
