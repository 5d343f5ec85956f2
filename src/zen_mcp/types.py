"""What travels between the floors: requests down, responses up.

Everything here is frozen; a step that changes something hands on a copy (`dataclasses.replace`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from pydantic import JsonValue

Role = Literal["system", "user", "assistant"]
ThinkingEffort = Literal["none", "minimal", "low", "medium", "high", "max"]

JSONValue: TypeAlias = JsonValue
JSONObject: TypeAlias = dict[str, JSONValue]

ProgressSink = Callable[[float, float | None, str], Awaitable[None]]
"""Reports progress to whoever watches: done so far, total (None: unknown), one line of text."""


async def no_progress(done: float, total: float | None, message: str) -> None:
    """Report to nobody: the sink of a call that nobody watches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asks.

    `user_id` owns threads, limits and budgets; on stdio it is `local`. `session_id` is one connection.
    `client_name` is what the client calls itself ("claude-code"), None when it did not say.
    """

    user_id: str = "local"
    session_id: str | None = None
    client_name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """One picture: its MIME type ("image/png") and its bytes in base64."""

    mime_type: str
    data_base64: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message of a conversation as a model receives it."""

    role: Role
    text: str
    images: tuple[Image, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens of one model request, as the vendor counted them.

    `cached_tokens` are part of `input_tokens`, `reasoning_tokens` part of `output_tokens`.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        """Input and output together."""
        return self.input_tokens + self.output_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRequest:
    """One question to one model.

    `model` is a name of the catalog (aliases are resolved by the gateway). `timeout_seconds` is the deadline of
    the whole request, retries included; None means the model's own setting.
    """

    request_id: str
    model: str
    messages: tuple[Message, ...]
    tool: str = ""
    caller: Caller = field(default_factory=Caller)
    temperature: float | None = None
    thinking: ThinkingEffort | None = None
    max_output_tokens: int | None = None
    timeout_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelResponse:
    """What a model answered.

    Attributes:
        model: the catalog's name of the model that was asked.
        answered_by: the name the upstream gave itself ("gpt-5-2025-08-07"); may differ from what was asked.
        usage: None when the upstream did not say.
        cost_dollars: None when no price is known; never 0 for "unknown".
        seconds: wall time from the request to the last byte, retries included.
        finish_reason: "stop", "length", "content_filter", "tool_calls" …; None when the upstream did not say.
        upstream_id: the vendor's id of this answer, for their support.
        attempts: how many HTTP requests it took (1 = no retry).
        notes: what could not be honoured, in words ("temperature is not supported and was left out").
    """

    text: str
    model: str
    vendor: str
    answered_by: str
    usage: Usage | None = None
    cost_dollars: float | None = None
    seconds: float = 0.0
    finish_reason: str | None = None
    upstream_id: str | None = None
    attempts: int = 1
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelChunk:
    """A piece of a streamed answer. The last one has no text and carries the whole `response`."""

    text: str = ""
    response: ModelResponse | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolRequest:
    """One call of one tool: the arguments as the caller sent them, not yet checked."""

    request_id: str
    tool: str
    arguments: Mapping[str, object]
    caller: Caller = field(default_factory=Caller)
    progress: ProgressSink = no_progress
    max_characters: int | None = None
    """How long a result this client shows whole; None: the server's setting."""
    max_seconds: float | None = None
    """How long this client waits for the call; None: as long as it takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolResponse:
    """What a tool answered: `text` for people and models, `structured` the same as data.

    Each carries the whole answer, because some clients show only the one and some only the other.
    """

    text: str
    structured: JSONObject
