"""How a caller wants to be answered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from zen_mcp.types import CacheUse, JSONObject, OnCut, ThinkingEffort


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """How a caller wants to be answered; `ModelRequest` says what each means."""

    temperature: float | None = None
    thinking: ThinkingEffort | None = None
    cache: CacheUse | None = None
    json_schema: JSONObject | None = None
    json_lenient: bool = False
    web_search: bool = False
    functions: tuple[JSONObject, ...] = ()
    on_cut: OnCut | None = None

    def fields(self) -> dict[str, Any]:
        """As arguments of a ModelRequest."""
        return {name: getattr(self, name) for name in self.__slots__}
