"""How people write since when: `7d`, `24h`, `2026-11-01`."""

from __future__ import annotations

import re
from datetime import datetime

from zen_mcp.errors import InvalidArguments

_UNIT_SECONDS = {"m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_SPAN = re.compile(r"(\d{1,6})\s*([mhdw])", re.IGNORECASE)


def since_when(text: str, *, now: float) -> float:
    """The moment that a span before now or a date names, in seconds since 1970; a date begins in the local zone.

    Raises:
        InvalidArguments: it is neither, or lies ahead.
    """
    span = _SPAN.fullmatch(text.strip())
    if span is not None:
        return max(now - int(span[1]) * _UNIT_SECONDS[span[2].lower()], 0.0)
    try:
        moment = datetime.fromisoformat(text.strip()).timestamp()
    except (ValueError, OverflowError, OSError):
        raise InvalidArguments(
            f"'since' is '{text[:40]}', neither a span of time nor a date.", "Write 24h, 7d, 4w or 2026-11-01."
        ) from None
    if moment > now:
        raise InvalidArguments(f"'since' is '{text[:40]}', which is yet to come.", "Name a day that has begun.")
    return max(moment, 0.0)
