"""Remembers answers: an identical request is answered from memory, and identical requests at the same time are one.

That holds for all replicas together where they share a Redis.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Protocol, cast

import anyio

from zen_mcp.errors import StorageError, VendorTimeout
from zen_mcp.middleware.base import CallNext
from zen_mcp.middleware.lead import Lead
from zen_mcp.middleware.similar import SimilarQuestions
from zen_mcp.observability.logs import EventLog
from zen_mcp.types import CacheUse, FunctionCall, ModelRequest, ModelResponse, Usage

_log = EventLog()


class ResponseStore(Protocol):
    """Where answers are kept."""

    async def load(self, key: str) -> str | None:
        """The value of a key; None when there is none. Raises StorageError."""
        ...

    async def store(self, key: str, value: str, *, seconds: float) -> None:
        """Keep a value for so long. Raises StorageError."""
        ...


@dataclass(slots=True)
class _Flight:
    """A request under way that others wait for."""

    landed: anyio.Event = field(default_factory=anyio.Event)
    response: ModelResponse | None = None
    error: Exception | None = None


class ResponseCache:
    """A model middleware.

    Kept are whole answers of the model that was asked: no parts, and none of one that stepped in. When the memory
    fails, the model is asked.

    Args:
        store: where answers are kept.
        default: what a request means that does not say.
        seconds: how long an answer is kept.
        fingerprint: what a model's name stands for now (address, deployment), so that changed settings ask anew.
        similar: finds the answer to a question in other words; None where only the same words count.
        lead: settles with other replicas who asks; None for a server that shares no memory.
    """

    def __init__(
        self,
        store: ResponseStore,
        *,
        default: CacheUse,
        seconds: float,
        fingerprint: Callable[[str], str],
        similar: SimilarQuestions | None = None,
        lead: Lead | None = None,
    ) -> None:
        self._similar = similar
        self._lead = lead
        self._store = store
        self._default: CacheUse = default
        self._seconds = seconds
        self._fingerprint = fingerprint
        self._flights: dict[str, _Flight] = {}

    async def __call__(self, request: ModelRequest, call_next: CallNext[ModelRequest, ModelResponse]) -> ModelResponse:
        """Answer from memory, with the answer that is on its way, or by asking."""
        use = request.cache or self._default
        if use == "off":
            return await call_next(request)
        key = key_of(request, self._fingerprint(request.model))
        if use == "refresh":
            return await self._ask(key, request, call_next)
        while True:
            found = await self._load(key) or await self._like(request)
            if found is not None:
                return await _given_again(found, request)
            flight = self._flights.get(key)
            if flight is None:
                return await self._fly(key, request, call_next)
            found = await _follow(flight, request)
            if found is not None:
                return await _given_again(found, request)

    async def _fly(
        self, key: str, request: ModelRequest, call_next: CallNext[ModelRequest, ModelResponse]
    ) -> ModelResponse:
        """Ask, for all who want the same at the same time."""
        flight = self._flights[key] = _Flight()
        try:
            return await self._ask_for_all(flight, key, request, call_next)
        except Exception as exc:
            flight.error = exc
            raise
        finally:
            # A cancelled leader leaves neither: one of those who wait asks in its place.
            del self._flights[key]
            flight.landed.set()

    async def _ask_for_all(
        self, flight: _Flight, key: str, request: ModelRequest, call_next: CallNext[ModelRequest, ModelResponse]
    ) -> ModelResponse:
        """Ask for the other replicas, too, or wait for the one of them that asks."""
        if self._lead is None:
            flight.response = await self._ask(key, request, call_next)
            return flight.response
        try:
            found = await self._lead.settle(key, lambda: self._load(key), patience_seconds=request.timeout_seconds)
        except TimeoutError:
            raise _too_late(request) from None
        if found is None:
            flight.response = await self._lead.ask(key, lambda: self._ask(key, request, call_next))
            return flight.response
        flight.response = found
        return await _given_again(found, request)

    async def _ask(
        self, key: str, request: ModelRequest, call_next: CallNext[ModelRequest, ModelResponse]
    ) -> ModelResponse:
        response = await call_next(request)
        if not response.partial and not response.because:
            try:
                await self._store.store(key, json.dumps(asdict(response)), seconds=self._seconds)
            except StorageError as exc:
                _log.warning("cache_not_written", reason=exc.problem)
            else:
                if self._similar is not None:
                    await self._similar.remember(request, key)
        return response

    async def _like(self, request: ModelRequest) -> ModelResponse | None:
        """The answer to a question that means the same."""
        found = await self._similar.find(request) if self._similar is not None else None
        response = await self._load(found.key) if found is not None else None
        if found is None or response is None:
            return None
        note = f"it was asked as '{found.question}' ({found.likeness:.2f} alike); cache: refresh asks anew"
        return replace(response, notes=(*response.notes, note))

    async def _load(self, key: str) -> ModelResponse | None:
        try:
            text = await self._store.load(key)
        except StorageError as exc:
            _log.warning("cache_not_read", reason=exc.problem)
            return None
        return _response_from(text) if text is not None else None


def key_of(request: ModelRequest, fingerprint: str) -> str:
    """What makes two requests the same: who asks, the model and where it is, the messages, every parameter."""
    parts = (
        request.caller.user_id,
        request.model,
        fingerprint,
        [asdict(message) for message in request.messages],
        request.temperature,
        request.thinking,
        request.max_output_tokens,
        request.json_mode,
        request.json_schema,
        request.functions,
        request.web_search,
    )
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


async def _follow(flight: _Flight, request: ModelRequest) -> ModelResponse | None:
    """The answer of the one who asks; None when he gave up.

    Raises:
        VendorTimeout: this request's own time is over first.
        Exception: what the one who asks got.
    """
    with anyio.move_on_after(request.timeout_seconds) as scope:
        await flight.landed.wait()
    if scope.cancelled_caught:
        raise _too_late(request)
    if flight.error is not None:
        raise flight.error
    return flight.response


def _too_late(request: ModelRequest) -> VendorTimeout:
    return VendorTimeout(
        f"'{request.model}' gave no answer within {request.timeout_seconds:g} s.", "Try again, or another model."
    )


async def _given_again(response: ModelResponse, request: ModelRequest) -> ModelResponse:
    if request.sink is not None:
        await request.sink(response.text)
    note = "an earlier answer to the same question"
    return replace(response, cached=True, cost_dollars=0.0, seconds=0.0, attempts=0, notes=(*response.notes, note))


def _response_from(text: str) -> ModelResponse | None:
    """A stored response; None for one of another version."""
    try:
        values = cast("dict[str, Any]", json.loads(text))
        usage = values.pop("usage")
        calls = values.pop("function_calls")
        values["notes"] = tuple(values["notes"])
        return ModelResponse(
            **values,
            usage=Usage(**usage) if usage else None,
            function_calls=tuple(FunctionCall(**call) for call in calls),
        )
    except (ValueError, TypeError, KeyError):
        return None
