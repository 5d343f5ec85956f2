"""One line per tool call and one per model request; never what was asked or answered."""

from __future__ import annotations

import time

from zen_mcp.errors import ZenError
from zen_mcp.middleware.base import CallNext
from zen_mcp.observability.logs import EventLog
from zen_mcp.types import ModelRequest, ModelResponse, ToolRequest, ToolResponse

_log = EventLog()


async def log_tool(request: ToolRequest, call_next: CallNext[ToolRequest, ToolResponse]) -> ToolResponse:
    """Log a tool call: name, seconds, and the kind of a failure."""
    started = time.perf_counter()
    _log.debug("tool_arguments", call=request.request_id, tool=request.tool, arguments=dict(request.arguments))
    try:
        response = await call_next(request)
    except ZenError as exc:
        _log.info("tool_failed", call=request.request_id, tool=request.tool, error=exc.kind, seconds=_since(started))
        raise
    _log.info("tool_called", call=request.request_id, tool=request.tool, seconds=_since(started))
    return response


async def log_model(request: ModelRequest, call_next: CallNext[ModelRequest, ModelResponse]) -> ModelResponse:
    """Log a model request: model, tokens, dollars, seconds, and the kind of a failure."""
    started = time.perf_counter()
    try:
        response = await call_next(request)
    except ZenError as exc:
        _log.warning(
            "model_failed",
            call=request.request_id,
            model=request.model,
            error=exc.kind,
            seconds=_since(started),
        )
        raise
    usage = response.usage
    _log.info(
        "model_answered",
        call=request.request_id,
        model=response.model,
        vendor=response.vendor,
        input_tokens=usage.input_tokens if usage else None,
        output_tokens=usage.output_tokens if usage else None,
        cost_dollars=response.cost_dollars,
        attempts=response.attempts,
        seconds=_since(started),
    )
    return response


def _since(started: float) -> float:
    return round(time.perf_counter() - started, 3)
