"""LiteLLM's own list of models: windows, prices, capabilities. Read from its packaged file without importing it.

The file is 3 MB; a compact extract of it is kept in the cache folder, named after the file's size and time.
"""

from __future__ import annotations

import importlib.util
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import cast

_FILE = "model_prices_and_context_window_backup.json"
_FORMAT = 2
_MODES = {"chat", "responses", "completion"}
_FLAGS = (
    "supports_vision",
    "supports_function_calling",
    "supports_response_schema",
    "supports_reasoning",
    "supports_prompt_caching",
    "supports_web_search",
    "supports_pdf_input",
)

Row = list[object]


@dataclass(frozen=True, slots=True, kw_only=True)
class MapEntry:
    """What LiteLLM knows of one model. Prices are dollars per token, None when unknown; 0 may mean unknown, too."""

    name: str
    vendor: str
    context_window: int | None
    max_output: int | None
    input_price: float | None
    output_price: float | None
    cached_price: float | None
    cache_write_price: float | None
    reasoning_price: float | None
    responses_only: bool
    flags: frozenset[str]
    no_streaming: bool
    no_temperature: bool


class PriceMap:
    """Looks models up; nothing is read before the first look.

    Args:
        file: LiteLLM's list; None when LiteLLM is not installed.
        cache_directory: where the extract is kept; None keeps none.
    """

    def __init__(self, file: Path | None, *, cache_directory: Path | None = None) -> None:
        self._file = file
        self._cache_directory = cache_directory
        self._rows: Mapping[str, Row] | None = None

    @classmethod
    def installed(cls, *, cache_directory: Path | None = None) -> PriceMap:
        """The list of the installed LiteLLM."""
        spec = importlib.util.find_spec("litellm")
        folders = list(spec.submodule_search_locations or ()) if spec else []
        return cls(Path(folders[0], _FILE) if folders else None, cache_directory=cache_directory)

    def get(self, name: str) -> MapEntry | None:
        """The entry of exactly this name."""
        row = self._loaded.get(name)
        return _entry(name, row) if row is not None else None

    def names(self) -> Iterator[str]:
        """Every name in the list."""
        return iter(self._loaded)

    def vendors(self) -> frozenset[str]:
        """LiteLLM's words for the vendors in the list."""
        return frozenset(str(row[0]) for row in self._loaded.values())

    @property
    def _loaded(self) -> Mapping[str, Row]:
        if self._rows is None:
            self._rows = self._load()
        return self._rows

    def _load(self) -> Mapping[str, Row]:
        if self._file is None:
            return {}
        try:
            status = self._file.stat()
        except OSError:
            return {}
        extract = None
        if self._cache_directory is not None:
            name = f"litellm-models-{_FORMAT}-{status.st_size}-{status.st_mtime_ns}.json"
            extract = self._cache_directory / name
            rows = _read_extract(extract)
            if rows is not None:
                return rows
        rows = _parse(self._file)
        if extract is not None and rows:
            with suppress(OSError):  # a cache that cannot be written is none
                _write_extract(extract, rows)
        return rows


def _parse(file: Path) -> dict[str, Row]:
    try:
        whole = cast("dict[str, dict[str, object]]", json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}
    return {name: _row(entry) for name, entry in whole.items() if entry.get("mode") in _MODES and name != "sample_spec"}


def _row(entry: Mapping[str, object]) -> Row:
    flags = sum(1 << bit for bit, flag in enumerate(_FLAGS) if entry.get(flag))
    denied = (entry.get("supports_native_streaming") is False) + 2 * (entry.get("supports_sampling_params") is False)
    denied += 4 * (entry.get("mode") == "responses")
    window = entry.get("max_input_tokens") or entry.get("max_tokens")
    return [
        entry.get("litellm_provider") or "",
        _number(window),
        _number(entry.get("max_output_tokens")),
        _number(entry.get("input_cost_per_token")),
        _number(entry.get("output_cost_per_token")),
        _number(entry.get("cache_read_input_token_cost")),
        _number(entry.get("cache_creation_input_token_cost")),
        _number(entry.get("output_cost_per_reasoning_token")),
        flags,
        denied,
    ]


def _number(value: object) -> float | None:
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0 else None


def _entry(name: str, row: Row) -> MapEntry:
    vendor, window, most, price_in, price_out, cached, cache_write, reasoning, flags, denied = row
    bits, no = cast("int", flags), cast("int", denied)
    return MapEntry(
        name=name,
        vendor=str(vendor),
        context_window=int(cast("float", window)) if window else None,
        max_output=int(cast("float", most)) if most else None,
        input_price=cast("float | None", price_in),
        output_price=cast("float | None", price_out),
        cached_price=cast("float | None", cached),
        cache_write_price=cast("float | None", cache_write),
        reasoning_price=cast("float | None", reasoning),
        flags=frozenset(flag.removeprefix("supports_") for bit, flag in enumerate(_FLAGS) if bits >> bit & 1),
        no_streaming=bool(no & 1),
        no_temperature=bool(no & 2),
        responses_only=bool(no & 4),
    )


def _read_extract(extract: Path) -> dict[str, Row] | None:
    try:
        rows = cast("object", json.loads(extract.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None
    return cast("dict[str, Row]", rows) if isinstance(rows, dict) and rows else None


def _write_extract(extract: Path, rows: Mapping[str, Row]) -> None:
    """Write in one step, readable to the user alone, and remove the extracts of other versions."""
    extract.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=extract.parent, prefix=".litellm-models-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(rows, file, separators=(",", ":"))
        Path(temporary).replace(extract)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    for old in extract.parent.glob("litellm-models-*.json"):
        if old != extract:
            old.unlink(missing_ok=True)
