"""A plan from its steps: revised ones replaced, branches apart."""

from __future__ import annotations

from collections.abc import Sequence

from zen_mcp.tools.expert.steps import StepParams


def plan(steps: Sequence[StepParams]) -> str:
    """The steps as a numbered list, each branch under its own heading; a revision stands where the revised stood."""
    ways: dict[str, dict[int, StepParams]] = {"": {}}
    starts: dict[str, int] = {}
    for step in steps:
        way = ways.setdefault(step.branch_id, {})
        if step.branch_id and step.branch_from_step:
            starts.setdefault(step.branch_id, step.branch_from_step)
        way[_place(step, way)] = step
    parts = [_listed("", ways.pop(""), starts)]
    parts += [_listed(name, way, starts) for name, way in ways.items()]
    return "\n\n".join(part for part in parts if part)


def _place(step: StepParams, way: dict[int, StepParams]) -> int:
    """The number of the step that it revises, else its own."""
    return step.revises_step_number if step.revises_step_number in way else step.step_number


def _listed(name: str, way: dict[int, StepParams], starts: dict[str, int]) -> str:
    start = f" (from step {starts[name]})" if name in starts else ""
    heading = [f"## {name}{start}"] if name else []
    return "\n".join([*heading, *(_line(number, way[number]) for number in sorted(way))])


def _line(number: int, step: StepParams) -> str:
    revised = f" (revised in step {step.step_number})" if step.step_number != number else ""
    found = f"\n   {step.findings}" if step.findings else ""
    return f"{number}. {step.step}{revised}{found}"
