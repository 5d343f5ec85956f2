"""The one way to ask a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from zen_mcp.catalog.catalog import Catalog, matches_any, outside
from zen_mcp.catalog.model import Model
from zen_mcp.middleware.base import Middleware, compose
from zen_mcp.routing.router import Router
from zen_mcp.types import ModelRequest, ModelResponse


class Gateway:
    """Resolves the model's name, runs the model chain, then the router.

    Args:
        catalog: names and aliases.
        router: what answers a request at the end of the chain.
        chain: middlewares around every model request, outermost first.
    """

    def __init__(
        self,
        *,
        catalog: Catalog,
        router: Router,
        chain: Sequence[Middleware[ModelRequest, ModelResponse]] = (),
    ) -> None:
        self._catalog = catalog
        self._router = router
        self._ask = compose(chain, router.ask)

    def window(self, model: Model, *, fallbacks: bool) -> int | None:
        """The tokens that fit the model, or one that may step in for a prompt too long for it; None: unknown."""
        return self._router.window(model, fallbacks=fallbacks)

    async def ask(self, request: ModelRequest) -> ModelResponse:
        """Ask one model once. A request with a `sink` gets the answer piece by piece, too.

        Raises:
            UnknownModel, ModelUnavailable, Refused, NotAllowed: before anything is sent.
            VendorError, LocalModelError: the model could not answer, nor could those who stepped in.
        """
        model = self._catalog.seen_by(request.caller.models).require(request.model)
        if not matches_any(model, request.only_models):
            raise outside(model.name, request.only_models, tool=request.tool)
        return await self._ask(replace(request, model=model.name))
