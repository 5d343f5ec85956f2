"""The seam between the gateway and whatever reaches models."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Protocol

from zen_mcp.catalog.model import Model
from zen_mcp.errors import LocalModelError
from zen_mcp.types import ModelChunk, ModelRequest, ModelResponse


class Provider(Protocol):
    """Reaches models: one HTTP request per call. Retries, fallbacks and deadlines are the router's."""

    def warm_up(self) -> None:
        """Import and load what the first request needs. Blocks for seconds; for a thread."""
        ...

    async def prepare(self, model: Model) -> None:
        """Do what comes before a request to this model: import a library, start a local model. Cheap when done.

        Raises:
            LocalModelError: the local panel cannot serve it.
        """
        ...

    async def generate(self, request: ModelRequest, model: Model) -> ModelResponse:
        """Ask once and wait for the whole answer.

        Args:
            request: what is asked; `timeout_seconds` is the time of this one request.
            model: which model, and which way to reach it.

        Raises:
            VendorError: the vendor failed; typed, key-free.
            LocalModelError: the local panel cannot serve this model.
            InvalidArguments: images for a model that sees none.
        """
        ...

    def stream(self, request: ModelRequest, model: Model) -> AsyncGenerator[ModelChunk]:
        """Ask once and yield the answer as it comes; the last chunk carries the whole response.

        Raises:
            VendorError, LocalModelError, InvalidArguments: as `generate`, before the first chunk or after any.
        """
        ...

    async def aclose(self) -> None:
        """Close connections; bounded to a second."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where a local model serves: an address ending in `/v1`, its key, and the name it goes by there."""

    base_url: str
    model: str
    api_key: str = field(repr=False)


class LocalEndpoints(Protocol):
    """Whatever can tell where a local model serves, starting it when it does not."""

    async def endpoint(self, weights: str) -> Endpoint:
        """The endpoint of these weights, ready to answer.

        Raises:
            LocalModelError: it cannot be started; says why and what to do.
        """
        ...


async def local_endpoint(model: Model, local: LocalEndpoints | None) -> Endpoint | None:
    """Where a model of the local panel serves, started when it does not; None for any other model.

    Raises:
        LocalModelError: it cannot be started, or there is no local panel.
    """
    if model.weights is None:
        return None
    if local is None:
        raise LocalModelError(f"'{model.name}' is a local model, and there is no local panel here.")
    return await local.endpoint(model.weights)
