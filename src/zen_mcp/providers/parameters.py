"""What is sent besides the address and the key: these parameters and no others, in OpenAI's words."""

from __future__ import annotations

from typing import Any

from zen_mcp.catalog.model import Model
from zen_mcp.errors import InvalidArguments
from zen_mcp.types import Message, ModelRequest

CLAUDE_OUTPUT_TOKENS = 16_384
"""Anthropic wants a limit, and LiteLLM would take the model's maximum."""

_EFFORTS = {"none": "none", "minimal": "minimal", "low": "low", "medium": "medium", "high": "high", "max": "high"}
_KNOW_THE_HEADER = frozenset({"openai", "azure", "hosted_vllm"})
"""Whose servers take an unknown header for what it is; others sign what they are sent."""
_CACHE_MARK = {"type": "ephemeral"}
_MESSAGES_OF_A_FIRST_TURN = 2


def parameters_of(request: ModelRequest, model: Model) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The parameters, and notes on what could not be honoured.

    Raises:
        InvalidArguments: images for a model that sees none.
    """
    notes: list[str] = []
    parameters: dict[str, Any] = {"messages": _messages(request, model)}
    for wish in (_sampling, _thinking, _functions, _format):
        wish(parameters, request, model, notes)
    limit = _output_limit(request, model)
    if limit is not None:
        parameters["max_tokens"] = limit
    if request.idempotency_key is not None and model.litellm_model.partition("/")[0] in _KNOW_THE_HEADER:
        parameters["extra_headers"] = {"Idempotency-Key": request.idempotency_key}
    return parameters, tuple(notes)


def _sampling(parameters: dict[str, Any], request: ModelRequest, model: Model, notes: list[str]) -> None:
    if request.temperature is None:
        return
    if model.capabilities.temperature:
        parameters["temperature"] = request.temperature
    else:
        notes.append(f"{model.name} takes no temperature; it was left out")


def _thinking(parameters: dict[str, Any], request: ModelRequest, model: Model, notes: list[str]) -> None:
    if request.thinking is None:
        return
    if model.capabilities.reasoning:
        parameters["reasoning_effort"] = _EFFORTS[request.thinking]
    elif request.thinking != "none":
        notes.append(f"{model.name} has no thinking effort; it was left out")


def _functions(parameters: dict[str, Any], request: ModelRequest, model: Model, notes: list[str]) -> None:
    if request.functions:
        if model.capabilities.function_calling:
            parameters["tools"] = [{"type": "function", "function": function} for function in request.functions]
        else:
            notes.append(f"{model.name} calls no functions; they were left out")
    if request.web_search:
        if model.capabilities.web_search:
            parameters["web_search_options"] = {}
        else:
            notes.append(f"{model.name} does not search the web")


def _output_limit(request: ModelRequest, model: Model) -> int | None:
    if request.max_output_tokens is not None:
        return min(request.max_output_tokens, model.max_output or request.max_output_tokens)
    if "claude" in model.litellm_model:
        return min(model.max_output or CLAUDE_OUTPUT_TOKENS, CLAUDE_OUTPUT_TOKENS)
    return model.max_output if model.is_local else None  # small models like to go on for ever


def _format(parameters: dict[str, Any], request: ModelRequest, model: Model, notes: list[str]) -> None:
    """JSON: by the vendor's own means where the model has them; the prompt asks for it in any case."""
    if request.json_schema is None and not request.json_mode:
        return
    if not model.capabilities.json_mode:
        notes.append(f"{model.name} has no JSON mode; it was asked for in words")
    elif request.json_schema is None:
        parameters["response_format"] = {"type": "json_object"}
    else:
        schema = {"name": "answer", "schema": request.json_schema, "strict": False}
        parameters["response_format"] = {"type": "json_schema", "json_schema": schema}


def _messages(request: ModelRequest, model: Model) -> list[dict[str, Any]]:
    """The messages; for Claude with the marks without which it caches nothing.

    A mark costs a quarter more for what is cached first, so they are set once a thread is gone on with. Other vendors
    cache the beginnings of prompts by themselves.
    """
    messages = [_message(message, model) for message in request.messages]
    marked = model.capabilities.prompt_caching and "claude" in model.litellm_model
    if marked and len(messages) > _MESSAGES_OF_A_FIRST_TURN:
        _mark(messages[0])
        _mark(messages[-1])
    return messages


def _mark(message: dict[str, Any]) -> None:
    content = message["content"]
    parts: list[dict[str, Any]] = [{"type": "text", "text": content}] if isinstance(content, str) else content
    if parts and (text := parts[0].get("text")):
        parts[0] = {"type": "text", "text": text, "cache_control": _CACHE_MARK}
    message["content"] = parts


def _message(message: Message, model: Model) -> dict[str, Any]:
    if not message.images:
        return {"role": message.role, "content": message.text}
    if not model.capabilities.vision:
        raise InvalidArguments(
            f"'{model.name}' cannot see images.", "Leave 'images' out, or choose a model with vision (listmodels)."
        )
    urls = [f"data:{image.mime_type};base64,{image.data_base64}" for image in message.images]
    parts: list[dict[str, Any]] = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return {"role": message.role, "content": [{"type": "text", "text": message.text}, *parts]}
