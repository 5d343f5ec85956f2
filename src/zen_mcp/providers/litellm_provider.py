"""Reaches every vendor through one `litellm.Router`."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import suppress
from typing import Any

import anyio

from zen_mcp.catalog.model import Model
from zen_mcp.errors import VendorError
from zen_mcp.providers.answers import Collected, check_end, finish_reason_of, response_of
from zen_mcp.providers.base import LocalEndpoints, local_endpoint
from zen_mcp.providers.litellm_setup import import_litellm, is_imported
from zen_mcp.providers.parameters import parameters_of
from zen_mcp.providers.vendor_errors import translated
from zen_mcp.types import ModelChunk, ModelRequest, ModelResponse

__all__ = ["LiteLLMProvider", "import_litellm"]

_WISHES = {
    "temperature": "temperature",
    "reasoning_effort": "thinking effort",
    "response_format": "JSON format",
    "tools": "functions",
    "web_search_options": "web search",
}
"""Parameters that a caller would miss, and what he calls them."""


class LiteLLMProvider:
    """The provider that reaches them all.

    One `litellm.Router` for the life of the process; a deployment is added when it is first asked, so that a catalog of
    any size costs nothing. It neither retries nor cools down: that is decided in `routing`, in one place.

    Args:
        secrets: every key there is, to be kept out of messages.
        local: where local models serve; None when there are none.
    """

    def __init__(self, *, secrets: Callable[[], Iterable[str]], local: LocalEndpoints | None = None) -> None:
        self._secrets = secrets
        self._local = local
        self._router: Any = None
        self._deployed: dict[str, str] = {}
        self._supported: dict[str, frozenset[str]] = {}

    def warm_up(self) -> None:
        """Import LiteLLM and make one call to a closed port, which loads what the first call would. For a thread."""
        litellm = import_litellm()
        call = litellm.acompletion(
            model="hosted_vllm/warm-up",
            api_base="http://127.0.0.1:9/v1",
            api_key="none",
            messages=[{"role": "user", "content": "."}],
            num_retries=0,
            max_retries=0,
            timeout=1,
        )
        with suppress(Exception):
            asyncio.run(call)

    async def generate(self, request: ModelRequest, model: Model) -> ModelResponse:
        """As `Provider.generate`."""
        started = time.perf_counter()
        await self.prepare(model)
        parameters, notes = self._parameters(request, model)
        answer = await self._complete(model, parameters, request.timeout_seconds)
        return response_of(answer, model, seconds=time.perf_counter() - started, notes=notes)

    async def stream(self, request: ModelRequest, model: Model) -> AsyncGenerator[ModelChunk]:
        """As `Provider.stream`; a stream cut in the middle says how much had come."""
        started = time.perf_counter()
        collected = Collected()
        await self.prepare(model)
        parameters, notes = self._parameters(request, model)
        options = {**parameters, "stream": True, "stream_options": {"include_usage": True}}
        chunks = await self._complete(model, options, request.timeout_seconds)
        try:
            async for chunk in chunks:
                # A piece without text is a sign of life, too.
                yield ModelChunk(text=collected.take(chunk))
        except Exception as exc:  # noqa: BLE001 - the border: every class is looked up in the table
            raise self._translated(exc, model) from None
        # LiteLLM makes up a finish reason where none came, but not in the chunks that it keeps.
        received = getattr(chunks, "chunks", None)
        ended = bool(collected.finish_reason) if received is None else any(map(finish_reason_of, received))
        headers: Any = getattr(chunks, "_response_headers", None) or {}
        check_end(collected, model, ended=ended, content_type=str(headers.get("content-type", "")))
        yield ModelChunk(response=collected.response(model, time.perf_counter() - started, notes))

    async def aclose(self) -> None:
        """Close LiteLLM's connections; a second at most."""
        if self._router is None:
            return
        with anyio.move_on_after(1, shield=True), suppress(Exception):
            await import_litellm().close_litellm_async_clients()

    async def prepare(self, model: Model) -> None:
        """Have the router know the model, under its present address and key."""
        litellm = import_litellm() if is_imported() else await anyio.to_thread.run_sync(import_litellm)
        base_url, api_key, litellm_model = model.base_url, model.api_key, model.litellm_model
        endpoint = await local_endpoint(model, self._local)
        if endpoint is not None:
            base_url, api_key, litellm_model = endpoint.base_url, endpoint.api_key, f"hosted_vllm/{endpoint.model}"
        settings: dict[str, Any] = {
            "model": litellm_model,
            "api_base": base_url,
            "api_key": api_key or ("none" if base_url else None),
            "max_retries": 0,
            **dict(model.extra),
        }
        settings = {name: value for name, value in settings.items() if value is not None}
        identity = hashlib.sha256(repr(sorted(settings.items())).encode()).hexdigest()[:16]
        if self._deployed.get(model.id) == identity:
            return
        if self._router is None:
            self._router = _make_router(litellm)
        for entry in [old for name, old in self._deployed.items() if name == model.id]:
            self._router.delete_deployment(id=f"{model.id}-{entry}")
        deployment = litellm.types.router.Deployment(
            model_name=model.id,
            litellm_params=settings,
            model_info={"id": f"{model.id}-{identity}"},
        )
        self._router.add_deployment(deployment)
        self._deployed[model.id] = identity

    def _parameters(self, request: ModelRequest, model: Model) -> tuple[dict[str, Any], tuple[str, ...]]:
        """The parameters, without those that LiteLLM would drop in silence."""
        parameters, notes = parameters_of(request, model)
        wishes = _WISHES.keys() & parameters.keys()
        if not wishes:
            return parameters, notes
        supported = self._supported.get(model.litellm_model)
        if supported is None:
            supported = self._supported[model.litellm_model] = _supported_by_litellm(model.litellm_model)
        lost = [name for name in _WISHES if name in wishes and name not in supported]
        told = tuple(f"LiteLLM knows no {_WISHES[name]} of {model.name}; it was left out" for name in lost)
        kept = {name: value for name, value in parameters.items() if name not in lost}
        if "web_search_options" in kept and "/responses/" in model.litellm_model:
            # There it is a tool, and LiteLLM's bridge drops the option.
            del kept["web_search_options"]
            kept["tools"] = [*kept.get("tools", ()), {"type": "web_search"}]
        return kept, (*notes, *told)

    async def _complete(self, model: Model, parameters: dict[str, Any], seconds: float | None) -> Any:
        """One HTTP request."""
        timeout = max(seconds or model.timeout_seconds, 0.1)
        try:
            return await self._router.acompletion(model=model.id, timeout=timeout, **parameters)
        except Exception as exc:  # noqa: BLE001 - the border: every class is looked up in the table
            raise self._translated(exc, model) from None

    def _translated(self, exc: Exception, model: Model) -> Exception:
        if isinstance(exc, VendorError):
            return exc
        return translated(exc, model, secrets=self._secrets())


def _supported_by_litellm(litellm_model: str) -> frozenset[str]:
    """Which wishes LiteLLM passes on to this model."""
    litellm = import_litellm()
    name, vendor, *_ = litellm.get_llm_provider(model=litellm_model)
    found = litellm.get_supported_openai_params(model=name, custom_llm_provider=vendor)
    supported = frozenset(_WISHES if found is None else found)
    bare = name.removeprefix("responses/")
    if bare == name:
        return supported
    supported |= {"web_search_options"}  # which becomes a tool there
    if not litellm.supports_reasoning(model=bare, custom_llm_provider=vendor):
        # The bridge to Responses says that it passes the effort on, and for a name it does not know it does not.
        supported -= {"reasoning_effort"}
    return supported


def _make_router(litellm: Any) -> Any:
    """The router, with everything off that is decided here instead."""
    return litellm.router.Router(
        model_list=[],
        num_retries=0,
        max_fallbacks=0,
        retry_after=0,
        disable_cooldowns=True,
        enable_pre_call_checks=False,
        routing_strategy="simple-shuffle",
        cache_responses=False,
        set_verbose=False,
    )
