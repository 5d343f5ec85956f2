"""A panel's outcomes as a result: conclusion first, every answer and every failure named, nothing said twice."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from zen_mcp.figures import dollars
from zen_mcp.tools.base import ToolResult
from zen_mcp.tools.context import Saved
from zen_mcp.tools.format import rest_link, rest_note, stored_line, summary_line
from zen_mcp.tools.paging import Head, heads
from zen_mcp.tools.panel.agreement import agreement_note
from zen_mcp.tools.panel.ask import Outcome
from zen_mcp.types import ToolResponse

_OVERHEAD_CHARACTERS = 250
"""Room kept per member for its heading and figures, in either form of the result."""


class PanelAnswer(ToolResult):
    """One member: what it answered, or why it did not."""

    model: str = ""
    status: str = ""
    stance: str | None = None
    vendor: str | None = None
    answered_by: str | None = None
    text: str | None = None
    error: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_dollars: float | None = None
    seconds: float = 0.0
    rest: str | None = None


class PanelResult(ToolResult):
    """The whole round."""

    summary: str = ""
    answers: list[PanelAnswer] = Field(default=[])
    total_tokens: SkipJsonSchema[int | None] = None
    total_cost_dollars: SkipJsonSchema[float | None] = None
    seconds: SkipJsonSchema[float] = 0.0
    continuation_id: SkipJsonSchema[str] = ""
    notes: SkipJsonSchema[list[str]] = Field(default=[])


def report(
    outcomes: Sequence[Outcome],
    *,
    saved: Saved,
    seconds: float,
    limit: int,
    quorum: int | None = None,
    notes: Sequence[str] = (),
) -> ToolResponse:
    """Put the outcomes into text and data, each at most about `limit` characters, each complete.

    Args:
        outcomes: one per member, in the panel's order.
        saved: where the round is stored: the question's turn, then one per outcome that answered.
        seconds: wall time of the whole round.
        limit: characters that the client shows whole.
        quorum: the quorum that was asked for.
        notes: what else the caller should know: files that were left out.
    """
    texts = [outcome.response.text if outcome.response else "" for outcome in outcomes]
    # What is not stored cannot be paged: it is shown whole.
    room = max(limit - _OVERHEAD_CHARACTERS * len(outcomes), 1) if saved.turns else sum(map(len, texts))
    shown = heads(texts, room)
    following = count(1)
    places = [next(following) if outcome.response else 0 for outcome in outcomes]
    answers = [
        _answer(outcome, part, saved, place) for outcome, part, place in zip(outcomes, shown, places, strict=True)
    ]
    links = [link for part, place in zip(shown, places, strict=True) for link in rest_link(saved, place, part)]
    responses = [outcome.response for outcome in outcomes if outcome.response]
    costs = [response.cost_dollars for response in responses if response.cost_dollars is not None]
    usages = [response.usage for response in responses if response.usage is not None]
    result = PanelResult(
        summary=" ".join([_summary(outcomes, quorum), *([f"The round is {saved.note}"] if saved.note else [])]),
        answers=answers,
        total_tokens=sum(usage.total_tokens for usage in usages) if usages else None,
        total_cost_dollars=sum(costs) if len(costs) == len(responses) else None,
        seconds=round(seconds, 2),
        continuation_id=saved.continuation_id,
        notes=list(notes),
    )
    total = " · ".join([f"{seconds:.1f} s", dollars(result.total_cost_dollars), *stored_line(saved), *notes])
    blocks = [f"{result.summary}\n[{total}]"]
    blocks += [_block(outcome, answer) for outcome, answer in zip(outcomes, answers, strict=True)]
    return ToolResponse(text="\n\n".join(blocks), structured=result.to_json(), links=tuple(links))


def _summary(outcomes: Sequence[Outcome], quorum: int | None) -> str:
    answered = [outcome.response.text for outcome in outcomes if outcome.response]
    parts = [f"{len(answered)} of {len(outcomes)} answered."]
    if quorum is not None and len(answered) < quorum:
        parts.append(f"The quorum of {quorum} was not reached.")
    missing = [outcome.member.label for outcome in outcomes if not outcome.response]
    if missing:
        parts.append(f"No answer from {', '.join(missing)}.")
    parts.append(agreement_note(answered))
    return " ".join(part for part in parts if part)


def _answer(outcome: Outcome, shown: Head, saved: Saved, place: int) -> PanelAnswer:
    member, response = outcome.member, outcome.response
    if response is None:
        return PanelAnswer(
            model=member.model.name,
            status="failed" if outcome.error else "stopped",
            stance=member.stance,
            vendor=member.model.vendor,
            error=_why(outcome),
            seconds=round(outcome.seconds, 2),
        )
    rest = rest_note(saved, place, shown, len(response.text))
    return PanelAnswer(
        model=member.model.name,
        status="partial" if response.partial else "answered",
        stance=member.stance,
        vendor=response.vendor,
        answered_by=response.answered_by if response.answered_by not in member.model.name else None,
        text=shown.text,
        input_tokens=response.usage.input_tokens if response.usage else None,
        output_tokens=response.usage.output_tokens if response.usage else None,
        cost_dollars=response.cost_dollars,
        seconds=round(response.seconds, 2),
        rest="; ".join([*rest, *response.notes]) or None,
    )


def _why(outcome: Outcome) -> str:
    if outcome.error is None:
        return "the wait ended before it answered (quorum reached or timeout_seconds passed)"
    return f"{outcome.error.kind}: {outcome.error}"


def _block(outcome: Outcome, answer: PanelAnswer) -> str:
    if outcome.response is None:
        return f"## {outcome.member.label}: no answer after {outcome.seconds:.1f} s\n{answer.error}"
    side = f" · {answer.stance}" if answer.stance else ""
    rest = f"\n[{answer.rest}]" if answer.rest else ""
    return f"## {summary_line(outcome.response)}{side}\n{answer.text}{rest}"
