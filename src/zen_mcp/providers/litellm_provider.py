"""Reaches every vendor through one `litellm.Router`."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from typing import Any, Protocol

import anyio

from zen_mcp.catalog.model import Model
from zen_mcp.errors import (
    InvalidArguments,
    LocalModelError,
    VendorBadAnswer,
    VendorError,
    VendorTimeout,
)
from zen_mcp.providers.base import LocalEndpoints
from zen_mcp.providers.litellm_answers import Collected, check_end, response_of
from zen_mcp.providers.litellm_errors import translate
from zen_mcp.providers.litellm_setup import import_litellm, is_imported
from zen_mcp.types import Message, ModelChunk, ModelRequest, ModelResponse

__all__ = ["LiteLLMProvider", "import_litellm"]

log = logging.getLogger("zen_mcp.providers")

MOST_REQUESTS = 3
"""HTTP requests per model request, the first included. The only place where anything is retried."""
PAUSES_SECONDS = (0.2, 0.5)
CLAUDE_OUTPUT_TOKENS = 16_384
"""Anthropic wants a limit, and LiteLLM would take the model's maximum."""

_EFFORTS = {"none": "none", "minimal": "minimal", "low": "low", "medium": "medium", "high": "high", "max": "high"}


class Models(Protocol):
    """What the provider needs of the catalog."""

    def resolve(self, name: str) -> Model:
        """The model of this name."""
        ...

    def secrets(self) -> Iterable[str]:
        """Every key there is, to be kept out of messages."""
        ...


class LiteLLMProvider:
    """The provider that reaches them all.

    One router for the life of the process; a model's deployment is added when the model is first asked, so that a
    catalog of any size costs nothing. LiteLLM neither retries nor cools down: that is decided here, in one place.

    Args:
        catalog: the models and their keys.
        local: where local models serve; None when there are none.
    """

    def __init__(self, *, catalog: Models, local: LocalEndpoints | None = None) -> None:
        self._catalog = catalog
        self._local = local
        self._router: Any = None
        self._deployed: dict[str, str] = {}

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

    async def generate(self, request: ModelRequest) -> ModelResponse:
        """Ask once, retrying what may pass, within one deadline.

        Raises:
            VendorError: typed, free of keys, saying what to do.
            LocalModelError: the local panel cannot serve this model.
            InvalidArguments: images for a model that sees none.
        """
        model = self._catalog.resolve(request.model)
        deadline = request.timeout_seconds or model.timeout_seconds
        started = time.perf_counter()
        failure: VendorError | None = None
        with anyio.move_on_after(deadline):
            parameters, notes = _parameters(request, model)
            await self._prepare(model)
            for attempt in range(1, MOST_REQUESTS + 1):
                try:
                    answer = await self._complete(model, parameters, deadline - (time.perf_counter() - started))
                    return response_of(
                        answer, model, seconds=time.perf_counter() - started, attempts=attempt, notes=notes
                    )
                except VendorError as exc:
                    failure = exc
                    pause = _pause(exc, attempt, deadline - (time.perf_counter() - started))
                    if pause is None:
                        raise
                await anyio.sleep(pause)
                await self._prepare(model)
        raise _timed_out(model, deadline, failure)

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelChunk]:
        """Ask once and yield the answer as it comes; nothing is retried.

        Raises:
            VendorError: as `generate`; a stream cut in the middle says how much had come.
        """
        model = self._catalog.resolve(request.model)
        deadline = request.timeout_seconds or model.timeout_seconds
        started = time.perf_counter()
        parameters, notes = _parameters(request, model)
        collected = Collected()
        with anyio.move_on_after(deadline) as scope:
            await self._prepare(model)
            options = {**parameters, "stream": True, "stream_options": {"include_usage": True}}
            chunks = await self._complete(model, options, deadline)
            try:
                async for chunk in chunks:
                    text = collected.take(chunk)
                    if text:
                        yield ModelChunk(text=text)
            except Exception as exc:  # noqa: BLE001 - the border: every class is looked up in the table
                raise self._translated(exc, model) from None
            check_end(chunks, collected, model)
            yield ModelChunk(response=collected.response(model, time.perf_counter() - started, notes))
        if scope.cancelled_caught:
            raise _timed_out(model, deadline, None)

    async def aclose(self) -> None:
        """Close LiteLLM's connections; a second at most."""
        if self._router is None:
            return
        with anyio.move_on_after(1, shield=True), suppress(Exception):
            await import_litellm().close_litellm_async_clients()

    async def _prepare(self, model: Model) -> None:
        """Have the router know the model, under its present address and key."""
        litellm = import_litellm() if is_imported() else await anyio.to_thread.run_sync(import_litellm)
        base_url, api_key = model.base_url, model.api_key
        litellm_model = model.litellm_model
        if model.weights is not None:
            if self._local is None:
                raise LocalModelError(f"'{model.name}' is a local model, and there is no local panel here.")
            endpoint = await self._local.endpoint(model.weights)
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
        if self._deployed.get(model.name) == identity:
            return
        if self._router is None:
            self._router = _make_router(litellm)
        for entry in [old for name, old in self._deployed.items() if name == model.name]:
            self._router.delete_deployment(id=f"{model.name}-{entry}")
        deployment = litellm.types.router.Deployment(
            model_name=model.name,
            litellm_params=settings,
            model_info={"id": f"{model.name}-{identity}"},
        )
        self._router.add_deployment(deployment)
        self._deployed[model.name] = identity

    async def _complete(self, model: Model, parameters: dict[str, Any], remaining_seconds: float) -> Any:
        """One HTTP request."""
        try:
            return await self._router.acompletion(model=model.name, timeout=max(remaining_seconds, 0.1), **parameters)
        except Exception as exc:  # noqa: BLE001 - the border: every class is looked up in the table
            raise self._translated(exc, model) from None

    def _translated(self, exc: Exception, model: Model) -> Exception:
        if isinstance(exc, VendorError):
            return exc
        # The cause is dropped: its text and its frames hold the key.
        secrets = {*self._catalog.secrets(), model.api_key or ""}
        error = translate(exc, model, secrets=secrets)
        log.debug("%s: %s -> %s", model.name, type(exc).__name__, error)
        return error or VendorBadAnswer(f"'{model.name}' ({model.vendor}) failed: {type(exc).__name__}.", "Try again.")


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


