"""How tools are shown to clients: what `tools/list` says, as plain JSON."""

from __future__ import annotations

from zen_mcp.tools.base import BaseTool, ToolProtocol
from zen_mcp.types import JSONObject

# Cut at 4,096 characters by Claude and never shown by some clients: nothing that a tool needs may stand only here.
INSTRUCTIONS = (
    "Ask other AI models: chat asks one, consensus asks several at once and compares. Every answer has a "
    "continuation_id; pass it on to go on in the same thread, with any tool. listmodels shows what can be asked."
)


def describe(tool: ToolProtocol) -> JSONObject:
    """One entry of `tools/list`. A tool that is no `BaseTool` has just name, description and schema."""
    entry: JSONObject = {
        "name": tool.name,
        "description": tool.description,
        "inputSchema": tool.get_schema(),
    }
    if not isinstance(tool, BaseTool):
        return entry
    hints = tool.hints
    entry["outputSchema"] = tool.get_output_schema()
    annotations: JSONObject = {}
    if hints.read_only:
        annotations["readOnlyHint"] = True
    if not hints.open_world:
        annotations["openWorldHint"] = False
    if annotations:
        entry["annotations"] = annotations
    if hints.always_load:
        entry["_meta"] = {"anthropic/alwaysLoad": True}
    return entry
