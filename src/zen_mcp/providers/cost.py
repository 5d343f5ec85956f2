"""What a request costs."""

from __future__ import annotations

from zen_mcp.catalog.model import Model
from zen_mcp.types import Usage


def cost_dollars(usage: Usage | None, model: Model) -> float | None:
    """What the tokens cost at the catalog's prices; None when a price or the usage is unknown.

    Tokens read from or written to the vendor's cache, and tokens of thinking, have prices of their own where the
    catalog knows them.
    """
    price = model.price
    if usage is None or price.input_dollars_per_token is None or price.output_dollars_per_token is None:
        return None
    read = _or(price.cached_dollars_per_token, price.input_dollars_per_token)
    written = _or(price.cache_write_dollars_per_token, price.input_dollars_per_token)
    thought = _or(price.reasoning_dollars_per_token, price.output_dollars_per_token)
    fresh = max(usage.input_tokens - usage.cached_tokens - usage.cache_write_tokens, 0)
    said = max(usage.output_tokens - usage.reasoning_tokens, 0)
    return (
        fresh * price.input_dollars_per_token
        + usage.cached_tokens * read
        + usage.cache_write_tokens * written
        + said * price.output_dollars_per_token
        + usage.reasoning_tokens * thought
    )


def _or(price: float | None, other: float) -> float:
    return other if price is None else price
