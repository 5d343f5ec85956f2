"""models.yaml: the models that can be asked."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator
from pydantic_core import PydanticCustomError

from zen_mcp.config.provider_schema import check_shares
from zen_mcp.config.values import Count, Dollars, Entries, Flag, Names, Seconds, Settings, Share, Version, Word

CLOUD_FIELDS = ("base_url", "api_version", "vertex_project", "vertex_location", "aws_region_name")
"""Where a request goes, as far as an entry says so; a variable missing here makes the model unavailable."""

_OWN_FIELDS = {"api_base": "base_url", "base_url": "base_url", "api_key": "api_key", "model": "litellm_model"}
_NEVER_EXTRA = {"mock_response", "custom_llm_provider", "callbacks", "success_callback", "failure_callback"}


class CapabilitySettings(Settings):
    """What a model can do; what is left out is taken from LiteLLM's map."""

    vision: Flag | None = Field(default=None, description="It sees images.")
    function_calling: Flag | None = Field(default=None, description="It calls functions.")
    json_mode: Flag | None = Field(default=None, description="It answers in JSON when asked to.")
    streaming: Flag | None = Field(default=None, description="It streams its answer.")
    reasoning: Flag | None = Field(default=None, description="It thinks before it answers; effort can be set.")
    temperature: Flag | None = Field(default=None, description="It accepts a temperature.")
    prompt_caching: Flag | None = Field(default=None, description="A repeated beginning of a prompt is cheaper.")
    web_search: Flag | None = Field(default=None, description="It searches the web.")
    pdf_input: Flag | None = Field(default=None, description="It reads PDF files.")


class CapacitySettings(Settings):
    """How much one deployment is given at once."""

    max_parallel: Count | None = Field(default=None, description="Requests at the same time; more of them wait.")
    rpm: Count | None = Field(default=None, description="Requests per minute; more of them wait or go elsewhere.")
    tpm: Count | None = Field(default=None, description="Tokens per minute; more of them wait or go elsewhere.")


class DeploymentSettings(CapacitySettings):
    """One of several ways to reach a model; what it leaves out is the model's own."""

    name: Word | None = Field(default=None, description="What it is called; without it, its number.")
    provider: str | None = Field(default=None, min_length=1, description="The vendor.")
    litellm_model: str | None = Field(default=None, min_length=1, description="What LiteLLM calls it.")
    base_url: str | None = Field(default=None, description="An address other than the vendor's own.")
    api_key: str | None = Field(default=None, description="The key; write `${NAME}`, not the key itself.")
    api_version: Word | None = Field(default=None, description="Azure's API version.")
    vertex_project: Word | None = Field(default=None, description="The Google Cloud project of Vertex AI.")
    vertex_location: Word | None = Field(default=None, description="The Google Cloud region of Vertex AI.")
    aws_region_name: Word | None = Field(default=None, description="The AWS region of Bedrock.")
    extra: Entries[str] | None = Field(default=None, description="Further settings for LiteLLM.")
    weight: Share | None = Field(default=None, description="Its share: all sum to 1 or 100; without any, equal shares.")

    @field_validator("extra")
    @classmethod
    def _no_second_home(cls, extra: Entries[str] | None) -> Entries[str] | None:
        return check_extra(extra) if extra is not None else None


def check_extra(extra: Entries[str]) -> Entries[str]:
    """Refuse LiteLLM settings that have a field of their own, or that nobody may set.

    Raises:
        PydanticCustomError: names the setting.
    """
    for name in extra:
        if name in _OWN_FIELDS:
            text = "'{name}' does not belong here; use the entry's own '{own}'"
            raise PydanticCustomError("extra_field", text, {"name": name, "own": _OWN_FIELDS[name]})
        if name in _NEVER_EXTRA:
            raise PydanticCustomError("extra_field", "'{name}' cannot be set", {"name": name})
    return extra


def _shares(deployments: tuple[DeploymentSettings, ...]) -> tuple[DeploymentSettings, ...]:
    check_shares([deployment.weight for deployment in deployments])
    return deployments


class ModelSettings(CapacitySettings):
    """One model: where it is, what it costs, what it can do."""

    provider: str | None = Field(
        default=None,
        min_length=1,
        description="The vendor: `openai`, `anthropic`, … or `custom`, `ollama`, `lm_studio`, `vllm`, `local`.",
    )
    aliases: Names = Field(default=(), description="Other names for it.")
    litellm_model: str | None = Field(
        default=None, min_length=1, description="What LiteLLM calls it; without it, the vendor's prefix and the name."
    )
    base_url: str | None = Field(default=None, description="An address other than the vendor's own.")
    api_key: str | None = Field(default=None, description="The key; write `${NAME}`, not the key itself.")
    context_window: Count | None = Field(default=None, description="Tokens that go in.")
    max_output: Count | None = Field(default=None, description="Tokens that come out at most.")
    input_cost_per_token: Dollars | None = Field(default=None, description="Dollars per token that goes in.")
    output_cost_per_token: Dollars | None = Field(default=None, description="Dollars per token that comes out.")
    cached_input_cost_per_token: Dollars | None = Field(
        default=None, description="Dollars per token that the vendor had cached."
    )
    reasoning_cost_per_token: Dollars | None = Field(
        default=None, description="Dollars per token of thinking; without it, like any other that comes out."
    )
    capabilities: CapabilitySettings = Field(default_factory=CapabilitySettings, description="What it can do.")
    description: str = Field(default="", description="One line for people who choose.")
    timeout_seconds: Seconds | None = Field(
        default=None, description="Its deadline; without it, `default_timeout_seconds` of server.yaml."
    )
    stream: Literal["auto", "always", "never"] = Field(
        default="auto", description="Whether its answers are streamed; `auto`: when somebody watches."
    )
    stream_idle_seconds: Seconds | None = Field(
        default=None, description="The longest silence of a stream; 60, and 180 before a reasoning model's first words."
    )
    deployments: Annotated[tuple[DeploymentSettings, ...], AfterValidator(_shares)] = Field(
        default=(), description="Several ways to reach it: two keys, OpenAI and Azure."
    )
    batch: Flag = Field(default=False, description="Its vendor has a batch API (OpenAI's `/v1/batches`) for it.")
    weights: str | None = Field(
        default=None, min_length=1, description="A local model's packaged weights, or the path of a GGUF file."
    )
    api_version: Word | None = Field(default=None, description="Azure's API version.")
    vertex_project: Word | None = Field(default=None, description="The Google Cloud project of Vertex AI.")
    vertex_location: Word | None = Field(default=None, description="The Google Cloud region of Vertex AI.")
    aws_region_name: Word | None = Field(default=None, description="The AWS region of Bedrock.")
    extra: Entries[str] = Field(default={}, validate_default=True, description="Further settings for LiteLLM.")

    @field_validator("extra")
    @classmethod
    def _no_second_home(cls, extra: Entries[str]) -> Entries[str]:
        return check_extra(extra)


class ModelsFile(Settings):
    """models.yaml: the models by name. Null removes one that a lower layer brought."""

    version: Version = Field(default="1.0", description="The version of this file's format.")
    models: Entries[ModelSettings | None] = Field(default={}, validate_default=True, description="The models by name.")
