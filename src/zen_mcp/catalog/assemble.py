"""From an entry of models.yaml, or from a name that LiteLLM knows, to a model that can be asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from zen_mcp.catalog.model import Capabilities, Model, Price
from zen_mcp.catalog.price_map import MapEntry, PriceMap
from zen_mcp.catalog.vendors import ALL_KEY_VARIABLES, PREFIXES, VENDORS, Vendor, is_vendor, vendor_called
from zen_mcp.config.environment import Environment
from zen_mcp.config.folders import PROJECT
from zen_mcp.config.model_schema import CLOUD_FIELDS, ModelSettings
from zen_mcp.config.problems import Place
from zen_mcp.config.schema import ConfiguredModel
from zen_mcp.errors import ConfigError, did_you_mean

_ADDRESS = frozenset({"base_url", "extra"})
_ROUTE = frozenset({"provider", "litellm_model", "extra", *CLOUD_FIELDS})
_NOWHERE = Place("LiteLLM's list of models")
_PROJECT_FIX = "move the entry to your own settings folder or name this folder with --config"


@dataclass(frozen=True, slots=True, kw_only=True)
class Assembler:
    """Makes models.

    Args:
        environment: where vendors' usual variables are looked up.
        price_map: what fills in what an entry leaves out.
        timeout_seconds: the deadline of a model that has none of its own.
    """

    environment: Environment
    price_map: PriceMap
    timeout_seconds: float

    def configured(self, name: str, entry: ConfiguredModel) -> Model:
        """The model of an entry.

        Raises:
            ConfigError: the entry names no vendor that is known, or lacks an address.
        """
        if entry.deployments:
            return self._with_deployments(name, entry)
        settings = entry.settings
        vendor = _vendor_of(name, entry, self.price_map)
        litellm_model = _litellm_name(name, settings, vendor)
        values, unavailable, variable = self._reach(entry, vendor, litellm_model)
        if vendor.needs_base_url and "base_url" not in values and unavailable is None:
            raise ConfigError(f"{entry.place}: models.{name}: 'base_url' is missing.", "Say where the server listens.")
        known = find_entry(self.price_map, vendor, litellm_model)
        return Model(
            name=name,
            vendor=vendor.name,
            litellm_model=litellm_model,
            aliases=settings.aliases,
            description=settings.description,
            base_url=values.pop("base_url", None),
            api_key=values.pop("api_key", None),
            key_variable=variable,
            weights=(settings.weights or name) if vendor.name == "local" else None,
            context_window=settings.context_window or (known.context_window if known else None),
            max_output=settings.max_output or (known.max_output if known else None),
            price=_price(settings, known, vendor, litellm_model),
            capabilities=_capabilities(settings, known, vendor),
            timeout_seconds=settings.timeout_seconds or self.timeout_seconds,
            extra=tuple(values.items()),
            unavailable=unavailable,
            stream=settings.stream,
            stream_idle_seconds=settings.stream_idle_seconds,
            max_parallel=settings.max_parallel,
            rpm=settings.rpm,
            tpm=settings.tpm,
            batch=settings.batch,
        )

    def _with_deployments(self, name: str, entry: ConfiguredModel) -> Model:
        """The model of an entry that can be reached in several ways: what it is, is what the first usable one says."""
        deployments = tuple(
            replace(
                self.configured(name, one),
                deployment=said.name or str(number),
                weight=said.weight,
                aliases=(),
                listed=False,
            )
            for number, (one, said) in enumerate(
                zip(entry.deployments, entry.settings.deployments, strict=True), start=1
            )
        )
        first = next((one for one in deployments if one.unavailable is None), deployments[0])
        return replace(
            first,
            aliases=entry.settings.aliases,
            listed=True,
            deployment="",
            weight=None,
            deployments=deployments,
            max_parallel=None,
            rpm=None,
            tpm=None,
        )

    def unlisted(self, asked: str) -> Model | None:
        """The model of a name that LiteLLM knows, with its vendor's usual key; None for a name it does not know."""
        found = self._known_name(asked)
        if found is None:
            return None
        vendor, litellm_model = found
        entry = ConfiguredModel(
            settings=ModelSettings(provider=vendor.name, litellm_model=litellm_model), place=_NOWHERE, missing={}
        )
        model = self.configured(litellm_model, entry)
        return replace(model, listed=False)

    def _known_name(self, asked: str) -> tuple[Vendor, str] | None:
        first, slash, rest = asked.partition("/")
        exact = self.price_map.get(asked)
        if exact is not None:
            vendor = vendor_called(exact.vendor)
            if vendor.name == "vertex_ai" and not slash and self.price_map.get(f"gemini/{asked}"):
                vendor = VENDORS["gemini"]  # a bare Gemini name means AI Studio, which needs no more than a key
            own = slash and first in {vendor.prefix, vendor.name}
            return vendor, f"{vendor.prefix}/{rest if own else asked}"
        if not slash or not rest:
            return None
        vendor = vendor_called(first)
        litellm_model = f"{vendor.prefix}/{rest}" if is_vendor(first) else asked
        if vendor.open_names or find_entry(self.price_map, vendor, litellm_model) is not None:
            return vendor, litellm_model
        return None

    def _reach(
        self, entry: ConfiguredModel, vendor: Vendor, litellm_model: str
    ) -> tuple[dict[str, str], str | None, str | None]:
        """The settings of the deployment, why it cannot be reached, and the variable of its key."""
        settings = entry.settings
        values = {name: value for name in CLOUD_FIELDS if (value := getattr(settings, name))}
        values.update(settings.extra)
        if settings.api_key:
            values["api_key"] = settings.api_key
        unavailable = next((f"{_any_of(names)} is not set" for names in entry.missing.values()), None)
        variable = next((name for name in entry.key_variables if self.environment.get(name)), None)
        variable = variable or next(iter(entry.key_variables), None)
        if unavailable is None and vendor.name != "local":
            unavailable = self._fill_settings(values, vendor)
        if unavailable is None and not settings.api_key and _may_use_usual_key(entry, vendor, litellm_model):
            unavailable, variable = self._fill_key(values, vendor, entry.key_variables)
        return values, unavailable or _project_refusal(entry, variable, self.environment), variable

    def _fill_settings(self, values: dict[str, str], vendor: Vendor) -> str | None:
        """Fill in the vendor's further settings; which one is missing, or None."""
        for name, variables in vendor.settings.items():
            found = next((value for variable in variables if (value := self.environment.get(variable))), None)
            if name not in values and found:
                values[name] = found
            if name not in values and name in vendor.required:
                return f"{_any_of(variables)} is not set"
        if vendor.default_base_url:
            values.setdefault("base_url", vendor.default_base_url)
        return None

    def _fill_key(
        self, values: dict[str, str], vendor: Vendor, named: tuple[str, ...]
    ) -> tuple[str | None, str | None]:
        """Fill in the vendor's usual key; what is missing, or None, and the variable that holds it or should."""
        if named:  # the entry says which variable, so no other one is taken
            return f"{_any_of(named)} is not set", named[0]
        for keys in vendor.keys:
            if all(name in values for name in keys):
                return None, None
            found = {name: self.environment.get(variable) for name, variable in keys.items()}
            if all(found.values()):
                values.update({name: value for name, value in found.items() if value})
                return None, next(iter(keys.values()))
        choices = [" and ".join(keys.values()) for keys in vendor.keys if "aws_session_token" not in keys]
        return f"{_any_of(choices)} is not set", next(iter(vendor.keys[0].values()))


