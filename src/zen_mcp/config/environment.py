"""The variables that `${…}` may name: the real environment first, then the `.env` files beside the settings."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from zen_mcp.config.folders import PROJECT
from zen_mcp.config.problems import Place, Problem
from zen_mcp.config.secrets import FILE_SUFFIX, from_file

REAL = "real"
"""The layer of the process's own environment."""
_LINE = re.compile(r"(?:export\s+)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)\s*=\s*(?P<value>.*)")


class _InFile(str):
    """The path of a file that holds the value."""

    __slots__ = ()


class Environment:
    """Values by name, and where each came from. Prints no values.

    Args:
        real: the process's environment.
        dotenvs: `.env` files as (layer, path, values), lowest layer first.
    """

    def __init__(self, real: Mapping[str, str], dotenvs: Sequence[tuple[str, str, Mapping[str, str]]] = ()) -> None:
        values: dict[str, str] = {}
        sources: dict[str, tuple[str, str]] = {}
        set_ones = {name: value for name, value in real.items() if value}
        for layer, file, found in (*dotenvs, (REAL, "environment", set_ones)):
            values.update(found)
            sources.update(dict.fromkeys(found, (layer, file)))
        for name in [name for name in values if name.endswith(FILE_SUFFIX)]:
            stem = name.removesuffix(FILE_SUFFIX)
            # A folder that came with a checkout must not name a file of this machine to be sent as a key.
            if stem and not values.get(stem) and values[name] and sources[name][0] != PROJECT:
                values[stem] = _InFile(values[name])
                sources[stem] = (sources[name][0], values[name])
        self._values = MappingProxyType(values)
        self._sources = MappingProxyType(sources)

    def get(self, name: str) -> str | None:
        """The value; None when the variable is not set or empty."""
        value = self._values.get(name)
        return from_file(value) if isinstance(value, _InFile) else value or None

    def source(self, name: str) -> str | None:
        """Its origin: "environment", the path of a `.env` file, or None when the variable is not set or empty."""
        return self._sources[name][1] if self.get(name) else None

    def layer(self, name: str) -> str | None:
        """The layer of the `.env` file it came from, `REAL` for the process's own, None when it is not set."""
        return self._sources[name][0] if self.get(name) else None

    def __repr__(self) -> str:
        return f"Environment({len(self._values)} variables)"


def read_dotenv(path: Path, layer: str, problems: list[Problem]) -> dict[str, str]:
    """The variables of one `.env` file; faults are added to `problems` without the line's content."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (UnicodeDecodeError, OSError) as exc:
        reason = "it is not UTF-8 text" if isinstance(exc, UnicodeDecodeError) else str(exc.strerror)
        problems.append(Problem(Place(str(path), layer=layer), (), f"cannot be read: {reason}."))
        return {}
    values: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        match = _LINE.fullmatch(stripped)
        if match is None:
            place = Place(str(path), number, layer)
            problems.append(Problem(place, (), "this line is not NAME=value.", "Comments begin with '#'."))
            continue
        values[match["name"]] = _unquoted(match["value"])
    return values


def _unquoted(value: str) -> str:
    if value[:1] in {"'", '"'}:
        end = value.find(value[0], 1)
        if end > 0:
            return value[1:end]
    return re.split(r"\s+#", value, maxsplit=1)[0].strip()
