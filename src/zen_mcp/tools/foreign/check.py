"""Whether an object that says it is a tool can be listed without harm to the others."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Mapping
from typing import cast

from zen_mcp.tools.base import BaseTool, ToolProtocol

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
"""What every client and vendor takes for a function's name; a dot is refused by most."""


def faults_of(tool: ToolProtocol) -> tuple[str, ...]:
    """Why a tool cannot be offered, one sentence each; empty for a sound one. Runs the tool's own code."""
    name = cast("object", tool.name)
    if not isinstance(name, str) or not NAME.fullmatch(name):
        text = f"the tool's name {str(name)[:80]!r} is not usable: clients take letters, digits, '_' and '-'"
        return (f"{text}, at most 64, a letter first.",)
    faults: list[str] = []
    description = cast("object", tool.description)
    if not isinstance(description, str) or not description.strip():
        faults.append(f"{name}: it has no description, so no model would know what it is for.")
    if not inspect.iscoroutinefunction(tool.execute):
        faults.append(f"{name}: execute() is not an 'async def'.")
    faults += [f"{name}: get_schema(): {fault}" for fault in _schema_faults(tool.get_schema())]
    output = tool.get_output_schema() if isinstance(tool, BaseTool) else None
    if output is not None:
        faults += [f"{name}: get_output_schema(): {fault}" for fault in _schema_faults(output)]
    return tuple(faults)


def _schema_faults(schema: object) -> list[str]:
    """What keeps a JSON Schema from being listed."""
    if not isinstance(schema, Mapping):
        return [f"it is a {type(schema).__name__}, not a mapping with a JSON Schema."]
    try:
        json.dumps(schema, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as exc:
        return [f"it is not JSON: {exc}."]
    fields = cast("Mapping[str, object]", schema)
    if fields.get("type") != "object":
        return [f'its type is {fields.get("type")!r}; the schema of arguments says "type": "object".']
    properties = fields.get("properties", {})
    required = fields.get("required", [])
    if not isinstance(properties, Mapping) or not all(
        isinstance(value, Mapping | bool) for value in cast("Mapping[str, object]", properties).values()
    ):
        return ["'properties' is not a mapping of names to schemas."]
    if not isinstance(required, list):
        return ["'required' is not a list."]
    missing = [name for name in cast("list[object]", required) if name not in properties]
    return [f"'required' names {missing[0]!r}, which is not among 'properties'."] if missing else []
