"""What is wrong with a tool's arguments, in the tool's words."""

from __future__ import annotations

from pydantic import BaseModel, ValidationError

from zen_mcp.errors import did_you_mean

_SHOWN_CHARACTERS = 60


def explain(tool: str, params: type[BaseModel], error: ValidationError) -> tuple[str, str]:
    """A problem and a fix that name each wrong argument of `tool`.

    Only the first five are named: a caller fixes those first.
    """
    names = [field.alias or name for name, field in params.model_fields.items()]
    problems: list[str] = []
    for issue in error.errors(include_url=False)[:5]:
        place = ".".join(str(part) for part in issue["loc"] if not _is_branch(part)) or "arguments"
        problems.append(_sentence(issue["type"], place, issue["msg"], issue.get("input"), names))
    unique = list(dict.fromkeys(problems))
    return f"{tool}: {' '.join(unique)}", f"It takes: {', '.join(names) or 'no arguments'}."


def _is_branch(part: object) -> bool:
    """Whether part of a location names a branch of a union rather than an argument."""
    return isinstance(part, str) and (part in {"str", "int", "float"} or part[:1].isupper())


def _sentence(kind: str, place: str, message: str, value: object, names: list[str]) -> str:
    if kind == "missing":
        return f"'{place}' is missing."
    if kind == "extra_forbidden":
        return f"'{place}' is not an argument. {did_you_mean(place, names)}".strip()
    shown = repr(value)
    if len(shown) > _SHOWN_CHARACTERS:
        shown = f"{shown[:_SHOWN_CHARACTERS]}…"
    words = message.removeprefix("Value error, ").removeprefix("Input ")
    return f"'{place}' {words[:1].lower()}{words[1:]}, not {shown}."
