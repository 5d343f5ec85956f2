"""JSON Schemas as short as they can be said: every token of them is paid in every session of every client."""

from __future__ import annotations

from copy import deepcopy
from typing import cast
from weakref import WeakKeyDictionary

from pydantic import BaseModel

from zen_mcp.types import JSONObject, JSONValue

_OPEN: tuple[JSONValue, ...] = (True, {})
"""Values of `additionalProperties` that say no more than its absence."""

# Bounds stand in the descriptions, in words; arguments are checked centrally, whatever the schema says.
_DROPPED = frozenset(
    {"title", "default", "discriminator", "minimum", "maximum", "exclusiveMinimum", "maxItems", "minLength"}
)


_made: WeakKeyDictionary[type[BaseModel], dict[bool, JSONObject]] = WeakKeyDictionary()
"""What was computed once, for input and output; pydantic takes half a millisecond for each, and a list has forty."""


def compact_schema(model: type[BaseModel], *, output: bool = False) -> JSONObject:
    """The schema of a parameter or result class without titles, defaults, references and null branches.

    An absent argument means its default, so "or null" is noise. An output schema requires nothing, because an
    error result of the same tool must fit it too, and describes only the first level: results explain themselves.
    """
    made = _made.setdefault(model, {})
    if output not in made:
        made[output] = _computed(model, output=output)
    return deepcopy(made[output])


def _computed(model: type[BaseModel], *, output: bool) -> JSONObject:
    schema = cast("JSONObject", model.model_json_schema())
    definitions = cast("dict[str, JSONValue]", schema.pop("$defs", {}))
    schema.pop("description", None)
    if len(cast("JSONObject", schema.get("properties", {}))) < len(model.model_fields):
        schema.pop("additionalProperties", None)  # more is taken than is listed
    compact = cast("JSONObject", _compact(schema, definitions))
    if output:
        compact.pop("required", None)
        compact.pop("additionalProperties", None)
        properties = cast("dict[str, JSONObject]", compact.get("properties", {}))
        outlines: JSONObject = {name: _outline(value) for name, value in properties.items()}
        if not outlines:
            return {"type": "object"}
        compact["properties"] = outlines
    return compact


def _outline(schema: JSONObject) -> JSONObject:
    return {key: value for key, value in schema.items() if key == "type"}


def _compact(value: JSONValue, definitions: dict[str, JSONValue]) -> JSONValue:
    if isinstance(value, list):
        return [_compact(item, definitions) for item in value]
    if not isinstance(value, dict):
        return value
    reference = value.get("$ref")
    if isinstance(reference, str):
        target = cast("JSONObject", definitions[reference.rsplit("/", 1)[-1]])
        target = {key: item for key, item in target.items() if key != "description"}
        return _compact({**target, **{k: v for k, v in value.items() if k != "$ref"}}, definitions)
    branches = value.get("anyOf")
    if isinstance(branches, list):
        real = [branch for branch in branches if branch != {"type": "null"}]
        if len(real) == 1:
            rest = {key: item for key, item in value.items() if key != "anyOf"}
            return _compact({**cast("JSONObject", real[0]), **rest}, definitions)
    kept = {key: item for key, item in value.items() if key not in _DROPPED}
    if kept.get("additionalProperties") in _OPEN:
        kept.pop("additionalProperties", None)
    return {key: _compact_member(key, item, definitions) for key, item in kept.items()}


def _compact_member(key: str, value: JSONValue, definitions: dict[str, JSONValue]) -> JSONValue:
    if key == "properties" and isinstance(value, dict):
        return {name: _compact(item, definitions) for name, item in value.items()}
    return _compact(value, definitions)
