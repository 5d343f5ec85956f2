"""Who wants to know of every HTTP request that a model request takes: metrics, traces."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Protocol

from zen_mcp.catalog.model import Model
from zen_mcp.types import ModelRequest, ModelResponse

Answered = Callable[[ModelResponse], None]
"""Takes the answer of an attempt that succeeded."""


class AttemptWatcher(Protocol):
    """Sees attempts begin and end; an exception that ends one passes through its context."""

    def attempt(self, request: ModelRequest, model: Model, number: int) -> AbstractContextManager[Answered]:
        """One HTTP request, the `number`th of its model request, counted from 1."""
        ...

    def waiting(self, model: Model) -> AbstractContextManager[object]:
        """The time until the deployment has room."""
        ...

    def stalled(self, model: Model) -> None:
        """A stream was cut off after a silence."""
        ...


@contextmanager
def attempt_seen(
    watchers: Sequence[AttemptWatcher], request: ModelRequest, model: Model, number: int
) -> Generator[Answered]:
    """All of them see one attempt."""
    with ExitStack() as stack:
        told = [stack.enter_context(watcher.attempt(request, model, number)) for watcher in watchers]

        def answered(response: ModelResponse) -> None:
            for tell in told:
                tell(response)

        yield answered


@contextmanager
def waiting_seen(watchers: Sequence[AttemptWatcher], model: Model) -> Generator[ExitStack]:
    """All of them see the waiting, until the stack is closed."""
    with ExitStack() as stack:
        for watcher in watchers:
            stack.enter_context(watcher.waiting(model))
        yield stack
