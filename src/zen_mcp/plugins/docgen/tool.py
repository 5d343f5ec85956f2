"""Write documentation."""

from __future__ import annotations

from zen_mcp.tools.expert.params import Expert, ExpertParams
from zen_mcp.tools.expert.tool import ExpertTool


class DocGenParams(ExpertParams):
    """Write documentation for code, in its own style."""


docgen = ExpertTool("docgen", DocGenParams, Expert(answers="text"))
