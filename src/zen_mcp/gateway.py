"""The one way to ask a model."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

from zen_mcp.catalog.catalog import Catalog
from zen_mcp.middleware.base import Middleware, compose
from zen_mcp.providers.base import Provider
from zen_mcp.types import ModelChunk, ModelRequest, ModelResponse


class Gateway:
    """Resolves the model's name, runs the model chain, asks the provider.

    Args:
        catalog: names and aliases.
        provider: what reaches the models.
        chain: middlewares around every model request, outermost first.
    """

    def __init__(
        self,
        *,
        catalog: Catalog,
        provider: Provider,
        chain: Sequence[Middleware[ModelRequest, ModelResponse]] = (),
    ) -> None:
        self._catalog = catalog
        self._provider = provider
        self._ask = compose(chain, provider.generate)

    async def ask(self, request: ModelRequest) -> ModelResponse:
        """Ask one model once.

        Raises:
            UnknownModel, ModelUnavailable, Refused: before anything is sent.
            VendorError, LocalModelError: the model could not answer.
        """
        return await self._ask(self._resolved(request))

    def stream(self, request: ModelRequest) -> AsyncIterator[ModelChunk]:
        """Ask one model and yield the answer as it comes; errors as `ask`."""
        return self._provider.stream(self._resolved(request))

    def _resolved(self, request: ModelRequest) -> ModelRequest:
        return replace(request, model=self._catalog.require(request.model).name)
