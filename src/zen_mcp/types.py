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

OnCut = Literal["return", "continue"]
CacheUse = Literal["off", "use", "refresh"]

TextSink = Callable[[str], Awaitable[None]]
"""Takes each piece of an answer as it arrives."""

LogLevel = Literal["debug", "info", "warning", "error"]
LogSink = Callable[[LogLevel, str], Awaitable[None]]
"""Takes a line for the client's own log."""

ProgressSink = Callable[[float, float | None, str], Awaitable[None]]
"""Reports progress to whoever watches: done so far, total (None: unknown), one line of text."""


async def no_progress(done: float, total: float | None, message: str) -> None:
    """Report to nobody: the sink of a call that nobody watches."""


async def no_log(level: LogLevel, text: str) -> None:
    """Log to nobody: the sink of a call whose client keeps no log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asks.

    `user_id` owns threads, limits and budgets; on stdio it is `local`. `session_id` is one connection.
    `client_name` is what the client calls itself ("claude-code"), None when it did not say.
    `team` shares budgets, None for nobody's. `tools` and `models` are patterns (`chat`, `gpt-*`) of what the caller may
    use, None for all.
    """

    user_id: str = "local"
    team: str | None = None
    tools: tuple[str, ...] | None = None
    models: tuple[str, ...] | None = None
    session_id: str | None = None
    client_name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """One picture: its MIME type ("image/png") and its bytes in base64."""

    mime_type: str
    data_base64: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Audio:
    """A sound: its MIME type ("audio/wav") and its bytes in base64."""

    mime_type: str
    data_base64: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A document with an address of its own: its text, or its bytes in base64."""

    uri: str
    mime_type: str
    text: str = ""
    data_base64: str | None = None


Block: TypeAlias = Image | Audio | Document
"""What an answer may hold besides its text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientQuestion:
    """Something that a tool asks the client itself: its user, its model, its folders.

    `method` and `params` are those of the protocol; `zen_mcp.tools.client` makes them.
    """

    method: Literal["elicitation/create", "sampling/createMessage", "roots/list"]
    params: JSONObject


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message of a conversation as a model receives it."""

    role: Role
    text: str
    images: tuple[Image, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens of one model request, as the vendor counted them.

    `cached_tokens` (read from the vendor's prompt cache) and `cache_write_tokens` are part of `input_tokens`,
    `reasoning_tokens` part of `output_tokens`.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        """Input and output together."""
        return self.input_tokens + self.output_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRequest:
    """One question to one model.

    Attributes:
        model: a name of the catalog (aliases are resolved by the gateway).
        timeout_seconds: the deadline of the whole request, retries and fallbacks included; None: the model's own.
        prompt_tokens: about how long the messages are; None: not estimated.
        fallbacks: whether another model may answer when this one fails.
        sink: takes the answer as it arrives; setting it lets the answer be streamed.
        on_cut: what becomes of an answer that is cut in the middle; None: as providers.yaml says.
        cache: whether an identical answer may be given again; None: as server.yaml says.
        json_mode, json_schema: the answer is to be JSON, of this JSON Schema.
        json_lenient: whoever asked reads other answers, too: nothing is said of JSON in words, checked or repaired.
        functions: what the model may call, as OpenAI writes them (`{"name", "description", "parameters"}`).
        web_search: the model may search the web, where its vendor offers that.
        thread_id: the thread that the question belongs to, for the ledger; None for none.
        only_models: patterns of the models that may answer, those that step in included; empty for all.
        news: takes a line about what goes on before the answer comes ("loading llama3.2"); None where nobody looks.
        idempotency_key: sent as a header, so that an upstream that knows it does not make the same answer twice.
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
    prompt_tokens: int | None = None
    fallbacks: bool = True
    sink: TextSink | None = None
    on_cut: OnCut | None = None
    cache: CacheUse | None = None
    json_mode: bool = False
    json_schema: JSONObject | None = None
    json_lenient: bool = False
    functions: tuple[JSONObject, ...] = ()
    web_search: bool = False
    thread_id: str | None = None
    only_models: tuple[str, ...] = ()
    news: TextSink | None = None
    idempotency_key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionCall:
    """A function that the model wants called: its name and its arguments as the JSON text that the model wrote."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelResponse:
    """What a model answered.

    Attributes:
        model: the catalog's name of the model that answered.
        asked: the name that was asked, where it is another: a group, or a model that another stepped in for.
        because: why another stepped in, in words; empty when none did.
        answered_by: the name the upstream gave itself ("gpt-5-2025-08-07"); may differ from what was asked.
        usage: None when the upstream did not say.
        cost_dollars: None when no price is known; never 0 for "unknown".
        seconds: wall time from the request to the last byte, retries included.
        finish_reason: "stop", "length", "content_filter", "tool_calls" …; None when the upstream did not say.
        upstream_id: the vendor's id of this answer, for their support.
        attempts: how many HTTP requests it took (1 = no retry, 0 = none: the answer was remembered).
        partial: whether the answer was cut; `notes` says why.
        cached: whether the answer is an earlier one.
        function_calls: what the model wants called.
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
    asked: str = ""
    because: str = ""
    partial: bool = False
    cached: bool = False
    function_calls: tuple[FunctionCall, ...] = ()


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
    watched: bool = False
    """Whether somebody looks at the progress."""
    max_characters: int | None = None
    """How long a result this client shows whole; None: the server's setting."""
    max_seconds: float | None = None
    """How long this client waits for the call; None: as long as it takes."""
    log: LogSink = no_log
    answers: Mapping[str, JSONObject] = field(default_factory=dict[str, JSONObject])
    """What the client answered to the questions of this tool's last response, by their names."""
    state: str | None = None
    """What that response wanted kept; nobody could change it meanwhile."""
    may_ask: frozenset[str] = frozenset()
    """What this client can be asked: "elicitation", "sampling", "roots"."""
    trace: Mapping[str, str] = field(default_factory=dict[str, str])
    """The caller's own span (`traceparent`, `tracestate`), where he sent one."""
    job_id: str | None = None
    """The job that makes this call in the background; None for a call whose client waits."""
    takes_task: bool = False
    """Whether the client takes a task for an answer, and answers later what the tool asks it."""
    keep_seconds: float | None = None
    """How long the job that the call may become is wanted, from now on; None: for ever."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceLink:
    """Where more can be read: an address, its short name, a title for people."""

    uri: str
    name: str
    title: str
    mime_type: str = "text/plain"


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolResponse:
    """What a tool answered: `text` for people and models, `structured` the same as data.

    Each carries the whole answer, because some clients show only the one and some only the other. `links` are for
    clients that show them; what they lead to is named in the text as well. `blocks` follow the text.

    With `questions` it is no answer yet: the client is asked them, and the tool is called again with the `answers` and
    the `state`. With `job` the call goes on as a job, of which this is the handle.
    """

    text: str
    structured: JSONObject
    links: tuple[ResourceLink, ...] = ()
    blocks: tuple[Block, ...] = ()
    questions: Mapping[str, ClientQuestion] = field(default_factory=dict[str, ClientQuestion])
    state: str | None = None
    job: str | None = None
