"""The one shape of a middleware, and how a chain of them is nested."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

Request = TypeVar("Request")
Response = TypeVar("Response")


CallNext = Callable[[Request], Awaitable[Response]]


class Middleware(Protocol[Request, Response]):
    """`async (request, call_next) -> response`: may look, change by copy, refuse by raising, or answer itself."""

    async def __call__(self, request: Request, call_next: CallNext[Request, Response]) -> Response:
        """Handle one request."""
        ...


def compose(
    chain: Sequence[Middleware[Request, Response]], last: CallNext[Request, Response]
) -> CallNext[Request, Response]:
    """Nest `chain` around `last`; the first is the outermost."""
    call = last
    for step in reversed(chain):
        call = _nest(step, call)
    return call


def _nest(step: Middleware[Request, Response], call_next: CallNext[Request, Response]) -> CallNext[Request, Response]:
    async def call(request: Request) -> Response:
        return await step(request, call_next)

    return call
