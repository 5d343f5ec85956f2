"""The entries of models.yaml after merging: who wrote what, what is missing, and each name claimed once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from zen_mcp.config.expansion import Expansion
from zen_mcp.config.folders import ARGUMENT, ENVIRONMENT, PACKAGED, PROJECT, USER
from zen_mcp.config.model_schema import ModelSettings, ModelsFile
from zen_mcp.config.problems import KeyPath, Place, Problem
from zen_mcp.config.schema import ConfiguredModel
from zen_mcp.config.source import Source

_LAYERS = (PACKAGED, USER, PROJECT, ENVIRONMENT, ARGUMENT)


def configured_models(
    file: ModelsFile, source: Source, uses: Mapping[KeyPath, Expansion], problems: list[Problem]
) -> dict[str, ConfiguredModel]:
    """Every entry by name. A name or alias claimed twice in one layer is a problem; a higher layer's claim wins."""
    entries = {name: settings for name, settings in file.models.items() if settings is not None}
    for name, settings in entries.items():
        if settings.provider is None and "/" not in (settings.litellm_model or ""):
            key = ("models", name)
            problems.append(Problem(source.place(key), key, "'provider' is missing.", _PROVIDER_FIX))
    winners = _claims(entries, source, problems)
    kept = {name: settings for name, settings in entries.items() if winners[name.lower()][0] == name}
    written = _places_by_model(source)
    return {
        name: _configured(name, _with_won_aliases(name, settings, winners), source, uses, written.get(name, {}))
        for name, settings in kept.items()
    }


_PROVIDER_FIX = "Name the vendor ('openai', 'ollama', 'custom', …) or give 'litellm_model: vendor/model'."


def _claims(
    entries: Mapping[str, ModelSettings], source: Source, problems: list[Problem]
) -> dict[str, tuple[str, Place]]:
    """Who owns each word (lower case): the entry's name and where it claims the word."""
    winners: dict[str, tuple[str, Place]] = {}
    for name, settings in entries.items():
        claims = [(name, ("models", name)), *((alias, ("models", name, "aliases")) for alias in settings.aliases)]
        for word, key in claims:
            place = source.place(key)
            if word.lower() == "auto":
                problems.append(
                    Problem(place, key, "'auto' is taken: it means the default model.", "Use another name.")
                )
            owner, other = winners.get(word.lower(), (name, place))
            if owner != name and _rank(place) == _rank(other):
                text = f"'{word}' is claimed by '{owner}' ({other}) and by '{name}'."
                problems.append(Problem(place, key, text, "Each name and alias may stand once."))
            if owner == name or _rank(place) > _rank(other):
                winners[word.lower()] = (name, place)
    return winners


def _rank(place: Place) -> int:
    return _LAYERS.index(place.layer) if place.layer in _LAYERS else 0


def _with_won_aliases(name: str, settings: ModelSettings, winners: Mapping[str, tuple[str, Place]]) -> ModelSettings:
    won = {
        alias.lower(): alias
        for alias in settings.aliases
        if winners[alias.lower()][0] == name and alias.lower() != name.lower()
    }
    aliases = tuple(won.values())
    return settings if aliases == settings.aliases else settings.model_copy(update={"aliases": aliases})


def _places_by_model(source: Source) -> dict[str, dict[KeyPath, Place]]:
    """For each model, the place of every key of its entry, without the two parts before it."""
    written: dict[str, dict[KeyPath, Place]] = {}
    for key, place in source.places.items():
        if len(key) >= 3 and key[0] == "models":
            written.setdefault(str(key[1]), {})[key[2:]] = place
    return written


def _configured(
    name: str,
    settings: ModelSettings,
    source: Source,
    uses: Mapping[KeyPath, Expansion],
    written: Mapping[KeyPath, Place],
) -> ConfiguredModel:
    place = source.place(("models", name))
    others = [at for at in (place, *written.values()) if at.layer != PACKAGED]
    found = {key[2:]: use for key in [("models", name, *below) for below in written] if (use := uses.get(key))}
    missing = {".".join(str(part) for part in key): use.variables for key, use in found.items() if use.unset}
    project_fields = frozenset(str(key[0]) for key, at in written.items() if at.layer == PROJECT)
    whole = ConfiguredModel(
        settings=settings,
        place=place,
        user_place=others[0] if others else None,
        missing=MappingProxyType({key: names for key, names in missing.items() if not key.startswith("deployments.")}),
        key_variables=found[("api_key",)].variables if ("api_key",) in found else (),
        project_fields=project_fields,
    )
    return replace(whole, deployments=_deployments(whole, found, project="deployments" in project_fields))


def _deployments(
    whole: ConfiguredModel, found: Mapping[KeyPath, Expansion], *, project: bool
) -> tuple[ConfiguredModel, ...]:
    """Each deployment as an entry of its own. A key goes with its address: neither is inherited without the other."""
    entries: list[ConfiguredModel] = []
    for number, deployment in enumerate(whole.settings.deployments):
        own = {name: value for name in deployment.model_fields_set if (value := getattr(deployment, name)) is not None}
        own = {name: value for name, value in own.items() if name not in _OF_THE_DEPLOYMENT_ALONE}
        uses = {key[2:]: use for key, use in found.items() if key[:2] == ("deployments", number)}
        elsewhere = not _ELSEWHERE.isdisjoint({*own, *(str(key[0]) for key in uses)})
        cleared: dict[str, None] = {"base_url": None, "api_key": None} if elsewhere else {}
        if "/" in own.get("litellm_model", ""):
            cleared["provider"] = None
        missing = {".".join(str(part) for part in key): use.variables for key, use in uses.items() if use.unset}
        inherited = {} if elsewhere else {key: names for key, names in whole.missing.items() if key not in own}
        variables = uses[("api_key",)].variables if ("api_key",) in uses else ()
        entries.append(
            replace(
                whole,
                settings=whole.settings.model_copy(update={"deployments": (), **cleared, **own}),
                missing=MappingProxyType({**inherited, **missing}),
                key_variables=variables or (() if elsewhere else whole.key_variables),
                project_fields=frozenset(own) if project else whole.project_fields,
            )
        )
    return tuple(entries)


_OF_THE_DEPLOYMENT_ALONE = {"name", "weight"}
_ELSEWHERE = {"provider", "litellm_model", "base_url"}
