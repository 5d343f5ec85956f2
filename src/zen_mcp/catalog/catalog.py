"""Which models exist, and which one a name means."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from copy import copy
from fnmatch import fnmatchcase

from zen_mcp.catalog.assemble import Assembler
from zen_mcp.catalog.groups import PRIMARY, groups_of
from zen_mcp.catalog.model import Model
from zen_mcp.catalog.price_map import PriceMap
from zen_mcp.catalog.tuned import with_tuned
from zen_mcp.config.problems import Place
from zen_mcp.config.schema import AUTO_MODELS, Config
from zen_mcp.errors import ConfigError, ModelUnavailable, NotAllowed, Refused, UnknownModel, did_you_mean

AUTO = "auto"
_PANEL_SIZE = 3
_LOCAL_PANEL_SIZE = 2
_SECRET_WORDS = ("key", "token", "secret", "credential", "password")
_SEE_ALL = "zen models / the listmodels tool shows them all."

FindUnlisted = Callable[[str], Model | None]


def _find_none(name: str) -> Model | None:
    return None


class Catalog:
    """Names and aliases, each meaning one model; case does not matter.

    Args:
        models: the listed models, in the order in which they are shown.
        default_model, default_panel: names; `auto` and empty mean: choose.
        auto_models: where to look first when choosing.
        own_models: names of models that the user configured; they come before all others when choosing.
        allow, deny: patterns for names, aliases and LiteLLM's names; an empty `allow` allows all.
        find_unlisted: makes a model of a name that is not listed; None for an unknown one.

    Raises:
        ConfigError: a name or alias is claimed twice.
    """

    def __init__(
        self,
        models: Iterable[Model],
        *,
        default_model: str = AUTO,
        default_panel: Sequence[str] = (),
        auto_models: Sequence[str] = AUTO_MODELS,
        own_models: Iterable[str] = (),
        allow: Sequence[str] = (),
        deny: Sequence[str] = (),
        find_unlisted: FindUnlisted = _find_none,
    ) -> None:
        self._all = tuple(models)
        self._default_model = default_model
        self._default_panel = tuple(default_panel)
        self._auto_models = tuple(auto_models)
        self._own_models = frozenset(own_models)
        self._allow = tuple(pattern.lower() for pattern in allow)
        self._deny = tuple(pattern.lower() for pattern in deny)
        self._find_unlisted = find_unlisted
        self._only: tuple[str, ...] = ()
        self._whose = ""
        self._by_word = _index(self._all)
        self._theirs: tuple[str, ...] | None = None
        self._views: dict[tuple[str, ...], Catalog] = {}
        self.models = tuple(model for model in self._all if self._allowed(model))
        """The models that are shown and allowed, available or not."""

    @classmethod
    def from_config(cls, config: Config, *, price_map: PriceMap | None = None) -> Catalog:
        """The catalog of the settings.

        Raises:
            ConfigError: an entry, or a setting that names a model, makes no sense.
        """
        server = config.server
        assembler = Assembler(
            environment=config.environment,
            price_map=price_map or PriceMap.installed(cache_directory=config.cache_directory),
            timeout_seconds=server.default_timeout_seconds,
        )
        catalog = cls(
            with_tuned(_assembled(assembler, config), config.tuned),
            default_model=server.default_model,
            default_panel=server.default_panel,
            auto_models=server.auto_models,
            own_models=[name for name, entry in config.models.items() if entry.user_place is not None],
            allow=server.allow_models,
            deny=server.deny_models,
            find_unlisted=assembler.unlisted,
        )
        catalog._add_groups(groups_of(config, catalog.resolve))
        catalog._check_settings(config)
        return catalog

    def narrowed(self, *, tool: str, only: Sequence[str] = (), default_model: str | None = None) -> Catalog:
        """The same for one tool: with a default of its own, and only the models that match one of these patterns."""
        narrow = copy(self)
        narrow._views = {}  # noqa: SLF001
        narrow._narrow(tool, tuple(pattern.lower() for pattern in only), default_model)  # noqa: SLF001 - a copy of ours
        return narrow

    def seen_by(self, patterns: tuple[str, ...] | None) -> Catalog:
        """This catalog with only the models whose names fit a caller's patterns; None: all of them."""
        if patterns is None:
            return self
        if patterns not in self._views:
            view = copy(self)
            view._views = {}  # noqa: SLF001
            view._theirs = tuple(pattern.lower() for pattern in patterns)  # noqa: SLF001 - one of us
            view.models = tuple(model for model in self._all if view._is_within(model) and view._allowed(model))  # noqa: SLF001
            self._views[patterns] = view
        return self._views[patterns]

    def resolve(self, name: str) -> Model:
        """The model of a name, an alias, or any `vendor/model` that LiteLLM knows, available or not.

        Raises:
            UnknownModel: no such name.
            Refused: the server's settings do not allow it.
            NotAllowed: the tool's settings do not, or it is not the caller's.
        """
        word = name.strip()
        if word.lower() == AUTO:
            return self.default_model()
        model = self._by_word.get(word.lower()) or (self._find_unlisted(word) if word else None)
        if model is None:
            raise UnknownModel(
                f"There is no model '{name}'.", f"{did_you_mean(word, self._words())} {_SEE_ALL}".strip()
            )
        if not self._is_theirs(model):
            raise NotAllowed(f"You may not use the model '{name}'.", "The listmodels tool shows yours.")
        if not self._allowed(model):
            raise Refused(f"The model '{name}' is not allowed here.", _SEE_ALL)
        if not self._is_within(model):
            raise outside(model.name, self._only, tool=self._whose)
        return model

    def require(self, name: str) -> Model:
        """The model of a name, ready to be asked.

        Raises:
            UnknownModel, Refused: as `resolve`.
            ModelUnavailable: its key or address is not set.
        """
        model = self.resolve(name)
        if model.unavailable is not None:
            fix = "Set it in the server's environment or in the .env file of the settings folder; see zen doctor."
            fix = fix if model.unavailable.endswith("is not set") else "zen doctor says more."
            raise ModelUnavailable(f"The model '{model.name}' cannot be asked: {model.unavailable}.", fix)
        return model

    def available(self) -> tuple[Model, ...]:
        """The shown models that can be asked now."""
        return tuple(model for model in self.models if model.unavailable is None)

    def default_model(self) -> Model:
        """The model that answers when none is named: the settings' choice, else the first that can be asked.

        Raises:
            ModelUnavailable: no model at all can be asked.
            UnknownModel, Refused: the settings name one that does not exist or is not allowed.
        """
        if self._default_model.lower() != AUTO and not self._passed_over(self._default_model):
            return self.resolve(self._default_model)
        if PRIMARY in self._by_word and self._by_word[PRIMARY].members and self._is_open(self._by_word[PRIMARY]):
            return self._by_word[PRIMARY]
        candidates = (
            self._flagships() or self._local() or (self.available() if self._only or self._theirs is not None else ())
        )
        if not candidates:
            fix = "Set a vendor's key or allow a local model; zen doctor says how."
            within = f" by {self._whose}, which may ask {', '.join(self._only)}" if self._only else ""
            raise ModelUnavailable(f"No model can be asked{within}.", fix)
        return candidates[0]

    def default_panel(self) -> tuple[Model, ...]:
        """The models of a consensus that names none: the settings' choice, else up to three of different vendors.

        Raises:
            ModelUnavailable, UnknownModel, Refused: as `default_model`.
        """
        if self._default_panel:
            named = tuple(self.resolve(name) for name in self._default_panel if not self._passed_over(name))
            return named or (self.default_model(),)
        panel: dict[tuple[str, str | None], Model] = {}
        for model in self._flagships():
            panel.setdefault((model.vendor, model.base_url), model)
        chosen = tuple(panel.values())[:_PANEL_SIZE] or self._local()[:_LOCAL_PANEL_SIZE]
        return chosen or (self.default_model(),)

    def secrets(self) -> frozenset[str]:
        """Every key that the listed models hold, for whoever must keep them out of a text."""
        ways = [way for model in self._all for way in (model, *model.deployments)]
        extras = (
            value
            for model in ways
            for name, value in model.extra
            if any(word in name.lower() for word in _SECRET_WORDS)
        )
        return frozenset(key for key in (*(model.api_key for model in ways), *extras) if key)

    def _add_groups(self, groups: Sequence[Model]) -> None:
        """Take groups in, and who steps in for each model."""
        self._all = (*self._all, *groups)
        self._by_word = _index(self._all)
        self.models = tuple(model for model in self._all if self._allowed(model))

    def _flagships(self) -> tuple[Model, ...]:
        """What `auto` may choose, best first: the user's own models, then the flagships."""
        named = [self._by_word.get(name.lower()) for name in self._auto_models]
        flagships = [model for model in named if model is not None]
        own = [model for model in (*flagships, *self.models) if model.name in self._own_models]
        return tuple(
            model
            for model in dict.fromkeys((*own, *flagships))
            if model.unavailable is None and not model.is_local and not model.members and self._allowed(model)
            if self._is_within(model)
        )

    def _local(self) -> tuple[Model, ...]:
        local = [model for model in self.available() if model.is_local]
        return tuple(sorted(local, key=lambda model: model.name not in self._own_models))

    def _is_theirs(self, model: Model) -> bool:
        """Whether the caller of this view may use a model; a group by its name, or when all its members are theirs."""
        if self._theirs is None or _matches([model.name.lower()], self._theirs):
            return True
        return bool(model.members) and all(self._is_theirs(member.model) for member in model.members)

    def _allowed(self, model: Model) -> bool:
        if not self._is_theirs(model):
            return False
        if model.members:  # each member was asked for itself; a group's own name may only be denied
            return not _matches([model.name.lower()], self._deny)
        words = [word.lower() for word in (model.name, *model.aliases, model.litellm_model)]
        if self._allow and not _matches(words, self._allow):
            return False
        # A denied name stays denied by another vendor's road: openrouter/openai/gpt-5 ends in gpt-5.
        return not _matches([*words, model.litellm_model.lower().rpartition("/")[2]], self._deny)

    def _narrow(self, tool: str, only: tuple[str, ...], default_model: str | None) -> None:
        self._whose, self._only = tool, only
        self._default_model = default_model or self._default_model
        self.models = tuple(model for model in self.models if self._is_within(model))

    def _is_within(self, model: Model) -> bool:
        """Whether the tool that this catalog was narrowed for may ask the model."""
        return matches_any(model, self._only)

    def _passed_over(self, name: str) -> bool:
        """Whether a default of the server is left out because the tool or the caller may not ask it."""
        model = self._by_word.get(name.lower())
        return model is not None and not self._is_open(model)

    def _is_open(self, model: Model) -> bool:
        return self._is_within(model) and self._is_theirs(model)

    def _words(self) -> list[str]:
        return [word for model in self.models for word in (model.name, *model.aliases, model.litellm_model)]

    def _check_settings(self, config: Config) -> None:
        """Refuse settings that name a model which does not exist."""
        server = config.server
        named = {"default_model": (server.default_model,), "default_panel": server.default_panel}
        if ("auto_models",) in config.server_places:
            named["auto_models"] = server.auto_models
        for setting, names in named.items():
            for name in names:
                if name.lower() == AUTO:
                    continue
                try:
                    self.resolve(name)
                except (UnknownModel, Refused) as exc:
                    place = config.server_places.get((setting,), Place("server.yaml"))
                    raise ConfigError(f"{place}: {setting}: {exc.problem}", exc.fix) from exc


