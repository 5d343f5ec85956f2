"""Traces and metrics by OpenTelemetry's conventions for generative AI, sent over OTLP.

The one module that knows OpenTelemetry. Its SDK takes 300 ms to import: that happens in a thread behind the first
answers, and only where telemetry is wished for. What was asked and answered is recorded only on request.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from threading import Lock
from typing import Any

import anyio

from zen_mcp import __version__
from zen_mcp.catalog.model import Model
from zen_mcp.config.schema import TelemetrySettings
from zen_mcp.errors import ConfigError, ZenError
from zen_mcp.types import ModelRequest, ModelResponse, ToolRequest, ToolResponse

_SCOPE = "zen_mcp"
_ENDPOINTS = (
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
)
_CAPTURE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
_SPAN_DELAY_MILLISECONDS = 1_000
_CLOSE_SECONDS = 0.3
_LONGEST_NAME = 100
_COMPLAINT_SECONDS = 60.0

PROVIDER_NAMES: Mapping[str, str] = {
    "azure": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "gemini": "gcp.gemini",
    "mistral": "mistral_ai",
    "moonshot": "moonshot_ai",
    "vertex_ai": "gcp.vertex_ai",
    "xai": "x_ai",
}
"""What the conventions call a vendor, where that is not our word for it."""


def tracing_for(settings: TelemetrySettings, environ: Mapping[str, str]) -> Tracing | None:
    """The tracing where somebody takes it, else None.

    Raises:
        ConfigError: server.yaml names a receiver, but the extra is not installed.
    """
    named = settings.otlp_endpoint is not None
    if environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    if not named and not any(environ.get(name) for name in _ENDPOINTS):
        return None
    if _installed():
        return Tracing(settings)
    if named:
        text = "server.yaml: telemetry.otlp_endpoint is set, but OpenTelemetry is not installed."
        raise ConfigError(text, "Install the extra: pip install 'zen-mcp-server[otel]'")
    return None  # the variable may be meant for other programs


def _installed() -> bool:
    try:
        return find_spec("opentelemetry.util.genai") is not None
    except ImportError:
        return False


class Tracing:
    """Spans for tool calls, model requests and the HTTP requests that those take.

    Args:
        settings: where they are sent.
    """

    def __init__(self, settings: TelemetrySettings) -> None:
        self._settings = settings
        self._lock = Lock()
        self._handler: Any = None
        self._tracer: Any = None
        self._providers: tuple[Any, ...] = ()

    def load(self) -> None:
        """Import the SDK and make what sends; done by the first span, or before it in a thread."""
        with self._lock:
            if self._handler is not None:
                return
            if self._settings.content:
                os.environ.setdefault(_CAPTURE, "SPAN_ONLY")
            _quieten(logging.getLogger("opentelemetry"))
            traces, metrics = _tracer_provider(self._settings), _meter_provider(self._settings)
            handler: Any = import_module("opentelemetry.util.genai.handler").TelemetryHandler(
                tracer_provider=traces,
                meter_provider=metrics,
                instrumentation_scope_name=_SCOPE,
                instrumentation_scope_version=__version__,
            )
            self._providers = (traces, metrics)
            self._tracer = traces.get_tracer(_SCOPE, __version__)
            self._handler = handler

    @contextmanager
    def tool(self, request: ToolRequest) -> Generator[Callable[[ToolResponse], None]]:
        """A span `execute_tool NAME`, below the caller's own where he sent one. Takes the response."""
        self.load()
        context = _propagator().extract(dict(request.trace)) if request.trace else None
        span = self._handler.tool(request.tool[:_LONGEST_NAME], tool_type="function", context=context)
        span.tool_call_id = request.request_id
        if span.should_capture_content:
            span.arguments = dict(request.arguments)
        with _ended(span):
            yield partial(_tool_answered, span)

    @contextmanager
    def model(self, request: ModelRequest, *, vendor: str) -> Generator[Callable[[ModelResponse], None]]:
        """A span `chat MODEL`. Takes the response."""
        self.load()
        span = self._handler.inference(
            provider_name(vendor), request_model=request.model, conversation_id=request.thread_id
        )
        span.temperature = request.temperature
        span.max_tokens = request.max_output_tokens
        span.reasoning_level = request.thinking
        if span.should_capture_content:
            _asked(span, request)
        with _ended(span):
            yield partial(_model_answered, span)

    @contextmanager
    def attempt(self, request: ModelRequest, model: Model, number: int) -> Generator[Callable[[ModelResponse], None]]:
        """A span `attempt MODEL`, one HTTP request."""
        self.load()
        trace: Any = import_module("opentelemetry.trace")
        attributes = {
            "gen_ai.provider.name": provider_name(model.vendor),
            "gen_ai.request.model": model.name,
            "zen.attempt": number,
            "zen.call_id": request.request_id,
        }
        with self._tracer.start_as_current_span(
            f"attempt {model.name}",
            kind=trace.SpanKind.CLIENT,
            attributes=attributes,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield lambda response: span.set_attribute("gen_ai.response.model", response.answered_by)
            except BaseException as exc:
                span.set_attribute("error.type", error_type(exc))
                span.set_status(trace.StatusCode.ERROR)
                raise

    def waiting(self, model: Model) -> AbstractContextManager[object]:
        """Time in the queue is no span of its own: it is what the model's span has before its first attempt."""
        return nullcontext(model)

    def stalled(self, model: Model) -> None:
        """Mark the attempt whose stream was cut off after a silence."""
        span: Any = import_module("opentelemetry.trace").get_current_span()
        span.add_event("stream stalled", {"gen_ai.request.model": model.name})

    async def aclose(self) -> None:
        """Send what is left; a moment at most."""
        with anyio.move_on_after(_CLOSE_SECONDS):
            for provider in self._providers:
                await anyio.to_thread.run_sync(provider.shutdown, abandon_on_cancel=True)


def provider_name(vendor: str) -> str:
    """What the conventions call a vendor."""
    return PROVIDER_NAMES.get(vendor, vendor)


def error_type(exc: BaseException) -> str:
    """What ended it, without the words, which may quote what was asked."""
    if isinstance(exc, ZenError):
        return exc.kind
    return "cancelled" if isinstance(exc, anyio.get_cancelled_exc_class()) else type(exc).__name__


@contextmanager
def _ended(span: Any) -> Generator[None]:
    """End the span with the block."""
    try:
        yield
    except BaseException as exc:
        error: Any = import_module("opentelemetry.util.genai.types").Error
        kind = error_type(exc)
        span.fail(error(message=kind, type=kind))
        raise
    span.stop()


def _tool_answered(span: Any, response: ToolResponse) -> None:
    if span.should_capture_content:
        span.tool_result = response.text


def _asked(span: Any, request: ModelRequest) -> None:
    types: Any = import_module("opentelemetry.util.genai.types")
    span.system_instruction = [types.TextPart(content=one.text) for one in request.messages if one.role == "system"]
    span.input_messages = [
        types.InputMessage(role=one.role, parts=[types.TextPart(content=one.text)])
        for one in request.messages
        if one.role != "system"
    ]


def _model_answered(span: Any, response: ModelResponse) -> None:
    span.response_model_name = response.answered_by or response.model
    span.response_id = response.upstream_id
    span.finish_reasons = [response.finish_reason] if response.finish_reason else None
    if response.usage is not None and not response.cached:
        span.input_tokens = response.usage.input_tokens
        span.output_tokens = response.usage.output_tokens
        span.thinking_tokens = response.usage.reasoning_tokens or None
    more: dict[str, object] = {
        "zen.model": response.model,
        "zen.attempts": response.attempts,
        "zen.cached": response.cached,
        "zen.partial": response.partial,
    }
    if response.cost_dollars is not None:
        more["zen.cost_dollars"] = response.cost_dollars
    span.attributes.update(more)
    if span.should_capture_content:
        types: Any = import_module("opentelemetry.util.genai.types")
        part = types.TextPart(content=response.text)
        span.output_messages = [
            types.OutputMessage(role="assistant", parts=[part], finish_reason=response.finish_reason)
        ]


def _propagator() -> Any:
    return import_module("opentelemetry.trace.propagation.tracecontext").TraceContextTextMapPropagator()


def _tracer_provider(settings: TelemetrySettings) -> Any:
    sdk: Any = import_module("opentelemetry.sdk.trace")
    export: Any = import_module("opentelemetry.sdk.trace.export")
    otlp: Any = import_module("opentelemetry.exporter.otlp.proto.http.trace_exporter")
    # Our own end is bounded; the SDK's own, at exit, would wait for a receiver that hangs.
    provider = sdk.TracerProvider(resource=_resource(), shutdown_on_exit=False)
    exporter = otlp.OTLPSpanExporter(endpoint=_address(settings, "traces"), headers=_headers(settings))
    provider.add_span_processor(export.BatchSpanProcessor(exporter, schedule_delay_millis=_SPAN_DELAY_MILLISECONDS))
    return provider


def _meter_provider(settings: TelemetrySettings) -> Any:
    sdk: Any = import_module("opentelemetry.sdk.metrics")
    export: Any = import_module("opentelemetry.sdk.metrics.export")
    otlp: Any = import_module("opentelemetry.exporter.otlp.proto.http.metric_exporter")
    exporter = otlp.OTLPMetricExporter(endpoint=_address(settings, "metrics"), headers=_headers(settings))
    reader = export.PeriodicExportingMetricReader(exporter, export_interval_millis=settings.interval_seconds * 1000)
    return sdk.MeterProvider([reader], resource=_resource(), shutdown_on_exit=False)


def _resource() -> Any:
    resource: Any = import_module("opentelemetry.sdk.resources").Resource
    attributes = {"service.version": __version__}
    if not os.environ.get("OTEL_SERVICE_NAME"):
        attributes["service.name"] = "zen-mcp-server"
    return resource.create(attributes)


def _address(settings: TelemetrySettings, signal: str) -> str | None:
    """Where a signal goes; None: where the variables say."""
    return f"{settings.otlp_endpoint.rstrip('/')}/v1/{signal}" if settings.otlp_endpoint else None


def _headers(settings: TelemetrySettings) -> dict[str, str] | None:
    return dict(settings.headers) or None


def _quieten(logger: logging.Logger) -> None:
    """Let the SDK complain in our log, once a minute: a receiver that is away is no reason for a line per batch."""
    logger.handlers[:] = logging.getLogger(_SCOPE).handlers
    logger.propagate = False
    for handler in logger.handlers:
        handler.addFilter(_Rarely(logger.name))


class _Rarely(logging.Filter):
    """Lets one record a minute of the loggers below a name through, and all others."""

    def __init__(self, below: str) -> None:
        super().__init__()
        self._below = below
        self._last: float | None = None

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is written."""
        if not record.name.startswith(self._below):
            return True
        now = time.monotonic()
        if self._last is not None and now - self._last < _COMPLAINT_SECONDS:
            return False
        self._last = now
        return True
