"""The members of a panel, asked in parallel; one that fails does not spoil the rest."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import anyio

from zen_mcp.errors import ModelUnavailable, ZenError
from zen_mcp.tools.context import Model, Question, Thread, ToolContext, Wishes
from zen_mcp.types import ModelResponse

Stance = Literal["for", "against", "neutral"]


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What all members are asked, and how long is waited for them.

    `quorum`: answers after which the rest are stopped; None waits for all. `timeout_seconds`: for the whole panel;
    None leaves each member its own deadline alone.
    """

    thread: Thread
    question: Question
    prompts: Mapping[str, str]
    wishes: Wishes
    quorum: int | None = None
    timeout_seconds: float | None = None


async def ask_panel(members: Sequence[Member], ask: Ask, context: ToolContext) -> tuple[Outcome, ...]:
    """Ask every member at once; one outcome each, in the order of `members`.

    Cancelling the caller cancels every upstream request. A member's foreseen failure is its outcome; a bug flies.
    """
    started = time.perf_counter()
    done: dict[int, Outcome] = {}

    async def ask_one(index: int, member: Member) -> None:
        done[index] = await _outcome(member, ask, context)
        answered = sum(outcome.response is not None for outcome in done.values())
        await context.progress(len(done), len(members), _progress_line(done[index]))
        if ask.quorum is not None and answered >= ask.quorum:
            group.cancel_scope.cancel()

    with anyio.move_on_after(ask.timeout_seconds):
        async with anyio.create_task_group() as group:
            for index, member in enumerate(members):
                group.start_soon(ask_one, index, member)
    waited = time.perf_counter() - started
    return tuple(done.get(i) or Outcome(member=member, seconds=waited) for i, member in enumerate(members))


async def _outcome(member: Member, ask: Ask, context: ToolContext) -> Outcome:
    started = time.perf_counter()
    try:
        if member.model.unavailable is not None:
            raise ModelUnavailable(f"'{member.model.name}' cannot be asked.", member.model.unavailable)
        response = await context.ask(
            ask.thread,
            ask.question,
            model=member.model,
            system=system_of(member, ask.prompts),
            wishes=ask.wishes,
            fallbacks=False,  # each member speaks for itself; another's answer in its place would count twice
            sink=context.watch(member.label),
        )
    except ZenError as exc:
        return Outcome(member=member, seconds=time.perf_counter() - started, error=exc)
    return Outcome(member=member, seconds=response.seconds, response=response)


def system_of(member: Member, prompts: Mapping[str, str]) -> str:
    """The system message: the same for all members but for the stance at its end."""
    if member.stance is None and member.stance_prompt is None:
        return prompts["system"]
    side = member.stance_prompt or prompts[member.stance or "neutral"]
    return f"{prompts['system']}\n\n{side}"


def _progress_line(outcome: Outcome) -> str:
    how = "answered" if outcome.response else f"failed ({outcome.error.kind})" if outcome.error else "stopped"
    return f"{outcome.member.label} {how} after {outcome.seconds:.1f} s"
