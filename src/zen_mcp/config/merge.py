"""Layers onto one another, entry by entry: a mapping is merged, everything else replaced, null removes."""

from __future__ import annotations

from typing import cast

from zen_mcp.config.problems import KeyPath
from zen_mcp.config.source import Source

NULL_IS_A_VALUE: frozenset[KeyPath] = frozenset({("thread_retention_days",)})


def merge(lower: Source, upper: Source) -> None:
    """Lay `upper` over `lower`, which is changed.

    A null below the top removes what lower layers say; at the top it means an empty section and changes nothing, but
    for the settings of which it is a value.
    """
    upper = _with_known_names(lower, upper)
    _merge(lower.values, upper.values, (), lower, upper)
    if () in upper.places:
        lower.places.setdefault((), upper.places[()])


def _merge(below: dict[str, object], above: dict[str, object], key: KeyPath, lower: Source, upper: Source) -> None:
    for name, value in above.items():
        path = (*key, name)
        if value is None and path not in NULL_IS_A_VALUE:
            if key:
                below.pop(name, None)
                _forget(lower, path)
            continue
        old = below.get(name)
        if isinstance(value, dict):
            if not isinstance(old, dict):
                _forget(lower, path)
                lower.places[path] = upper.place(path)
                old = below[name] = dict[str, object]()
            _merge(cast("dict[str, object]", old), cast("dict[str, object]", value), path, lower, upper)
            continue
        if isinstance(old, (dict, list)):
            _forget(lower, path)
        below[name] = value
        lower.places[path] = upper.place(path)
        if isinstance(value, list):
            lower.places.update({at: place for at, place in upper.places.items() if at[: len(path)] == path})


def _forget(source: Source, path: KeyPath) -> None:
    for key in [key for key in source.places if key[: len(path)] == path]:
        del source.places[key]


def _with_known_names(lower: Source, upper: Source) -> Source:
    """The upper layer with its models named as the lower one names them.

    `Opus: {timeout_seconds: 30}` then changes the entry that is called or aliased `opus`. A new entry says where it
    goes (`provider` or `litellm_model`); such a one takes an alias over instead.
    """
    below, above = lower.values.get("models"), upper.values.get("models")
    if not isinstance(below, dict) or not isinstance(above, dict):
        return upper
    known = _names(cast("dict[str, object]", below))
    renamed: dict[str, str] = {}
    for name, entry in cast("dict[str, object]", above).items():
        target = known.get(name.lower())
        is_new = isinstance(entry, dict) and bool({"provider", "litellm_model"} & set(cast("dict[str, object]", entry)))
        if target and target != name and (not is_new or target.lower() == name.lower()):
            renamed[name] = target
    if not renamed:
        return upper
    models = {renamed.get(name, name): entry for name, entry in cast("dict[str, object]", above).items()}
    places = {
        (key[0], renamed.get(str(key[1]), key[1]), *key[2:]) if key[:1] == ("models",) and len(key) > 1 else key: place
        for key, place in upper.places.items()
    }
    return Source({**upper.values, "models": models}, places)


def _names(models: dict[str, object]) -> dict[str, str]:
    """Every alias and name in lower case, and the entry it stands for; names win."""
    known: dict[str, str] = {}
    for name, entry in models.items():
        aliases = cast("dict[str, object]", entry).get("aliases") if isinstance(entry, dict) else None
        for alias in cast("list[object]", aliases) if isinstance(aliases, list) else []:
            known.setdefault(str(alias).lower(), name)
    known.update({name.lower(): name for name in models})
    return known
