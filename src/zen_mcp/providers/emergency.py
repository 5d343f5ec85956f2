"""The exit when LiteLLM is broken: the direct provider, with a warning."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing

from zen_mcp.catalog.model import Model
from zen_mcp.providers.base import Provider
from zen_mcp.types import ModelChunk, ModelRequest, ModelResponse

log = logging.getLogger("zen_mcp.providers")


class WithEmergencyExit:
    """Asks through one provider; when that cannot be imported, through the other from then on.

    Args:
        usual: the provider to use.
        exit_: what is used when the usual one's library cannot be imported.
    """

    def __init__(self, usual: Provider, exit_: Provider) -> None:
        self._usual = usual
        self._exit = exit_
        self._now = usual

    def warm_up(self) -> None:
        """Load the library of the provider in use."""
        try:
            self._now.warm_up()
        except ImportError as exc:
            self._switch(exc)
            self._now.warm_up()

    async def prepare(self, model: Model) -> None:
        """As `Provider.prepare`."""
        try:
            await self._now.prepare(model)
        except ImportError as exc:
            self._switch(exc)
            await self._now.prepare(model)

    async def generate(self, request: ModelRequest, model: Model) -> ModelResponse:
        """As `Provider.generate`."""
        try:
            return await self._now.generate(request, model)
        except ImportError as exc:
            self._switch(exc)
            return await self._now.generate(request, model)

    async def stream(self, request: ModelRequest, model: Model) -> AsyncGenerator[ModelChunk]:
        """As `Provider.stream`."""
        for attempt in (self._now, self._exit):
            try:
                async with aclosing(attempt.stream(request, model)) as chunks:
                    async for chunk in chunks:
                        yield chunk
            except ImportError as exc:
                self._switch(exc)
            else:
                return

    async def aclose(self) -> None:
        """Close both."""
        await self._usual.aclose()
        await self._exit.aclose()

    def _switch(self, exc: ImportError) -> None:
        if self._now is self._exit:
            raise exc
        log.warning("LiteLLM cannot be imported (%s): models are asked directly, where they speak OpenAI's API", exc)
        self._now = self._exit