def _parameters(request: ModelRequest, model: Model) -> tuple[dict[str, Any], tuple[str, ...]]:
    """What is sent besides the deployment: these keys and no others, and notes on what could not be honoured."""
    notes: list[str] = []
    parameters: dict[str, Any] = {"messages": [_message(message, model) for message in request.messages]}
    if request.temperature is not None:
        if model.capabilities.temperature:
            parameters["temperature"] = request.temperature
        else:
            notes.append(f"{model.name} takes no temperature; it was left out")
    if request.thinking is not None:
        if model.capabilities.reasoning:
            parameters["reasoning_effort"] = _EFFORTS[request.thinking]
        elif request.thinking != "none":
            notes.append(f"{model.name} has no thinking effort; it was left out")
    limit = request.max_output_tokens
    if limit is None and "claude" in model.litellm_model:
        limit = min(model.max_output or CLAUDE_OUTPUT_TOKENS, CLAUDE_OUTPUT_TOKENS)
    if limit is None and model.is_local:
        limit = model.max_output  # small models like to go on for ever
    if limit is not None:
        parameters["max_tokens"] = limit
    return parameters, tuple(notes)


def _message(message: Message, model: Model) -> dict[str, Any]:
    if not message.images:
        return {"role": message.role, "content": message.text}
    if not model.capabilities.vision:
        raise InvalidArguments(
            f"'{model.name}' cannot see images.", "Leave 'images' out, or choose a model with vision (listmodels)."
        )
    urls = [f"data:{image.mime_type};base64,{image.data_base64}" for image in message.images]
    parts: list[dict[str, Any]] = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return {"role": message.role, "content": [{"type": "text", "text": message.text}, *parts]}


def _pause(exc: VendorError, attempt: int, remaining_seconds: float) -> float | None:
    """Seconds to wait before the next request; None when there is to be none."""
    if not exc.retryable or attempt >= MOST_REQUESTS:
        return None
    pause = max(PAUSES_SECONDS[attempt - 1], exc.retry_after_seconds or 0.0)
    # Waiting for longer than a caller would like is worse than telling when to come back.
    return pause if pause < min(remaining_seconds, 10.0) else None


def _timed_out(model: Model, deadline: float, failure: VendorError | None) -> VendorTimeout:
    before = f" Before that: {failure.problem}" if failure else ""
    return VendorTimeout(
        f"'{model.name}' ({model.vendor}) gave no answer within {deadline:g} s.{before}",
        "Try again, another model, or a longer timeout_seconds in models.yaml.",
    )
