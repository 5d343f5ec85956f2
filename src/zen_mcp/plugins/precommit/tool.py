"""Check what is about to be committed."""

from __future__ import annotations

from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from zen_mcp.tools.expert.params import Expert, ExpertParams
from zen_mcp.tools.expert.tool import ExpertTool
from zen_mcp.tools.files.names import FileEntry


class PrecommitParams(ExpertParams):
    """Check uncommitted changes before a commit."""

    files: SkipJsonSchema[list[FileEntry]] = Field(default=[])
    changes: str = ""
    folder: str | None = Field(default=None, description="In the repository")


precommit = ExpertTool(
    "precommit",
    PrecommitParams,
    Expert(needs="changes", changes="all", wanted=("findings", "issues_found"), asked="always"),
    core=True,
)
