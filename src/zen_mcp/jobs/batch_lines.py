"""A batch's input: one prompt per line, as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from zen_mcp.types import JSONObject, ThinkingEffort

MOST_LINES = 50_000
"""OpenAI takes no more in one batch."""
_SHOWN = 10
_LONGEST_ID = 64


class PromptLine(BaseModel):
    """What a line may hold."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    prompt: str = Field(min_length=1)
    id: str | None = Field(default=None, min_length=1, max_length=_LONGEST_ID)
    system: str = ""
    temperature: float | None = Field(default=None, ge=0, le=2)
    max_output_tokens: int | None = Field(default=None, gt=0)
    thinking: ThinkingEffort | None = None
    json_schema: JSONObject | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """A good line: its number, the caller's name for it (its number where it has none), and what is asked."""

    line: int
    id: str
    asked: PromptLine


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokenLine:
    """A line that cannot be asked, and why."""

    line: int
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Lines:
    """What a file holds."""

    prompts: Sequence[Prompt]
    broken: Sequence[BrokenLine]

    def broken_in_words(self) -> str:
        """`line 3: it is not JSON; line 7: …`, the first ten of them."""
        told = [f"line {one.line}: {one.problem}" for one in self.broken[:_SHOWN]]
        more = len(self.broken) - len(told)
        return "; ".join([*told, *([f"and {more:,} more"] if more else [])])


def read_file(raw: bytes) -> Lines:
    """The prompts of a JSONL file. Empty lines are passed over, and counted."""
    rows = raw.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    return _read((number, row) for number, row in enumerate(rows, start=1) if row.strip())


def read_values(values: Sequence[object]) -> Lines:
    """The prompts of a list whose entries are texts or objects."""
    return _read(enumerate(values, start=1))


def _read(rows: Iterable[tuple[int, object]]) -> Lines:
    prompts: list[Prompt] = []
    broken: list[BrokenLine] = []
    lines_by_id: dict[str, int] = {}
    for number, row in rows:
        found = _parsed(row)
        if isinstance(found, PromptLine):
            identity = found.id or str(number)
            first = lines_by_id.setdefault(identity, number)
            if first == number:
                prompts.append(Prompt(line=number, id=identity, asked=found))
                continue
            found = f"its id '{identity}' is that of line {first}"
        broken.append(BrokenLine(line=number, problem=found))
    return Lines(prompts=prompts, broken=broken)


def _parsed(row: object) -> PromptLine | str:
    """The line, or what is wrong with it."""
    value: Any = row
    if isinstance(row, bytes):
        try:
            value = json.loads(row.decode("utf-8"))
        except UnicodeDecodeError:
            return "it is not UTF-8"
        except ValueError as exc:
            return f"it is not JSON ({str(exc).partition(':')[0]})"
        except RecursionError:
            return "it is nested too deeply"
    if isinstance(value, str):
        value = {"prompt": value}
    if not isinstance(value, dict):
        return f"it is {_kind(value)}, neither a text nor an object with 'prompt'"
    try:
        line = PromptLine.model_validate(cast("dict[str, Any]", value))
    except ValidationError as exc:
        return _words(exc)
    return line if line.prompt.strip() else "'prompt' is empty"


def _words(exc: ValidationError) -> str:
    first = exc.errors()[0]
    name = ".".join(str(part) for part in first["loc"]) or "it"
    if first["type"] == "missing":
        return f"'{name}' is missing"
    if first["type"] == "extra_forbidden":
        known = ", ".join(f"'{field}'" for field in PromptLine.model_fields)
        return f"'{name[:40]}' is unknown; there are {known}"
    return f"'{name[:40]}': {first['msg'][:1].lower()}{first['msg'][1:]}"


def _kind(value: object) -> str:
    return "null" if value is None else f"a {type(value).__name__}"
