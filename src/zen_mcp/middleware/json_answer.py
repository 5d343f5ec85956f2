"""Answers in JSON: asked for in words too, checked against the schema, repaired once."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from typing import Any, cast

from zen_mcp.errors import InvalidArguments, VendorBadAnswer
from zen_mcp.middleware.base import CallNext
from zen_mcp.types import JSONObject, Message, ModelRequest, ModelResponse, Usage

_FENCE = re.compile(r"^\s*```(?:json)?\s*\n(.*?)\n?\s*```\s*$", re.DOTALL)
_LONGEST_FAULT = 300


async def json_answer(request: ModelRequest, call_next: CallNext[ModelRequest, ModelResponse]) -> ModelResponse:
    """A model middleware: where JSON is wished, the text of the answer is JSON, of the schema.

    Raises:
        InvalidArguments: the schema itself is wrong.
        VendorBadAnswer: neither the answer nor its repair is what was wished.
    """
    if request.json_lenient or (request.json_schema is None and not request.json_mode):
        return await call_next(request)
    _check_schema(request.json_schema)
    # Pieces of something that may have to be repaired are of no use to anybody.
    asked = replace(request, messages=_in_words(request), sink=None)
    first = await call_next(asked)
    fault = fault_in(first.text, request.json_schema)
    if fault is None or first.partial:
        return await _given(request, first)
    again = (
        Message(role="assistant", text=first.text),
        Message(role="user", text=f"That is not what was asked for: {fault}. Answer with the corrected JSON alone."),
    )
    second = await call_next(replace(asked, messages=(*asked.messages, *again)))
    whole = replace(
        second,
        usage=_sum(first.usage, second.usage),
        cost_dollars=_both(first.cost_dollars, second.cost_dollars),
        seconds=first.seconds + second.seconds,
        attempts=first.attempts + second.attempts,
        notes=(*second.notes, f"repaired once: {fault}"),
    )
    still = fault_in(whole.text, request.json_schema)
    if still is not None:
        error = VendorBadAnswer(
            f"'{whole.model}' ({whole.vendor}) did not answer in the wished JSON, twice: {still}.",
            "Simplify the schema, or ask another model.",
        )
        error.retryable = False
        raise error
    return await _given(request, whole)


def fault_in(text: str, schema: JSONObject | None) -> str | None:
    """What is wrong with a JSON answer; None for a good one."""
    try:
        value = json.loads(_bare(text))
    except ValueError as exc:
        return f"it is not valid JSON ({exc})"
    if schema is None:
        return None
    # A registry of its own keeps the library from fetching what a schema refers to.
    registry: Any = import_module("referencing").Registry()
    validator: Any = import_module("jsonschema").Draft202012Validator(schema, registry=registry)
    error = next(iter(validator.iter_errors(value)), None)
    if error is None:
        return None
    where = "/".join(str(part) for part in error.absolute_path)
    return f"{where or 'the whole'}: {str(error.message)[:_LONGEST_FAULT]}"


def _check_schema(schema: JSONObject | None) -> None:
    if schema is None:
        return
    jsonschema: Any = import_module("jsonschema")  # only where it is wished for
    try:
        jsonschema.Draft202012Validator.check_schema(schema)
    except jsonschema.SchemaError as exc:
        text = f"'json_schema' is not a JSON Schema: {str(exc.message)[:_LONGEST_FAULT]}."
        raise InvalidArguments(text, "See https://json-schema.org.") from None
    outside = next((ref for ref in _references(schema) if not ref.startswith("#")), None)
    if outside is not None:
        raise InvalidArguments(f"'json_schema' refers to '{outside}', outside of itself.", "Put it into '$defs'.")


def _references(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        entries = cast("dict[str, object]", value)
        if isinstance(ref := entries.get("$ref"), str):
            yield ref
        for item in entries.values():
            yield from _references(item)
    elif isinstance(value, list):
        for item in cast("list[object]", value):
            yield from _references(item)


def _in_words(request: ModelRequest) -> tuple[Message, ...]:
    """The messages with the wish added to the system message: some models have no other way to hear of it."""
    wish = "Answer with JSON alone, without a code fence."
    if request.json_schema is not None:
        wish += f" It must fit this JSON Schema: {json.dumps(request.json_schema, sort_keys=True)}"
    first, *rest = request.messages
    if first.role == "system":
        return (replace(first, text=f"{first.text}\n\n{wish}"), *rest)
    return (Message(role="system", text=wish), *request.messages)


async def _given(request: ModelRequest, response: ModelResponse) -> ModelResponse:
    response = replace(response, text=_bare(response.text))
    if request.sink is not None:
        await request.sink(response.text)
    return response


def _bare(text: str) -> str:
    """The text without the code fence that many models put around JSON."""
    found = _FENCE.match(text)
    return found.group(1) if found else text.strip()


def _sum(one: Usage | None, other: Usage | None) -> Usage | None:
    if one is None or other is None:
        return None
    return Usage(**{name: getattr(one, name) + getattr(other, name) for name in Usage.__slots__})


def _both(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one + other
