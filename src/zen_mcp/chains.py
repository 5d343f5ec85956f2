"""The steps of the two chains by name, and what they are made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from zen_mcp.catalog import Catalog
from zen_mcp.catalog.model import fingerprint
from zen_mcp.config.problems import KeyPath, Place
from zen_mcp.config.schema import CacheSettings, Config
from zen_mcp.ground import Ground
from zen_mcp.jobs.background import BackgroundCalls
from zen_mcp.middleware.base import Middleware
from zen_mcp.middleware.cache import ResponseCache, key_of
from zen_mcp.middleware.json_answer import json_answer
from zen_mcp.middleware.lead import Lead
from zen_mcp.middleware.ledger import ModelLedger, ToolLedger
from zen_mcp.middleware.limits import Limits
from zen_mcp.middleware.log import log_model, log_tool
from zen_mcp.middleware.metrics import ModelMetrics, ToolMetrics
from zen_mcp.middleware.named import chain_of
from zen_mcp.middleware.similar import SimilarQuestions
from zen_mcp.middleware.trace import ModelTrace, ToolTrace
from zen_mcp.providers.embedding import LocalEmbedding
from zen_mcp.storage.redis import RedisLeases, RedisResponses
from zen_mcp.storage.responses import SQLResponses
from zen_mcp.storage.similar import RedisSimilar, SQLSimilar
from zen_mcp.types import ModelRequest, ModelResponse, ToolRequest, ToolResponse

Request = TypeVar("Request")
Response = TypeVar("Response")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the steps of the chains are made of."""

    config: Config
    catalog: Catalog
    ground: Ground
    background: BackgroundCalls
    limits: Limits

    def vendor(self, model: str) -> str:
        """The vendor of a model that is known."""
        return self.catalog.resolve(model).vendor


ToolStep = Middleware[ToolRequest, ToolResponse]
ModelStep = Middleware[ModelRequest, ModelResponse]

TOOL_STEPS: Mapping[str, Callable[[Parts], ToolStep | None]] = {
    "trace": lambda parts: ToolTrace(parts.ground.tracing) if parts.ground.tracing else None,
    "log": lambda _: log_tool,
    "background": lambda parts: parts.background,
    "metrics": lambda parts: ToolMetrics(parts.ground.metrics) if parts.ground.metrics else None,
    "ledger": lambda parts: ToolLedger(parts.ground.ledger),
    "limits": lambda parts: parts.limits.around_tool if parts.limits.tool_rules else None,
}
"""The steps around every tool call by name, outermost first; docs/middleware.md says why in this order."""

MODEL_STEPS: Mapping[str, Callable[[Parts], ModelStep | None]] = {
    "trace": lambda parts: ModelTrace(parts.ground.tracing, vendor_of=parts.vendor) if parts.ground.tracing else None,
    "log": lambda _: log_model,
    "metrics": lambda parts: (
        ModelMetrics(parts.ground.metrics, vendor_of=parts.vendor) if parts.ground.metrics else None
    ),
    "ledger": lambda parts: ModelLedger(parts.ground.ledger, vendor_of=parts.vendor),
    "limits": lambda parts: parts.limits.around_model if parts.limits.model_rules else None,
    "cache": lambda parts: _cache(parts),  # noqa: PLW0108 - defined below
    "json": lambda _: json_answer,
}
"""The steps around every model request, likewise."""


def chain(
    which: str,
    names: Sequence[str] | None,
    table: Mapping[str, Callable[[Parts], Middleware[Request, Response] | None]],
    parts: Parts,
    response: type[Response],
) -> tuple[Middleware[Request, Response], ...]:
    """A chain as server.yaml names it, or all of ours.

    Args:
        which: the chain's name in server.yaml: `tools` or `models`.
        names: its steps; None for ours.
        table: our steps.
        parts: what they are made of.
        response: what a step returns.

    Raises:
        ConfigError: an unknown name, or a foreign step that cannot be loaded.
    """

    def place(key: KeyPath) -> Place:
        places = parts.config.server_places
        return places.get(key) or places.get(key[:-1]) or Place("server.yaml")

    makers = {name: partial(make, parts) for name, make in table.items()}
    return chain_of(("middleware", which), names, makers, response=response, place=place)


def _cache(parts: Parts) -> ResponseCache:
    settings, catalog, ground = parts.config.server.cache, parts.catalog, parts.ground
    return ResponseCache(
        RedisResponses(ground.redis) if ground.redis else SQLResponses(ground.database),
        default="use" if settings.enabled else "off",
        seconds=settings.ttl_seconds,
        fingerprint=lambda name: fingerprint(catalog.resolve(name)),
        similar=_similar(settings, catalog, ground) if settings.semantic.enabled else None,
        lead=Lead(RedisLeases(ground.redis)) if ground.redis else None,
    )


def _similar(settings: CacheSettings, catalog: Catalog, ground: Ground) -> SimilarQuestions:
    """The semantic cache.

    Raises:
        ConfigError: its extra is not installed.
    """
    return SimilarQuestions(
        RedisSimilar(ground.redis) if ground.redis else SQLSimilar(ground.database),
        embed=LocalEmbedding().embed,
        threshold=settings.semantic.threshold,
        seconds=settings.ttl_seconds,
        key_of=lambda request: key_of(request, fingerprint(catalog.resolve(request.model))),
    )
