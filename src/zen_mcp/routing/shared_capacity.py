"""How much one deployment is given by all replicas and processes together."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Protocol

import anyio

from zen_mcp.catalog.model import Model
from zen_mcp.config.limit_schema import Away
from zen_mcp.errors import Refused, StorageError
from zen_mcp.observability.logs import EventLog
from zen_mcp.routing.capacity import Capacity, Use, is_limited, no_room
from zen_mcp.storage.counters import Correction, CounterStore, Draw, Drawn, fits, wait_seconds

_log = EventLog()

HOLD_SECONDS = 4.0
"""The place of a process that was killed is free after this long."""
_KEEP_SECONDS = 1.0
_WAIT_SECONDS = 2.0
"""A ticket in the queue that nobody has asked for in this time is dead."""
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.05, 0.25
_LOOKED_SECONDS = 0.25
_END_SECONDS = 1.0
_MINUTE_SECONDS = 60.0
_AWAY_SECONDS = 5.0


class Slots(Protocol):
    """Places at deployments for a number of requests at once, and the queue for them. All raise StorageError."""

    async def take(self, deployment: str, ticket: str, *, most: int, hold_seconds: float, wait_seconds: float) -> bool:
        """Whether the ticket has a place now; else it stands in the queue for so long."""
        ...

    async def keep(self, deployment: str, ticket: str, *, hold_seconds: float) -> None:
        """Put the end of a place off; one that was lost is taken again."""
        ...

    async def give_back(self, deployment: str, ticket: str) -> None:
        """Free the place, or leave the queue."""
        ...

    async def count(self, deployment: str) -> int:
        """How many hold a place or wait for one."""
        ...


@dataclass(slots=True)
class _Line:
    """Those of this process who wait for one deployment: the first of them stands in the queue of all."""

    turn: anyio.Lock = field(default_factory=anyio.Lock)
    freed: anyio.Event = field(default_factory=anyio.Event)
    present: int = 0
    full: bool = False
    looked_at: float = float("-inf")


class SharedCapacity:
    """Makes requests wait while their deployment is full, whoever filled it; see `capacity.Room`.

    A place is a lease that is kept alive while its request runs, also while it could not be counted: so whoever runs
    is counted again within a second after the store is back, or was emptied.

    Args:
        slots: the places of `max_parallel`.
        counters: count the requests and tokens of a minute.
        away: what holds while they cannot be reached: a part of it for each, all of it for each, or nothing.
        parts: how many.
    """

    def __init__(self, slots: Slots, counters: CounterStore, *, away: Away, parts: int) -> None:
        self._slots = slots
        self._counters = counters
        self._away: Away = away
        self._parts = parts if away == "local" else 1
        self._alone = Capacity()
        self._lines: dict[str, _Line] = {}
        self._is_away = False

    def is_full(self, model: Model) -> bool:
        """Whether a request to it would have to wait, as far as is known here."""
        line = self._lines.get(model.id)
        if line is None:
            return False
        return line.full or bool(model.max_parallel and line.present >= model.max_parallel)

    async def look(self, models: Sequence[Model]) -> None:
        """Learn which of several deployments are full, so that they can be passed over."""
        for model in models if len(models) > 1 else ():
            line = self._line(model)
            if not is_limited(model) or anyio.current_time() - line.looked_at < _LOOKED_SECONDS:
                continue
            line.looked_at = anyio.current_time()
            with suppress(StorageError):
                line.full = await self._has_no_room(model)

    @asynccontextmanager
    async def slot(self, model: Model, tokens: int, *, patience_seconds: float) -> AsyncGenerator[Use]:
        """Wait for room, hold it while the request runs. The caller sets the time limit, and the tokens when known.

        Raises:
            Refused: there will be no room within the patience, and when; or it cannot be counted, and is closed then.
        """
        use = Use(at=0.0, tokens=tokens)
        if not is_limited(model):
            yield use
            return
        async with AsyncExitStack() as stack:
            try:
                await self._enter(model, stack)
                drawn = await self._drawn(model, tokens, patience_seconds)
                self._is_away = False
            except StorageError as exc:
                self._tell_away(model, exc)
                part = self._alone.slot(self._part(model), tokens, patience_seconds=patience_seconds)
                use, drawn = await stack.enter_async_context(part), None
            try:
                yield use
            finally:
                await self._settle(model, drawn, tokens, use.tokens)

    async def _enter(self, model: Model, stack: AsyncExitStack) -> None:
        """Wait for a place, which the stack keeps and frees.

        Raises:
            StorageError: the places cannot be counted; the stack keeps one for when they can.
        """
        if model.max_parallel is None:
            return
        ticket, line = secrets.token_hex(8), self._line(model)
        line.present += 1
        stack.push_async_callback(self._leave, model, ticket, line)
        failure: StorageError | None = None
        try:
            async with line.turn:
                await self._wait(model, ticket, line)
        except StorageError as exc:
            failure = exc
        await stack.enter_async_context(self._kept(model, ticket))
        if failure is not None:
            raise failure

    async def _wait(self, model: Model, ticket: str, line: _Line) -> None:
        most, pause = model.max_parallel or 1, _FIRST_PAUSE_SECONDS
        while not await self._slots.take(
            model.id, ticket, most=most, hold_seconds=HOLD_SECONDS, wait_seconds=_WAIT_SECONDS
        ):
            line.full, line.looked_at = True, anyio.current_time()
            line.freed = anyio.Event()
            with anyio.move_on_after(pause):
                await line.freed.wait()
            pause = min(pause * 1.5, _LONGEST_PAUSE_SECONDS)

    @asynccontextmanager
    async def _kept(self, model: Model, ticket: str) -> AsyncGenerator[None]:
        """A place, kept alive until the end."""
        failure: Exception | None = None
        async with anyio.create_task_group() as group:
            group.start_soon(self._keep, model, ticket)
            try:
                yield
            except Exception as exc:  # noqa: BLE001 - carried past the group, which would wrap it
                failure = exc
            group.cancel_scope.cancel()
        if failure is not None:
            raise failure

    async def _keep(self, model: Model, ticket: str) -> None:
        while True:
            await anyio.sleep(_KEEP_SECONDS)
            with suppress(StorageError):
                await self._slots.keep(model.id, ticket, hold_seconds=HOLD_SECONDS)

    async def _leave(self, model: Model, ticket: str, line: _Line) -> None:
        line.present -= 1
        with anyio.move_on_after(_END_SECONDS, shield=True), suppress(StorageError):
            await self._slots.give_back(model.id, ticket)
        line.freed.set()

    async def _drawn(self, model: Model, tokens: int, patience_seconds: float) -> Drawn | None:
        """Take a request and its tokens of this minute; None where neither is limited.

        Raises:
            Refused: there will be no room within the patience.
            StorageError: they cannot be counted.
        """
        draws = _draws(model, tokens)
        if not draws:
            return None
        deadline = anyio.current_time() + patience_seconds
        while True:
            drawn = await self._counters.draw(draws)
            line, pairs = self._line(model), list(zip(drawn.levels, draws, strict=True))
            if drawn.granted:
                line.full = any(one.used + draw.amount >= draw.most for one, draw in pairs)
                return drawn
            line.full, line.looked_at = True, anyio.current_time()
            waits = [wait_seconds(one, draw, drawn.now) or 0.0 for one, draw in pairs if not fits(one.used, draw)]
            wait = max(*waits, _FIRST_PAUSE_SECONDS)
            if anyio.current_time() + wait >= deadline:
                raise no_room(model, wait)
            await anyio.sleep(wait)

    async def _settle(self, model: Model, drawn: Drawn | None, estimated: int, taken: int) -> None:
        """Correct the tokens to what was taken."""
        if drawn is None or not model.tpm:
            return
        draw, one = _draws(model, estimated)[-1], drawn.levels[-1]
        if taken == draw.amount:
            return
        change = Correction(key=draw.key, amount=taken - draw.amount, period=one.counter.period)
        with anyio.move_on_after(_END_SECONDS, shield=True), suppress(StorageError):
            await self._counters.settle([change])

    async def _has_no_room(self, model: Model) -> bool:
        if model.max_parallel and await self._slots.count(model.id) >= model.max_parallel:
            return True
        looks = [replace(draw, amount=0.0) for draw in _draws(model, 0)]
        if not looks:
            return False
        drawn = await self._counters.draw(looks)
        return any(one.used >= draw.most for one, draw in zip(drawn.levels, looks, strict=True))

    def _tell_away(self, model: Model, error: StorageError) -> None:
        """Say once that requests are not counted together.

        Raises:
            Refused: nothing is let through then.
        """
        if not self._is_away:
            self._is_away = True
            _log.warning("capacity_not_shared", reason=error.problem, rate_limits=self._away)
        if self._away == "closed":
            problem = f"What '{model.name}' is given cannot be counted, and nothing is let through then."
            fix = "Try again in a few seconds; see when_redis_is_away in limits.yaml."
            raise Refused(problem, fix, retry_after_seconds=_AWAY_SECONDS) from error

    def _part(self, model: Model) -> Model:
        """The model with what one of the replicas is given of it."""
        parts = {name: getattr(model, name) for name in ("max_parallel", "rpm", "tpm")}
        return replace(model, **{name: most and max(most // self._parts, 1) for name, most in parts.items()})

    def _line(self, model: Model) -> _Line:
        return self._lines.setdefault(model.id, _Line())


def _draws(model: Model, tokens: int) -> list[Draw]:
    """What a request takes of its deployment's minute: itself, then its tokens; no more of them than there can be."""
    draws: list[Draw] = []
    for name, amount, most in (("rpm", 1, model.rpm), ("tpm", max(tokens, 1), model.tpm)):
        if most:
            key = f"models.{name}:{model.id}"
            draws.append(Draw(key=key, amount=min(amount, most), most=most, seconds=_MINUTE_SECONDS))
    return draws
