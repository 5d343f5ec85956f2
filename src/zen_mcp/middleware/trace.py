"""A span for every tool call and every model request."""

from __future__ import annotations

from collections.abc import Callable

from zen_mcp.middleware.base import CallNext
from zen_mcp.observability.tracing import Tracing
from zen_mcp.types import ModelRequest, ModelResponse, ToolRequest, ToolResponse


class ToolTrace:
    """A tool middleware.

    Args:
        tracing: makes the spans.
    """

    def __init__(self, tracing: Tracing) -> None:
        self._tracing = tracing

    async def __call__(self, request: ToolRequest, call_next: CallNext[ToolRequest, ToolResponse]) -> ToolResponse:
        """Run the call in a span."""
        with self._tracing.tool(request) as answered:
            response = await call_next(request)
            answered(response)
            return response


class ModelTrace:
    """A model middleware.

    Args:
        tracing: makes the spans.
        vendor_of: the vendor of a model's name.
    """

    def __init__(self, tracing: Tracing, *, vendor_of: Callable[[str], str]) -> None:
        self._tracing = tracing
        self._vendor_of = vendor_of

    async def __call__(self, request: ModelRequest, call_next: CallNext[ModelRequest, ModelResponse]) -> ModelResponse:
        """Ask in a span."""
        with self._tracing.model(request, vendor=self._vendor_of(request.model)) as answered:
            response = await call_next(request)
            answered(response)
            return response
