"""How the upstream answers a model's requests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """One answer.

    `text`: what is answered; `{echo}` in it is replaced by the last user message. `status`: with another than 200 an
    error body is sent whose message is `text`; `{key}` in it is replaced by the request's Authorization header. `how`:
    `answer`; `html`: a web page with status 200; `hang`: nothing at all; `cut`: the connection is closed after half of
    a stream or before any answer; `torn`: as `cut`, but the HTTP itself says that more was to come;
    `stall`: half of a stream, then silence; `empty`: an answer without text.
    `delay_seconds` passes before anything is sent, `pause_seconds` before each piece of a stream.
    """

    text: str = "ok"
    status: int = 200
    how: Literal["answer", "html", "hang", "cut", "torn", "stall", "empty"] = "answer"
    delay_seconds: float = 0.0
    pause_seconds: float = 0.0
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    finish_reason: str = "stop"
    usage: bool = True
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    cache_write_tokens: int = 0
    function_call: tuple[str, str] | None = None
    answered_by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One request as it came in."""

    model: str
    body: Mapping[str, Any]
    headers: Mapping[str, str]
    stream: bool = False

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The messages sent."""
        return self.body["messages"]
