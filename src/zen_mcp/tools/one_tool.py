"""Applying what is set for one tool, so that no tool has to."""

from __future__ import annotations

from dataclasses import replace

from zen_mcp.config.tool_schema import OneToolSettings
from zen_mcp.tools.services import ToolServices
from zen_mcp.types import ToolRequest

UNSET = OneToolSettings()
"""The settings of a tool for which nothing is set."""


def services_for(services: ToolServices, tool: str, settings: OneToolSettings) -> ToolServices:
    """What a tool reaches the world with: only the models that it may ask, its own default among them."""
    if settings is UNSET:
        return services
    catalog = services.catalog.narrowed(tool=tool, only=settings.allowed_models, default_model=settings.default_model)
    kept = services.settings
    return replace(
        services,
        catalog=catalog,
        settings=replace(
            kept,
            max_result_characters=settings.max_result_characters or kept.max_result_characters,
            only_models=settings.allowed_models,
            prompts_dir=settings.prompts_dir,
            options=settings.options,
        ),
    )


def limited(request: ToolRequest, settings: OneToolSettings) -> ToolRequest:
    """The request with the client's limits, or the tool's where these are narrower."""
    if settings is UNSET:
        return request
    return replace(
        request,
        max_characters=_least(request.max_characters, settings.max_result_characters),
        max_seconds=_least(request.max_seconds, settings.timeout_seconds),
    )


def _least(*limits: float | None) -> int | None:
    """The narrowest of some limits; None when there is none."""
    return min((limit for limit in limits if limit is not None), default=None)  # pyright: ignore[reportReturnType]
