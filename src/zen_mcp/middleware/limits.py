"""Rate limits and budgets: reserved before a call, all of them or none, and settled after it."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import anyio

from zen_mcp.catalog.model import Model
from zen_mcp.config.limit_schema import Away, LimitsFile
from zen_mcp.errors import BudgetExceeded, StorageError
from zen_mcp.middleware.base import CallNext
from zen_mcp.middleware.limit_amounts import (
    NOTHING,
    Amounts,
    estimated,
    prompt_tokens,
    taken_by,
    taken_by_failure,
)
from zen_mcp.middleware.limit_refusals import Holding, closed, longest_refusal, refusal
from zen_mcp.middleware.limit_rules import Rule, Section, amount_text, split_key
from zen_mcp.middleware.panel_budget import MemberCost, PanelFit, members_that_fit
from zen_mcp.observability.logs import EventLog
from zen_mcp.storage.counters import Correction, Counter, CounterStore, Draw, Level, level
from zen_mcp.types import Caller, ModelRequest, ModelResponse, ToolRequest, ToolResponse

_log = EventLog()

_SETTLE_SECONDS = 1.0
_MOST_TOLD = 10_000
_SHARED = frozenset({"global", "per_tool", "per_model"})
"""Limits that all callers use up together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitUse:
    """How much of one limit or budget is used: by whom, and in how many seconds nothing of it counts any more."""

    limit: str
    subject: str
    unit: str
    used: float
    allowed: float
    hard: bool
    resets_in_seconds: float | None

    @property
    def ratio(self) -> float:
        """Used over allowed."""
        return self.used / self.allowed


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """What was drawn for one call, and where."""

    store: CounterStore
    held: tuple[tuple[Rule, Draw, Level], ...] = ()


@dataclass(slots=True)
class _Outcome:
    """What a call has taken, once that is known."""

    amounts: Amounts
    answered_by: str | None = None
    stepped_in: bool = False
    notes: list[str] = field(default_factory=list[str])


