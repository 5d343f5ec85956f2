"""From a name to an answer: picks a deployment, retries, falls back, keeps the time."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

import anyio

from zen_mcp.catalog.catalog import Catalog, matches_any
from zen_mcp.catalog.model import Model
from zen_mcp.config.provider_schema import Routing
from zen_mcp.errors import (
    ContentRefused,
    ContextWindowExceeded,
    LocalModelError,
    ModelUnavailable,
    Refused,
    UnknownModel,
    VendorError,
    VendorTimeout,
    ZenError,
)
from zen_mcp.providers.base import Provider
from zen_mcp.routing.balance import Balance, candidates_of
from zen_mcp.routing.call import Call, Failure
from zen_mcp.routing.capacity import Room, Use
from zen_mcp.routing.health import HealthBoard
from zen_mcp.routing.loading import LOADS_LATE, tell_of_loading, when_loaded
from zen_mcp.routing.policy import (
    LONGEST_PAUSE_SECONDS,
    LONGEST_PAUSE_WITH_OTHERS_SECONDS,
    pause_before,
    rule_for,
)
from zen_mcp.routing.watch import AttemptWatcher, attempt_seen, waiting_seen
from zen_mcp.types import Caller, ModelRequest, ModelResponse

IDLE_SECONDS = 60.0
IDLE_SECONDS_OF_A_THINKER = 180.0
"""The longest silence of a stream; a reasoning model may take longer before its first words."""
_FORESEEN = (VendorError, LocalModelError, Refused, ModelUnavailable)


class Router:
    """The one place where a model request is retried, redirected and cut off.

    Args:
        catalog: what names mean.
        provider: makes one HTTP request at a time.
        settings: providers.yaml.
        health, balance, capacity: what is remembered of deployments from call to call.
        watchers: see every HTTP request.
        check: refuses a model that is to answer in the place of the one asked, or for its group; None refuses none.
    """

    def __init__(
        self,
        *,
        catalog: Catalog,
        provider: Provider,
        settings: Routing,
        health: HealthBoard,
        balance: Balance,
        capacity: Room,
        watchers: Sequence[AttemptWatcher] = (),
        check: Callable[[str], Awaitable[None]] | None = None,
    ) -> None:
        self._catalog = catalog
        self._provider = provider
        self._settings = settings
        self._health = health
        self._balance = balance
        self._capacity = capacity
        self._watchers = watchers
        self._check = check

    async def ask(self, request: ModelRequest) -> ModelResponse:
        """Answer a request within its deadline.

        Raises:
            UnknownModel, ModelUnavailable, Refused: before anything is sent.
            VendorError, LocalModelError: nobody answered; names everybody who was asked.
        """
        asked = self._catalog.seen_by(request.caller.models).require(request.model)
        call = Call(request=request, asked=asked, seconds=request.timeout_seconds or asked.timeout_seconds)
        await self._health.refresh()
        with anyio.move_on_after(call.seconds):
            return await self._ask_in_turn(call)
        part = call.cut()
        if part is None:
            raise call.error(timed_out=True)
        return part

    def window(self, model: Model, *, fallbacks: bool) -> int | None:
        """The tokens that fit the model, or the longest-windowed one that may step in for a prompt too long for it."""
        if model.context_window is None or not fallbacks:
            return model.context_window
        names = _named(self._settings.context_window_fallbacks, model)
        others = self._usable(names or model.fallbacks or self._settings.fallback_chain)
        return max(model.context_window, *(other.context_window or 0 for other in others), 0)

    async def _ask_in_turn(self, call: Call) -> ModelResponse:
        """The model asked, then those who step in."""
        targets = [call.asked]
        while targets:
            target = targets.pop(0)
            begun = call.text
            try:
                return call.answered(await self._ask_one(call, target, others=bool(targets)), begun=begun)
            except _FORESEEN as exc:
                call.failures.append(Failure(model=target, error=exc))
                if len(call.failures) == 1:
                    targets = self._fallbacks(call, exc)
                if call.text and (call.request.on_cut or self._settings.on_cut) == "return":
                    break
        part = call.cut()
        if part is None:
            raise call.error()
        return part

    def _fallbacks(self, call: Call, error: ZenError) -> list[Model]:
        """Who steps in after this failure, in order. None for a member of a panel, who answers for himself."""
        if not call.request.fallbacks:
            return []
        names: Sequence[str] = ()
        if isinstance(error, ContextWindowExceeded):
            names = _named(self._settings.context_window_fallbacks, call.asked)
        elif isinstance(error, ContentRefused):
            names = _named(self._settings.content_policy_fallbacks, call.asked)
        others = self._usable(names or call.asked.fallbacks or self._settings.fallback_chain, call.request.caller)
        return [one for one in others if one.name != call.asked.name and _can_serve(one, call.request)]

    def _usable(self, names: Sequence[str], caller: Caller | None = None) -> list[Model]:
        """The models of these names that can be asked, by this caller where one is given."""
        catalog = self._catalog.seen_by(caller.models if caller else None)
        found: dict[str, Model] = {}
        for name in names:
            with suppress(UnknownModel, ModelUnavailable, Refused):
                model = catalog.require(name)
                found.setdefault(model.name, model)
        return list(found.values())

    async def _ask_one(self, call: Call, target: Model, *, others: bool) -> ModelResponse:
        """One name: its deployments in order, each again after a pause where that may help.

        Raises:
            VendorError, LocalModelError, Refused: the last failure of the name.
        """
        _check_fits(target, call.request)
        may_fall_back = others or (not call.failures and bool(self._fallbacks_known(call)))
        candidates = candidates_of(target)
        await self._capacity.look([candidate.model for candidate in candidates])
        order = self._balance.order(candidates, target.strategy, rank=self._rank)
        asked: dict[str, int] = {}
        last: dict[str, ZenError] = {}
        failure: ZenError | None = None
        for _ in range(max(1 + self._settings.num_retries, len(order))):
            open_to = [model for model in order if self._may_ask(model, asked, last)]
            if not open_to:
                break
            model = min(open_to, key=lambda one: asked.get(one.id, 0))
            pause = self._pause(call, model, asked, last, patient=not may_fall_back and len(open_to) == 1)
            if pause is None:
                break
            if pause:
                await anyio.sleep(pause)
            try:
                return await self._attempt(call, model, alternatives=may_fall_back or len(open_to) > 1)
            except (VendorError, LocalModelError, Refused) as exc:
                failure = last[model.id] = exc
                asked[model.id] = asked.get(model.id, 0) + 1
                if call.text:
                    break
                if not rule_for(exc).elsewhere:
                    order = [one for one in order if one.name != model.name or exc.retryable]
        raise failure or ModelUnavailable(f"'{target.name}' cannot be asked.", "zen models --all says why.")

    def _fallbacks_known(self, call: Call) -> bool:
        return call.request.fallbacks and bool(call.asked.fallbacks or self._settings.fallback_chain)

    def _may_ask(self, model: Model, asked: Mapping[str, int], last: Mapping[str, ZenError]) -> bool:
        return model.id not in asked or last[model.id].retryable

    def _rank(self, model: Model) -> float:
        """Resting deployments after all others, full ones after those with room."""
        return self._health.rank(model.id) or (0.5 if self._capacity.is_full(model) else 0.0)

    def _pause(
        self, call: Call, model: Model, asked: Mapping[str, int], last: Mapping[str, ZenError], *, patient: bool
    ) -> float | None:
        if model.id not in asked:
            return 0.0
        longest = LONGEST_PAUSE_SECONDS if patient else LONGEST_PAUSE_WITH_OTHERS_SECONDS
        return pause_before(
            asked[model.id] + 1,
            last[model.id],
            least=self._settings.retry_after_seconds,
            longest=min(longest, call.remaining_seconds),
        )

    async def _attempt(self, call: Call, model: Model, *, alternatives: bool) -> ModelResponse:
        """One HTTP request, and what is learned from it."""
        if self._check is not None and model.name != call.request.model:
            await self._check(model.name)
        # With somebody else to ask, half of the time is kept for him.
        limit = call.remaining_seconds / 2 if alternatives else call.remaining_seconds
        tokens = call.request.prompt_tokens or 0
        started = time.perf_counter()
        try:
            async with self._slot(model, tokens, limit) as use, self._counted(model):
                response = await self._seen(call, model, limit)
                use.tokens = response.usage.total_tokens if response.usage else use.tokens
        except (VendorError, LocalModelError) as exc:
            await self._health.failed(model.id, exc)
            raise
        self._balance.took(model.id, time.perf_counter() - started)
        await self._health.succeeded(model.id)
        return response

    @asynccontextmanager
    async def _slot(self, model: Model, tokens: int, limit: float) -> AsyncGenerator[Use]:
        """Room at the deployment."""
        with waiting_seen(self._watchers, model) as waiting:
            async with self._capacity.slot(model, tokens, patience_seconds=limit) as use:
                waiting.close()
                yield use

    async def _seen(self, call: Call, model: Model, limit: float) -> ModelResponse:
        """One HTTP request, before the eyes of whoever watches."""
        with attempt_seen(self._watchers, call.request, model, call.requests + 1) as answered:
            await tell_of_loading(model, call.request.news)
            response = await when_loaded(
                model, lambda left: self._request(call, model, left), limit=limit, news=call.request.news
            )
            answered(response)
            return response

    @asynccontextmanager
    async def _counted(self, model: Model) -> AsyncGenerator[None]:
        self._health.started(model.id)
        try:
            yield
        finally:
            self._health.ended(model.id)

    async def _request(self, call: Call, model: Model, limit: float) -> ModelResponse:
        request = replace(call.request, model=model.name, messages=call.messages(), timeout_seconds=limit, sink=None)
        streaming = _streams(call.request, model)
        with anyio.move_on_after(limit) as scope:
            await self._provider.prepare(model)  # its time is not the vendor's silence
            call.requests += 1
            if not streaming:
                response = await self._provider.generate(request, model)
                if call.request.sink is not None:
                    await call.request.sink(response.text)
                return response
        if not scope.cancelled_caught:
            return await self._stream(call, model, replace(request, timeout_seconds=call.remaining_seconds), limit)
        if call.remaining_seconds <= 0:
            await anyio.sleep_forever()  # the deadline of the whole call, which ends it
        raise VendorTimeout(
            f"'{model.name}' ({model.vendor}) gave no answer within {limit:.3g} s.",
            "Try again, another model, or a longer timeout_seconds in models.yaml.",
        )

    async def _stream(self, call: Call, model: Model, request: ModelRequest, limit: float) -> ModelResponse:
        """One streamed request, cut off after a silence; before its first words it has `limit` seconds at most."""
        idle = model.stream_idle_seconds or IDLE_SECONDS
        thinking = IDLE_SECONDS_OF_A_THINKER if model.capabilities.reasoning else IDLE_SECONDS
        if model.vendor in LOADS_LATE:
            thinking = limit
        silence = min(model.stream_idle_seconds or thinking, limit)
        with anyio.CancelScope(deadline=anyio.current_time() + silence) as scope:
            chunks = self._provider.stream(request, model)
            try:
                async for chunk in chunks:
                    silence = idle
                    scope.deadline = anyio.current_time() + idle
                    if chunk.response is not None:
                        return chunk.response
                    if chunk.text:
                        await call.take(chunk.text, model)
            finally:
                with anyio.CancelScope(shield=True), anyio.move_on_after(1):
                    await chunks.aclose()
        if call.remaining_seconds <= 0:
            await anyio.sleep_forever()
        for watcher in self._watchers:
            watcher.stalled(model)
        raise VendorTimeout(
            f"'{model.name}' ({model.vendor}) was silent for {silence:.3g} s.",
            "Try again, another model, or a longer stream_idle_seconds in models.yaml.",
        )


def _streams(request: ModelRequest, model: Model) -> bool:
    """Streaming costs CPU for every chunk, so it is done where somebody watches."""
    if model.stream == "never" or not model.capabilities.streaming:
        return False
    return model.stream == "always" or request.sink is not None


def _named(table: Mapping[str, Sequence[str]], model: Model) -> Sequence[str]:
    words = {word.lower() for word in (model.name, *model.aliases)}
    return next((names for name, names in table.items() if name.lower() in words), ())


def _check_fits(model: Model, request: ModelRequest) -> None:
    """Spare a request that would be refused for its length."""
    tokens, window = request.prompt_tokens, model.context_window
    if tokens and window and tokens > window:
        raise ContextWindowExceeded(
            f"The prompt has about {tokens:,} tokens; '{model.name}' takes {window:,}.",
            "Shorten the prompt, or choose a model with a longer context.",
        )


def _can_serve(model: Model, request: ModelRequest) -> bool:
    """Whether it may, the prompt fits, and its images can be seen."""
    if not matches_any(model, request.only_models):
        return False
    if request.prompt_tokens and model.context_window and request.prompt_tokens > model.context_window:
        return False
    return model.capabilities.vision or not any(message.images for message in request.messages)
