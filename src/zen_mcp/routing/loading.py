"""Models that are loaded when they are first asked: waited for, and told of."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio

from zen_mcp.catalog.model import Model
from zen_mcp.errors import VendorLoading
from zen_mcp.providers.self_hosted import is_loaded
from zen_mcp.types import ModelResponse, TextSink

LOADS_LATE = frozenset({"ollama", "lm_studio"})
"""Silent while they load a model, which they do with the first question."""
_LOOK_SECONDS = 1.0
_PAUSE_SECONDS = 1.0


async def tell_of_loading(model: Model, news: TextSink | None) -> None:
    """Say that the model has to be loaded first, where its server says so and somebody looks; a second at most."""
    if news is None or model.vendor not in LOADS_LATE or not model.base_url:
        return
    name = model.litellm_model.partition("/")[2]
    with anyio.move_on_after(_LOOK_SECONDS):
        if (
            await anyio.to_thread.run_sync(is_loaded, model.vendor, model.base_url, name, abandon_on_cancel=True)
            is False
        ):
            await news(f"loading {model.name}")


async def when_loaded(
    model: Model, ask: Callable[[float], Awaitable[ModelResponse]], *, limit: float, news: TextSink | None
) -> ModelResponse:
    """The answer; asks again each second while the server says that it is loading the model.

    Args:
        model: who is asked.
        ask: asks once, within so many seconds.
        limit: seconds for all of it.
        news: told each time.

    Raises:
        VendorLoading: it is still loading at the limit.
    """
    end = anyio.current_time() + limit
    while True:
        try:
            return await ask(end - anyio.current_time())
        except VendorLoading:
            if end - anyio.current_time() <= 2 * _PAUSE_SECONDS:
                raise
        if news is not None:
            await news(f"loading {model.name}")
        await anyio.sleep(_PAUSE_SECONDS)
