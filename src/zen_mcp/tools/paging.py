"""Fitting results into what clients show whole: a head now, the rest by asking for it, nothing cut silently."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_SMALLEST_SHARE_CHARACTERS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The first part of a text. `next_offset` is where the rest begins, None when this is all."""

    text: str
    next_offset: int | None = None


def head(text: str, limit: int, *, offset: int = 0) -> Head:
    """At most `limit` characters of `text` from `offset`, cut at the last line or word end when one is near."""
    rest = text[offset:]
    if len(rest) <= limit:
        return Head(text=rest)
    cut = max(limit, 1)
    for mark in ("\n\n", "\n", " "):
        found = rest.rfind(mark, cut * 2 // 3, cut)
        if found > 0:
            cut = found + len(mark)
            break
    return Head(text=rest[:cut], next_offset=offset + cut)


def heads(texts: Sequence[str], limit: int) -> tuple[Head, ...]:
    """Share `limit` characters among texts: short ones stay whole, the long ones get equal parts of what is left."""
    left = limit
    shares = [0] * len(texts)
    by_length = sorted(range(len(texts)), key=lambda index: len(texts[index]))
    for position, index in enumerate(by_length):
        share = max(left // (len(texts) - position), _SMALLEST_SHARE_CHARACTERS)
        shares[index] = min(share, len(texts[index]))
        left -= shares[index]
    return tuple(head(text, share) for text, share in zip(texts, shares, strict=True))
