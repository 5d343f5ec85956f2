"""Asking the client itself, in the middle of a call: its user, its model, its folders."""

from __future__ import annotations

from zen_mcp.types import ClientQuestion, JSONObject, ToolResponse


def ask_client(questions: dict[str, ClientQuestion], *, state: str | None = None) -> ToolResponse:
    """The response of a tool that has to know more first.

    The tool is called again with the answers by the names of the questions (`context.request.answers`) and with
    `context.request.state`. Both may come to another process: nothing else is remembered.
    `context.request.may_ask` says what this client can be asked.
    """
    return ToolResponse(text="", structured={}, questions=questions, state=state)


def elicit(message: str, schema: JSONObject) -> ClientQuestion:
    """Ask the user: a form of flat fields. The answer has `action` (accept, decline, cancel) and `content`."""
    return ClientQuestion(method="elicitation/create", params={"message": message, "requestedSchema": schema})


def sample(prompt: str, *, max_tokens: int = 1000) -> ClientQuestion:
    """Ask the client's own model. The answer has `content` with `text`. Deprecated in revision 2026-07-28."""
    content: JSONObject = {"type": "text", "text": prompt}
    return ClientQuestion(
        method="sampling/createMessage",
        params={"messages": [{"role": "user", "content": content}], "maxTokens": max_tokens},
    )


def roots() -> ClientQuestion:
    """Ask for the client's folders. The answer has `roots`. Deprecated in revision 2026-07-28."""
    return ClientQuestion(method="roots/list", params={})