def find_entry(price_map: PriceMap, vendor: Vendor, litellm_model: str) -> MapEntry | None:
    """What LiteLLM's list says of a model; a name without its prefix counts only for the same vendor."""
    exact = price_map.get(litellm_model)
    if exact is not None:
        return exact
    _, _, rest = litellm_model.partition("/")
    for candidate in (rest, f"{vendor.name}/{rest}"):
        entry = price_map.get(candidate)
        if entry is not None and vendor_called(entry.vendor).name == vendor.name:
            return entry
    if vendor.name == "openrouter":
        # Its models are other vendors' own: the same window and abilities, but not the same price.
        entry = price_map.get(rest) or price_map.get(rest.partition("/")[2])
        return replace(entry, input_price=None, output_price=None, cached_price=None) if entry else None
    return None


def _vendor_of(name: str, entry: ConfiguredModel, price_map: PriceMap) -> Vendor:
    settings = entry.settings
    said = settings.provider or ("local" if settings.weights else (settings.litellm_model or "").partition("/")[0])
    vendor = vendor_called(said)
    routed = (settings.litellm_model or "").partition("/")[0] in PREFIXES
    if vendor.name not in VENDORS and not routed and not _in_map(said, price_map):
        fix = did_you_mean(said, VENDORS) or "An endpoint that speaks OpenAI's API is 'custom' with a base_url."
        raise ConfigError(f"{entry.place}: models.{name}.provider: unknown provider '{said}'.", fix)
    if settings.weights and vendor.name != "local":
        text = f"{entry.place}: models.{name}.weights: only a model of 'provider: local' has weights."
        raise ConfigError(text, "Remove them or change the provider.")
    return vendor


