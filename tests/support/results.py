"""What a tool's result says, in either of its two forms."""

from __future__ import annotations

from typing import Any

from mcp_types import CallToolResult, TextContent


def text_of(result: CallToolResult) -> str:
    """The text, which is one part."""
    assert len(result.content) == 1, "several parts are glued together by some clients"
    part = result.content[0]
    assert isinstance(part, TextContent)
    return part.text


def data_of(result: CallToolResult) -> dict[str, Any]:
    """The structured content of a success."""
    assert result.is_error is False, text_of(result)
    assert result.structured_content is not None
    return result.structured_content


def error_of(result: CallToolResult) -> dict[str, Any]:
    """The error of a foreseen failure: kind, problem, fix."""
    assert result.is_error is True, text_of(result)
    assert result.structured_content is not None
    error = result.structured_content["error"]
    assert text_of(result).startswith(f"ERROR: {error['problem']}"[:60])
    return error
