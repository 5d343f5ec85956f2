"""Write documentation."""

from __future__ import annotations

from zen_mcp.tools.expert import ExpertTool
from zen_mcp.tools.expert_params import Expert, ExpertParams


class DocGenParams(ExpertParams):
    """Write documentation for code, in its own style."""


docgen = ExpertTool("docgen", DocGenParams, Expert(answers="text"))
