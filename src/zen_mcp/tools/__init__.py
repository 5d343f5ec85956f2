"""The kit: all that a tool author imports."""

from zen_mcp.tools.base import BaseTool, ToolHints, ToolParams, ToolResult, tool
from zen_mcp.tools.context import ToolContext

__all__ = ["BaseTool", "ToolContext", "ToolHints", "ToolParams", "ToolResult", "tool"]
