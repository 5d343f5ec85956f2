"""The kinds of values that settings have, each with its rule and its JSON Schema for editors."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, TypeVar, cast

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


def frozen_mapping(value: object) -> Mapping[str, object]:
    """A mapping that cannot be changed; for use as a default."""
    return MappingProxyType(dict(cast("Mapping[str, object]", value)))


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
Share = Annotated[
    float,
    BeforeValidator(_number),
    Field(gt=0),
    WithJsonSchema({"anyOf": [{"type": "number", "exclusiveMinimum": 0}, _VARIABLE]}),
]
Flag = Annotated[bool, WithJsonSchema({"anyOf": [{"type": "boolean"}, _VARIABLE]})]
Names = Annotated[
    tuple[str, ...],
    BeforeValidator(_names),
    WithJsonSchema({"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "string"}]}),
]
Version = Annotated[str, BeforeValidator(_version), Field(pattern=r"^1\.0$"), WithJsonSchema({"enum": ["1.0", 1.0]})]
Entries = Annotated[Mapping[str, Value], AfterValidator(_frozen)]
"""Named entries of one kind; read-only after loading."""
