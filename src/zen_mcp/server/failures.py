"""What becomes of a failure at the door: the foreseen one is told, a bug is logged and told as an id."""

from __future__ import annotations

import secrets
from typing import cast

from zen_mcp.errors import ZenError
from zen_mcp.observability.logs import EventLog

_log = EventLog()


def only_foreseen(exc: BaseException) -> ZenError | None:
    """The foreseen failure that `exc` is, or that is all a group of a tool's tasks holds; None for a bug."""
    if isinstance(exc, ZenError):
        return exc
    if isinstance(exc, BaseExceptionGroup):
        inner = [only_foreseen(part) for part in cast("BaseExceptionGroup[BaseException]", exc).exceptions]
        return inner[0] if all(part is not None for part in inner) else None
    return None


def tell_crash(exc: Exception, what: str, call_id: str = "") -> str:
    """Log a bug, and say to the caller only where to look."""
    call_id = call_id or f"c-{secrets.token_hex(6)}"
    _log.error("tool_crashed", call=call_id, tool=what, exc_info=exc)
    return f"internal error {call_id}. The server's log has the details."
