"""Asking the client what a tool needs to know: by a result that wants input, or, until 2025-11-25, by a request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, cast

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp.shared.message import ServerMessageMetadata
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import ValidationError

from zen_mcp.errors import ClientCannotAnswer
from zen_mcp.types import ClientQuestion, JSONObject, LogLevel, ToolRequest, ToolResponse

Context = ServerRequestContext[Any, Any]
Call = Callable[[ToolRequest], Awaitable[ToolResponse]]

_ANSWER_SECONDS = 300.0
"""How long a person may take to fill in a form."""
_MOST_ROUNDS = 10
_KINDS: Mapping[str, tuple[str, type[Any], type[Any]]] = {
    "elicitation/create": ("elicitation", types.ElicitRequest, types.ElicitResult),
    "sampling/createMessage": ("sampling", types.CreateMessageRequest, types.CreateMessageResult),
    "roots/list": ("roots", types.ListRootsRequest, types.ListRootsResult),
}
"""By method: the capability that a client must have, the request, its result."""


def with_answers(request: ToolRequest, context: Context, params: Any) -> ToolRequest:
    """The request with what the client answered and can be asked, and its log.

    Args:
        request: as it was.
        context: of the protocol's request.
        params: of `tools/call` or `prompts/get`.
    """
    given: Mapping[str, Any] = params.input_responses or {}
    return replace(
        request,
        answers={name: _plain(answer) for name, answer in given.items()},
        state=params.request_state,
        may_ask=_may_ask(context),
        log=_log_of(context),
    )


async def answered(request: ToolRequest, context: Context, call: Call) -> ToolResponse | types.InputRequiredResult:
    """Call a tool until it needs to know nothing more, or hand its questions to a client of today's revision.

    Raises:
        ClientCannotAnswer, MCPError: the client has not the capability, or there is no way back to it.
    """
    is_modern = context.protocol_version in MODERN_PROTOCOL_VERSIONS
    for _ in range(_MOST_ROUNDS):
        response = await call(request)
        if not response.questions:
            return response
        _check(response, request, is_modern=is_modern)
        if is_modern:
            questions = {name: _protocol_request(question) for name, question in response.questions.items()}
            return types.InputRequiredResult(input_requests=questions, request_state=response.state)
        answers = {name: await _ask(context, question) for name, question in response.questions.items()}
        request = replace(request, answers=answers, state=response.state)
    raise ClientCannotAnswer(f"'{request.tool}' asked the client {_MOST_ROUNDS} times.", "Tell the tool's author.")


def _check(response: ToolResponse, request: ToolRequest, *, is_modern: bool) -> None:
    """Refuse to ask what the client does not offer; since 2026-07-28 the protocol has an error of its own for it."""
    needed = {_KINDS[question.method][0] for question in response.questions.values()}
    lacking = sorted(needed - request.may_ask)
    if not lacking:
        return
    words = " and ".join(f"'{name}'" for name in lacking)
    problem = f"The tool '{request.tool}' has to ask the client, which does not offer {words} here."
    if is_modern:
        required = {name: dict[str, Any]() for name in lacking}
        data = {"requiredCapabilities": required}
        raise MCPError(code=types.MISSING_REQUIRED_CLIENT_CAPABILITY, message=problem, data=data)
    raise ClientCannotAnswer(problem, "Use a client with that capability.")


async def _ask(context: Context, question: ClientQuestion) -> JSONObject:
    """The client's answer to a request of ours, on the stream of the call."""
    result_type = _KINDS[question.method][2]
    metadata = ServerMessageMetadata(related_request_id=context.request_id)
    try:
        answer = await context.session.send_request(_protocol_request(question), result_type, _ANSWER_SECONDS, metadata)
    except (MCPError, ValidationError) as exc:
        reason = exc.error.message if isinstance(exc, MCPError) else "its answer is not what the protocol says"
        raise ClientCannotAnswer(f"The client did not answer '{question.method}': {reason}.", "Try again.") from exc
    return _plain(answer)


def _protocol_request(question: ClientQuestion) -> Any:
    return _KINDS[question.method][1].model_validate({"method": question.method, "params": question.params})


def checked_answer(method: str, answer: Mapping[str, Any]) -> JSONObject:
    """What a client answered to a question by this method, as far as the protocol knows it.

    Raises:
        ValidationError: it is no such answer.
    """
    return _plain(_KINDS[method][2].model_validate(answer, by_name=False))


def _plain(answer: Any) -> JSONObject:
    return cast("JSONObject", answer.model_dump(by_alias=True, mode="json", exclude_none=True))


def _may_ask(context: Context) -> frozenset[str]:
    """What this client offers, and can be reached for: a stateless connection of an old client has no way back."""
    capabilities = context.session.client_capabilities
    is_modern = context.protocol_version in MODERN_PROTOCOL_VERSIONS
    if capabilities is None or not (is_modern or context.session.can_send_request):
        return frozenset()
    names = [capability for capability, _, _ in _KINDS.values()]
    return frozenset(name for name in names if getattr(capabilities, name) is not None)


def _log_of(context: Context) -> Callable[[LogLevel, str], Awaitable[None]]:
    async def log(level: LogLevel, text: str) -> None:
        # From 2026-07-28 on the protocol has no log any more.
        if context.protocol_version not in MODERN_PROTOCOL_VERSIONS:
            note = types.LoggingMessageNotification(
                params=types.LoggingMessageNotificationParams(level=level, data=text, logger="zen")
            )
            await context.session.send_notification(note, related_request_id=context.request_id)

    return log
