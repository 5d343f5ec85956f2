"""A tool that derives from nothing of ours, made as safe as one that does."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from zen_mcp.errors import InvalidArguments
from zen_mcp.tools.base import ToolProtocol
from zen_mcp.tools.context import ToolContext
from zen_mcp.types import JSONObject, ToolResponse

_MOST_NAMED = 5


class BareTool:
    """Holds what a bare object said of itself once, so that listing runs none of its code, and checks its arguments.

    Args:
        inner: an object that satisfies `ToolProtocol`.
        folder: where its `prompt.md` lies; None for none.
    """

    def __init__(self, inner: ToolProtocol, *, folder: Path | None) -> None:
        self.name = inner.name
        self.description = " ".join(inner.description.split())
        self.folder = folder
        self._schema = deepcopy(inner.get_schema())
        self._inner = inner

    def get_schema(self) -> JSONObject:
        """The JSON Schema of its arguments."""
        return self._schema

    async def execute(self, params: Mapping[str, object], context: ToolContext) -> ToolResponse:
        """Check the arguments against the schema, then run it.

        Raises:
            InvalidArguments: names each argument that does not fit.
        """
        problems = _misfits(self._schema, params)
        if problems:
            names = cast("Mapping[str, object]", self._schema.get("properties", {}))
            known = ", ".join(names) or "no arguments"
            raise InvalidArguments(f"{self.name}: {' '.join(problems)}", f"It takes: {known}.")
        return await self._inner.execute(params, context)


def _misfits(schema: JSONObject, params: Mapping[str, object]) -> list[str]:
    """A sentence for each argument that does not fit the schema."""
    # A hundred milliseconds of import that only a call of such a tool needs.
    validator: Any = import_module("jsonschema").Draft202012Validator(schema)
    found: list[str] = []
    for error in validator.iter_errors(dict(params)):
        place = ".".join(str(part) for part in error.absolute_path) or "arguments"
        found.append(f"'{place}': {str(error.message)[:200]}.")
        if len(found) == _MOST_NAMED:
            break
    return found
