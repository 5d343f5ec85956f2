"""Counts what happens: tool calls, model requests, and the HTTP requests that those take."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager

import anyio

from zen_mcp.catalog.model import Model
from zen_mcp.errors import Refused, ZenError
from zen_mcp.middleware.base import CallNext
from zen_mcp.observability.metrics import Metrics
from zen_mcp.routing.watch import Answered
from zen_mcp.types import ModelRequest, ModelResponse, ToolRequest, ToolResponse, Usage


class ToolMetrics:
    """A tool middleware.

    Args:
        metrics: where it is counted.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    async def __call__(self, request: ToolRequest, call_next: CallNext[ToolRequest, ToolResponse]) -> ToolResponse:
        """Run the call and count it."""
        started, status, tool = time.perf_counter(), "ok", request.tool
        try:
            with self._metrics.during("tool_calls_in_flight", tool=tool):
                return await call_next(request)
        except BaseException as exc:
            status = status_of(exc)
            if isinstance(exc, Refused):
                self._metrics.count("refusals_total", tool=tool, error_type=exc.kind)
            raise
        finally:
            self._metrics.count("tool_calls_total", tool=tool, status=status)
            self._metrics.observe("tool_execution_seconds", time.perf_counter() - started, tool=tool)


class ModelMetrics:
    """A model middleware.

    Args:
        metrics: where it is counted.
        vendor_of: the vendor of a model's name.
    """

    def __init__(self, metrics: Metrics, *, vendor_of: Callable[[str], str]) -> None:
        self._metrics = metrics
        self._vendor_of = vendor_of

    async def __call__(self, request: ModelRequest, call_next: CallNext[ModelRequest, ModelResponse]) -> ModelResponse:
        """Ask and count it."""
        started = time.perf_counter()
        try:
            with self._metrics.during("model_requests_in_flight", model=request.model):
                response = await call_next(request)
        except BaseException as exc:
            vendor = self._vendor_of(request.model)
            self._metrics.count("model_requests_total", model=request.model, provider=vendor, status=status_of(exc))
            self._metrics.observe("model_request_seconds", time.perf_counter() - started, model=request.model)
            raise
        self._answered(response, time.perf_counter() - started)
        return response

    def _answered(self, response: ModelResponse, seconds: float) -> None:
        metrics, model, vendor = self._metrics, response.model, response.vendor
        metrics.count("model_requests_total", model=model, provider=vendor, status="ok")
        if response.cached:
            metrics.count("cache_hits_total", model=model)
            metrics.count("cache_saved_tokens_total", response.usage.total_tokens if response.usage else 0, model=model)
            return
        metrics.observe("model_request_seconds", seconds, model=model)
        if response.cost_dollars is None:
            metrics.count("model_cost_unknown_total", model=model, provider=vendor)
        else:
            metrics.count("model_cost_dollars_total", response.cost_dollars, model=model, provider=vendor)
        if response.because:
            metrics.count("model_fallbacks_total", model=response.asked, answered_by=model)
        if response.usage is not None:
            self._tokens(model, response.usage)

    def _tokens(self, model: str, usage: Usage) -> None:
        count = self._metrics.count
        count("model_tokens_total", usage.input_tokens, model=model, type="input")
        count("model_tokens_total", usage.output_tokens, model=model, type="output")
        if usage.cached_tokens:
            count("model_tokens_total", usage.cached_tokens, model=model, type="cached")
        if usage.reasoning_tokens:
            count("model_tokens_total", usage.reasoning_tokens, model=model, type="reasoning")


class AttemptMetrics:
    """Counts attempts, retries, vendors' errors, stalls and waiting.

    Args:
        metrics: where it is counted.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    @contextmanager
    def attempt(self, request: ModelRequest, model: Model, number: int) -> Generator[Answered]:
        """One HTTP request."""
        del request  # what is asked is nobody's business here
        self._metrics.count("model_attempts_total", model=model.name, provider=model.vendor)
        if number > 1:
            self._metrics.count("model_retries_total", model=model.name, provider=model.vendor)
        try:
            yield _unheard
        except ZenError as exc:
            self._metrics.count("api_errors_total", provider=model.vendor, error_type=exc.kind)
            raise

    def waiting(self, model: Model) -> AbstractContextManager[object]:
        """The time until the deployment has room."""
        return self._metrics.during("model_requests_waiting", model=model.name)

    def stalled(self, model: Model) -> None:
        """A stream was cut off after a silence."""
        self._metrics.count("stream_stalls_total", model=model.name, provider=model.vendor)


def status_of(exc: BaseException) -> str:
    """How a call ended that this exception ended: cancelled, refused or failed."""
    if isinstance(exc, anyio.get_cancelled_exc_class()):
        return "cancelled"
    return "refused" if isinstance(exc, Refused) else "failed"


def _unheard(response: ModelResponse) -> None:
    """Nothing of the answer is counted here."""
