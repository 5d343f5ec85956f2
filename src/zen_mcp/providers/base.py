"""The seam between the gateway and whatever reaches models."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Protocol

from zen_mcp.types import ModelChunk, ModelRequest, ModelResponse


class Provider(Protocol):
    """Reaches models. `ModelRequest.model` is a catalog name, already resolved."""

    async def generate(self, request: ModelRequest) -> ModelResponse:
        """Ask once and wait for the whole answer.

        Raises:
            VendorError: the vendor failed; typed, retried already, key-free.
            LocalModelError: the local panel cannot serve this model.
        """
        ...

    def stream(self, request: ModelRequest) -> AsyncIterator[ModelChunk]:
        """Ask once and yield the answer as it comes; the last chunk carries the whole response.

        Raises:
            VendorError, LocalModelError: as `generate`; after the first chunk nothing is retried.
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
