"""Audit security."""

from __future__ import annotations

from pydantic import Field

from zen_mcp.tools.expert.params import Expert, ExpertParams
from zen_mcp.tools.expert.tool import ExpertTool


class SecAuditParams(ExpertParams):
    """Audit code for vulnerabilities."""

    focus: str = Field(default="", description="owasp, compliance …")


secaudit = ExpertTool(
    "secaudit", SecAuditParams, Expert(wanted=("findings", "relevant_files", "issues_found"), asked="always")
)
