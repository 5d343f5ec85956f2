"""The members of a panel, asked in parallel; one that fails does not spoil the rest."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import anyio

from zen_mcp.errors import InvalidArguments, ModelUnavailable, PanelFailed, PromptTooLong, ZenError
from zen_mcp.tools.context import Model, ToolContext
from zen_mcp.types import ModelResponse

LARGEST_PANEL = 16

Stance = Literal["for", "against", "neutral"]

AskMember = Callable[[int], Awaitable[ModelResponse]]
"""Asks the member at this place of the panel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One model of the panel and the side it is to take, None for none."""

    model: Model
    stance: Stance | None = None
    stance_prompt: str | None = None

    @property
    def label(self) -> str:
        """`opus` or `opus (for)`."""
        return f"{self.model.name} ({self.stance})" if self.stance else self.model.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one member: a response, or the error, or neither where the wait ended first."""

    member: Member
    seconds: float
    response: ModelResponse | None = None
    error: ZenError | None = None


async def ask_panel(
    members: Sequence[Member],
    ask_member: AskMember,
    context: ToolContext,
    *,
    quorum: int | None = None,
    timeout_seconds: float | None = None,
) -> tuple[Outcome, ...]:
    """Ask every member at once; one outcome each, in the order of `members`.

    Cancelling the caller cancels every upstream request. A member's foreseen failure is its outcome; a bug flies.

    Args:
        members: who is asked; one that is asked several things stands there several times.
        ask_member: asks the one at a place of `members`.
        context: whom to tell.
        quorum: answers after which the rest are stopped; None waits for all.
        timeout_seconds: for the whole panel; None leaves each member its own deadline alone.
    """
    started = time.perf_counter()
    done: dict[int, Outcome] = {}

    async def ask_one(index: int, member: Member) -> None:
        done[index] = await _outcome(index, member, ask_member)
        answered = sum(outcome.response is not None for outcome in done.values())
        await context.progress(len(done), len(members), _progress_line(done[index]))
        if quorum is not None and answered >= quorum:
            group.cancel_scope.cancel()

    with anyio.move_on_after(timeout_seconds):
        async with anyio.create_task_group() as group:
            for index, member in enumerate(members):
                group.start_soon(ask_one, index, member)
    waited = time.perf_counter() - started
    return tuple(done.get(i) or Outcome(member=member, seconds=waited) for i, member in enumerate(members))


async def _outcome(index: int, member: Member, ask_member: AskMember) -> Outcome:
    started = time.perf_counter()
    try:
        if member.model.unavailable is not None:
            raise ModelUnavailable(f"'{member.model.name}' cannot be asked.", member.model.unavailable)
        response = await ask_member(index)
    except ZenError as exc:
        return Outcome(member=member, seconds=time.perf_counter() - started, error=exc)
    return Outcome(member=member, seconds=response.seconds, response=response)


def _progress_line(outcome: Outcome) -> str:
    how = "answered" if outcome.response else f"failed ({outcome.error.kind})" if outcome.error else "stopped"
    return f"{outcome.member.label} {how} after {outcome.seconds:.1f} s"


async def affordable(
    members: Sequence[Member], tokens_of: Callable[[int], int], context: ToolContext
) -> tuple[tuple[Member, ...], tuple[str, ...]]:
    """The members whom the budgets let ask, and a note on those left out; no note when nobody is.

    Args:
        members: who is to be asked.
        tokens_of: about how many tokens go to the member at a place.
        context: of the call.

    Raises:
        BudgetExceeded: the panel would pass a budget, and the settings refuse it.
    """
    if not context.services.limits.has_budgets:
        return tuple(members), ()
    asked = [(member.model.name, _tokens(tokens_of, index)) for index, member in enumerate(members)]
    fit = await context.services.limits.fit_panel(context.caller, context.request.tool, asked)
    if not fit.because:
        return tuple(members), ()
    left_out = ", ".join(member.label for index, member in enumerate(members) if index not in fit.kept)
    note = f"Shrunk to {len(fit.kept)} of {len(members)}, without {left_out}: {fit.because}"
    return tuple(members[index] for index in fit.kept), (note,)


def _tokens(tokens_of: Callable[[int], int], index: int) -> int:
    """Nothing for a prompt that is too long: it will not be sent."""
    try:
        return tokens_of(index)
    except PromptTooLong:
        return 0


def check_panel(members: Sequence[Member]) -> None:
    """Refuse a panel on which one is twice, before anything is paid.

    Raises:
        InvalidArguments: the same model with the same stance twice.
    """
    seen: set[tuple[str, Stance | None]] = set()
    for member in members:
        if (member.model.name, member.stance) in seen:
            raise InvalidArguments(
                f"'{member.label}' is on the panel twice.",
                "Name each model once, or give the two different stances (for, against, neutral).",
            )
        seen.add((member.model.name, member.stance))


def panel_seconds(wanted: float | None, context: ToolContext) -> float | None:
    """When the wait ends with what is there: as asked for, else as configured, never later than the client leaves."""
    limits = [wanted or context.settings.panel_timeout_seconds, context.max_seconds]
    return min((limit for limit in limits if limit is not None), default=None)


def check_answered(outcomes: Sequence[Outcome]) -> None:
    """Fail where nobody answered.

    Raises:
        PanelFailed: with every member's reason.
    """
    if any(outcome.response for outcome in outcomes):
        return
    raise PanelFailed(f"None of the {len(outcomes)} models answered.", " ".join(_reason(one) for one in outcomes))


def _reason(outcome: Outcome) -> str:
    if outcome.error is None:
        return f"{outcome.member.label}: stopped after {outcome.seconds:.1f} s by timeout_seconds."
    return f"{outcome.member.label}: {outcome.error}"
