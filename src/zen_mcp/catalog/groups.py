"""Groups of providers.yaml as models: several under one name, asked like one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce

from zen_mcp.catalog.model import Capabilities, Member, Model, Price
from zen_mcp.config.problems import KeyPath, Place, key_text
from zen_mcp.config.provider_schema import Group, WeightedModel
from zen_mcp.config.schema import Config
from zen_mcp.errors import ConfigError, Refused, UnknownModel, did_you_mean

PRIMARY = "primary"
"""The group of `providers.primary`, which is what `auto` means where it is given."""

Resolve = Callable[[str], Model]


def groups_of(config: Config, resolve: Resolve) -> tuple[Model, ...]:
    """Every group of providers.yaml.

    Args:
        config: the settings.
        resolve: finds the model of a name; raises UnknownModel or Refused.

    Raises:
        ConfigError: a group or a chain names what does not exist, or itself.
    """
    builder = _Groups(config, resolve)
    groups = {name: builder.group(name, group, ("groups", name)) for name, group in config.providers.groups.items()}
    routing = config.providers.providers
    if routing.primary:
        if PRIMARY in groups:
            raise builder.fault(("groups", PRIMARY), f"'{PRIMARY}' is the name of providers.primary.", "Rename it.")
        members = Group(members=routing.primary, strategy=routing.strategy, description="What auto means.")
        groups[PRIMARY] = builder.group(PRIMARY, members, ("providers", "primary"))
    builder.check_chains(groups)
    return tuple(groups.values())


class _Groups:
    """Makes groups, and knows where each thing was written."""

    def __init__(self, config: Config, resolve: Resolve) -> None:
        self._config = config
        self._resolve = resolve

    def fault(self, key: KeyPath, text: str, fix: str = "") -> ConfigError:
        """An error that names file, line and key."""
        places = self._config.provider_places
        at = key
        while at and at not in places:
            at = at[:-1]
        return ConfigError(f"{places.get(at, Place('providers.yaml'))}: {key_text(key)}: {text}", fix)

    def group(self, name: str, group: Group, key: KeyPath) -> Model:
        """One group as a model that can do what all its members can."""
        under = key if key == ("providers", PRIMARY) else (*key, "members")
        members = tuple(
            Member(model=model, weight=member.weight)
            for number, member in enumerate(group.members)
            if (model := self._member(name, member, (*under, number))) is not None
        )
        usable = [member.model for member in members if member.model.unavailable is None]
        described = usable or [member.model for member in members]
        windows = [model.context_window for model in described if model.context_window]
        outputs = [model.max_output for model in described if model.max_output]
        vendors = {model.vendor for model in described}
        return Model(
            name=name,
            vendor=vendors.pop() if len(vendors) == 1 else "several",
            litellm_model="",
            description=group.description,
            members=members,
            strategy=group.strategy,
            fallbacks=group.fallbacks,
            context_window=min(windows, default=None),
            max_output=min(outputs, default=None),
            price=described[0].price if len({model.price for model in described}) == 1 else Price(),
            capabilities=_common([model.capabilities for model in described]),
            timeout_seconds=max((model.timeout_seconds for model in described), default=180.0),
            unavailable=None if usable else _why_not(members),
        )

    def check_chains(self, groups: dict[str, Model]) -> None:
        """Refuse a fallback that does not exist, or that is the thing itself."""
        routing = self._config.providers.providers
        chains: list[tuple[KeyPath, str, Sequence[str]]] = [
            (("providers", "fallback_chain"), "", routing.fallback_chain),
        ]
        chains += [
            (("groups", name, "fallbacks"), name, group.fallbacks)
            for name, group in self._config.providers.groups.items()
        ]
        for field in ("context_window_fallbacks", "content_policy_fallbacks"):
            table = getattr(routing, field)
            for name, names in table.items():
                key: KeyPath = ("providers", field, name)
                chains.append((key, self._known(name, key, groups), names))
        for key, owner, names in chains:
            seen: set[str] = set()
            for number, name in enumerate(names):
                found = self._known(name, (*key, number), groups)
                if found == owner:
                    raise self.fault((*key, number), f"'{name}' would step in for itself.", "Remove it.")
                if found in seen:
                    raise self.fault((*key, number), f"'{name}' stands in it twice.", "Remove one.")
                seen.add(found)

    def _member(self, group: str, member: WeightedModel, key: KeyPath) -> Model | None:
        if member.model.lower() in {group.lower(), *(name.lower() for name in self._config.providers.groups)}:
            text = f"'{member.model}' is a group; a group's members are models."
            raise self.fault(key, text, "Name its members here.")
        try:
            return self._resolve(member.model)
        except UnknownModel as exc:
            raise self.fault(key, exc.problem, exc.fix) from exc
        except Refused:
            return None

    def _known(self, name: str, key: KeyPath, groups: dict[str, Model]) -> str:
        by_word = {group.lower(): group for group in groups}
        if name.lower() in by_word:
            return by_word[name.lower()]
        try:
            return self._resolve(name).name
        except Refused:
            return name
        except UnknownModel as exc:
            raise self.fault(key, exc.problem, did_you_mean(name, groups) or exc.fix) from exc


def _why_not(members: Sequence[Member]) -> str:
    if not members:
        return "none of its members is allowed here"
    return "; ".join(f"{member.model.name}: {member.model.unavailable}" for member in members)


def _common(all_of: Sequence[Capabilities]) -> Capabilities:
    """What every one of them can do."""
    if not all_of:
        return Capabilities()

    def both(one: Capabilities, other: Capabilities) -> Capabilities:
        names = Capabilities.__dataclass_fields__
        return Capabilities(**{name: getattr(one, name) and getattr(other, name) for name in names})

    return reduce(both, all_of)
