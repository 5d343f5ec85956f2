"""One entry of the catalog."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """Dollars per token. A None price is unknown, never free; a local model's prices are 0.0.

    What was read from or written to the vendor's prompt cache, and what was thought, costs what any other token costs
    where it has no price of its own.
    """

    input_dollars_per_token: float | None = None
    output_dollars_per_token: float | None = None
    cached_dollars_per_token: float | None = None
    cache_write_dollars_per_token: float | None = None
    reasoning_dollars_per_token: float | None = None

    @property
    def known(self) -> bool:
        """Whether a request can be priced at all."""
        return self.input_dollars_per_token is not None and self.output_dollars_per_token is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a model can do."""

    vision: bool = False
    function_calling: bool = False
    json_mode: bool = False
    streaming: bool = True
    reasoning: bool = False
    temperature: bool = True
    prompt_caching: bool = False
    web_search: bool = False
    pdf_input: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A model of a group and its share of the traffic; None where no member has one."""

    model: Model
    weight: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model that can be asked.

    One name may stand for several ways to reach it (`deployments`), or for several models (`members`, a group).

    Attributes:
        name: the one name of this model in our words.
        vendor: the company or API behind it ("openai", "anthropic", "local", …).
        litellm_model: what LiteLLM calls it ("anthropic/claude-opus-4-5").
        base_url: an endpoint other than the vendor's own; None for the vendor's.
        api_key: the key itself; None when none is set. Never printed: it is left out of the repr.
        key_variable: the environment variable that holds the key; None when the model needs none.
        weights: for the local panel, a packaged weight name or a GGUF path; None for every other model.
        context_window, max_output: tokens; None when unknown.
        unavailable: why it cannot be asked now and what to set; None when it can.
        stream: whether its answers are streamed; "auto": when somebody watches.
        stream_idle_seconds: the longest silence of a stream; None: chosen.
        max_parallel, rpm, tpm: what it is given at once, and requests and tokens per minute; None: no limit.
        batch: whether batches may go by its vendor's batch API.
        deployment: which way to reach it this is ("azure"); empty for the only one.
        weight: this deployment's share of the model's traffic; None where no deployment has one.
        deployments: the several ways to reach it; empty for one, which is then this entry itself.
        members: the models of a group; empty for a model.
        strategy: how a member of a group is picked.
        fallbacks: a group's own, by name; empty where the chain of all applies.
        listed: False for models that work but are not shown (any `vendor/model` that LiteLLM knows).
    """

    name: str
    vendor: str
    litellm_model: str
    aliases: tuple[str, ...] = ()
    description: str = ""
    base_url: str | None = None
    api_key: str | None = field(default=None, repr=False)
    key_variable: str | None = None
    weights: str | None = None
    context_window: int | None = None
    max_output: int | None = None
    price: Price = field(default_factory=Price)
    capabilities: Capabilities = field(default_factory=Capabilities)
    timeout_seconds: float = 180.0
    extra: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """Further LiteLLM settings of the deployment (api_version, vertex_project, aws_region_name …), name and value."""
    unavailable: str | None = None
    listed: bool = True
    stream: Literal["auto", "always", "never"] = "auto"
    stream_idle_seconds: float | None = None
    max_parallel: int | None = None
    rpm: int | None = None
    tpm: int | None = None
    batch: bool = False
    deployment: str = ""
    weight: float | None = None
    deployments: tuple[Model, ...] = ()
    members: tuple[Member, ...] = ()
    strategy: Literal["weight", "latency", "cost"] = "weight"
    fallbacks: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """The name of this one way to reach it: `gpt`, or `gpt#azure` where there are several."""
        return f"{self.name}#{self.deployment}" if self.deployment else self.name

    @property
    def is_local(self) -> bool:
        """Whether the local panel serves it."""
        return self.weights is not None


def fingerprint(model: Model) -> str:
    """What a name stands for, without keys: it changes when the settings send the model's requests elsewhere."""
    ways = [*model.deployments, *(member.model for member in model.members)]
    inner = ",".join(fingerprint(way) for way in ways)
    return f"{model.id}={model.litellm_model}@{model.base_url or ''}({inner})"
