"""Traces and metrics over OTLP, taken by a receiver that decodes them: what is in the spans and what is not."""

from __future__ import annotations

import threading
from collections.abc import Generator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from pathlib import Path
from typing import Any

import anyio
import pytest
from tests.support.results import data_of
from tests.support.server import RawServer, ServerFolder, connect, modern
from tests.upstream import Behaviour

from zen_mcp.config.schema import TelemetrySettings
from zen_mcp.observability.tracing import tracing_for

pytestmark = pytest.mark.anyio

SECRET = "the prompt of all prompts"
ANSWER = "the answer to it"
MODELS: dict[str, tuple[Behaviour, dict[str, Any]]] = {
    "fine": (
        Behaviour(text=ANSWER, reasoning_tokens=1, answered_by="fine-2026-11-01"),
        {"input_cost_per_token": 1e-3, "output_cost_per_token": 1e-2},
    ),
    "broken": (Behaviour(status=500, text="no"), {}),
}
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"
LATER = 60.0


class Receiver(BaseHTTPRequestHandler):
    """An OTLP receiver: keeps what it is sent, decoded."""

    spans: list[dict[str, Any]]
    metrics: set[str]
    bodies: list[bytes]
    authorization: set[str | None]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        cls = type(self)
        cls.bodies.append(body)
        cls.authorization.add(self.headers["Authorization"])
        if self.path == "/v1/traces":
            module: Any = import_module("opentelemetry.proto.collector.trace.v1.trace_service_pb2")
            for resource in module.ExportTraceServiceRequest.FromString(body).resource_spans:
                service = values_of(resource.resource.attributes)["service.name"]
                cls.spans += [read(span, service) for scope in resource.scope_spans for span in scope.spans]
        elif self.path == "/v1/metrics":
            module = import_module("opentelemetry.proto.collector.metrics.v1.metrics_service_pb2")
            for resource in module.ExportMetricsServiceRequest.FromString(body).resource_metrics:
                cls.metrics |= {metric.name for scope in resource.scope_metrics for metric in scope.metrics}
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def values_of(attributes: Any) -> dict[str, Any]:
    """Attributes by key."""
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}


def read(span: Any, service: str) -> dict[str, Any]:
    """A span as the tests look at it."""
    return {
        "name": span.name,
        "id": span.span_id.hex(),
        "parent": span.parent_span_id.hex(),
        "trace": span.trace_id.hex(),
        "failed": span.status.code == 2,
        "message": span.status.message,
        "service": service,
        "attributes": {
            key: list(value.values) if hasattr(value, "values") else value
            for key, value in values_of(span.attributes).items()
        },
    }


@pytest.fixture
def receiver() -> Generator[tuple[str, type[Receiver]]]:
    """A receiver on loopback: its address, and what it got."""
    fresh: dict[str, Any] = {"spans": [], "metrics": set[str](), "bodies": [], "authorization": set[str]()}
    handler = type("OneReceiver", (Receiver,), fresh)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", handler
    server.shutdown()
    server.server_close()
    thread.join()


def serving(path: Path, models: dict[str, dict[str, Any]], telemetry: Mapping[str, Any], **more: str) -> ServerFolder:
    """A server that sends what it does."""
    settings = {"default_model": "fine", "telemetry": telemetry}
    providers = {"providers": {"num_retries": 0, "fallback_chain": ["fine"]}}
    return ServerFolder(path=path, models=models, settings=settings, providers=providers, environment=more)


async def spans_of(got: type[Receiver], name: str) -> dict[str, dict[str, Any]]:
    """The spans that have come, by name, once one of this name is among them."""
    with anyio.fail_after(LATER):
        while name not in (found := {span["name"]: span for span in got.spans}):  # noqa: ASYNC110 - another process
            await anyio.sleep(0.05)
    return found