def _in_map(vendor: str, price_map: PriceMap) -> bool:
    return vendor in price_map.vendors()


def _litellm_name(name: str, settings: ModelSettings, vendor: Vendor) -> str:
    model = settings.litellm_model or name
    first, slash, _ = model.partition("/")
    own = first in {vendor.prefix, vendor.name}
    # "anthropic/…" as an OpenRouter model is OpenRouter's name for it, not another vendor's.
    if slash and (own or (first in PREFIXES and vendor.name != "openrouter")):
        return model
    return f"{vendor.prefix}/{model}"


def _may_use_usual_key(entry: ConfiguredModel, vendor: Vendor, litellm_model: str) -> bool:
    """Whether the vendor's usual variable may be used: only for the vendor's own address, never for another's."""
    if not vendor.keys:
        return False
    if entry.settings.base_url:
        return vendor.own_address and "base_url" not in entry.project_fields
    first = litellm_model.partition("/")[0]
    return first == vendor.prefix or vendor_called(first).name == vendor.name


def _project_refusal(entry: ConfiguredModel, variable: str | None, environment: Environment) -> str | None:
    """Why a key is not sent to where a working directory's own `.zen` folder says; None when it may be.

    A folder that came with a checkout could otherwise collect the user's keys.
    """
    ours = entry.project_fields
    if not ours:
        return None
    has_key = bool(entry.settings.api_key) or bool(variable)
    if has_key and "api_key" not in ours and entry.place.layer != PROJECT and ours & _ROUTE:
        return f"this folder's .zen changes where it is sent but not its key: {_PROJECT_FIX}"
    outside = variable in ALL_KEY_VARIABLES and environment.layer(variable or "") != PROJECT
    if outside and ours & _ADDRESS and has_key:
        return f"this folder's .zen may not send {variable} to an address of its own: {_PROJECT_FIX}"
    return None


def _price(settings: ModelSettings, known: MapEntry | None, vendor: Vendor, litellm_model: str) -> Price:
    """What the entry says, else what LiteLLM's list says; a 0 there means unknown unless the model really is free."""
    here = vendor.free and not litellm_model.endswith("-cloud")
    free = here or litellm_model.endswith(":free")

    def one(said: float | None, listed: float | None) -> float | None:
        if said is not None:
            return said
        if here and not listed:
            return 0.0
        return listed if listed or free else None

    return Price(
        input_dollars_per_token=one(settings.input_cost_per_token, known.input_price if known else None),
        output_dollars_per_token=one(settings.output_cost_per_token, known.output_price if known else None),
        cached_dollars_per_token=one(settings.cached_input_cost_per_token, known.cached_price if known else None),
        # A price of the user's own is for all that comes out, thinking too, unless he says otherwise.
        cache_write_dollars_per_token=known.cache_write_price or None
        if known and settings.input_cost_per_token is None
        else None,
        reasoning_dollars_per_token=settings.reasoning_cost_per_token
        if settings.output_cost_per_token is not None or settings.reasoning_cost_per_token is not None
        else (known.reasoning_price or None if known else None),
    )


def _capabilities(settings: ModelSettings, known: MapEntry | None, vendor: Vendor) -> Capabilities:
    said = settings.capabilities
    flags = known.flags if known else frozenset[str]()
    # OpenAI's reasoning models refuse any temperature but their own.
    fixed = known is not None and (
        known.no_temperature or (vendor.name in {"openai", "azure"} and "reasoning" in flags)
    )
    listed: Mapping[str, bool] = {
        "vision": "vision" in flags,
        "function_calling": "function_calling" in flags,
        "json_mode": "response_schema" in flags,
        "streaming": known is None or not known.no_streaming,
        "reasoning": "reasoning" in flags,
        "temperature": not fixed,
        "prompt_caching": "prompt_caching" in flags,
        "web_search": "web_search" in flags,
        "pdf_input": "pdf_input" in flags,
    }
    return Capabilities(**{**listed, **said.model_dump(exclude_none=True)})


def _any_of(names: tuple[str, ...] | list[str]) -> str:
    return " or ".join(names)
