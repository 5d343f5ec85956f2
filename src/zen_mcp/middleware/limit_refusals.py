"""Why a limit or budget refuses, in words: which, how much of it is used, when to try again."""

from __future__ import annotations

from collections.abc import Sequence

from zen_mcp.errors import BudgetExceeded, RateLimitExceeded, Refused, StorageError
from zen_mcp.middleware.limit_rules import Rule, amount_text, number_text
from zen_mcp.storage.counters import Draw, Drawn, Level, fits, wait_seconds

_AWAY_RETRY_SECONDS = 5.0

Holding = tuple[Rule, str]
"""A rule and whom it counts for in this call."""


def longest_refusal(holding: Sequence[Holding], draws: Sequence[Draw], drawn: Drawn) -> Refused:
    """Of all that refuse, the one that lasts longest."""
    refusals = [
        refusal(rule, draw, one, drawn.now)
        for (rule, _), draw, one in zip(holding, draws, drawn.levels, strict=True)
        if not fits(one.used, draw)
    ]
    return max(refusals, key=lambda one: float("inf") if one.retry_after_seconds is None else one.retry_after_seconds)


def refusal(rule: Rule, draw: Draw, one: Level, now: float) -> Refused:
    """One rule's refusal of a draw."""
    budget = rule.section == "budgets"
    wait = rule.ends_in_seconds(one.counter, now) if budget else wait_seconds(one, draw, now)
    needs = amount_text(draw.amount, rule.unit)
    if draw.amount > rule.most:
        problem = f"{rule.name}: this takes about {needs}; no more than {rule.words} may be used."
        fix = "Shorten the prompt, ask a cheaper model, or raise it in limits.yaml."
        return BudgetExceeded(problem, fix) if budget else RateLimitExceeded(problem, fix)
    state = f"{number_text(one.used, rule.unit)} of {rule.words}"
    if budget:
        problem = f"{rule.name}: {state} is spent or reserved, and this takes about {needs}."
        again = f"again in {span_text(wait)}, " if wait is not None else ""
        fix = f"Try {again}a cheaper model, or raise the budget in limits.yaml."
        return BudgetExceeded(problem, fix, retry_after_seconds=wait)
    problem = f"{rule.name}: {state} are used, and this takes {number_text(draw.amount, rule.unit)}."
    return RateLimitExceeded(problem, f"Try again in {span_text(wait)}.", retry_after_seconds=wait)


def closed(rule: Rule, error: StorageError) -> Refused:
    """The refusal by a rule that cannot be counted now."""
    problem = f"{rule.name} cannot be counted: {error.problem}"
    fix = f"Try again later; {rule.section}.when_redis_is_away of limits.yaml says what holds meanwhile."
    kind = BudgetExceeded if rule.section == "budgets" else RateLimitExceeded
    return kind(problem, fix, retry_after_seconds=_AWAY_RETRY_SECONDS)


def span_text(seconds: float | None) -> str:
    """`42 s`, `13 min`, `5.2 h`, `3.1 days`."""
    if seconds is None:
        return "never"
    for size, unit in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{max(seconds, 0.1):.3g} s"