async def test_a_call_is_a_span_below_the_callers_with_the_model_and_the_request_below_it(
    tmp_path: Path, models: dict[str, dict[str, Any]], receiver: tuple[str, type[Receiver]]
) -> None:
    url, got = receiver
    telemetry = {"otlp_endpoint": url, "headers": {"authorization": "Bearer for-the-receiver"}}
    async with RawServer(serving(tmp_path, models, telemetry)) as server:
        meta = {"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "vendor=one"}
        call = {"name": "chat", "arguments": {"prompt": SECRET}, "_meta": meta}
        answer = await server.request(1, "tools/call", modern(call))
        thread = answer["result"]["structuredContent"]["continuation_id"]
        spans = await spans_of(got, "execute_tool chat")
    tool, model, attempt = spans["execute_tool chat"], spans["chat fine"], spans["attempt fine"]
    assert (tool["trace"], tool["parent"]) == (TRACE, PARENT)
    assert (model["parent"], attempt["parent"]) == (tool["id"], model["id"])
    assert {span["service"] for span in spans.values()} == {"zen-mcp-server"}
    assert not any(span["failed"] for span in spans.values())
    assert tool["attributes"]["gen_ai.tool.name"] == "chat"
    assert tool["attributes"]["gen_ai.tool.call.id"].startswith("c-")
    told = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "custom",
        "gen_ai.request.model": "fine",
        "gen_ai.response.model": "fine-2026-11-01",
        "gen_ai.conversation.id": thread,
        "zen.model": "fine",
        "zen.attempts": 1,
        "zen.cached": False,
    }
    assert {name: model["attributes"].get(name) for name in told} == told
    assert model["attributes"]["gen_ai.usage.input_tokens"] > 0
    assert model["attributes"]["zen.cost_dollars"] > 0
    assert (attempt["attributes"]["zen.attempt"], attempt["attributes"]["gen_ai.request.model"]) == (1, "fine")
    sent = b"".join(got.bodies)
    assert SECRET.encode() not in sent
    assert ANSWER.encode() not in sent
    assert got.authorization == {"Bearer for-the-receiver"}


async def test_a_failed_request_is_a_failed_span_with_its_kind_and_without_its_words(
    tmp_path: Path, models: dict[str, dict[str, Any]], receiver: tuple[str, type[Receiver]]
) -> None:
    url, got = receiver
    # The variable works as the setting does.
    async with connect(serving(tmp_path, models, {}, OTEL_EXPORTER_OTLP_ENDPOINT=url)) as client:
        data_of(await client.call_tool("chat", {"prompt": "hello", "model": "broken"}))
        await client.call_tool("chat", {"prompt": " "})
        spans = await spans_of(got, "attempt broken")
        await spans_of(got, "chat broken")
        with anyio.fail_after(LATER):
            while not any(span["failed"] for span in got.spans if span["name"] == "execute_tool chat"):  # noqa: ASYNC110
                await anyio.sleep(0.05)
    assert (spans["attempt broken"]["failed"], spans["attempt broken"]["message"]) == (True, "")
    assert spans["attempt broken"]["attributes"]["error.type"] == "VendorUnavailable"
    stepped_in = next(span for span in got.spans if span["name"] == "attempt fine")
    assert stepped_in["attributes"]["zen.attempt"] == 2
    refused = next(span for span in got.spans if span["name"] == "execute_tool chat" and span["failed"])
    assert refused["attributes"]["error.type"] == "InvalidArguments"
    assert refused["message"] == "InvalidArguments"


async def test_content_is_recorded_on_request(
    tmp_path: Path, models: dict[str, dict[str, Any]], receiver: tuple[str, type[Receiver]]
) -> None:
    url, got = receiver
    async with connect(serving(tmp_path, models, {"otlp_endpoint": url, "content": True})) as client:
        await client.call_tool("chat", {"prompt": SECRET})
        spans = await spans_of(got, "execute_tool chat")
    assert SECRET in spans["chat fine"]["attributes"]["gen_ai.input.messages"]
    assert ANSWER in spans["chat fine"]["attributes"]["gen_ai.output.messages"]
    assert SECRET in spans["execute_tool chat"]["attributes"]["gen_ai.tool.call.arguments"]


async def test_metrics_are_sent_by_their_conventional_names(
    tmp_path: Path, models: dict[str, dict[str, Any]], receiver: tuple[str, type[Receiver]]
) -> None:
    url, got = receiver
    async with connect(serving(tmp_path, models, {"otlp_endpoint": url, "interval_seconds": 0.5})) as client:
        await client.call_tool("chat", {"prompt": "hello"})
        wanted = {"gen_ai.client.operation.duration", "gen_ai.client.token.usage"}
        with anyio.fail_after(LATER):
            while not wanted <= got.metrics:  # noqa: ASYNC110 - another process sends
                await anyio.sleep(0.05)


async def test_a_receiver_that_is_away_costs_no_call_anything(
    tmp_path: Path, models: dict[str, dict[str, Any]]
) -> None:
    async with connect(serving(tmp_path, models, {"otlp_endpoint": "http://127.0.0.1:9"})) as client:
        for _ in range(3):
            assert data_of(await client.call_tool("chat", {"prompt": "hello"}))["text"] == ANSWER


def test_nothing_is_traced_where_nobody_takes_it() -> None:
    endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}
    assert tracing_for(TelemetrySettings(), {}) is None
    assert tracing_for(TelemetrySettings(), {**endpoint, "OTEL_SDK_DISABLED": "true"}) is None
    assert tracing_for(TelemetrySettings(), endpoint) is not None
