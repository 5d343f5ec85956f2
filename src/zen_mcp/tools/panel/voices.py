"""The members of an expert tool's round: what each said to all of its pieces, as one turn and in figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from zen_mcp.conversations import Answer
from zen_mcp.figures import dollars
from zen_mcp.tools.base import ToolResult
from zen_mcp.tools.context import Saved, answer_of
from zen_mcp.tools.expert.findings import Reading
from zen_mcp.tools.expert.inquiry import Inquiry
from zen_mcp.tools.format import rest_note, tokens
from zen_mcp.tools.paging import head
from zen_mcp.tools.panel.ask import Member, Outcome
from zen_mcp.types import ModelResponse, Usage


class MemberEntry(ToolResult):
    """One member: what it concluded and took, or why it did not answer. `text`: what is no list of findings."""

    model: str = ""
    status: str = ""
    vendor: str = ""
    answered_by: str = ""
    summary: str = ""
    text: str = ""
    error: str = ""
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_dollars: float | None = None
    seconds: float = 0.0
    turn: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Voice:
    """One member and what it said to all of its pieces; `readings` are of those that answered, in their order."""

    member: Member
    outcomes: tuple[Outcome, ...]
    readings: tuple[Reading, ...] = ()

    @property
    def responses(self) -> tuple[ModelResponse, ...]:
        """What it answered."""
        return tuple(outcome.response for outcome in self.outcomes if outcome.response)

    @property
    def answer(self) -> Answer:
        """All that it said, as one turn."""
        first = self.responses[0]
        return replace(
            answer_of(first),
            text="\n\n".join(answer_of(response).text for response in self.responses),
            usage=total_usage(self.responses),
            cost_dollars=total_cost(self.responses),
            seconds=max(response.seconds for response in self.responses),
        )

    @property
    def unreadable(self) -> str:
        """What it said that is no list of findings, where one was asked for."""
        if not self.readings:
            return ""
        pairs = zip(self.responses, self.readings, strict=True)
        return "\n\n".join(response.text for response, reading in pairs if not reading.readable)

    @property
    def status(self) -> str:
        """`answered`, `partial`, `failed` or `stopped`."""
        if not self.responses:
            return "failed" if any(outcome.error for outcome in self.outcomes) else "stopped"
        whole = len(self.responses) == len(self.outcomes) and not any(one.partial for one in self.responses)
        return "answered" if whole else "partial"


def voices_of(inquiry: Inquiry, outcomes: Sequence[Outcome]) -> list[Voice]:
    """The outcomes by member, in the order of the panel."""
    return [
        Voice(
            member=member,
            outcomes=tuple(
                outcome
                for seat, outcome in zip(inquiry.seats, outcomes, strict=True)
                if seat.member.model.name == member.model.name
            ),
        )
        for member in inquiry.members
    ]


def notes_on(voices: Sequence[Voice]) -> list[str]:
    """What the caller is to know besides: unread answers, failed pieces, what models could not honour."""
    notes: list[str] = []
    for voice in voices:
        label, all_of = voice.member.label, len(voice.outcomes)
        if voice.readings and any(not reading.readable for reading in voice.readings):
            notes.append(f"{label} did not answer in findings; its words are given as they are.")
        if voice.responses and len(voice.responses) < all_of:
            failed = next((str(outcome.error) for outcome in voice.outcomes if outcome.error), "the wait ended")
            notes.append(f"{label} answered {len(voice.responses)} of {all_of} parts: {failed}")
        elif all_of > 1:
            notes.append(f"{label} looked at it in {all_of} parts.")
        said = dict.fromkeys(note for response in voice.responses for note in response.notes)
        notes += [note if len(voices) == 1 else f"{label}: {note}" for note in said]
        notes += [f"{label}'s answer is cut off."] if any(response.partial for response in voice.responses) else []
    return notes


def member_entries(voices: Sequence[Voice], saved: Saved, limit: int) -> list[MemberEntry]:
    """Each member in figures, with at most `limit` characters of what it said that is no list of findings."""
    entries: list[MemberEntry] = []
    places = iter(range(1, len(voices) + 1))
    for voice in voices:
        if not voice.responses:
            entries.append(MemberEntry(model=voice.member.model.name, status=voice.status, error=_why(voice)))
            continue
        place = next(places)
        usage, first = total_usage(voice.responses), voice.responses[0]
        entries.append(
            MemberEntry(
                model=first.model,
                status=voice.status,
                vendor=first.vendor,
                answered_by=first.answered_by if first.answered_by not in first.model else "",
                summary=" ".join(reading.summary for reading in voice.readings) if len(voices) > 1 else "",
                text=_unread(voice, saved, place, limit) if voice.unreadable else "",
                input_tokens=usage.input_tokens if usage else None,
                output_tokens=usage.output_tokens if usage else None,
                cost_dollars=total_cost(voice.responses),
                seconds=round(max(response.seconds for response in voice.responses), 2),
                turn=saved.turns[place] if saved.turns else None,
            )
        )
    return entries


def _unread(voice: Voice, saved: Saved, place: int, limit: int) -> str:
    """The head of what it said that is no list of findings, and where the rest is."""
    text = voice.unreadable
    shown = head(text, limit if saved.turns else len(text))
    if text == voice.answer.text:
        rest = rest_note(saved, place, shown, len(text))
    else:
        call = f"threads(continuation_id='{saved.continuation_id}', turn={saved.turns[place] if saved.turns else 0})"
        rest = [f"the whole: {call}"] if shown.next_offset else []
    return "\n".join([shown.text, *(f"[{note}]" for note in rest)])


def _why(voice: Voice) -> str:
    errors = [f"{outcome.error.kind}: {outcome.error}" for outcome in voice.outcomes if outcome.error]
    return errors[0] if errors else "the wait ended before it answered"


def figures(voice: Voice) -> str:
    """`opus (anthropic) · 1.2 s · 310+42 tokens · $0.0042`."""
    first = voice.responses[0]
    seconds = max(response.seconds for response in voice.responses)
    other = first.answered_by and first.answered_by not in first.model
    name = f"{first.model} ({first.vendor}{f', answered by {first.answered_by}' if other else ''})"
    return f"{name} · {seconds:.1f} s · {tokens(total_usage(voice.responses))} · {dollars(total_cost(voice.responses))}"


def total_usage(responses: Sequence[ModelResponse]) -> Usage | None:
    """Tokens of all; None where one upstream did not say."""
    usages = [response.usage for response in responses if response.usage is not None]
    if len(usages) < len(responses):
        return None
    return Usage(**{name: sum(getattr(usage, name) for usage in usages) for name in Usage.__slots__})


def total_cost(responses: Sequence[ModelResponse]) -> float | None:
    """Dollars of all; None where one price is unknown."""
    costs = [response.cost_dollars for response in responses if response.cost_dollars is not None]
    return sum(costs) if len(costs) == len(responses) else None