def matches_any(model: Model, patterns: Sequence[str]) -> bool:
    """Whether a model fits one of the patterns by its name, an alias or LiteLLM's name; without patterns, it does."""
    words = [word.lower() for word in (model.name, *model.aliases, model.litellm_model)]
    return not patterns or _matches(words, [pattern.lower() for pattern in patterns])


def outside(model: str, patterns: Sequence[str], *, tool: str) -> NotAllowed:
    """The refusal of a model that a tool may not ask."""
    allowed = ", ".join(f"'{pattern}'" for pattern in patterns)
    return NotAllowed(
        f"The tool '{tool}' may not ask '{model}'; its allowed_models are {allowed}.",
        "Name another model, or change tool_settings in server.yaml.",
    )


def _assembled(assembler: Assembler, config: Config) -> list[Model]:
    """Every entry as a model; all faults at once."""
    models: list[Model] = []
    faults: list[ConfigError] = []
    for name, entry in config.models.items():
        try:
            models.append(assembler.configured(name, entry))
        except ConfigError as exc:
            faults.append(exc)
    if len(faults) == 1:
        raise faults[0]
    if faults:
        raise ConfigError("\n".join(str(fault) for fault in faults))
    return models


def _index(models: Sequence[Model]) -> dict[str, Model]:
    """Every name and alias in lower case; LiteLLM's names too, where nothing else claims them."""
    by_word: dict[str, Model] = {}
    for model in models:
        for word in (model.name, *model.aliases):
            other = by_word.setdefault(word.lower(), model)
            if other is not model:
                text = f"The name '{word}' is claimed by the models '{other.name}' and '{model.name}'."
                raise ConfigError(text, "Each name and alias may stand once.")
    for model in models:
        if model.litellm_model:
            by_word.setdefault(model.litellm_model.lower(), model)
    return by_word


def _matches(words: Iterable[str], patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(word, pattern) for word in words for pattern in patterns)
