"""Secrets that stand in a settings file as they are, rather than as `${NAME}`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

from zen_mcp.config.problems import KeyPath
from zen_mcp.config.source import Source

_ANY = "*"
_SECRETS: Mapping[str, tuple[KeyPath, ...]] = {
    "server": (
        ("http", "metrics_token"),
        ("http", "state_key"),
        ("telemetry", "headers", _ANY),
    ),
    "models": (("models", _ANY, "api_key"), ("models", _ANY, "deployments", _ANY, "api_key")),
    "alerts": (("channels", _ANY, "headers", _ANY), ("channels", _ANY, "url")),
}
"""By file: what is a secret as a whole."""
_ADDRESSES: Mapping[str, tuple[KeyPath, ...]] = {
    "server": (("database_url",), ("redis_url",), ("metrics", "push_url"), ("telemetry", "otlp_endpoint")),
}
"""By file: addresses that may hold a password."""


def files_with_secrets(sources: Mapping[str, Source]) -> tuple[Path, ...]:
    """The files in which a secret was written down; what a variable, the keyring or a command brings is not.

    Args:
        sources: what was read, by file without `.yaml`, all layers merged.
    """
    found: dict[Path, None] = {}
    for name, source in sources.items():
        keys = [key for pattern in _SECRETS.get(name, ()) for key, _ in _texts(source.values, pattern, ())]
        for pattern in _ADDRESSES.get(name, ()):
            keys += [key for key, text in _texts(source.values, pattern, ()) if _has_password(text)]
        found.update((Path(source.place(key).file), None) for key in keys)
    return tuple(found)


def _texts(value: object, pattern: KeyPath, key: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    """Every text without a variable at the places of a pattern; at its end a list counts by its entries."""
    if not pattern and isinstance(value, str):
        if value and "${" not in value:
            yield key, value
        return
    first, rest = (pattern[0], pattern[1:]) if pattern else (_ANY, ())
    for name, below in _below(value):
        if first in {_ANY, name}:
            yield from _texts(below, rest, (*key, name))


def _below(value: object) -> Iterable[tuple[str | int, object]]:
    if isinstance(value, dict):
        return cast("dict[str, object]", value).items()
    return enumerate(cast("list[object]", value)) if isinstance(value, list) else ()


def _has_password(address: str) -> bool:
    try:
        parts = urlsplit(address)
        return bool(parts.password) or "password=" in parts.query.lower()
    except ValueError:
        return False
