"""Step by step: the caller investigates, each step is a turn of the thread, an expert sees them all at the end.

Nothing is kept in memory: the next step may come to another process.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Literal

from pydantic import Field, ValidationError

from zen_mcp.conversations import Turn
from zen_mcp.tools.base import ToolParams
from zen_mcp.tools.context import Thread
from zen_mcp.types import JSONObject

Confidence = Literal["exploring", "low", "medium", "high", "very_high", "almost_certain", "certain"]

_BLOCK = re.compile(r"\n\n```step\n(\{.*\})\n```\Z", re.DOTALL)


class StepParams(ToolParams):
    """One step of an investigation, or of a plan."""

    step: str = Field(min_length=1, description="What is done, found or planned in this step")
    step_number: int = Field(ge=1, description="Counted from 1")
    total_steps: int = Field(default=1, ge=1, description="About how many there will be")
    next_step_required: bool = Field(description="false for the last step")
    findings: str = Field(default="", description="What was found")
    confidence: Confidence | None = Field(default=None, description="How sure you are; certain: no expert is asked")
    hypothesis: str = Field(default="", description="What you think it is")
    relevant_files: list[str] = Field(default=[], description="Paths that the expert is to see")
    files_checked: list[str] = Field(default=[], description="Paths that were looked at")
    relevant_context: list[str] = Field(default=[], description="Functions and classes that matter")
    issues_found: list[JSONObject | str] = Field(default=[], description="{severity, file, line, what, fix}")
    backtrack_from_step: int | None = Field(default=None, ge=1, description="Forget the steps from this one on")
    use_assistant_model: bool = Field(default=True, description="false: no expert is asked")
    is_step_revision: bool = Field(default=False, description="This step takes the place of another")
    revises_step_number: int | None = Field(default=None, ge=1, description="Which one")
    is_branch_point: bool = Field(default=False, description="Another way begins here")
    branch_from_step: int | None = Field(default=None, ge=1, description="The step that it leaves from")
    branch_id: str = Field(default="", description="Its name")
    more_steps_needed: bool = Field(default=False, description="More than total_steps are needed")

    @property
    def begins(self) -> bool:
        """Whether a new investigation begins with this step."""
        return self.step_number == 1 and not self.is_step_revision and not self.branch_id


FLAT_NAMES = frozenset(StepParams.model_fields)
"""What may also stand at the top level of a tool's arguments, without `step` around it."""


def stored_text(step: StepParams) -> str:
    """A step as the text of a turn: what was written, then the rest as data."""
    rest = step.model_dump(mode="json", exclude={"step"}, exclude_defaults=True)
    return f"{step.step}\n\n```step\n{json.dumps(rest, ensure_ascii=False)}\n```"


def stored_step(turn: Turn) -> StepParams | None:
    """The step that a turn holds; None when it holds none."""
    found = _BLOCK.search(turn.text) if turn.role == "user" else None
    if found is None:
        return None
    try:
        return StepParams.model_validate({**json.loads(found.group(1)), "step": turn.text[: found.start()]})
    except (ValueError, ValidationError):
        return None


def steps_with(thread: Thread, tool: str, step: StepParams) -> tuple[StepParams, ...]:
    """All steps of the investigation that `step` belongs to, itself last.

    An investigation begins with a step 1. A step that comes again takes the place of the one before: a caller who got
    no answer sends it twice.
    """
    kept: dict[tuple[str, int], StepParams] = {}
    for entry in (*_stored(thread, tool), step):
        if entry.begins:
            kept.clear()
        if entry.backtrack_from_step is not None:
            kept = {key: old for key, old in kept.items() if old.step_number < entry.backtrack_from_step}
        kept.pop((entry.branch_id, entry.step_number), None)
        kept[entry.branch_id, entry.step_number] = entry
    return tuple(kept.values())


def without_steps(thread: Thread, tool: str) -> Thread:
    """The thread without the steps of a tool, for a question that says them all."""
    turns = tuple(turn for turn in thread.turns if turn.tool != tool or stored_step(turn) is None)
    return Thread(id=thread.id, user_id=thread.user_id, title=thread.title, turns=turns)


def _stored(thread: Thread, tool: str) -> Iterator[StepParams]:
    for turn in thread.turns:
        if turn.tool == tool and (step := stored_step(turn)) is not None:
            yield step


def missing(steps: Sequence[StepParams], wanted: Sequence[str]) -> list[str]:
    """Which of the wanted arguments no step has given yet."""
    return [name for name in wanted if not any(getattr(step, name) for step in steps)]


def files_of(steps: Sequence[StepParams]) -> list[str]:
    """The paths that the expert is to see, each once, in the order they were named."""
    return list(dict.fromkeys(path for step in steps for path in step.relevant_files))


def told(steps: Sequence[StepParams]) -> str:
    """The steps in words, for the expert."""
    return "\n\n".join("\n".join(_lines(step)) for step in steps)


def _lines(step: StepParams) -> Iterator[str]:
    branch = f" (branch {step.branch_id})" if step.branch_id else ""
    yield f"Step {step.step_number}{branch}: {step.step}"
    if step.findings:
        yield f"Found: {step.findings}"
    if step.hypothesis:
        yield f"Hypothesis: {step.hypothesis}"
    if step.confidence:
        yield f"Confidence: {step.confidence.replace('_', ' ')}"
    if step.relevant_context:
        yield f"Relevant: {', '.join(step.relevant_context)}"
    checked = [path for path in step.files_checked if path not in step.relevant_files]
    if checked:
        yield f"Also checked: {', '.join(checked)}"
    for issue in step.issues_found:
        yield f"Issue: {issue if isinstance(issue, str) else json.dumps(issue, ensure_ascii=False)}"