class Limits:
    """The rules at work; its methods `around_tool` and `around_model` are steps of the two chains.

    Args:
        rules: what limits.yaml says.
        settings: limits.yaml, for what holds when the counters are away and what becomes of unknown prices.
        store: where use is counted.
        local: where it is counted while the store is away.
        resolve: the model of a name.
        parts: in how many they are divided where each process counts its own while the store is away.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        rules: Sequence[Rule],
        *,
        settings: LimitsFile,
        store: CounterStore,
        local: CounterStore,
        resolve: Callable[[str], Model],
        parts: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.rules = tuple(rules)
        self._settings = settings
        self._store = store
        self._local = local
        self._resolve = resolve
        self._parts = parts
        self._clock = clock
        of_tools = [rule for rule in rules if rule.unit == "requests" and rule.scope != "per_model"]
        self.tool_rules = tuple(of_tools)
        self.model_rules = tuple(rule for rule in rules if rule not in of_tools)
        self._per_model = tuple(rule for rule in rules if rule.scope == "per_model")
        self._away = False
        self._told: dict[tuple[str, int], float] = {}

    @property
    def has_budgets(self) -> bool:
        """Whether any budget is set that refuses."""
        return any(rule.section == "budgets" and rule.hard for rule in self.model_rules)

    async def around_tool(self, request: ToolRequest, call_next: CallNext[ToolRequest, ToolResponse]) -> ToolResponse:
        """A tool step: the limits of requests.

        Raises:
            RateLimitExceeded: over one of them, which then took nothing of the others.
        """
        holding = _holding(self.tool_rules, request.caller, request.tool, "")
        if holding:
            await self._reserve(holding, Amounts(requests=1), least_tokens=0)
        return await call_next(request)

    async def around_model(
        self, request: ModelRequest, call_next: CallNext[ModelRequest, ModelResponse]
    ) -> ModelResponse:
        """A model step: the limits of tokens, dollars and single models, and the budgets.

        Raises:
            RateLimitExceeded, BudgetExceeded: over one of them, which then took nothing of the others.
        """
        holding = _holding(self.model_rules, request.caller, request.tool, request.model)
        if not holding:
            return await call_next(request)
        model = self._resolve(request.model)
        tokens = prompt_tokens(request)
        estimate = estimated(model, tokens, request.max_output_tokens)
        notes = self._price_notes(holding, model, estimate)
        reservation = await self._reserve(holding, estimate, least_tokens=tokens)
        async with self._settling(reservation, request, model) as outcome:
            response = await call_next(request)
            outcome.amounts = taken_by(response, request, self._answering(response, model))
            outcome.answered_by, outcome.stepped_in = response.model, bool(response.because)
        notes += outcome.notes
        return replace(response, notes=(*response.notes, *notes)) if notes else response

    async def check_model(self, name: str) -> None:
        """Refuse a model that is to answer in another's place, or for its group, and is over a limit of its own.

        Raises:
            RateLimitExceeded, BudgetExceeded: which of them.
        """
        holding = [(rule, name) for rule in self._per_model if rule.match == name and rule.hard]
        if not holding:
            return
        try:
            drawn = await self._store.draw([rule.draw(subject, 0, self._clock()) for rule, subject in holding])
        except StorageError:
            return  # what was reserved for the model that was asked followed the choice for this already
        for (rule, subject), one in zip(holding, drawn.levels, strict=True):
            if one.used >= rule.most:
                least = {"requests": 1.0, "tokens": 1.0, "dollars": 1e-6}[rule.unit]
                raise refusal(rule, rule.draw(subject, least, drawn.now), one, drawn.now)

    async def fit_panel(self, caller: Caller, tool: str, members: Sequence[tuple[str, int]]) -> PanelFit:
        """Which members of a panel fit what is left of the budgets; each reserves for itself when it is asked.

        Args:
            caller: who asks.
            tool: by which tool.
            members: each one's model and about how many tokens go in.

        Raises:
            BudgetExceeded: not all fit, and the settings refuse such a panel; or none fits.
        """
        rules = [rule for rule in self.model_rules if rule.section == "budgets" and rule.hard]
        everybody = PanelFit(kept=tuple(range(len(members))))
        now = self._clock()
        looks: dict[str, tuple[Rule, Draw]] = {}
        costs: list[MemberCost] = []
        for name, tokens in members:
            draws = [(rule, rule.draw(subject, 0, now)) for rule, subject in _holding(rules, caller, tool, name)]
            looks.update((draw.key, (rule, draw)) for rule, draw in draws)
            dollars = estimated(self._resolve(name), tokens).dollars or 0.0
            costs.append(MemberCost(dollars=dollars, keys=tuple(draw.key for _, draw in draws)))
        if not looks:
            return everybody
        try:
            drawn = await self._store.draw([draw for _, draw in looks.values()])
        except StorageError:
            return everybody  # each member's own reservation follows the choice for this
        levels = dict(zip(looks, drawn.levels, strict=True))
        kept, short = members_that_fit(costs, {key: looks[key][0].most - one.used for key, one in levels.items()})
        if short is None:
            return everybody
        rule, one = looks[short][0], levels[short]
        wanted = amount_text(sum(cost.dollars for cost in costs if short in cost.keys), "dollars")
        used = amount_text(one.used, "dollars")
        text = f"{rule.name}: {used} of {rule.words} is spent or reserved, and this panel takes about {wanted}."
        if kept and self._settings.budgets.on_panel == "shrink":
            return PanelFit(kept=kept, because=text)
        wait = rule.ends_in_seconds(one.counter, now)
        fix = "Ask fewer or cheaper models, or raise the budget in limits.yaml."
        raise BudgetExceeded(text, fix, retry_after_seconds=wait)

    async def usage(self, *, seen_by: Caller | None = None) -> tuple[LimitUse, ...]:
        """How much of each limit is used, by everybody who uses it; in the order of limits.yaml.

        Args:
            seen_by: whose own use, and what all share, is told; None: everybody's.

        Raises:
            StorageError: the counters are away.
        """
        counters = await self._store.all()
        now = self._clock()
        subjects: dict[str, dict[str, None]] = {rule.name: dict[str, None]() for rule in self.rules}
        for rule in self.rules:
            if rule.scope in _SHARED:
                subjects[rule.name][rule.match or "all"] = None
        for key in sorted(counters):
            name, subject = split_key(key)
            if name in subjects:
                subjects[name][subject] = None
        return tuple(
            self._use(rule, one, counters, now)
            for rule in self.rules
            for one in subjects[rule.name]
            if seen_by is None or rule.scope in _SHARED or one == rule.subject(seen_by, rule.match, rule.match)
        )

    def _use(self, rule: Rule, subject: str, counters: Mapping[str, Counter], now: float) -> LimitUse:
        draw = rule.draw(subject, 0, now)
        stored = counters.get(draw.key)
        found = level(stored, draw, now)
        return LimitUse(
            limit=rule.name,
            subject=subject,
            unit=rule.unit,
            used=found.used,
            allowed=rule.most,
            hard=rule.hard,
            resets_in_seconds=rule.ends_in_seconds(found.counter, now) if found.used else 0.0,
        )

    def _answering(self, response: ModelResponse, asked: Model) -> Model:
        return asked if response.model == asked.name else self._resolve(response.model)

    def _price_notes(self, holding: Sequence[Holding], model: Model, estimate: Amounts) -> list[str]:
        """What is to be said of a model whose price is unknown.

        Raises:
            BudgetExceeded: the settings refuse it.
        """
        if estimate.dollars is not None or not any(rule.unit == "dollars" for rule, _ in holding):
            return []
        if self._settings.budgets.unknown_price == "refuse":
            raise BudgetExceeded(
                f"The price of '{model.name}' is unknown, and budgets.unknown_price refuses such models.",
                "Write its prices into models.yaml, or ask another model.",
            )
        return [f"the price of {model.name} is unknown, so no budget counts it"]

    async def _reserve(self, holding: Sequence[Holding], amounts: Amounts, *, least_tokens: int) -> Reservation:
        """Draw from all that holds.

        Raises:
            RateLimitExceeded, BudgetExceeded: one of them has no room, or cannot be counted and is to be closed then.
        """
        now = self._clock()
        draws = [_draw(rule, subject, amounts, least_tokens, now) for rule, subject in holding]
        store = self._store
        try:
            drawn = await store.draw(draws)
        except StorageError as exc:
            holding, draws = self._without_store(holding, draws, exc)
            store = self._local
            drawn = await store.draw(draws)
        else:
            self._tell_back()
        if not drawn.granted:
            raise longest_refusal(holding, draws, drawn)
        rules = [rule for rule, _ in holding]
        return Reservation(store=store, held=tuple(zip(rules, draws, drawn.levels, strict=True)))

    def _without_store(
        self, holding: Sequence[Holding], draws: Sequence[Draw], error: StorageError
    ) -> tuple[list[Holding], list[Draw]]:
        """What is still counted, here, while the store is away.

        Raises:
            RateLimitExceeded, BudgetExceeded: the settings close what cannot be counted.
        """
        choices: Mapping[Section, Away] = {
            "rate_limits": self._settings.rate_limits.when_redis_is_away,
            "budgets": self._settings.budgets.when_redis_is_away,
        }
        if not self._away:
            self._away = True
            _log.warning("limits_not_counted", reason=error.problem, **choices)
        kept: list[tuple[Holding, Draw]] = []
        for (rule, subject), draw in zip(holding, draws, strict=True):
            choice = choices[rule.section]
            if choice == "closed":
                raise closed(rule, error)
            if choice == "local":
                part = draw.most / self._parts
                least = min(1.0, draw.most) if rule.unit == "requests" else 0.0
                kept.append(((rule, subject), replace(draw, most=max(part, least))))
        return [one for one, _ in kept], [draw for _, draw in kept]

    def _tell_back(self) -> None:
        if self._away:
            self._away = False
            _log.warning("limits_counted_again")

    @asynccontextmanager
    async def _settling(
        self, reservation: Reservation, request: ModelRequest, model: Model
    ) -> AsyncGenerator[_Outcome]:
        """Settle when the call has ended, however it did."""
        outcome = _Outcome(amounts=taken_by_failure(None, request, model))
        try:
            yield outcome
        except Exception as exc:
            outcome.amounts = taken_by_failure(exc, request, model)
            raise
        finally:
            with anyio.move_on_after(_SETTLE_SECONDS, shield=True):
                await self._settle(reservation, outcome, request)

    async def _settle(self, reservation: Reservation, outcome: _Outcome, request: ModelRequest) -> None:
        """Correct the reservation to what was taken. One that cannot be corrected stays: too much beats too little."""
        corrections: list[Correction] = []
        for rule, draw, one in reservation.held:
            amounts = outcome.amounts
            if rule.scope == "per_model" and outcome.stepped_in and outcome.answered_by != rule.match:
                amounts = Amounts(requests=1) if amounts is not NOTHING else NOTHING
            taken = amounts.of(rule.unit)
            if taken != draw.amount and draw.amount:
                corrections.append(Correction(key=draw.key, amount=taken - draw.amount, period=one.counter.period))
            self._warn(rule, draw, one.used + taken, one.counter.period, outcome)
        others = self._of_answering(outcome, request)
        try:
            if corrections:
                await reservation.store.settle(corrections)
            if others:
                await reservation.store.draw(others)
        except StorageError as exc:
            _log.warning("limits_not_settled", call=request.request_id, reason=exc.problem)

    def _of_answering(self, outcome: _Outcome, request: ModelRequest) -> list[Draw]:
        """What counts for the model that answered in the place of the one asked, or for its group."""
        if outcome.answered_by in {None, request.model} or outcome.amounts is NOTHING:
            return []
        now = self._clock()
        return [
            rule.draw(rule.match, outcome.amounts.of(rule.unit), now, most=float("inf"))
            for rule in self._per_model
            if rule.match == outcome.answered_by
        ]

    def _warn(self, rule: Rule, draw: Draw, used: float, period: int, outcome: _Outcome) -> None:
        """Tell once per period that a budget is nearly spent, and once that a soft one is."""
        if rule.section != "budgets":
            return
        percent = 100 * used / rule.most
        mark = next((mark for mark in (100.0, self._settings.budgets.warn_percent) if percent >= mark), None)
        if mark is None or self._told.get((draw.key, period), 0.0) >= mark:
            return
        if len(self._told) >= _MOST_TOLD:
            self._told.clear()
        self._told[draw.key, period] = mark
        text = f"{rule.name}: {amount_text(used, 'dollars')} of {rule.words} is spent ({percent:.0f} %)"
        outcome.notes.append(text)
        _log.warning("budget_nearly_spent", budget=draw.key, spent=used, allowed=rule.most, percent=round(percent))


def _holding(rules: Sequence[Rule], caller: Caller, tool: str, model: str) -> list[Holding]:
    found: list[Holding] = []
    for rule in rules:
        subject = rule.subject(caller, tool, model)
        if subject is not None:
            found.append((rule, subject))
    return found


def _draw(rule: Rule, subject: str, amounts: Amounts, least_tokens: int, now: float) -> Draw:
    amount = amounts.of(rule.unit)
    if rule.unit == "tokens" and least_tokens <= rule.most:
        # An answer is only expected: a prompt that fits may go when nothing else is used.
        amount = min(amount, rule.most)
    return rule.draw(subject, amount, now)
