"""What a tool wants kept while the client is asked: it goes through the client, sealed."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity
from mcp.shared.exceptions import MCPError

Context = ServerRequestContext[Any, Any]

_AUDIENCE = "zen"
_SECONDS = 600.0
"""How long a client may take to answer: a form is filled in by a person."""
_REFUSED = "invalid_request_state"


class QuestionSeal(RequestStateBoundary):
    """A step around requests that seals a tool's state on its way out, and opens it with the client's answers.

    A seal holds for ten minutes, for the same call with the same arguments, and for who was asked.

    Args:
        keys: the first one seals, all of them open; none: a key of this process, which no other can open.
        who: names whoever sends a request.
    """

    def __init__(self, keys: Sequence[str], who: Callable[[Context], str]) -> None:
        own = keys or (secrets.token_hex(32),)
        security = RequestStateSecurity(keys=own, ttl=_SECONDS, bind_principal=who)
        super().__init__(security, default_audience=_AUDIENCE)

    async def __call__(self, ctx: Context, call_next: CallNext) -> HandlerResult:
        """Pass a request on, its state opened.

        Raises:
            MCPError: the state is not ours, is too old, or belongs to another call or caller.
        """
        try:
            return await super().__call__(ctx, call_next)
        except MCPError as exc:
            if not _is_refusal(exc):
                raise
            text = (
                "These answers belong to a question that was not asked here, was asked of somebody else, or is more "
                f"than {_SECONDS / 60:.0f} minutes old. Call the tool again; replicas need the same http.state_key "
                "(server.yaml) to finish what another began."
            )
            raise MCPError(code=exc.error.code, message=text, data=exc.error.data) from exc


def _is_refusal(exc: MCPError) -> bool:
    data = exc.error.data
    return isinstance(data, Mapping) and cast("Mapping[str, Any]", data).get("reason") == _REFUSED
