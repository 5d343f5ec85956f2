"""What tools answer, as the protocol's content."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import mcp_types as types

from zen_mcp.types import Audio, Block, Document, Image, ToolResponse


def call_result(response: ToolResponse, *, links: bool) -> types.CallToolResult:
    """A tool's answer; `links`: whether this client shows links to resources."""
    content: list[types.ContentBlock] = []
    if response.text or not response.blocks:
        content.append(types.TextContent(type="text", text=response.text))
    content += [content_block(block) for block in response.blocks]
    content.extend(
        types.ResourceLink(uri=one.uri, name=one.name, title=one.title, mime_type=one.mime_type)
        for one in (response.links if links else ())
    )
    return types.CallToolResult(content=content, structured_content=cast("dict[str, Any]", response.structured))


def error_result(text: str, error: Mapping[str, object]) -> types.CallToolResult:
    """A tool's failure: as text for people and models, and as data."""
    content: list[types.ContentBlock] = [types.TextContent(type="text", text=text)]
    return types.CallToolResult(content=content, structured_content={"error": dict(error)}, is_error=True)


def prompt_result(description: str, response: ToolResponse) -> types.GetPromptResult:
    """A tool's answer as a prompt's messages: what is attached first, then the text."""
    content: list[types.ContentBlock] = [content_block(block) for block in response.blocks]
    if response.text:
        content.append(types.TextContent(type="text", text=response.text))
    messages = [types.PromptMessage(role="user", content=one) for one in content]
    return types.GetPromptResult(description=description, messages=messages)


def content_block(block: Block) -> types.ContentBlock:
    """One block."""
    match block:
        case Image():
            return types.ImageContent(type="image", data=block.data_base64, mime_type=block.mime_type)
        case Audio():
            return types.AudioContent(type="audio", data=block.data_base64, mime_type=block.mime_type)
        case Document():
            return types.EmbeddedResource(type="resource", resource=document_contents(block))


def resource_contents(
    response: ToolResponse, *, uri: str, mime_type: str, text: str
) -> list[types.TextResourceContents | types.BlobResourceContents]:
    """A tool's answer as what a resource holds: its blocks where it has some, else its text."""
    if not response.blocks:
        return [types.TextResourceContents(uri=uri, mime_type=mime_type, text=text)]
    return [
        document_contents(block)
        if isinstance(block, Document)
        else types.BlobResourceContents(uri=uri, mime_type=block.mime_type, blob=block.data_base64)
        for block in response.blocks
    ]


def document_contents(document: Document) -> types.TextResourceContents | types.BlobResourceContents:
    """A document as a resource's contents."""
    if document.data_base64 is not None:
        return types.BlobResourceContents(uri=document.uri, mime_type=document.mime_type, blob=document.data_base64)
    return types.TextResourceContents(uri=document.uri, mime_type=document.mime_type, text=document.text)
