"""Which models can be asked."""

from __future__ import annotations

from pydantic import Field

from zen_mcp.tools import ToolContext, ToolHints, ToolParams, ToolResult, tool
from zen_mcp.tools.context import Model
from zen_mcp.tools.paging import head
from zen_mcp.types import JSONObject, ToolResponse


class ListModelsParams(ToolParams):
    """List models that can be asked, with aliases, context and price."""

    filter: str = Field(default="", description="Part of a name, alias or vendor")
    all: bool = Field(default=False, description="Also those without a key, with what to set")


class ListModelsResult(ToolResult):
    """The models, the default one and the default panel."""

    default: str = ""
    panel: list[str] = Field(default=[])
    models: list[JSONObject] = Field(default=[])
    unavailable: int = 0
    more: int = 0


@tool(hints=ToolHints(open_world=False))
async def listmodels(params: ListModelsParams, context: ToolContext) -> ToolResponse:
    """List the models that fit the filter, the available ones first."""
    wanted = params.filter.strip().lower()
    fitting = [
        model
        for model in context.catalog.models
        if not wanted or any(wanted in word.lower() for word in (model.name, model.vendor, *model.aliases))
    ]
    available = [model for model in fitting if model.unavailable is None]
    missing = [model for model in fitting if model.unavailable is not None]
    entries = [_entry(model) for model in (*available, *missing)] if params.all else [_entry(m) for m in available]
    default = context.catalog.default_model().name
    panel = [model.name for model in context.catalog.default_panel()]
    lines = [_line(entry) for entry in entries]
    shown = head("\n".join(lines), context.max_characters // 2)
    count = len(shown.text.splitlines())
    summary = f"default {default} · panel {', '.join(panel)} · {len(available)} available"
    if missing and not params.all:
        summary += f" · {len(missing)} without a key (all=true shows them)"
    if count < len(lines):
        summary += f" · {len(lines) - count} more: use filter"
    result = ListModelsResult(
        default=default,
        panel=panel,
        models=entries[:count],
        unavailable=0 if params.all else len(missing),
        more=len(lines) - count,
    )
    return ToolResponse(text="\n".join([summary, *lines[:count]]), structured=result.to_json())


def _entry(model: Model) -> JSONObject:
    """One model as data, without what is unknown; prices are dollars per million tokens."""
    entry: JSONObject = {"name": model.name, "vendor": model.vendor}
    if model.aliases:
        entry["aliases"] = list(model.aliases)
    if model.context_window:
        entry["context"] = model.context_window
    if model.price.input_dollars_per_token is not None:
        entry["input_price"] = _per_million(model.price.input_dollars_per_token)
    if model.price.output_dollars_per_token is not None:
        entry["output_price"] = _per_million(model.price.output_dollars_per_token)
    if model.capabilities.vision:
        entry["vision"] = True
    if model.unavailable:
        entry["unavailable"] = model.unavailable
    return entry


def _per_million(dollars_per_token: float) -> float:
    return round(dollars_per_token * 1_000_000, 4)


def _line(entry: JSONObject) -> str:
    aliases = entry.get("aliases")
    also = f" ({', '.join(str(alias) for alias in aliases)})" if isinstance(aliases, list) else ""
    parts = [f"{entry['name']}{also} {entry['vendor']}"]
    context = entry.get("context")
    if isinstance(context, int):
        parts.append(f"{context // 1000}k")
    if "input_price" in entry and "output_price" in entry:
        parts.append(f"${entry['input_price']:g}/${entry['output_price']:g} per M")
    if "unavailable" in entry:
        parts.append(f"unavailable: {entry['unavailable']}")
    return " · ".join(parts)
