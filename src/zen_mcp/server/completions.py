"""Completions over MCP: model names, thread ids and fixed words, as somebody types an argument."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError

from zen_mcp.errors import StorageError, UnknownThread
from zen_mcp.server.prompts import find_command
from zen_mcp.server.resources import MakeRequest, offered
from zen_mcp.tools.context import ToolContext
from zen_mcp.tools.registry import ToolRegistry
from zen_mcp.types import JSONObject

Context = ServerRequestContext[Any, Any]

MOST_VALUES = 100
"""The protocol's limit."""
_THREADS_LOOKED_AT = 500
_MODEL_ARGUMENTS = frozenset({"model", "models"})
_THREAD_ARGUMENTS = frozenset({"continuation_id", "id"})


class CompletionDoor:
    """Answers `completion/complete`.

    Args:
        registry: gives the tools that whoever asks may use.
        make_request: makes a request for whoever asks.
    """

    def __init__(self, registry: Callable[[Context], ToolRegistry], make_request: MakeRequest) -> None:
        self._registry = registry
        self._make_request = make_request

    async def complete(self, context: Context, params: types.CompleteRequestParams) -> types.CompleteResult:
        """What the argument may be, beginning with what was typed."""
        registry = self._registry(context)
        name, typed = params.argument.name, params.argument.value
        earlier = (params.context.arguments if params.context else None) or {}
        if isinstance(params.ref, types.PromptReference):
            tool = find_command(registry, params.ref.name).tool
            words = _words_of(registry.find(tool).get_schema(), name)
        else:
            tool, words = _tool_of(registry, params.ref.uri), ()
        asker = registry.context(self._make_request(context, tool, {}))
        values = [word for word in words if word.startswith(typed.lower())]
        if name in _MODEL_ARGUMENTS:
            values = _models(asker, typed)
        elif name in _THREAD_ARGUMENTS:
            values = await _threads(asker, typed)
        elif name == "n":
            values = await _turns(asker, earlier.get("id", ""), typed)
        return types.CompleteResult(
            completion=types.Completion(
                values=values[:MOST_VALUES], total=len(values), has_more=len(values) > MOST_VALUES
            )
        )


def _tool_of(registry: ToolRegistry, uri: str) -> str:
    for resource in offered(registry):
        if uri in {resource.uri, resource.uri.partition("{?")[0]} or resource.match(uri) is not None:
            return resource.tool
    raise MCPError(code=types.INVALID_PARAMS, message=f"Unknown resource '{uri[:120]}'.", data={"uri": uri})


def _words_of(schema: JSONObject, name: str) -> Sequence[str]:
    """The fixed words that an argument may be."""
    properties = cast("Mapping[str, JSONObject]", schema.get("properties") or {})
    words = properties.get(name, {}).get("enum")
    return [str(word) for word in words] if isinstance(words, list) else ()


def _models(asker: ToolContext, typed: str) -> list[str]:
    """Names, then aliases, of the models that can be asked; of a list with commas, for its last one."""
    before, comma, last = typed.rpartition(",")
    wanted = last.strip().lower()
    fitting = asker.catalog.available()
    names = [model.name for model in fitting] + [alias for model in fitting for alias in model.aliases]
    return [f"{before}{comma}{name}" for name in dict.fromkeys(names) if name.lower().startswith(wanted)]


async def _threads(asker: ToolContext, typed: str) -> list[str]:
    """Ids of the caller's threads that begin so, or whose title holds what was typed; the last used first."""
    wanted = typed.strip().lower()
    try:
        found = await asker.threads.list(limit=_THREADS_LOOKED_AT)
    except StorageError:
        return []  # a list of suggestions is no place to report a broken database; the call itself will
    return [thread.id for thread in found if thread.id.startswith(wanted) or wanted in thread.title.lower()]


async def _turns(asker: ToolContext, thread_id: str, typed: str) -> list[str]:
    try:
        thread = await asker.open_thread(thread_id or "-")
    except (UnknownThread, StorageError):
        return []
    return [str(turn.number) for turn in thread.turns if str(turn.number).startswith(typed.strip())]
