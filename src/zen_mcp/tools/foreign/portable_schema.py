"""Whether every vendor takes a tool's schema for a function: one that a vendor refuses takes all other tools with it.

Gemini reads a subset of OpenAPI 3.0 (its `Schema`: `type` is one word, an array has `items`, an enum holds strings, few
formats); OpenAI's strict functions take a subset of JSON Schema with bounds. What stands here is what both take.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import cast

from zen_mcp.types import JSONObject, JSONValue

KEYWORDS = frozenset(
    {
        "type",
        "description",
        "properties",
        "required",
        "items",
        "enum",
        "format",
        "anyOf",
        "additionalProperties",
        "title",
        "default",
        "minimum",
        "maximum",
        "minItems",
        "maxItems",
        "minLength",
        "maxLength",
        "pattern",
    }
)
TYPES = frozenset({"string", "number", "integer", "boolean", "array", "object"})
FORMATS: Mapping[str, frozenset[str]] = {
    "string": frozenset({"date-time", "enum"}),
    "number": frozenset({"float", "double"}),
    "integer": frozenset({"int32", "int64"}),
}
DEEPEST_LEVEL = 5
MOST_PROPERTIES = 100
MOST_ENUM_VALUES = 500
LONGEST_DESCRIPTION_CHARACTERS = 1024
LONGEST_NAME_CHARACTERS = 64


def misfits(tool: str, description: str, schema: JSONObject) -> tuple[str, ...]:
    """What some vendor refuses in a tool's listing, a sentence each; empty for a schema that all take."""
    found: list[str] = []
    if len(description) > LONGEST_DESCRIPTION_CHARACTERS:
        limit = LONGEST_DESCRIPTION_CHARACTERS
        found.append(f"{tool}: the description has {len(description):,} characters; OpenAI takes {limit:,}.")
    if "anyOf" in schema:
        found.append(f"{tool}: 'anyOf' at the top of a schema is refused; describe the alternatives in words.")
    found += [f"{tool}: {text}" for text in _walk(schema, "", 1)]
    count = _properties(schema)
    if count > MOST_PROPERTIES:
        found.append(f"{tool}: {count} properties; OpenAI takes {MOST_PROPERTIES} in all.")
    return tuple(found)


def _walk(schema: JSONObject, place: str, level: int) -> Iterator[str]:
    where = f"'{place}'" if place else "the schema"
    for keyword in schema:
        if keyword not in KEYWORDS:
            yield f"{where} uses '{keyword}', which not every vendor takes."
    if level > DEEPEST_LEVEL:
        yield f"{where} lies {level} levels deep; vendors take {DEEPEST_LEVEL}."
        return
    yield from _type_misfits(schema, where)
    yield from _enum_misfits(schema, where)
    for name, part in _parts(schema):
        if part is None:
            yield f"{where} has a schema of its own for '{name}' that is no object."
            continue
        if not (name.startswith(("[", "|")) or len(name) <= LONGEST_NAME_CHARACTERS):
            yield f"{where}: the name '{name[:80]}' has more than {LONGEST_NAME_CHARACTERS} characters."
        yield from _walk(part, f"{place}.{name}".strip("."), level + (0 if name.startswith("|") else 1))


def _type_misfits(schema: JSONObject, where: str) -> Iterator[str]:
    kind = schema.get("type")
    if kind is None and "anyOf" not in schema:
        yield f"{where} has no 'type'."
    elif isinstance(kind, list):
        yield f"{where} has several types; Gemini takes one."
    elif kind is not None and kind not in TYPES:
        yield f"{where} has the type '{kind}'."
    if kind == "array" and not isinstance(schema.get("items"), dict):
        yield f"{where} is an array without 'items'; Gemini refuses it."
    form = schema.get("format")
    if form is not None and form not in FORMATS.get(str(kind), ()):
        yield f"{where} has the format '{form}', which not every vendor takes."
    if isinstance(schema.get("additionalProperties"), dict):
        yield f"{where} describes its additional properties, which OpenAI and Gemini refuse; use a list of objects."


def _enum_misfits(schema: JSONObject, where: str) -> Iterator[str]:
    values = schema.get("enum")
    if values is None:
        return
    if not isinstance(values, list) or not values or not all(isinstance(value, str) for value in values):
        yield f"{where} has an enum of something else than words; Gemini takes strings only."
    elif len(values) > MOST_ENUM_VALUES:
        yield f"{where} has {len(values)} enum values; OpenAI takes {MOST_ENUM_VALUES}."


def _parts(schema: JSONObject) -> Iterator[tuple[str, JSONObject | None]]:
    """The schemas right below, by name: properties, `[]` for the items of an array, `|1` for a branch."""
    properties = schema.get("properties")
    if isinstance(properties, dict):
        yield from ((name, _object(value)) for name, value in properties.items())
    if "items" in schema:
        yield "[]", _object(schema["items"])
    branches = schema.get("anyOf")
    if isinstance(branches, list):
        yield from ((f"|{number}", _object(branch)) for number, branch in enumerate(branches, start=1))


def _object(value: JSONValue) -> JSONObject | None:
    return value if isinstance(value, dict) else None


def _properties(schema: JSONObject) -> int:
    own = len(cast("JSONObject", schema["properties"])) if isinstance(schema.get("properties"), dict) else 0
    return own + sum(_properties(part) for _, part in _parts(schema) if part is not None)
