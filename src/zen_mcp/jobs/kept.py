"""A tool's answer as a job's result, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, cast

from zen_mcp.types import Audio, Block, Document, Image, JSONObject, ResourceLink, ToolResponse

_BLOCKS: Mapping[str, type[Block]] = {"image": Image, "audio": Audio, "document": Document}
_NAMES = {kind: name for name, kind in _BLOCKS.items()}


def kept(response: ToolResponse) -> JSONObject:
    """A response as a job's result."""
    result: dict[str, Any] = {"text": response.text, "structured": response.structured}
    if response.blocks:
        result["blocks"] = [{"kind": _NAMES[type(block)], **asdict(block)} for block in response.blocks]
    if response.links:
        result["links"] = [asdict(link) for link in response.links]
    return cast("JSONObject", result)


def response_of(result: JSONObject) -> ToolResponse:
    """The response that a job keeps as its result; the result of other work than a call as its own text."""
    parts = cast("dict[str, Any]", result)
    structured = parts.get("structured")
    return ToolResponse(
        text=str(parts.get("text", "")),
        structured=cast("JSONObject", structured) if isinstance(structured, dict) else result,
        blocks=tuple(_block(block) for block in parts.get("blocks", [])),
        links=tuple(ResourceLink(**link) for link in parts.get("links", [])),
    )


def _block(stored: Mapping[str, Any]) -> Block:
    fields = {name: value for name, value in stored.items() if name != "kind"}
    return _BLOCKS[stored["kind"]](**fields)
