"""Reaches OpenAI-compatible endpoints through the OpenAI SDK, without LiteLLM.

The emergency exit when LiteLLM cannot be imported, and the other side of a comparison.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import suppress
from importlib.util import find_spec
from typing import Any

import anyio

from zen_mcp.catalog.model import Model
from zen_mcp.errors import VendorError, VendorRejected
from zen_mcp.providers.answers import Collected, check_end, response_of
from zen_mcp.providers.base import LocalEndpoints, local_endpoint
from zen_mcp.providers.parameters import parameters_of
from zen_mcp.providers.vendor_errors import translated
from zen_mcp.types import ModelChunk, ModelRequest, ModelResponse

BASE_URLS = {
    "openai": "https://api.openai.com/v1",
    "anthropic": "https://api.anthropic.com/v1/",
    "gemini": "https://generativelanguage.googleapis.com/v1beta/openai/",
    "xai": "https://api.x.ai/v1",
    "mistral": "https://api.mistral.ai/v1",
    "deepseek": "https://api.deepseek.com/v1",
    "groq": "https://api.groq.com/openai/v1",
    "openrouter": "https://openrouter.ai/api/v1",
    "together_ai": "https://api.together.xyz/v1",
    "fireworks_ai": "https://api.fireworks.ai/inference/v1",
    "cerebras": "https://api.cerebras.ai/v1",
    "moonshot": "https://api.moonshot.ai/v1",
    "perplexity": "https://api.perplexity.ai",
}
"""Where vendors speak OpenAI's chat completions API, by their own documentation."""


class DirectProvider:
    """One HTTP client per endpoint for the life of the process; no retries, which are the router's.

    Args:
        secrets: every key there is, to be kept out of messages.
        local: where local models serve; None when there are none.
    """

    def __init__(self, *, secrets: Callable[[], Iterable[str]], local: LocalEndpoints | None = None) -> None:
        self._secrets = secrets
        self._local = local
        self._clients: dict[tuple[str, str], Any] = {}

    def warm_up(self) -> None:
        """Import the SDK."""
        importlib.import_module("openai")

    async def prepare(self, model: Model) -> None:
        """As `Provider.prepare`."""
        await self._client(model)

    async def generate(self, request: ModelRequest, model: Model) -> ModelResponse:
        """As `Provider.generate`."""
        started = time.perf_counter()
        parameters, notes = parameters_of(request, model)
        answer = await self._complete(model, parameters, request.timeout_seconds)
        return response_of(answer, model, seconds=time.perf_counter() - started, notes=notes)

    async def stream(self, request: ModelRequest, model: Model) -> AsyncGenerator[ModelChunk]:
        """As `Provider.stream`."""
        started = time.perf_counter()
        parameters, notes = parameters_of(request, model)
        collected = Collected()
        options = {**parameters, "stream": True, "stream_options": {"include_usage": True}}
        chunks = await self._complete(model, options, request.timeout_seconds)
        try:
            async for chunk in chunks:
                yield ModelChunk(text=collected.take(chunk))
        except Exception as exc:  # noqa: BLE001 - the border: every class is looked up in the table
            raise self._translated(exc, model) from None
        finally:
            with anyio.CancelScope(shield=True), anyio.move_on_after(1), suppress(Exception):
                await chunks.close()
        content_type = str(chunks.response.headers.get("content-type", ""))
        check_end(collected, model, ended=bool(collected.finish_reason), content_type=content_type)
        yield ModelChunk(response=collected.response(model, time.perf_counter() - started, notes))

    async def aclose(self) -> None:
        """Close the connections; a second at most."""
        clients, self._clients = list(self._clients.values()), {}
        with anyio.move_on_after(1, shield=True), suppress(Exception):
            for client in clients:
                await client.close()

    async def _complete(self, model: Model, parameters: dict[str, Any], seconds: float | None) -> Any:
        client, name = await self._client(model)
        if model.vendor in {"openai", "azure"} and "max_tokens" in parameters:
            parameters["max_completion_tokens"] = parameters.pop("max_tokens")
        try:
            return await client.chat.completions.create(
                model=name, timeout=max(seconds or model.timeout_seconds, 0.1), **parameters
            )
        except Exception as exc:  # noqa: BLE001 - the border: every class is looked up in the table
            raise self._translated(exc, model) from None

    async def _client(self, model: Model) -> tuple[Any, str]:
        """The endpoint's client, and what the model is called there."""
        base_url, api_key = model.base_url or BASE_URLS.get(model.vendor), model.api_key
        name = model.litellm_model.partition("/")[2] or model.litellm_model
        endpoint = await local_endpoint(model, self._local)
        if endpoint is not None:
            base_url, api_key, name = endpoint.base_url, endpoint.api_key, endpoint.model
        if base_url is None:
            raise VendorRejected(
                f"'{model.name}' ({model.vendor}) can be reached through LiteLLM only.",
                "Set 'provider: litellm' in server.yaml, or choose another model.",
            )
        openai = await anyio.to_thread.run_sync(importlib.import_module, "openai")
        address = (base_url, api_key or "none")
        client = self._clients.get(address)
        if client is None:
            client = self._clients[address] = openai.AsyncOpenAI(
                base_url=base_url,
                api_key=address[1],
                max_retries=0,
                organization=None,
                project=None,
                # HTTP/2 where the vendor offers it in the TLS handshake, so that a burst shares one connection.
                http_client=openai.DefaultAsyncHttpxClient(http2=find_spec("h2") is not None),
            )
        return client, name

    def _translated(self, exc: Exception, model: Model) -> Exception:
        if isinstance(exc, VendorError):
            return exc
        return translated(exc, model, secrets=self._secrets())
