"""Figures that every floor names alike: tokens of a text, before anybody has counted them, and dollars in words."""

from __future__ import annotations

import math
from decimal import Decimal

_BYTES_PER_TOKEN = 3.5
_TOKENS_PER_IMAGE = 1_000


def estimate_tokens(text: str, *, images: int = 0) -> int:
    """About how many tokens: UTF-8 bytes / 3.5, and 1,000 per image; the same for every model, a little high."""
    return math.ceil(len(text.encode("utf-8", "replace")) / _BYTES_PER_TOKEN) + _TOKENS_PER_IMAGE * images


def dollars(amount: float | None) -> str:
    """`$1,204.50`, `$0.0042`, `$0.00003`, `$0` for nothing, `cost unknown` for no known price."""
    if amount is None:
        return "cost unknown"
    if amount == 0:
        return "$0"
    if amount >= 1:
        return f"${amount:,.2f}"
    return f"${amount:.4f}" if amount >= 0.001 else f"${Decimal(f'{amount:.2g}'):f}"
