"""The vendors: LiteLLM's prefix, the variables that hold keys, the settings each needs. The one place for this."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType


def _none() -> Mapping[str, tuple[str, ...]]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Vendor:
    """A company or API behind models.

    Attributes:
        name: the word for it in `provider:`.
        prefix: what its models begin with in LiteLLM.
        keys: sets of settings and the variables that hold them; the first set whose variables are all set is used.
            Empty for a vendor without keys of its own.
        settings: further settings and the variables that may hold them, the first set one wins.
        required: settings without which no request can be made.
        default_base_url: where its server usually listens; None for a vendor with an address known to LiteLLM.
        own_address: its usual key goes to whatever `base_url` says, because every customer has an address of their own.
        needs_base_url: it has no address unless one is given.
        open_names: any model name may exist there, also one that LiteLLM's map does not know.
        free: it runs on the user's own machine, so a price of 0 is true.
    """

    name: str
    prefix: str
    keys: tuple[Mapping[str, str], ...] = ()
    settings: Mapping[str, tuple[str, ...]] = field(default_factory=_none)
    required: tuple[str, ...] = ()
    default_base_url: str | None = None
    own_address: bool = False
    needs_base_url: bool = False
    open_names: bool = False
    free: bool = False

    @property
    def key_variables(self) -> tuple[str, ...]:
        """Every variable that may hold a key."""
        return tuple(variable for keys in self.keys for variable in keys.values())


def _keyed(name: str, *variables: str, prefix: str = "", open_names: bool = False) -> Vendor:
    keys = tuple({"api_key": variable} for variable in variables)
    return Vendor(name=name, prefix=prefix or name, keys=keys, open_names=open_names)


_AWS = {"aws_access_key_id": "AWS_ACCESS_KEY_ID", "aws_secret_access_key": "AWS_SECRET_ACCESS_KEY"}

_VENDORS = (
    _keyed("openai", "OPENAI_API_KEY"),
    _keyed("anthropic", "ANTHROPIC_API_KEY"),
    _keyed("gemini", "GEMINI_API_KEY", "GOOGLE_API_KEY"),
    _keyed("xai", "XAI_API_KEY"),
    _keyed("mistral", "MISTRAL_API_KEY"),
    _keyed("codestral", "CODESTRAL_API_KEY"),
    _keyed("deepseek", "DEEPSEEK_API_KEY"),
    _keyed("groq", "GROQ_API_KEY"),
    _keyed("openrouter", "OPENROUTER_API_KEY", open_names=True),
    _keyed("together_ai", "TOGETHERAI_API_KEY", "TOGETHER_API_KEY", "TOGETHER_AI_API_KEY", open_names=True),
    _keyed("fireworks_ai", "FIREWORKS_API_KEY", "FIREWORKS_AI_API_KEY", open_names=True),
    _keyed("cohere", "COHERE_API_KEY", "CO_API_KEY", prefix="cohere_chat"),
    _keyed("perplexity", "PERPLEXITYAI_API_KEY", "PERPLEXITY_API_KEY"),
    _keyed("cerebras", "CEREBRAS_API_KEY"),
    _keyed("moonshot", "MOONSHOT_API_KEY"),
    _keyed("zai", "ZAI_API_KEY"),
    _keyed("minimax", "MINIMAX_API_KEY"),
    _keyed("dashscope", "DASHSCOPE_API_KEY"),
    _keyed("meta", "META_API_KEY", "MODEL_API_KEY"),
    _keyed("meta_llama", "LLAMA_API_KEY"),
    _keyed("deepinfra", "DEEPINFRA_API_KEY", open_names=True),
    _keyed("novita", "NOVITA_API_KEY"),
    _keyed("nebius", "NEBIUS_API_KEY"),
    _keyed("hyperbolic", "HYPERBOLIC_API_KEY"),
    _keyed("sambanova", "SAMBANOVA_API_KEY"),
    _keyed("nvidia_nim", "NVIDIA_NIM_API_KEY", open_names=True),
    _keyed("ai21", "AI21_API_KEY"),
    _keyed("huggingface", "HF_TOKEN", "HUGGINGFACE_API_KEY", open_names=True),
    _keyed("replicate", "REPLICATE_API_KEY", "REPLICATE_API_TOKEN"),
    _keyed("vercel_ai_gateway", "VERCEL_AI_GATEWAY_API_KEY", "AI_GATEWAY_API_KEY", open_names=True),
    _keyed("github", "GITHUB_API_KEY", open_names=True),
    _keyed("volcengine", "VOLCENGINE_API_KEY", "ARK_API_KEY"),
    _keyed("aiml", "AIML_API_KEY"),
    Vendor(
        name="azure",
        prefix="azure",
        keys=({"api_key": "AZURE_API_KEY"},),
        settings={"base_url": ("AZURE_API_BASE",), "api_version": ("AZURE_API_VERSION",)},
        required=("base_url",),
        own_address=True,
        open_names=True,
    ),
    Vendor(
        name="azure_ai",
        prefix="azure_ai",
        keys=({"api_key": "AZURE_AI_API_KEY"},),
        settings={"base_url": ("AZURE_AI_API_BASE",)},
        required=("base_url",),
        own_address=True,
        open_names=True,
    ),
    Vendor(
        name="databricks",
        prefix="databricks",
        keys=({"api_key": "DATABRICKS_API_KEY"},),
        settings={"base_url": ("DATABRICKS_API_BASE",)},
        required=("base_url",),
        own_address=True,
        open_names=True,
    ),
    Vendor(
        name="vertex_ai",
        prefix="vertex_ai",
        settings={"vertex_project": ("VERTEXAI_PROJECT",), "vertex_location": ("VERTEXAI_LOCATION",)},
        required=("vertex_project",),
    ),
    Vendor(
        name="bedrock",
        prefix="bedrock",
        keys=(
            {"api_key": "AWS_BEARER_TOKEN_BEDROCK"},
            {**_AWS, "aws_session_token": "AWS_SESSION_TOKEN"},
            _AWS,
            {"aws_profile_name": "AWS_PROFILE"},
        ),
        settings={"aws_region_name": ("AWS_REGION_NAME", "AWS_REGION", "AWS_DEFAULT_REGION")},
        required=("aws_region_name",),
    ),
    Vendor(
        name="ollama",
        prefix="ollama_chat",
        settings={"base_url": ("OLLAMA_API_BASE",)},
        default_base_url="http://localhost:11434",
        open_names=True,
        free=True,
    ),
    Vendor(
        name="lm_studio",
        prefix="hosted_vllm",
        settings={"base_url": ("LM_STUDIO_API_BASE",)},
        default_base_url="http://localhost:1234/v1",
        open_names=True,
        free=True,
    ),
    Vendor(
        name="vllm",
        prefix="hosted_vllm",
        settings={"base_url": ("HOSTED_VLLM_API_BASE",)},
        default_base_url="http://localhost:8000/v1",
        open_names=True,
    ),
    Vendor(name="custom", prefix="hosted_vllm", needs_base_url=True),
    Vendor(name="local", prefix="hosted_vllm", free=True),
)

_OTHER_NAMES = {
    "google": "gemini",
    "google_ai_studio": "gemini",
    "vertex": "vertex_ai",
    "aws": "bedrock",
    "bedrock_converse": "bedrock",
    "together": "together_ai",
    "fireworks": "fireworks_ai",
    "cohere_chat": "cohere",
    "lmstudio": "lm_studio",
    "ollama_chat": "ollama",
    "hosted_vllm": "vllm",
    "openai_compatible": "custom",
    "grok": "xai",
    "x_ai": "xai",
    "qwen": "dashscope",
    "zhipu": "zai",
    "azure_openai": "azure",
    "azure_text": "azure",
    "text-completion-openai": "openai",
}

VENDORS: Mapping[str, Vendor] = MappingProxyType({vendor.name: vendor for vendor in _VENDORS})
PREFIXES: frozenset[str] = frozenset({vendor.prefix for vendor in _VENDORS} | set(VENDORS) | set(_OTHER_NAMES))
"""What may stand before the first slash of a LiteLLM name, as far as this table goes."""

ALL_KEY_VARIABLES: frozenset[str] = frozenset(variable for vendor in _VENDORS for variable in vendor.key_variables)


def vendor_called(name: str) -> Vendor:
    """The vendor of this name, another name of it or LiteLLM's word for it.

    One that is not in the table keeps its key in `<NAME>_API_KEY`, as nearly all of LiteLLM's do.
    """
    word = name.lower().replace(" ", "_")
    word = _OTHER_NAMES.get(word, word)
    for candidate in (word, word.replace("-", "_"), word.partition("-")[0]):
        known = VENDORS.get(_OTHER_NAMES.get(candidate, candidate))
        if known is not None:
            return known
    return _keyed(word, f"{word.upper().replace('-', '_')}_API_KEY")


def is_vendor(name: str) -> bool:
    """Whether the table has this vendor under any of its names."""
    return vendor_called(name).name in VENDORS
