"""providers.yaml: how traffic is shared among models, and who steps in when one fails."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from zen_mcp.config.values import Entries, Names, Retries, Settings, Share, Version, Wait

Strategy = Literal["weight", "latency", "cost"]
CutAnswer = Literal["return", "continue"]

_WHOLES = (1.0, 100.0)
_ROUNDING = 0.01


class WeightedModel(Settings):
    """A model and its share of the traffic."""

    model: str = Field(min_length=1, description="A name or alias of models.yaml.")
    weight: Share | None = Field(
        default=None, description="Its share of the traffic: all shares sum to 1 or to 100; without any, equal shares."
    )


def check_shares(weights: Sequence[float | None]) -> None:
    """Refuse shares of which only some are given, or that do not make a whole.

    Raises:
        PydanticCustomError: says what they sum to.
    """
    given = [weight for weight in weights if weight is not None]
    if not given:
        return
    if len(given) < len(weights):
        raise PydanticCustomError("weights", "either all have a 'weight' or none")
    total = sum(given)
    if not any(abs(total - whole) <= _ROUNDING * whole for whole in _WHOLES):
        raise PydanticCustomError("weights", "the weights sum to {total}, not to 1 or 100", {"total": f"{total:g}"})


def _shares(members: tuple[WeightedModel, ...]) -> tuple[WeightedModel, ...]:
    check_shares([member.weight for member in members])
    names = [member.model.lower() for member in members]
    double = next((name for name in names if names.count(name) > 1), None)
    if double:
        raise PydanticCustomError("weights", "'{name}' stands in it twice", {"name": double})
    return members


Members = Annotated[tuple[WeightedModel, ...], AfterValidator(_shares)]


class Routing(Settings):
    """Who answers, and who steps in."""

    primary: Members = Field(
        default=(), description="The models that share the traffic of callers who name no model (`auto`)."
    )
    fallback_chain: Names = Field(
        default=(),
        description="Models asked in this order when the one asked fails; the last is the last resort. Not for members "
        "of a panel, who answer for themselves.",
    )
    strategy: Strategy = Field(
        default="weight", description="How one of `primary` is picked: by `weight`, lowest `latency`, lowest `cost`."
    )
    context_window_fallbacks: Entries[Names] = Field(
        default={}, validate_default=True, description="For a model, those asked instead when the prompt is too long."
    )
    content_policy_fallbacks: Entries[Names] = Field(
        default={}, validate_default=True, description="For a model, those asked instead when it refuses the content."
    )
    num_retries: Retries = Field(default=2, description="Further requests to a model after the first, at most.")
    retry_after_seconds: Wait = Field(
        default=0.2, description="The least pause before a model is asked again; a vendor's `Retry-After` is longer."
    )
    allowed_fails: Retries = Field(
        default=3, description="Failures within a minute after which one more sends a deployment to rest."
    )
    cooldown_seconds: Wait = Field(
        default=30.0, description="How long a deployment rests; until then it is asked only when nothing else is left."
    )
    on_cut: CutAnswer = Field(
        default="return",
        description="An answer cut in the middle: `return` what has come, or `continue` it on the next model.",
    )


class Group(Settings):
    """Several models under one name."""

    members: Annotated[Members, Field(min_length=1)] = Field(description="The models and their shares.")
    fallbacks: Names = Field(default=(), description="Asked in this order when no member answers.")
    strategy: Strategy = Field(
        default="weight", description="How a member is picked: by `weight`, lowest `latency`, lowest `cost`."
    )
    description: str = Field(default="", description="One line for people who choose.")


class ProvidersFile(Settings):
    """providers.yaml: weights and fallbacks."""

    version: Version = Field(default="1.0", description="The version of this file's format.")
    providers: Routing = Field(default_factory=Routing, description="Who answers, and who steps in.")
    groups: Entries[Group] = Field(
        default={}, validate_default=True, description="Groups by name; a name works wherever a model's does."
    )
