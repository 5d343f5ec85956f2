"""The kinds of values that settings have, each with its rule and its JSON Schema for editors."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

Value = TypeVar("Value")

_VARIABLE = {"type": "string", "pattern": r"\$\{"}
"""What an editor must allow wherever a number is due: `${NAME:-8192}`."""


class Settings(BaseModel):
    """A part of the settings: no unknown keys, no NaN, nothing changes after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, hide_input_in_errors=True)


def _number(value: object) -> object:
    """Refuse true and false, which Python counts as 1 and 0."""
    if isinstance(value, bool):
        raise PydanticCustomError("float_type", "must be a number")
    return value


def _names(value: object) -> object:
    """Take `a, b` for a list of two."""
    if isinstance(value, str):
        return tuple(part for part in (piece.strip() for piece in value.split(",")) if part)
    return value


def _version(value: object) -> object:
    """Take an unquoted 1.0, which YAML reads as a number, for the text."""
    return str(value) if isinstance(value, float) else value


def _frozen(value: Mapping[str, Value]) -> Mapping[str, Value]:
    return MappingProxyType(dict(value))


Count = Annotated[
    int,
    BeforeValidator(_number),
    Field(gt=0),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1}, _VARIABLE]}),
]
Seconds = Annotated[
    float,
    BeforeValidator(_number),
    Field(gt=0),
    WithJsonSchema({"anyOf": [{"type": "number", "exclusiveMinimum": 0}, _VARIABLE]}),
]
Dollars = Annotated[
    float,
    BeforeValidator(_number),
    Field(ge=0),
    WithJsonSchema({"anyOf": [{"type": "number", "minimum": 0}, _VARIABLE]}),
]
Allowance = Annotated[
    float,
    BeforeValidator(_number),
    Field(gt=0),
    WithJsonSchema({"anyOf": [{"type": "number", "exclusiveMinimum": 0}, _VARIABLE]}),
]
"""Dollars that may be spent."""
Percent = Annotated[
    float,
    BeforeValidator(_number),
    Field(gt=0, le=100),
    WithJsonSchema({"anyOf": [{"type": "number", "exclusiveMinimum": 0, "maximum": 100}, _VARIABLE]}),
]
Share = Annotated[
    float,
    BeforeValidator(_number),
    Field(ge=0),
    WithJsonSchema({"anyOf": [{"type": "number", "minimum": 0}, _VARIABLE]}),
]
Wait = Annotated[
    float,
    BeforeValidator(_number),
    Field(ge=0),
    WithJsonSchema({"anyOf": [{"type": "number", "minimum": 0}, _VARIABLE]}),
]
Retries = Annotated[
    int,
    BeforeValidator(_number),
    Field(ge=0, le=10),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 0, "maximum": 10}, _VARIABLE]}),
]
Days = Annotated[
    Annotated[float, BeforeValidator(_number), Field(ge=0)] | None,
    WithJsonSchema({"anyOf": [{"type": "number", "minimum": 0}, {"type": "null"}, _VARIABLE]}),
]
"""None and 0: for ever."""
Flag = Annotated[bool, WithJsonSchema({"anyOf": [{"type": "boolean"}, _VARIABLE]})]
Names = Annotated[
    tuple[str, ...],
    BeforeValidator(_names),
    WithJsonSchema({"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "string"}]}),
]
Version = Annotated[Literal["1.0"], BeforeValidator(_version), WithJsonSchema({"enum": ["1.0", 1.0]})]
Word = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]*$"), WithJsonSchema({"type": "string"})]
"""A region or project: it becomes part of an address, so nothing that could change the host."""
Entries = Annotated[Mapping[str, Value], AfterValidator(_frozen)]
"""Named entries of one kind; read-only after loading."""
