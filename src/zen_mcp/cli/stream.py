"""An answer on the terminal while it comes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace

from rich.console import Console

from zen_mcp.middleware.base import CallNext
from zen_mcp.types import ModelRequest, ModelResponse, ToolResponse


class Printer:
    """Prints a model's answer to standard output as it comes: a model middleware that sets the request's sink.

    Args:
        on_start: called before the first piece; takes a spinner away.
    """

    def __init__(self, on_start: Callable[[], None] = lambda: None) -> None:
        self._on_start = on_start
        self.printed = 0

    async def watch(self, request: ModelRequest, call_next: CallNext[ModelRequest, ModelResponse]) -> ModelResponse:
        """Have the answer sent here piece by piece, and to whom it was sent before."""
        before = request.sink

        async def both(piece: str) -> None:
            await self.take(piece)
            if before is not None:
                await before(piece)

        return await call_next(replace(request, sink=both))

    async def take(self, piece: str) -> None:
        """Print a piece."""
        if not self.printed:
            self._on_start()
        self.printed += len(piece)
        sys.stdout.write(piece)
        sys.stdout.flush()


def finish(response: ToolResponse, printer: Printer, console: Console) -> None:
    """Print what is left: the answer where it did not come piece by piece, and the figures, which go to stderr."""
    answer, _, figures = response.text.rpartition("\n\n[")
    sys.stdout.write("\n" if printer.printed else answer + "\n")
    sys.stdout.flush()
    console.print(figures.removesuffix("]"), style="dim", highlight=False, markup=False, soft_wrap=True)
