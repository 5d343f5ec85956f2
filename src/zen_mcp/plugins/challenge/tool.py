"""Have a statement weighed again instead of agreed to."""

from __future__ import annotations

from pydantic import Field

from zen_mcp.errors import InvalidArguments
from zen_mcp.tools import ToolContext, ToolHints, ToolParams, ToolResult, tool
from zen_mcp.types import ToolResponse


class ChallengeParams(ToolParams):
    """Reassess a statement critically instead of agreeing. No model is asked."""

    prompt: str = Field(description="The statement")


class ChallengeResult(ToolResult):
    """What to do with the statement."""

    text: str = ""


@tool(hints=ToolHints(open_world=False, core=False))
async def challenge(params: ChallengeParams, context: ToolContext) -> ToolResponse:
    """Wrap the statement into the instruction."""
    if not params.prompt.strip():
        raise InvalidArguments("'prompt' is empty.", "Give the statement that is to be challenged.")
    text = f"{context.prompts['instruction']}\n\n<statement>\n{params.prompt.strip()}\n</statement>"
    return ToolResponse(text=text, structured=ChallengeResult(text=text).to_json())
