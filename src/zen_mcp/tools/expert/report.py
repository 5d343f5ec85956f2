"""What an expert tool answers: conclusion first, findings of all joined, every failure named, nothing lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from zen_mcp.figures import dollars
from zen_mcp.tools.base import ToolResult
from zen_mcp.tools.context import Saved, ToolContext
from zen_mcp.tools.expert.findings import SEVERITIES, Finding, Reading, Severity, finding_of, read_findings, severity_of
from zen_mcp.tools.expert.inquiry import Inquiry
from zen_mcp.tools.expert.merge import located, merged
from zen_mcp.tools.expert.params import Expert
from zen_mcp.tools.expert.steps import StepParams
from zen_mcp.tools.format import rest_note, stored_line
from zen_mcp.tools.paging import head
from zen_mcp.tools.panel.ask import Outcome
from zen_mcp.tools.panel.report import report
from zen_mcp.tools.panel.voices import MemberEntry, Voice, figures, member_entries, notes_on, total_cost, voices_of
from zen_mcp.types import JSONObject, ModelResponse, ToolResponse

CALLER = "caller"
"""Found by the one who asks."""
_HEADING_CHARACTERS = 600
"""Room kept for the conclusion and the figures."""


class FindingsResult(ToolResult):
    """Findings of one or several. No field is listed, for each costs tokens in ten tools: docs/tools.md has them."""

    findings: SkipJsonSchema[list[JSONObject]] = Field(default=[])
    summary: SkipJsonSchema[str] = ""
    more_findings: SkipJsonSchema[int] = 0
    members: SkipJsonSchema[list[MemberEntry]] = Field(default=[])
    notes: SkipJsonSchema[list[str]] = Field(default=[])
    total_cost_dollars: SkipJsonSchema[float | None] = None
    seconds: SkipJsonSchema[float] = 0.0
    continuation_id: SkipJsonSchema[str] = ""
    step_number: SkipJsonSchema[int | None] = None
    total_steps: SkipJsonSchema[int | None] = None
    missing: SkipJsonSchema[list[str]] = Field(default=[])


class TextResult(ToolResult):
    """A text, or the note of a step. No field is listed, as above."""

    text: SkipJsonSchema[str] = ""
    summary: SkipJsonSchema[str] = ""
    members: SkipJsonSchema[list[MemberEntry]] = Field(default=[])
    next_offset: SkipJsonSchema[int | None] = None
    turn: SkipJsonSchema[int | None] = None
    notes: SkipJsonSchema[list[str]] = Field(default=[])
    continuation_id: SkipJsonSchema[str] = ""
    step_number: SkipJsonSchema[int | None] = None
    total_steps: SkipJsonSchema[int | None] = None
    missing: SkipJsonSchema[list[str]] = Field(default=[])


async def findings_report(
    inquiry: Inquiry,
    outcomes: Sequence[Outcome],
    context: ToolContext,
    *,
    seconds: float,
    min_severity: Severity | str = "all",
) -> ToolResponse:
    """Read the answers, join their findings, store the round.

    Args:
        inquiry: what was asked.
        outcomes: one for each of its seats.
        context: of this call.
        seconds: wall time of the whole.
        min_severity: findings below are counted, not shown.
    """
    voices = [replace(voice, readings=tuple(map(_read, voice.responses))) for voice in voices_of(inquiry, outcomes)]
    found = _joined(inquiry, voices)
    least = SEVERITIES.index(severity_of(min_severity, "info"))
    shown = [finding for finding in found if finding.rank <= least]
    saved = await context.save(inquiry.thread, inquiry.question, [voice.answer for voice in voices if voice.responses])
    entries = member_entries(voices, saved, context.max_characters // (2 * len(voices)))
    responses = [response for voice in voices for response in voice.responses]
    notes = [*inquiry.notes, *notes_on(voices), *([saved.note] if saved.note else [])]
    conclusion = _conclusion(inquiry, voices, shown)
    used = _HEADING_CHARACTERS + sum(len(entry.text) + len(entry.summary) for entry in entries) + sum(map(len, notes))
    if len(shown) < len(found):
        notes.append(f"{len(found) - len(shown)} of lower severity are not shown.")
    count = _fitting(shown, context.max_characters - used) if saved.turns else len(shown)
    if count < len(shown):
        notes.append(_where_the_rest_is(len(shown) - count, saved))
    result = FindingsResult(
        findings=[_finding_entry(finding, alone=len(voices) == 1) for finding in shown[:count]],
        summary=conclusion,
        more_findings=len(shown) - count,
        members=entries,
        notes=notes,
        total_cost_dollars=total_cost(responses),
        seconds=round(seconds, 2),
        continuation_id=saved.continuation_id,
    )
    return ToolResponse(text=_findings_text(result, shown[:count], voices), structured=result.to_json())


async def text_report(
    inquiry: Inquiry, outcomes: Sequence[Outcome], context: ToolContext, *, seconds: float
) -> ToolResponse:
    """Store the round, and show the answer or, of a panel, the answers side by side."""
    voices = voices_of(inquiry, outcomes)
    saved = await context.save(inquiry.thread, inquiry.question, [voice.answer for voice in voices if voice.responses])
    if len(voices) > 1:
        return report(outcomes, saved=saved, seconds=seconds, limit=context.max_characters, notes=inquiry.notes)
    (voice,) = voices
    text = voice.answer.text
    shown = head(text, context.max_characters if saved.turns else len(text))
    notes = [*inquiry.notes, *notes_on(voices), *rest_note(saved, -1, shown, len(text))]
    result = TextResult(
        text=shown.text,
        members=member_entries(voices, saved, 1),
        next_offset=shown.next_offset,
        turn=saved.turns[-1] if shown.next_offset else None,
        notes=notes,
        continuation_id=saved.continuation_id,
    )
    footer = " · ".join([figures(voice), *stored_line(saved), *notes])
    return ToolResponse(text=f"{shown.text}\n\n[{footer}]", structured=result.to_json())


def _read(response: ModelResponse) -> Reading:
    return read_findings(response.text)


def _joined(inquiry: Inquiry, voices: Sequence[Voice]) -> tuple[Finding, ...]:
    """The findings of all; those of the caller only where somebody else has them too."""
    sent = inquiry.material.sent
    said = [(voice.member.model.name, reading.findings) for voice in voices for reading in voice.readings]
    everything = [*said, (CALLER, _issues(inquiry.steps))]
    found = merged([(name, [located(finding, sent) for finding in findings]) for name, findings in everything])
    return tuple(finding for finding in found if finding.found_by != (CALLER,))


def _issues(steps: Sequence[StepParams]) -> list[Finding]:
    found = (finding_of(issue) for step in steps for issue in step.issues_found)
    return [finding for finding in found if finding is not None]


def _conclusion(inquiry: Inquiry, voices: Sequence[Voice], found: Sequence[Finding]) -> str:
    answered = [voice for voice in voices if voice.responses]
    read = any(reading.readable for voice in answered for reading in voice.readings)
    parts: list[str] = []
    if len(voices) > 1:
        parts.append(f"{len(answered)} of {len(voices)} answered.")
        lost = [voice.member.label for voice in voices if not voice.responses]
        parts += [f"No answer from {', '.join(lost)}."] if lost else []
    parts += [_counted(found)] if read else []
    if len(answered) > 1:
        several = sum(len(set(finding.found_by) - {CALLER}) > 1 for finding in found)
        parts += [f"{several} found by several."] if several else []
        apart = sum(bool(finding.severities) for finding in found)
        parts += [f"{apart} judged of different severity."] if apart else []
    issues = _issues(inquiry.steps)
    if issues:
        again = sum(CALLER in finding.found_by for finding in found)
        parts.append(f"Of the caller's {len(issues)} issues {again} were found again.")
    if len(voices) == 1:
        parts += [reading.summary for reading in voices[0].readings if reading.summary]
    return " ".join(parts) or "The answer is no list of findings; it stands below as it is."


def _counted(found: Sequence[Finding]) -> str:
    """How many there are of which severity: `3 findings: 1 high, 2 low`."""
    if not found:
        return "No findings."
    counts = [(severity, sum(finding.severity == severity for finding in found)) for severity in SEVERITIES]
    kinds = ", ".join(f"{count} {severity}" for severity, count in counts if count)
    return f"{len(found)} finding{'' if len(found) == 1 else 's'}: {kinds}."


def _findings_text(result: FindingsResult, shown: Sequence[Finding], voices: Sequence[Voice]) -> str:
    alone = len(voices) == 1
    lines = [result.summary, *(_line(number, finding, alone=alone) for number, finding in enumerate(shown, start=1))]
    for voice, entry in zip(voices, result.members, strict=True):
        if entry.error:
            lines.append(f"{voice.member.label}: no answer. {entry.error}")
        elif entry.text:
            lines.append(f"## {entry.model}\n{entry.text}")
        elif entry.summary:
            lines.append(f"{entry.model}: {entry.summary}")
    each = [figures(voice) for voice in voices if voice.responses]
    total = [f"{result.seconds:.1f} s", dollars(result.total_cost_dollars)] if not alone else []
    stored = [f"continuation_id {result.continuation_id}"] if result.continuation_id else []
    return "\n".join([*lines, f"[{' · '.join([*each, *total, *stored, *result.notes])}]"])


def _line(number: int, finding: Finding, *, alone: bool) -> str:
    place = f" {finding.place}" if finding.place else ""
    unknown = " (no such place was sent)" if finding.place_unknown else ""
    why = f" {_ended(finding.why)}" if finding.why else ""
    fix = f" Fix: {finding.fix}" if finding.fix else ""
    who = "" if alone else _who(finding)
    return f"{number}. {finding.severity}{place}{unknown}: {_ended(finding.what)}{why}{fix}{who}"


def _ended(text: str) -> str:
    """The text with a full stop, where it has no other end."""
    return text if text.endswith((".", "!", "?", ":", ";")) else f"{text}."


def _who(finding: Finding) -> str:
    said = dict(finding.severities)
    return f" [{', '.join(f'{name}: {said[name]}' if said else name for name in finding.found_by)}]"


def _finding_entry(finding: Finding, *, alone: bool) -> JSONObject:
    entry: JSONObject = {"severity": finding.severity}
    values: JSONObject = {
        "file": finding.file,
        "line": finding.line,
        "what": finding.what,
        "why": finding.why,
        "fix": finding.fix,
        "place_unknown": finding.place_unknown,
        "found_by": [] if alone and len(finding.found_by) == 1 else list(finding.found_by),
        "severities": dict(finding.severities),
    }
    return {**entry, **{name: value for name, value in values.items() if value}}


def _fitting(found: Sequence[Finding], room: int) -> int:
    """How many of the findings fit, in the longer of both forms."""
    for count, finding in enumerate(found):
        room -= len(str(_finding_entry(finding, alone=False))) + 4
        if room < 0 and count > 0:
            return count
    return len(found)


def _where_the_rest_is(left: int, saved: Saved) -> str:
    turns = " and ".join(str(turn) for turn in saved.turns[1:])
    call = f"threads(continuation_id='{saved.continuation_id}', turn=…)"
    return f"{left} more findings stand in turn {turns}: {call}"


def noted(expert: Expert, steps: Sequence[StepParams], saved: Saved, *, lacking: Sequence[str]) -> ToolResponse:
    """The answer to a step at which nobody was asked: next to nothing, or at the end what was found."""
    last = steps[-1]
    if last.next_step_required:
        words = [f"step {last.step_number} of {max(last.total_steps, last.step_number)} noted", *stored_line(saved)]
        words += [f"missing: {', '.join(lacking)}"] if lacking else []
        result = TextResult(
            continuation_id=saved.continuation_id,
            step_number=last.step_number,
            total_steps=max(last.total_steps, last.step_number),
            missing=list(lacking),
            notes=[saved.note] if saved.note else [],
        )
        return ToolResponse(text=" · ".join(words), structured=result.to_json())
    if expert.conclude is not None:
        plan = expert.conclude(steps)
        ended = TextResult(text=plan, continuation_id=saved.continuation_id, notes=[saved.note] if saved.note else [])
        return ToolResponse(text=f"{plan}\n\n[{' · '.join(stored_line(saved))}]", structured=ended.to_json())
    found = merged([(CALLER, _issues(steps))])
    summary = f"No expert was asked. {_counted(found)}" if found else "No expert was asked."
    done = FindingsResult(
        findings=[_finding_entry(finding, alone=True) for finding in found],
        summary=summary,
        continuation_id=saved.continuation_id,
        notes=[saved.note] if saved.note else [],
    )
    lines = [summary, *(_line(number, one, alone=True) for number, one in enumerate(found, start=1))]
    return ToolResponse(text="\n".join([*lines, f"[{' · '.join(stored_line(saved))}]"]), structured=done.to_json())
