"""Who asked what, and what it took: a row in the ledger for every tool call and every model request."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field

import anyio

from zen_mcp.errors import ZenError
from zen_mcp.middleware.base import CallNext
from zen_mcp.storage.ledger import Ledger, LedgerRow, Status
from zen_mcp.types import ModelRequest, ModelResponse, ToolRequest, ToolResponse


@dataclass(slots=True)
class _Call:
    """A call under way, and how it ended; a crash, until it is known better."""

    at: float = field(default_factory=time.time)
    status: Status = "failed"
    error: str | None = "InternalError"
    _started: float = field(default_factory=time.perf_counter)

    @property
    def seconds(self) -> float:
        """How long it has taken."""
        return time.perf_counter() - self._started

    @contextmanager
    def made(self) -> Generator[None]:
        """It is made inside."""
        try:
            yield
        except anyio.get_cancelled_exc_class():
            self.status, self.error = "cancelled", None
            raise
        except ZenError as exc:
            self.error = exc.kind
            raise
        self.status, self.error = "ok", None


class ToolLedger:
    """A tool middleware.

    Args:
        ledger: where the rows go.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def __call__(self, request: ToolRequest, call_next: CallNext[ToolRequest, ToolResponse]) -> ToolResponse:
        """Run the call and note it."""
        call = _Call()
        response: ToolResponse | None = None
        try:
            with call.made():
                response = await call_next(request)
            return response
        finally:
            caller = request.caller
            row = LedgerRow(
                at=call.at,
                kind="tool",
                call_id=request.request_id,
                user_id=caller.user_id,
                team=caller.team,
                client=caller.client_name,
                thread_id=_thread_of(request, response),
                tool=request.tool,
                seconds=call.seconds,
                status=call.status,
                error=call.error,
            )
            self._ledger.add(row)


class ModelLedger:
    """A model middleware; outside all that may refuse or answer from memory, so that it sees that too.

    Args:
        ledger: where the rows go.
        vendor_of: the vendor of a model's name; empty for none.
    """

    def __init__(self, ledger: Ledger, *, vendor_of: Callable[[str], str]) -> None:
        self._ledger = ledger
        self._vendor_of = vendor_of

    async def __call__(self, request: ModelRequest, call_next: CallNext[ModelRequest, ModelResponse]) -> ModelResponse:
        """Ask and note it."""
        call = _Call()
        response: ModelResponse | None = None
        try:
            with call.made():
                response = await call_next(request)
            return response
        finally:
            self._ledger.add(self._row(request, response, call))

    def _row(self, request: ModelRequest, response: ModelResponse | None, call: _Call) -> LedgerRow:
        caller = request.caller
        usage = response.usage if response else None
        cached = response is not None and response.cached
        spent = None if cached else usage
        return LedgerRow(
            at=call.at,
            kind="model",
            call_id=request.request_id,
            user_id=caller.user_id,
            team=caller.team,
            client=caller.client_name,
            thread_id=request.thread_id,
            tool=request.tool,
            asked=request.model,
            model=response.model if response else request.model,
            vendor=response.vendor if response else self._vendor_of(request.model),
            input_tokens=spent.input_tokens if spent else None,
            output_tokens=spent.output_tokens if spent else None,
            cached_tokens=spent.cached_tokens if spent else None,
            reasoning_tokens=spent.reasoning_tokens if spent else None,
            saved_tokens=usage.total_tokens if usage and cached else None,
            cost_dollars=response.cost_dollars if response else None,
            seconds=call.seconds,
            attempts=response.attempts if response else None,
            cached=cached,
            partial=response is not None and response.partial,
            status=call.status,
            error=call.error,
        )


def _thread_of(request: ToolRequest, response: ToolResponse | None) -> str | None:
    """The thread that the answer names, or the one that the call asked for."""
    found = response.structured.get("continuation_id") if response else None
    found = found or request.arguments.get("continuation_id")
    return found if isinstance(found, str) else None
