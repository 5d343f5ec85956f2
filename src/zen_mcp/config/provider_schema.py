"""providers.yaml: how traffic is shared among models. Checked now, applied from a later version on."""

from __future__ import annotations

from pydantic import Field

from zen_mcp.config.values import Names, Settings, Share, Version


class WeightedModel(Settings):
    """A model and its share of the traffic."""

    model: str = Field(min_length=1, description="A name or alias of models.yaml.")
    weight: Share = Field(default=1.0, description="Its share, relative to the other weights.")


class Routing(Settings):
    """Who answers, and who steps in."""

    primary: tuple[WeightedModel, ...] = Field(default=(), description="Models that share the traffic by weight.")
    fallback_chain: Names = Field(
        default=(), description="Models asked in this order when the others fail; the last is the last resort."
    )


class ProvidersFile(Settings):
    """providers.yaml: weights and fallbacks."""

    version: Version = Field(default="1.0", description="The version of this file's format.")
    providers: Routing = Field(default_factory=Routing, description="Who answers, and who steps in.")
