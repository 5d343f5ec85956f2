"""What a tool is: a parameter class, a description, and one async function."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Generic, Protocol, TypeVar, get_type_hints, runtime_checkable

from pydantic import BaseModel, ConfigDict, ValidationError

from zen_mcp.errors import InvalidArguments
from zen_mcp.tools.arguments import explain
from zen_mcp.tools.context import ToolContext
from zen_mcp.tools.schema import compact_schema
from zen_mcp.types import JSONObject, ToolResponse


class ToolParams(BaseModel):
    """Base of every parameter class: its docstring and field descriptions are what models read."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ToolResult(BaseModel):
    """Base of every result class: what `structuredContent` holds; absent values are left out."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def to_json(self) -> JSONObject:
        """The result as plain JSON, without what is None or empty."""
        return self.model_dump(mode="json", exclude_none=True, exclude_defaults=True)


Params = TypeVar("Params", bound=ToolParams)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolHints:
    """What clients may know about a tool before they call it.

    `read_only`: it changes nothing outside the server, so clients may call it in parallel. `open_world`: it talks
    to vendors. `always_load`: clients that hide tools until searched should show this one. `core`: it is offered where
    server.yaml does not ask for more.
    """

    read_only: bool = True
    open_world: bool = True
    always_load: bool = False
    core: bool = True


@runtime_checkable
class ToolProtocol(Protocol):
    """All that the registry asks of a tool; a plugin may satisfy it without deriving from anything."""

    @property
    def name(self) -> str:
        """The name that clients call: letters, digits and underscores."""
        ...

    @property
    def description(self) -> str:
        """What it is for and not for; a model reads it."""
        ...

    def get_schema(self) -> JSONObject:
        """The JSON Schema of its arguments."""
        ...

    async def execute(self, params: Mapping[str, object], context: ToolContext) -> ToolResponse:
        """Run it with arguments that fit the schema.

        Raises:
            ZenError: a foreseen failure, told to the caller.
        """
        ...


class BaseTool(Generic[Params]):
    """A tool made of a parameter class; derive from it, or use `@tool` on a function.

    Class attributes: `name`, `params` (its docstring is the description), `result` (None: no declared output),
    `hints`. Override `run`.
    """

    name: str
    params: type[Params]
    result: type[ToolResult] | None = None
    hints: ToolHints = ToolHints()

    @property
    def description(self) -> str:
        """The parameter class's docstring on one line."""
        return " ".join(inspect.cleandoc(self.params.__doc__ or "").split())

    @property
    def folder(self) -> Path:
        """Where the tool lives, its `prompt.md` beside it."""
        return _folder_of(self.params)

    def get_schema(self) -> JSONObject:
        """The schema of the parameter class, as short as it can be said."""
        return compact_schema(self.params)

    def get_output_schema(self) -> JSONObject:
        """The schema of `structuredContent`; of any object where the tool has no result class."""
        return compact_schema(self.result, output=True) if self.result else {"type": "object"}

    async def execute(self, params: Mapping[str, object], context: ToolContext) -> ToolResponse:
        """Check the arguments, then run.

        Raises:
            InvalidArguments: as `check`.
        """
        return await self.run(self.check(params), context)

    def check(self, params: Mapping[str, object]) -> Params:
        """The arguments as the parameter class.

        Raises:
            InvalidArguments: names each argument that is missing, unknown or of the wrong type.
        """
        try:
            return self.params.model_validate(params)
        except ValidationError as exc:
            raise InvalidArguments(*explain(self.name, self.params, exc)) from None

    async def run(self, params: Params, context: ToolContext) -> ToolResponse:
        """What the tool does."""
        raise NotImplementedError


@cache
def _folder_of(params: type[ToolParams]) -> Path:
    return Path(inspect.getfile(params)).parent


class FunctionTool(BaseTool[Params]):
    """A tool made of one async function by `@tool`."""

    def __init__(
        self,
        function: Callable[[Params, ToolContext], Awaitable[ToolResponse]],
        *,
        result: type[ToolResult] | None,
        hints: ToolHints,
    ) -> None:
        self.name = getattr(function, "__name__", "")
        self.params = get_type_hints(function)["params"]
        self.result = result
        self.hints = hints
        self._function = function

    async def run(self, params: Params, context: ToolContext) -> ToolResponse:
        """Call the function."""
        return await self._function(params, context)


def tool(
    *, result: type[ToolResult] | None = None, hints: ToolHints | None = None
) -> Callable[[Callable[[Params, ToolContext], Awaitable[ToolResponse]]], FunctionTool[Params]]:
    """Make a tool of `async def name(params: SomeParams, context: ToolContext) -> ToolResponse`.

    The function's name is the tool's, the parameter class's docstring its description.
    """

    def decorate(function: Callable[[Params, ToolContext], Awaitable[ToolResponse]]) -> FunctionTool[Params]:
        return FunctionTool(function, result=result, hints=hints or ToolHints())

    return decorate
