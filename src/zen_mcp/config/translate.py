"""Pydantic's findings in our words, each at the line where the key was written."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import cast

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from zen_mcp.config.problems import KeyPath, Problem
from zen_mcp.config.source import Source
from zen_mcp.config.values import Settings
from zen_mcp.errors import did_you_mean

_SAYINGS: Mapping[str, str] = {
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "string_type": "must be text",
    "string_too_short": "must have {min_length} characters or more",
    "path_type": "must be a path",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be {ge} or more",
    "less_than_equal": "must be {le} or less",
    "literal_error": "must be {expected}",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
    "mapping_type": "must be a mapping of names to values",
    "dict_type": "must be a mapping of names to values",
    "model_type": "must be a mapping of settings",
    "model_attributes_type": "must be a mapping of settings",
    "missing": "is missing",
    "too_short": "must have an entry",
    "string_pattern_mismatch": "may hold letters, digits and '._:-' only",
}
_SECRET = {
    *("api_key", "extra", "base_url", "url", "headers", "state_key", "metrics_token"),
    *("database_url", "redis_url", "push_url"),
}
_LONGEST_VALUE = 60


def problems_of(
    error: ValidationError, schema: type[Settings], source: Source, expanded: Collection[KeyPath]
) -> list[Problem]:
    """One problem per finding.

    Args:
        error: what pydantic found.
        schema: the class that was validated.
        source: where each key was written.
        expanded: keys whose value came from a variable; it is never shown.
    """
    return [_problem(details, schema, source, expanded) for details in error.errors(include_url=False)]


def _problem(details: ErrorDetails, schema: type[Settings], source: Source, expanded: Collection[KeyPath]) -> Problem:
    key: KeyPath = details["loc"]
    place = source.place(key)
    if details["type"] == "extra_forbidden":
        return Problem(
            place, key, f"unknown key '{key[-1]}'.", did_you_mean(str(key[-1]), known_keys(schema, key[:-1]))
        )
    context = cast("dict[str, object]", details.get("ctx", {}))
    saying = "must not be empty" if details["input"] == "" else _SAYINGS.get(details["type"])
    text = saying.format(**context) if saying else details["msg"]
    value: object = details["input"]
    shown = "" if key in expanded or _SECRET.intersection(key) else _shown(value)
    text = f"{shown} {text}.".strip() if shown else f"{text}."
    fix = ""
    if details["type"] == "string_type" and isinstance(value, (bool, int, float)):
        fix = "Put it in quotes."
    elif details["type"] == "literal_error" and isinstance(value, str):
        fix = did_you_mean(value, str(context["expected"]).replace(" or ", ", ").replace("'", "").split(", "))
    return Problem(place, key, text, fix)


def _shown(value: object) -> str:
    """A short value in quotes; empty for anything longer or nested."""
    if not isinstance(value, (str, bool, int, float)):
        return ""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return f"'{text}'" if len(text) <= _LONGEST_VALUE else ""


def known_keys(schema: type[Settings], key: KeyPath) -> list[str]:
    """The keys that may stand at a place, by the JSON Schema of the file."""
    whole = schema.model_json_schema()
    definitions = cast("dict[str, object]", whole.get("$defs", {}))
    node = cast("dict[str, object]", whole)
    for part in key:
        node = _child(node, part, definitions)
    return list(cast("dict[str, object]", node.get("properties", {})))


def _child(node: dict[str, object], part: str | int, definitions: dict[str, object]) -> dict[str, object]:
    properties = cast("dict[str, object]", node.get("properties", {}))
    below = properties.get(str(part)) or node.get("items" if isinstance(part, int) else "additionalProperties")
    if not isinstance(below, dict):
        return {}
    choices = cast("list[dict[str, object]]", cast("dict[str, object]", below).get("anyOf") or [below])
    found = next((choice for choice in choices if {"$ref", "properties", "items"} & set(choice)), choices[0])
    if "$ref" in found:
        found = definitions[str(found["$ref"]).rsplit("/", 1)[-1]]
    return cast("dict[str, object]", found)
