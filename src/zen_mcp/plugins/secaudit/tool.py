"""Audit security."""

from __future__ import annotations

from pydantic import Field

from zen_mcp.tools.expert import ExpertTool
from zen_mcp.tools.expert_params import Expert, ExpertParams


class SecAuditParams(ExpertParams):
    """Audit code for vulnerabilities."""

    focus: str = Field(default="", description="owasp, compliance …")


secaudit = ExpertTool(
    "secaudit", SecAuditParams, Expert(wanted=("findings", "relevant_files", "issues_found"), asked="always")
)
