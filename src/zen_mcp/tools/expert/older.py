"""Arguments in the words of older servers, so that agents who know those need not learn anew."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from zen_mcp.tools.expert.steps import FLAT_NAMES

_RENAMED: Mapping[str, str] = {
    "thinking_mode": "thinking",
    "severity_filter": "min_severity",
    "path": "folder",
    "problem_context": "prompt",
    "absolute_file_paths": "files",
}
_FOCUS = (
    "focus_on",
    "focus_areas",
    "audit_focus",
    "review_type",
    "standards",
    "security_scope",
    "threat_level",
    "compliance_requirements",
    "refactor_type",
    "style_guide_examples",
    "analysis_type",
    "output_format",
    "document_complexity",
    "document_flow",
    "update_existing",
    "comments_on_complex_logic",
)
"""Said to the expert in words, as part of `focus`."""
_WITHOUT_MEANING = (
    "review_validation_type",
    "precommit_type",
    "num_files_documented",
    "total_files_to_document",
    "steps_skip_reason",
)


def translated(arguments: Mapping[str, object]) -> dict[str, object]:
    """The same arguments in the words of today; those that are not older ones stay as they are."""
    given = {name: value for name, value in arguments.items() if name not in _WITHOUT_MEANING and value is not None}
    _say_in_focus(given)
    for old, new in _RENAMED.items():
        if old in given:
            given.setdefault(new, given.pop(old))
    _say_in_changes(given)
    if "step" not in given and "step_number" not in given and "relevant_files" in given:
        given.setdefault("files", given.pop("relevant_files"))
    for name in ("models", "files", "images"):
        if isinstance(given.get(name), str):
            given[name] = [given[name]]
    return _lifted(given)


def _say_in_focus(given: dict[str, object]) -> None:
    said = [_words(given["focus"])] if "focus" in given else []
    for name in _FOCUS:
        if name in given:
            label = "" if name.startswith("focus") else f"{name.replace('_', ' ')}: "
            said.append(f"{label}{_words(given.pop(name))}")
    if said:
        given["focus"] = "; ".join(said)


def _say_in_changes(given: dict[str, object]) -> None:
    staged, unstaged = given.pop("include_staged", True), given.pop("include_unstaged", True)
    base = given.pop("compare_to", "")
    if base:
        given.setdefault("changes", f"{base}..HEAD")
    elif staged is False or unstaged is False:
        given.setdefault("changes", "unstaged" if staged is False else "staged")


def _words(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(str(part) for part in cast("list[object]", value)) if isinstance(value, list) else str(value)


def _lifted(given: dict[str, object]) -> dict[str, object]:
    """A step that lies flat at the top level, put into an object of its own."""
    flat = {name: value for name, value in given.items() if name in FLAT_NAMES}
    if not flat or isinstance(flat.get("step"), Mapping):
        return given
    return {**{name: value for name, value in given.items() if name not in FLAT_NAMES}, "step": flat}
